"""What this site has submitted: written before the batch command runs and completed after, so that no answer is lost.

An entry is one submission under one unique batch job name, with its members: the batch jobs that the queue has listed.
What was submitted and not listed yet is `unreported`, what was listed and is not any more, for no reason that we know,
is `missing`; both occupy places until they are given up (observe.py). The ledger has a clock of its own, which no step
of the host's clock can move by more than `MAX_STEP_S` a cycle.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Optional

import msgspec

from glidepost.backends.base import JobState
from glidepost.schema.document import DAMAGED
from glidepost.schema.errors import GlidepostError
from glidepost.schema.files import write_atomic
from glidepost.schema.resources import Resources

# A batch system may take minutes to list what it accepted; after this it is taken for gone. Of the ledger's own clock.
REPORT_GRACE_S: Final = 600
MAX_STEP_S: Final = 300
HOUR: Final = timedelta(hours=1)
# So long the past is kept: longer than anybody asks for, lest a clock that is wrong for a while forgets it.
_RECENT: Final = timedelta(days=7)
_SPENT: Final = timedelta(days=400)
_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Member:
    """One batch job of a submission, as last listed.

    `started_at` is when it was first seen running, `started_s` the same by the ledger's clock. `missing` counts the
    complete answers in a row that lack it, since `missing_s` of the ledger's clock and `missed_at` of the host's.
    `removed`: we have asked the batch system to remove it.
    """

    state: JobState
    started_at: Optional[datetime] = None
    started_s: int = 0
    missing: int = 0
    missing_s: int = 0
    missed_at: Optional[datetime] = None
    removed: bool = False


@dataclass(frozen=True)
class Entry:
    """One submission.

    `batch_id` is None until the batch system answered; `gone` are ids of members that are over. `answers` counts the
    complete answers since its grace was over: one of them may lack what is there.
    """

    name: str
    shape: str
    count: int
    submitted_at: datetime
    submitted_s: int
    resources: Resources
    hourly_cost: float
    batch_id: Optional[str] = None
    members: dict[str, Member] = field(default_factory=dict)
    gone: tuple[str, ...] = ()
    answers: int = 0

    @property
    def unreported(self) -> int:
        """Glideins that were submitted and never listed."""
        return max(0, self.count - len(self.members) - len(self.gone))

    @property
    def live(self) -> int:
        """Glideins that occupy places."""
        return len(self.members) + self.unreported

    @property
    def full_cost(self) -> float:
        """What one glidein of it costs if it runs to the end of its walltime."""
        return self.hourly_cost * self.resources.walltime_s / 3600

    def is_over(self, member: Member, clock_s: int) -> bool:
        """Returns whether a member's walltime has ended, by the ledger's clock: it needs no other reason to be gone."""
        return member.started_at is not None and clock_s - member.started_s >= self.resources.walltime_s


@dataclass(frozen=True)
class Submitted:
    """So many glideins of a shape at one time; kept for longer than an hour, lest a wrong clock forgets it."""

    shape: str
    count: int
    at: datetime


@dataclass(frozen=True)
class Ledger:
    """All submissions that may still matter, by name.

    `clock_s` is the ledger's own time, `seen_at` the host's in the last cycle. `rebuilt_s` is set while a ledger that
    was lost is not made up for: what was submitted in its last minutes may not be listed yet; `rebuilt_answers` counts
    the complete answers after that grace. `excess_s` says since when a shape has held more than it wants. `spent` is
    what ended glideins have cost, by the day of their submission ("2026-11-22") and shape. `serial` is that of the last
    record of an ended glidein that was judged (outcomes.py).
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    clock_s: int = 0
    seen_at: Optional[datetime] = None
    rebuilt_s: Optional[int] = None
    rebuilt_answers: int = 0
    recent: tuple[Submitted, ...] = ()
    excess_s: dict[str, int] = field(default_factory=dict)
    spent: dict[str, dict[str, float]] = field(default_factory=dict)
    serial: int = 0

    def ticked(self, now: datetime) -> Ledger:
        """Returns the ledger at the begin of a cycle: its clock goes on, what is too old to matter is dropped."""
        passed = (now - self.seen_at).total_seconds() if self.seen_at else 0
        oldest = f"{now - _SPENT:%Y-%m-%d}"
        return replace(
            self,
            clock_s=self.clock_s + int(min(max(passed, 0), MAX_STEP_S)),
            seen_at=now,
            recent=tuple(item for item in self.recent if now - item.at < _RECENT),
            spent={day: costs for day, costs in self.spent.items() if day >= oldest},
        )

    def with_entry(self, entry: Entry) -> Ledger:
        """Returns the ledger with one entry added or replaced."""
        return replace(self, entries={**self.entries, entry.name: entry})

    def without(self, name: str) -> Ledger:
        """Returns the ledger without one entry: a submission that the batch system refused."""
        return replace(self, entries={key: entry for key, entry in self.entries.items() if key != name})

    def of(self, shape: str) -> tuple[Entry, ...]:
        """Returns the entries of one shape."""
        return tuple(entry for entry in self.entries.values() if entry.shape == shape)

    def submitted_lately(self, shape: Optional[str] = None) -> int:
        """Returns the glideins submitted within an hour, of one shape or of all."""
        now = self.seen_at
        return sum(
            item.count for item in self.recent if shape in (None, item.shape) and (now is None or now - item.at < HOUR)
        )

    def charged(self, period: str, shape: Optional[str] = None) -> float:
        """Returns what glideins submitted in a period cost: the whole walltime while they live, then what they ran.

        Args:
            period: How the days begin, "2026-11" or "2026-11-22"; in UTC.
            shape: Of this shape only.
        """
        ended = sum(
            cost
            for day, costs in self.spent.items()
            if day.startswith(period)
            for name, cost in costs.items()
            if shape in (None, name)
        )
        live = sum(
            entry.live * entry.full_cost
            for entry in self.entries.values()
            if shape in (None, entry.shape) and f"{entry.submitted_at:%Y-%m-%d}".startswith(period)
        )
        return ended + live


