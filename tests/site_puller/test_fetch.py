from __future__ import annotations

import io
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from glidepost.schema.errors import StoreError, UntrustedDocument
from glidepost.site_puller import fetch, freshness
from glidepost.site_puller.source import MAX_STREAM_BYTES, FolderSource, StreamSource
from glidepost.site_puller.trust import Believed
from glidepost.site_puller.web import WebSource


def test_the_url_decides_where_documents_come_from(make_config, session, tmp_path):
    web, folder = (fetch.open_source(make_config(url=url), session) for url in ("https://x.test", f"file://{tmp_path}"))
    assert (type(web), web.place("v1/demand.json")) == (WebSource, "https://x.test/v1/demand.json")
    assert (type(folder), folder.place("v1/demand.json")) == (FolderSource, f"{tmp_path}/v1/demand.json")


@pytest.mark.parametrize(("given", "name"), [("-", "standard input"), ("/x/documents", "/x/documents")])
def test_a_stream_takes_the_place_of_the_url(make_config, session, given, name):
    stream = fetch.open_source(make_config(), session, documents=given)
    assert (type(stream), stream.place("v1/demand.json")) == (StreamSource, f"{name}: v1/demand.json")


# Documents that come in a stream


class StandardInput:
    """What sys.stdin is: a text, whose bytes are in `buffer`."""

    def __init__(self, body: bytes) -> None:
        self.buffer = io.BytesIO(body)


def read_stream(source) -> bytes:
    fetched = source.get("v1/demand.json", now=datetime(2026, 11, 22, tzinfo=timezone.utc))
    return fetched.body


def test_standard_input_is_read_once(make_config, session, monkeypatch):
    monkeypatch.setattr("sys.stdin", StandardInput(b'{"kind": "demand/1"}'))
    source = fetch.open_source(make_config(), session, documents="-")
    assert read_stream(source) == read_stream(source) == b'{"kind": "demand/1"}'


def test_a_file_with_documents_is_read(make_config, session, tmp_path):
    (tmp_path / "documents").write_bytes(b'{"kind": "demand/1"}')
    source = fetch.open_source(make_config(), session, documents=str(tmp_path / "documents"))
    assert read_stream(source) == b'{"kind": "demand/1"}'


def test_a_stream_that_is_closed_holds_nothing(make_config, session, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(StoreError, match="standard input: nothing came"):
        read_stream(fetch.open_source(make_config(), session, documents="-"))


def test_a_stream_that_is_too_large_is_not_read_to_its_end(make_config, session, monkeypatch):
    stdin = StandardInput(b" " * (MAX_STREAM_BYTES + 100))
    monkeypatch.setattr("sys.stdin", stdin)
    with pytest.raises(StoreError, match=f"more than {MAX_STREAM_BYTES} bytes"):
        read_stream(fetch.open_source(make_config(), session, documents="-"))
    assert stdin.buffer.tell() == MAX_STREAM_BYTES + 1


def test_a_file_that_is_not_there_is_named(make_config, session, tmp_path):
    with pytest.raises(StoreError, match=r"nowhere: .*No such file") as caught:
        read_stream(fetch.open_source(make_config(), session, documents=str(tmp_path / "nowhere")))
    assert "one after the other" in caught.value.hint


def test_other_keys_may_begin_with_any_number(make_config, publish, session, now):
    """Whoever pins other keys has been told so by the pool's admin."""
    config = make_config()
    freshness.remember(config.state, publish(sequence=9), 3)
    demand = publish(sequence=1)
    source = fetch.open_source(config, session)
    with pytest.raises(UntrustedDocument, match="9 of keys' epoch 3, not 0, was seen"):
        fetch.demand(config, source, now=now)
    believed = replace(Believed.pinned(config), is_reset=True)
    assert fetch.demand(config, source, now=now, believed=believed).demand == demand
