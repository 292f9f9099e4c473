from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from glidepost.publisher import offers
from glidepost.publisher.census import JobGroup, Slot
from glidepost.publisher.shares import Standing, assign
from glidepost.schema.demand import Group
from glidepost.schema.heartbeat import Counts, Heartbeat, Limits, ShapeReport
from glidepost.schema.publisher_config import SiteRules
from glidepost.schema.resources import Request, Resources

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
LARGE = Resources(8, 16384, 10_000, 86400)
SMALL = Resources(1, 2048, 10_000, 86400)


def shape_of(name: str = "cpu", resources: Resources = LARGE, *, counts=Counts(), **changes) -> ShapeReport:  # noqa: B008
    limits = {"max_total": 100, "max_queued": 40, "max_running": 100, "max_per_cycle": 10}
    limits.update({key: changes.pop(key) for key in list(changes) if key in limits})
    values = {"submitted": 0, "removed": 0, "reason": "satisfied", "detail": "", **changes}
    return ShapeReport(name, "slurm", resources, Limits(**limits), counts, **values)


def heartbeat_of(*shapes: ShapeReport, age: timedelta = MINUTE, **changes) -> Heartbeat:
    return Heartbeat("north", "i", "0.1.0", 1, NOW - age, shapes, **changes)


def job_of(idle_jobs: int = 100, name: str = "g00000001", **request) -> JobGroup:
    wanted = Request(**{"cpus": 1, "memory_mib": 1000, "disk_mib": 100, **request})
    return JobGroup(Group(name, idle_jobs, NOW, 1, wanted), "[]")


def slots_of(*ages: timedelta) -> list[Slot]:
    return [Slot("north", "cpu", 8, 0, 0, 0, start=int((NOW - age).timestamp())) for age in ages]


def read(heartbeat, slots=(), **rules):
    return offers.read({"north": heartbeat}, slots, {"north": SiteRules(**rules)}, NOW)


def offer(heartbeat, slots=(), **rules):
    ((_, found),) = read(heartbeat, slots, **rules).sites["north"].shapes
    return found


# Which heartbeats count


@pytest.mark.parametrize(
    ("age", "why"),
    [
        (timedelta(hours=1), None),
        (timedelta(hours=1, seconds=1), "its last heartbeat is 60 minutes old"),
        (timedelta(days=3), "its last heartbeat is 4320 minutes old"),
        (timedelta(minutes=-5), None),
        (timedelta(minutes=-6), "its heartbeat is 6 minutes ahead of our clock"),
    ],
)
def test_a_heartbeat_counts_while_it_is_fresh(age, why):
    found = read(heartbeat_of(shape_of(), age=age))
    assert found.refused == ({"north": why} if why else {})
    assert bool(found.sites) == (why is None)


@pytest.mark.parametrize("rules", [{"priority": 0}, {"max_share": 0}])
def test_the_rules_may_give_a_site_nothing(rules):
    for heartbeat in (None, heartbeat_of(shape_of())):
        found = read(heartbeat, **rules)
        assert (found.sites, found.refused) == ({}, {"north": "the pool's rules give it no share"})


def test_a_site_that_was_left_out_offers_nothing():
    assert offers.read({}, (), {"north": SiteRules()}, NOW) == offers.Offers({}, {})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"paused": True}, "it is paused"),
        ({"counts": None}, "its batch system could not be asked"),
        ({"reason": "submit-failed"}, "its last cycle ended with submit-failed"),
        ({"reason": "queue-unknown"}, "its last cycle ended with queue-unknown"),
    ],
)
def test_a_shape_that_is_paused_or_fails_gets_nothing_and_the_others_something(changes, why):
    found = read(heartbeat_of(shape_of(**changes), shape_of("other")))
    assert found.refused == {"north/cpu": why}
    assert [bool(item) for _, item in found.sites["north"].shapes] == [False, True]


# Room: a level, with what is held already


@pytest.mark.parametrize(
    ("changes", "room"),
    [
        ({}, 40),
        ({"counts": Counts(idle=30)}, 40),
        ({"counts": Counts(running=80)}, 20),
        ({"counts": Counts(running=80, idle=20)}, 20),
        ({"counts": Counts(running=50), "max_running": 55}, 5),
        ({"counts": Counts(held=3, unknown=2)}, 35),
        ({"counts": Counts(idle=60)}, 40),
    ],
)
def test_room_is_what_may_be_queued_in_all(changes, room):
    assert offer(heartbeat_of(shape_of(**changes))).room == room


@pytest.mark.parametrize("counts", [Counts(running=100), Counts(running=120), Counts(held=40), Counts(unknown=50)])
def test_a_shape_without_room_gets_nothing(counts):
    assert offer(heartbeat_of(shape_of(counts=counts))) is None


def test_the_room_of_a_site_leaves_out_what_runs_or_is_stuck_in_any_shape():
    shapes = shape_of(counts=Counts(idle=9, running=10, held=1)), shape_of("other", counts=None, max_total=20)
    assert read(heartbeat_of(*shapes, max_total=50)).sites["north"].site.room == 19
    assert read(heartbeat_of(*shapes, max_total=5)).sites["north"].site.room == 0
    assert read(heartbeat_of(*shapes)).sites["north"].site.room is None


