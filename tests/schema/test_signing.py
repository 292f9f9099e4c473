"""Hostile and honest signatures."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepost.schema.errors import UntrustedDocument
from glidepost.schema.keys import SigningKey
from glidepost.schema.signing import canonical, sign, verify

SCHEMA = Path(__file__).parents[2] / "schema"


KEY = SigningKey(bytes(range(32)))


def test_the_example_demand_is_signed_by_the_example_key():
    data = json.loads((SCHEMA / "demand-1.example.json").read_text())
    assert verify(data, [KEY.public]) == KEY.public


def test_order_and_spaces_of_the_file_do_not_matter(make_demand, make_group):
    signed = sign(make_demand(make_group()).to_json(), KEY)
    shuffled = json.loads(json.dumps(dict(reversed(signed.items())), indent=7))
    assert verify(shuffled, [KEY.public]) == KEY.public


def test_a_changed_field_is_noticed(make_demand, make_group):
    signed = sign(make_demand(make_group()).to_json(), KEY)
    signed["groups"][0]["idle_jobs"] += 1
    with pytest.raises(UntrustedDocument, match="is wrong"):
        verify(signed, [KEY.public])


def test_an_added_field_is_noticed(make_demand):
    with pytest.raises(UntrustedDocument, match="is wrong"):
        verify({**sign(make_demand().to_json(), KEY), "added": 1}, [KEY.public])


def test_a_stranger_signs_in_vain(make_demand):
    with pytest.raises(UntrustedDocument, match="not signed by a key we trust"):
        verify(sign(make_demand().to_json(), SigningKey.generate()), [KEY.public])


def test_a_stranger_who_names_our_key_signs_in_vain(make_demand):
    signed = sign(make_demand().to_json(), SigningKey.generate())
    signed["signatures"][0]["key_id"] = KEY.public.key_id
    with pytest.raises(UntrustedDocument, match="is wrong"):
        verify(signed, [KEY.public])


@pytest.mark.parametrize(
    "signatures",
    [None, [], {}, "x", [None], [{}], [{"key_id": 1, "signature": 2}], [[]]],
)
def test_signatures_of_a_strange_form_are_no_signatures(make_demand, signatures):
    with pytest.raises(UntrustedDocument):
        verify({**make_demand().to_json(), "signatures": signatures}, [KEY.public])


@pytest.mark.parametrize("signature", ["", "AAAA", "not base64!", base64.b64encode(bytes(64)).decode(), "é", None])
def test_a_signature_by_our_key_that_is_no_signature_is_refused(make_demand, signature):
    data = {**make_demand().to_json(), "signatures": [{"key_id": KEY.public.key_id, "signature": signature}]}
    with pytest.raises(UntrustedDocument, match="is wrong"):
        verify(data, [KEY.public])


def test_a_second_signature_by_a_known_key_is_enough(make_demand):
    other = SigningKey.generate()
    data = make_demand().to_json()
    both = [*sign(data, other)["signatures"], *sign(data, KEY)["signatures"]]
    assert verify({**data, "signatures": both}, [KEY.public]) == KEY.public


def test_values_without_a_canonical_form_are_refused():
    with pytest.raises(UntrustedDocument, match="canonical"):
        canonical({"a": float("nan")})
    with pytest.raises(UntrustedDocument, match="canonical"):
        canonical({"a": 2**60})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=6))
def test_whatever_is_signed_verifies_after_a_round_trip(data):
    data.pop("signatures", None)
    assert verify(json.loads(json.dumps(sign(data, KEY))), [KEY.public]) == KEY.public
