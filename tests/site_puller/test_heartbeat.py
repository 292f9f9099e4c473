from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

import pytest

from glidepost.schema.errors import GlidepostError, StoreError
from glidepost.schema.heartbeat import BreakerView, Counts, Heartbeat, Limits, ShapeReport
from glidepost.schema.mailbox import Form
from glidepost.schema.resources import Resources
from glidepost.site_puller import heartbeat

SECRETS = {"key": "v1/heartbeats/north.json", "policy": "s3cret-policy", "x-amz-signature": "s3cret-signature"}


def put_form(web) -> Form:
    return Form(f"{web.url}/bucket/key?X-Amz-Signature=s3cret", headers={"Content-Type": "application/json"})


@pytest.fixture
def report(now) -> Heartbeat:
    shape = ShapeReport(
        "cpu", "local", Resources(1, 1, 1, 1), Limits(1, 1, 1, 1), Counts(idle=1), 0, 0, "covered", "enough"
    )
    return Heartbeat("north", "instance", "0.1.0", 1, now, (shape,), demand_sequence=5, demand_age_s=10, clock_skew_s=0)


@pytest.fixture
def send(report, session):
    def run(form: Form, sent: Heartbeat = report) -> None:
        heartbeat.send(sent, form, timeout_s=2, session=session)

    return run


@pytest.fixture
def answer_with():
    """Starts a server that reads a request and then writes what it is told, byte by byte if it is to drip.

    Returns its URL: answer_with(b"HTTP/1.1 ", forever=b"x", pause_s=0.05).
    """
    with ExitStack() as stack:

        def start(head: bytes, *, forever: bytes, pause_s: float = 0) -> str:
            class Handler(StreamRequestHandler):
                def handle(self) -> None:
                    self.request.recv(65536)
                    with suppress(OSError):
                        self.request.sendall(head)
                        while True:
                            self.request.sendall(forever)
                            time.sleep(pause_s)

            server = stack.enter_context(ThreadingTCPServer(("127.0.0.1", 0), Handler))
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_address[1]}/bucket"

        yield start


@pytest.fixture
def deliver(report, state, session):
    def run(form: Form, sent: Heartbeat = report, folder=None):
        return heartbeat.deliver(sent, form, heartbeat.Route(session, 2, folder), state)

    return run


def test_the_first_heartbeat_is_due(report, now):
    assert heartbeat.is_due(report, None, now)


def test_the_same_again_is_not_due_for_15_minutes(report, now):
    again = replace(report, sequence=2, sent_at=now + timedelta(minutes=14))
    assert not heartbeat.is_due(again, report, again.sent_at)
    assert heartbeat.is_due(again, report, now + timedelta(minutes=15))


def test_what_changes_by_itself_makes_none_due(report, now):
    again = replace(report, sequence=2, demand_sequence=6, demand_age_s=30, clock_skew_s=1, token_expires_at=now)
    assert not heartbeat.is_due(again, report, now)


@pytest.mark.parametrize(
    "change", [{"errors": ("squeue: down",)}, {"outcomes": {"deadline": 1}}, {"version": "0.2.0"}, {"shapes": ()}]
)
def test_what_happened_makes_one_due(report, now, change):
    assert heartbeat.is_due(replace(report, **change), report, now)


def with_shape(report: Heartbeat, **changes) -> Heartbeat:
    return replace(report, shapes=(replace(report.shapes[0], **changes),))


def test_how_long_the_oldest_glidein_waits_makes_none_due(report, now):
    again = with_shape(report, oldest_queued_s=600, detail="600 s in the queue")
    assert not heartbeat.is_due(again, with_shape(report, oldest_queued_s=300, detail="300 s in the queue"), now)


@pytest.mark.parametrize("code", ["refused", "never-joined"])
def test_a_breaker_that_opened_or_closed_makes_one_due(report, now, code):
    broken = with_shape(report, breaker=BreakerView("paused", code, "x", 1, now))
    assert heartbeat.is_due(broken, report, now)
    assert heartbeat.is_due(report, broken, now)
    assert not heartbeat.is_due(broken, broken, now)


@pytest.mark.parametrize("change", [{"counts": None}, {"missing": 1}, {"reason": "max-total"}, {"paused": True}])
def test_what_changed_about_a_shape_makes_one_due(report, now, change):
    assert heartbeat.is_due(with_shape(report, **change), report, now)


