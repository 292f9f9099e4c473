from __future__ import annotations

import json
import logging
import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from glidepost.publisher import last_good
from glidepost.publisher.census import Answer, ScheddAnswer


@pytest.fixture
def complete(config, now):
    """Completes the answer of these schedds: complete(good, bad, at=timedelta(minutes=5))."""

    def run(*schedds: ScheddAnswer, at: timedelta = timedelta(0), settings=config, is_kept: bool = True):
        return last_good.complete(settings, Answer(schedds, ()), now=now + at, is_kept=is_kept).schedds

    return run


@pytest.fixture
def file(config) -> Path:
    return Path(config.demand.state) / "publisher.census.json"


@pytest.fixture
def good(make_row):
    def make(name: str, jobs: int = 3) -> ScheddAnswer:
        return ScheddAnswer(name, (make_row(jobs),), None)

    return make


def bad(name: str) -> ScheddAnswer:
    return ScheddAnswer(name, (), "no answer")


def test_a_schedd_that_fails_keeps_its_last_good_rows_with_their_time(complete, good, now):
    complete(good("ap1"), good("ap2"))
    one, two = complete(good("ap1", 5), bad("ap2"), at=timedelta(minutes=5))
    assert (one.idle_jobs, one.asked_at) == (5, None)
    assert (two.idle_jobs, two.error, two.asked_at) == (3, "no answer", now)


def test_rows_do_not_get_younger_by_being_used(complete, good, now):
    complete(good("ap1"), good("ap2"))
    for minutes in (10, 20, 29):
        _, two = complete(good("ap1"), bad("ap2"), at=timedelta(minutes=minutes))
        assert (two.idle_jobs, two.asked_at) == (3, now)


def test_rows_older_than_the_life_of_a_document_are_not_used(complete, good):
    complete(good("ap1"), good("ap2"))
    _, two = complete(good("ap1"), bad("ap2"), at=timedelta(minutes=30))
    assert (two.idle_jobs, two.error, two.asked_at) == (0, "no answer", None)


def test_rows_of_the_future_are_not_used(complete, good):
    complete(good("ap1"))
    (one,) = complete(bad("ap1"), at=-timedelta(minutes=5))
    assert one.rows == ()


def test_a_schedd_that_is_gone_is_missed_until_its_rows_are_too_old(complete, good, now):
    complete(good("ap1"), good("ap2"))
    _, two = complete(good("ap1"), at=timedelta(minutes=29))
    assert (two.name, two.error, two.idle_jobs, two.asked_at) == ("ap2", "it is no longer in the collector", 3, now)
    assert [schedd.name for schedd in complete(good("ap1"), at=timedelta(minutes=30))] == ["ap1"]


@pytest.mark.parametrize("wanted", ["local", ("ap1",)])
def test_a_schedd_that_is_no_longer_to_be_asked_is_not_missed(complete, good, config, wanted):
    complete(good("ap1"), good("ap2"))
    settings = replace(config, census=replace(config.census, schedds=wanted))
    assert [schedd.name for schedd in complete(good("ap1"), settings=settings)] == ["ap1"]


def test_an_empty_queue_is_remembered_as_empty(complete, good):
    complete(good("ap1"))
    complete(replace(good("ap1"), rows=()), at=timedelta(minutes=1))
    (one,) = complete(bad("ap1"), at=timedelta(minutes=2))
    assert one.rows == ()
    assert one.asked_at is not None


def test_a_dry_run_remembers_nothing(complete, good, file):
    complete(good("ap1"), is_kept=False)
    assert not file.exists()


def test_only_the_account_of_the_publisher_can_read_the_memory(complete, good, file):
    complete(good("ap1"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"kind": "census-memory/1"}',
        b'{"kind": "census-memory/2", "schedds": {}}',
        b'{"kind": "census-memory/1", "schedds": {"ap1": {"asked_at": "2026-11-22T00:00:00", "rows": []}}}',
        b'{"kind": "census-memory/1", "schedds": {"ap1": {"asked_at": 5, "rows": [{}]}}}',
    ],
)
def test_a_damaged_memory_is_none_and_is_mended(complete, good, file, caplog, body):
    file.parent.mkdir()
    file.write_bytes(body)
    with caplog.at_level(logging.WARNING):
        assert complete(bad("ap1"))[0].rows == ()
    assert "census memory" in caplog.text
    complete(good("ap1"))
    assert complete(bad("ap1"))[0].idle_jobs == 3


def test_a_memory_that_cannot_be_written_does_not_stop_the_publisher(complete, good, file, caplog):
    file.parent.write_text("no folder", encoding="utf-8")
    assert complete(good("ap1"))[0].idle_jobs == 3
    assert "census memory not written" in caplog.text


def test_a_later_version_s_fields_are_ignored(complete, good, file):
    complete(good("ap1"))
    memory = json.loads(file.read_bytes())
    memory["news"] = memory["schedds"]["ap1"]["news"] = 1
    file.write_text(json.dumps(memory), encoding="utf-8")
    assert complete(bad("ap1"))[0].idle_jobs == 3
