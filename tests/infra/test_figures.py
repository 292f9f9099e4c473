from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepost.infra.aggregator.figures import SPANS, Span, Window, accumulated, added, is_empty, last, ratio, total
from glidepost.infra.aggregator.history import History

NOW = datetime(2026, 11, 22, 9, 14, 5, tzinfo=timezone.utc)
HOURLY = Span("test", "4 hours", ("5min",), 3600, 4, "an hour")


NEXT = NOW.replace(minute=15, second=0)


def ring(values, *, end=NEXT, step=300, site="north", series="running"):
    start = end - timedelta(seconds=step * len(values))
    return History(step, start, {series: tuple(values)}, {site: {series: tuple(values)}})


def test_a_bin_is_the_mean_of_its_slots_or_what_they_add_up_to():
    window = Window.of({"5min": ring([1.0] * 12 + [2.0] * 6 + [4.0] * 6)}, HOURLY, NOW)
    assert window.pool("running") == (None, None, 1.0, 3.0)
    assert window.site("north", "running", is_added=True) == (None, None, 12.0, 36.0)
    assert window.sum_of_site("north", "running") == 48.0


def test_gaps_stay_gaps_and_a_bin_needs_one_value_only():
    window = Window.of({"5min": ring([None] * 12 + [None] * 11 + [5.0] + [None] * 12)}, HOURLY, NOW)
    assert window.pool("running") == (None, None, 5.0, None)


def test_the_newest_bin_holds_now():
    window = Window.of({"5min": ring([1.0])}, HOURLY, NOW)
    assert (window.start, window.end) == (NOW.replace(hour=5, minute=15, second=0), NOW.replace(minute=15, second=0))


def test_where_a_coarse_ring_ends_the_finer_one_goes_on_and_nothing_is_counted_twice():
    span = Span("test", "2 hours", ("1h", "5min"), 3600, 3, "an hour")
    coarse = ring([60.0], end=NOW.replace(minute=0, second=0), step=3600)
    fine = ring([1.0] * 20)
    window = Window.of({"1h": coarse, "5min": fine}, span, NOW)
    assert window.sum_of_site("north", "running") == 60.0 + 3
    assert total(window.pool("running", is_added=True)) == 60.0 + 3


def test_a_mean_weighs_values_by_how_long_they_were():
    span = Span("test", "2 hours", ("1h", "5min"), 7200, 1, "two hours")
    rings = {"1h": ring([10.0], end=NOW.replace(minute=0, second=0), step=3600), "5min": ring([22.0] * 3)}
    assert Window.of(rings, span, NOW).pool("running") == (pytest.approx((10 * 3600 + 22 * 900) / 4500),)


def test_what_is_no_number_is_a_gap():
    window = Window.of({"5min": ring([math.nan, math.inf, -1.0, None])}, HOURLY, NOW)
    assert is_empty(window.pool("running"))
    assert window.sum_of_site("north", "running") == 0


@pytest.mark.parametrize("span", SPANS, ids=lambda span: span.id)
@pytest.mark.parametrize("rings", [{}, {"5min": ring([])}, {"5min": ring([None] * 9)}], ids=["none", "empty", "gaps"])
def test_without_values_every_span_is_one_gap(span, rings):
    window = Window.of(rings, span, NOW)
    assert window.pool("idle") == window.site("north", "queued") == window.site("x", "y") == (None,) * span.bins


@given(
    values=st.lists(st.none() | st.floats(0, 1e9), max_size=80),
    late_s=st.integers(-90_000, 90_000),
    step=st.sampled_from([300, 3600, 86400]),
)
def test_a_ring_of_any_length_and_place_fits_into_the_bins(values, late_s, step):
    end = NOW.replace(minute=0, second=0) + timedelta(seconds=late_s // step * step)
    for span in SPANS:
        window = Window.of({"5min": ring(values, end=end, step=step)}, span, NOW)
        found = window.pool("running", is_added=True)
        assert len(found) == span.bins
        assert total(found) == pytest.approx(window.sum_of_site("north", "running"))
        assert total(found) <= math.fsum(filter(None, values)) * (1 + 1e-9)


def test_a_running_sum_goes_on_after_a_gap_where_it_was():
    assert accumulated((1.0, None, 2.0)) == (1.0, None, 3.0)


def test_sums_and_ratios_of_gaps_are_gaps():
    assert added((1.0, None, None), (2.0, 3.0, None)) == (3.0, 3.0, None)
    assert ratio((1.0, 3.0, 1.0, None), (4.0, 2.0, 0.0, 1.0)) == (0.25, 1.0, None, None)
    assert (last((1.0, 2.0, None)), last((None,))) == (2.0, None)
