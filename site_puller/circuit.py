"""The breaker of one shape: what it remembers, what it lets through, how long it pauses. Pure.

What makes it trip, and what closes it again, stands in verdict.py.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Optional

from glidepost.schema.document import Moment
from glidepost.schema.errors import BatchError, Refused
from glidepost.schema.heartbeat import BreakerView
from glidepost.schema.units import counted, format_duration

from .evidence import NOWHERE
from .gate import Gate
from .queue import LostAnswer

TRIP_AFTER: Final = 3
JITTER: Final = 0.2
LONGEST: Final = timedelta(hours=6)

STATE_LOST: Final = "state-lost"
REFUSED: Final = "refused"
SUBMIT_FAILED: Final = "submit-failed"

# What the batch system says of submissions; any other code is of glideins.
OF_SUBMISSIONS: Final = frozenset({REFUSED, SUBMIT_FAILED})
# The first and the longest pause, without jitter.
_PAUSES: Final = {
    REFUSED: (timedelta(minutes=30), LONGEST),
    SUBMIT_FAILED: (timedelta(minutes=10), timedelta(minutes=10)),
}
_OTHER_PAUSES: Final = (timedelta(minutes=10), LONGEST)
_WORDS: Final = 300


def pause(code: str, trips: int, key: str) -> timedelta:
    """Returns how long a trip pauses a shape, in whole seconds.

    Args:
        code: Why it tripped.
        trips: In a row, this one included: each pause is twice the one before.
        key: Of site and shape: the jitter of 20 % depends on it and on `trips` alone, so that sites that were paused
            together do not come back together, and that the same question has the same answer.
    """
    first, longest = _PAUSES.get(code, _OTHER_PAUSES)
    doubled = min(first * 2 ** min(max(trips - 1, 0), 10), longest)
    share = int.from_bytes(hashlib.sha256(f"{key}/{trips}".encode()).digest()[:4], "big") / 2**32
    return timedelta(seconds=int(doubled.total_seconds() * (1 + JITTER * (2 * share - 1))))


@dataclass(frozen=True)
class Canary:
    """The one glidein that tries.

    `was_taken`: the batch system has accepted or listed it. `is_in_pool`: the pool has seen a glidein of this shape
    that started after the trip. `absent` is the demand that should have known it and did not.
    """

    name: str
    was_taken: bool = False
    is_in_pool: bool = False
    started_at: Optional[Moment] = None
    gone_at: Optional[Moment] = None
    absent: Optional[int] = None


@dataclass(frozen=True)
class Streak:
    """Failures, by code, that no success has outweighed so far, and the hosts that they came from."""

    failures: dict[str, int] = field(default_factory=dict)
    successes: int = 0
    hosts: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Failed glideins."""
        return sum(self.failures.values())

    def __str__(self) -> str:
        """Returns "3 of 4 glideins failed: never-joined 2, no-scratch 1 (on n1, n2)"."""
        codes = ", ".join(f"{code} {count}" for code, count in self._ranked()[:3])
        known = [host for host in self.hosts if host != NOWHERE]
        where = f" (on {', '.join(known)})" if known else ""
        return f"{self.count} of {counted(self.count + self.successes, 'glidein')} failed: {codes}{where}"

    @property
    def code(self) -> str:
        """What most of them failed with."""
        return self._ranked()[0][0]

    def _ranked(self) -> list[tuple[str, int]]:
        return sorted(self.failures.items(), key=lambda item: (-item[1], item[0]))


