"""The heartbeat: when to send it, and the sending."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Optional

import requests

from glidepost.schema.document import encode, parse_object
from glidepost.schema.errors import StoreError, UntrustedDocument
from glidepost.schema.files import write_atomic
from glidepost.schema.heartbeat import Heartbeat
from glidepost.schema.mailbox import Form

EVERY: Final = timedelta(minutes=15)


def instance_id(state: Path) -> str:
    """Returns the id of this installation, made at its first run: two of them under one site name are noticed by it."""
    file = state / "instance"
    if not file.exists():
        write_atomic(file, f"{uuid.uuid4()}\n".encode())
    return file.read_text(encoding="ascii").strip()


def last_sent(state: Path) -> tuple[Optional[Heartbeat], int]:
    """Returns the last heartbeat that was sent, and its sequence; (None, 0) before the first."""
    try:
        sent = Heartbeat.from_json(parse_object((state / "heartbeat.json").read_bytes(), what="heartbeat"))
    except (OSError, UntrustedDocument):
        return None, 0
    return sent, sent.sequence


def is_due(heartbeat: Heartbeat, last: Optional[Heartbeat], now: datetime) -> bool:
    """Returns whether to send: something changed, glideins ended, or the last one is 15 minutes old."""
    if last is None or heartbeat.outcomes or now - last.sent_at >= EVERY:
        return True
    volatile: dict[str, Any] = {
        "sequence": 0,
        "sent_at": now,
        "demand_age_s": None,
        "demand_sequence": None,
        "clock_skew_s": None,
        "outcomes": {},
    }
    return replace(heartbeat, **volatile) != replace(last, **volatile)


def send(heartbeat: Heartbeat, form: Form, state: Path, *, timeout_s: int, session: requests.Session) -> None:
    """Uploads a heartbeat through the form that the pool sent us, and remembers it.

    Raises:
        StoreError: when the store refused it or cannot be reached.
    """
    body = encode(heartbeat.to_json())
    hint = "the next cycle tries again; the form is renewed by the publisher every 6 hours"
    try:
        response = session.post(
            form.url,
            data=form.fields,
            files={"file": ("heartbeat.json", body, "application/json")},
            timeout=timeout_s,
        )
    except requests.RequestException as error:
        # The exception's text may hold the form's fields, which are a credential.
        raise StoreError(f"heartbeat: POST {form.url}: {type(error).__name__}", hint=hint) from error
    # A portal's redirection to its login page turns the POST into a GET, and that one succeeds.
    if response.status_code not in (200, 201, 204) or response.request.method != "POST":
        raise StoreError(f"heartbeat: POST {form.url}: HTTP {response.status_code}", hint=hint)
    write_atomic(state / "heartbeat.json", body)
