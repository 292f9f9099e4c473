"""Whole cycles that give back what they hold: too much of it, or a shape that somebody drains."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from glidepost.backends.base import JobState
from glidepost.schema.demand import ShapeView
from glidepost.schema.errors import CommandFailed, Refused
from glidepost.schema.puller_config import Fit, SiteLimits
from glidepost.site_puller import drain

MINUTE = timedelta(minutes=1)
# What runs is in the pool.
SEEN = {"north": {"cpu": ShapeView(glideins=1, cpus=1, cpus_claimed=1, gpus=0, gpus_claimed=0)}}


@pytest.fixture
def cycles(run_cycle, publish, web, now):
    """Runs a cycle after so many minutes, on a demand of these groups."""

    def run(minutes: int, *groups, config=None, **changes):
        web.date = now + minutes * MINUTE
        publish(*groups, at=web.date, sequence=minutes + 7, **changes)
        return run_cycle(config, at=minutes * MINUTE)

    return run


def test_queued_glideins_that_nothing_waits_for_are_removed_after_the_grace(cycles, make_group, queue, web):
    cycles(0, make_group(4))
    queue.become(JobState.RUNNING, 1)
    for minutes in (5, 10, 15, 20, 25, 30):
        done = cycles(minutes, pool_view=SEEN)
        assert (queue.removed, done.plans[0].reason) == ([], "no-demand")
    done = cycles(35, pool_view=SEEN)
    assert (queue.removed, done.plans[0].reason) == (["1_3", "1_2", "1_1"], "excess-removed")
    assert web.last_heartbeat().shapes[0].removed == 3
    done = cycles(40, pool_view=SEEN)
    assert (done.plans[0].reason, done.plans[0].holding.missing) == ("no-demand", 0)
    assert [job.batch_id for job in queue.jobs_] == ["1_0"]


def test_a_paused_shape_gives_back_too_what_nothing_waits_for(cycles, make_group, make_config, queue):
    config = make_config(limits=SiteLimits(excess_grace_s=900))
    cycles(0, make_group(4), config=config)
    queue.become(JobState.RUNNING, 1)
    for minutes in (5, 10, 15, 20):
        done = cycles(minutes, config=config)
    assert (len(queue.removed), done.plans[0].reason) == (3, "paused")


def test_demand_that_comes_back_in_time_keeps_what_is_queued(cycles, make_group, queue):
    cycles(0, make_group(4))
    for minutes in (5, 10, 15, 20, 25, 30):
        cycles(minutes)
    cycles(34, make_group(4))
    for minutes in (39, 44, 49):
        cycles(minutes)
    assert queue.removed == []


def test_the_grace_is_the_sites(cycles, make_group, make_config, queue):
    config = make_config(limits=SiteLimits(excess_grace_s=60))
    cycles(0, make_group(4), config=config)
    cycles(1, config=config)
    cycles(2, config=config)
    assert len(queue.removed) == 4


def test_a_removal_that_fails_is_said_and_tried_again(cycles, make_group, make_config, queue):
    config = make_config(limits=SiteLimits(excess_grace_s=0))
    cycles(0, make_group(1), config=config)
    queue.removal_error = CommandFailed("scancel: Unable to contact slurm controller (exit 1)", hint="wait")
    cycles(1, config=config)
    done = cycles(2, config=config)
    assert (done.exit_code, len(queue.jobs_)) == (0, 1)
    assert "Unable to contact" in done.plans[0].detail
    queue.removal_error = None
    cycles(3, config=config)
    assert queue.jobs_ == []


def test_a_drained_shape_gives_back_what_it_queues_and_keeps_what_runs(cycles, make_group, queue, state, now, web):
    cycles(0, make_group(4))
    queue.become(JobState.RUNNING, 2)
    drain.save(state / "drained.json", drain.Drained().with_drained("cpu", now))
    done = cycles(1, make_group(9))
    assert (done.plans[0].reason, done.submitted, len(queue.jobs_)) == ("drained", {"cpu": 0}, 2)
    assert web.last_heartbeat().shapes[0].paused
    drain.save(state / "drained.json", drain.load(state / "drained.json").with_resumed("cpu", ["cpu"], now))
    assert cycles(6, make_group(9)).submitted == {"cpu": 8}


def test_a_limit_of_the_batch_system_is_no_error(cycles, make_group, queue):
    queue.refusal = Refused("sbatch: QOSMaxSubmitJobPerUserLimit (exit 1)", hint="wait", is_limit=True)
    done = cycles(0, make_group(4))
    assert (done.exit_code, done.plans[0].reason, done.submitted) == (0, "submit-limit", {"cpu": 0})
    queue.refusal = None
    assert cycles(1, make_group(4)).submitted == {"cpu": 4}


def test_an_array_that_is_too_long_is_submitted_in_parts(cycles, make_group, make_config, make_shape, queue):
    queue.most_at_once = 3
    config = make_config(make_shape(max_total=20, max_queued=20, max_per_cycle=20))
    done = cycles(0, make_group(7), config=config)
    assert (done.exit_code, done.plans[0].reason, done.submitted) == (0, "satisfied", {"cpu": 7})
    assert "in parts: sbatch: too many" in done.plans[0].detail
    assert [item.count for item in queue.requests] == [7, 3, 3, 1]
    assert len({item.name for item in queue.requests}) == 4
    assert cycles(1, make_group(7), config=config).submitted == {"cpu": 0}


def test_a_limit_that_leaves_room_for_some_is_filled(cycles, make_group, make_config, make_shape, queue):
    queue.most_live = 5
    config = make_config(make_shape(max_total=20, max_queued=20, max_per_cycle=20))
    done = cycles(0, make_group(12), config=config)
    assert (done.exit_code, done.plans[0].reason, done.submitted) == (0, "submit-limit", {"cpu": 5})
    assert len(queue.jobs_) == 5
    assert cycles(1, make_group(12), config=config).submitted == {"cpu": 0}


def test_an_account_that_is_refused_pauses_its_shape(cycles, make_group, queue, web):
    queue.refusal = Refused("sbatch: Invalid account (exit 1)", hint="ask", is_limit=False)
    done = cycles(0, make_group(4))
    assert (done.exit_code, done.plans[0].reason) == (1, "refused")
    queue.refusal = None
    done = cycles(5, make_group(4))
    assert (done.exit_code, done.plans[0].reason, done.submitted) == (0, "refused", {"cpu": 0})
    report = web.last_heartbeat().shapes[0]
    assert (report.paused, report.breaker.code, report.breaker.state) == (True, "refused", "paused")
    done = cycles(50, make_group(4))
    assert (done.plans[0].reason, done.submitted) == ("canary", {"cpu": 1})
    assert cycles(55, make_group(4)).submitted == {"cpu": 3}


def test_glideins_cut_to_their_user_jobs_are_submitted_by_size(cycles, make_group, make_config, make_shape, queue):
    config = make_config(make_shape(cpus=8, memory_mib=16384, fit=Fit(), max_total=20, max_queued=20))
    groups = (make_group(3, cpus=4), make_group(2, name="g00000002", memory_mib=3000))
    done = cycles(0, *groups, config=config)
    asked = {(item.resources.cpus, item.resources.memory_mib): item.count for item in queue.requests}
    assert (asked, done.submitted) == ({(4, 1024): 3, (1, 3072): 2}, {"cpu": 5})
    assert all(f"GLIDEPOST_CPUS={item.resources.cpus}\n" in item.script for item in queue.requests)
    assert cycles(1, *groups, config=config).submitted == {"cpu": 0}


def test_a_shape_that_left_the_configuration_still_counts_against_the_site(
    cycles, make_group, make_config, make_shape, queue
):
    cycles(0, make_group(4), config=make_config(make_shape("former")))
    limits = SiteLimits(max_total=6)
    config = make_config(make_shape("new"), limits=limits)
    assert cycles(1, make_group(9), config=config).submitted == {"new": 2}
    queue.jobs_ = [job for job in queue.jobs_ if job.batch_id.startswith("2")]
    for minutes in (6, 11, 16):
        done = cycles(minutes, make_group(9), config=config)
    assert done.submitted == {"new": 4}


def test_a_budget_lasts_for_its_day(cycles, make_group, make_config, make_shape, queue):
    shape = make_shape(max_total=50, max_queued=50, max_running=50, max_per_cycle=50)
    config = make_config(replace(shape, caps=replace(shape.caps, budget_per_day=6.0)))
    assert cycles(0, make_group(40), config=config).submitted == {"cpu": 6}
    assert cycles(1, make_group(40), config=config).plans[0].reason == "budget"
    queue.become(JobState.RUNNING)
    cycles(5, make_group(40), config=config)
    queue.become(JobState.GONE)
    # Each of them ran for half an hour of the hour that it might have.
    assert cycles(35, make_group(40), config=config).submitted == {"cpu": 3}
