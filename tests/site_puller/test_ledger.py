from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glidepost.backends.base import JobState
from glidepost.schema.errors import GlidepostError
from glidepost.schema.resources import Resources
from glidepost.site_puller.ledger import (
    MAX_STEP_S,
    Entry,
    Ledger,
    LedgerFile,
    Member,
    Submitted,
    name_prefix,
    new_name,
)

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
SIZE = Resources(4, 2048, 1000, 7200)


def entry(count: int = 3, **changes) -> Entry:
    values = {"name": "gp-1", "shape": "cpu", "count": count, "submitted_at": NOW, "submitted_s": 0}
    return Entry(**{**values, "resources": SIZE, "hourly_cost": 4.0, **changes})


def one(count: int = 3, **changes) -> Ledger:
    return Ledger({"gp-1": entry(count, **changes)}, seen_at=NOW)


@pytest.fixture
def file(tmp_path) -> LedgerFile:
    return LedgerFile(tmp_path / "ledger.json")


# The file


def test_there_is_an_empty_ledger_before_the_first(file):
    assert file.load(was_here=False) == (Ledger(), None)


def test_a_ledger_comes_back_as_it_was_saved(file):
    member = Member(JobState.RUNNING, NOW, 9, missing=2, missing_s=7, missed_at=NOW, removed=True)
    ledger = replace(
        one(batch_id="17", members={"17_0": member}, gone=("17_1",)),
        clock_s=5,
        rebuilt_s=3,
        recent=(Submitted("cpu", 2, NOW),),
        excess_s={"cpu": 4},
        spent={"2026-11-22": {"cpu": 1.5}},
    )
    file.save(ledger)
    assert LedgerFile(file.path).load(was_here=True) == (ledger, None)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"{}", b"[]", b'{"entries": []}', b'{"entries": {"a": {}}}', b"\xff", b"[" * 9999]
)
def test_a_ledger_that_cannot_be_understood_is_rebuilt_and_kept_for_a_person(file, body):
    file.path.write_bytes(body)
    ledger, problem = file.load(was_here=True)
    assert ledger == Ledger(rebuilt_s=0)
    assert problem is not None
    assert "ledger.json" in problem.what
    assert file.path.read_bytes() == body
    file.set_aside(NOW)
    file.save(one())
    (kept,) = file.path.parent.glob("ledger.json.broken-*")
    assert kept.read_bytes() == body


def test_a_ledger_that_has_vanished_is_rebuilt(file):
    ledger, problem = file.load(was_here=True)
    assert ledger.rebuilt_s == 0
    assert problem is not None
    assert "not there any more" in problem.what


def test_a_folder_in_the_ledgers_place_is_moved_aside_too(file):
    file.path.mkdir()
    assert file.load(was_here=True)[1] is not None
    file.set_aside(NOW)
    file.save(one())
    assert file.path.is_file()


def test_a_ledger_that_another_puller_has_written_is_not_overwritten(file):
    file.save(one())
    other = LedgerFile(file.path)
    other.load(was_here=True)
    other.save(one(7))
    with pytest.raises(GlidepostError, match="another puller has written"):
        file.save(one(1))
    assert LedgerFile(file.path).load(was_here=True)[0] == one(7)


def test_a_ledger_that_has_vanished_meanwhile_is_not_written_again(file):
    file.save(one())
    file.path.unlink()
    with pytest.raises(GlidepostError, match="another puller"):
        file.save(one())


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from glidepost.site_puller.ledger import LedgerFile

file = LedgerFile(Path(sys.argv[1]))
ledger, _ = file.load(was_here=True)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
try:
    file.save(ledger.without("gp-1"))
except OSError:
    sys.exit(7)
