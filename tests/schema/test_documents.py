import json
from pathlib import Path

import jsonschema
import pytest

from glidepost.schema.demand import Demand
from glidepost.schema.document import encode, parse_object, validator
from glidepost.schema.errors import GlidepostError, UntrustedDocument
from glidepost.schema.heartbeat import Heartbeat
from glidepost.schema.keychain import Keychain, Link
from glidepost.schema.mailbox import Mailbox
from glidepost.schema.status import Status

SCHEMA = Path(__file__).parents[2] / "schema"


DOCUMENTS = {
    "demand-1": Demand,
    "mailbox-1": Mailbox,
    "keys-1": Keychain,
    "key-link-1": Link,
    "heartbeat-1": Heartbeat,
    "status-1": Status,
}


@pytest.mark.parametrize("file", sorted(SCHEMA.glob("*.schema.json")), ids=lambda file: file.name)
def test_every_schema_is_a_schema(file):
    jsonschema.Draft7Validator.check_schema(json.loads(file.read_text()))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_example_is_read_and_written_without_loss(name):
    data = json.loads((SCHEMA / f"{name}.example.json").read_text())
    written = DOCUMENTS[name].from_json(data).to_json()
    assert written == {key: value for key, value in data.items() if key != "signatures"}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_fields_of_a_later_version_are_ignored(name):
    data = json.loads((SCHEMA / f"{name}.example.json").read_text())
    assert DOCUMENTS[name].from_json({**data, "later": [1]}) == DOCUMENTS[name].from_json(data)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_required_field_is_missed(name):
    data = json.loads((SCHEMA / f"{name}.example.json").read_text())
    for field in validator(DOCUMENTS[name].kind).schema["required"]:
        with pytest.raises(UntrustedDocument, match=field):
            DOCUMENTS[name].from_json({key: value for key, value in data.items() if key != field})


def test_a_document_of_another_kind_is_refused():
    data = json.loads((SCHEMA / "heartbeat-1.example.json").read_text())
    with pytest.raises(UntrustedDocument, match="demand/1"):
        Demand.from_json(data)


def test_a_writer_that_breaks_its_own_schema_is_stopped(make_demand):
    with pytest.raises(GlidepostError, match="refused to write"):
        make_demand(sequence=0).to_json()


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff\xfe", b"null", b"[" * 100000, b'{"a": 1e400}x'])
def test_foreign_bytes_that_are_no_object_are_refused(body):
    with pytest.raises(UntrustedDocument, match="demand"):
        parse_object(body, what="demand")


def test_size_is_looked_at_before_parsing():
    with pytest.raises(UntrustedDocument, match="more than 10"):
        parse_object(b'{"a": "' + b"x" * 100 + b'"}', what="demand", max_bytes=10)


def test_documents_are_stored_readable(make_demand, make_group):
    text = encode(make_demand(make_group()).to_json()).decode()
    assert text.count("\n") > 20
    assert text.endswith("}\n")
