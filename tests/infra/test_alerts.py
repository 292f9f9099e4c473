"""Alerts, told to a real web server and a real mail server on the loopback."""

from __future__ import annotations

import email
import email.policy
import json
import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from botocore.exceptions import ClientError
from certificates import certify

from glidepost.infra.aggregator import alerts
from glidepost.infra.aggregator import channels as channels_module
from glidepost.infra.aggregator.aggregate import aggregate
from glidepost.infra.aggregator.alert_settings import audience, audience_of_environment, channels
from glidepost.infra.aggregator.alerts import Audience
from glidepost.infra.aggregator.channels import Login, Mail, Message, Topic, Webhook, webhook_body
from glidepost.infra.aggregator.run import aggregate_once, watch_once
from glidepost.schema.document import encode
from glidepost.schema.errors import ConfigError, GlidepostError, StoreError
from glidepost.schema.publisher_config import (
    AlertSettings,
    DemandSettings,
    PoolSettings,
    PublisherConfig,
    StoreSettings,
)


@dataclass
class Hook:
    """A web server that takes what is sent to it; it answers with `status`."""

    status: int = 200
    requests: list[tuple[str, str, dict[str, str], dict[str, object]]] = field(default_factory=list)
    url: str = ""

    def texts(self):
        return [body["text"] for _, _, _, body in self.requests]


