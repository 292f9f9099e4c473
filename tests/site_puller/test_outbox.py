from __future__ import annotations

import json
import shutil
import stat
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepost.schema.errors import ConfigError
from glidepost.schema.heartbeat import Heartbeat
from glidepost.schema.mailbox import Form
from glidepost.site_puller import outbox

FIELDS = {
    "Content-Type": "application/json",
    "key": "v1/heartbeats/north.json",
    "policy": "eyJ+/=",
    "x-amz-signature": 'q"uo\\te; @<x> \t{1,2} \u00e9\n$HOME',
}


def read_config(text: str) -> list[tuple[str, str]]:
    """Returns options and values as curl(1) says under --config, for what we write: one a line, values in quotes."""
    found = []
    for line in text.split("\n"):
        name, _, value = line.partition(" = ")
        if not line or name.startswith("#"):
            continue
        if value:
            assert value[0] == value[-1] == '"' or value.isdigit()
            escapes = {"n": "\n", "t": "\t", "r": "\r", "v": "\v"}
            letters = iter(value.strip('"') if value.isdigit() else value[1:-1])
            value = "".join(
                escapes.get(after, after) if letter == "\\" and (after := next(letters)) else letter
                for letter in letters
            )
        found.append((name, value))
    return found


@pytest.fixture
def report(now) -> Heartbeat:
    return Heartbeat("north", "instance", "0.1.0", 1, now, (), outcomes={"deadline": 2})


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "outbox"


@pytest.fixture
def form(web) -> Form:
    return Form(f"{web.url}/bucket", FIELDS)


@pytest.fixture
def waiting(folder):
    def read() -> Heartbeat:
        return Heartbeat.from_json(json.loads((folder / "heartbeat.json").read_bytes()))

    return read


def test_the_form_comes_as_it_is_with_the_file_last(form):
    options = read_config(outbox.curl_config(form))
    assert ("url", form.url) in options
    sent = [option for option in options if option[0].startswith("form")]
    assert sent == [
        *(("form-string", f"{name}={value}") for name, value in FIELDS.items()),
        ("form", "file=@heartbeat.json;type=application/json"),
    ]


def test_a_form_that_puts_is_sent_as_a_file_with_its_headers():
    form = Form("https://x.test/key?X-Amz-Signature=s", headers={"Content-Type": "application/json"})
    assert read_config(outbox.curl_config(form))[-3:] == [
        ("url", form.url),
        ("header", "Content-Type: application/json"),
        ("upload-file", "heartbeat.json"),
    ]


@given(st.dictionaries(st.text(st.characters(exclude_characters="\0"), min_size=1), st.text(), max_size=5))
def test_no_value_reaches_beyond_its_quotes(fields):
    options = read_config(outbox.curl_config(Form("https://x.test", fields)))
    assert [value for name, value in options if name == "form-string"] == [f"{key}={fields[key]}" for key in fields]
    assert {name for name, _ in options} <= {
        *("silent", "show-error", "globoff", "max-time", "output", "write-out", "url", "form-string", "form")
    }


def test_only_the_account_may_read_what_lies_there(report, form, folder):
    outbox.put(report, form, folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {item.name: stat.S_IMODE(item.stat().st_mode) for item in folder.iterdir()} == {
        "heartbeat.json": 0o600,
        "heartbeat.curl": 0o600,
    }


def test_outcomes_of_one_that_nobody_carried_are_told_by_the_next(report, form, folder, waiting):
    outbox.put(report, form, folder)
    outbox.put(replace(report, sequence=2, outcomes={"deadline": 1, "killed": 1}), form, folder)
    assert (waiting().sequence, waiting().outcomes) == (2, {"deadline": 3, "killed": 1})
    outbox.put(replace(report, sequence=3, outcomes={}), form, folder)
    assert waiting().outcomes == {"deadline": 3, "killed": 1}


def test_outcomes_of_one_that_was_carried_are_not_told_again(report, form, folder, waiting):
    outbox.put(report, form, folder)
    (folder / "heartbeat.json").unlink()
    outbox.put(replace(report, sequence=2, outcomes={"killed": 1}), form, folder)
    assert waiting().outcomes == {"killed": 1}


def test_outcomes_stay_within_the_schema_however_long_nobody_comes(report, form, folder, waiting):
    for sequence in range(1, 6):
        outcomes = {f"code-{sequence}-{number}": 10**9 for number in range(32)}
        outbox.put(replace(report, sequence=sequence, outcomes=outcomes), form, folder)
    assert len(waiting().outcomes) == 64
    assert max(waiting().outcomes.values()) == 10**9


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff", b"x" * 70_000, b'{"kind": "heartbeat/1"}'])
def test_one_that_was_damaged_is_replaced(report, form, folder, waiting, damage):
    folder.mkdir()
    (folder / "heartbeat.json").write_bytes(damage)
    outbox.put(report, form, folder)
    assert waiting() == report


def test_the_outbox_of_another_site_is_refused(report, form, folder, waiting):
    outbox.put(report, form, folder)
    with pytest.raises(ConfigError, match="site north") as caught:
        outbox.put(replace(report, site="south"), form, folder)
    assert "own" in caught.value.hint
    assert waiting().site == "north"


def test_curl_sends_it_as_the_form_says(report, form, folder, web):
    """With the real curl, where there is one; what it reads is tested above without."""
    outbox.put(report, form, folder)
    curl = shutil.which("curl")
    if curl is None:
        return
    for status in (204, 403):
        web.post_status = status
        done = subprocess.run([curl, "--config", "heartbeat.curl"], cwd=folder, capture_output=True, check=True)
        assert (done.stdout, done.stderr) == (str(status).encode(), b"")
    assert web.last_heartbeat() == report
    content_type, body = web.posts[0]
    parts = body.split(b"--" + content_type.split("boundary=")[1].encode())[1:-1]
    for part, (name, value) in zip(parts, FIELDS.items()):
        assert f'name="{name}"'.encode() in part
        assert part.split(b"\r\n\r\n", 1)[1][:-2].decode() == value
    assert b"Content-Type: application/json" in parts[-1]
