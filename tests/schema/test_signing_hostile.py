"""Signatures that are none, keys that sign everything, and other texts for what was signed."""

from __future__ import annotations

import base64
import json

import nacl.exceptions
import pytest

from glidepost.schema import exact_base64
from glidepost.schema.demand import Demand
from glidepost.schema.errors import UntrustedDocument
from glidepost.schema.keys import PublicKey, SigningKey
from glidepost.schema.sealing import seal, unseal
from glidepost.schema.signing import MAX_SIGNATURES, canonical, sign, verify

KEY = SigningKey(bytes(range(32)))
# The order of the group that Ed25519 signs in (RFC 8032, section 5.1).
ORDER = 2**252 + 27742317777372353535851937790883648493
# All points whose order divides eight, and other ways to write some: with them as public key, or as the first half of
# a signature, one signature can be good for many messages.
SMALL = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
]


def signed_with(signature: bytes, key: PublicKey = KEY.public) -> dict[str, object]:
    text = base64.b64encode(signature).decode()
    return {"a": 1, "signatures": [{"key_id": key.key_id, "signature": text}]}


def halves(data: dict[str, object]) -> tuple[bytes, int]:
    raw = KEY.sign(canonical(data))
    return raw[:32], int.from_bytes(raw[32:], "little")


@pytest.mark.parametrize("point", SMALL)
def test_nothing_verifies_with_a_public_key_of_small_order_for_libsodium_refuses_it(point):
    """Else R = the neutral element and S = 0 would be a signature of every message."""
    key = PublicKey(bytes.fromhex(point))
    for first in SMALL:
        with pytest.raises(UntrustedDocument, match="is wrong"):
            verify(signed_with(bytes.fromhex(first) + bytes(32), key), [key])


@pytest.mark.parametrize("point", SMALL)
def test_a_signature_that_begins_with_a_point_of_small_order_is_refused(point):
    for second in (bytes(32), KEY.sign(canonical({"a": 1}))[32:]):
        with pytest.raises(UntrustedDocument, match="is wrong"):
            verify(signed_with(bytes.fromhex(point) + second), [KEY.public])


@pytest.mark.parametrize("point", SMALL)
def test_nothing_is_sealed_for_a_key_of_small_order_which_everybody_could_open(point):
    with pytest.raises(nacl.exceptions.CryptoError):
        seal(b"secret", PublicKey(bytes.fromhex(point)))


@pytest.mark.parametrize("times", range(1, 16))
def test_a_signature_cannot_be_written_in_another_way_for_libsodium_refuses_a_second_half_above_the_order(times):
    first, second = halves({"a": 1})
    assert verify(signed_with(first + second.to_bytes(32, "little")), [KEY.public]) == KEY.public
    with pytest.raises(UntrustedDocument, match="is wrong"):
        verify(signed_with(first + (second + times * ORDER).to_bytes(32, "little")), [KEY.public])


@pytest.mark.parametrize("length", [0, 1, 32, 63, 65, 128])
def test_a_signature_of_another_length_is_refused(length):
    raw = (KEY.sign(canonical({"a": 1})) * 2)[:length]
    with pytest.raises(UntrustedDocument, match="is wrong"):
        verify(signed_with(raw), [KEY.public])


def test_each_changed_bit_of_a_signature_is_noticed():
    raw = KEY.sign(canonical({"a": 1}))
    for bit in range(512):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(UntrustedDocument, match="is wrong"):
            verify(signed_with(bytes(changed)), [KEY.public])


GOOD = sign({"a": 1}, KEY)["signatures"][0]["signature"]


@pytest.mark.parametrize(
    "text",
    [
        GOOD + "\n",
        " " + GOOD,
        GOOD[:40] + "\n" + GOOD[40:],
        GOOD[:-2],
        GOOD + "==",
        GOOD[:-3] + chr(ord(GOOD[-3]) + 1) + "==",  # bits behind the last byte
        GOOD.swapcase(),
        GOOD[:40] + "é" + GOOD[40:],
        [GOOD],
        {"": GOOD},
        None,
        True,
    ],
    ids=range(12),
)
def test_a_good_signature_in_another_spelling_is_refused(text):
    with pytest.raises(UntrustedDocument, match="is wrong"):
        verify({"a": 1, "signatures": [{"key_id": KEY.public.key_id, "signature": text}]}, [KEY.public])


