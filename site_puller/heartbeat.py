"""The heartbeat: when it is due, and how it leaves: through the pool's form, or into an outbox that is carried."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Optional

import requests

from glidepost.schema.document import encode, parse_object
from glidepost.schema.errors import GlidepostError, StoreError, UntrustedDocument
from glidepost.schema.files import write_atomic
from glidepost.schema.heartbeat import Heartbeat
from glidepost.schema.mailbox import Form
from glidepost.schema.puller_config import PullerConfig

from . import outbox
from .trim import fitted, tidied
from .watchdog import limit
from .web import PATIENCE

EVERY: Final = timedelta(minutes=15)
_TYPE: Final = "application/json"


@dataclass(frozen=True)
class Route:
    """How heartbeats leave a site: into a folder if there is one, else as requests of a session."""

    session: requests.Session
    timeout_s: float
    folder: Optional[Path] = None

    @classmethod
    def of(cls, config: PullerConfig, session: requests.Session, *, folder: Optional[Path] = None) -> Route:
        """Returns the route that a configuration says; `folder` takes its place."""
        return cls(session, config.timeout_s, outbox_folder(config, folder))


def outbox_folder(config: PullerConfig, folder: Optional[Path] = None) -> Optional[Path]:
    """Returns the folder that heartbeats are left in for another host to carry: the one given, else a `file://` URL's.

    None when they are sent from here.
    """
    if folder is None and config.url.startswith("file://"):
        return Path(config.url[len("file://") :]) / "outbox"
    return folder


def was_here(state: Path) -> bool:
    """Returns whether a cycle has ever begun to write into this state folder."""
    return (state / "instance").exists()


def instance_id(state: Path) -> str:
    """Returns the id of this installation, made at its first run: two of them under one site name are noticed by it."""
    file = state / "instance"
    try:
        known = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        known = ""
    if not re.fullmatch(r"[0-9a-f-]{36}", known):
        known = str(uuid.uuid4())
        write_atomic(file, f"{known}\n".encode())
    return known


def last_sent(state: Path) -> tuple[Optional[Heartbeat], int]:
    """Returns the last heartbeat that was sent, and its sequence; (None, 0) before the first."""
    try:
        sent = Heartbeat.from_json(parse_object((state / "heartbeat.json").read_bytes(), what="heartbeat"))
    except (OSError, UntrustedDocument):
        return None, 0
    return sent, sent.sequence


def is_due(heartbeat: Heartbeat, last: Optional[Heartbeat], now: datetime) -> bool:
    """Returns whether to send: something changed, glideins ended, or the last one is 15 minutes old.

    Neither a clock that was set back nor a last one from the future keeps a site silent.
    """
    if last is None or heartbeat.outcomes or not timedelta(0) <= now - last.sent_at < EVERY:
        return True
    return _steady(tidied(heartbeat), now) != _steady(last, now)


def _steady(heartbeat: Heartbeat, now: datetime) -> Heartbeat:
    """Returns what does not change by itself. Reasons stand for their details, which hold ages and numbers."""
    volatile: dict[str, Any] = {
        "sequence": 0,
        "sent_at": now,
        "demand_age_s": None,
        "demand_sequence": None,
        "clock_skew_s": None,
        "token_expires_at": None,
        "outcomes": {},
        "shapes": tuple(replace(shape, oldest_queued_s=None, detail="") for shape in heartbeat.shapes),
    }
    return replace(heartbeat, **volatile)


def deliver(heartbeat: Heartbeat, form: Form, route: Route, state: Path) -> Optional[GlidepostError]:
    """Lets a heartbeat leave, and remembers it. Returns why it did not; then its outcomes are still to be reported."""
    try:
        if route.folder is not None:
            outbox.put(heartbeat, form, route.folder)
        else:
            send(heartbeat, form, timeout_s=route.timeout_s, session=route.session)
        write_atomic(state / "heartbeat.json", encode(tidied(heartbeat).to_json()))
    except GlidepostError as error:
        return error
    except OSError as error:
        return GlidepostError(f"heartbeat: {error}", hint="is the disk full, or may the folder not be written?")
    return None


def send(heartbeat: Heartbeat, form: Form, *, timeout_s: float, session: requests.Session) -> None:
    """Uploads a heartbeat through the form that the pool sent us.

    Raises:
        StoreError: when the store refused it, is too slow, or cannot be reached.
    """
    body = fitted(heartbeat)
    # Neither a PUT's address nor an exception's text may get out: they hold what is a credential.
    what = f"heartbeat: {form.method} {form.place}"
    hint = "the next cycle tries again; the form is renewed by the publisher every 6 hours"
    seconds = PATIENCE * timeout_s
    request: dict[str, Any] = {"data": form.fields, "files": {"file": ("heartbeat.json", body, _TYPE)}}
    if form.method == "PUT":
        request = {"data": body, "headers": form.headers}
    try:
        with (
            limit(seconds, StoreError(f"{what}: not done within {seconds:g} s", hint=hint)),
            # (nobody reads what a stranger may answer without end)
            session.request(form.method, form.url, timeout=timeout_s, stream=True, **request) as response,
        ):
            status, method = response.status_code, response.request.method
    except OSError as error:  # requests' own are among them
        raise StoreError(f"{what}: {type(error).__name__}", hint=hint) from None
    # A portal's redirection to its login page turns the request into a GET, and that one succeeds.
    if status not in (200, 201, 204) or method != form.method:
        raise StoreError(f"{what}: HTTP {status}", hint=hint)
