from __future__ import annotations

import io
from datetime import timedelta

import pytest
from rich.console import Console

from glidepost.publisher.site_list import Row, _seen, table, to_json
from glidepost.schema.document import encode
from glidepost.schema.heartbeat import Heartbeat
from glidepost.schema.sites import EnrolledSite

KEY = "v1/heartbeats/north.json"


@pytest.fixture
def seen(store, site_key, now):
    """Puts a heartbeat of this age there and returns what the list says of site north."""

    def look(age=None, *, body=None, **changes) -> Row:
        if age is not None:
            body = encode(Heartbeat("north", "i", "0.1.0", 1, now - age, ()).to_json())
        if body is not None:
            store.put(KEY, body, content_type="application/json", cache_seconds=0)
        site = EnrolledSite("north", site_key.public, **changes)
        return _seen(store, Row(site, "unknown"), timedelta(hours=72), now)

    return look


@pytest.mark.parametrize(
    ("age", "state"),
    [
        (timedelta(0), "ok"),
        (timedelta(minutes=60), "ok"),
        (timedelta(minutes=61), "late"),
        (timedelta(minutes=-4), "ok"),
        (timedelta(minutes=-6), "unreadable"),
    ],
)
def test_the_age_of_the_last_heartbeat_is_the_state(seen, age, state):
    assert seen(age).state == state


def test_a_site_that_was_never_heard_says_so(seen):
    assert (seen().state, seen().heartbeat_at, seen().mailbox_at) == ("never", None, None)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"kind": "heartbeat/1"}', b"[" * 100_000])
def test_a_heartbeat_that_is_none_is_unreadable_and_not_an_error(seen, body):
    assert seen(body=body).state == "unreadable"


@pytest.mark.parametrize("body", [None, b"<html>"])
def test_a_revoked_site_is_revoked_whatever_it_sends(seen, now, body):
    assert seen(body=body, revoked_at=now).state == "revoked"
    assert seen(timedelta(0), revoked_at=now).state == "revoked"


def test_the_table_names_what_an_operator_wants(seen, now):
    row = seen(timedelta(minutes=90), groups=("group_[bold]x",), channel="canary", enrolled_at=now)
    text = io.StringIO()
    Console(file=text, width=200, highlight=False).print(table([row], now))
    line = text.getvalue().splitlines()[1]
    for word in ("north", "late", "1h30m ago", "canary", "group_[bold]x", "2026-", row.site.public_key.key_id):
        assert word in line


def test_json_has_times_in_utc_and_null_for_none(seen, now):
    data = to_json(seen(timedelta(0)))
    assert data["heartbeat_at"] == f"{now:%Y-%m-%dT%H:%M:%SZ}"
    assert (data["revoked_at"], data["mailbox_at"], data["groups"]) == (None, None, [])
