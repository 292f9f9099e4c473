"""The last good rows of each schedd, in a file beside the lock: what is used while one does not answer.

A schedd that fails for some minutes has not lost its user jobs. Its last rows count until they are older than a demand
document may be. The file has owners in it, so it is for the publisher's account only; a damaged one is as good as none.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from glidepost.schema.document import DAMAGED
from glidepost.schema.files import write_atomic
from glidepost.schema.publisher_config import PublisherConfig

from .census import Answer, Row, ScheddAnswer

LOG = logging.getLogger(__name__)
KIND: Final = "census-memory/1"
FILE: Final = "publisher.census.json"


@dataclass(frozen=True)
class Remembered:
    """The rows of one schedd, and when it gave them."""

    asked_at: datetime
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class _Memory:
    kind: str
    schedds: dict[str, Remembered]


def complete(config: PublisherConfig, answer: Answer, *, now: datetime, is_kept: bool = True) -> Answer:
    """Returns the answer with the last good rows of the schedds that failed or are gone.

    Args:
        config: Where the memory is, and how old it may be.
        answer: Of this moment. Not of a pool of which no schedd answered, as then nothing is to be published.
        now: The time of the answer.
        is_kept: Whether to write the memory of this answer.
    """
    path = Path(config.demand.state) / FILE
    known = {
        name: remembered
        for name, remembered in _load(path).items()
        if timedelta(0) <= now - remembered.asked_at < timedelta(seconds=config.demand.life_s)
    }
    if config.census.schedds != "all":  # one that is no longer to be asked is not missed
        known = {schedd.name: known[schedd.name] for schedd in answer.schedds if schedd.name in known}
    completed = _completed(answer, known)
    if is_kept:
        good = {schedd.name: Remembered(now, schedd.rows) for schedd in answer.schedds if schedd.error is None}
        _save(path, {**known, **good})
    return completed


def _completed(answer: Answer, known: Mapping[str, Remembered]) -> Answer:
    asked = {schedd.name for schedd in answer.schedds}
    gone = [ScheddAnswer(name, (), "it is no longer in the collector") for name in known if name not in asked]
    schedds = []
    for schedd in (*answer.schedds, *gone):
        last = known.get(schedd.name) if schedd.error else None
        schedds.append(replace(schedd, rows=last.rows, asked_at=last.asked_at) if last else schedd)
    return replace(answer, schedds=tuple(sorted(schedds, key=lambda schedd: schedd.name)))


def _load(path: Path) -> dict[str, Remembered]:
    try:
        memory = msgspec.json.decode(path.read_bytes(), type=_Memory)
    except FileNotFoundError:
        return {}
    except DAMAGED as error:
        LOG.warning("census memory unreadable file=%s error=%s", path, error)
        return {}
    if memory.kind != KIND or any(item.asked_at.tzinfo is None for item in memory.schedds.values()):
        LOG.warning("census memory of another version file=%s kind=%s", path, memory.kind)
        return {}
    return memory.schedds


def _save(path: Path, schedds: Mapping[str, Remembered]) -> None:
    try:
        write_atomic(path, msgspec.json.encode(_Memory(KIND, dict(schedds))), mode=0o600)
    except OSError as error:  # the demand of now does not depend on it
        LOG.warning("census memory not written file=%s error=%s", path, error)
