"""What the pool says to this site in one cycle: its keys, its demand, its letter; each believed or not there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Optional

from glidepost.schema.errors import GlidepostError
from glidepost.schema.keys import SigningKey
from glidepost.schema.mailbox import Letter
from glidepost.schema.puller_config import PullerConfig

from . import fetch, shut_out, trust
from .source import Source
from .trust import Believed


@dataclass(frozen=True)
class Documents:
    """What may be believed. Without `believed`, whose signature counts is not known, and nothing else was read."""

    believed: Optional[Believed] = None
    known: Optional[fetch.KnownDemand] = None
    letter: Optional[Letter] = None


def read(config: PullerConfig, source: Source, errors: list[GlidepostError], *, now: datetime) -> Documents:
    """Returns what may be believed; what is wrong with the rest goes into `errors`.

    Raises:
        ConfigError: when the site's key cannot be read: it needs a person.
    """
    key = SigningKey.load(config.key)
    known, letter = None, None
    try:
        believed = trust.follow(config, source, now=now)
    except GlidepostError as error:
        errors.append(error)
        return Documents()
    try:
        known = fetch.demand(config, source, now=now, believed=believed)
    except GlidepostError as error:
        errors.append(error)
    if known and shut_out.is_out(known.demand, config.site):  # there is no mailbox, and that is no news
        errors.append(shut_out.error(known.demand, config.site))
        return Documents(believed, known)
    try:
        letter = fetch.letter(config, source, key, now=now, believed=believed)
    except GlidepostError as error:
        errors.append(error)
    return Documents(believed, known, letter)
