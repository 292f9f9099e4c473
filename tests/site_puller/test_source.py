"""Documents from a folder and from a stream, as they come when nobody took care."""

from __future__ import annotations

import gzip
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepost.schema.document import MAX_DOCUMENT_BYTES
from glidepost.schema.errors import StoreError
from glidepost.schema.store_keys import DEMAND_KEY, mailbox_key
from glidepost.site_puller.source import Fetched, FolderSource, StreamSource

MAILBOX_KEY = mailbox_key("north")
DEMAND = b'{"kind": "demand/1", "groups": ["{", "\\u00e9"]}'
MAILBOX = b'{\n "kind": "mailbox/1"\n}'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pool" / "v1" / "sites").mkdir(parents=True)
    return FolderSource(tmp_path / "pool", tmp_path / "documents")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "pool" / DEMAND_KEY


@pytest.fixture
def stream(tmp_path):
    """Makes a source of a stream: stream(b"...")."""

    def make(body: bytes) -> StreamSource:
        return StreamSource("standard input", lambda: body, site="north", folder=tmp_path / "documents")

    return make


# A folder


def test_a_file_of_the_folder_is_read_without_a_time(folder, file, now):
    file.write_bytes(DEMAND)
    assert folder.get(DEMAND_KEY, now=now) == Fetched(DEMAND, is_new=True, clock_skew_s=None)


def test_no_file_is_no_document(folder, now):
    assert folder.get(DEMAND_KEY, now=now) is None


def test_a_file_that_was_believed_before_is_not_new(folder, file, now, tmp_path):
    file.write_bytes(DEMAND)
    folder.keep(DEMAND_KEY, folder.get(DEMAND_KEY, now=now))
    assert (tmp_path / "documents" / "v1-demand.json").read_bytes() == DEMAND
    assert folder.get(DEMAND_KEY, now=now).is_new is False
    file.write_bytes(MAILBOX)
    assert folder.get(DEMAND_KEY, now=now) == Fetched(MAILBOX)


def test_a_file_that_was_left_compressed_is_unpacked(folder, file, now):
    file.write_bytes(gzip.compress(DEMAND))
    assert folder.get(DEMAND_KEY, now=now).body == DEMAND


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b" " * (MAX_DOCUMENT_BYTES + 1), "more than"),
        (gzip.compress(b" " * (MAX_DOCUMENT_BYTES + 1)), "more than"),
        (gzip.compress(DEMAND)[:-9], "was cut"),
        (b"\x1f\x8bnonsense", "not gzip"),
    ],
    ids=["large", "bomb", "cut", "no gzip"],
)
def test_a_file_that_is_too_large_or_damaged_is_an_error(folder, file, now, body, why):
    file.write_bytes(body)
    with pytest.raises(StoreError, match=why):
        folder.get(DEMAND_KEY, now=now)


def test_what_is_no_file_is_an_error_and_nobody_waits_for_it(folder, file, now):
    os.mkfifo(file)
    with pytest.raises(StoreError, match="not a file"):
        folder.get(DEMAND_KEY, now=now)
    file.unlink()
    file.mkdir()
    with pytest.raises(StoreError, match=r"v1/demand\.json"):
        folder.get(DEMAND_KEY, now=now)


def test_a_folder_that_is_none_is_an_error_or_empty(tmp_path, now):
    (tmp_path / "pool").write_text("", encoding="utf-8")
    with pytest.raises(StoreError, match="Not a directory"):
        FolderSource(tmp_path / "pool", tmp_path / "d").get(DEMAND_KEY, now=now)


# A stream


@pytest.mark.parametrize("between", [b"", b"\n", b" \r\n\t"])
@pytest.mark.parametrize("order", [1, -1])
def test_documents_are_told_by_their_kind_and_kept_to_the_byte(stream, now, between, order):
    source = stream(between.join([between, *[DEMAND, MAILBOX][::order], between]))
    assert source.get(DEMAND_KEY, now=now).body == DEMAND
    assert source.get(MAILBOX_KEY, now=now).body == MAILBOX


