"""The sites of a pool in one list: what sites.toml says of them, and what the store shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Optional

from rich.table import Table
from rich.text import Text

from glidepost.schema.document import parse_object
from glidepost.schema.errors import GlidepostError, UntrustedDocument
from glidepost.schema.heartbeat import Heartbeat
from glidepost.schema.mailbox import Mailbox
from glidepost.schema.publisher_config import PublisherConfig
from glidepost.schema.sites import EnrolledSite, load_sites
from glidepost.schema.store_keys import MAX_HEARTBEAT_BYTES, heartbeat_key, mailbox_key
from glidepost.schema.units import format_duration

from .offers import CLOCK_TOLERANCE, FRESH
from .store import S3Store

# As many as boto3 keeps connections open.
_THREADS: Final = 10
WIDTH: Final = 130  # columns of the table; what is in them does not get narrower
_STATES: Final = {
    "ok": ("ok", "green"),
    "late": ("late", "bold red"),
    "never": ("no heartbeat yet", "yellow"),
    "unreadable": ("heartbeat unreadable", "bold red"),
    "revoked": ("revoked", "bold"),
    "unknown": ("unknown", "yellow"),
}


@dataclass(frozen=True)
class Row:
    """One site. `state` is a key of _STATES; "late" is one whose last heartbeat is too old for a share.

    `token_ends_at` is when the pool token in its mailbox ends, by the configured life.
    """

    site: EnrolledSite
    state: str
    heartbeat_at: Optional[datetime] = None
    mailbox_at: Optional[datetime] = None
    token_ends_at: Optional[datetime] = None


@dataclass(frozen=True)
class Found:
    """All sites by name. `problem` is why the store could not be read."""

    rows: tuple[Row, ...]
    problem: Optional[GlidepostError] = None


def look(config: PublisherConfig, *, now: datetime) -> Found:
    """Returns the sites of sites.toml with what the store shows of them.

    Raises:
        ConfigError: when sites.toml cannot be read.
    """
    sites = load_sites(Path(config.demand.sites))
    unseen = tuple(Row(site, "revoked" if site.is_revoked else "unknown") for _, site in sorted(sites.items()))
    if not sites:
        return Found(())
    try:
        store = S3Store.from_settings(config.store)
        life = timedelta(seconds=config.glidein.token_life_s)
        with ThreadPoolExecutor(_THREADS) as threads:
            return Found(tuple(threads.map(lambda row: _seen(store, row, life, now), unseen)))
    except GlidepostError as error:
        return Found(unseen, error)


def _seen(store: S3Store, row: Row, life: timedelta, now: datetime) -> Row:
    name = row.site.name
    mailbox_at = _mailbox_at(store.get(mailbox_key(name)), name)
    row = replace(row, mailbox_at=mailbox_at, token_ends_at=mailbox_at + life if mailbox_at else None)
    body = store.get(heartbeat_key(name))
    if body is None:
        return replace(row, state="revoked" if row.site.is_revoked else "never")
    try:
        data = parse_object(body, what=f"heartbeat of {name}", max_bytes=MAX_HEARTBEAT_BYTES)
        heartbeat_at = Heartbeat.from_json(data).sent_at
    except UntrustedDocument:
        return replace(row, state="revoked" if row.site.is_revoked else "unreadable")
    age = now - heartbeat_at
    state = "revoked" if row.site.is_revoked else "late" if age > FRESH else "ok"
    return replace(row, state="unreadable" if age < -CLOCK_TOLERANCE else state, heartbeat_at=heartbeat_at)


def _mailbox_at(body: Optional[bytes], name: str) -> Optional[datetime]:
    try:
        return None if body is None else Mailbox.from_json(parse_object(body, what=f"mailbox of {name}")).issued_at
    except UntrustedDocument:
        return None


def to_json(row: Row) -> Mapping[str, object]:
    """Returns a site as JSON: times in UTC, null where there is none."""
    site = row.site
    times = {
        "enrolled_at": site.enrolled_at,
        "revoked_at": site.revoked_at,
        "heartbeat_at": row.heartbeat_at,
        "mailbox_at": row.mailbox_at,
        "token_ends_at": row.token_ends_at,
    }
    return {
        "site": site.name,
        "key_id": site.public_key.key_id,
        "groups": list(site.groups),
        "channel": site.channel,
        "state": row.state,
        **{name: f"{time:%Y-%m-%dT%H:%M:%SZ}" if time else None for name, time in times.items()},
    }


def table(rows: Sequence[Row], now: datetime) -> Table:
    """Returns the sites as a table for a terminal."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("site", "state", "heartbeat", "mailbox", "token ends", "channel", "groups", "enrolled", "key"):
        shown.add_column(heading, overflow="fold", no_wrap=heading != "groups")
    for row in rows:
        site = row.site
        word, style = _STATES[row.state]
        since = f" since {site.revoked_at:%Y-%m-%d}" if site.revoked_at else ""
        shown.add_row(
            Text(site.name),
            Text(f"{word}{since}", style),
            _age(row.heartbeat_at, now),
            _age(row.mailbox_at, now),
            "" if row.token_ends_at is None else _until(row.token_ends_at, now),
            site.channel,
            Text(", ".join(site.groups) or "all"),
            f"{site.enrolled_at:%Y-%m-%d}" if site.enrolled_at else "",
            site.public_key.key_id,
        )
    return shown


def _age(time: Optional[datetime], now: datetime) -> str:
    return "" if time is None else f"{format_duration(max(0, int((now - time).total_seconds())))} ago"


def _until(time: datetime, now: datetime) -> str:
    left_s = int((time - now).total_seconds())
    return f"in {format_duration(left_s)}" if left_s > 0 else "ended"
