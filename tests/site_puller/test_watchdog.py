from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from glidepost.schema.errors import GlidepostError, StoreError
from glidepost.schema.files import write_atomic
from glidepost.site_puller.watchdog import cycle_limit, limit

LATE = StoreError("late", hint="wait")


def test_a_block_that_is_done_in_time_goes_on():
    with limit(5, LATE):
        done = True
    assert done


@pytest.mark.parametrize("wait", [lambda: time.sleep(60), lambda: os.read(os.pipe()[0], 1), threading.Event().wait])
def test_a_block_that_waits_is_ended(wait):
    began = time.monotonic()
    with pytest.raises(StoreError, match="late"), limit(0.1, LATE):
        wait()
    assert time.monotonic() - began < 30


def spin() -> None:
    while True:
        pass


def test_a_block_that_computes_is_ended():
    with pytest.raises(StoreError, match="late"), limit(0.1, LATE):
        spin()


def test_a_command_is_ended_with_it():
    with pytest.raises(StoreError), limit(2, LATE):
        subprocess.run(["sleep", "60"], check=True)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_no_handler_on_the_way_takes_it_for_something_to_go_on_after():
    def go_on(seconds: float) -> None:
        with suppress(Exception):
            time.sleep(seconds)
        pytest.fail("went on")

    with pytest.raises(StoreError), limit(0.1, LATE):
        go_on(5)


def test_what_must_be_tidied_is_tidied(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: time.sleep(30))
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(StoreError), limit(2, LATE):
        write_atomic(tmp_path / "file", b"new")
    assert [item.read_bytes() for item in tmp_path.iterdir()] == [b"old"]


def test_an_inner_limit_leaves_the_outer_one_its_time():
    outer = GlidepostError("outer", hint="x")
    began = time.monotonic()

    def run() -> None:
        with pytest.raises(StoreError, match="late"), limit(0.1, LATE):
            time.sleep(60)
        with limit(0.1, LATE):
            pass
        time.sleep(60)

    with pytest.raises(GlidepostError, match="outer"), limit(0.4, outer):
        run()
    assert 0.3 < time.monotonic() - began < 30


def test_an_outer_limit_that_ends_first_ends_both():
    with pytest.raises(GlidepostError, match="outer"), limit(0.1, GlidepostError("outer", hint="x")), limit(60, LATE):
        time.sleep(5)


def test_nothing_is_left_behind():
    before = (signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0] > 0)
    with pytest.raises(StoreError), limit(0.05, LATE):
        time.sleep(5)
    with limit(5, LATE):
        pass
    assert (signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0] > 0) == before


def test_off_the_main_thread_it_has_no_effect():
    done = []

    def run() -> None:
        with limit(0.05, LATE):
            time.sleep(0.2)
            done.append(1)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert done == [1]


def test_a_hung_cycle_is_ended_with_what_to_do():
    with pytest.raises(GlidepostError, match="ended after 1s") as caught, cycle_limit(1):
        time.sleep(30)
    assert "next cycle" in caught.value.hint


def test_a_command_that_hangs_cannot_hold_the_lock_for_ever(tmp_path):
    """A process of its own, as cron runs it: the error leaves the lock free, and nothing runs on."""
    script = f"""
import subprocess
from pathlib import Path
from glidepost.schema.errors import GlidepostError
from glidepost.schema.files import lock
from glidepost.site_puller.watchdog import cycle_limit
try:
    with lock(Path({str(tmp_path)!r}) / "lock"), cycle_limit(1):
        subprocess.run(["sleep", "60"], timeout=60, check=True)
except GlidepostError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == ("this cycle was ended after 1s\n", "")
    assert [item.name for item in tmp_path.iterdir()] == ["lock"]
