from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from glidepost.infra.aggregator.words import BREAKER_CODES, OUTCOMES, asks, breaker_code, moment, outcome, reason, span
from glidepost.schema.resources import Request


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (11100, "3 h 5 min"),
        (172799, "47 h 59 min"),
        (172800, "2 d"),
        (1047600, "12 d 3 h"),
    ],
)
def test_a_span_is_as_precise_as_one_cares(seconds, text):
    assert span(seconds) == text


def test_a_moment_is_absolute_and_says_its_age(documents):
    past = moment(documents.now - timedelta(minutes=7), documents.now)
    assert (past.text, past.iso, past.age) == ("2026-11-22 09:07:05 UTC", "2026-11-22T09:07:05Z", "7 min ago")
    assert moment(documents.now + timedelta(hours=2), documents.now).age == "in 2 h"


def test_a_request_is_told_with_its_units():
    assert asks(Request(2, 4096, 1024, 1, 8192, "8.0")) == (
        "2 cpus, 4GiB memory, 1GiB disk, 1 gpu, 8GiB gpu memory, gpu capability 8.0"
    )


def test_a_reason_code_of_a_newer_version_is_shown_as_it_is():
    assert reason("max-queued") == "the shape's limit of queued glideins"
    assert reason("moon-phase") == "moon phase"


def test_outcomes_are_told_in_words_with_how_bad_they_are():
    assert outcome("idle-shutdown") == ("ok", "ran user jobs until there were none")
    assert outcome("check-failed:cvmfs") == ("bad", "the node did not pass the check cvmfs")
    assert outcome("moon-phase") == ("none", "moon phase")
    assert breaker_code("refused") == "the batch system refuses submissions"
    assert breaker_code("no-gpu") == "its glideins end so: was given no GPU that answers"


def test_every_outcome_and_code_of_the_reference_has_words():
    text = Path(__file__).parents[2].joinpath("docs/reference/reasons.md").read_text(encoding="utf-8")
    _, breakers, ends = text.split("\n## ")[-3:]
    codes = {
        title: set(re.findall(r"^\| `([a-z-]+)", part, re.MULTILINE)) for title, part in (("b", breakers), ("e", ends))
    }
    assert codes["b"] == set(BREAKER_CODES)
    assert codes["e"] - {"check-failed"} == set(OUTCOMES)
