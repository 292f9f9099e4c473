"""Files that survive a crash, and the lock: two processes, two hosts, file systems that have none."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone

import pytest

from glidepost.schema.errors import ConfigError, GlidepostError
from glidepost.schema.files import AlreadyRunning, Holder, lock, remove_leftovers, write_atomic

AT = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)
DEAD = 2**22 + 1  # above what Linux numbers processes with


def no_flock(*_: int) -> None:
    """What NFS with local locks is to two hosts: each of them gets every lock."""


def on(host: str, *, after: timedelta = timedelta(0), process: int = DEAD) -> Holder:
    return Holder(host, process, AT + after)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "lock"


@pytest.fixture
def mark(path):
    path.parent.mkdir()
    return path.with_name("lock.holder")


def test_a_lock_leaves_no_mark_behind(path):
    for _ in range(2):
        with lock(path):
            assert Holder.parse(path.with_name("lock.holder").read_text(encoding="utf-8")).process == os.getpid()
        assert [item.name for item in path.parent.iterdir()] == ["lock"]


def test_a_failure_inside_lets_go(path):
    with pytest.raises(KeyError), lock(path):
        raise KeyError
    with lock(path):
        pass


def test_the_second_one_is_told_that_the_first_is_running(path):
    with lock(path), pytest.raises(AlreadyRunning, match="lock"), lock(path):
        pass


HOLD = """
import sys, time
from pathlib import Path
from glidepost.schema.files import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(path):
    """Another process that holds the lock."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_another_process_that_holds_it_is_left_alone(path, holder):
    with pytest.raises(AlreadyRunning), lock(path):
        pass
    assert holder.poll() is None


def test_a_process_that_was_killed_holds_nothing_up(path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert path.with_name("lock.holder").exists()
    with lock(path):
        pass


def test_a_lock_file_that_somebody_removed_under_a_run_lets_nobody_in(path, holder):
    path.unlink()
    with pytest.raises(AlreadyRunning, match=f"{holder.pid}"), lock(path):
        pass


def test_what_the_lock_protects_is_done_by_one_at_a_time(path):
    """Eight processes add one, a hundred times each, where they get the lock."""
    script = """
import sys
from pathlib import Path
from glidepost.schema.files import AlreadyRunning, lock
done, count = 0, Path(sys.argv[1]).with_name("count")
while done < 30:
    try:
        with lock(Path(sys.argv[1])):
            count.write_text(str(int(count.read_text() if count.exists() else 0) + 1))
            done += 1
    except AlreadyRunning:
        pass