def test_to_hold_more_does_not_change_the_room():
    """Else the shares would swing: given, then held, then taken away, then given again."""
    rooms = {offer(heartbeat_of(shape_of(counts=Counts(idle=count)))).room for count in range(0, 41, 10)}
    assert rooms == {40}


# Weight: what started lately


def test_a_shape_that_has_started_nothing_has_the_floor():
    found = offer(heartbeat_of(shape_of()))
    assert (found.weight, found.standing) == (offers.FLOOR * 100, Standing.REPORTS)


def test_the_weight_follows_recent_starts_in_steps_and_is_bounded_by_the_room():
    weights = [offer(heartbeat_of(shape_of()), slots_of(*[MINUTE] * count)).weight for count in (5, 16, 31, 32, 200)]
    assert weights == [1000, 1600, 1600, 3200, 4000]


def test_old_starts_and_those_to_come_do_not_count():
    slots = slots_of(*[timedelta(hours=4)] * 32, *[-timedelta(hours=4)] * 32)
    assert offer(heartbeat_of(shape_of()), slots).standing == Standing.REPORTS


def test_the_priority_of_the_rules_multiplies_the_weight():
    assert offer(heartbeat_of(shape_of()), priority=300).weight == offers.FLOOR * 300


def test_queued_glideins_are_held_where_some_start():
    shape = shape_of(counts=Counts(idle=12), submitted=5, removed=2)
    slots = slots_of(*[timedelta(hours=1)] * 32)
    assert offer(heartbeat_of(shape), slots).held == 15
    assert offer(heartbeat_of(shape)).held == 0


def test_no_more_is_held_than_is_expected_to_start():
    slots = slots_of(timedelta(hours=1))
    assert offer(heartbeat_of(shape_of(counts=Counts(idle=35))), slots).held == offers.FLOOR


def test_glideins_that_started_since_the_heartbeat_are_queued_no_more():
    slots = slots_of(*[timedelta(hours=1)] * 32, *[timedelta(seconds=5)] * 9)
    assert offer(heartbeat_of(shape_of(counts=Counts(idle=12))), slots).held == 3


# Matching


def test_the_candidates_are_the_shapes_that_match():
    found = read(heartbeat_of(shape_of(), shape_of("small", SMALL), shape_of("other")))
    ((group,), candidates) = offers.match([job_of()], found, lambda _, __, shape: shape.name != "other")
    assert [(item.offer.shape, item.capacity) for item in candidates[group.id]] == [("cpu", 8), ("small", 1)]
    assert group.shapes == {"north": ("cpu", "small")}


def test_shapes_are_not_named_where_resources_alone_say_the_same():
    found = read(heartbeat_of(shape_of(), shape_of("small", SMALL)))
    ((group,), candidates) = offers.match([job_of(cpus=4)], found, lambda *_: True)
    assert [item.offer.shape for item in candidates[group.id]] == ["cpu"]
    assert group.shapes == {}


def test_a_site_none_of_whose_shapes_match_is_named_with_none():
    found = read(heartbeat_of(shape_of()))
    ((group,), candidates) = offers.match([job_of()], found, lambda *_: False)
    assert (group.shapes, candidates) == ({"north": ()}, {group.id: []})


def test_a_paused_shape_that_matches_is_named_and_gets_nothing():
    found = read(heartbeat_of(shape_of(paused=True), shape_of("other")))
    ((group,), candidates) = offers.match([job_of()], found, lambda _, __, shape: shape.name == "cpu")
    assert (group.shapes, candidates) == ({"north": ("cpu",)}, {group.id: []})


def test_a_site_that_never_reported_is_tried_with_a_few_of_each_group():
    jobs = [job_of(1000), job_of(4, "g00000002", gpus=8)]
    groups, candidates = offers.match(jobs, read(None), lambda *_: False)
    assigned = assign(groups, candidates)
    assert [group.sites for group in assigned] == [{"north": offers.FLOOR}, {"north": 4}]
    assert [group.shapes for group in assigned] == [{}, {}]


def test_a_site_that_never_reported_takes_no_only_user_job_from_one_that_does():
    found = offers.read({"ghost": None, "north": heartbeat_of(shape_of())}, (), {}, NOW)
    for number in range(30):
        groups, candidates = offers.match([job_of(1, f"g{number:08x}")], found, lambda *_: True)
        assert assign(groups, candidates)[0].sites == {"north": 1}


def test_shares_stand_still_while_the_site_fills_them():
    """A closed loop of one site: what it holds does not change what it should hold."""
    given, counts = [], Counts()
    for _ in range(8):
        found = read(heartbeat_of(shape_of(resources=SMALL, counts=counts)))
        groups, candidates = offers.match([job_of(25)], found, lambda *_: True)
        (group,) = assign(groups, candidates)
        given.append(group.sites["north"])
        counts = replace(counts, idle=min(group.sites["north"], counts.idle + 7))
    assert given == [25] * 8
