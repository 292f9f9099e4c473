from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from glidepost.schema.errors import GlidepostError, StoreError
from glidepost.schema.heartbeat import Counts, Heartbeat, Limits, ShapeReport
from glidepost.schema.mailbox import Form
from glidepost.schema.resources import Resources
from glidepost.site_puller import heartbeat

SECRETS = {"key": "v1/heartbeats/north.json", "policy": "s3cret-policy", "x-amz-signature": "s3cret-signature"}


@pytest.fixture
def report(now) -> Heartbeat:
    shape = ShapeReport(
        "cpu", "local", Resources(1, 1, 1, 1), Limits(1, 1, 1, 1), Counts(idle=1), 0, 0, "covered", "enough"
    )
    return Heartbeat("north", "instance", "0.1.0", 1, now, (shape,), demand_sequence=5, demand_age_s=10, clock_skew_s=0)


@pytest.fixture
def send(report, state, session):
    def run(form: Form, sent: Heartbeat = report) -> None:
        heartbeat.send(sent, form, state, timeout_s=2, session=session)

    return run


def test_the_first_heartbeat_is_due(report, now):
    assert heartbeat.is_due(report, None, now)


def test_the_same_again_is_not_due_for_15_minutes(report, now):
    again = replace(report, sequence=2, sent_at=now + timedelta(minutes=14))
    assert not heartbeat.is_due(again, report, again.sent_at)
    assert heartbeat.is_due(again, report, now + timedelta(minutes=15))


def test_what_changes_by_itself_makes_none_due(report, now):
    again = replace(report, sequence=2, demand_sequence=6, demand_age_s=30, clock_skew_s=1)
    assert not heartbeat.is_due(again, report, now)


@pytest.mark.parametrize(
    "change", [{"errors": ("squeue: down",)}, {"outcomes": {"deadline": 1}}, {"version": "0.2.0"}, {"shapes": ()}]
)
def test_what_happened_makes_one_due(report, now, change):
    assert heartbeat.is_due(replace(report, **change), report, now)


def test_outcomes_that_were_sent_make_none_due_again(report, now):
    assert not heartbeat.is_due(report, replace(report, outcomes={"deadline": 1}), now)


def test_the_form_is_sent_as_it_came_with_the_heartbeat_as_its_last_part(send, report, web, state):
    send(Form(f"{web.url}/bucket", SECRETS))
    ((content_type, body),) = web.posts
    assert content_type.startswith("multipart/form-data; boundary=")
    parts = body.split(b"--" + content_type.split("boundary=")[1].encode())
    for part, (name, value) in zip(parts[1:], SECRETS.items()):
        assert f'name="{name}"'.encode() in part
        assert value.encode() in part
    assert b'name="file"' in parts[-2]
    assert b"Content-Type: application/json" in parts[-2]
    sent = Heartbeat.from_json(json.loads(parts[-2].split(b"\r\n\r\n", 1)[1]))
    assert sent == report
    assert heartbeat.last_sent(state) == (report, 1)


@pytest.mark.parametrize("status", [400, 403, 404, 405, 413, 500, 503, 302])
def test_a_refusal_is_a_store_error_and_nothing_is_remembered(send, web, state, status):
    web.post_status = status
    web.objects["login"] = b"please log in"
    with pytest.raises(StoreError, match="heartbeat: POST"):
        send(Form(f"{web.url}/bucket", SECRETS))
    assert heartbeat.last_sent(state) == (None, 0)


def test_nothing_of_the_form_is_in_an_error(send, web):
    web.post_status = 403
    with pytest.raises(StoreError) as refused:
        send(Form(f"{web.url}/bucket", SECRETS))
    with pytest.raises(StoreError) as unreachable:
        send(Form("http://127.0.0.1:1/bucket", SECRETS))
    with pytest.raises(StoreError) as nonsense:
        send(Form("no-url", SECRETS))
    for error in (refused.value, unreachable.value, nonsense.value):
        assert "s3cret" not in f"{error} {error.what} {error.hint}"


def test_a_heartbeat_that_breaks_its_schema_is_not_sent(send, web, report):
    with pytest.raises(GlidepostError, match="refused to write"):
        send(Form(f"{web.url}/bucket", SECRETS), replace(report, sequence=-1))
    assert web.posts == []


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b"[]", b"\xff"])
def test_a_damaged_memory_of_the_last_one_counts_as_none(state, body):
    state.mkdir()
    (state / "heartbeat.json").write_bytes(body)
    assert heartbeat.last_sent(state) == (None, 0)


def test_an_installation_keeps_its_id(state, tmp_path):
    first = heartbeat.instance_id(state)
    assert heartbeat.instance_id(state) == first
    assert heartbeat.instance_id(tmp_path / "another") != first
