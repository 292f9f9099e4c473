from __future__ import annotations

import logging
import os
import re
import sys
import time

import pytest

from glidepost.site_puller.logs import kept_log, tidy

LOG = logging.getLogger("glidepost.site_puller.cycle")
KIB = 1024


@pytest.fixture
def lines(state):
    def read() -> list[str]:
        return (state / "puller.log").read_text(encoding="utf-8").splitlines()

    return read


def test_an_event_is_one_line_with_time_and_level(state, lines):
    with kept_log(state):
        LOG.info("submitted shape=%s count=%d", "cpu", 2)
        LOG.debug("nothing of interest")
    (line,) = lines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO submitted shape=cpu count=2", line)


def test_several_lines_and_tracebacks_become_one(state, lines):
    with kept_log(state):
        LOG.warning("squeue said\nthis\r\nand that")
        try:
            {}["x"]
        except KeyError:
            LOG.exception("lost")
    first, second = lines()
    assert first.endswith("WARNING squeue said | this | and that")
    assert second.endswith("KeyError: 'x'")


def test_what_others_log_is_not_written(state, lines):
    with kept_log(state):
        logging.getLogger("urllib3.connectionpool").warning("GET /secret?signature=abc")
    assert lines() == []


def test_standard_error_says_no_more_than_before(state, capsys):
    root, shown = logging.getLogger(), logging.StreamHandler(sys.stderr)
    root.addHandler(shown)
    try:
        with kept_log(state):
            LOG.info("for the file")
            LOG.warning("for both")
        assert capsys.readouterr().err == "for both\n"
        assert shown.level == logging.NOTSET
    finally:
        root.removeHandler(shown)


def test_afterwards_all_is_as_it_was(state):
    ours = logging.getLogger("glidepost")
    before = (ours.level, list(ours.handlers))
    with kept_log(state):
        assert len(ours.handlers) == len(before[1]) + 1
    assert (ours.level, list(ours.handlers)) == before


def test_the_log_goes_on_where_it_ended_and_stays_within_four_mebibytes(state, lines):
    for number in range(6):
        with kept_log(state):
            for _ in range(1100):
                LOG.info("run=%d %s", number, "x" * KIB)
    assert sorted(item.name for item in state.iterdir()) == [
        "puller.log",
        "puller.log.1",
        "puller.log.2",
        "puller.log.3",
    ]
    assert sum(item.stat().st_size for item in state.iterdir()) <= 4 * KIB * KIB
    assert "run=5" in lines()[-1]


def test_a_log_that_cannot_be_opened_stops_nothing(tmp_path, caplog):
    (tmp_path / "puller.log").mkdir()
    with kept_log(tmp_path):
        LOG.info("on we go")
    assert "no log" in caplog.text
    (tmp_path / "file").write_text("", encoding="utf-8")
    with kept_log(tmp_path / "file" / "state"):
        LOG.info("on we go")


def test_a_full_disk_stops_nothing_and_fills_no_mail(state, capsys):
    state.mkdir()
    (state / "puller.log").symlink_to("/dev/full")
    with kept_log(state):
        LOG.warning("on we go")
    assert "Traceback" not in capsys.readouterr().err


# What glideins print


@pytest.fixture
def logs(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


@pytest.fixture
def put(logs):
    """Writes a file of so many bytes, so many seconds old."""

    def write(name: str, *, size: int = 10 * KIB, age: int = 0) -> None:
        (logs / name).write_bytes(b"x" * size)
        then = time.time() - age
        os.utime(logs / name, (then, then))

    return write


def names(folder) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def test_within_the_size_nothing_goes(logs, put):
    put("gp-00000-aaaaa-1.out")
    assert tidy(logs, 10 * KIB, ()) == 0
    assert names(logs) == ["gp-00000-aaaaa-1.out"]


def test_the_oldest_go_first_and_no_more_than_must(logs, put):
    for age in (30, 10, 40, 20):
        put(f"gp-00000-aaaaa-{age}.out", age=age)
    assert tidy(logs, 25 * KIB, ()) == 2
    assert names(logs) == ["gp-00000-aaaaa-10.out", "gp-00000-aaaaa-20.out"]


@pytest.mark.parametrize("ending", ["-17.out", "-17_3.out", ".o17", ".e17.3", ""])
def test_what_a_live_batch_job_writes_stays_however_old_and_counts(logs, put, ending):
    put(f"gp-00000-aaaaa{ending}", age=1000)
    put(f"gp-00000-bbbbb{ending}", age=10)
    assert tidy(logs, 0, {"gp-00000-aaaaa"}) == 1
    assert names(logs) == [f"gp-00000-aaaaa{ending}"]


def test_what_is_not_ours_is_neither_counted_nor_removed(logs, put, tmp_path):
    foreign = [
        "thesis.tex",
        "gp-00000",
        "gp-00000-aaaaaa.out",
        "xgp-00000-aaaaa-1.out",
        "gp-ABCDE-aaaaa-1.out",
        ".gp-00000-aaaaa",
    ]
    for name in foreign:
        put(name, age=1000)
    (tmp_path / "precious").write_bytes(b"x" * 10 * KIB)
    (logs / "gp-00000-aaaaa-1.out").symlink_to(tmp_path / "precious")
    (logs / "gp-00000-aaaaa-2.out").mkdir()
    os.mkfifo(logs / "gp-00000-aaaaa-3.out")
    put("gp-00000-aaaaa-4.out")
    assert tidy(logs, 10 * KIB, ()) == 0
    assert tidy(logs, 0, ()) == 1
    assert len(names(logs)) == len(foreign) + 3
    assert (tmp_path / "precious").exists()


def test_empty_files_count_too(logs, put):
    for number in range(10):
        put(f"gp-00000-aaaaa-{number}.out", size=0, age=number)
    assert tidy(logs, 4 * 4 * KIB, ()) == 6


def test_a_folder_that_is_not_there_needs_no_tidying(tmp_path):
    assert tidy(tmp_path / "none", 0, ()) == 0


def test_a_link_in_the_place_of_the_folders_file_is_not_followed_outside(logs, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "gp-00000-aaaaa-1.out").write_bytes(b"x")
    (logs / "gp-00000-aaaaa-dir.out").symlink_to(outside)
    assert tidy(logs, 0, ()) == 0
    assert names(outside) == ["gp-00000-aaaaa-1.out"]
