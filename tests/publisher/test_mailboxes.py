from __future__ import annotations

import base64
import json
from datetime import timedelta

import pytest

from glidepost.publisher import mailboxes
from glidepost.schema.document import encode
from glidepost.schema.keys import PublicKey, SigningKey
from glidepost.schema.mailbox import Mailbox
from glidepost.schema.signing import sign, verify

KEY = "v1/sites/north.json"


@pytest.fixture
def renew(store, make_pool, pool_key, site_key, now):
    """Renews the mailboxes: renew() for north, renew(pool, south=key) for others."""

    def run(pool=None, *, at: timedelta = timedelta(0), signer: SigningKey = pool_key, **sites: PublicKey):
        sites = sites or {"north": site_key.public}
        return mailboxes.renew(store, sites, tokens=pool or make_pool(), key=signer, now=now + at)

    return run


def test_a_missing_mailbox_is_written_signed_and_sealed_for_its_site(renew, store, pool_key, site_key, now):
    assert renew() == (["north"], [])
    data = json.loads(store.get(KEY))
    verify(data, [pool_key.public])
    letter = Mailbox.from_json(data).open(site_key, site="north")
    assert (letter.pool_token, letter.expires_at - now) == ("aaa.north.ccc", timedelta(hours=48))
    assert letter.heartbeat_form.fields["key"] == "v1/heartbeats/north.json"
    assert letter.heartbeat_form.fields["Content-Type"] == "application/json"


def test_the_form_allows_one_key_one_type_and_a_bounded_size(renew, store, site_key):
    renew()
    letter = Mailbox.from_json(json.loads(store.get(KEY))).open(site_key, site="north")
    conditions = json.loads(base64.b64decode(letter.heartbeat_form.fields["policy"]))["conditions"]
    assert {"key": "v1/heartbeats/north.json"} in conditions
    assert {"bucket": "glidepost"} in conditions
    assert {"Content-Type": "application/json"} in conditions
    assert ["content-length-range", 2, mailboxes.MAX_HEARTBEAT_BYTES] in conditions


def test_a_young_mailbox_is_left_alone(renew, store):
    renew()
    before = store.get(KEY)
    assert renew(at=timedelta(hours=6) - timedelta(seconds=1)) == ([], [])
    assert store.get(KEY) == before


@pytest.mark.parametrize("hours", [6, 24, 480])
def test_an_old_or_expired_mailbox_is_renewed(renew, hours):
    renew()
    assert renew(at=timedelta(hours=hours)) == (["north"], [])


def test_a_mailbox_from_the_future_is_renewed(renew):
    renew(at=timedelta(days=300))
    assert renew() == (["north"], [])


def test_a_site_with_another_key_gets_another_mailbox(renew, store):
    renew()
    other = SigningKey.generate()
    assert renew(north=other.public) == (["north"], [])
    assert Mailbox.from_json(json.loads(store.get(KEY))).open(other, site="north").site == "north"


def test_after_a_change_of_the_pools_key_mailboxes_are_signed_anew(renew, store):
    renew()
    new = SigningKey.generate()
    assert renew(signer=new) == (["north"], [])
    verify(json.loads(store.get(KEY)), [new.public])


def test_a_mailbox_of_another_site_under_this_key_is_replaced(renew, store, site_key):
    renew(south=site_key.public)
    store.put(KEY, store.get("v1/sites/south.json"), content_type="application/json", cache_seconds=0)
    assert renew() == (["north"], [])


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"kind": "mailbox/1"}'])
def test_garbage_under_a_mailboxs_key_is_replaced(renew, store, body):
    store.put(KEY, body, content_type="text/html", cache_seconds=0)
    assert renew() == (["north"], [])


def test_a_signed_document_of_another_kind_is_replaced(renew, store, pool_key):
    store.put(KEY, encode(sign({"kind": "demand/1"}, pool_key)), content_type="application/json", cache_seconds=0)
    assert renew() == (["north"], [])


def test_one_sites_failure_leaves_the_others_alone(renew, make_pool, store, site_key):
    sites = dict.fromkeys(("east", "north", "south"), site_key.public)
    renewed, failures = renew(make_pool(refused={"north"}), **sites)
    assert renewed == ["east", "south"]
    assert [failure.what for failure in failures] == ["no token for north"]
    assert store.list("v1/sites/") == ["v1/sites/east.json", "v1/sites/south.json"]


def test_a_key_that_nothing_can_be_sealed_for_fails_for_its_site_only(renew, site_key):
    renewed, failures = renew(north=PublicKey(bytes([2]) * 32), south=site_key.public)
    assert renewed == ["south"]
    assert "north" in failures[0].what
    assert "enrol" in failures[0].hint


def test_an_old_mailbox_stays_while_no_token_can_be_made(renew, make_pool, store):
    renew()
    before = store.get(KEY)
    renewed, failures = renew(make_pool(refused={"north"}), at=timedelta(hours=7))
    assert (renewed, len(failures)) == ([], 1)
    assert store.get(KEY) == before
