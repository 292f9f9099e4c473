from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from glidepost.publisher import kept, mailboxes
from glidepost.publisher.forms import MAX_LOG_BYTES, Forms
from glidepost.publisher.s3 import Connection
from glidepost.publisher.store import S3Store
from glidepost.schema.document import encode
from glidepost.schema.errors import ConfigError, StoreError
from glidepost.schema.keys import PublicKey, SigningKey
from glidepost.schema.mailbox import Letter, Mailbox
from glidepost.schema.publisher_config import StoreSettings
from glidepost.schema.signing import sign, verify
from glidepost.schema.store_keys import MAX_HEARTBEAT_BYTES

KEY = "v1/sites/north.json"


@pytest.fixture
def renew(store, make_pool, pool_key, site_key, now):
    """Renews the mailboxes: renew() for north, renew(pool, south=key) for others; it remembers as a publisher does."""
    memory = kept.Memory(())

    def run(
        pool=None,
        *,
        at: timedelta = timedelta(0),
        signer: SigningKey = pool_key,
        store: S3Store = store,
        token_settings: tuple[str, ...] = (),
        **sites: PublicKey,
    ):
        sites = sites or {"north": site_key.public}
        office = mailboxes.Office(store, pool or make_pool(), signer, token_settings)
        return mailboxes.renew(office, sites, memory, now=now + at)

    return run


@pytest.fixture
def letter(store, site_key):
    """Returns what is in north's mailbox now."""

    def read() -> Letter:
        return Mailbox.from_json(json.loads(store.get(KEY))).open(site_key, site="north")

    return read


@pytest.fixture
def store_with(aws):
    """Returns the store with other settings for forms: store_with("access key", uploads="put")."""

    def make(access_key: str = "", **settings) -> S3Store:
        whole = StoreSettings(**{"bucket": "glidepost", "public_url": "https://cdn.example.org/", **settings})
        return S3Store(aws, "glidepost", whole.prefix, Forms(lambda: Connection(aws, access_key), whole))

    return make


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
    assert ["content-length-range", 2, MAX_HEARTBEAT_BYTES] in conditions


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


def test_the_log_form_takes_any_name_below_the_sites_own_prefix(renew, store_with, letter):
    renew(store=store_with())
    form = letter().log_form
    assert form.fields["key"] == "v1/logs/north/${filename}"
    assert letter().log_url == "https://cdn.example.org/v1/logs/north/${filename}"
    policy = json.loads(base64.b64decode(form.fields["policy"]))
    assert ["starts-with", "$key", "v1/logs/north/"] in policy["conditions"]
    assert {"Content-Type": "application/gzip"} in policy["conditions"]
    assert ["content-length-range", 1, MAX_LOG_BYTES] in policy["conditions"]
    assert json.loads(base64.b64decode(letter().heartbeat_form.fields["policy"]))["expiration"] == policy["expiration"]


def test_keys_and_addresses_have_the_stores_prefix(renew, store_with, aws, site_key):
    renew(store=store_with(prefix="pools/demo/"))
    body = aws.get_object(Bucket="glidepost", Key=f"pools/demo/{KEY}")["Body"].read()
    sealed = Mailbox.from_json(json.loads(body)).open(site_key, site="north")
    assert sealed.heartbeat_form.fields["key"] == "pools/demo/v1/heartbeats/north.json"
    assert sealed.log_form.fields["key"] == "pools/demo/v1/logs/north/${filename}"
    assert sealed.log_url == "https://cdn.example.org/pools/demo/v1/logs/north/${filename}"


def test_a_pool_that_wants_no_logs_gives_no_form_for_them(renew, store_with, letter):
    renew(store=store_with(logs=False))
    assert (letter().log_form, letter().log_url) == (None, "")


def test_a_store_without_post_policies_gets_an_address_to_put_to_and_no_logs(renew, store_with, letter):
    renew(store=store_with(uploads="put"))
    form = letter().heartbeat_form
    assert (form.method, form.headers, form.fields) == ("PUT", {"Content-Type": "application/json"}, {})
    assert form.place.endswith("/v1/heartbeats/north.json")
    assert letter().log_form is None


@pytest.mark.parametrize(
    "changes",
    [
        {"uploads": "put"},
        {"logs": False},
        {"prefix": "p/"},
        {"public_url": "https://other.example.org"},
        {"region": "eu-west-1"},
        {"access_key": "another"},
    ],
)
def test_a_change_of_what_forms_are_like_makes_new_mailboxes_once(renew, store_with, changes):
    renew(store=store_with("a key"))
    assert renew(store=store_with("a key")) == ([], [])
    other = store_with(**{"access_key": "a key", **changes})
    assert renew(store=other) == (["north"], [])
    assert renew(store=other) == ([], [])


