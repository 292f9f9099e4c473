"""Whole cycles against a real HTTP server and a batch system that misbehaves as it is told."""

from __future__ import annotations

import stat
from datetime import timedelta

import pytest
from pool_tokens import ENDLESS

from glidepost.backends.base import BatchJob, JobState
from glidepost.schema.errors import CommandFailed, UnreadableOutput
from glidepost.schema.puller_config import GlideinOptions, SiteLimits
from glidepost.site_puller import record
from glidepost.site_puller.cycle import Cycle
from glidepost.site_puller.fetch import open_source
from glidepost.site_puller.heartbeat import Route
from glidepost.site_puller.ledger import Ledger, LedgerFile, name_prefix
from glidepost.site_puller.queue import LostAnswer

MINUTE = timedelta(minutes=1)


def ledger_in(state) -> Ledger:
    return LedgerFile(state / "ledger.json").load(was_here=True)[0]


LOST = LostAnswer("sbatch: no answer within 60 s", hint="wait")
REFUSED = CommandFailed("sbatch: Invalid partition name specified (exit 1)", hint="run it by hand")
DOWN = CommandFailed("squeue: Unable to contact slurm controller (exit 1)", hint="run it by hand")


def test_a_cycle_submits_what_is_assigned_and_reports_it(run_cycle, publish, make_group, queue, web, state):
    publish(make_group(4))
    done = run_cycle()
    assert (done.exit_code, done.errors, done.submitted) == (0, (), {"cpu": 4})
    (request,) = queue.requests
    assert (request.count, request.resources.cpus, request.log_folder) == (4, 1, str(state / "logs"))
    assert request.name.startswith(name_prefix("north", "cpu"))
    assert f"GLIDEPOST_NAME={request.name}\n" in request.script
    (entry,) = ledger_in(state).entries.values()
    assert (entry.name, entry.count, entry.batch_id) == (request.name, 4, "1")
    report = web.last_heartbeat()
    assert (report.site, report.demand_sequence, report.errors) == ("north", 7, ())
    assert (report.shapes[0].submitted, report.shapes[0].reason) == (4, "satisfied")
    assert (report.shapes[0].advertises["GLIDEPOST_Shape"], report.shapes[0].accept) == ("cpu", ())
    assert record.load(state / "cycle.json").plans == done.plans


def test_the_token_is_for_its_owner_only_and_in_no_script(run_cycle, publish, make_group, queue, state):
    publish(make_group(1))
    run_cycle()
    assert (state / "token").read_text(encoding="ascii") == f"{ENDLESS}\n"
    assert stat.S_IMODE((state / "token").stat().st_mode) == 0o600
    assert ENDLESS not in queue.requests[0].script
    assert not any(
        ENDLESS.encode() in file.read_bytes() for file in state.rglob("*") if file.is_file() and file.name != "token"
    )


def test_to_prepare_submits_nothing_and_writes_no_ledger(make_config, publish, make_group, queue, session, now, state):
    publish(make_group(4))
    config = make_config()
    source, route = open_source(config, session), Route.of(config, session)
    prepared = Cycle(config, now=now, queues={"cpu": queue}, source=source, route=route).prepare()
    assert prepared.plans[0].submit == 4
    assert queue.requests == []
    assert {path.name for path in state.iterdir()} == {"documents"}


def test_a_second_cycle_on_the_same_demand_submits_nothing(run_cycle, publish, make_group, queue):
    publish(make_group(4))
    run_cycle()
    done = run_cycle(at=MINUTE)
    assert (done.submitted, done.plans[0].reason) == ({"cpu": 0}, "covered")
    assert len(queue.jobs_) == 4


def test_what_is_accepted_and_not_yet_listed_is_not_submitted_again(run_cycle, publish, make_group, queue):
    publish(make_group(4))
    queue.is_slow_to_list = True
    run_cycle()
    for minutes in (1, 4, 5):
        assert run_cycle(at=minutes * MINUTE).submitted == {"cpu": 0}
    queue.show()
    assert run_cycle(at=5 * MINUTE).plans[0].holding.unreported == 0


def test_what_was_never_listed_is_taken_for_gone_after_its_grace(run_cycle, publish, make_group, queue, now, web):
    queue.is_slow_to_list = True
    for minutes, submitted in ((0, 4), (5, 0), (10, 0), (15, 0), (20, 4)):
        web.date = now + minutes * MINUTE
        publish(make_group(4), at=web.date)
        assert run_cycle(at=minutes * MINUTE).submitted == {"cpu": submitted}


def test_glideins_that_have_just_started_still_hold_what_the_demand_counts(run_cycle, publish, make_group, queue, now):
    publish(make_group(4))
    run_cycle()
    queue.become(JobState.RUNNING)
    assert run_cycle(at=MINUTE).submitted == {"cpu": 0}
    publish(make_group(4), at=now + 4 * MINUTE)
    assert run_cycle(at=4 * MINUTE).submitted == {"cpu": 4}


