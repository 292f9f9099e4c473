"""The pool's documents: believed only when everything about them is right, whatever way they came."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Optional

import requests

from glidepost.schema.demand import Demand
from glidepost.schema.document import parse_object
from glidepost.schema.errors import ConfigError, StoreError, UntrustedDocument
from glidepost.schema.files import write_atomic
from glidepost.schema.keys import SigningKey
from glidepost.schema.mailbox import Letter, Mailbox
from glidepost.schema.puller_config import PullerConfig
from glidepost.schema.signing import verify

from .source import DEMAND_KEY, MAX_STREAM_BYTES, Fetched, FolderSource, Source, StreamSource, mailbox_key, read_bounded
from .watchdog import limit
from .web import PATIENCE, WebSource

MAX_CLOCK_SKEW: Final = timedelta(minutes=5)


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
    hint = "write the demand and the mailbox to it, one after the other"
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
    """A demand document that may be acted on."""

    demand: Demand
    age_s: int
    clock_skew_s: Optional[int]


def demand(config: PullerConfig, source: Source, *, now: datetime) -> KnownDemand:
    """Returns the pool's demand.

    Raises:
        StoreError: when it cannot be fetched, or there is none yet.
        UntrustedDocument: when it is forged, expired, older than one seen before, or of another pool.
    """
    place = source.place(DEMAND_KEY)
    fetched = source.get(DEMAND_KEY, now=now)
    if fetched is None:
        raise StoreError(f"{place}: not there", hint="has the pool's publisher run, is [pool] url right?")
    if fetched.clock_skew_s is not None and abs(fetched.clock_skew_s) > MAX_CLOCK_SKEW.total_seconds():
        raise UntrustedDocument(
            f"this host's clock and the store's differ by {fetched.clock_skew_s} s",
            hint="set the clock (chronyc makestep)",
        )
    known = Demand.from_json(_verified(config, source, DEMAND_KEY, fetched))
    _refuse_other_pool(config, known)
    _refuse_old(known, config.state / "demand.sequence", now)
    source.keep(DEMAND_KEY, fetched)
    age_s = int((now - known.generated_at).total_seconds())
    return KnownDemand(known, age_s, fetched.clock_skew_s)


def _verified(config: PullerConfig, source: Source, key: str, fetched: Fetched) -> dict[str, Any]:
    try:
        data = parse_object(fetched.body, what=key)
        verify(data, [config.public_key])
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


def _refuse_old(known: Demand, file: Path, now: datetime) -> None:
    """Refuses a document that is expired, or older than one that this site has seen."""
    if now >= known.expires_at:
        raise UntrustedDocument(
            f"the demand expired at {known.expires_at:%Y-%m-%d %H:%M:%S}Z (sequence {known.sequence})",
            hint="the pool's publisher does not run, or something serves an old copy; tell the pool's admin",
        )
    if known.generated_at - now > MAX_CLOCK_SKEW:
        raise UntrustedDocument(
            f"the demand is from the future ({known.generated_at:%Y-%m-%d %H:%M:%S}Z)",
            hint="compare both clocks with UTC",
        )
    highest = read_sequence(file)
    if known.sequence < highest:
        raise UntrustedDocument(
            f"the demand has sequence {known.sequence}, and {highest} was seen here before",
            hint="something serves an old copy, or the publisher was restored from a backup; tell the pool's admin",
        )


def read_sequence(file: Path) -> int:
    """Returns the highest sequence seen; 0 before the first.

    Raises:
        ConfigError: when the file is there and unreadable: without it an old document cannot be told.
    """
    try:
        return int(file.read_text(encoding="ascii"))
    except FileNotFoundError:
        return 0
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{file}: {error}", hint="remove it if the demand in the store is known to be recent"
        ) from error


def remember_sequence(file: Path, known: Demand) -> None:
    """Remembers that this document was seen."""
    if known.sequence != read_sequence(file):
        write_atomic(file, f"{known.sequence}\n".encode())


def letter(config: PullerConfig, source: Source, key: SigningKey, *, now: datetime) -> Letter:
    """Returns what the pool wrote to this site: upload form and pool token.

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
    opened = Mailbox.from_json(_verified(config, source, mailbox, fetched)).open(key, site=config.site)
    if now >= opened.expires_at:
        raise UntrustedDocument(
            f"the mailbox expired at {opened.expires_at:%Y-%m-%d %H:%M}Z", hint="the pool's publisher does not run"
        )
    source.keep(mailbox, fetched)
    return opened
