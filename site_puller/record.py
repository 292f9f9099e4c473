"""What the last cycle decided, kept in the state folder for `glidepost puller why` and `status`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from glidepost.schema.document import DAMAGED
from glidepost.schema.errors import ConfigError, GlidepostError
from glidepost.schema.files import write_atomic

from .plan import ShapePlan


@dataclass(frozen=True)
class Record:
    """One cycle: when, what for each shape, and what went wrong."""

    at: datetime
    plans: tuple[ShapePlan, ...]
    errors: tuple[str, ...]

    @classmethod
    def of(cls, plans: Sequence[ShapePlan], errors: Sequence[GlidepostError], at: datetime) -> Record:
        """Returns the record of a cycle."""
        return cls(at, tuple(plans), tuple(f"{error.what} ({error.hint})" for error in errors))


def save(path: Path, record: Record) -> None:
    """Writes a record."""
    write_atomic(path, msgspec.json.format(msgspec.json.encode(record), indent=1))


def load(path: Path) -> Record:
    """Returns the record of the last cycle.

    Raises:
        ConfigError: when there was none yet.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except DAMAGED as error:
        raise ConfigError(f"no cycle has run here yet ({path})", hint="run one: glidepost puller run") from error