def test_limits_hold_over_many_cycles(run_cycle, publish, make_group, make_config, make_shape, queue, now, web):
    config = make_config(make_shape(max_total=7, max_queued=3, max_per_cycle=2))
    for minute in range(12):
        web.date = now + minute * MINUTE
        publish(make_group(100), at=now + minute * MINUTE, sequence=minute + 1)
        before = len(queue.jobs_)
        run_cycle(config, at=minute * MINUTE)
        waiting = sum(job.state is not JobState.RUNNING for job in queue.jobs_)
        assert len(queue.jobs_) - before <= 2
        assert waiting <= 3
        assert len(queue.jobs_) <= 7
        queue.become(JobState.RUNNING, minute)
    assert len(queue.jobs_) == 7


def test_the_limit_over_all_shapes_holds(run_cycle, publish, make_group, make_config, make_shape):
    publish(make_group(100))
    done = run_cycle(make_config(make_shape("a"), make_shape("b"), limits=SiteLimits(max_total=12)))
    assert done.submitted == {"a": 10, "b": 2}


# Answers that are lost, refused, or not understood


def test_a_lost_answer_is_found_again_by_its_name(run_cycle, publish, make_group, queue, state):
    publish(make_group(4))
    queue.lost, queue.is_slow_to_list = LOST, True
    done = run_cycle()
    assert (done.exit_code, done.submitted, done.plans[0].reason) == (1, {"cpu": 0}, "submit-failed")
    (entry,) = ledger_in(state).entries.values()
    assert (entry.batch_id, entry.count) == (None, 4)
    queue.lost = None
    assert run_cycle(at=MINUTE).submitted == {"cpu": 0}
    queue.show()
    done = run_cycle(at=2 * MINUTE)
    assert (done.submitted, done.plans[0].holding.counts.idle) == ({"cpu": 0}, 4)


def test_a_lost_answer_is_found_again_even_when_the_ledger_is_lost_too(
    run_cycle, publish, make_group, queue, state, now, web
):
    publish(make_group(4))
    queue.lost, queue.is_slow_to_list = LOST, True
    run_cycle()
    queue.lost = None
    (state / "ledger.json").unlink()
    done = run_cycle(at=MINUTE)
    assert (done.plans[0].reason, done.exit_code, done.submitted) == ("ledger-rebuilt", 1, {"cpu": 0})
    queue.show()
    for minutes in (6, 11, 16, 21):
        web.date = now + minutes * MINUTE
        publish(make_group(5), at=web.date)
        done = run_cycle(at=minutes * MINUTE)
    assert (done.exit_code, done.submitted) == (0, {"cpu": 1})


def test_a_ledger_that_nobody_can_read_is_moved_aside_and_reported(run_cycle, publish, make_group, state, web):
    publish(make_group(4))
    run_cycle()
    (state / "ledger.json").write_bytes(b"\0" * 100)
    done = run_cycle(at=MINUTE)
    assert (done.plans[0].reason, done.exit_code, done.submitted) == ("ledger-rebuilt", 1, {"cpu": 0})
    assert "ledger.json is unreadable" in web.last_heartbeat().errors[0]
    assert len(list(state.glob("ledger.json.broken-*"))) == 1
    assert sum(entry.live for entry in ledger_in(state).entries.values()) == 4


def test_a_crash_between_intent_and_answer_costs_no_second_submission(run_cycle, publish, make_group, queue, state):
    publish(make_group(4))
    queue.lost, queue.is_slow_to_list = KeyboardInterrupt(), True
    with pytest.raises(KeyboardInterrupt):
        run_cycle()
    assert len(ledger_in(state).entries) == 1
    queue.lost = None
    assert run_cycle(at=MINUTE).submitted == {"cpu": 0}


def test_a_refused_submission_leaves_nothing_behind_and_is_tried_again(
    run_cycle, publish, make_group, queue, state, web
):
    publish(make_group(4))
    queue.refusal = REFUSED
    done = run_cycle()
    assert (done.exit_code, done.submitted, done.plans[0].reason) == (1, {"cpu": 0}, "submit-failed")
    assert ledger_in(state).entries == {}
    assert web.last_heartbeat().errors == (REFUSED.what,)
    queue.refusal = None
    assert run_cycle(at=MINUTE).submitted == {"cpu": 4}


def test_a_check_that_is_not_there_is_an_error_and_submits_nothing(
    run_cycle, publish, make_group, make_config, queue, web
):
    publish(make_group(4))
    done = run_cycle(make_config(glidein=GlideinOptions(checks=("/nowhere/opencl.sh",))))
    assert (done.exit_code, done.submitted, done.plans[0].reason) == (2, {"cpu": 0}, "submit-failed")
    assert queue.requests == []
    assert "opencl.sh" in web.last_heartbeat().errors[0]


