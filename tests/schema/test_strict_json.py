"""Bytes that two readers could take for different things are no JSON here."""

from __future__ import annotations

import json
from string import ascii_lowercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepost.schema import strict_json
from glidepost.schema.document import MAX_DOCUMENT_BYTES, encode, parse_object
from glidepost.schema.keys import SigningKey
from glidepost.schema.signing import sign

# The shortest names that sites may have.
SITES = [*ascii_lowercase, *(first + second for first in ascii_lowercase for second in ascii_lowercase)]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    # (half a character has no bytes)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_what_any_writer_of_json_writes_is_read_as_it_was(value):
    for is_ascii in (True, False):
        assert strict_json.loads(json.dumps(value, ensure_ascii=is_ascii).encode()) == value


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"a": 1, "a": 1}', "the key 'a' stands twice"),
        (b'{"a": 1, "\\u0061": 2}', "the key 'a' stands twice"),
        (b'[{"b": {"a": 1, "c": 2, "a": 3}}]', "the key 'a' stands twice"),
        (b'{"": 1, "": 2}', "the key '' stands twice"),
        (b'{"%b": 1, "%b": 2}' % (b"k" * 10**5, b"k" * 10**5), f"the key '{'k' * 40}' stands twice"),
        (b"NaN", "NaN is no JSON"),
        (b'{"a": Infinity}', "Infinity is no JSON"),
        (b"[-Infinity]", "-Infinity is no JSON"),
        (b"[1e400]", "too large: 1e400"),
        (b"[-1E+309]", "too large"),
        (b"1" * 20, "a number of 20 digits"),
        (b"-" + b"1" * 20, "a number of 21 digits"),
        (b"[" + b"9" * 1_000_000 + b"]", "a number of 1000000 digits"),
        (b'"\\ud800"', "surrogates not allowed"),
        (b'{"\\uDFff": 1}', "surrogates not allowed"),
        (b'["\\ude00\\ud83d"]', "surrogates not allowed"),
        (b'"\xed\xa0\x80"', "can't decode"),
        (b'"\xc0\x80"', "can't decode"),
        (b'"\xff"', "can't decode"),
        (b"\xef\xbb\xbf{}", "BOM"),
        ('{"a": 1}'.encode("utf-16"), "can't decode"),
        ('{"a": 1}'.encode("utf-16-le"), "."),
        ('{"a": 1}'.encode("utf-32-be"), "."),
        (b"", "Expecting value"),
        (b"{} {}", "Extra data"),
        (b"{'a': 1}", "."),
        (b'{"a": 1,}', "."),
        (b"[01]", "."),
        (b"[+1]", "."),
        (b'"\x00"', "control character"),
        (b"{} // comment", "Extra data"),
        (b'{"a": \xc2\xa01}', "."),
    ],
    ids=range(32),
)
def test_what_has_two_meanings_or_none_is_refused(body, why):
    with pytest.raises(ValueError, match=why.replace("(", "\\(")):
        strict_json.loads(body)


def test_whole_characters_may_be_written_in_two_halves():
    assert strict_json.loads(b'"\\ud83d\\ude00 \\\\ud800"') == "\U0001f600 \\ud800"


@pytest.mark.parametrize(("begin", "end"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_what_nests_deeper_than_any_document_of_ours_is_refused(begin, end):
    strict_json.loads(begin * strict_json.MAX_DEPTH + b"1" + end * strict_json.MAX_DEPTH)
    for depth in (strict_json.MAX_DEPTH + 1, 900, 100_000, 1_000_000):
        with pytest.raises(ValueError, match=r"deeper than 32 levels|more than 1500000 values"):
            strict_json.loads(begin * depth + b"1" + end * depth)


def test_more_values_than_the_largest_document_of_ours_has_are_refused_before_they_are_read():
    strict_json.loads(b"[" + b"0," * (strict_json.MAX_VALUES - 3) + b"0]")
    for body in (b"[" + b"0," * strict_json.MAX_VALUES + b"0]", b"," * strict_json.MAX_VALUES):
        with pytest.raises(ValueError, match="more than 1500000 values"):
            strict_json.loads(body)


@pytest.mark.parametrize("write", [encode, lambda data: json.dumps(data, separators=(",", ":")).encode()])
def test_a_demand_of_the_largest_size_is_read(make_demand, make_group, write):
    """Of groups with many small values, in the publisher's way of writing and in the shortest."""
    demand = make_demand(make_group(1, sites=dict.fromkeys(SITES, 1))).to_json()
    one = len(write({"groups": demand["groups"] * 2})) - len(write({"groups": demand["groups"]}))
    demand["groups"] *= (MAX_DOCUMENT_BYTES - len(write(demand))) // one
    body = write(sign(demand, SigningKey(bytes(32))))
    assert 0.99 * MAX_DOCUMENT_BYTES < len(body) <= MAX_DOCUMENT_BYTES
    assert parse_object(body, what="demand")["groups"] == demand["groups"]
