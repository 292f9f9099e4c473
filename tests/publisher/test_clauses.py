from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepost.publisher.clauses import split


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a", ("a",)),
        ("a && b", ("a", "b")),
        ("(a && (b && c)) && ((d))", ("a", "b", "c", "d")),
        ("(a) && (b || c)", ("a", "b || c")),
        ("a && b || c", ("a && b || c",)),
        ("a || b && c", ("a || b && c",)),
        ("a ? b && c : d", ("a ? b && c : d",)),
        ("(x ?: 0) > 0 && b", ("(x ?: 0) > 0", "b")),
        ("a =?= true && b =!= 3", ("a =?= true", "b =!= 3")),
        ("!(a && b) && c", ("!(a && b)", "c")),
        ("(a) == (b)", ("(a) == (b)",)),
        ('x == "a && b" && y', ('x == "a && b"', "y")),
        ('x == "\\" && (" && y', ('x == "\\" && ("', "y")),
        ("'a && b' && c", ("'a && b'", "c")),
        ("f(a && b, {c && d})[0] && [e = 1 && 2].e", ("f(a && b, {c && d})[0]", "[e = 1 && 2].e")),
        ("", ("",)),
    ],
)
def test_clauses_are_cut_at_the_top(expression, expected):
    assert split(expression) == expected


@pytest.mark.parametrize("expression", ["((a && b", 'x == "a && b', "a && )", "'", '"\\'])
def test_what_is_not_balanced_ends_without_an_error(expression):
    assert split(expression)


@given(st.text(alphabet="ab&|?=()\"\\ '[]{}", max_size=40))
def test_no_text_is_lost(text):
    kept = [character for part in split(text) for character in part if character not in "&() "]
    assert kept == [character for character in text if character not in "&() "]


values = st.sampled_from(["true", "false", "undefined", "1", "0", '"a"', "error", "3 > 2"])


@given(
    st.recursive(
        values,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from([" && ", " || "]), inner).map("".join),
            inner.map("({})".format),
            inner.map("!({})".format),
        ),
        max_leaves=8,
    )
)
def test_the_whole_is_true_exactly_when_every_clause_is(expression):
    from glidepost.publisher import classads  # noqa: PLC0415 - HTCondor's library is for this test alone

    def is_true(text: str) -> bool:
        return classads.is_true(classads.expression(text).eval())

    assert is_true(expression) == all(map(is_true, split(expression)))
