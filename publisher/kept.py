"""What a run knows of the store already, in a file beside the lock: what has the same ETag is not read again.

Heartbeats are kept as the bytes that were read, foreign as they are: each run parses them anew. Nothing here is needed:
without the file, or when it is damaged, all is read again.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final, Optional

import msgspec

from glidepost.schema.document import DAMAGED, Moment
from glidepost.schema.files import write_atomic
from glidepost.schema.publisher_config import PublisherConfig

LOG = logging.getLogger(__name__)
KIND: Final = "store-memory/1"
FILE: Final = "publisher.store.json"


class Body(msgspec.Struct, frozen=True):
    """An object as it was read."""

    etag: str
    body: bytes


class Judged(msgspec.Struct, frozen=True):
    """A mailbox that was read, whose signature was right. `signed_by` is the public key that it was verified with."""

    etag: str
    site: str
    recipient: str
    settings: Optional[str]
    signed_by: str
    issued_at: Moment


class Memory(msgspec.Struct):
    """What is known, by the object's key. `place` is the store and the prefix that it was read from."""

    place: tuple[str, ...]
    heartbeats: dict[str, Body] = {}
    mailboxes: dict[str, Judged] = {}
    kind: str = KIND


def is_same(known: Optional[str], listed: Optional[str]) -> bool:
    """Returns whether two ETags are of the same content for sure: some stores give none."""
    return bool(known) and known == listed


def load(config: PublisherConfig) -> Memory:
    """Returns what is known of the configured store: nothing, if the file is gone, damaged or of another store."""
    path, place = _path(config), _place(config)
    try:
        memory = msgspec.json.decode(path.read_bytes(), type=Memory)
    except FileNotFoundError:
        return Memory(place)
    except DAMAGED as error:
        LOG.warning("store memory unreadable, all is read again file=%s error=%s", path, error)
        return Memory(place)
    return memory if (memory.kind, memory.place) == (KIND, place) else Memory(place)


def save(config: PublisherConfig, memory: Memory, before: Memory) -> None:
    """Writes what is known, if it is not what was known before. A failure costs time only."""
    if memory == before:
        return
    try:
        write_atomic(_path(config), msgspec.json.encode(memory), mode=0o600)
    except OSError as error:
        LOG.warning("store memory not written file=%s error=%s", _path(config), error)


def copy(memory: Memory) -> Memory:
    """Returns a copy, for comparing with later."""
    return Memory(memory.place, dict(memory.heartbeats), dict(memory.mailboxes))


def _path(config: PublisherConfig) -> Path:
    return Path(config.demand.state) / FILE


def _place(config: PublisherConfig) -> tuple[str, ...]:
    store = config.store
    return (store.endpoint or "", store.region or "", store.bucket, store.prefix)
