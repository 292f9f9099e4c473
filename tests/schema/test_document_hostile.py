"""Each kind of document in the place of each other, and with values of every other type in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from glidepost.schema.demand import Demand
from glidepost.schema.document import MAX_DOCUMENT_BYTES, parse_object
from glidepost.schema.errors import UntrustedDocument
from glidepost.schema.heartbeat import Heartbeat
from glidepost.schema.keychain import Keychain, Link
from glidepost.schema.mailbox import Mailbox
from glidepost.schema.status import Status

SCHEMA = Path(__file__).parents[2] / "schema"
KINDS = (Demand, Mailbox, Keychain, Link, Heartbeat, Status)


def example(kind) -> dict[str, object]:
    return json.loads((SCHEMA / f"{kind.kind.replace('/', '-')}.example.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
@pytest.mark.parametrize("other", KINDS, ids=lambda kind: kind.kind)
def test_no_kind_is_taken_for_another(kind, other):
    if kind is other:
        assert kind.from_json(example(kind)).to_json()["kind"] == kind.kind
        return
    with pytest.raises(UntrustedDocument, match=f"not a {kind.kind} document"):
        kind.from_json(example(other))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_a_field_that_it_must_have_is_of_its_type_or_the_document_is_refused(kind):
    data = example(kind)
    for field in ("kind", *(name for name in data if name not in {"kind", "signatures"})):
        for value in ({"": []}, 1.5, -(10**18), "\0", [[]], True):
            if type(value) is type(data[field]) and not isinstance(value, str):
                continue
            changed = {**data, field: value}
            try:
                read = kind.from_json(changed)
            except UntrustedDocument:
                continue
            # What was let through means what it says: a text may hold anything, an object any key.
            assert read.to_json()[field] in (value, json.loads(json.dumps(value))), (field, value)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
@pytest.mark.parametrize(
    "name", ["demand/01", "DEMAND/1", "demand/1 ", "demand/1\0", "", None, 1, ["demand/1"]], ids=repr
)
def test_a_kind_is_spelt_exactly(kind, name):
    with pytest.raises(UntrustedDocument, match=f"not a {kind.kind} document"):
        kind.from_json({**example(kind), "kind": name})


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_the_size_is_counted_to_the_byte(extra):
    body = b"{}" + b" " * (MAX_DOCUMENT_BYTES - 2 + extra)
    if extra <= 0:
        assert parse_object(body, what="x") == {}
        return
    with pytest.raises(UntrustedDocument, match=f"{MAX_DOCUMENT_BYTES + 1} bytes, more than {MAX_DOCUMENT_BYTES}"):
        parse_object(body, what="x")


@pytest.mark.parametrize("body", [b'"\\ud800"', b"\xff", b'{"a": "\xed\xa0\x80"}'], ids=range(3))
def test_a_refusal_does_not_carry_the_document(body):
    with pytest.raises(UntrustedDocument, match=r"demand: not JSON: utf-8: ") as caught:
        parse_object(body + b" " * 5000, what="demand")
    assert len(caught.value.what) < 200
