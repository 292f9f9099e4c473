from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from pool_tokens import ENDLESS

from glidepost.schema.document import encode
from glidepost.schema.mailbox import Form, Letter, Mailbox
from glidepost.schema.signing import sign
from glidepost.site_puller import log_form

FIELDS = {"Content-Type": "application/gzip", "key": "v1/logs/north/${filename}", "policy": "p0l1cy=="}
URL = "https://cdn.example.org/v1/logs/north/${filename}"


@pytest.fixture
def letter(now) -> Letter:
    form = Form("https://store.example.org/b", FIELDS)
    return Letter("north", now, now + timedelta(hours=48), form, "a.b.c", form, URL)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "log-form"


def test_the_file_says_where_to_post_where_to_read_and_what_to_send(letter, file):
    log_form.write(letter, file)
    assert file.read_text() == (
        f"url=https://store.example.org/b\nget={URL}\nContent-Type=application/gzip\n"
        "key=v1/logs/north/${filename}\npolicy=p0l1cy==\n"
    )
    assert file.stat().st_mode & 0o777 == 0o600
    assert log_form.is_there(file)


def test_without_an_address_to_read_at_none_is_said(letter, file):
    log_form.write(replace(letter, log_url=""), file)
    assert "get=" not in file.read_text()


def test_a_letter_without_a_form_empties_the_file_and_makes_none(letter, file):
    without = replace(letter, log_form=None)
    log_form.write(without, file)
    assert not file.exists()
    log_form.write(letter, file)
    log_form.write(without, file)
    assert file.read_text() == ""
    assert not log_form.is_there(file)


@pytest.mark.parametrize(
    "changes",
    [
        {"fields": {**FIELDS, "policy": "two\nlines"}},
        {"fields": {**FIELDS, "policy": "\x1b[2J"}},
        {"fields": {**FIELDS, "policy": "\N{PILE OF POO}"}},
        {"fields": {**FIELDS, "a=b": "x"}},
        {"fields": {**FIELDS, "": "x"}},
        {"fields": {**FIELDS, "get": "https://elsewhere.example.org"}},
        {"fields": {**FIELDS, "url": "https://elsewhere.example.org"}},
        {"url": "https://store.example.org/b\nurl=https://elsewhere.example.org"},
        {"fields": {}, "headers": {"Content-Type": "application/gzip"}},
    ],
)
def test_what_a_glidein_would_read_otherwise_is_no_form(letter, file, changes, caplog):
    log_form.write(replace(letter, log_form=replace(letter.log_form, **changes)), file)
    assert not file.exists()
    assert "p0l1cy" not in caplog.text


@pytest.fixture
def publish_letter(publish, make_group, web, letter, pool_key, site_key):
    """Puts a demand and this letter, with changes, into the pool's store."""

    def put(**changes) -> None:
        publish(make_group(1))
        beat = Form(f"{web.url}/form", {"key": "v1/heartbeats/north.json"})
        whole = replace(letter, pool_token=ENDLESS, heartbeat_form=beat, **changes)
        web.objects["v1/sites/north.json"] = encode(sign(Mailbox.pack(whole, site_key.public).to_json(), pool_key))

    return put


def test_a_cycle_hands_token_and_form_to_glideins(publish_letter, run_cycle, queue, state):
    publish_letter()
    assert run_cycle().exit_code == 0
    assert "policy=p0l1cy==" in (state / "log-form").read_text()
    assert queue.requests[0].files == (str(state / "token"), str(state / "log-form"))


def test_of_a_pool_that_wants_no_logs_glideins_get_the_token_alone(publish_letter, run_cycle, queue, state):
    state.mkdir()
    (state / "log-form").write_text("url=http://127.0.0.1:1/\n")
    publish_letter(log_form=None, log_url="")
    assert run_cycle().exit_code == 0
    assert (state / "log-form").read_text() == ""
    assert queue.requests[0].files == (str(state / "token"),)