@pytest.fixture
def hook():
    taken = Hook()

    class Handler(BaseHTTPRequestHandler):
        def take(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            taken.requests.append((self.command, self.path, dict(self.headers), body))
            self.send_response(taken.status)
            if taken.status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_PUT = take  # noqa: N815 - http.server's names

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        taken.url = f"http://127.0.0.1:{server.server_address[1]}/hook/s3cret"
        yield taken
        server.shutdown()
        thread.join()


@dataclass
class Post:
    """A mail server that keeps what it gets; of recipients in `refused` it takes none."""

    mails: list[tuple[str, list[str], bytes]] = field(default_factory=list)
    refused: frozenset[str] = frozenset()
    port: int = 0

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802, ARG002 - aiosmtpd's names
        if address in self.refused:
            return "550 nobody here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802, ARG002 - same
        self.mails.append((envelope.mail_from, list(envelope.rcpt_tos), envelope.content))
        return "250 OK"

    def messages(self):
        return [email.message_from_bytes(body, policy=email.policy.default) for _, _, body in self.mails]


class MailServer(Controller):
    """Listens where the kernel gives it a port."""

    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextmanager
def listening(**settings):
    taken = Post()
    controller = MailServer(taken, hostname="127.0.0.1", port=0, **settings)
    controller.start()
    taken.port = controller.port
    yield taken
    controller.stop()


@pytest.fixture
def post():
    with listening() as taken:
        yield taken


LOGIN = Login("glidepost", "s3cret")


def only_us(server, session, envelope, mechanism, sent):  # noqa: ARG001 - aiosmtpd's
    said = (sent.login, sent.password)
    return AuthResult(success=said == (LOGIN.user.encode(), LOGIN.password.encode()), handled=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A key and its certificate for 127.0.0.1, in one file."""
    key, path = (tmp_path_factory.mktemp("tls") / name for name in ("key", "certificate"))
    certify(path, key)
    path.write_text(path.read_text() + key.read_text())
    return path


@pytest.fixture
def tls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def put(store):
    def write(heartbeat):
        store.objects[f"v1/heartbeats/{heartbeat.site}.json"] = encode(heartbeat.to_json())

    return write


def test_a_silent_site_is_told_once_and_so_is_its_return(store, documents, hook, put):
    told = Audience((Webhook(hook.url),), "https://pool.example.org/index.html")
    put(documents.heartbeat("north"))
    for minutes in range(0, 130, 5):
        aggregate_once(store, documents.now + timedelta(minutes=minutes), pool="demo", audience=told)
    put(documents.heartbeat("north", age_s=-130 * 60, sequence=8))
    for minutes in range(130, 150, 5):
        aggregate_once(store, documents.now + timedelta(minutes=minutes), pool="demo", audience=told)
    silent, back = hook.texts()
    assert silent.splitlines() == [
        "[glidepost demo] 1 silent site",
        (
            "- site north is silent: last heard at 2026-11-22 09:12:05 UTC"
            ' (for the admin of north: does "glidepost puller run" still run?)'
        ),
        "https://pool.example.org/index.html",
    ]
    assert back.splitlines()[:2] == [
        "[glidepost demo] over: 1 silent site",
        "- over: site north is back: heard at 2026-11-22 11:24:05 UTC",
    ]


def test_many_sites_that_fall_silent_together_are_one_message(store, documents, hook, put):
    for number in range(70):
        put(documents.heartbeat(f"s{number:02d}", age_s=7200))
    aggregate_once(store, documents.now, audience=Audience((Webhook(hook.url),)))
    (text,) = hook.texts()
    assert text.splitlines()[0].endswith("70 silent sites")
    assert text.splitlines()[-1] == "- and 20 more: the status page has all"


def test_who_only_watches_tells_what_the_aggregator_has_not(store, documents, hook, put):
    told = Audience((Webhook(hook.url),))
    put(documents.heartbeat("north", age_s=7200))
    aggregate_once(store, documents.now)  # the Lambda, which knows of no webhook
    store.asked.clear()
    watch_once(store, documents.now, told)
    watch_once(store, documents.now + timedelta(minutes=1), told)
    assert {key for verb, key in store.asked if verb == "PUT"} == {alerts.KEY}
    aggregate_once(store, documents.now + timedelta(minutes=2), audience=told)
    assert len(hook.requests) == 1


def test_of_two_runs_that_notice_at_the_same_time_one_tells(store, documents, hook, put):
    """The second one looks just when the first is sending."""
    put(documents.heartbeat("north", age_s=7200))

    class Slow:
        name = "webhook"

        def send(self, message):
            watch_once(store, documents.now + timedelta(seconds=20), Audience((Webhook(hook.url),)))
            Webhook(hook.url).send(message)

    watch_once(store, documents.now, Audience((Slow(),)))
    watch_once(store, documents.now + timedelta(minutes=1), Audience((Slow(),)))
    assert len(hook.requests) == 1


def test_a_message_that_could_not_be_sent_is_an_error_leaves_the_rest_alone_and_is_tried_again(
    store, documents, hook, post, put
):
    mail = Mail("glidepost@example.org", ("admin@example.org",), "127.0.0.1", post.port)
    told = Audience((Webhook(hook.url), mail))
    put(documents.heartbeat("north", age_s=7200))
    hook.status = 500
    for minutes in range(3):
        with pytest.raises(GlidepostError, match=r"alert: webhook of 127\.0\.0\.1: HTTP 500"):
            aggregate_once(store, documents.now + timedelta(minutes=minutes), audience=told)
    assert "index.html" in store.objects
    assert len(post.mails) == 1
    hook.status = 204
    for minutes in range(3, 6):
        aggregate_once(store, documents.now + timedelta(minutes=minutes), audience=told)
    assert (len(hook.requests), len(post.mails)) == (4, 1)


def test_what_was_over_while_the_webhook_was_away_is_not_told_at_all(store, documents, hook, put):
    told = Audience((Webhook(hook.url),))
    put(documents.heartbeat("north", age_s=7200))
    hook.status = 503
    with pytest.raises(GlidepostError):
        aggregate_once(store, documents.now, audience=told)
    put(documents.heartbeat("north", age_s=0))
    hook.status = 200
    aggregate_once(store, documents.now + timedelta(minutes=1), audience=told)
    assert len(hook.requests) == 1  # the one that was refused


def test_nothing_is_sent_that_could_not_be_noted(store, documents, hook, put):
    put(documents.heartbeat("north", age_s=7200))
    store.read_only = frozenset({"v1/aggregator/problems.json"})
    with pytest.raises((StoreError, GlidepostError)):
        aggregate_once(store, documents.now, audience=Audience((Webhook(hook.url),)))
    assert hook.requests == []
    assert "index.html" in store.objects


@pytest.mark.parametrize("damage", [None, b"", b"{", b'{"problems": 7}', b'{"problems": [{"id": 1}]}'])
def test_problems_that_were_lost_are_noticed_again_and_told_once_more(store, documents, hook, put, damage):
    told = Audience((Webhook(hook.url),))
    put(documents.heartbeat("north", age_s=7200))
    aggregate_once(store, documents.now, audience=told)
    if damage is None:
        del store.objects[alerts.KEY]
    else:
        store.objects[alerts.KEY] = damage
    for minutes in (1, 2, 3):
        aggregate_once(store, documents.now + timedelta(minutes=minutes), audience=told)
    assert len(hook.requests) == 2


MESSAGE = Message("abc123", "[glidepost demo] 1 silent site", ("a <b> & c", "over: d"), "https://x.example.org/")


def test_slack_gets_text_in_which_nothing_is_a_link_or_a_mention(hook):
    Webhook(hook.url).send(MESSAGE)
    ((method, path, headers, body),) = hook.requests
    assert (method, path, headers["Content-Type"]) == ("POST", "/hook/s3cret", "application/json")
    assert "Authorization" not in headers
    assert body == {"text": "[glidepost demo] 1 silent site\n- a &lt;b&gt; &amp; c\n- over: d\nhttps://x.example.org/"}


def test_matrix_gets_a_room_message_under_an_id_that_it_sends_once(hook):
    url = hook.url.replace("/hook/s3cret", "/_matrix/client/v3/rooms/!r:example.org/send/m.room.message/{id}")
    Webhook(url, "matrix", "syt_token").send(MESSAGE)
    ((method, path, headers, body),) = hook.requests
    assert (method, path.rsplit("/", 1)[-1], headers["Authorization"]) == ("PUT", "abc123", "Bearer syt_token")
    assert (body["msgtype"], body["format"]) == ("m.text", "org.matrix.custom.html")
    assert body["body"].startswith("[glidepost demo]")
    assert "<li>a &lt;b&gt; &amp; c</li>" in body["formatted_body"]


def test_the_id_of_a_message_follows_from_what_it_tells(documents):
    status = aggregate(None, {"north": documents.heartbeat("north", age_s=7200)}, [], documents.now)
    first = alerts.compose("demo", list(alerts.follow({}, status).values()), [])
    again = alerts.compose("demo", list(alerts.follow({}, status).values()), [])
    other = alerts.compose("demo", [], list(alerts.follow({}, status).values()))
    assert first.id == again.id != other.id


@pytest.mark.parametrize("status", [302, 401, 404, 500])
def test_no_other_answer_than_success_is_one_and_the_address_is_never_said(hook, status):
    hook.status = status
    with pytest.raises(GlidepostError, match=f"HTTP {status}") as failure:
        Webhook(hook.url).send(MESSAGE)
    assert "s3cret" not in f"{failure.value.what} {failure.value.hint}"
    assert len(hook.requests) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/s3cret", "http://[s3cret/"])
def test_nobody_there_is_an_error_that_does_not_say_the_address(url):
    with pytest.raises(GlidepostError, match="alert: webhook of ") as failure:
        Webhook(url).send(MESSAGE)
    assert "/s3cret" not in failure.value.what
    assert failure.value.__cause__ is None


def test_a_mail_says_who_when_and_that_a_program_wrote_it(post):
    Mail("glidepost@example.org", ("a@example.org", "b@example.org"), "127.0.0.1", post.port).send(MESSAGE)
    ((sender, recipients, _),) = post.mails
    (mail,) = post.messages()
    assert (sender, recipients) == ("glidepost@example.org", ["a@example.org", "b@example.org"])
    assert mail["Subject"] == "[glidepost demo] 1 silent site"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"].endswith("@example.org>")
    assert mail.get_content().splitlines() == ["a <b> & c", "", "over: d", "", "https://x.example.org/"]


def test_a_mail_that_reaches_some_only_is_an_error(post):
    post.refused = frozenset({"b@example.org"})
    mail = Mail("glidepost@example.org", ("a@example.org", "b@example.org"), "127.0.0.1", post.port)
    with pytest.raises(GlidepostError, match=f"alert: mail by 127.0.0.1:{post.port}: .*nobody here"):
        mail.send(MESSAGE)


def mail_with_login(post, login=LOGIN):
    return Mail("g@example.org", ("a@example.org",), "127.0.0.1", post.port, login=login)


@pytest.mark.parametrize("is_at_once", [False, True])
def test_a_server_that_wants_a_login_gets_it_by_tls(tls, certificate, monkeypatch, is_at_once):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    # (TLS at once is none to aiosmtpd, which would offer no login)
    settings = {"ssl_context": tls, "auth_require_tls": False} if is_at_once else {"tls_context": tls}
    with listening(authenticator=only_us, **settings) as post:
        if is_at_once:
            monkeypatch.setattr(channels_module, "SUBMISSIONS_PORT", post.port)
        mail_with_login(post).send(MESSAGE)
        assert len(post.mails) == 1
        with pytest.raises(GlidepostError, match=r"the login as glidepost is refused \(535\)") as failure:
            mail_with_login(post, Login("glidepost", "wr0ng")).send(MESSAGE)
        assert "wr0ng" not in repr(failure.value)
        assert "s3cret" not in repr(mail_with_login(post))
        assert len(post.mails) == 1


def test_a_server_that_anybody_may_play_gets_no_password(tls):
    with listening(authenticator=only_us, auth_required=True, tls_context=tls) as post:
        with pytest.raises(GlidepostError, match="certificate verify failed"):
            mail_with_login(post).send(MESSAGE)
        assert post.mails == []


def test_a_server_without_tls_gets_no_password():
    with listening(authenticator=only_us, auth_require_tls=False) as post:
        with pytest.raises(GlidepostError, match="offers no TLS"):
            mail_with_login(post).send(MESSAGE)
        assert post.mails == []


def test_no_mail_server_is_an_error(post):
    with pytest.raises(GlidepostError, match="alert: mail by 127"):
        Mail("g@example.org", ("a@example.org",), "127.0.0.1", 1).send(MESSAGE)
    assert post.mails == []


def test_a_program_in_the_place_of_sendmail_gets_the_mail(tmp_path):
    program = tmp_path / "sendmail"
    program.write_text(f'#!/bin/sh\necho "$*" >{tmp_path}/argv\ncat >{tmp_path}/mail\n')
    program.chmod(0o755)
    Mail("g@example.org", ("a@example.org", "b@example.org"), sendmail=str(program)).send(MESSAGE)
    assert (tmp_path / "argv").read_text() == "-i -f g@example.org -- a@example.org b@example.org\n"
    assert "Subject: [glidepost demo] 1 silent site" in (tmp_path / "mail").read_text()
    program.write_text("#!/bin/sh\nexit 75\n")
    with pytest.raises(GlidepostError, match="75"):
        Mail("g@example.org", ("a@example.org",), sendmail=str(program)).send(MESSAGE)


def test_a_subject_of_sns_is_short_and_ascii():
    class Client:
        def __init__(self):
            self.sent = []

        def publish(self, **message):
            self.sent.append(message)

    client = Client()
    Topic("arn:aws:sns:eu-west-1:1:t", client).send(Message("i", "ü" * 200, ("ü",)))
    ((sent),) = client.sent
    assert sent["Subject"] == "?" * 100
    assert sent["Message"].endswith("- ü")


def test_a_topic_that_refuses_is_an_error():
    class Client:
        def publish(self, **_):
            raise ClientError({"Error": {"Code": "AuthorizationError", "Message": "not yours"}}, "Publish")

    with pytest.raises(GlidepostError, match="not yours"):
        Topic("arn:aws:sns:eu-west-1:1:t", Client()).send(MESSAGE)


def config(**settings):
    return PublisherConfig(
        pool=PoolSettings("demo", (), "demo"),
        demand=DemandSettings("key", "sites"),
        store=StoreSettings("b", "https://pool.example.org/", prefix="ice/"),
        alerts=AlertSettings(**settings),
    )


def test_the_address_of_a_webhook_is_read_from_a_file_that_only_its_owner_reads(tmp_path):
    file = tmp_path / "alerts.url"
    file.write_text("https://hooks.example.org/s3cret\nsyt_token\n")
    file.chmod(0o600)
    found = audience(config(webhook_file=str(file), webhook_format="matrix"))
    assert found.channels == (Webhook("https://hooks.example.org/s3cret", "matrix", "syt_token"),)
    assert found.page_url == "https://pool.example.org/ice/index.html"
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="can be read by others"):
        audience(config(webhook_file=str(file)))
    with pytest.raises(ConfigError, match="missing"):
        audience(config(webhook_file=str(tmp_path / "missing")))


@pytest.mark.parametrize(
    "url", ["", "hooks.example.org/s3cret", "http://hooks.example.org/s3cret", "ftp://x/s3cret", "https://[s3cret"]
)
def test_a_secret_address_must_be_https_and_is_not_shown_when_it_is_not(tmp_path, url):
    file = tmp_path / "alerts.url"
    file.write_text(url)
    file.chmod(0o600)
    with pytest.raises(ConfigError) as failure:
        audience(config(webhook_file=str(file)))
    assert "s3cret" not in failure.value.what


def test_mail_needs_a_sender_and_a_way():
    for missing in ({}, {"smtp": "localhost:25"}, {"mail_from": "g@example.org"}):
        with pytest.raises(ConfigError, match="mail_from"):
            channels(AlertSettings(mail_to=("a@example.org",), **missing))
    found = channels(AlertSettings(mail_to=("a@example.org",), mail_from="g@example.org", smtp="mx.example.org:587"))
    assert found == [Mail("g@example.org", ("a@example.org",), "mx.example.org", 587)]


def test_a_login_is_read_from_a_file_that_only_its_owner_reads(tmp_path):
    file = tmp_path / "smtp.login"
    file.write_text("glidepost\ns3cret\n")
    file.chmod(0o600)
    settings = {"mail_to": ("a@example.org",), "mail_from": "g@example.org", "smtp": "mx.example.org:587"}
    (mail,) = audience(config(**settings, smtp_login_file=str(file))).channels
    assert mail == Mail("g@example.org", ("a@example.org",), "mx.example.org", 587, login=LOGIN)
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="can be read by others"):
        audience(config(**settings, smtp_login_file=str(file)))
    file.write_text("s3cret\n")
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="no user and password") as failure:
        audience(config(**settings, smtp_login_file=str(file)))
    assert "s3cret" not in failure.value.what


def test_a_function_is_told_whom_to_tell_by_its_environment(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    found = audience_of_environment(
        {
            "GLIDEPOST_ALERT_TOPIC": "arn:aws:sns:eu-west-1:123:alerts",
            "GLIDEPOST_ALERT_WEBHOOK": "https://hooks.example.org/x",
            "GLIDEPOST_ALERT_FORMAT": "slack",
            "GLIDEPOST_PAGE_URL": "https://pool.example.org/",
        }
    )
    assert [channel.name for channel in found.channels] == ["sns", "webhook"]
    assert found.page_url == "https://pool.example.org/"
    assert audience_of_environment({}) == Audience()
    with pytest.raises(ConfigError, match="GLIDEPOST_ALERT_FORMAT"):
        audience_of_environment({"GLIDEPOST_ALERT_WEBHOOK": "https://x.example.org", "GLIDEPOST_ALERT_FORMAT": "irc"})


def test_both_forms_are_json_whatever_is_in_the_text():
    strange = Message("i", 'a"b\n', ("\ud800 \u2028 \x00",))
    for form in ("slack", "matrix"):
        assert isinstance(json.loads(webhook_body(strange, form)[1]), dict)