"""
    with ExitStack() as stack:
        runs = [stack.enter_context(subprocess.Popen([sys.executable, "-c", script, str(path)])) for _ in range(4)]
        assert [run.wait(timeout=60) for run in runs] == [0] * 4
    assert path.with_name("count").read_text(encoding="utf-8") == "120"


# Two hosts, where the kernel's lock is of one host only


def test_of_two_hosts_the_second_is_told(path):
    with lock(path, me=on("login1"), flock=no_flock):
        with pytest.raises(AlreadyRunning, match="login1"), lock(path, me=on("login2"), flock=no_flock):
            pass
        assert "login1" in path.with_name("lock.holder").read_text(encoding="utf-8")
    with lock(path, me=on("login2"), flock=no_flock):
        pass


@pytest.mark.parametrize(("minutes", "is_free"), [(0, False), (14, False), (15, True), (-14, False), (-15, True)])
def test_a_mark_of_another_host_holds_for_a_quarter_of_an_hour(path, mark, minutes, is_free):
    mark.write_text(str(on("login1")), encoding="utf-8")
    me = on("login2", after=timedelta(minutes=minutes))
    if is_free:
        with lock(path, me=me):
            assert "login2" in mark.read_text(encoding="utf-8")
        assert not mark.exists()
        return
    with pytest.raises(AlreadyRunning), lock(path, me=me):
        pass
    assert mark.read_text(encoding="utf-8") == str(on("login1"))


def test_a_mark_of_this_host_is_of_a_run_that_died(path, mark):
    mark.write_text(str(on("login1")), encoding="utf-8")
    with lock(path, me=on("login1", process=1)):
        pass


def test_a_run_that_was_taken_for_dead_leaves_the_mark_of_its_successor(path, mark):
    with lock(path, me=on("login1"), flock=no_flock):
        late = lock(path, me=on("login2", after=timedelta(hours=1)), flock=no_flock)
        late.__enter__()
    assert "login2" in mark.read_text(encoding="utf-8")
    late.__exit__(None, None, None)
    assert not mark.exists()


@pytest.mark.parametrize("text", ["", "login1", "a b c", "a 1 2026", "a 1 0001-01-01T00:00:00", "\udcff"])
def test_a_mark_that_was_cut_holds_as_long_as_any(path, mark, text):
    mark.write_bytes(text.encode(errors="surrogateescape"))
    now = datetime.now(timezone.utc)
    if "0001" not in text:
        with pytest.raises(AlreadyRunning), lock(path, me=Holder("login2", 1, now)):
            pass
    with lock(path, me=Holder("login2", 1, now + timedelta(minutes=16))):
        pass


def test_of_two_hosts_that_find_a_dead_mark_at_once_one_gets_the_lock(path, mark):
    """At the same moment, as cron has it. Barriers keep the first one inside until the second has made up its mind."""
    for attempt in range(1, 101):
        mark.write_text(str(on("dead", after=timedelta(days=-1))), encoding="utf-8")
        barrier, inside, refused = threading.Barrier(2, timeout=120), [], []

        def run(me: Holder, *, barrier=barrier, inside=inside, refused=refused) -> None:
            barrier.wait()
            try:
                with lock(path, me=me, flock=no_flock):
                    inside.append(me.host)
                    barrier.wait()
            except AlreadyRunning:
                refused.append(me.host)
                barrier.wait()

        threads = [threading.Thread(target=run, args=(on(host, process=attempt),)) for host in ("login1", "login2")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(inside), len(refused)) in {(1, 1), (0, 2)}, attempt
        assert not mark.exists()


# File systems


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_an_error_and_never_a_lock(path, code):
    def refuse(*_: int) -> None:
        raise OSError(code, os.strerror(code))

    with pytest.raises(ConfigError, match="cannot lock") as caught, lock(path, flock=refuse):
        pytest.fail("went on without a lock")
    assert "--state" in caught.value.hint


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE])
def test_a_file_system_that_fails_is_an_error_that_may_pass(path, code):
    def refuse(*_: int) -> None:
        raise OSError(code, os.strerror(code))

    with pytest.raises(GlidepostError, match="cannot lock") as caught, lock(path, flock=refuse):
        pytest.fail("went on without a lock")
    assert caught.value.exit_code == 1


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot write"), lock(tmp_path / "file" / "lock"):
        pytest.fail("went on without a lock")


def test_a_full_disk_leaves_no_half_mark(path, monkeypatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"), lock(path):
        pytest.fail("went on without a mark")
    assert [item.name for item in path.parent.iterdir()] == ["lock"]


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    write_atomic(tmp_path / "file", b"old", mode=0o600)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(OSError, match="full"):
        write_atomic(tmp_path / "file", b"new")
    assert [(item.name, item.read_bytes()) for item in tmp_path.iterdir()] == [("file", b"old")]
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_what_a_killed_process_was_writing_is_removed_when_it_is_old(tmp_path):
    write_atomic(tmp_path / "ledger.json", b"{}")
    for name in (".ledger.json.abc_12z9", ".ledger.json.new__one"):
        (tmp_path / name).write_bytes(b"half")
    for name in ("ledger.json", ".ledger.json.abc_12z9"):
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / ".hidden").mkdir()
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", ".ledger.json.new__one", "ledger.json"]
    remove_leftovers(tmp_path / "nowhere")


def test_a_mark_that_was_cut_keeps_others_out_for_a_minute_only(tmp_path):
    mark = tmp_path / "lock.holder"
    mark.touch()
    with pytest.raises(AlreadyRunning), lock(tmp_path / "lock"):
        pass
    old = time.time() - 61
    os.utime(mark, (old, old))
    with lock(tmp_path / "lock"):
        assert mark.read_text()
    assert not mark.exists()
