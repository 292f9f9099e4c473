"""What one cycle learnt of one shape's glideins, as its breaker looks at it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, Optional

from glidepost.backends.base import JobState
from glidepost.schema.demand import Demand

from .holding import ripe
from .ledger import Ledger
from .outcomes import Ended

# A glidein that has run for so long is in the pool, or will never be.
JOIN_GRACE: Final = timedelta(minutes=10)
# One that still runs so long after its idle shutdown was due has been claimed, so the pool has it.
CLAIMED_GRACE: Final = timedelta(minutes=30)

# Outcomes (docs/reference/reasons.md) that speak for and against a shape; all others do neither: a glidein that was
# pre-empted, and words that this version does not know.
SUCCESSES: Final = frozenset({"idle-shutdown", "never-claimed", "deadline"})
_FAILURES: Final = frozenset(
    {"never-joined", "startd-failed", "tarball-untrusted", "tarball-unavailable", "token-unreadable", "no-scratch"}
    | {"no-gpu", "bad-request", "check-failed", "setup-failed"}
)
NOWHERE: Final = "?"  # the host of a record that names none


def is_failure(outcome: str) -> bool:
    """Returns whether an outcome speaks against the shape; "check-failed:cvmfs" does as "check-failed"."""
    return outcome.partition(":")[0] in _FAILURES


class Place(Enum):
    """Where the canary is, as far as this cycle could see."""

    UNKNOWN = "unknown"  # the batch system could not be asked
    UNSEEN = "unseen"  # submitted, and not listed yet
    QUEUED = "queued"  # listed; held, or in a strange state, too
    RUNNING = "running"
    GONE = "gone"  # the batch system does not list it, and the ledger does not wait for it
    REMOVED = "removed"  # gone, and it was we who removed it


@dataclass(frozen=True)
class Sighting:
    """The canary in one cycle.

    `started_at` is when it was first seen running. `outcome` is that of its record. `is_ripe`: the pool must see it by
    now. `has_outlived`: had nobody claimed it, it would have left by itself.
    """

    place: Place = Place.UNKNOWN
    started_at: Optional[datetime] = None
    outcome: Optional[str] = None
    is_ripe: bool = False
    has_outlived: bool = False


@dataclass(frozen=True)
class Evidence:
    """What one cycle learnt of one shape.

    `ended` counts the new records by outcome; `bad_hosts` and `good_hosts` are where failures and successes among them
    ran. `short` glideins were gone minutes after their start without a record. `in_pool` glideins the pool sees, None
    when it was not asked or the demand is unknown; `newest_start` is that of the youngest of them, and `sequence` the
    number of the demand that says so. `ripe` ones have run for so long that the pool must see them.
    """

    ended: Mapping[str, int] = field(default_factory=dict)
    bad_hosts: frozenset[str] = frozenset()
    good_hosts: frozenset[str] = frozenset()
    short: int = 0
    in_pool: Optional[int] = None
    newest_start: Optional[datetime] = None
    sequence: Optional[int] = None
    ripe: int = 0
    canary: Sighting = Sighting()

    @property
    def failures(self) -> dict[str, int]:
        """Failed glideins by code, those that were over too soon among them."""
        found = {code: count for code, count in self.ended.items() if is_failure(code)}
        return {**found, "short-lived": self.short} if self.short else found

    @property
    def successes(self) -> int:
        """Glideins that ended as they should."""
        return sum(count for code, count in self.ended.items() if code in SUCCESSES)


@dataclass(frozen=True)
class View:
    """What a cycle knows of all shapes. `before` is the ledger as it was read, `ledger` after the queue's answer.

    `records` are new to the breakers. `demand` is verified, or None. `idle_shutdown_s` is that of the configuration.
    """

    site: str
    before: Ledger
    ledger: Ledger
    records: Sequence[Ended]
    demand: Optional[Demand]
    idle_shutdown_s: int
    now: datetime


def evidence_of(view: View, shape: str, canary: Optional[str], *, short: int, is_counted: bool) -> Evidence:
    """Returns what a cycle learnt of one shape.

    Args:
        view: What the cycle knows.
        shape: Its name.
        canary: The batch job name of its canary, if one is out.
        short: Glideins that were gone minutes after their start without a record.
        is_counted: Whether the batch system gave a complete answer.
    """
    records = [record for record in view.records if record.shape == shape]
    demand = view.demand
    seen = demand.pool_view.get(view.site, {}).get(shape) if demand else None
    return Evidence(
        ended=Counter(record.outcome for record in records),
        bad_hosts=frozenset(record.host or NOWHERE for record in records if is_failure(record.outcome)),
        good_hosts=frozenset(record.host for record in records if record.host and record.outcome in SUCCESSES),
        short=short,
        in_pool=(seen.glideins if seen else 0) if demand else None,
        newest_start=seen.newest_start if seen else None,
        sequence=demand.sequence if demand else None,
        ripe=ripe(view.ledger, shape, demand.generated_at, JOIN_GRACE) if demand else 0,
        canary=_sighted(view, canary, records, is_counted=is_counted) if canary else Sighting(),
    )


def _sighted(view: View, name: str, records: Sequence[Ended], *, is_counted: bool) -> Sighting:
    """Returns what a cycle saw of a canary: the ledger knows it by its name, and so does its record."""
    outcome = next((record.outcome for record in records if record.name == name), None)
    if not is_counted:
        return Sighting(Place.UNKNOWN, outcome=outcome)
    entry = view.ledger.entries.get(name)
    if entry is None:
        asked = view.before.entries.get(name)
        is_ours = asked is not None and any(member.removed for member in asked.members.values())
        return Sighting(Place.REMOVED if is_ours else Place.GONE, outcome=outcome)
    member = next(iter(entry.members.values()), None)
    if member is None:
        return Sighting(Place.UNSEEN, outcome=outcome)
    if member.missing or member.state is not JobState.RUNNING or member.started_at is None:
        return Sighting(Place.GONE if member.missing else Place.QUEUED, member.started_at, outcome)
    return Sighting(
        Place.RUNNING,
        member.started_at,
        outcome,
        is_ripe=view.demand is not None and member.started_at <= view.demand.generated_at - JOIN_GRACE,
        has_outlived=view.now - member.started_at >= timedelta(seconds=view.idle_shutdown_s) + CLAIMED_GRACE,
    )
