"""What answers of batch systems mean: who has a reason to be gone, and who is missing."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glidepost.backends.base import BatchJob, JobState
from glidepost.schema.heartbeat import Limits
from glidepost.schema.puller_config import Shape
from glidepost.schema.resources import Resources
from glidepost.site_puller.ledger import REPORT_GRACE_S, Entry, Ledger, name_prefix
from glidepost.site_puller.observe import MANY, MISSING_CYCLES, Observed, implausible, observe, rebuilt

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
SHAPE = Shape("cpu", "local", Resources(1, 2048, 1000, 7200), Limits(9, 9, 9, 9), {})
OTHER = replace(SHAPE, name="gpu")
NAME = name_prefix("north", "cpu") + "aaaaa"


def ledger_of(count: int = 3, batch_id="17", name: str = NAME, shape: str = "cpu") -> Ledger:
    entry = Entry(name, shape, count, NOW, 0, SHAPE.resources, 1.0, batch_id)
    return Ledger({name: entry}, seen_at=NOW)


def jobs(count: int, state: JobState = JobState.IDLE, *, first: int = 0, name: str = NAME) -> list[BatchJob]:
    return [BatchJob(f"17_{index}", name, state) for index in range(first, first + count)]


def seen(ledger: Ledger, *answer: BatchJob, after: timedelta = MINUTE, ends=(), unknown: bool = False) -> Observed:
    now = (ledger.seen_at or NOW) + after
    answers = {"cpu": None if unknown else list(answer)}
    return observe(ledger.ticked(now), answers, {NAME: ends} if ends else {}, [SHAPE], "north")


def entry_of(observed: Observed) -> Entry:
    return observed.ledger.entries[NAME]


RUNNING = seen(seen(ledger_of(), *jobs(3)).ledger, *jobs(3, JobState.RUNNING)).ledger


# What is listed


def test_members_are_learnt_from_the_answer():
    entry = entry_of(seen(ledger_of(), *jobs(2), *jobs(1, JobState.RUNNING, first=2)))
    assert [member.state for member in entry.members.values()] == [JobState.IDLE, JobState.IDLE, JobState.RUNNING]
    assert [member.started_at for member in entry.members.values()] == [None, None, NOW + MINUTE]
    assert entry.unreported == 0


def test_the_first_time_that_a_glidein_was_seen_running_stays():
    later = seen(RUNNING, *jobs(3, JobState.RUNNING), after=5 * MINUTE)
    assert {member.started_at for member in entry_of(later).members.values()} == {NOW + 2 * MINUTE}


def test_batch_jobs_of_ours_that_the_ledger_does_not_know_are_adopted():
    stray = name_prefix("north", "cpu") + "zzzzz"
    after = seen(Ledger(), *jobs(2, JobState.RUNNING, name=stray)).ledger
    assert (after.entries[stray].shape, after.entries[stray].live) == ("cpu", 2)
    assert not seen(after, after=MINUTE).ledger.entries[stray].unreported


def test_other_peoples_batch_jobs_are_not():
    assert seen(Ledger(), *jobs(2, name="gp-simulation")).ledger.entries == {}


# What was never listed


def test_what_was_never_listed_is_given_up_after_its_grace():
    ledger = ledger_of()
    for _ in range(REPORT_GRACE_S // 300 + 1):
        ledger = seen(ledger, after=5 * MINUTE).ledger
        assert ledger.entries[NAME].unreported == 3
    assert seen(ledger, after=MINUTE).ledger.entries == {}


def test_what_was_never_listed_because_nobody_answered_is_not_given_up():
    ledger = ledger_of()
    for _ in range(9):
        ledger = seen(ledger, after=5 * MINUTE, unknown=True).ledger
    assert seen(ledger, after=5 * MINUTE).ledger.entries[NAME].unreported == 3


def test_a_step_of_the_hosts_clock_gives_nothing_up():
    assert entry_of(seen(ledger_of(), after=timedelta(days=30))).unreported == 3


def test_members_that_were_never_listed_stay_when_their_siblings_are():
    assert entry_of(seen(ledger_of(), *jobs(2))).unreported == 1


def test_a_glidein_that_died_before_it_was_listed_is_known_by_its_record():
    after = seen(ledger_of(), *jobs(1), ends=["17_2"])
    assert (entry_of(after).unreported, entry_of(after).gone) == (1, ("17_2",))


def test_a_record_in_somebody_elses_spelling_frees_no_place_of_what_was_never_listed():
    assert entry_of(seen(ledger_of(), *jobs(1), ends=["31337"])).unreported == 2


# What is not listed any more


def test_what_has_no_reason_to_be_gone_occupies_its_place_for_a_while():
    ledger = RUNNING
    for cycle in range(MISSING_CYCLES - 1):
        ledger = seen(ledger, *jobs(2, JobState.RUNNING), after=5 * MINUTE).ledger
        assert (ledger.entries[NAME].live, ledger.entries[NAME].members["17_2"].missing) == (3, cycle + 1)
    after = seen(ledger, *jobs(2, JobState.RUNNING), after=5 * MINUTE).ledger
    assert (after.entries[NAME].live, after.entries[NAME].gone) == (2, ("17_2",))


def test_cycles_in_a_hurry_give_nothing_up():
    ledger = RUNNING
    for _ in range(9):
        ledger = seen(ledger, *jobs(2, JobState.RUNNING), after=MINUTE).ledger
    assert ledger.entries[NAME].live == 3


def test_what_comes_back_was_never_away():
    ledger = seen(RUNNING, *jobs(2, JobState.RUNNING), after=5 * MINUTE).ledger
    again = seen(ledger, *jobs(3, JobState.RUNNING), after=5 * MINUTE).ledger
    assert {member.missing for member in again.entries[NAME].members.values()} == {0}


def test_an_answer_that_nobody_gave_changes_nothing():
    after = seen(RUNNING, unknown=True, after=timedelta(days=2)).ledger
    assert after.entries == RUNNING.entries


@pytest.mark.parametrize(
    ("answer", "ends", "after"),
    [
        (jobs(3, JobState.GONE), (), MINUTE),
        ((), ("17_0", "17_1", "17_2"), MINUTE),
        ((), ("a", "b", "c"), MINUTE),
    ],
    ids=["the batch system says so", "they left records", "records in another spelling"],
)
def test_what_has_a_reason_to_be_gone_frees_its_place_at_once(answer, ends, after):
    assert seen(RUNNING, *answer, ends=ends, after=after).ledger.entries == {}


def test_what_has_run_for_its_walltime_is_not_missed():
    ledger = RUNNING
    for _ in range(24):
        ledger = seen(ledger, *jobs(3, JobState.RUNNING), after=5 * MINUTE).ledger
    assert seen(ledger, after=5 * MINUTE).ledger.entries == {}


def test_a_clock_that_was_set_forward_ends_no_walltime():
    assert seen(RUNNING, after=timedelta(days=3)).ledger.entries[NAME].live == 3


def test_what_we_have_removed_is_not_missed():
    entry = seen(ledger_of(), *jobs(3)).ledger.entries[NAME]
    marked = {key: replace(member, removed=True) for key, member in entry.members.items()}
    ledger = Ledger({NAME: replace(entry, members=marked)}, seen_at=NOW)
    assert seen(ledger).ledger.entries == {}


def test_one_record_explains_one_glidein():
    entry = entry_of(seen(RUNNING, ends=["17_1"]))
    assert sorted(entry.members) == ["17_0", "17_2"]
    assert sorted(entry_of(seen(RUNNING, ends=["anybody"])).members) in (["17_0", "17_1"], ["17_1", "17_2"])


def test_an_entry_of_a_shape_that_is_gone_is_looked_for_in_all_queues():
    ledger = ledger_of(shape="former")
    answers = {"cpu": jobs(2), "gpu": None}
    after = observe(ledger.ticked(NOW + MINUTE), answers, {}, [SHAPE, OTHER], "north").ledger
    assert after.entries[NAME] == ledger.entries[NAME]
    after = observe(ledger.ticked(NOW + MINUTE), {**answers, "gpu": []}, {}, [SHAPE, OTHER], "north").ledger
    assert len(after.entries[NAME].members) == 2


# What nobody believes


def test_an_empty_answer_although_some_live_is_not_believed():
    assert implausible(RUNNING, ["cpu"]) is None
    doubt = implausible(seen(RUNNING).ledger, ["cpu"])
    assert doubt == "3 glideins of 3 are not listed any more, and none of these left a word"
    assert implausible(seen(RUNNING).ledger, ["gpu"]) is None


def test_an_answer_that_lacks_most_is_not_believed():
    ledger = seen(ledger_of(20), *jobs(20, JobState.RUNNING)).ledger
    assert implausible(seen(ledger, *jobs(9, JobState.RUNNING)).ledger, ["cpu"]) is not None
    assert implausible(seen(ledger, *jobs(10, JobState.RUNNING)).ledger, ["cpu"]) is None
    few = seen(ledger_of(MANY), *jobs(MANY, JobState.RUNNING)).ledger
    assert implausible(seen(few, *jobs(1, JobState.RUNNING)).ledger, ["cpu"]) is None


def test_an_empty_answer_is_believed_when_it_stays():
    ledger = RUNNING
    for _ in range(MISSING_CYCLES - 1):
        ledger = seen(ledger, after=5 * MINUTE).ledger
        assert implausible(ledger, ["cpu"])
    ledger = seen(ledger, after=5 * MINUTE).ledger
    assert (implausible(ledger, ["cpu"]), ledger.entries) == (None, {})


def test_an_empty_answer_is_believed_when_all_left_records():
    assert implausible(seen(RUNNING, ends=["17_0", "17_1", "17_2"]).ledger, ["cpu"]) is None


@pytest.mark.parametrize("minutes", [(0, 5, 5, 5, 5), (0, *[1] * 12), (0, *[60] * 4)])
def test_a_lost_ledger_is_made_up_for_by_three_answers_after_ten_minutes(minutes):
    ledger, after = Ledger(rebuilt_s=0), 0
    for passed in minutes:
        assert ledger.rebuilt_s == 0
        ledger = rebuilt(ledger.ticked((ledger.seen_at or NOW) + passed * MINUTE))
        after += ledger.clock_s >= 600
        is_enough = after == 3
        assert (ledger.rebuilt_s is None) == is_enough
        if is_enough:
            break
    assert ledger.rebuilt_s is None


# What it costs, and who died young


def test_a_glidein_that_ended_is_charged_for_what_it_ran():
    after = seen(RUNNING, *jobs(2, JobState.RUNNING), ends=["17_2"], after=30 * MINUTE).ledger
    assert after.spent == {"2026-11-22": {"cpu": 0.5}}
    never_ran = seen(ledger_of(1), *jobs(1)).ledger
    assert seen(never_ran, ends=["17_0"]).ledger.spent == {"2026-11-22": {"cpu": 0.0}}


def test_a_glidein_that_vanished_minutes_after_its_start_died_young():
    ledger = RUNNING
    for _ in range(MISSING_CYCLES - 1):
        found = seen(ledger, *jobs(2, JobState.RUNNING), after=5 * MINUTE)
        assert found.short.get("cpu", 0) == 0
        ledger = found.ledger
    assert seen(ledger, *jobs(2, JobState.RUNNING), after=5 * MINUTE).short == {"cpu": 1}


def test_a_glidein_that_left_a_record_did_not_die_young_unseen():
    assert seen(RUNNING, *jobs(2, JobState.RUNNING), ends=["17_2"]).short == {"cpu": 0}


# For any answers

states = st.sampled_from(list(JobState))
answers = st.one_of(
    st.none(),
    st.dictionaries(st.sampled_from(["17_0", "17_1", "17_2", "17_3"]), states),
)
cycles = st.lists(st.tuples(answers, st.integers(-400, 4000), st.lists(st.sampled_from(["17_0", "17_1", "x"]))))
some = settings(max_examples=200, deadline=None)


@given(cycles)
@some
def test_nothing_that_was_listed_lately_frees_its_place_without_a_reason(history):
    """Whoever was listed in the last complete answer still has a place, unless something says that it is over."""
    ledger = ledger_of(4)
    for answer, seconds, ends in history:
        before = ledger.entries.get(NAME)
        listed = None if answer is None else [BatchJob(key, NAME, state) for key, state in answer.items()]
        now = (ledger.seen_at or NOW) + timedelta(seconds=seconds)
        ledger = observe(ledger.ticked(now), {"cpu": listed}, {NAME: ends}, [SHAPE], "north").ledger
        if before is None:
            continue
        after = ledger.entries[NAME].members if NAME in ledger.entries else {}
        lost = {key for key, member in before.members.items() if not member.missing and key not in after}
        reasons = {key for key in lost if key in ends or (answer or {}).get(key) is JobState.GONE}
        over = {key for key in lost if before.is_over(before.members[key], ledger.clock_s)}
        assert len(lost - reasons - over) <= ends.count("x")


@given(cycles)
@some
def test_what_is_listed_has_a_place(history):
    ledger = ledger_of(4)
    for answer, seconds, ends in history:
        listed = None if answer is None else [BatchJob(key, NAME, state) for key, state in answer.items()]
        now = (ledger.seen_at or NOW) + timedelta(seconds=seconds)
        ledger = observe(ledger.ticked(now), {"cpu": listed}, {NAME: ends}, [SHAPE], "north").ledger
        live = [key for key, state in (answer or {}).items() if state is not JobState.GONE]
        assert all(key in ledger.entries[NAME].members for key in live)


@given(st.dictionaries(st.sampled_from(["17_0", "17_1"]), states))
@some
def test_the_same_answer_twice_at_one_time_frees_nothing_more(answer):
    listed = [BatchJob(key, NAME, state) for key, state in answer.items()]
    once = seen(ledger_of(), *listed).ledger
    twice = seen(once, *listed, after=timedelta(0)).ledger
    assert [entry.live for entry in twice.entries.values()] == [entry.live for entry in once.entries.values()]