@dataclass(frozen=True)
class Circuit:
    """The breaker of one shape. It is closed while there is no `since`.

    `trips` counts the pauses in a row, `errors` the submissions in a row that failed for no reason that we know.
    `absent` is the demand in which the pool saw none that it should. `in_pool`, `newest_start` and `sequence` are of
    the last demand, `good_hosts` of the last successes.
    """

    trips: int = 0
    code: str = ""
    detail: str = ""
    since: Optional[Moment] = None
    until: Optional[Moment] = None
    canary: Optional[Canary] = None
    streak: Streak = Streak()
    errors: int = 0
    absent: Optional[int] = None
    in_pool: Optional[int] = None
    newest_start: Optional[Moment] = None
    sequence: Optional[int] = None
    good_hosts: tuple[str, ...] = ()

    def is_paused(self, now: datetime) -> bool:
        """Returns whether it is too early for a canary."""
        return self.since is not None and self.until is not None and now < self.until

    def gate(self, now: datetime) -> Optional[Gate]:
        """Returns what it lets through, None when that is everything."""
        if self.since is None:
            return None
        if self.until is not None and now < self.until:
            code = self.code if self.code in OF_SUBMISSIONS else "paused"
            wait = format_duration(int((self.until - now).total_seconds()))
            return Gate(code, f"{self._why}; one glidein tries again in {wait}", most=0)
        if self.canary:
            return Gate("canary-out", f"{self.canary.name} tries whether all is well again after {self._why}", most=0)
        return Gate("canary", f"one glidein tries whether all is well again after {self._why}", most=1)

    def view(self, now: datetime) -> Optional[BreakerView]:
        """Returns what the heartbeat says of it, None when it is closed."""
        if self.since is None:
            return None
        is_paused = self.is_paused(now)
        return BreakerView(
            state="paused" if is_paused else "canary",
            code=self.code,
            detail=self.detail[:_WORDS],
            trips=min(max(self.trips, 0), 1_000_000),
            since=self.since,
            until=self.until if is_paused else None,
        )

    def closed(self) -> Circuit:
        """Returns it closed; it still knows what the pool saw last."""
        return Circuit(
            in_pool=self.in_pool,
            newest_start=self.newest_start,
            sequence=self.sequence,
            good_hosts=self.good_hosts,
        )

    def submitted(self, name: str) -> Circuit:
        """Returns it when a submission is about to be made: the canary, if it is open.

        Raises:
            ValueError: when it lets nothing through because a canary is out: the caller has a bug, and must not submit.
        """
        if self.since is None:
            return self
        if self.canary:
            raise ValueError(f"{self.canary.name} is out, and {name} would be a second canary")
        return replace(self, canary=Canary(name))

    def accepted(self) -> Circuit:
        """Returns it when the batch system has taken a submission."""
        if self.code in OF_SUBMISSIONS:
            return self.closed()
        canary = replace(self.canary, was_taken=True) if self.canary else None
        return replace(self, errors=0, canary=canary)

    def refused(self, error: BatchError, now: datetime, key: str) -> Circuit:
        """Returns it when a submission failed."""
        # One whose answer was lost may be in the queue.
        canary = self.canary if isinstance(error, LostAnswer) else None
        if isinstance(error, Refused) and error.is_limit:
            return replace(self, canary=None, errors=0)
        if isinstance(error, Refused):
            return self._unaccepted(REFUSED, error.what, now, key)
        if self.errors + 1 < TRIP_AFTER or canary:
            return replace(self, canary=canary, errors=self.errors + 1)
        return self._unaccepted(SUBMIT_FAILED, f"{TRIP_AFTER} submissions failed: {error.what}", now, key)

    def clocked(self, now: datetime) -> Circuit:
        """Returns it with times that a clock which was wrong cannot have put out of reach."""
        if self.since is None:
            return self
        longest = int(LONGEST.total_seconds() * (1 + JITTER))
        until = None if self.until is None else min(self.until, now + timedelta(seconds=longest))
        return replace(self, since=min(self.since, now), until=until)

    def tripped(self, code: str, detail: str, now: datetime, key: str) -> Circuit:
        """Returns it open, for longer than the last time; see `pause` for `key`."""
        trips = self.trips + 1
        return replace(
            self.closed(),
            trips=trips,
            code=code,
            detail=detail[:_WORDS],
            since=now,
            until=now + pause(code, trips, key),
        )

    @property
    def _why(self) -> str:
        return f"{self.code} ({self.detail})" if self.detail else self.code

    def _unaccepted(self, code: str, what: str, now: datetime, key: str) -> Circuit:
        """Returns it tripped by the batch system; what was wrong with glideins, if that had tripped it, stays."""
        if self.since is None or self.code in OF_SUBMISSIONS:
            return (self if self.code == code else self.closed()).tripped(code, what, now, key)
        return self.tripped(self.code, f"{self.detail[: _WORDS // 2]}; its canary was not accepted: {what}", now, key)