"""


def test_a_failed_save_leaves_the_old_ledger_whole(file):
    """A limit on the size of files stands in for a full disk."""
    file.save(one(1))
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(file.path)], check=False)
    assert done.returncode == 7
    assert LedgerFile(file.path).load(was_here=True) == (one(1), None)
    assert list(file.path.parent.iterdir()) == [file.path]


# Its clock


def test_the_clock_goes_on_with_the_hosts():
    assert one().ticked(NOW + MINUTE).clock_s == 60
    assert one().ticked(NOW + MINUTE).ticked(NOW + 3 * MINUTE).clock_s == 180
    assert Ledger().ticked(NOW).clock_s == 0


@pytest.mark.parametrize("step", [timedelta(days=-3), timedelta(hours=-1), timedelta(0)])
def test_a_clock_that_was_set_back_does_not_turn_the_ledgers_back(step):
    ledger = one().ticked(NOW + step)
    assert ledger.clock_s == 0
    assert ledger.ticked(NOW + step + MINUTE).clock_s == 60


def test_a_clock_that_was_set_forward_gains_little():
    assert one().ticked(NOW + timedelta(days=400)).clock_s == MAX_STEP_S


# What it counts


def test_a_submission_without_an_answer_occupies_all_its_places():
    assert (entry(3).unreported, entry(3).live) == (3, 3)


def test_what_is_listed_or_gone_is_not_unreported():
    some = entry(3, members={"1": Member(JobState.IDLE)}, gone=("2",))
    assert (some.unreported, some.live) == (1, 2)
    assert entry(1, members={"1": Member(JobState.IDLE), "2": Member(JobState.IDLE)}).unreported == 0


def test_submissions_of_the_last_hour_are_counted():
    ledger = replace(one(), recent=(Submitted("cpu", 2, NOW), Submitted("gpu", 3, NOW + 30 * MINUTE)))
    assert (ledger.submitted_lately(), ledger.submitted_lately("cpu")) == (5, 2)
    assert ledger.ticked(NOW + 61 * MINUTE).submitted_lately() == 3


def test_a_clock_that_is_wrong_for_a_while_forgets_no_submission():
    ledger = replace(one(), recent=(Submitted("cpu", 2, NOW),)).ticked(NOW + timedelta(days=2))
    assert ledger.submitted_lately() == 0
    assert ledger.ticked(NOW + MINUTE).submitted_lately() == 2


def test_a_budget_is_charged_with_the_whole_walltime_at_first_and_then_with_what_ran():
    ledger = replace(one(3), spent={"2026-11-21": {"cpu": 10.0}, "2026-11-22": {"cpu": 1.0, "gpu": 2.0}})
    assert ledger.charged("2026-11-22", "cpu") == 3 * 4.0 * 2 + 1.0
    assert ledger.charged("2026-11-22") == 3 * 4.0 * 2 + 3.0
    assert ledger.charged("2026-11", "cpu") == 3 * 4.0 * 2 + 11.0
    assert ledger.charged("2026-12") == 0


def test_what_was_spent_long_ago_is_forgotten():
    ledger = replace(one(), spent={"2025-10-10": {"cpu": 10.0}, "2026-11-01": {"cpu": 1.0}})
    assert set(ledger.ticked(NOW).spent) == {"2026-11-01"}


def test_a_walltime_is_over_when_it_has_run_for_so_long_by_the_ledgers_clock():
    assert not entry().is_over(Member(JobState.RUNNING), 10**6)
    running = Member(JobState.RUNNING, NOW, 100)
    assert not entry().is_over(running, 7299)
    assert entry().is_over(running, 7300)


def test_a_refused_submission_is_taken_out_again():
    assert one().without("gp-1") == Ledger(seen_at=NOW)
    assert one().without("gp-2") == one()


# Names


def test_names_are_short_plain_and_new():
    names = {new_name("north", "cpu", Ledger()) for _ in range(50)}
    assert len(names) == 50
    assert all(re.fullmatch(r"gp-[a-z0-9]{5}-[a-z0-9]{5}", name) for name in names)


def test_names_are_known_again_by_site_and_shape():
    assert new_name("north", "cpu", Ledger()).startswith(name_prefix("north", "cpu"))
    prefixes = {name_prefix(site, shape) for site in ("north", "south") for shape in ("cpu", "gpu")}
    assert len(prefixes) == 4


members = st.builds(
    Member,
    state=st.sampled_from(list(JobState)),
    started_at=st.sampled_from([None, NOW]),
    missing=st.integers(0, 4),
)
entries = st.builds(
    entry,
    name=st.sampled_from(["gp-1", "gp-2", "gp-3"]),
    shape=st.sampled_from(["cpu", "gpu"]),
    count=st.integers(1, 5),
    batch_id=st.sampled_from([None, "1"]),
    members=st.dictionaries(st.sampled_from(["1_0", "1_1"]), members),
    gone=st.sampled_from([(), ("1_2",)]),
)


@given(st.lists(entries, max_size=3), st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_any_ledger_survives_its_file(tmp_path_factory, items, clock_s):
    ledger = Ledger({item.name: item for item in items}, clock_s, NOW)
    file = LedgerFile(tmp_path_factory.getbasetemp() / "any-ledger.json")
    file.load(was_here=True)
    file.save(ledger)
    assert LedgerFile(file.path).load(was_here=True) == (ledger, None)
