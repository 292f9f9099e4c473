from __future__ import annotations

import json
import random
from array import array
from datetime import datetime, timedelta, timezone
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glidepost.infra.aggregator import rings
from glidepost.infra.aggregator.coarsen import coarsen
from glidepost.infra.aggregator.history import (
    HISTORIES,
    MAX_SITES,
    POOL_SERIES,
    SITE_SERIES,
    History,
    Slot,
    from_arrays,
    put,
    shortened,
    slot_of,
)
from glidepost.schema import document
from glidepost.schema.document import validator
from glidepost.schema.errors import StoreError, UntrustedDocument

START = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)
BEGIN = int(START.timestamp())
DAY = 86_400


def slot(idle, **sites):
    return Slot(
        {"idle": idle}, {name: {"running": value, "glidein_hours": value / 12} for name, value in sites.items()}
    )


def filled(*values, name="5min"):
    """A ring with one value of `idle` in each slot from START on; None leaves the slot out."""
    history, step = None, HISTORIES[name].resolution_s
    for number, value in enumerate(values):
        if value is not None:
            history = put(name, history, BEGIN + number * step, slot(value))
    return history


def test_what_was_put_is_there_and_what_was_not_is_a_gap():
    history = filled(3, None, 5)
    assert (history.start, history.resolution_s, history.length) == (START, 300, 3)
    assert history.pool["idle"] == (3, None, 5)
    assert history.pool["gpus"] == (None, None, None)


def test_a_slot_that_is_put_twice_is_there_once():
    history = filled(3, 4)
    again = put("5min", history, BEGIN + 300, slot(4))
    assert rings.encode(again) == rings.encode(history)
    assert put("5min", history, BEGIN, slot(9)).pool["idle"] == (9, 4)


def test_a_full_ring_loses_its_oldest_slots():
    step, length = HISTORIES["5min"]
    history = put("5min", filled(1, 2, 3), BEGIN + length * step, slot(4))
    assert history.length == length
    assert (history.start, history.pool["idle"][:2], history.pool["idle"][-1]) == (
        START + timedelta(seconds=step), (2, 3), 4
    )  # fmt: skip


def test_a_slot_older_than_the_ring_changes_nothing():
    step, length = HISTORIES["5min"]
    history = put("5min", None, BEGIN + length * step, slot(4))
    assert put("5min", history, BEGIN - step, slot(1)) is history


def test_after_a_pause_longer_than_the_ring_only_the_new_is_there():
    history = put("5min", filled(1, 2), BEGIN + 30 * DAY, slot(7))
    assert history.pool["idle"][-1] == 7
    assert [value for value in history.pool["idle"] if value is not None] == [7]
    assert history.length == HISTORIES["5min"].length


def test_all_series_of_a_ring_have_one_length_also_of_a_site_that_came_later():
    history = put("5min", filled(1, 2), BEGIN + 600, slot(3, north=5))
    assert history.sites["north"]["running"] == (None, None, 5)
    assert {len(series) for series in [*history.pool.values(), *history.sites["north"].values()]} == {3}


def test_a_site_of_which_nothing_is_known_any_more_leaves_the_ring():
    history = put("5min", None, BEGIN, slot(1, north=5))
    step, length = HISTORIES["5min"]
    assert "north" in put("5min", history, BEGIN + (length - 1) * step, slot(1)).sites
    assert "north" not in put("5min", history, BEGIN + length * step, slot(1)).sites


def test_the_first_sites_stay_when_there_is_no_room_for_more():
    history = put("5min", None, BEGIN, slot(1, **{f"s{n}": 1 for n in range(MAX_SITES)}))
    history = put("5min", history, BEGIN + 300, slot(1, s0=2, late=99))
    assert len(history.sites) == MAX_SITES
    assert "late" not in history.sites
    assert history.sites["s0"]["running"] == (1, 2)


def test_of_new_sites_the_largest_come_first():
    history = put("5min", None, BEGIN, slot(1, **{f"s{n:03d}": n for n in range(MAX_SITES + 5)}))
    assert "s004" not in history.sites
    assert "s005" in history.sites


def test_an_hour_is_the_mean_of_levels_and_the_sum_of_growths():
    history = None
    for number in range(12):
        history = put("5min", history, BEGIN + 300 * number, slot(number, north=number))
    hour = coarsen("1h", history, None, START + timedelta(hours=1))
    assert hour.pool["idle"] == (5.5,)
    assert hour.sites["north"]["running"] == (5.5,)
    assert hour.sites["north"]["glidein_hours"] == (5.5,)  # twelve times n / 12 hours


def test_an_hour_that_is_not_over_is_not_made():
    assert coarsen("1h", filled(1, 2), None, START + timedelta(minutes=59)) is None


