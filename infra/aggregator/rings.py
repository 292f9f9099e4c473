"""The histories as the store has them: history/1, compact JSON; one that is damaged is set aside and begun anew.

A year of many sites is millions of numbers, too many for a validator that looks at each in Python: the schema
(schema/history-1.schema.json) is the norm, this reader holds to it, and tests hold the two together.
"""

from __future__ import annotations

import logging
import math
from array import array
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Literal, Optional

import msgspec

from glidepost.schema.document import Moment
from glidepost.schema.errors import UntrustedDocument

from .aggregate import SITE_NAME
from .coarsen import coarsen
from .history import (
    FINEST,
    HISTORIES,
    MAX_SITES,
    POOL_SERIES,
    SITE_SERIES,
    History,
    Series,
    Slot,
    array_of,
    from_arrays,
    put,
)
from .store import JSON, Store, write

LOG = logging.getLogger(__name__)

FOLDER: Final = "v1/history/"
DAMAGED: Final = f"{FOLDER}damaged/"
MAX_BYTES: Final = 128 * 1024 * 1024

_HINT: Final = f"it is set aside under {DAMAGED}, and a new one is begun"

Number = Annotated[float, msgspec.Meta(ge=0, le=1e15)]


class _Ring(msgspec.Struct):
    """history/1; each series is read by itself, so that its numbers are never all Python objects at once."""

    kind: Literal["history/1"]
    resolution_s: int
    start: Moment
    length: Annotated[int, msgspec.Meta(ge=0, le=4000)]
    pool: dict[str, msgspec.Raw]
    sites: dict[str, dict[str, msgspec.Raw]]


_READ_RING: Final = msgspec.json.Decoder(_Ring)
_READ_SERIES: Final = msgspec.json.Decoder(list[Optional[Number]])


def key_of(name: str) -> str:
    """Returns the key of a resolution's file."""
    return f"{FOLDER}{name}.json"


def encode(history: History) -> bytes:
    """Returns a ring as history/1."""
    head = {"kind": "history/1", "resolution_s": history.resolution_s, "start": f"{history.start:%Y-%m-%dT%H:%M:%SZ}"}
    sites = b",".join(
        msgspec.json.encode(site) + b":" + _encode_columns(columns) for site, columns in history.sites.items()
    )
    return (
        msgspec.json.encode({**head, "length": history.length})[:-1]
        + b',"pool":'
        + _encode_columns(history.pool)
        + b',"sites":{'
        + sites
        + b"}}\n"
    )


def _encode_columns(columns: Mapping[str, Series]) -> bytes:
    """Returns series as JSON; those that are all gaps are left out, and whole numbers have no point."""
    parts = []
    for name in columns:
        values = array_of(columns, name)
        if any(value == value for value in values):  # noqa: PLR0124 - NaN
            short = [None if value != value else int(value) if value.is_integer() else value for value in values]  # noqa: PLR0124
            parts.append(msgspec.json.encode(name) + b":" + msgspec.json.encode(short))
    return b"{" + b",".join(parts) + b"}"


def decode(name: str, body: bytes) -> History:
    """Returns the ring in a file.

    Raises:
        UntrustedDocument: when it is no history/1 of this resolution.
    """
    try:
        ring = _READ_RING.decode(body)
        step, most = HISTORIES[name]
        start = int(ring.start.timestamp())
        if ring.resolution_s != step or ring.length > most or start % step or len(ring.sites) > MAX_SITES:
            raise UntrustedDocument(f"{key_of(name)}: not a ring of {name}", hint=_HINT)
        if not all(SITE_NAME.fullmatch(site) for site in ring.sites):
            raise UntrustedDocument(f"{key_of(name)}: names what no site can be named", hint=_HINT)
        pool = _decode_columns(ring.pool, POOL_SERIES, ring.length)
        sites = {site: _decode_columns(columns, SITE_SERIES, ring.length) for site, columns in ring.sites.items()}
        return from_arrays(name, start, ring.length, pool, sites)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError, ValueError) as error:
        raise UntrustedDocument(f"{key_of(name)}: not a history/1: {error}", hint=_HINT) from error


def _decode_columns(columns: Mapping[str, msgspec.Raw], known: tuple[str, ...], length: int) -> dict[str, array[float]]:
    """Returns the series that this version knows."""
    found = {}
    for name in known:
        if name in columns:
            values = _READ_SERIES.decode(columns[name])
            if len(values) != length:
                raise ValueError(f"{name} has {len(values)} values, not {length}")
            found[name] = array("d", [math.nan if value is None else value for value in values])
    return found


def load(store: Store, now: datetime) -> dict[str, History]:
    """Returns the rings that the store has. A damaged one is copied aside, so that somebody may still mend it.

    Raises:
        StoreError: when the store cannot be read: a ring that is there must not be begun anew.
    """
    found = {}
    for name in HISTORIES:
        history = _load(store, name, now)
        if history is not None:
            found[name] = history
    return found


def _load(store: Store, name: str, now: datetime) -> Optional[History]:
    try:
        body = store.get(key_of(name), max_bytes=MAX_BYTES)
        return None if body is None else decode(name, body)
    except UntrustedDocument as error:
        aside = f"{DAMAGED}{name}-{now:%Y%m%dT%H%M%SZ}.json"
        LOG.warning("history damaged key=%s aside=%s error=%s", key_of(name), aside, error.what)
        store.copy(key_of(name), aside)
        return None


def save(store: Store, rings: Mapping[str, History]) -> None:
    """Writes rings.

    Raises:
        StoreError: when the store refuses.
    """
    for name, history in rings.items():
        write(store, key_of(name), encode(history), JSON)


def advance(rings: Mapping[str, History], slot: int, values: Slot, now: datetime) -> dict[str, History]:
    """Returns the rings that change when a finest slot is over: that ring, and each coarser one with a slot over.

    Args:
        rings: Those that there are.
        slot: The second of the epoch at which the slot begins.
        values: What is known of it.
        now: Aware.
    """
    changed = {FINEST: put(FINEST, rings.get(FINEST), slot, values)}
    finer = changed[FINEST]
    for name in list(HISTORIES)[1:]:
        old = rings.get(name)
        new = coarsen(name, finer, old, now)
        if new is None:
            break
        if new is not old:
            changed[name] = new
        finer = new
    return changed
