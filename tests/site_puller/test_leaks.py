"""No secret of a site is in what a batch system is given, in an error, or in what is logged at any level."""

from __future__ import annotations

import json
import logging
import traceback
from contextlib import suppress
from datetime import datetime, timedelta, timezone

import pytest
from all_cases import all_golden
from click.testing import CliRunner
from pool_tokens import make_token

from glidepost.backends.base import GlideinRequest
from glidepost.backends.registry import create
from glidepost.schema.command import cli
from glidepost.schema.document import encode
from glidepost.schema.errors import GlidepostError
from glidepost.schema.heartbeat import Heartbeat
from glidepost.schema.keys import SigningKey
from glidepost.schema.mailbox import Form, Letter, Mailbox
from glidepost.schema.resources import Resources
from glidepost.schema.sealing import seal
from glidepost.schema.signing import sign
from glidepost.site_puller import heartbeat, log_form, outbox
from glidepost.site_puller.fetch import letter, open_source
from glidepost.site_puller.script import render
from glidepost.site_puller.web import Session

MARK = "marked-as-secret"
TOKEN = make_token(datetime(2026, 11, 22, tzinfo=timezone.utc), jti=MARK)
GOLDEN = all_golden()


def post(url: str) -> Form:
    return Form(f"{url}/form", {"key": "v1/heartbeats/north.json", "policy": MARK, "x-amz-signature": MARK})


def put(url: str) -> Form:
    return Form(f"{url}/form?X-Amz-Signature={MARK}", headers={"Content-Type": "application/json", "x-mark": MARK})


FORMS = {"post": post, "put": put}


def written(error: BaseException) -> str:
    """Returns all that could be printed of an exception."""
    said = [str(error), repr(error), *traceback.format_exception(type(error), error, error.__traceback__)]
    return "\n".join([*said, getattr(error, "hint", "")])


def request(asked, script: str, files: tuple[str, ...] = ()) -> GlideinRequest:
    """Returns a request of a golden case, with this script and these files."""
    count, log_folder = asked.get("count", 1), asked.get("log_folder", "")
    sizes = {"cpus": 2, "memory_mib": 4096, "disk_mib": 10240, "walltime_s": 86400, "gpus": 0}
    sizes.update({key: asked[key] for key in asked if key in sizes})
    return GlideinRequest("gp-1", Resources(**sizes), count, script, log_folder, files)


@pytest.fixture
def report(now) -> Heartbeat:
    return Heartbeat("north", "instance", "0.1.0", 1, now, ())


# What a batch system is given


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_no_submission_of_any_backend_holds_the_token_a_form_or_a_key(name, make_config, make_shape, make_demand):
    backend, options, asked = GOLDEN[name]
    config = make_config()
    config.state.mkdir()
    config.token_file.write_text(TOKEN)
    log_form.write(
        Letter("north", *[datetime.now(timezone.utc)] * 2, post(""), TOKEN, post("http://x")), config.log_form_file
    )
    script = render(config, make_shape(), make_demand(), name="gp-1")
    files = (str(config.token_file), str(config.log_form_file))
    command = create(backend, options).submission(request(asked, script, files))
    given = "\n".join([*command.argv, command.stdin])
    assert str(config.token_file) in given
    seed = config.key.read_text(encoding="ascii").strip().partition(":")[2]
    for secret in (MARK, TOKEN, TOKEN.split(".")[1], seed):
        assert secret not in given


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_no_golden_submission_looks_like_a_secret(name):
    backend, options, asked = GOLDEN[name]
    command = create(backend, options).submission(request(asked, "#!/bin/sh\n"))
    given = "\n".join([*command.argv, command.stdin])
    assert "eyJ" not in given
    assert "ed25519-secret" not in given
    assert "Signature=" not in given


