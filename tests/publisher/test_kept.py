"""What the publisher keeps of the store between runs."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from glidepost.publisher import kept


@pytest.fixture
def file(config) -> Path:
    return Path(config.demand.state) / kept.FILE


@pytest.fixture
def memory(config, now) -> kept.Memory:
    """One heartbeat, of bytes that are no text, and one mailbox."""
    memory = kept.load(config)
    memory.heartbeats["v1/heartbeats/north.json"] = kept.Body('"e1"', b"\xff\x00{")
    memory.mailboxes["v1/sites/north.json"] = kept.Judged('"e2"', "north", "r", None, "ed25519:x", now)
    return memory


@pytest.fixture
def save(config):
    def write(memory: kept.Memory) -> None:
        kept.save(config, memory, kept.Memory(()))

    return write


def test_what_is_saved_comes_back_and_is_for_its_owner_only(config, memory, save, file):
    save(memory)
    assert kept.load(config) == memory
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_without_a_file_nothing_is_known(config):
    memory = kept.load(config)
    assert (memory.heartbeats, memory.mailboxes) == ({}, {})


def test_what_has_not_changed_is_not_written(config, memory, file):
    kept.save(config, memory, kept.copy(memory))
    assert not file.exists()


def test_a_copy_stays_as_it_was(memory):
    before = kept.copy(memory)
    memory.heartbeats.clear()
    assert before != memory
    assert before.heartbeats


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"place": [], "heartbeats": {"x": {"etag": 1}}}']
)
def test_a_damaged_file_is_as_good_as_none(config, save, memory, file, body, caplog):
    save(memory)
    file.write_bytes(body)
    assert kept.load(config) == kept.Memory(memory.place)
    assert "all is read again" in caplog.text


def test_half_a_file_is_as_good_as_none(config, save, memory, file):
    save(memory)
    file.write_bytes(file.read_bytes()[:-20])
    assert kept.load(config) == kept.Memory(memory.place)


def test_a_time_without_its_zone_is_none(config, save, memory, file):
    save(memory)
    data = json.loads(file.read_bytes())
    data["mailboxes"]["v1/sites/north.json"]["issued_at"] = "2026-11-22T09:00:00"
    file.write_text(json.dumps(data))
    assert kept.load(config).mailboxes == {}


@pytest.mark.parametrize(
    "change", [{"bucket": "other"}, {"prefix": "p/"}, {"endpoint": "https://s3.example.org"}, {"region": "eu-west-1"}]
)
def test_what_is_known_of_another_store_is_not_used(config, save, memory, change):
    save(memory)
    other = replace(config, store=replace(config.store, **change))
    assert kept.load(other).heartbeats == {}
    assert kept.load(config) == memory


def test_a_file_of_another_version_is_not_used(config, save, memory):
    memory.kind = "store-memory/2"
    save(memory)
    assert kept.load(config).heartbeats == {}


def test_a_folder_that_cannot_be_written_costs_a_warning_only(memory, save, file, caplog):
    file.mkdir(parents=True)
    save(memory)
    assert "store memory not written" in caplog.text


@pytest.mark.parametrize(("known", "listed"), [(None, None), ("", ""), ('"a"', '"b"'), (None, '"a"'), ('"a"', None)])
def test_only_equal_etags_are_the_same_content(known, listed):
    assert not kept.is_same(known, listed)
    assert kept.is_same('"a"', '"a"')
