from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glidepost.infra.aggregator.aggregate import aggregate
from glidepost.infra.aggregator.problems import (
    CLAIM_LIFE,
    MAX_ENDED,
    bounded,
    claimed,
    follow,
    merged,
    to_tell,
    told,
)
from glidepost.schema.heartbeat import BreakerView


@pytest.fixture
def seen(documents):
    """A status some minutes from now, of heartbeats that are so many minutes old now."""

    def make(minutes=0, *, demand=None, breaker=None, sites=(), **ages):
        heartbeats = {
            name: documents.heartbeat(name, documents.shape(breaker=breaker), age_s=60 * age)
            for name, age in ages.items()
        }
        return aggregate(demand, heartbeats, sites, documents.now + timedelta(minutes=minutes))

    return make


def kinds(problems):
    return [(problem.kind, problem.subject, problem.ended_at is not None) for problem in problems.values()]


def test_a_site_that_falls_silent_is_one_problem_however_often_it_is_looked_at(seen):
    problems = follow({}, seen(north=100, south=1))
    assert kinds(problems) == [("site-silent", "north", False)]
    assert follow(problems, seen(5, north=100, south=1)) == problems
    assert follow({}, seen(north=100, south=1)) == problems


def test_a_late_site_is_no_problem_yet(seen):
    assert follow({}, seen(north=30)) == {}


def test_a_site_that_is_back_ends_its_problem_and_can_fall_silent_again(seen):
    problems = follow({}, seen(north=100))
    problems = follow(problems, seen(10, north=-9))
    assert kinds(problems) == [("site-silent", "north", True)]
    (problem,) = problems.values()
    assert problem.end_text == "site north is back: heard at 2026-11-22 09:23:05 UTC"
    problems = follow(problems, seen(200, north=-9))
    assert kinds(problems) == [("site-silent", "north", True), ("site-silent", "north", False)]


def test_a_silent_site_that_was_heard_once_and_is_silent_still_has_one_problem(seen):
    problems = follow({}, seen(north=300))
    assert kinds(follow(problems, seen(1, north=100))) == [("site-silent", "north", False)]


def test_a_site_whose_heartbeat_cannot_be_believed_is_not_back(seen, documents):
    problems = follow({}, seen(north=100))
    problems = follow(problems, unreadable(documents, 30, since=0))
    assert kinds(problems) == [("site-silent", "north", False), ("site-unreadable", "north", False)]


def unreadable(documents, minutes, *, since):
    """A status some minutes from now, of a site whose heartbeat cannot be read since then."""
    status = aggregate(None, {"north": "not JSON"}, [], documents.now + timedelta(minutes=minutes))
    first = documents.now + timedelta(minutes=since)
    return replace(status, sites=tuple(replace(site, errors_since=first) for site in status.sites))


def test_a_site_that_cannot_be_read_for_20_minutes_is_one_problem_until_it_can(seen, documents):
    assert follow({}, unreadable(documents, 19, since=0)) == {}
    problems = follow({}, unreadable(documents, 20, since=0))
    ((_, problem),) = problems.items()
    assert problem.text == "what site north reports cannot be believed: not JSON"
    assert problem.since == documents.now
    for later in (unreadable(documents, 180, since=0), unreadable(documents, 180, since=179)):
        assert follow(problems, later) == problems, "nobody knows any more since when: it goes on"
    other_run = follow({}, unreadable(documents, 21, since=0))
    assert kinds(merged(problems, other_run)) == [("site-unreadable", "north", False)]
    problems = follow(problems, seen(190, north=-190))
    assert [problem.end_text for problem in problems.values()] == ["site north can be read again"]
    again = follow(problems, unreadable(documents, 221, since=191))
    assert kinds(again) == [("site-unreadable", "north", True), ("site-unreadable", "north", False)]


def test_a_site_that_left_the_pool_is_not_waited_for(seen):
    problems = follow(follow({}, seen(north=100)), seen(1))
    assert kinds(problems) == [("site-silent", "north", True)]
    assert next(iter(problems.values())).end_text == "site north is not waited for any more"


def test_a_paused_shape_is_a_problem_until_it_is_not_paused_any_more(seen, documents):
    breaker = BreakerView("paused", "never-joined", "3 of 4", 1, documents.now)
    problems = follow({}, seen(breaker=breaker, north=1))
    assert kinds(problems) == [("breaker", "north/small", False)]
    canary = replace(breaker, state="canary", trips=2, since=documents.now + timedelta(hours=1))
    assert kinds(follow(problems, seen(1, breaker=canary, north=0))) == [("breaker", "north/small", False)]
    assert kinds(follow(problems, seen(1, north=0))) == [("breaker", "north/small", True)]


def test_of_the_shapes_of_a_silent_site_nobody_knows_whether_they_are_paused(seen, documents):
    breaker = BreakerView("paused", "never-joined", "", 1, documents.now)
    problems = follow({}, seen(breaker=breaker, north=1))
    assert kinds(follow(problems, seen(120, north=1))) == [
        ("breaker", "north/small", False),
        ("site-silent", "north", False),
    ]


