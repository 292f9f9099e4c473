"""Which heartbeats are read from the store, and what is kept of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from glidepost.publisher import cycle, heartbeats, kept
from glidepost.schema.document import encode
from glidepost.schema.errors import StoreError
from glidepost.schema.heartbeat import Heartbeat
from glidepost.schema.store_keys import HEARTBEATS, MAX_HEARTBEAT_BYTES, heartbeat_key

SITES = ("east", "north", "south")


@pytest.fixture
def fetched(store, monkeypatch) -> list[str]:
    """The keys below v1/ whose objects were read, in any order."""
    keys: list[str] = []
    fetch = store.fetch

    def note(key, **limits):
        keys.append(key)
        return fetch(key, **limits)

    monkeypatch.setattr(store, "fetch", note)
    return keys


@pytest.fixture
def report(store, now):
    """Puts a heartbeat into the store: report("north", 2), or other bytes: report("north", body=b"x")."""

    def put(site: str, sequence: int = 1, *, body: bytes = b"") -> None:
        body = body or encode(Heartbeat(site, "i", "0.1.0", sequence, now, ()).to_json())
        store.put(heartbeat_key(site), body, content_type="application/json", cache_seconds=0)

    return put


@pytest.fixture
def read(store):
    """Reads the heartbeats of sites as one run after the other does; returns their sequences, None for none."""
    memory = kept.Memory(())

    def run(*sites: str):
        found = heartbeats.read(store, sites or SITES, memory)
        return {site: heartbeat and heartbeat.sequence for site, heartbeat in found.items()}

    run.memory = memory
    return run


def test_only_those_that_changed_are_read(read, report, fetched):
    for site in SITES:
        report(site)
    assert read() == dict.fromkeys(SITES, 1)
    assert sorted(fetched) == [heartbeat_key(site) for site in SITES]
    fetched.clear()
    assert read() == dict.fromkeys(SITES, 1)
    assert fetched == []
    report("north", 2)
    assert read() == {"east": 1, "north": 2, "south": 1}
    assert fetched == ["v1/heartbeats/north.json"]


def test_many_are_read_and_each_is_its_own_sites(read, report):
    sites = [f"site{number}" for number in range(40)]
    for number, site in enumerate(sites):
        report(site, number)
    assert read(*sites) == {site: number for number, site in enumerate(sites)}


def test_one_that_was_removed_is_none_and_forgotten(read, report, store):
    report("north")
    read()
    store.delete("v1/heartbeats/north.json")
    assert read() == dict.fromkeys(SITES)
    assert read.memory.heartbeats == {}


def test_one_removed_between_list_and_read_is_none(read, report, store, monkeypatch):
    report("north")
    monkeypatch.setattr(store, "fetch", lambda *_, **_limits: None)
    assert read("north") == {"north": None}


def test_those_of_sites_that_are_not_enrolled_are_neither_read_nor_kept(read, report, fetched):
    report("north")
    report("stranger")
    report("NOT a site", body=b"{}")
    read("north", "stranger")
    fetched.clear()
    assert read("north") == {"north": 1}
    assert set(read.memory.heartbeats) == {"v1/heartbeats/north.json"}
    assert fetched == []


def test_one_that_is_too_large_is_not_read(read, report, fetched, caplog):
    report("north", body=b"x" * (MAX_HEARTBEAT_BYTES + 1))
    assert read("north") == {}
    assert fetched == []
    assert f"{MAX_HEARTBEAT_BYTES + 1} bytes, more than {MAX_HEARTBEAT_BYTES}" in caplog.text


def test_one_that_unpacks_to_too_much_is_left_out(read, store, caplog):
    store.put(
        "v1/heartbeats/north.json", b"x" * 10**6, content_type="application/json", cache_seconds=0, compress_above=0
    )
    assert read("north") == {}
    assert "heartbeat unreadable site=north" in caplog.text


@pytest.mark.parametrize("body", [b"<html>", b"[" * 5000, b"\xff\xfe", b"{}"])
def test_what_is_none_is_judged_again_each_time_from_what_is_kept(read, report, fetched, caplog, body):
    report("north", body=body)
    for _ in range(2):
        caplog.clear()
        assert read("north") == {}
        assert "heartbeat unreadable site=north" in caplog.text
    assert len(fetched) == 1


def test_a_store_that_gives_no_etags_is_read_each_time(read, report, store, fetched, monkeypatch):
    report("north")
    entries = store.entries
    monkeypatch.setattr(store, "entries", lambda prefix: [replace(item, etag="") for item in entries(prefix)])
    for _ in range(2):
        assert read("north") == {"north": 1}
    assert len(fetched) == 2


def test_what_changes_between_list_and_read_is_kept_as_what_was_read(read, report, store, monkeypatch):
    report("north")
    listed = store.entries(HEARTBEATS)
    report("north", 2)
    with monkeypatch.context() as patch:
        patch.setattr(store, "entries", lambda _: listed)
        assert read("north") == {"north": 2}
    report("north", 1)
    assert read("north") == {"north": 1}


def test_a_store_that_fails_ends_the_reading_and_leaves_what_was_known(read, report, store, monkeypatch):
    for site in SITES:
        report(site)
    read()
    known = dict(read.memory.heartbeats)
    report("north", 2)

    def refuse(key, **_):
        raise StoreError(f"GET {key}: down", hint="in this test")

    monkeypatch.setattr(store, "fetch", refuse)
    with pytest.raises(StoreError, match="GET v1/heartbeats/north"):
        read()
    assert read.memory.heartbeats == known


# In a run


@pytest.fixture
def publish(config, store, make_pool, make_row, now):
    def run(*, dry_run: bool = False):
        return cycle.run(config, store, make_pool(make_row(10)), now=now, dry_run=dry_run)

    return run


def test_a_run_reads_what_the_run_before_has_not(publish, report, fetched):
    report("north")
    publish()
    publish()  # looks at the mailbox that the first has written
    fetched.clear()
    publish()
    assert not [key for key in fetched if key.startswith(("v1/heartbeats/", "v1/sites/"))]
    report("north", 2)
    publish()
    assert "v1/heartbeats/north.json" in fetched


def test_neither_a_dry_run_nor_why_changes_what_is_kept(publish, report, config, store, make_pool, make_row, now):
    report("north")
    publish()
    file = Path(config.demand.state) / kept.FILE
    before = file.read_bytes()
    report("north", 2)
    publish(dry_run=True)
    outlook = cycle.look(config, store, make_pool(make_row(10)), now=now)
    assert outlook.heartbeats["north"].sequence == 2
    assert file.read_bytes() == before


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"\xff?"), lambda file: file.touch()])
def test_a_run_goes_on_without_what_was_kept(publish, report, config, damage):
    report("north")
    publish()
    damage(Path(config.demand.state) / kept.FILE)
    assert publish().demand.groups[0].sites == {}
