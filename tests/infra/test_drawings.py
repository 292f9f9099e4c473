from __future__ import annotations

import re

import made_up
import pytest
from documents import NOW

from glidepost.infra.aggregator.drawings import MAX_LINES, pool_drawings, site_drawings


def said(drawing, span=0):
    return drawing.charts[span].summary.replace("\u00a0", " ")


def notes(drawing, span=0):
    return {line.name: line.note.replace("\u00a0", " ") for line in drawing.charts[span].lines}


@pytest.fixture(scope="module")
def drawn():
    return {drawing.id: drawing for drawing in pool_drawings(made_up.histories(made_up.names(9)), NOW)}


def test_the_three_figures_of_the_paper_come_first(drawn):
    assert list(drawn) == ["hours", "wait", "share", "queue"]


def test_the_sites_that_ran_most_have_a_line_each_and_all_others_one(drawn):
    lines = drawn["hours"].charts[0].lines
    assert [line.name for line in lines] == [*made_up.names(MAX_LINES - 1), "4 other sites"]
    assert len({line.mark for line in lines}) == MAX_LINES
    few = pool_drawings(made_up.histories(made_up.names(MAX_LINES)), NOW)[0]
    assert [line.name for line in few.charts[0].lines] == made_up.names(MAX_LINES)


def test_accumulated_hours_only_grow(drawn):
    numbers = [int(number) for number in re.findall(r"\d+", drawn["hours"].charts[0].lines[0].path)]
    assert numbers[1::2] == sorted(numbers[1::2], reverse=True)


def test_the_wait_is_said_in_minutes_and_the_share_in_percent(drawn):
    assert said(drawn["wait"]).startswith("Now ")
    assert " min" in said(drawn["wait"])
    assert said(drawn["share"]).endswith("100 %.")


def test_each_span_has_its_chart(drawn):
    assert all([chart.span for chart in drawing.charts] == ["day", "quarter", "year"] for drawing in drawn.values())
    assert all(chart.lines for drawing in drawn.values() for chart in drawing.charts)


@pytest.mark.parametrize("rings", [{}, made_up.histories(["north"], has_values=False)], ids=["none", "gaps"])
def test_figures_of_nothing_are_empty_and_say_what_to_do(rings):
    for drawing in (*pool_drawings(rings, NOW), *site_drawings("north", rings, NOW)):
        assert all(not chart.lines for chart in drawing.charts)
        assert drawing.empty.endswith(".")


def test_one_value_alone_is_drawn():
    rings = made_up.histories(["north"], part=0.002)
    assert len(rings["5min"].pool["idle"]) == 1
    drawing = pool_drawings(rings, NOW)[3]
    assert [line.path.endswith("h0") for line in drawing.charts[0].lines] == [True] * 3


def test_a_site_shows_its_glideins_its_efficiency_and_how_many_failed():
    rings = made_up.histories(["north"])
    glideins, busy, ended = site_drawings("north", rings, NOW)
    assert list(notes(glideins)) == ["queued", "running", "held"]
    assert notes(busy) == {"cpus busy": "now 100 %", "gpus busy": "now 100 %"}
    assert " of glideins in 24 hours." in said(busy)
    assert "failed. Each point counts what ended in 15 minutes." in said(ended)
