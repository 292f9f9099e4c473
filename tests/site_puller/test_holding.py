from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from glidepost.backends.base import JobState
from glidepost.schema.heartbeat import Counts, Limits
from glidepost.schema.puller_config import Shape
from glidepost.schema.resources import Resources
from glidepost.site_puller.holding import holding, others, ripe
from glidepost.site_puller.ledger import Entry, Ledger, Member, Submitted

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
SIZE = Resources(4, 2048, 1000, 7200, 1)
SMALL = Resources(1, 1024, 1000, 7200)
SHAPE = Shape("cpu", "local", SIZE, Limits(9, 9, 9, 9), {})

IDLE, HELD, STRANGE = Member(JobState.IDLE), Member(JobState.HELD), Member(JobState.UNKNOWN)
OLD = Member(JobState.RUNNING, NOW - 60 * MINUTE)
NEW = Member(JobState.RUNNING, NOW - MINUTE)
MISSING = replace(OLD, missing=1)


def entry(name: str, *members: Member, count: int = 0, minutes: int = 0, resources: Resources = SIZE) -> Entry:
    listed = {f"{name}_{index}": member for index, member in enumerate(members)}
    return Entry(name, "cpu", max(count, len(members)), NOW - minutes * MINUTE, 0, resources, 2.0, name, listed)


def ledger(*entries: Entry, **changes) -> Ledger:
    return Ledger({item.name: item for item in entries}, **{"seen_at": NOW, "clock_s": 1000, **changes})


def test_counts_are_of_what_is_listed():
    found = holding(SHAPE, ledger(entry("1", IDLE, HELD, STRANGE, OLD, MISSING, count=7)), demand_at=None)
    assert (found.counts, found.unreported, found.missing) == (Counts(1, 1, 1, 1), 2, 1)


def test_without_an_answer_there_are_no_counts_and_nothing_to_remove():
    found = holding(SHAPE, ledger(entry("1", IDLE)), demand_at=None, is_counted=False, trouble=("queue-unknown", "x"))
    assert (found.counts, found.removable, found.trouble) == (None, (), ("queue-unknown", "x"))
    assert (found.occupied.total, found.queued) == (1, ((SIZE, 1),))


def test_what_started_after_the_demand_is_fresh_and_still_takes_user_jobs():
    found = holding(SHAPE, ledger(entry("1", OLD, NEW, IDLE)), demand_at=NOW - 5 * MINUTE)
    assert (found.fresh, found.queued) == (1, ((SIZE, 2),))


def test_missing_ones_that_ran_take_no_user_jobs_and_those_that_waited_may():
    found = holding(SHAPE, ledger(entry("1", MISSING, replace(IDLE, missing=1))), demand_at=None)
    assert (found.missing, found.queued, found.occupied.total) == (2, ((SIZE, 1),), 2)


def test_all_that_live_occupy_places_and_resources():
    found = holding(
        SHAPE, ledger(entry("1", OLD, IDLE, MISSING, count=4), entry("2", OLD, resources=SMALL)), demand_at=None
    ).occupied
    assert (found.total, found.waiting) == (5, 2)
    assert (found.cpus, found.memory_mib, found.gpus) == (17, 4 * 2048 + 1024, 4)


def test_what_is_queued_is_known_by_size():
    found = holding(SHAPE, ledger(entry("1", IDLE), entry("2", IDLE, resources=SMALL)), demand_at=None)
    assert dict(found.queued) == {SIZE: 1, SMALL: 1}


def test_the_youngest_are_removed_first_and_never_what_runs_or_is_missing():
    book = ledger(entry("1", IDLE, IDLE, minutes=9), entry("2", OLD, IDLE, replace(IDLE, missing=1), HELD, minutes=3))
    assert holding(SHAPE, book, demand_at=None).removable == ("2_1", "1_1", "1_0")


def test_of_submissions_in_one_second_the_later_one_is_the_younger():
    assert holding(SHAPE, ledger(entry("9", IDLE), entry("1", IDLE)), demand_at=None).removable == ("1_0", "9_0")


def test_the_oldest_that_waits_says_how_long():
    assert holding(SHAPE, ledger(entry("1", IDLE, minutes=9)), demand_at=None).oldest_queued_s == 540
    assert holding(SHAPE, ledger(entry("1", OLD, minutes=9)), demand_at=None).oldest_queued_s is None


def test_what_was_submitted_and_spent_is_charged():
    book = ledger(
        entry("1", OLD), recent=(Submitted("cpu", 3, NOW), Submitted("gpu", 4, NOW)), spent={"2026-11-01": {"cpu": 5.0}}
    )
    found = holding(SHAPE, book, demand_at=None).occupied
    assert (found.lately, found.day, found.month) == (3, 4.0, 9.0)


def test_a_shape_that_left_the_configuration_still_counts_for_the_site():
    book = ledger(
        entry("1", OLD, IDLE), recent=(Submitted("gone", 4, NOW),), spent={"2026-11-22": {"cpu": 1.0, "gone": 5.0}}
    )
    found = others(["cpu"], book)
    assert (found.total, found.lately, found.day, found.month) == (0, 4, 5.0, 5.0)
    found = others([], book)
    assert (found.total, found.waiting, found.lately, found.day) == (2, 1, 4, 6.0 + 2 * 4.0)


@pytest.mark.parametrize(("since", "for_s"), [({}, None), ({"cpu": 400}, 600)])
def test_it_says_how_long_there_has_been_too_much(since, for_s):
    assert holding(SHAPE, ledger(excess_s=since), demand_at=None).excess_for_s == for_s


def test_while_a_lost_ledger_is_rebuilt_a_shape_may_hold_as_many_as_its_limit_allows():
    assert holding(SHAPE, ledger(entry("1", OLD), rebuilt_s=900), demand_at=None).occupied.total == 9


def test_glideins_that_have_run_for_long_are_ripe():
    book = ledger(entry("1", OLD, NEW, IDLE, MISSING))
    assert ripe(book, "cpu", NOW, 10 * MINUTE) == 1
    assert ripe(book, "cpu", NOW - 55 * MINUTE, 10 * MINUTE) == 0
    assert ripe(book, "gpu", NOW, 10 * MINUTE) == 0