def test_a_gap_in_the_finer_ring_is_left_out_of_the_mean_and_an_hour_of_gaps_is_a_gap():
    values = [2] * 6 + [None] * 6 + [None] * 12 + [8]
    hour = coarsen("1h", filled(*values), None, START + timedelta(hours=3))
    assert hour.pool["idle"] == (2, None, 8)


def test_the_mean_wait_of_an_hour_is_that_of_all_user_jobs():
    history = put("5min", None, BEGIN, Slot({"mean_wait_s": 10, "started_jobs": 90}))
    history = put("5min", history, BEGIN + 300, Slot({"mean_wait_s": 110, "started_jobs": 10}))
    hour = coarsen("1h", history, None, START + timedelta(hours=1))
    assert (hour.pool["mean_wait_s"], hour.pool["started_jobs"]) == ((20,), (100,))


def test_the_share_of_an_hour_is_that_of_its_means():
    history = put("5min", None, BEGIN, Slot({"running_inside": 90, "running_outside": 10, "share_inside": 0.9}))
    history = put("5min", history, BEGIN + 300, Slot({"running_inside": 0, "running_outside": 2, "share_inside": 0}))
    hour = coarsen("1h", history, None, START + timedelta(hours=1))
    assert hour.pool["share_inside"] == (shortened(90 / 102),)


def test_a_coarser_ring_that_was_lost_begins_with_what_the_finer_one_has():
    history = filled(*([1] * 24))
    assert coarsen("1h", history, None, START + timedelta(hours=2)).pool["idle"] == (1, 1)


def test_a_finer_ring_that_was_lost_takes_nothing_from_the_coarser_one():
    hour = coarsen("1h", filled(*([1] * 12)), None, START + timedelta(hours=1))
    later = put("5min", None, BEGIN + 3600 + 1800, slot(9))
    hour = coarsen("1h", later, hour, START + timedelta(hours=2))
    assert hour.pool["idle"] == (1, 9)


def test_a_coarser_ring_that_has_all_is_not_made_again():
    history = filled(*([1] * 24))
    hour = coarsen("1h", history, None, START + timedelta(hours=2))
    assert coarsen("1h", history, hour, START + timedelta(hours=2, minutes=30)) is hour


def run_all(slots):
    """Rings after the slots of five minutes in this order, each said to be over when the next one begins."""
    kept = {}
    for number, value in slots:
        now = START + timedelta(minutes=5 * (number + 1), seconds=20)
        kept.update(rings.advance(kept, BEGIN + 300 * number, slot(value, north=value), now))
    return kept


@settings(max_examples=25, deadline=None)
@given(
    values=st.lists(st.integers(0, 50), min_size=1, max_size=40),
    lost=st.sets(st.integers(0, 39)),
    doubled=st.sets(st.integers(0, 39)),
)
def test_doubled_runs_change_nothing_and_lost_ones_leave_gaps(values, lost, doubled):
    slots = [(number, value) for number, value in enumerate(values) if number not in lost]
    twice = [item for item in slots for _ in range(1 + (item[0] in doubled))]
    once = run_all(slots)
    assert {name: rings.encode(history) for name, history in run_all(twice).items()} == {
        name: rings.encode(history) for name, history in once.items()
    }
    for number, value in slots:
        ring = once["5min"]
        place = (BEGIN + 300 * number - int(ring.start.timestamp())) // 300
        assert ring.pool["idle"][place] == value
    assert sum(value is not None for value in (once["5min"].pool["idle"] if once else ())) == len(slots)


def test_days_follow_from_hours_that_follow_from_five_minutes():
    kept = {}
    for number in range(3 * 288):
        now = START + timedelta(minutes=5 * (number + 1))
        kept.update(rings.advance(kept, BEGIN + 300 * number, slot(7, north=12), now))
    assert kept["5min"].length == 576
    assert kept["1h"].length == 72
    assert kept["1d"].start == datetime(2026, 11, 22, tzinfo=timezone.utc)
    assert kept["1d"].pool["idle"] == (7, 7, 7)
    assert kept["1d"].sites["north"]["glidein_hours"] == (12 * 15, 12 * 24, 12 * 24)


def full(name, sites, length=None, seed=1):
    """A ring with a value in every slot of every series."""
    chance = random.Random(seed)
    length = length or HISTORIES[name].length
    start = slot_of(START, HISTORIES[name].resolution_s)

    def column():
        level = chance.uniform(0, 3000)
        return array("d", [shortened(max(0.0, level + chance.gauss(0, 40))) for _ in range(length)])

    return from_arrays(
        name,
        start,
        length,
        {series: column() for series in POOL_SERIES},
        {f"site-{n}": {series: column() for series in SITE_SERIES} for n in range(sites)},
    )