def test_a_shape_that_is_paused_again_since_the_same_time_is_another_problem(seen, documents):
    breaker = BreakerView("paused", "never-joined", "", 1, documents.now)
    problems = follow({}, seen(breaker=breaker, north=1))
    problems = follow(problems, seen(1, north=0))
    problems = follow(problems, seen(2, breaker=breaker, north=-1))
    assert kinds(problems) == [("breaker", "north/small", True), ("breaker", "north/small", False)]


@pytest.mark.parametrize(
    ("age_s", "is_overdue"), [(0, False), (1349, False), (1350, True), (1800, True), (10**6, True)]
)
def test_a_demand_is_overdue_while_sites_still_act_on_it(seen, documents, age_s, is_overdue):
    problems = follow({}, seen(demand=documents.demand(age_s=age_s)))
    assert bool(problems) == is_overdue
    assert (
        kinds(follow(problems, seen(1, demand=documents.demand(age_s=0, sequence=919))))
        == [("demand-overdue", "", True)] * is_overdue
    )


def test_a_demand_that_cannot_be_read_is_not_a_new_one(seen, documents):
    problems = follow({}, seen(demand=documents.demand(age_s=10**6)))
    assert follow(problems, seen(1, demand="not JSON")) == problems


def test_a_run_that_is_late_neither_ends_nor_reopens_anything(seen):
    problems = follow({}, seen(90, north=60))
    assert follow(problems, seen(1, north=0)) == problems
    over = follow(problems, seen(100, north=-95))
    assert follow(over, seen(95, north=60)) == over


def test_what_has_ended_is_forgotten_at_last_and_what_goes_on_never(seen):
    problems = follow({}, seen(**{f"s{n}": 100 for n in range(MAX_ENDED + 50)}, still=100))
    over = follow(problems, seen(1, **{f"s{n}": 0 for n in range(MAX_ENDED + 50)}, still=100))
    assert len(over) == MAX_ENDED + 1
    assert ("site-silent", "still", False) in kinds(over)
    assert bounded(over) == over


def test_a_problem_is_told_once_and_so_is_its_end(seen, documents):
    problems = follow({}, seen(north=100))
    begun, ended = to_tell(problems, "mail", documents.now)
    assert (len(begun), ended) == (1, [])
    problems = told(problems, "mail", begun, ended, documents.now)
    assert to_tell(problems, "mail", documents.now) == ([], [])
    assert len(to_tell(problems, "webhook", documents.now)[0]) == 1
    problems = follow(problems, seen(10, north=-9))
    begun, ended = to_tell(problems, "mail", documents.now)
    assert (begun, len(ended)) == ([], 1)
    problems = told(problems, "mail", begun, ended, documents.now)
    assert to_tell(problems, "mail", documents.now) == ([], [])


def test_what_was_over_before_it_could_be_told_is_not_told(seen, documents):
    problems = follow(follow({}, seen(north=100)), seen(10, north=-9))
    assert to_tell(problems, "mail", documents.now) == ([], [])


def test_what_another_run_is_telling_is_left_to_it_for_ten_minutes(seen, documents):
    problems = follow({}, seen(north=100))
    problems = claimed(problems, "mail", problems.values(), documents.now)
    assert to_tell(problems, "mail", documents.now + CLAIM_LIFE - timedelta(seconds=1)) == ([], [])
    assert len(to_tell(problems, "mail", documents.now + CLAIM_LIFE)[0]) == 1


def test_two_runs_put_together_what_they_know(seen, documents):
    problems = follow({}, seen(north=100, south=100))
    north, south = problems.values()
    ours = told(problems, "mail", [north], [], documents.now)
    theirs = follow(claimed(problems, "mail", [north, south], documents.now), seen(5, north=100, south=0))
    for both in (merged(ours, theirs), merged(theirs, ours)):
        assert both[north.id].told["mail"].begin == documents.now
        assert both[north.id].told["mail"].claimed is None
        assert both[south.id].ended_at == documents.now + timedelta(minutes=5)
        assert both[south.id].told["mail"].claimed == documents.now


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=12))
def test_whatever_two_runs_did_merging_is_the_same_both_ways_and_twice(documents, steps):
    sides = [{}, {}]
    for minute, (step, side) in enumerate(steps):
        now = documents.now + timedelta(minutes=minute)
        age = 100 if step < 2 else -minute
        status = aggregate(None, {"north": documents.heartbeat("north", age_s=60 * age)}, [], now)
        mine = follow(sides[side], status)
        if step % 2:
            mine = told(mine, "mail", *to_tell(mine, "mail", now), now)
        sides[side] = mine
    both = merged(*sides)
    assert merged(*reversed(sides)) == both
    assert merged(both, sides[0]) == both
