from __future__ import annotations

import pytest

from glidepost.schema.errors import ConfigError
from glidepost.site_puller import fetch
from glidepost.site_puller.source import FolderSource, StreamSource
from glidepost.site_puller.web import WebSource


def test_the_url_decides_where_documents_come_from(make_config, session, tmp_path):
    web, folder = (fetch.open_source(make_config(url=url), session) for url in ("https://x.test", f"file://{tmp_path}"))
    assert (type(web), web.place("v1/demand.json")) == (WebSource, "https://x.test/v1/demand.json")
    assert (type(folder), folder.place("v1/demand.json")) == (FolderSource, f"{tmp_path}/v1/demand.json")


@pytest.mark.parametrize(("given", "name"), [("-", "standard input"), ("/x/documents", "/x/documents")])
def test_a_stream_takes_the_place_of_the_url(make_config, session, given, name):
    stream = fetch.open_source(make_config(), session, documents=given)
    assert (type(stream), stream.place("v1/demand.json")) == (StreamSource, f"{name}: v1/demand.json")


def test_the_highest_sequence_is_remembered(tmp_path, make_demand):
    file = tmp_path / "state" / "demand.sequence"
    assert fetch.read_sequence(file) == 0
    fetch.remember_sequence(file, make_demand(sequence=918))
    assert fetch.read_sequence(file) == 918


@pytest.mark.parametrize("text", ["", "x", "1.5", "\udcff"])
def test_a_damaged_memory_of_the_sequence_is_an_error_for_a_person(tmp_path, text):
    file = tmp_path / "demand.sequence"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError, match=r"demand\.sequence"):
        fetch.read_sequence(file)
