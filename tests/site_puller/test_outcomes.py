"""Records come from worker nodes, where user jobs run too: nothing in them may harm the puller, and none is lost."""

from __future__ import annotations

import errno
import json
import os
from datetime import datetime, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glidepost.schema.heartbeat import Heartbeat
from glidepost.site_puller import outcomes

RECORD = {
    "kind": "outcome/1",
    "glidein": "gp-1a2b3-x9y8z-12-3-0f1e2d3c",
    "name": "gp-1a2b3-x9y8z",
    "shape": "cpu",
    "host": "n1.example.org",
    "batch_job": "12_3",
    "started_at": "2026-11-22T09:00:00Z",
    "ended_at": "2026-11-22T09:20:00Z",
    "outcome": "never-joined",
    "detail": "no collector took it in",
    "condor_exit": 0,
    "startd_at": "2026-11-22T09:00:05Z",
    "claimed_at": None,
    "user_jobs": 0,
    "cpus": 4,
    "busy_core_s": 0,
    "idle_core_s": 4780,
    "condor_version": "25.0.1",
    "checks": {"scratch": "ok", "cvmfs": "failed"},
}
# What an older bootstrap did not write.
NEWER = ("startd_at", "claimed_at", "user_jobs", "busy_core_s", "idle_core_s", "condor_version", "checks")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "outcomes"
    made.mkdir()
    return made


@pytest.fixture
def read(folder, tmp_path):
    return lambda *judged: outcomes.read(folder, tmp_path / "reports.json", judged=judged)


def put(folder, file: str, body=None, /, **changes) -> None:
    body = {**RECORD, **changes} if body is None else body
    (folder / f"{file}.json").write_bytes(body if isinstance(body, bytes) else json.dumps(body).encode())


def names(inbox, since: int = 0) -> list[str]:
    return [record.name for record in inbox.since(since)]


# --- what a record says


def test_no_folder_is_no_records(tmp_path):
    inbox = outcomes.read(tmp_path / "none", tmp_path / "reports.json")
    assert (inbox.since(0), inbox.pending) == ((), {})
    inbox.save()


def test_a_record_of_the_bootstrap_script_is_read_whole(folder, read):
    put(folder, "a")
    (record,) = read().since(0)
    assert record == outcomes.Ended(
        serial=1,
        outcome="never-joined",
        glidein="gp-1a2b3-x9y8z-12-3-0f1e2d3c",
        name="gp-1a2b3-x9y8z",
        shape="cpu",
        host="n1.example.org",
        batch_job="12_3",
        started_at=datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc),
        ended_at=datetime(2026, 11, 22, 9, 20, tzinfo=timezone.utc),
        startd_at=datetime(2026, 11, 22, 9, 0, 5, tzinfo=timezone.utc),
        user_jobs=0,
        busy_core_s=0,
        idle_core_s=4780,
        condor_version="25.0.1",
        failed_checks=("cvmfs",),
    )


def test_a_record_of_an_older_bootstrap_script_is_read_too(folder, read):
    put(folder, "a", {key: value for key, value in RECORD.items() if key not in NEWER})
    (record,) = read().since(0)
    assert (record.outcome, record.user_jobs, record.failed_checks) == ("never-joined", None, ())


@pytest.mark.parametrize("value", [-1, 1.5, True, "7", None, 10**13, 10**400, [7], {}])
def test_numbers_that_cannot_be_are_left_out(folder, read, value):
    put(folder, "a", user_jobs=value, busy_core_s=value, idle_core_s=value)
    (record,) = read().since(0)
    assert (record.outcome, record.user_jobs, record.busy_core_s, record.idle_core_s) == ("never-joined", *[None] * 3)


@pytest.mark.parametrize("value", [None, [], "failed", {"a b": "failed"}, {"x" * 65: "failed"}, {"a": ["failed"]}])
def test_checks_that_cannot_be_are_left_out(folder, read, value):
    put(folder, "a", checks=value)
    assert read().since(0)[0].failed_checks == ()


def test_failed_checks_are_bounded_and_the_inbox_keeps_what_a_record_said(folder, read):
    put(folder, "a", checks={f"c{number}": "failed" for number in range(100)}, user_jobs=7)
    inbox = read()
    inbox.save()
    (record,) = read(0).since(0)
    assert (len(record.failed_checks), record.user_jobs) == (64, 7)


@pytest.mark.parametrize("batch_job", ["12_3", "17", "4[7].server.example.org", "812[3]", "1795338781-13715.0"])
def test_batch_ids_of_all_systems_come_by_the_batch_job_name(folder, read, batch_job):
    put(folder, "a", batch_job=batch_job)
    put(folder, "b", batch_job=batch_job, name="")
    assert read().ends() == {"gp-1a2b3-x9y8z": [batch_job]}