def test_a_clock_that_was_set_back_silences_nobody(report, now):
    assert heartbeat.is_due(replace(report, sent_at=now - timedelta(days=1)), report, now - timedelta(days=1))


def test_one_that_had_to_be_shortened_is_not_due_for_that(deliver, report, state, web, now):
    large = with_shape(replace(report, errors=("x" * 900,)), detail="y" * 900)
    assert deliver(Form(f"{web.url}/bucket", SECRETS), large) is None
    assert not heartbeat.is_due(large, heartbeat.last_sent(state)[0], now)


def test_outcomes_that_were_sent_make_none_due_again(report, now):
    assert not heartbeat.is_due(report, replace(report, outcomes={"deadline": 1}), now)


def test_the_form_is_sent_as_it_came_with_the_heartbeat_as_its_last_part(deliver, report, web, state):
    assert deliver(Form(f"{web.url}/bucket", SECRETS)) is None
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
def test_a_refusal_is_a_store_error_and_nothing_is_remembered(deliver, web, state, status):
    web.post_status = status
    web.objects["login"] = b"please log in"
    error = deliver(Form(f"{web.url}/bucket", SECRETS))
    assert isinstance(error, StoreError)
    assert "heartbeat: POST" in error.what
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


@pytest.mark.parametrize("damage", [b"", b"\n", b"\xff", b"no id", b"../../etc"])
def test_a_damaged_id_is_made_anew(state, damage):
    state.mkdir()
    (state / "instance").write_bytes(damage)
    made = heartbeat.instance_id(state)
    assert len(made) == 36
    assert heartbeat.instance_id(state) == made


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 204 No Content\r\n"])
def test_a_store_that_never_ends_its_answer_is_left(report, answer_with, session, monkeypatch, head):
    monkeypatch.setattr(heartbeat, "PATIENCE", 1)  # (so that it comes before the time-out between two bytes)
    url = answer_with(head, forever=b"x", pause_s=0.05)
    began = time.monotonic()
    with pytest.raises(StoreError, match=r"not done within 2 s"):
        heartbeat.send(report, Form(url, SECRETS), timeout_s=2, session=session)
    assert time.monotonic() - began < 30


def test_a_store_that_says_yes_at_length_is_believed_without_reading_on(report, answer_with, session):
    url = answer_with(b"HTTP/1.1 200 OK\r\n\r\n", forever=b"x" * 65536)
    heartbeat.send(report, Form(url, SECRETS), timeout_s=1, session=session)


def test_a_state_folder_that_cannot_be_written_is_an_error_and_no_exception(report, web, session, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    route = heartbeat.Route(session, 2)
    error = heartbeat.deliver(report, Form(f"{web.url}/bucket", SECRETS), route, tmp_path / "file")
    assert isinstance(error, GlidepostError)
    assert "disk full" in error.hint
    assert len(web.posts) == 1


def test_a_bug_in_a_report_is_an_error_and_no_exception(deliver, report, web):
    assert "refused to write" in str(deliver(Form(f"{web.url}/bucket", SECRETS), replace(report, sequence=-1)))


@pytest.mark.parametrize(
    ("url", "given", "folder"),
    [
        ("https://x.test", None, None),
        ("https://x.test", "/o", "/o"),
        ("file:///pool", None, "/pool/outbox"),
        ("file:///pool", "/o", "/o"),
    ],
)
def test_the_configuration_says_how_heartbeats_leave(make_config, session, url, given, folder):
    route = heartbeat.Route.of(make_config(url=url), session, folder=Path(given) if given else None)
    assert route.folder == (Path(folder) if folder else None)


def test_a_form_without_fields_is_put_with_its_headers(send, web, report):
    send(put_form(web))
    ((content_type, body),) = web.posts
    assert content_type == "application/json"
    assert Heartbeat.from_json(json.loads(body)) == report


@pytest.mark.parametrize("status", [400, 403, 500, 302])
def test_a_put_that_is_refused_is_an_error_without_its_signature(send, web, status):
    web.post_status = status
    with pytest.raises(StoreError) as refused:
        send(put_form(web))
    with pytest.raises(StoreError) as unreachable:
        send(replace(put_form(web), url="http://127.0.0.1:1/x?X-Amz-Signature=s3cret"))
    assert "heartbeat: PUT http://127.0.0.1:1/x: ConnectionError" in unreachable.value.what
    for error in (refused.value, unreachable.value):
        assert "s3cret" not in f"{error} {error.what} {error.hint}"