class LedgerFile:
    """The ledger on disk. Nobody else may write it between a `load` and a `save` of ours."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: Optional[tuple[int, int, int]] = None

    def load(self, *, was_here: bool) -> tuple[Ledger, Optional[GlidepostError]]:
        """Returns the ledger, and what is wrong with it: then it is one to be rebuilt from the queue.

        Args:
            was_here: Whether cycles have run here before, so that a ledger that is not there was lost.
        """
        self._known = self._stamp()
        try:
            body = self.path.read_bytes()
            ledger = msgspec.json.decode(body, type=Ledger)
            if ledger.seen_at is not None:
                return ledger, None
            what = f"the ledger {self.path} says nothing"
        except FileNotFoundError:
            if not was_here:
                return Ledger(), None
            what = f"the ledger {self.path} is not there any more"
        except DAMAGED as error:
            what = f"the ledger {self.path} is unreadable: {error}"
        hint = "nothing is submitted until the queue has been counted for ten minutes; then it goes on by itself"
        return Ledger(rebuilt_s=0), GlidepostError(what, hint=hint)

    def set_aside(self, now: datetime) -> None:
        """Moves a file that cannot be read out of the way, for a person to look at.

        Raises:
            GlidepostError: when another puller has done so, and written a new one.
        """
        self._refuse_foreign()
        if self._known is not None:
            self.path.rename(self.path.with_name(f"{self.path.name}.broken-{now:%Y%m%d-%H%M%S}"))
        self._known = None

    def save(self, ledger: Ledger) -> None:
        """Writes the ledger, whole and synced to disk.

        Raises:
            GlidepostError: when another puller has written it meanwhile.
            OSError: when the disk is full; then nothing may be submitted.
        """
        self._refuse_foreign()
        write_atomic(self.path, msgspec.json.format(msgspec.json.encode(ledger), indent=1))
        self._known = self._stamp()

    def _refuse_foreign(self) -> None:
        """Each write makes a new file: one that we have neither read nor written is another puller's."""
        if self._stamp() != self._known:
            raise GlidepostError(
                f"another puller has written {self.path} meanwhile",
                hint="run the puller of one site on one host only; does its file system have locks?",
            )

    def _stamp(self) -> Optional[tuple[int, int, int]]:
        """Returns what tells one file from the next; numbers of inodes are used again."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def name_prefix(site: str, shape: str) -> str:
    """Returns what the batch job names of a shape begin with, so that they are known again even without a ledger."""
    return f"gp-{hashlib.sha256(f'{site}/{shape}'.encode()).hexdigest()[:5]}-"


def new_name(site: str, shape: str, taken: Ledger) -> str:
    """Returns a batch job name that was never used before: 14 characters of [a-z0-9-]."""
    while True:
        name = name_prefix(site, shape) + "".join(secrets.choice(_ALPHABET) for _ in range(5))
        if name not in taken.entries:
            return name