def test_a_record_that_is_still_being_written_is_left_alone(folder, read):
    (folder / ".a.json").write_text(json.dumps(RECORD))
    (folder / "b.json.part").write_text(json.dumps(RECORD))
    assert read().since(0) == ()


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b"7", b"\xff\xfe", b"[" * 16_000, b'{"a":' * 3_000, {}),
        *({**RECORD, "outcome": value} for value in (None, 7, ["deadline"], "", "Deadline", "deadline\n", "x" * 65)),
        {**RECORD, "outcome": "<script>alert(1)</script>"},
        {**RECORD, "kind": "outcome/2"},
        {**RECORD, "detail": "x" * 20_000},
    ],
    ids=range(19),
)
def test_a_record_that_is_none_is_counted_as_unreadable_and_removed(folder, read, body):
    put(folder, "a", body)
    inbox = read()
    assert inbox.pending == {"unreadable-record": 1}
    inbox.save()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("value", [None, 7.5, [], {}, "", "x" * 300, "a b", "a\n", "../../etc", "<b>", "\ud800", "é"])
def test_what_else_it_says_is_taken_if_it_can_be_meant(folder, read, value):
    keys = ("glidein", "name", "shape", "host", "batch_job", "started_at", "ended_at", *NEWER)
    changes = dict.fromkeys(keys, value)
    put(folder, "a", **changes)
    assert read().since(0) == (outcomes.Ended(1, "never-joined"),)


@pytest.mark.parametrize("value", ["2026-13-01T00:00:00Z", "2026-11-22T09:00:00", "0000-00-00T00:00:00Z", "now"])
def test_a_time_that_is_none_is_left_out(folder, read, value):
    put(folder, "a", started_at=value)
    assert read().since(0)[0].started_at is None


def test_what_is_no_file_neither_blocks_nor_stops_a_cycle(folder, read, tmp_path):
    (folder / "folder.json").mkdir()
    os.mkfifo(folder / "pipe.json")
    (folder / "device.json").symlink_to("/dev/zero")
    (folder / "nowhere.json").symlink_to(tmp_path / "none")
    put(folder, "good")
    inbox = read()
    assert inbox.pending == {"unreadable-record": 4, "never-joined": 1}
    inbox.save()
    assert [item.name for item in folder.iterdir()] == ["folder.json"]


def test_a_link_is_neither_followed_nor_is_its_target_removed(folder, read, tmp_path):
    precious = tmp_path / "precious.json"
    precious.write_text(json.dumps(RECORD), encoding="utf-8")
    (folder / "link.json").symlink_to(precious)
    inbox = read()
    assert inbox.pending == {"unreadable-record": 1}
    inbox.save()
    assert precious.exists()


def test_a_record_that_cannot_be_read_now_is_read_later(folder, read, monkeypatch):
    put(folder, "a")

    def stale(_: object) -> bytes:
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(outcomes, "_body", stale)
        inbox = read()
        assert inbox.since(0) == ()
        inbox.save()
    assert names(read()) == ["gp-1a2b3-x9y8z"]


# --- bounds


def test_many_kinds_of_outcomes_still_fit_into_a_heartbeat(folder, read, now):
    for number in range(100):
        put(folder, str(number), outcome=f"code-{number}")
    for number in range(3):
        put(folder, f"d{number}", outcome="deadline")
    counts = read().pending
    assert (len(counts), counts["deadline"], sum(counts.values())) == (64, 3, 103)
    assert counts["other"] == 103 - 3 - 62
    Heartbeat("north", "i", "0", 1, now, (), outcomes=counts).to_json()


def test_they_do_after_many_cycles_too(folder, read):
    for cycle in range(5):
        for number in range(40):
            put(folder, f"{cycle}-{number}", outcome=f"code-{cycle}-{number}")
        inbox = read()
        inbox.save()
    assert (len(inbox.pending), sum(inbox.pending.values())) == (64, 200)


def test_no_more_records_are_read_than_a_cycle_can_bear(folder, read, monkeypatch):
    monkeypatch.setattr(outcomes, "_MAX_FILES", 5)
    for number in range(9):
        put(folder, str(number))
    inbox = read()
    assert inbox.pending == {"never-joined": 5}
    inbox.save()
    assert read().pending == {"never-joined": 9}


def test_files_that_cannot_be_removed_do_not_keep_others_from_being_read(folder, read, monkeypatch):
    monkeypatch.setattr(outcomes, "_MAX_FILES", 5)
    for number in range(5):
        (folder / f"{number}.json").mkdir()
    read().save()
    put(folder, "a")
    inbox = read()
    assert (inbox.pending["never-joined"], len(inbox.stuck)) == (1, 5)


def test_with_too_many_of_them_no_more_are_read(folder, read, monkeypatch):
    monkeypatch.setattr(outcomes, "_MAX_STUCK", 3)
    for number in range(9):
        (folder / f"{number}.json").mkdir()
    for _ in range(4):
        read().save()
    assert read().pending == {"unreadable-record": 3}


def test_a_record_that_nobody_judges_is_not_kept_for_ever(folder, read, monkeypatch):
    monkeypatch.setattr(outcomes, "_MAX_KEPT", 4)
    for number in range(9):
        put(folder, str(number))
        read(0).save()
    assert [record.serial for record in read(0).since(0)] == [6, 7, 8, 9]


