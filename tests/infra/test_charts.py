from __future__ import annotations

import re
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepost.infra.aggregator.charts import COUNT, HOURS, PERCENT, Drawn, chart, marks, path, scale, spark, time_ticks
from glidepost.infra.aggregator.charts import unit_of_time as unit
from glidepost.infra.aggregator.figures import SPANS, Window

NOW = datetime(2026, 11, 22, 9, 14, 5, tzinfo=timezone.utc)
VALUES = st.lists(st.none() | st.floats(0, 1e12, allow_subnormal=False), min_size=1, max_size=60).map(tuple)


@pytest.mark.parametrize(
    ("highest", "ticks"),
    [
        (0, [0, 1]),
        (1, [0, 0.25, 0.5, 0.75, 1]),
        (7, [0, 2, 4, 6, 8]),
        (11, [0, 5, 10, 15]),
        (999, [0, 250, 500, 750, 1000]),
    ],
)
def test_a_scale_has_round_steps_and_holds_the_highest_value(highest, ticks):
    assert scale(highest) == ticks


def test_things_are_not_counted_in_halves():
    assert scale(1.2, whole=True) == [0, 1, 2]


@given(st.floats(1e-6, 1e15))
def test_any_scale_has_few_ticks(highest):
    ticks = scale(highest)
    assert 2 <= len(ticks) <= 6
    assert ticks[-1] >= highest * (1 - 1e-9)


def test_a_path_breaks_at_a_gap_and_shows_a_lone_value_as_a_point():
    assert path((0.0, 1.0, None, 2.0), 2.0) == "M125 1000 375 500M875 0h0"
    assert path((None, None), 1.0) == ""


@given(VALUES)
def test_all_that_is_drawn_lies_in_the_box(values):
    top = max([1.0, *(value for value in values if value is not None)])
    assert all(0 <= int(number) <= 1000 for number in re.findall(r"\d+", path(values, top)))
    assert all(0 <= float(part.rstrip("%")) <= 100 for place in marks(values, top) for part in place)


def test_a_line_has_its_mark_at_its_end():
    assert marks((1.0, 2.0, None), 2.0)[-1] == ("50%", "0%")
    assert marks((None,), 1.0) == ()


def test_a_small_line_of_nothing_is_nothing():
    assert spark((None, None)) == ""
    assert spark((0.0, 0.0)) == "M250 1000 750 1000"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (119, "119 s"), (150, "2.5 min"), (7200, "2 h"), (864000, "10 d")]
)
def test_durations_are_said_in_the_unit_that_fits(seconds, text):
    assert unit(seconds).text(seconds).replace("\u00a0", " ") == text


def test_numbers_carry_their_units():
    assert (PERCENT.text(0.404), HOURS.text(1234.5), HOURS.text(0.25), COUNT.text(12)) == (
        "40\u00a0%",
        "1,234\u00a0h",
        "0.2\u00a0h",
        "12",
    )


@pytest.mark.parametrize(
    ("span", "texts"),
    [
        (SPANS[0], ["12:00", "18:00", "22 Nov", "06:00"]),
        (SPANS[1], ["1 Sep", "1 Oct", "1 Nov"]),
        (SPANS[2], ["Jan 2026", "Apr 2026", "Jul 2026", "Oct 2026"]),
    ],
    ids=lambda value: getattr(value, "id", ""),
)
def test_the_axis_of_time_names_hours_days_and_months(span, texts):
    assert [tick.text for tick in time_ticks(Window.of({}, span, NOW))] == texts


@pytest.mark.parametrize(
    ("value", "text"), [(600_000, "600k h"), (9_000, "9,000 h"), (2.5e6, "2.5M h"), (0, "0 h"), (3e9, "3G h")]
)
def test_an_axis_says_large_numbers_in_few_letters(value, text):
    assert HOURS.short(value).replace("\u00a0", " ") == text


def test_a_chart_of_gaps_is_empty_and_one_of_zeros_is_not():
    window = Window.of({}, SPANS[0], NOW)
    assert chart(window, [Drawn("a", 0, (None,) * 96)], COUNT, "").lines == ()
    drawn = chart(window, [Drawn("a", 0, (0.0,) * 96), Drawn("b", 1, (None,) * 96)], COUNT, "")
    assert [line.name for line in drawn.lines] == ["a"]
    assert [tick.text for tick in drawn.y] == ["0", "1"]
