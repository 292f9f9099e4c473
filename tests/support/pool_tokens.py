"""Pool tokens that no collector would take, but whose claims are read as those of real ones."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta


def make_token(now: datetime, life: timedelta = timedelta(days=7), **claims: object) -> str:
    """Returns a token of site north."""
    said = {"sub": "glidein-north@pool", "iat": int(now.timestamp()), "exp": int((now + life).timestamp()), **claims}
    return f"eyJhbGciOiJIUzI1NiJ9.{encoded(said)}.c2lnbmF0dXJl"


def encoded(said: object) -> str:
    """Returns what stands between the points of a token."""
    return base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")


ENDLESS = f"eyJhbGciOiJIUzI1NiJ9.{encoded({'sub': 'glidein-north@pool'})}.c2lnbmF0dXJl"
