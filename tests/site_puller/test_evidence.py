from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from glidepost.backends.base import JobState
from glidepost.schema.demand import ShapeView
from glidepost.schema.resources import Resources
from glidepost.site_puller.evidence import Evidence, Place, Sighting, View, evidence_of
from glidepost.site_puller.ledger import Entry, Ledger, Member
from glidepost.site_puller.outcomes import Ended

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
CANARY = "gp-canary"


def entry(*members: Member, name: str = CANARY, shape: str = "cpu", count: int = 1) -> Entry:
    listed = {f"1_{index}": member for index, member in enumerate(members)}
    return Entry(name, shape, count, NOW - 60 * MINUTE, 0, Resources(1, 1000, 1000, 3600), 1.0, members=listed)


def ledger(*entries: Entry) -> Ledger:
    return Ledger({item.name: item for item in entries}, seen_at=NOW)


def running(minutes: float, **changes) -> Member:
    return Member(JobState.RUNNING, NOW - minutes * MINUTE, **changes)


@pytest.fixture
def look(make_demand):
    """Looks at a shape: look(ledger, record, record, view=ShapeView, before=ledger, demand=None)."""

    def make(
        held: Ledger, *records: Ended, view=None, before=None, canary=CANARY, is_counted=True, **changes
    ) -> Evidence:
        demand = changes.get("demand", make_demand(pool_view={"north": {"cpu": view}} if view else {}))
        seen = View("north", before or held, held, records, demand, 1200, NOW)
        return evidence_of(seen, "cpu", canary, short=0, is_counted=is_counted)

    return make


def test_records_of_the_shape_are_counted_by_outcome_and_host(look):
    evidence = look(
        Ledger(),
        Ended(1, "never-joined", shape="cpu", host="n1"),
        Ended(2, "never-joined", shape="cpu"),
        Ended(3, "deadline", shape="cpu", host="n2"),
        Ended(4, "killed", shape="cpu", host="n3"),
        Ended(5, "no-scratch", shape="gpu", host="n4"),
        Ended(6, "unreadable-record"),
    )
    assert evidence.ended == {"never-joined": 2, "deadline": 1, "killed": 1}
    assert (evidence.bad_hosts, evidence.good_hosts) == ({"n1", "?"}, {"n2"})


def test_what_the_pool_sees_comes_from_the_demand(look):
    view = ShapeView(4, 4, 4, 0, 0, newest_start=NOW - MINUTE)
    evidence = look(Ledger(), view=view)
    assert (evidence.in_pool, evidence.newest_start, evidence.sequence) == (4, NOW - MINUTE, 7)


def test_a_shape_that_the_pool_does_not_mention_has_none_there(look):
    assert look(Ledger()).in_pool == 0


def test_without_a_demand_nobody_knows(look):
    evidence = look(ledger(entry(running(60))), demand=None)
    assert (evidence.in_pool, evidence.sequence, evidence.ripe) == (None, None, 0)


def test_ripe_are_those_that_ran_ten_minutes_before_the_demand(look):
    held = ledger(entry(running(9), running(10), running(60), Member(JobState.IDLE), name="gp-1", count=4))
    assert look(held).ripe == 2


@pytest.mark.parametrize(
    ("held", "place"),
    [
        (ledger(entry()), Place.UNSEEN),
        (ledger(entry(Member(JobState.IDLE))), Place.QUEUED),
        (ledger(entry(Member(JobState.HELD))), Place.QUEUED),
        (ledger(entry(Member(JobState.UNKNOWN))), Place.QUEUED),
        (ledger(entry(running(5))), Place.RUNNING),
        (ledger(entry(running(5, missing=1))), Place.GONE),
        (ledger(entry(Member(JobState.IDLE, missing=2))), Place.GONE),
        (ledger(), Place.GONE),
        (ledger(entry(running(5), name="gp-other")), Place.GONE),
    ],
)
def test_where_the_canary_is(look, held, place):
    assert look(held).canary.place is place


def test_a_batch_system_that_was_not_asked_tells_nothing_of_it_but_its_record_does(look):
    record = Ended(1, "deadline", name=CANARY, shape="cpu")
    assert look(ledger(entry(running(5))), is_counted=False).canary == Sighting(Place.UNKNOWN)
    assert look(Ledger(), record, is_counted=False).canary == Sighting(Place.UNKNOWN, outcome="deadline")


def test_a_canary_that_we_asked_to_be_removed_was_removed(look):
    asked = ledger(entry(Member(JobState.IDLE, removed=True)))
    assert look(ledger(), before=asked).canary.place is Place.REMOVED
    assert look(asked, before=asked).canary.place is Place.QUEUED
    assert look(ledger(), before=ledger(entry(Member(JobState.IDLE)))).canary.place is Place.GONE


@pytest.mark.parametrize(
    ("minutes", "is_ripe", "has_outlived"), [(9, False, False), (10, True, False), (50, True, True)]
)
def test_how_long_the_canary_has_run(look, minutes, is_ripe, has_outlived):
    canary = look(ledger(entry(running(minutes)))).canary
    assert canary == Sighting(Place.RUNNING, NOW - minutes * MINUTE, None, is_ripe, has_outlived)


def test_a_record_of_another_glidein_is_not_the_canarys(look):
    records = [Ended(1, "deadline", name="gp-other", shape="cpu"), Ended(2, "no-scratch", name=CANARY, shape="cpu")]
    assert look(ledger(entry(running(5))), *records).canary.outcome == "no-scratch"


def test_a_record_that_names_the_canary_and_another_shape_is_foreign(look):
    assert look(ledger(entry(running(5))), Ended(1, "deadline", name=CANARY, shape="gpu")).canary.outcome is None


def test_without_a_canary_there_is_nothing_to_see_of_it(look):
    assert look(ledger(entry(running(5))), canary=None).canary == Sighting()


def test_short_ones_count_as_failures():
    evidence = replace(Evidence(ended={"no-scratch": 1, "killed": 4, "deadline": 2}), short=2)
    assert (evidence.failures, evidence.successes) == ({"no-scratch": 1, "short-lived": 2}, 2)