# --- once, and at least once


def test_nothing_is_written_or_removed_by_reading(folder, read, tmp_path):
    put(folder, "a")
    assert read() == read()
    assert not (tmp_path / "reports.json").exists()
    assert (folder / "a.json").exists()


def test_nothing_is_written_when_nothing_is_new(folder, read, tmp_path):
    put(folder, "a")
    read().save()
    read(1).save()  # the file's name is dropped: it is gone
    before = (tmp_path / "reports.json").stat().st_ino
    read(1).save()
    assert (tmp_path / "reports.json").stat().st_ino == before


def test_a_record_stays_until_all_who_judge_have_judged_it(folder, read):
    put(folder, "a", name="gp-a")
    read(0, 0).save()
    put(folder, "b", name="gp-b")
    inbox = read(1, 0)
    assert (names(inbox, 1), names(inbox, 0), inbox.serial) == (["gp-b"], ["gp-a", "gp-b"], 2)
    inbox.save()
    assert names(read(2, 1)) == ["gp-b"]
    assert names(read(2, 2)) == []


def test_a_crash_before_the_files_are_removed_does_not_read_them_twice(folder, read):
    put(folder, "a")
    read().write()
    inbox = read(1)
    assert (inbox.since(1), inbox.pending) == ((), {"never-joined": 1})
    inbox.save()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("cycles", [1, 5])
def test_a_record_that_cannot_be_removed_is_counted_once(folder, read, cycles):
    (folder / "a.json").mkdir()
    for _ in range(cycles):
        read().save()
    inbox = read()
    assert (inbox.pending, inbox.stuck) == ({"unreadable-record": 1}, ("a.json",))


def test_counts_wait_for_a_heartbeat_that_was_sent(folder, read):
    put(folder, "a")
    read().save()
    put(folder, "b", outcome="deadline")
    inbox = read(1)
    inbox.save()
    sent = inbox.pending
    assert sent == {"never-joined": 1, "deadline": 1}
    assert read(2).pending == sent  # it failed
    inbox.reported(sent).save()
    assert read(2).pending == {}


def test_what_came_while_a_heartbeat_was_sent_stays(folder, read):
    for name in ("a", "b"):
        put(folder, name)
    inbox = read()
    inbox.save()
    assert inbox.reported({"never-joined": 1}).pending == {"never-joined": 1}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 9999, b'{"serial": "x"}', b'{"records": [{}]}'])
def test_an_inbox_that_cannot_be_understood_begins_anew_and_not_with_numbers_that_were_judged(
    folder, read, tmp_path, body
):
    (tmp_path / "reports.json").write_bytes(body)
    put(folder, "a")
    inbox = read(40, 41)
    assert [record.serial for record in inbox.since(41)] == [42]
    inbox.save()
    assert outcomes.read(folder, tmp_path / "reports.json", judged=(42, 42)).serial == 42


def test_breakers_that_were_lost_see_again_only_what_was_not_judged_by_all(folder, read):
    put(folder, "a", name="gp-a")
    read(0, 0).save()
    put(folder, "b", name="gp-b")
    read(1, 1).save()
    assert names(read(0, 2)) == ["gp-b"]


STEPS = ["write", "sweep one", "sweep", "ledger", "breaker", "send", "reported"]
histories = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([*STEPS, "none", "none"]), st.booleans()), max_size=12
)


@given(histories)
@settings(max_examples=300, deadline=None)
def test_whatever_crashes_each_record_is_judged_once_and_reported_at_least_once(tmp_path_factory, history):
    """Each cycle ends after one of its steps, or goes through; the last one goes through."""
    state = tmp_path_factory.mktemp("state")
    folder, path = state / "outcomes", state / "reports.json"
    folder.mkdir()
    put_names: list[str] = []
    judged: dict[str, list[str]] = {"ledger": [], "breaker": []}
    serials = {"ledger": 0, "breaker": 0}
    told = 0
    for new, crash, is_sent in [*history, (1, "none", True)]:
        for _ in range(new):
            put_names.append(f"gp-{len(put_names)}")
            put(folder, put_names[-1], name=put_names[-1])
        inbox = outcomes.read(folder, path, judged=tuple(serials.values()))
        inbox.write()
        if crash == "write":
            continue
        if crash == "sweep one":
            next(iter(folder.iterdir()), folder / "none").unlink(missing_ok=True)
            continue
        inbox.sweep()
        if crash == "sweep":
            continue
        for judge in ("ledger", "breaker"):
            judged[judge] += names(inbox, serials[judge])
            serials[judge] = inbox.serial
            if crash == judge:
                break
        if crash in ("ledger", "breaker") or not is_sent:
            continue
        told += sum(inbox.pending.values())
        if crash != "send":
            inbox.reported(inbox.pending).save()
    assert sorted(judged["ledger"]) == sorted(put_names)
    assert sorted(judged["breaker"]) == sorted(put_names)
    assert told >= len(put_names)
    assert list(folder.iterdir()) == []
