"""Records come from worker nodes, where user jobs run too: nothing in them may harm the puller."""

from __future__ import annotations

import json
import os

import pytest

from glidepost.schema.heartbeat import Heartbeat
from glidepost.site_puller import outcomes


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "outcomes"
    made.mkdir()
    return made


def put(folder, name: str, body) -> None:
    (folder / name).write_bytes(body if isinstance(body, bytes) else json.dumps(body).encode())


def test_no_folder_is_no_outcomes(tmp_path):
    assert outcomes.collect(tmp_path / "none") == ({}, [])


def test_outcomes_are_counted_and_removed_once_reported(folder):
    for name, code in {"a": "deadline", "b": "deadline", "c": "idle-shutdown"}.items():
        put(folder, f"{name}.json", {"kind": "outcome/1", "outcome": code})
    counts, files = outcomes.collect(folder)
    assert counts == {"deadline": 2, "idle-shutdown": 1}
    assert len(list(folder.iterdir())) == 3
    outcomes.remove(files)
    assert list(folder.iterdir()) == []
    outcomes.remove(files)


def test_a_record_that_is_still_being_written_is_left_alone(folder):
    put(folder, ".a.json.tmp", {"outcome": "deadline"})
    put(folder, "b.json.part", {"outcome": "deadline"})
    assert outcomes.collect(folder) == ({}, [])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b"\xff\xfe",
        b"[" * 16_000,
        b'{"a":' * 3_000,
        {},
        {"outcome": None},
        {"outcome": 7},
        {"outcome": ["deadline"]},
        {"outcome": ""},
        {"outcome": "Deadline"},
        {"outcome": "deadline\n"},
        {"outcome": "<script>alert(1)</script>"},
        {"outcome": "x" * 65},
        {"outcome": "deadline", "detail": "x" * 20_000},
    ],
    ids=range(18),
)
def test_a_record_that_is_none_is_counted_as_unreadable(folder, body):
    put(folder, "a.json", body)
    counts, files = outcomes.collect(folder)
    assert counts == {"unreadable-record": 1}
    outcomes.remove(files)
    assert list(folder.iterdir()) == []


def test_what_is_no_file_neither_blocks_nor_stops_a_cycle(folder, tmp_path):
    (folder / "folder.json").mkdir()
    os.mkfifo(folder / "pipe.json")
    (folder / "device.json").symlink_to("/dev/zero")
    (folder / "nowhere.json").symlink_to(tmp_path / "none")
    put(folder, "good.json", {"outcome": "deadline"})
    counts, files = outcomes.collect(folder)
    assert counts == {"unreadable-record": 4, "deadline": 1}
    outcomes.remove(files)
    assert [item.name for item in folder.iterdir()] == ["folder.json"]


def test_a_link_is_removed_and_not_what_it_points_to(folder, tmp_path):
    precious = tmp_path / "ledger.json"
    precious.write_text("{}", encoding="utf-8")
    (folder / "link.json").symlink_to(precious)
    outcomes.remove(outcomes.collect(folder)[1])
    assert precious.exists()


def test_many_kinds_of_outcomes_still_fit_into_a_heartbeat(folder, now):
    for number in range(60):
        letters = "".join(chr(ord("a") + int(digit)) for digit in str(number))
        put(folder, f"{number}.json", {"outcome": f"code-{letters}"})
    counts, _ = outcomes.collect(folder)
    assert len(counts) == 32
    Heartbeat("north", "i", "0", 1, now, (), outcomes=counts).to_json()


def test_no_more_records_are_read_than_a_cycle_can_bear(folder, monkeypatch):
    monkeypatch.setattr(outcomes, "_MAX_FILES", 5)
    for number in range(9):
        put(folder, f"{number}.json", {"outcome": "deadline"})
    counts, files = outcomes.collect(folder)
    assert (counts, len(files)) == ({"deadline": 5}, 5)
    outcomes.remove(files)
    assert outcomes.collect(folder)[0] == {"deadline": 4}
