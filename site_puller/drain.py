"""What a person has ordered: shapes that are drained, and shapes that go on. drained.json in the state folder.

Only the commands `drain` and `resume` write it, atomically and without waiting for a cycle, which may take minutes. A
cycle only reads it. So an order to resume is a time: a breaker that tripped before it is closed (breaker.py), however
often a cycle reads that.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final, Optional

import msgspec

from glidepost.schema.document import DAMAGED, Moment
from glidepost.schema.files import write_atomic

from .gate import Gate

_REMEDY: Final = "glidepost puller resume"


@dataclass(frozen=True)
class Drained:
    """Orders, by shape's name: since when a shape is drained, when it was resumed last.

    `everything`: since when all shapes are drained, those of a later configuration too. `is_unreadable`: nobody knows
    what was ordered, so nothing is submitted, and nothing removed.
    """

    shapes: dict[str, Moment] = field(default_factory=dict)
    everything: Optional[Moment] = None
    resumed: dict[str, Moment] = field(default_factory=dict)
    is_unreadable: bool = False

    def since(self, shape: str) -> Optional[datetime]:
        """Returns since when a shape is drained, None when it is not."""
        return self.shapes.get(shape, self.everything)

    def is_drained(self, shape: str) -> bool:
        """Returns whether queued glideins of a shape are to be removed."""
        return not self.is_unreadable and self.since(shape) is not None

    def gate(self, shape: str) -> Optional[Gate]:
        """Returns what keeps a shape from submitting, None when nobody ordered that."""
        if self.is_unreadable:
            return Gate("drained", f"drained.json cannot be read; {_REMEDY} writes it anew", most=0)
        since = self.since(shape)
        return (
            Gate("drained", f"by hand since {since:%Y-%m-%d %H:%M} UTC; {_REMEDY} ends it", most=0) if since else None
        )

    def with_drained(self, shape: Optional[str], now: datetime) -> Drained:
        """Returns the orders with one more: to drain a shape, or all of them."""
        if shape is None:
            return replace(self, everything=self.everything or now, is_unreadable=False)
        return replace(self, shapes={**self.shapes, shape: self.since(shape) or now})

    def with_resumed(self, shape: Optional[str], names: Collection[str], now: datetime) -> Drained:
        """Returns the orders after a shape, or all of them, may go on.

        Args:
            shape: Its name, None for all.
            names: All shapes of the configuration. If all are drained and one goes on, the others stay drained.
            now: The time of the order.
        """
        if shape is None:
            return Drained(resumed=dict.fromkeys(names, now))
        left = {name: since for name in names for since in (self.since(name),) if since and name != shape}
        resumed = {name: at for name, at in self.resumed.items() if name in names}
        return Drained(left, resumed={**resumed, shape: now})


def load(path: Path) -> Drained:
    """Returns the orders in a file, none when it is not there."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Drained)
    except FileNotFoundError:
        return Drained()
    except DAMAGED:
        return Drained(is_unreadable=True)


def save(path: Path, drained: Drained) -> None:
    """Writes the orders.

    Raises:
        OSError: when the disk is full, or the folder may not be written.
    """
    write_atomic(path, msgspec.json.format(msgspec.json.encode(drained), indent=1))