# Errors


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://no-such-host.invalid", "http://[", "nonsense://x", ""])
def test_a_heartbeat_that_reaches_nobody_says_so_without_the_form(form, url, report, session):
    with pytest.raises(GlidepostError) as caught:
        heartbeat.send(report, form(url), timeout_s=2, session=session)
    assert MARK not in written(caught.value)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_heartbeat_that_a_store_refuses_says_so_without_the_form(form, report, session, web):
    web.post_status = 403
    with pytest.raises(GlidepostError) as caught:
        heartbeat.send(report, form(web.url), timeout_s=2, session=session)
    assert MARK not in written(caught.value)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_an_outbox_that_cannot_be_written_says_so_without_the_form(form, report, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file") as caught:
        outbox.put(report, form("http://x"), tmp_path / "file" / "outbox")
    assert MARK not in written(caught.value)


def broken(now: datetime, **changes: object) -> list[bytes]:
    """Returns letters that are none, each with the token and a form in it."""
    good = {
        "site": "north",
        "issued_at": now.isoformat(),
        "expires_at": (now + timedelta(hours=1)).isoformat(),
        "heartbeat_form": {"url": f"http://x?{MARK}", "fields": {"policy": MARK}},
        "pool_token": TOKEN,
        **changes,
    }
    return [
        json.dumps({**good, "expires_at": MARK}).encode(),
        json.dumps({**good, "pool_token": [TOKEN]}).encode(),
        json.dumps({**good, "heartbeat_form": MARK}).encode(),
        json.dumps({**good, "heartbeat_form": {"url": 1, "fields": {MARK: MARK}}}).encode(),
        json.dumps({**good, "site": "south"}).encode(),
        json.dumps(good).encode()[:-20],
        json.dumps(good).encode() + TOKEN.encode(),
        json.dumps([good]).encode(),
        f'{{"pool_token": "{TOKEN}", "pool_token": "{MARK}"}}'.encode(),
        TOKEN.encode() + b"\xff",
    ]


@pytest.mark.parametrize("number", range(10))
def test_a_letter_that_cannot_be_read_is_refused_without_a_word_of_it(
    number, now, make_config, web, session, pool_key, site_key
):
    box = seal(broken(now)[number], site_key.public)
    outer = Mailbox("north", now, now + timedelta(hours=1), site_key.public.key_id, box)
    web.objects["v1/sites/north.json"] = encode(sign(outer.to_json(), pool_key))
    config = make_config()
    with pytest.raises(GlidepostError) as caught:
        letter(config, open_source(config, session), site_key, now=now)
    assert MARK not in written(caught.value)
    assert TOKEN not in written(caught.value)


@pytest.mark.parametrize("text", ["{seed}", "ed25519-secret:{seed}x", "ed25519-secret: {seed}", "é{seed}", "x\n{seed}"])
def test_a_key_that_cannot_be_read_is_refused_without_a_word_of_it(text, tmp_path, site_key):
    site_key.save(tmp_path / "good")
    seed = (tmp_path / "good").read_text().strip().partition(":")[2]
    file = tmp_path / "site.key"
    file.write_text(text.format(seed=seed))
    file.chmod(0o600)
    with pytest.raises(GlidepostError) as caught:
        SigningKey.load(file)
    assert seed not in written(caught.value)


def test_what_holds_secrets_does_not_show_them(now, site_key):
    one = Letter("north", now, now, post("http://x"), TOKEN, put("http://x"))
    for thing in (one, one.heartbeat_form, one.log_form, site_key, [one], {"letter": one}):
        for text in (repr(thing), str(thing), f"{thing}"):
            assert MARK not in text
            assert TOKEN not in text
    assert str(site_key.seed) not in repr(site_key)


# Logs


@pytest.fixture
def every_detail():
    """As with -vv, which is for the whole process."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    CliRunner().invoke(cli, ["-vv", "keys", "--help"])
    root.setLevel(logging.DEBUG)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.mark.usefixtures("every_detail")
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_no_level_of_logging_writes_a_form_down(form, report, session, web, caplog):
    with suppress(GlidepostError):  # (this store knows no PUT)
        heartbeat.send(report, form(web.url), timeout_s=2, session=session)
    assert MARK not in caplog.text


def test_a_session_does_not_show_its_proxys_password(monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    assert MARK not in repr(vars(Session())) + repr(Session(f"http://user:{MARK}@proxy"))