@pytest.mark.parametrize("key_id", [None, 7, True, [KEY.public.key_id], {KEY.public.key_id: 1}, "", " ", 2.5])
def test_a_name_of_a_key_that_is_no_text_names_none(key_id):
    with pytest.raises(UntrustedDocument, match="not signed by a key we trust"):
        verify({"a": 1, "signatures": [{"key_id": key_id, "signature": GOOD}]}, [KEY.public])


def test_a_key_whose_name_is_a_number_is_not_named_by_that_number(monkeypatch):
    monkeypatch.setattr(PublicKey, "key_id", property(lambda _: "1234567890123456"))
    with pytest.raises(UntrustedDocument, match="not signed by a key we trust"):
        verify({"a": 1, "signatures": [{"key_id": 1234567890123456, "signature": GOOD}]}, [KEY.public])


def test_more_signatures_than_anybody_needs_are_refused_before_any_work():
    good = {"key_id": KEY.public.key_id, "signature": GOOD}
    others = [{"key_id": "0" * 16, "signature": GOOD}] * (MAX_SIGNATURES - 1)
    assert verify({"a": 1, "signatures": [*others, good]}, [KEY.public]) == KEY.public
    with pytest.raises(UntrustedDocument, match="has 9 signatures"):
        verify({"a": 1, "signatures": [good, *others, good]}, [KEY.public])


def test_without_a_key_that_is_trusted_nothing_is():
    with pytest.raises(UntrustedDocument, match="not signed by a key we trust"):
        verify(sign({"a": 1}, KEY), [])


def test_a_signature_of_another_document_does_not_fit():
    with pytest.raises(UntrustedDocument, match="is wrong"):
        verify({"a": 2, "signatures": sign({"a": 1}, KEY)["signatures"]}, [KEY.public])


def test_half_a_character_has_no_canonical_form_and_neither_has_a_number_beyond_those_of_javascript():
    for value in ("\ud800", 2**53, -(2**53), float("inf"), [[float("nan")]], {"\udfff": 1}):
        with pytest.raises(UntrustedDocument, match="no canonical form"):
            canonical({"a": value})
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(UntrustedDocument, match="no canonical form"):
        canonical({"a": deep})


def test_a_number_that_is_written_otherwise_means_the_same_or_is_refused(make_demand):
    """RFC 8785 writes 7 and 7.0 alike, so that the signature holds for both: nothing else may come of it."""
    signed = sign(make_demand(sequence=7).to_json(), KEY)
    changed = json.loads(json.dumps(signed).replace('"sequence": 7,', '"sequence": 7.0,'))
    assert isinstance(changed["sequence"], float)
    verify(changed, [KEY.public])
    with pytest.raises(UntrustedDocument, match="not a demand/1 document"):
        Demand.from_json(changed)


@pytest.mark.parametrize(
    "text", ["A", "AB==", "AAAA==", "AA=A", "AAA", "====", " ", "A\x00==", "\uff21\uff21==", None, b"AAAA", 1]
)
def test_base64_has_one_spelling(text):
    with pytest.raises(ValueError, match=r"."):
        exact_base64.decode(text)


def test_a_box_in_another_spelling_is_refused():
    box = seal(b"secret", KEY.public)
    assert unseal(box, KEY) == b"secret"
    for other in (box + "\n", " " + box, box.rstrip("="), box + "===="):
        if other == box:
            continue
        with pytest.raises(UntrustedDocument, match="cannot be opened"):
            unseal(other, KEY)


def test_each_changed_byte_of_a_box_is_noticed():
    raw = base64.b64decode(seal(b"secret", KEY.public))
    for place in range(len(raw)):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        with pytest.raises(UntrustedDocument, match="cannot be opened"):
            unseal(base64.b64encode(changed).decode(), KEY)