def test_the_stream_is_read_once(now, tmp_path):
    bodies = iter([DEMAND + MAILBOX])
    source = StreamSource("x", lambda: next(bodies), site="north", folder=tmp_path)
    assert [source.get(key, now=now).body for key in (DEMAND_KEY, MAILBOX_KEY)] == [DEMAND, MAILBOX]
    failing = StreamSource("x", iter([b"{"]).__next__, site="north", folder=tmp_path)
    for _ in range(2):
        with pytest.raises(StoreError):
            failing.get(DEMAND_KEY, now=now)


def test_what_is_missing_is_taken_from_the_kept_copies(stream, now):
    first = stream(DEMAND + MAILBOX)
    first.keep(MAILBOX_KEY, first.get(MAILBOX_KEY, now=now))
    second = stream(DEMAND)
    assert second.get(MAILBOX_KEY, now=now) == Fetched(MAILBOX, is_new=False)
    assert second.get(DEMAND_KEY, now=now).is_new is True


def test_what_was_not_believed_is_not_kept(stream, now):
    stream(DEMAND + MAILBOX).get(MAILBOX_KEY, now=now)
    assert stream(DEMAND).get(MAILBOX_KEY, now=now) is None


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "nothing came"),
        (b" \n", "nothing came"),
        (DEMAND[:-1], "no document after 0"),
        (DEMAND + MAILBOX[:-1], "no document after 1"),
        (DEMAND + b"\n<html>", "no document after 1"),
        (b"<?xml version='1.0'?><Error/>" + DEMAND, "no document after 0"),
        (gzip.compress(DEMAND), "no document after 0"),
        (DEMAND.decode().encode("utf-16"), "no document after 0"),
        (b"7", "no document after 0"),
        (b"[]", "no document after 0"),
        (b"null" + DEMAND, "no document after 0"),
        (b"{}", "no document after 0"),
        (b'{"kind": []}', "neither demand, mailbox nor keys"),
        (b'{"kind": "status/1"}', "'status/1', neither demand, mailbox nor keys"),
        (b'{"kind": "demand/2"}', "neither demand, mailbox nor keys"),
        (DEMAND + DEMAND, "document 2 is 'demand/1', a second one"),
        (b"[" * 100_000, "no document after 0"),
        (b'{"a":' * 100_000, "no document after 0"),
        (b"\xff\xfe", "no document after 0"),
    ],
    ids=range(19),
)
def test_anything_else_in_the_stream_refuses_all_of_it(stream, now, body, why):
    source = stream(body)
    for key in (DEMAND_KEY, MAILBOX_KEY):
        with pytest.raises(StoreError, match=why) as caught:
            source.get(key, now=now)
        assert "--compressed" in caught.value.hint
        assert str(caught.value).startswith("standard input: ")


@pytest.mark.parametrize("cut", range(len(DEMAND + MAILBOX) + 1))
def test_a_stream_that_was_cut_anywhere_gives_whole_documents_or_an_error(stream, now, cut):
    source = stream((DEMAND + MAILBOX)[:cut])
    if cut in (len(DEMAND), len(DEMAND + MAILBOX)):
        assert source.get(DEMAND_KEY, now=now).body == DEMAND
    else:
        with pytest.raises(StoreError):
            source.get(DEMAND_KEY, now=now)


@given(st.binary(max_size=60))
def test_no_stream_ends_a_cycle_otherwise(tmp_path_factory, body):
    source = StreamSource("x", lambda: body, site="north", folder=tmp_path_factory.getbasetemp() / "no")
    with pytest.raises(StoreError):
        source.get(DEMAND_KEY, now=None)


def test_the_note_beside_a_kept_copy_is_of_the_place_it_came_from(folder, tmp_path):
    folder.keep(DEMAND_KEY, Fetched(DEMAND, tag='"x"'))
    note = json.loads((tmp_path / "documents" / "v1-demand.etag").read_bytes())
    assert note == {"url": f"{tmp_path}/pool/v1/demand.json", "etag": '"x"'}
