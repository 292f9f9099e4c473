"""Whom this site believes: the key that its operator pinned, and from there on the pool's chain of keys.

How far the chain was followed is remembered in keys.json of the state folder: an older copy of the chain takes nothing
back. `follow` only looks; `Believed.remember` writes, when a cycle acts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Optional

import msgspec

from glidepost.schema.document import DAMAGED, parse_object
from glidepost.schema.errors import ConfigError, UntrustedDocument
from glidepost.schema.files import write_atomic
from glidepost.schema.keychain import KEYS_KEY, Keychain, Trust
from glidepost.schema.keys import PublicKey
from glidepost.schema.puller_config import PullerConfig

from . import freshness
from .source import Source

MEMORY_FILE: Final = "keys.json"


@dataclass(frozen=True)
class Memory:
    """What the file holds: the keys as text, and which pins they were reached from."""

    public_key: str
    root_key: Optional[str]
    keys: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    epoch: int
    sequence: int

    @classmethod
    def of(cls, config: PullerConfig, trust: Trust) -> Memory:
        """Returns what is to be remembered."""
        return cls(*_pins(config), tuple(map(str, trust.keys)), trust.epoch, trust.sequence)


@dataclass(frozen=True)
class Believed:
    """Whom one cycle believes. `is_published` says that the store has a chain of keys.

    `is_reset`: other keys were pinned since the last time; what was seen before says nothing of these.
    """

    trust: Trust
    is_published: bool = False
    is_reset: bool = False

    @classmethod
    def pinned(cls, config: PullerConfig) -> Believed:
        """Returns the trust in the pinned key alone."""
        return cls(Trust((config.public_key,)))

    def remember(self, config: PullerConfig) -> None:
        """Writes how far the chain was followed; nothing if that is known, or there never was a chain.

        Raises:
            OSError: when the disk is full or the folder may not be written.
        """
        file, memory = config.state / MEMORY_FILE, Memory.of(config, self.trust)
        if self.is_reset:
            freshness.forget(config.state)
        if memory != _load(file) and (self.trust.sequence or file.exists()):
            write_atomic(file, msgspec.json.encode(memory) + b"\n")


def known(config: PullerConfig) -> Believed:
    """Returns the trust that is remembered, or in the pinned key if there is none, or other keys were pinned then.

    Raises:
        ConfigError: when it is damaged: without it, keys that were replaced cannot be told.
    """
    file = config.state / MEMORY_FILE
    memory = _load(file)
    if memory is None:
        return Believed.pinned(config)
    if (memory.public_key, memory.root_key) != _pins(config):
        return replace(Believed.pinned(config), is_reset=True)
    try:
        keys = tuple(PublicKey.parse(text) for text in memory.keys)
    except ConfigError as error:
        raise _damaged(file, error.what) from error
    return Believed(Trust(keys, memory.epoch, memory.sequence))


def follow(config: PullerConfig, source: Source, *, now: datetime) -> Believed:
    """Returns whom to believe now: what is remembered, and what the pool's chain of keys adds to it.

    Without a chain in the store, what is remembered or pinned stands.

    Raises:
        StoreError: when the store cannot be read.
        UntrustedDocument: when there is something else in the place of the chain, or it is badly signed.
        ConfigError: when what was remembered is damaged.
    """
    before = known(config)
    fetched = source.get(KEYS_KEY, now=now)
    if fetched is None:
        return before
    try:
        chain = Keychain.from_json(parse_object(fetched.body, what=KEYS_KEY))
        trust = before.trust.follow(chain, pool=config.pool, root=config.root_key)
    except UntrustedDocument:
        source.forget(KEYS_KEY)
        raise
    source.keep(KEYS_KEY, fetched)
    return Believed(trust, is_published=True, is_reset=before.is_reset)


def _pins(config: PullerConfig) -> tuple[str, Optional[str]]:
    return str(config.public_key), None if config.root_key is None else str(config.root_key)


def _load(file: Path) -> Optional[Memory]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Memory)
    except FileNotFoundError:
        return None
    except DAMAGED as error:
        raise _damaged(file, str(error)) from error


def _damaged(file: Path, what: str) -> ConfigError:
    return ConfigError(
        f"{file}: {what}",
        hint="remove it if [pool] public_key is the pool's present key; ask its admin",
    )