def test_a_change_of_what_tokens_are_like_makes_new_mailboxes_once(renew):
    renew(token_settings=("example.org", "259200"))
    assert renew(token_settings=("example.org", "345600")) == (["north"], [])
    assert renew(token_settings=("example.org", "345600")) == ([], [])


def test_nothing_of_a_key_can_be_read_outside_of_the_box(renew, store_with, store):
    renew(store=store_with("AKIAIOSFODNN7EXAMPLE"))
    assert b"AKIA" not in store.get(KEY)


def test_without_the_forms_credentials_mailboxes_stay_and_it_is_said_once(renew, store, aws, site_key):
    renew()
    before = store.get(KEY)

    def refuse() -> Connection:
        raise ConfigError("[store] forms_credentials: forms.ini is missing", hint="look")

    broken = S3Store(aws, "glidepost", forms=Forms(refuse, StoreSettings(bucket="glidepost", public_url="")))
    renewed, failures = renew(store=broken, at=timedelta(hours=7), north=site_key.public, south=site_key.public)
    assert (renewed, [error.what for error in failures]) == ([], ["[store] forms_credentials: forms.ini is missing"])
    assert store.get(KEY) == before


# Which are read


@pytest.fixture
def fetched(store, monkeypatch) -> list[str]:
    """The keys of the mailboxes that were read."""
    keys: list[str] = []
    fetch = store.fetch
    monkeypatch.setattr(store, "fetch", lambda key, **limits: (keys.append(key), fetch(key, **limits))[1])
    return keys


def test_one_that_was_found_good_is_not_read_until_it_is_due(renew, fetched):
    renew()
    assert renew(at=timedelta(minutes=1)) == ([], [])
    assert fetched == [KEY, KEY], "whether there is one, and what was written"
    for minutes in (2, 60, 359):
        assert renew(at=timedelta(minutes=minutes)) == ([], [])
    assert len(fetched) == 2
    assert renew(at=timedelta(hours=6)) == (["north"], [])
    assert len(fetched) == 3


def test_one_that_was_changed_is_read_and_replaced(renew, store, fetched):
    renew()
    renew()
    store.put(KEY, b"{}", content_type="application/json", cache_seconds=0)
    assert renew() == (["north"], [])
    assert fetched[2:] == [KEY]


def test_one_that_was_removed_is_written_again(renew, store):
    renew()
    renew()
    store.delete(KEY)
    assert renew() == (["north"], [])
    assert store.get(KEY)


def test_what_is_known_does_not_outlast_a_change_of_key_signer_or_settings(renew):
    renew()
    assert renew() == ([], [])
    assert renew(north=SigningKey.generate().public) == (["north"], [])
    assert renew() == (["north"], [])
    assert renew() == ([], [])
    assert renew(signer=SigningKey.generate()) == (["north"], [])
    assert renew() == (["north"], [])
    assert renew() == ([], [])
    assert renew(token_settings=("x",)) == (["north"], [])


def test_a_clock_that_was_set_back_makes_it_be_read_and_renewed(renew):
    renew(at=timedelta(hours=1))
    renew(at=timedelta(hours=1))
    assert renew() == (["north"], [])


def test_a_store_that_cannot_list_or_gives_no_etags_is_read_each_time(renew, store, fetched, monkeypatch):
    renew()
    renew()
    entries = store.entries
    with monkeypatch.context() as patch:
        patch.setattr(store, "entries", lambda prefix: [replace(item, etag="") for item in entries(prefix)])
        assert renew() == ([], [])
    assert len(fetched) == 3

    def refuse(prefix):
        raise StoreError(f"LIST {prefix}: AccessDenied", hint="in this test")

    monkeypatch.setattr(store, "entries", refuse)
    assert renew() == ([], [])
    assert len(fetched) == 4


def test_one_that_is_far_too_large_is_not_read_and_fails_for_its_site_only(
    renew, store, site_key, fetched, monkeypatch
):
    monkeypatch.setattr(mailboxes, "MAX_DOCUMENT_BYTES", 10)
    store.put(KEY, b"x" * 11, content_type="application/json", cache_seconds=0)
    renewed, failures = renew(north=site_key.public, south=site_key.public)
    assert (renewed, [error.what for error in failures]) == (["south"], [f"{KEY}: 11 bytes, more than 10"])
    assert KEY not in fetched