def test_a_year_of_50_sites_takes_less_than_50_mb_and_comes_back_the_same():
    size = 0
    for name, length in (("5min", None), ("1h", None), ("1d", 365)):
        history = full(name, 50, length)
        body = rings.encode(history)
        size += len(body)
        assert rings.encode(rings.decode(name, body)) == body
    assert size < 50_000_000
    assert size > 3_000_000  # it was really full


def test_a_ring_follows_its_schema_and_so_does_an_empty_one():
    history = put("5min", filled(1, None, 2.5), BEGIN + 900, slot(3, north=5))
    for ring in (history, from_arrays("1h", slot_of(START, 3600), 0, {}, {}), full("1d", 2, 7)):
        validator("history/1").validate(json.loads(rings.encode(ring)))
    data = json.loads(rings.encode(history))
    assert data["pool"]["idle"] == [1, None, 2.5, 3]
    assert "gpus" not in data["pool"]


def test_a_value_beyond_all_measure_is_cut_rather_than_written_so_that_no_reader_takes_it():
    history = put("5min", None, BEGIN, Slot({"idle": 2**70, "cpus": -1}))
    assert rings.decode("5min", rings.encode(history)).pool["idle"] == (1e15,)
    assert history.pool["cpus"] == (0,)


GOOD = json.loads(rings.encode(put("5min", filled(1, None, 2), BEGIN + 900, slot(3, north=5))))


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "history/2"},
        {"resolution_s": 3600},
        {"resolution_s": 301},
        {"start": "yesterday"},
        {"start": "2026-11-22T09:00:00"},
        {"length": -1},
        {"length": 5},
        {"length": 100_000},
        {"pool": None},
        {"pool": {"idle": [1, 2]}},
        {"pool": {"idle": [1, 2, 3, "4"]}},
        {"pool": {"idle": [1, 2, 3, -4]}},
        {"pool": {"idle": [1, 2, 3, 1e16]}},
        {"pool": {"idle": 7}},
        {"sites": {"../x": {}}},
        {"sites": {"north": []}},
        {"sites": {"north": {"running": [None, None, None, True]}}},
        {"sites": {f"s{n}": {} for n in range(201)}},
    ],
    ids=str,
)
def test_what_breaks_the_schema_or_the_ring_is_refused(change):
    assert rings.decode("5min", json.dumps(GOOD).encode()).length == 4
    with pytest.raises(UntrustedDocument, match=r"v1/history/5min\.json"):
        rings.decode("5min", json.dumps({**GOOD, **change}).encode())


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_reader_and_schema_agree_on_what_a_history_is(data):
    """What the schema refuses, the reader refuses. (The reader knows more: lengths that differ, names of series.)"""
    changed = json.loads(json.dumps(GOOD))
    strange = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False),
        st.text(max_size=5),
        st.just([]),
        st.just({}),
    )
    place = data.draw(st.sampled_from([changed, changed["pool"], changed["sites"], changed["sites"]["north"]]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(strange)
    body = json.dumps(changed).encode()
    try:
        rings.decode("5min", body)
    except UntrustedDocument:
        return
    validator("history/1").validate(changed)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 50_000, b'{"kind":"history/1"}'])
def test_damage_is_an_error_of_its_own_and_nothing_else(body):
    with pytest.raises(UntrustedDocument):
        rings.decode("1h", body)


def test_a_damaged_ring_is_set_aside_and_not_lost(store, documents):
    store.objects["v1/history/1h.json"] = b'{"kind": "history/1", "cut'
    rings.save(store, {"5min": filled(1, 2)})
    found = rings.load(store, documents.now)
    assert sorted(found) == ["5min"]
    assert store.objects["v1/history/damaged/1h-20261122T091405Z.json"] == b'{"kind": "history/1", "cut'


def test_a_ring_that_the_store_does_not_give_is_not_begun_anew(store, documents):
    store.broken = frozenset({"v1/history/1d.json"})
    with pytest.raises(StoreError):
        rings.load(store, documents.now)


def test_series_of_a_later_version_are_left_alone_by_an_earlier_one():
    later = {**GOOD, "later": 1, "pool": {**GOOD["pool"], "moods": ["x"]}}
    assert rings.decode("5min", json.dumps(later).encode()).pool["idle"] == (1, None, 2, 3)


def test_a_history_of_plain_tuples_is_as_good():
    plain = History(300, START, {"idle": (1.0, None)}, {"north": {"running": (None, 2.0)}})
    assert plain.length == 2
    longer = put("5min", plain, BEGIN + 600, slot(3))
    assert longer.pool["idle"] == (1, None, 3)
    assert msgspec.json.decode(rings.encode(plain))["sites"] == {"north": {"running": [None, 2]}}


def test_the_example_of_the_schema_is_read_and_follows_it():
    body = (Path(document.__file__).parent / "history-1.example.json").read_bytes()
    validator("history/1").validate(json.loads(body))
    assert rings.decode("1h", body).pool["idle"] == (1500, None, 1320)
