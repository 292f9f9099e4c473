from dataclasses import replace
from datetime import timedelta

import pytest

from glidepost.schema.errors import UntrustedDocument
from glidepost.schema.mailbox import Form, Letter, Mailbox


@pytest.fixture
def letter(now) -> Letter:
    form = Form("https://store.example.org/b", {"key": "v1/heartbeats/north.json", "policy": "p0l1cy"})
    return Letter("north", now, now + timedelta(hours=48), form, "aaa.bbb.ccc")


def test_the_site_reads_its_letter(letter, site_key):
    mailbox = Mailbox.from_json(Mailbox.pack(letter, site_key.public).to_json())
    assert mailbox.open(site_key, site="north") == letter


def test_nothing_secret_is_readable_from_outside(letter, site_key):
    text = str(Mailbox.pack(letter, site_key.public).to_json())
    assert "aaa.bbb" not in text
    assert "p0l1cy" not in text
    assert "aaa.bbb" not in repr(letter)


def test_another_site_cannot_open_it(letter, site_key, pool_key):
    with pytest.raises(UntrustedDocument, match="cannot be opened"):
        Mailbox.pack(letter, site_key.public).open(pool_key, site="north")


def test_a_letter_moved_into_another_mailbox_is_refused(letter, site_key):
    moved = replace(Mailbox.pack(letter, site_key.public), site="south")
    with pytest.raises(UntrustedDocument, match="letter to north"):
        moved.open(site_key, site="south")


@pytest.mark.parametrize("box", ["", "AAAA", "not base64!", "A" * 200])
def test_a_damaged_box_is_refused(letter, site_key, box):
    with pytest.raises(UntrustedDocument, match="cannot be opened"):
        replace(Mailbox.pack(letter, site_key.public), box=box).open(site_key, site="north")
