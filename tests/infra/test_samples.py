from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from glidepost.infra.aggregator.aggregate import aggregate
from glidepost.infra.aggregator.history import MAX_SITES
from glidepost.infra.aggregator.samples import POOL, LastMetrics, add, closed, levels, outcomes, starts, tracked_sites
from glidepost.schema.demand import Metrics, Other, ShapeView
from glidepost.schema.heartbeat import Counts

NINE = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)


def at(minute, second=20):
    return NINE + timedelta(minutes=minute, seconds=second)


def through(*runs):
    """Returns (all slots that were closed, the open one) after runs of (minute, idle)."""
    done, filled = [], None
    for minute, idle in runs:
        one, filled = add(filled, at(minute), {POOL: {"idle": float(idle)}}, {})
        done += [one] if one else []
    return done, filled


def test_a_slot_is_the_mean_over_its_runs():
    ((second, slot),), _ = through((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 100))
    assert (second, slot.pool["idle"]) == (int(NINE.timestamp()), 3)


def test_a_second_run_in_the_same_minute_takes_the_place_of_the_first():
    once = closed(through((0, 1), (1, 7))[1])
    assert closed(through((0, 1), (0, 1), (1, 7), (1, 7), (1, 7))[1]) == once
    assert once.pool["idle"] == 4


def test_lost_runs_leave_a_mean_over_the_others():
    assert closed(through((0, 2), (4, 4))[1]).pool["idle"] == 3


def test_slots_without_any_run_are_never_closed():
    done, _ = through((0, 1), (31, 2))
    assert [second for second, _ in done] == [int(NINE.timestamp())]


def test_a_late_run_adds_its_growths_and_not_its_levels():
    _, filled = through((7, 5))
    done, filled = add(filled, at(2), {POOL: {"idle": 99.0}}, {"north": {"ended": 3.0, "failed": 1.0}})
    assert done is None
    assert closed(filled).pool["idle"] == 5
    assert closed(filled).sites["north"] == {"ended": 3, "failed": 1}


def test_growths_are_added_up_and_hours_follow_from_the_mean():
    filled = None
    for minute in range(5):
        seen = {POOL: {"glideins": 24.0}, "north": {"running": 12.0, "glideins": 12.0}}
        _, filled = add(filled, at(minute), seen, {POOL: {"started_jobs": 10, "wait_s": 250}})
    slot = closed(filled)
    assert slot.pool["glidein_hours"] == 2
    assert (slot.pool["started_jobs"], slot.pool["mean_wait_s"]) == (50, 25)
    assert slot.sites["north"] == {"running": 12, "glidein_hours": 1, "ended": 0, "failed": 0}


def test_without_a_start_there_is_no_mean_wait():
    _, filled = add(None, at(0), {}, {POOL: {"started_jobs": 0, "wait_s": 0}})
    assert closed(filled).pool == {"started_jobs": 0}


def test_the_share_on_glideins_needs_both_counts():
    _, filled = add(None, at(0), {POOL: {"running_inside": 30.0, "running_outside": 10.0}}, {})
    assert closed(filled).pool["share_inside"] == 0.75
    _, filled = add(None, at(0), {POOL: {"running_inside": 30.0}}, {})
    assert "share_inside" not in closed(filled).pool


@pytest.fixture
def status(documents):
    def make(*heartbeats, **more):
        view = {"north": {"small": ShapeView(5, 20, 16, 2, 1)}}
        metrics = Metrics(running_inside=16, running_outside=4)
        demand = documents.demand(documents.group(), pool_view=view, metrics=metrics, **more)
        return aggregate(demand, {item.site: item for item in heartbeats}, ["never"], documents.now)

    return make


def test_levels_are_those_of_the_page(status, documents):
    found = levels(status(documents.heartbeat("north"), other=Other(3, 8)), {"north", "never"})
    assert found[POOL] == {
        "idle": 20,
        "running_inside": 16,
        "running_outside": 4,
        "glideins_queued": 2,
        "glideins_running": 5,
        "glideins": 5,
        "cpus": 20,
        "cpus_busy": 16,
        "gpus": 2,
        "gpus_busy": 1,
    }
    assert found["north"]["queued"] == 2
    assert found["never"] == {"glideins": 0, "cpus": 0, "cpus_busy": 0, "gpus": 0, "gpus_busy": 0}


