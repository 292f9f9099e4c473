from __future__ import annotations

import re
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glidepost.schema.errors import ConfigError
from glidepost.site_puller.ledger import REPORT_GRACE, Entry, Ledger, name_prefix, new_name

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)
SECOND = timedelta(seconds=1)


def one(count: int = 3, **changes) -> Ledger:
    return Ledger({"gp-1": Entry(**{"name": "gp-1", "shape": "cpu", "count": count, "submitted_at": NOW, **changes})})


def members(count: int, *, running: int = 0) -> dict[str, list[tuple[str, bool]]]:
    return {"gp-1": [(f"1_{index}", index < running) for index in range(count)]}


def test_there_is_an_empty_ledger_before_the_first(tmp_path):
    assert Ledger.load(tmp_path / "ledger.json") == Ledger()


def test_a_ledger_comes_back_as_it_was_saved(tmp_path):
    ledger = one(batch_id="17", reported=2, started={"17_0": NOW})
    ledger.save(tmp_path / "ledger.json")
    assert Ledger.load(tmp_path / "ledger.json") == ledger


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"entries": []}', b'{"entries": {"a": {}}}', b"\xff", b"[" * 9999]
)
def test_a_ledger_that_cannot_be_understood_is_an_error_for_a_person(tmp_path, body):
    file = tmp_path / "ledger.json"
    file.write_bytes(body)
    with pytest.raises(ConfigError, match=r"ledger\.json is unreadable") as caught:
        Ledger.load(file)
    assert "gp-" in caught.value.hint
    assert file.read_bytes() == body


def test_a_folder_in_the_ledgers_place_is_an_error_for_a_person(tmp_path):
    (tmp_path / "ledger.json").mkdir()
    with pytest.raises(ConfigError, match="unreadable"):
        Ledger.load(tmp_path / "ledger.json")


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from glidepost.site_puller.ledger import Ledger

ledger = Ledger.load(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
try:
    ledger.without("gp-1").save(Path(sys.argv[1]))
except OSError:
    sys.exit(7)
"""


def test_a_failed_save_leaves_the_old_ledger_whole(tmp_path):
    """A limit on the size of files stands in for a full disk."""
    file = tmp_path / "ledger.json"
    one(1).save(file)
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(file)], check=False)
    assert done.returncode == 7
    assert Ledger.load(file) == one(1)
    assert list(tmp_path.iterdir()) == [file]


def test_a_submission_without_an_answer_occupies_its_places_until_its_grace_is_over():
    ledger = one(3)
    assert ledger.unreported("cpu", now=NOW + REPORT_GRACE) == 3
    assert ledger.unreported("cpu", now=NOW + REPORT_GRACE + SECOND) == 0
    assert ledger.unreported("other", now=NOW) == 0


def test_what_is_listed_is_not_counted_twice():
    assert one(3).observed(members(2), now=NOW).unreported("cpu", now=NOW) == 1
    assert one(3).observed(members(3), now=NOW).unreported("cpu", now=NOW) == 0


def test_what_was_listed_and_has_gone_is_dropped():
    ledger = one(3).observed(members(3), now=NOW)
    assert ledger.observed({}, now=NOW + SECOND) == Ledger()


def test_members_that_were_never_listed_stay_when_their_siblings_are_gone():
    ledger = one(3).observed(members(2), now=NOW).observed({}, now=NOW + SECOND)
    assert ledger.unreported("cpu", now=NOW + SECOND) == 1


def test_an_entry_that_was_never_listed_is_dropped_after_its_grace():
    assert one().observed({}, now=NOW + REPORT_GRACE) == one()
    assert one().observed({}, now=NOW + REPORT_GRACE + SECOND) == Ledger()


def test_an_entry_stays_as_long_as_the_batch_system_lists_it():
    later = NOW + timedelta(days=30)
    assert "gp-1" in one().observed(members(1), now=later).entries


def test_more_members_than_were_submitted_do_not_count_negative():
    assert one(1).observed(members(5), now=NOW).unreported("cpu", now=NOW) == 0


def test_a_glidein_is_fresh_from_when_it_was_first_seen_running():
    ledger = one(3).observed(members(3, running=1), now=NOW)
    ledger = ledger.observed(members(3, running=2), now=NOW + 60 * SECOND)
    assert ledger.started_since("cpu", NOW - SECOND) == 2
    assert ledger.started_since("cpu", NOW) == 1
    assert ledger.started_since("cpu", NOW + 60 * SECOND) == 0
    assert ledger.started_since("other", NOW - SECOND) == 0


def test_a_refused_submission_is_taken_out_again():
    assert one().without("gp-1") == Ledger()
    assert one().without("gp-2") == one()


def test_names_are_short_plain_and_new():
    names = {new_name("north", "cpu") for _ in range(50)}
    assert len(names) == 50
    assert all(re.fullmatch(r"gp-[a-z0-9]{5}-[a-z0-9]{5}", name) for name in names)


def test_names_are_known_again_by_site_and_shape():
    assert new_name("north", "cpu").startswith(name_prefix("north", "cpu"))
    prefixes = {name_prefix(site, shape) for site in ("north", "south") for shape in ("cpu", "gpu")}
    assert len(prefixes) == 4


entries = st.builds(
    Entry,
    name=st.sampled_from(["gp-1", "gp-2", "gp-3"]),
    shape=st.sampled_from(["cpu", "gpu"]),
    count=st.integers(1, 5),
    submitted_at=st.integers(-1200, 0).map(lambda seconds: NOW + timedelta(seconds=seconds)),
    batch_id=st.sampled_from([None, "1"]),
    reported=st.integers(0, 5),
)
ledgers = st.lists(entries, max_size=3).map(lambda items: Ledger({entry.name: entry for entry in items}))
answers = st.dictionaries(
    st.sampled_from(["gp-1", "gp-2", "other"]),
    st.lists(
        st.tuples(st.sampled_from(["1_0", "1_1", "1_2"]), st.booleans()), max_size=3, unique_by=lambda item: item[0]
    ),
)
some = settings(max_examples=100, deadline=None)


@given(ledgers, answers)
@some
def test_what_is_listed_or_may_still_be_is_never_dropped(ledger, answer):
    after = ledger.observed(answer, now=NOW)
    for name, entry in ledger.entries.items():
        may_come = entry.reported < entry.count and NOW - entry.submitted_at <= REPORT_GRACE
        assert (name in after.entries) == bool(may_come or answer.get(name))
    assert set(after.entries) <= set(ledger.entries)


@given(ledgers, answers)
@some
def test_the_same_answer_twice_changes_nothing(ledger, answer):
    once = ledger.observed(answer, now=NOW)
    assert once.observed(answer, now=NOW) == once


@given(ledgers, answers)
@some
def test_listed_and_unreported_together_are_no_fewer_than_what_was_submitted(ledger, answer):
    """Within its grace an entry that was never listed occupies all of its places, one way or the other."""
    fresh = Ledger({name: entry for name, entry in ledger.entries.items() if not entry.reported})
    after = fresh.observed(answer, now=NOW)
    for name, entry in fresh.entries.items():
        if NOW - entry.submitted_at <= REPORT_GRACE:
            alone = Ledger({name: after.entries[name]})
            assert len(answer.get(name, ())) + alone.unreported(entry.shape, now=NOW) >= entry.count


@given(ledgers)
@some
def test_any_ledger_survives_its_file(tmp_path_factory, ledger):
    file = tmp_path_factory.getbasetemp() / "any-ledger.json"
    ledger.save(file)
    assert Ledger.load(file) == ledger
