"""The breakers of all shapes, and the file that remembers them; what makes one trip and close stands in verdict.py.

Crashes between two writes are harmless when a cycle keeps this order:

1. `outcomes.Inbox.save`, before anybody acts on a record. Ledger and breakers remember up to which record they have
   judged (`serial`), so that each is judged once.
2. `judged`, then `save`.
3. For each submission: `after_submission`, `save`, the ledger's entry, the batch command; then `after_acceptance` or
   `after_refusal`, and `save`. A crash before the batch command leaves a canary that nobody lists: it is taken for lost
   and another goes out. A crash after it leaves one that the next cycles find in the queue by its name. At no point is
   there a second one beside it.

Without the file all breakers are closed: to delete it is one way to close them. One that cannot be read is moved aside,
and every shape goes on with a canary, unless the pool sees glideins of it: then that is proof enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final, Optional

import msgspec

from glidepost.schema.document import DAMAGED
from glidepost.schema.errors import BatchError
from glidepost.schema.files import write_atomic
from glidepost.schema.heartbeat import BreakerView

from . import verdict
from .circuit import STATE_LOST, Circuit
from .evidence import Evidence
from .gate import Gate

_CLOSED: Final = Circuit()


@dataclass(frozen=True)
class _Saved:
    """breaker.json."""

    shapes: dict[str, Circuit] = field(default_factory=dict)
    serial: int = 0


@dataclass(frozen=True)
class Breakers:
    """The breakers of a site by shape's name, and the serial number of the last record that they judged.

    `is_lost`: the file was there and could not be read.
    """

    site: str
    shapes: Mapping[str, Circuit] = field(default_factory=dict)
    serial: int = 0
    is_lost: bool = False

    @classmethod
    def load(cls, path: Path, site: str) -> Breakers:
        """Returns the breakers in a file, closed ones when there is none; it is only read."""
        try:
            saved = _read(path)
        except FileNotFoundError:
            return cls(site)
        except DAMAGED:
            return cls(site, is_lost=True)
        return cls(site, saved.shapes, saved.serial)

    def save(self, path: Path) -> None:
        """Writes them, if they have changed; a file that could not be read is moved aside first.

        Raises:
            OSError: when the disk is full; then nothing may be submitted.
        """
        saved = _Saved(dict(self.shapes), self.serial)
        try:
            if _read(path) == saved:
                return
        except FileNotFoundError:
            pass
        except DAMAGED:
            path.replace(path.with_name(f"{path.name}.broken"))
        write_atomic(path, msgspec.json.format(msgspec.json.encode(saved), indent=1))

    def judged(self, evidence: Mapping[str, Evidence], now: datetime, *, serial: int = 0) -> Breakers:
        """Returns the breakers after a cycle's evidence.

        Args:
            evidence: By shape's name, for every shape of the configuration: the others are forgotten.
            now: The begin of the cycle.
            serial: Of the last record in the evidence (`outcomes.Inbox.serial`).
        """
        shapes = {}
        for shape, learnt in evidence.items():
            shapes[shape] = verdict.judged(self._of(shape, now), learnt, now, self._key(shape))
        return replace(self, shapes=shapes, serial=max(self.serial, serial))

    def resumed(self, resumed: Mapping[str, datetime], now: datetime) -> Breakers:
        """Returns the breakers after somebody's orders: one that tripped before it was resumed is closed.

        Args:
            resumed: When, by shape's name (`drain.Drained.resumed`); a time that is yet to come counts for nothing.
            now: The begin of the cycle.
        """
        after = self
        for shape, at in resumed.items():
            circuit = self._of(shape, now)
            if circuit.since is not None and at <= now and (self.is_lost or circuit.since <= at):
                after = after._with(shape, circuit.closed())
        return after

    def gate(self, shape: str, now: datetime) -> Optional[Gate]:
        """Returns what a shape's breaker lets through, None when that is everything."""
        return self._of(shape, now).gate(now)

    def view(self, shape: str, now: datetime) -> Optional[BreakerView]:
        """Returns what the heartbeat says of a shape's breaker, None when it is closed.

        The pool must go on giving a share to a shape whose `state` is "canary", or there would never be one.
        """
        return self._of(shape, now).view(now)

    def canary(self, shape: str) -> Optional[str]:
        """Returns the batch job name of the canary of a shape, None when none is out."""
        circuit = self.shapes.get(shape, _CLOSED)
        return circuit.canary.name if circuit.canary else None

    def after_submission(self, shape: str, name: str) -> Breakers:
        """Returns the breakers as they must be saved before the batch command runs.

        Args:
            shape: Whose glideins.
            name: Of the submission: the canary's, if one is due.

        Raises:
            ValueError: when a canary is out already; then nothing may be submitted.
        """
        return self._with(shape, self.shapes.get(shape, _CLOSED).submitted(name))

    def after_acceptance(self, shape: str) -> Breakers:
        """Returns the breakers after the batch system has answered with a batch id."""
        return self._with(shape, self.shapes.get(shape, _CLOSED).accepted())

    def after_refusal(self, shape: str, error: BatchError, now: datetime) -> Breakers:
        """Returns the breakers after a submission failed, or its answer was lost."""
        return self._with(shape, self.shapes.get(shape, _CLOSED).refused(error, now, self._key(shape)))

    def _of(self, shape: str, now: datetime) -> Circuit:
        if self.is_lost and shape not in self.shapes:
            return Circuit(trips=1, code=STATE_LOST, detail="breaker.json could not be read", since=now, until=now)
        return self.shapes.get(shape, _CLOSED)

    def _key(self, shape: str) -> str:
        return f"{self.site}/{shape}"

    def _with(self, shape: str, circuit: Circuit) -> Breakers:
        if self.shapes.get(shape, _CLOSED) == circuit and not self.is_lost:
            return self
        return replace(self, shapes={**self.shapes, shape: circuit})


def _read(path: Path) -> _Saved:
    return msgspec.json.decode(path.read_bytes(), type=_Saved)
