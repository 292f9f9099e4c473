"""What is written for HTCondor, and what is removed from the store. On a real pool: tests/real/test_revocation.py."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from glidepost.publisher import cycle
from glidepost.publisher.enrolment import Terms, enroll, revoke
from glidepost.publisher.revocation import condor_config, names
from glidepost.schema.errors import StoreError
from glidepost.schema.sites import EnrolledSite, load_sites

THEN = datetime(2026, 11, 22, 9, tzinfo=timezone.utc)
MAILBOX = "v1/sites/north.json"


@pytest.fixture
def make_site(site_key):
    """Makes an enrolled site: make_site("north", revoked_at=THEN)."""

    def make(name: str, **changes) -> tuple[str, EnrolledSite]:
        return name, EnrolledSite(name, site_key.public, **changes)

    return make


def settings(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return dict(line.split(" = ", 1) for line in lines)


def test_all_that_are_shut_out_are_named_and_nobody_else(make_site):
    sites = dict([make_site("north", revoked_at=THEN), make_site("east"), make_site("west", revoked_at=THEN)])
    text = condor_config(sites, "pool.test")
    assert names(sites) == ("north", "west")
    assert settings(text) == {
        "DENY_READ": "$(DENY_READ), glidein-north@pool.test, glidein-west@pool.test",
        "DENY_ADVERTISE_STARTD": "$(DENY_ADVERTISE_STARTD), glidein-north@pool.test, glidein-west@pool.test",
        "DENY_ADVERTISE_MASTER": "$(DENY_ADVERTISE_MASTER), glidein-north@pool.test, glidein-west@pool.test",
        "SEC_TOKEN_REVOCATION_EXPR": "($(SEC_TOKEN_REVOCATION_EXPR:false)) || "
        'sub == "glidein-north@pool.test" || sub == "glidein-west@pool.test"',
        "NEGOTIATOR_SLOT_CONSTRAINT": "($(NEGOTIATOR_SLOT_CONSTRAINT:true)) && "
        '(AuthenticatedIdentity == "glidein-north@pool.test" || AuthenticatedIdentity == "glidein-west@pool.test")'
        " =!= true",
    }
    assert "east" not in text


def test_of_a_site_that_is_let_in_again_only_the_old_tokens_stay_out(make_site):
    text = condor_config(dict([make_site("north", tokens_from=THEN)]), "pool.test")
    assert settings(text) == {
        "SEC_TOKEN_REVOCATION_EXPR": "($(SEC_TOKEN_REVOCATION_EXPR:false)) || "
        f'(sub == "glidein-north@pool.test" && iat < {int(THEN.timestamp())})'
    }


def test_of_a_site_that_is_shut_out_once_more_all_tokens_stay_out(make_site):
    text = condor_config(dict([make_site("north", tokens_from=THEN, revoked_at=THEN)]), "pool.test")
    assert "iat" not in text
    assert "DENY_READ" in text


def test_without_any_the_file_says_nothing_but_what_it_is(make_site):
    text = condor_config(dict([make_site("north")]), "pool.test")
    assert settings(text) == {}
    assert text.startswith("# Sites that are shut out")


@pytest.fixture
def publish(config, store, make_pool, make_row, now):
    """Runs a cycle: publish(at=timedelta(minutes=5))."""

    def run(*, at: timedelta = timedelta(0), at_store=store, dry_run: bool = False):
        return cycle.run(config, at_store, make_pool(make_row(10)), now=now + at, dry_run=dry_run)

    return run


@pytest.fixture
def sites_file(config):
    return Path(config.demand.sites)


def test_a_revoked_site_loses_its_mailbox_and_its_share_and_is_named_to_all(publish, store, sites_file, now):
    assert publish().demand.groups[0].sites == {"north": 10}
    revoke("north", sites_file, now=now)
    published = publish(at=timedelta(minutes=1))
    assert published.written
    assert published.demand.revoked == ("north",)
    assert published.demand.groups[0].sites == {}
    assert published.mailboxes == ()
    assert store.get(MAILBOX) is None


def test_a_mailbox_that_came_back_is_removed_again(publish, store, sites_file, now):
    publish()
    kept = store.get(MAILBOX)
    revoke("north", sites_file, now=now)
    publish(at=timedelta(minutes=1))
    store.put(MAILBOX, kept, content_type="application/json", cache_seconds=0)
    publish(at=timedelta(minutes=2))
    assert store.get(MAILBOX) is None


def test_a_dry_run_leaves_the_mailbox_there(publish, store, sites_file, now):
    publish()
    revoke("north", sites_file, now=now)
    assert publish(at=timedelta(minutes=1), dry_run=True).demand.revoked == ("north",)
    assert store.get(MAILBOX) is not None


def test_a_site_that_is_let_in_again_gets_a_new_token_though_its_mailbox_is_young(
    publish, store, sites_file, site_key, now
):
    publish()
    before = store.get(MAILBOX)
    revoke("north", sites_file, now=now + timedelta(minutes=1))
    line = f"glidepost-site north {site_key.public}"
    enroll(line, sites_file, Terms(again=True), now=now + timedelta(minutes=2))
    published = publish(at=timedelta(minutes=3))
    assert (published.mailboxes, published.demand.revoked) == (("north",), ())
    assert store.get(MAILBOX) != before
    assert load_sites(sites_file)["north"].tokens_from == now + timedelta(minutes=2)
    assert publish(at=timedelta(minutes=4)).mailboxes == ()


def test_a_mailbox_that_cannot_be_removed_is_an_error_and_the_demand_goes_out(
    publish, store, sites_file, now, monkeypatch
):
    publish()
    revoke("north", sites_file, now=now)

    def fail(key: str) -> None:
        raise StoreError(f"no DELETE of {key}", hint="in this test")

    monkeypatch.setattr(store, "delete", fail)
    published = publish(at=timedelta(minutes=1))
    assert [error.what for error in published.failures] == [f"no DELETE of {MAILBOX}"]
    assert published.demand.revoked == ("north",)
