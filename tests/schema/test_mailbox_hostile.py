"""Letters that are none, or not those that their envelope says."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from glidepost.schema.errors import UntrustedDocument
from glidepost.schema.mailbox import Form, Letter, Mailbox
from glidepost.schema.sealing import seal


@pytest.fixture
def letter(now) -> Letter:
    return Letter("north", now, now + timedelta(hours=48), Form("https://s.test/b", {"key": "x"}), "s3cret.tok.en")


@pytest.fixture
def open_sealed(letter, site_key):
    """Opens a box of the right site with these bytes in it."""

    def run(body: bytes) -> Letter:
        mailbox = replace(Mailbox.pack(letter, site_key.public), box=seal(body, site_key.public))
        return mailbox.open(site_key, site="north")

    return run


def written(letter: Letter, **changes: object) -> bytes:
    said = json.loads(msgspec.json.encode(letter))
    return json.dumps({key: value for key, value in {**said, **changes}.items() if value != "gone"}).encode()


def test_what_is_sealed_as_it_should_be_is_opened(open_sealed, letter):
    assert open_sealed(written(letter)) == letter


@pytest.mark.parametrize(
    "changes",
    [
        {"pool_token": "gone"},
        {"pool_token": 7},
        {"pool_token": None},
        {"heartbeat_form": "gone"},
        {"heartbeat_form": {"url": ["x"]}},
        {"heartbeat_form": {"url": "x", "fields": {"key": 7}}},
        {"heartbeat_form": {"url": "x", "headers": []}},
        {"log_form": 1},
        {"expires_at": "2026-11-24T09:00:00"},
        {"expires_at": 1795510800},
        {"issued_at": "yesterday"},
        {"site": None},
    ],
    ids=str,
)
def test_a_letter_without_what_it_must_have_is_refused(open_sealed, letter, changes):
    with pytest.raises(UntrustedDocument, match="letter in the mailbox is unreadable") as caught:
        open_sealed(written(letter, **changes))
    assert "s3cret" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"pool_token": "s3cret"', b"[" * 40_000], ids=range(5))
def test_a_letter_that_is_no_json_is_refused_without_its_words(open_sealed, body):
    with pytest.raises(UntrustedDocument, match="the letter in the mailbox: not") as caught:
        open_sealed(body)
    assert "s3cret" not in str(caught.value) + caught.value.hint


def test_a_letter_that_says_a_thing_twice_is_refused(open_sealed, letter):
    with pytest.raises(UntrustedDocument, match="'site' stands twice"):
        open_sealed(written(letter).replace(b'"site"', b'"site": "south", "site"'))


def test_a_letter_and_its_envelope_end_at_the_same_time(open_sealed, letter):
    with pytest.raises(UntrustedDocument, match="end at different times"):
        open_sealed(written(letter, expires_at="2099-01-01T00:00:00Z"))


def test_a_form_says_how_it_is_sent_and_its_address_without_what_is_secret_in_it():
    post, put = Form("https://s.test/b", {"key": "x"}), Form("https://s.test/b/x?X-Sig=s3cret", headers={"a": "b"})
    assert (post.method, post.place) == ("POST", "https://s.test/b")
    assert (put.method, put.place) == ("PUT", "https://s.test/b/x")
