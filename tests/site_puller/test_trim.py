from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glidepost.schema.heartbeat import BreakerView, Counts, Heartbeat, Limits, ShapeReport
from glidepost.schema.resources import Resources
from glidepost.schema.store_keys import MAX_HEARTBEAT_BYTES
from glidepost.site_puller.trim import MAX_BYTES, fitted, tidied

pytestmark = pytest.mark.long

OUTCOMES = {f"never-joined-{number}": 10**9 - number for number in range(64)}


@pytest.fixture
def shape(now) -> ShapeReport:
    return ShapeReport(
        "cpu",
        "slurm",
        Resources(1, 2048, 10_000, 3600),
        Limits(1, 1, 1, 1),
        Counts(idle=1),
        0,
        0,
        "covered",
        "enough",
        advertises={"Arch": "X86_64"},
        breaker=BreakerView("paused", "refused", "no such account", 1, now),
    )


@pytest.fixture
def report(now, shape) -> Heartbeat:
    return Heartbeat("north", "instance", "0.1.0", 1, now, (shape,), errors=("squeue: down",), outcomes={"deadline": 1})


def crowd(report: Heartbeat, shape: ShapeReport, count: int, **changes) -> Heartbeat:
    shapes = tuple(replace(shape, name=f"shape-{number}", **changes) for number in range(count))
    return replace(report, shapes=shapes, outcomes=OUTCOMES)


def read(body: bytes) -> Heartbeat:
    return Heartbeat.from_json(json.loads(body))


def test_the_bound_is_that_of_the_pools_form():
    assert MAX_BYTES == MAX_HEARTBEAT_BYTES


def test_a_heartbeat_of_a_usual_site_is_whole_and_readable(report):
    body = fitted(report)
    assert read(body) == report
    assert body.startswith(b'{\n "kind": "heartbeat/1"')


def test_spaces_go_first(report, shape):
    large = crowd(report, shape, 70)
    body = fitted(large)
    assert read(body) == large
    assert b"\n " not in body


def test_then_the_ends_of_texts(report, shape):
    found = read(fitted(replace(crowd(report, shape, 60, detail="x" * 500), errors=("y" * 500,) * 50)))
    assert {len(item.detail) for item in found.shapes} == {200}
    assert [len(error) for error in found.errors] == [200] * 10
    assert found.shapes[0].advertises
    assert found.outcomes == OUTCOMES


def test_then_what_glideins_advertise(report, shape):
    advertised = {f"Name{number}": "v" * 100 for number in range(20)}
    found = read(fitted(crowd(report, shape, 40, advertises=advertised)))
    assert len(found.shapes) == 40
    assert found.shapes[0].advertises == {}
    assert found.outcomes == OUTCOMES


def test_then_the_last_shapes_which_is_said(report, shape):
    found = read(fitted(crowd(report, shape, 200, accept=tuple(f"group_{number}" for number in range(50)))))
    assert 0 < len(found.shapes) < 200
    assert [item.name for item in found.shapes][:2] == ["shape-0", "shape-1"]
    assert found.errors[0] == f"{200 - len(found.shapes)} shapes left out: the heartbeat would be too large"
    assert found.errors[1] == "squeue: down"
    assert found.outcomes == OUTCOMES


@settings(max_examples=20, deadline=None)
@given(
    count=st.integers(0, 200),
    detail=st.text(max_size=600),
    errors=st.lists(st.text(max_size=600), max_size=60),
    accept=st.integers(0, 100),
    letter=st.sampled_from(["a", "é", "\u4e2d", "\U0001f40c", "\x01"]),
)
def test_whatever_a_site_has_to_say_fits_and_keeps_the_outcomes(count, detail, errors, accept, letter):
    from datetime import datetime, timezone  # noqa: PLC0415 - fixtures and hypothesis do not mix

    shape = ShapeReport(
        "s",
        "slurm",
        Resources(1, 1, 1, 1),
        Limits(1, 1, 1, 1),
        None,
        0,
        0,
        "covered",
        detail,
        advertises={f"N{number}": letter * 200 for number in range(accept)},
        accept=tuple(f"{number}{'g' * 190}" for number in range(accept)),
    )
    at = datetime(2026, 11, 22, tzinfo=timezone.utc)
    body = fitted(Heartbeat("north", "i", "0.1.0", 1, at, (shape,) * count, errors=tuple(errors), outcomes=OUTCOMES))
    assert len(body) <= MAX_BYTES
    assert read(body).outcomes == OUTCOMES


def test_a_file_name_in_bytes_that_are_no_text_is_sent_all_the_same(report, shape):
    spoilt = "/home/\udcff/state"
    found = read(fitted(replace(report, errors=(spoilt,), shapes=(replace(shape, detail=spoilt),))))
    assert (found.errors, found.shapes[0].detail) == (("/home/?/state",), "/home/?/state")


def test_tidying_changes_nothing_that_is_short_enough(report):
    assert tidied(report) == report