def test_of_a_silent_site_only_what_the_collector_sees_is_known(status, documents):
    found = levels(status(documents.heartbeat("north", age_s=7200)), {"north"})["north"]
    assert found == {"glideins": 5, "cpus": 20, "cpus_busy": 16, "gpus": 2, "gpus_busy": 1}


def test_of_an_expired_demand_nothing_is_known(status, documents):
    found = levels(status(documents.heartbeat("north"), life_s=60), {"north"})
    assert found[POOL] == {"glideins_queued": 2, "glideins_running": 5, "glideins": 5}
    assert found["north"] == {"queued": 2, "running": 5, "held": 0, "glideins": 5}


def test_a_batch_system_that_could_not_be_asked_leaves_a_gap_and_no_zero(status, documents):
    found = levels(status(documents.heartbeat("north", documents.shape(counts=None))), {"north"})
    assert "running" not in found["north"]
    assert "glideins_running" not in found[POOL]


def test_sites_that_are_not_kept_count_for_the_pool(status, documents):
    found = levels(status(documents.heartbeat("north"), documents.heartbeat("south")), {"south"})
    assert set(found) == {POOL, "south"}
    assert found[POOL]["glideins_running"] == 10


def test_sites_with_a_history_go_before_others(documents):
    status = aggregate(None, {}, [f"s{n:03d}" for n in range(MAX_SITES + 9)], documents.now)
    tracked = tracked_sites(status, ["s208", "gone"])
    assert len(tracked) == MAX_SITES
    assert "s208" in tracked
    assert "gone" not in tracked


def test_failures_are_all_outcomes_but_the_good_ones(documents):
    told = {"idle-shutdown": 5, "deadline": 1, "killed": 2, "never-joined": 3, "check-failed:cvmfs": 4, "unheard-of": 1}
    assert outcomes(documents.heartbeat("north", outcomes=told)) == {"ended": 16, "failed": 8}


def metrics(documents, started, wait, *, age_s=0, sequence=1):
    return documents.demand(age_s=age_s, sequence=sequence, metrics=Metrics(started_jobs=started, wait_s=wait))


def test_starts_are_counted_between_two_demands(documents):
    grown, last = starts(metrics(documents, 100, 5000, age_s=60), None)
    assert grown == {}
    assert starts(metrics(documents, 130, 5600), last)[0] == {"started_jobs": 30, "wait_s": 600}


def test_the_same_demand_is_counted_once(documents):
    _, last = starts(metrics(documents, 100, 5000, age_s=60), None)
    _, last = starts(metrics(documents, 130, 5600), last)
    assert starts(metrics(documents, 130, 5600), last) == ({}, last)
    assert starts(metrics(documents, 100, 5000, age_s=60), last) == ({}, last)


def test_a_counter_that_fell_is_that_of_a_schedd_that_began_anew(documents):
    _, last = starts(metrics(documents, 100, 5000, age_s=60), None)
    grown, last = starts(metrics(documents, 3, 40), last)
    assert grown == {}
    assert last.started_jobs == 3


def test_what_grew_while_nobody_looked_for_hours_belongs_to_no_slot(documents):
    last = LastMetrics(documents.now - timedelta(hours=2), 100, 5000)
    grown, last = starts(metrics(documents, 900, 9000), last)
    assert grown == {}
    assert last.started_jobs == 900


def test_a_pool_that_publishes_no_counters_has_none(documents):
    assert starts(documents.demand(metrics=Metrics(running_inside=3)), None) == ({}, None)
    assert starts(None, None) == ({}, None)


def test_an_empty_queue_is_a_zero_and_no_gap(documents):
    heartbeat = documents.heartbeat("north", documents.shape(counts=Counts()))
    found = levels(aggregate(None, {"north": heartbeat}, [], documents.now), {"north"})["north"]
    assert found == {"queued": 0, "running": 0, "held": 0, "glideins": 0}
