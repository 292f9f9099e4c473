from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepost.publisher.require_gpus import bounds


def evaluate(text: str) -> object:
    """Numbers are themselves; nothing else has a value."""
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return None


@pytest.mark.parametrize(
    ("expression", "capability", "memory"),
    [
        ("Capability >= 8", "8.0", None),
        ("Capability >= 8.000000000000000E+00 && GlobalMemoryMb >= 8192", "8.0", 8192),
        ('(Capability >= 7.5) && (DeviceName == "a || b") && (GlobalMemoryMb >= 4000.5)', "7.5", 4001),
        ("((TARGET.capability >= 6.1 && (globalmemorymb > 4000)))", "6.1", 4001),
        ("8.6 <= Capability && 4000 < GlobalMemoryMb", "8.6", 4001),
        ("Capability > 7.5", "7.5", None),
        ("Capability == 9 && Capability >= 8", "9.0", None),
        ("Capability =?= 8.9", "8.9", None),
        ("GlobalMemoryMb >= 100 && GlobalMemoryMb >= 200", None, 200),
        ('DeviceName == "\\"&& Capability >= 9" && Capability >= 8', "8.0", None),
    ],
)
def test_what_is_certainly_asked_for_is_stated(expression, capability, memory):
    assert bounds(expression, evaluate) == (capability, memory)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "true",
        "None",
        "Capability >= 8 || true",
        '(Capability >= 8 && GlobalMemoryMb >= 1) || DeviceName == "x"',
        "!(Capability < 8)",
        "Capability < 8",
        "Capability <= 8",
        "8 >= Capability",
        "Capability != 8",
        "Capability =!= 8",
        "Capability >= foo",
        "Capability >= 8 ? true : false",
        "Capability >= 8 ?: true",
        "Capability + 1 >= 8",
        "MaxCapability >= 8",
        "Capability >= -1",
        "Capability >= 1e300",
        "Capability >= True",
        ")(",
        "(((",
        '"Capability >= 8',
    ],
)
def test_what_is_not_certain_is_not_stated(expression):
    assert bounds(expression, evaluate) == (None, None)


@given(st.text(alphabet='()[]{}"\\&|?=<>! 8.Capabilityx', max_size=60))
def test_no_text_is_an_error(expression):
    bounds(expression, evaluate)
