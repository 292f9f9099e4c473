"""The pool's documents: believed only when everything about them is right, whatever way they came."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Optional

import requests

from glidepost.schema.demand import Demand
from glidepost.schema.document import parse_object
from glidepost.schema.errors import StoreError, UntrustedDocument
from glidepost.schema.keys import SigningKey
from glidepost.schema.mailbox import Letter, Mailbox
from glidepost.schema.puller_config import PullerConfig
from glidepost.schema.signing import verify
from glidepost.schema.store_keys import DEMAND_KEY, mailbox_key

from . import freshness
from .source import MAX_STREAM_BYTES, Fetched, FolderSource, Source, StreamSource, read_bounded
from .trust import Believed
from .watchdog import limit
from .web import PATIENCE, WebSource


def open_source(config: PullerConfig, session: requests.Session, *, documents: Optional[str] = None) -> Source:
    """Returns where this site's documents come from.

    Args:
        config: Its `url` decides: a store's, or `file://` and a folder.
        session: For requests.
        documents: Takes the place of the URL: a file with the documents one after the other, or "-", standard input.
    """
    kept = config.state / "documents"
    if documents is not None:
        name = "standard input" if documents == "-" else documents

        def read() -> bytes:
            return _stream(documents, name, seconds=PATIENCE * config.timeout_s)

        return StreamSource(name, read, site=config.site, folder=kept)
    if config.url.startswith("file://"):
        return FolderSource(Path(config.url[len("file://") :]), kept)
    return WebSource(config.url, kept, timeout_s=config.timeout_s, session=session)


def _stream(documents: str, name: str, *, seconds: float) -> bytes:
    """Returns what a file or standard input holds.

    Raises:
        StoreError: when it cannot be read, does not end in time, or is larger than documents are.
    """
    hint = "write keys, demand and mailbox to it, one after the other"
    try:
        if documents != "-":
            return read_bounded(Path(documents), MAX_STREAM_BYTES)
        with limit(seconds, StoreError(f"{name}: no end within {seconds:g} s", hint=hint)):
            body = sys.stdin.buffer.read(MAX_STREAM_BYTES + 1) if sys.stdin else b""
    except (OSError, ValueError) as error:
        raise StoreError(f"{name}: {error}", hint=hint) from error
    if len(body) > MAX_STREAM_BYTES:
        raise StoreError(f"{name}: more than {MAX_STREAM_BYTES} bytes", hint=hint)
    return body


@dataclass(frozen=True)
class KnownDemand:
    """A demand document that may be acted on. `epoch` is that of the pool's keys."""

    demand: Demand
    age_s: int
    clock_skew_s: Optional[int]
    epoch: int = 0


def demand(config: PullerConfig, source: Source, *, now: datetime, believed: Optional[Believed] = None) -> KnownDemand:
    """Returns the pool's demand.

    Args:
        config: Whose documents these are.
        source: Where they come from.
        now: The time.
        believed: Whose signature counts; the pinned key's alone, if not given.

    Raises:
        StoreError: when it cannot be fetched, or there is none yet.
        UntrustedDocument: when it is forged, expired, older than one seen before, or of another pool.
    """
    place, believed = source.place(DEMAND_KEY), believed or Believed.pinned(config)
    fetched = source.get(DEMAND_KEY, now=now)
    if fetched is None:
        raise StoreError(f"{place}: not there", hint="has the pool's publisher run, is [pool] url right?")
    freshness.refuse_skew(fetched.clock_skew_s)
    known = Demand.from_json(_verified(believed, source, DEMAND_KEY, fetched))
    _refuse_other_pool(config, known)
    freshness.refuse_stale(known, freshness.pool_time(now, fetched.clock_skew_s))
    if not believed.is_reset:
        freshness.refuse_rollback(known, believed.trust.epoch, config.state)
    source.keep(DEMAND_KEY, fetched)
    age_s = int((now - known.generated_at).total_seconds())
    return KnownDemand(known, age_s, fetched.clock_skew_s, believed.trust.epoch)


def _verified(believed: Believed, source: Source, key: str, fetched: Fetched) -> dict[str, Any]:
    try:
        data = parse_object(fetched.body, what=key)
        verify(data, believed.trust.keys)
    except UntrustedDocument:
        source.forget(key)
        raise
    return data


def _refuse_other_pool(config: PullerConfig, known: Demand) -> None:
    if config.pool is not None and known.pool != config.pool:
        raise UntrustedDocument(
            f"the demand is of pool {known.pool}, not {config.pool}",
            hint="is [pool] url right? One key should sign one pool",
        )


def letter(
    config: PullerConfig, source: Source, key: SigningKey, *, now: datetime, believed: Optional[Believed] = None
) -> Letter:
    """Returns what the pool wrote to this site: upload form and pool token.

    Args:
        config: Whose documents these are.
        source: Where they come from.
        key: This site's.
        now: The time.
        believed: Whose signature counts; the pinned key's alone, if not given.

    Raises:
        StoreError: when there is no mailbox for this site.
        UntrustedDocument: when it is forged, expired, or not for this site.
    """
    mailbox = mailbox_key(config.site)
    fetched = source.get(mailbox, now=now)
    if fetched is None:
        raise StoreError(
            f"{source.place(mailbox)}: not there",
            hint="is this site enrolled? send the pool's admin the line of: "
            f"glidepost keys show {config.key} --site {config.site}",
        )
    data = _verified(believed or Believed.pinned(config), source, mailbox, fetched)
    opened = Mailbox.from_json(data).open(key, site=config.site)
    if freshness.pool_time(now, fetched.clock_skew_s) >= opened.expires_at:
        raise UntrustedDocument(
            f"the mailbox expired at {opened.expires_at:%Y-%m-%d %H:%M}Z", hint="the pool's publisher does not run"
        )
    source.keep(mailbox, fetched)
    return opened