def test_one_shape_that_is_refused_leaves_the_others_alone(
    run_cycle, publish, make_group, make_config, make_shape, make_queue
):
    publish(make_group(15))
    queues = {"a": make_queue(("a",), refusal=REFUSED), "b": make_queue(("b",))}
    done = run_cycle(make_config(make_shape("a"), make_shape("b")), queues=queues)
    assert (done.submitted, done.exit_code) == ({"a": 0, "b": 5}, 1)


@pytest.mark.parametrize("error", [DOWN, UnreadableOutput("squeue: what?", hint="report it")])
def test_a_queue_that_cannot_be_read_gets_nothing(run_cycle, publish, make_group, queue, web, error):
    publish(make_group(4))
    queue.error = error
    done = run_cycle()
    assert (done.exit_code, done.submitted, done.plans[0].reason) == (1, {"cpu": 0}, "queue-unknown")
    assert queue.requests == []
    report = web.last_heartbeat()
    assert (report.shapes[0].counts, report.errors) == (None, (error.what,))


def test_a_queue_that_was_read_in_part_gets_nothing(run_cycle, publish, make_group, queue, web):
    publish(make_group(4))
    run_cycle()
    queue.error, queue.listed = UnreadableOutput("squeue: cut", hint="report it"), 2
    done = run_cycle(at=MINUTE)
    assert (done.exit_code, done.submitted, done.plans[0].reason) == (1, {"cpu": 0}, "queue-partial")
    assert web.last_heartbeat().shapes[0].counts is None


def test_a_queue_that_could_not_be_read_forgets_nothing(run_cycle, publish, make_group, queue, state):
    publish(make_group(4))
    run_cycle()
    before = ledger_in(state).entries
    queue.error = DOWN
    for minutes in (5, 10, 15, 20):
        run_cycle(at=minutes * MINUTE)
    assert ledger_in(state).entries == before
    queue.error = None
    assert run_cycle(at=21 * MINUTE).submitted == {"cpu": 0}


def test_an_empty_answer_although_glideins_live_is_not_believed(run_cycle, publish, make_group, queue, now, web):
    reasons = []
    for minutes in (0, 5, 10, 15, 20):
        web.date = now + minutes * MINUTE
        publish(make_group(8), at=web.date)
        queue.listed = None if minutes < 5 else 0
        done = run_cycle(at=minutes * MINUTE)
        reasons.append(done.plans[0].reason)
        if minutes == 0:
            queue.show()
            run_cycle(at=MINUTE)
    assert reasons == ["satisfied", "queue-implausible", "queue-implausible", "satisfied", "covered"]


def test_one_silent_batch_system_leaves_the_others_alone(
    run_cycle, publish, make_group, make_config, make_shape, make_queue
):
    publish(make_group(4))
    queues = {"a": make_queue(("a",), error=DOWN), "b": make_queue(("b",))}
    done = run_cycle(make_config(make_shape("a"), make_shape("b")), queues=queues)
    assert [line.reason for line in done.plans] == ["queue-unknown", "satisfied"]


def test_shapes_of_one_batch_system_ask_it_once(run_cycle, publish, make_config, make_shape, queue):
    publish()
    run_cycle(make_config(make_shape("a"), make_shape("b")))
    assert queue.asked == 1


@pytest.mark.parametrize("state_", [JobState.HELD, JobState.UNKNOWN, JobState.IDLE])
def test_batch_jobs_in_any_waiting_state_count(run_cycle, publish, make_group, queue, state_):
    publish(make_group(4))
    run_cycle()
    queue.become(state_)
    assert run_cycle(at=MINUTE).submitted == {"cpu": 0}


def test_batch_jobs_that_are_over_do_not_count(run_cycle, publish, make_group, queue):
    publish(make_group(4))
    run_cycle()
    run_cycle(at=MINUTE)
    queue.become(JobState.GONE)
    assert run_cycle(at=2 * MINUTE).submitted == {"cpu": 4}


def test_glideins_that_died_before_anybody_saw_them_are_not_replaced_at_once(run_cycle, publish, make_group, queue):
    """Else a node that breaks each of them would get new ones every minute."""
    publish(make_group(4))
    run_cycle()
    queue.become(JobState.GONE)
    assert run_cycle(at=MINUTE).submitted == {"cpu": 0}
    queue.jobs_ = []
    assert run_cycle(at=2 * MINUTE).submitted == {"cpu": 0}


def test_other_peoples_and_other_sites_batch_jobs_do_not_count(run_cycle, publish, make_group, queue):
    publish(make_group(4))
    names = ("simulation", "gp-", name_prefix("south", "cpu") + "12345", "")
    queue.jobs_ = [BatchJob(str(index), name, JobState.IDLE) for index, name in enumerate(names)]
    assert run_cycle().submitted == {"cpu": 4}
