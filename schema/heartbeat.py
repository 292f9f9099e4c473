"""heartbeat/1: what a site reports after a cycle. The form it comes through proves its origin."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Optional, Union

from .document import Document
from .resources import Bounds, Resources


@dataclass(frozen=True)
class Limits:
    """Bounds of a shape, in glideins. `max_queued` bounds idle and held ones, `max_total` adds the running ones."""

    max_total: int
    max_queued: int
    max_running: int
    max_per_cycle: int


@dataclass(frozen=True)
class Counts:
    """Own batch jobs in the queue. `unknown` ones are in a state without a translation, and occupy a place."""

    idle: int = 0
    running: int = 0
    held: int = 0
    unknown: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.idle + self.running + self.held + self.unknown


@dataclass(frozen=True)
class BreakerView:
    """Why a shape is paused. `state` is "paused", or "canary" while one glidein tries whether all is well again.

    `code` is an outcome, or a reason such as "not-in-pool" or "refused"; `trips` counts the pauses in a row.
    """

    state: str
    code: str
    detail: str
    trips: int
    since: datetime
    until: Optional[datetime] = None


@dataclass(frozen=True)
class ShapeReport:
    """One shape after a cycle. `counts` is null when the batch system could not be asked: unknown is not zero.

    `offers` is what user jobs find in one of its glideins; its walltime is that in which they may start. `missing`
    glideins were listed and are not any more, and nobody knows yet why. `oldest_queued_s` is how long the oldest queued
    one has waited. `advertises` has what its glideins advertise beside their resources, by the names in advertised.py,
    literals only. `accept` and `deny` are accounting groups; an empty `accept` accepts all. A `paused` shape wants no
    share: its breaker is open, or somebody drains it.
    """

    name: str
    backend: str
    offers: Resources
    limits: Limits
    counts: Optional[Counts]
    submitted: int
    removed: int
    reason: str
    detail: str
    advertises: dict[str, Union[bool, int, str]] = field(default_factory=dict)
    accept: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    paused: bool = False
    missing: int = 0
    oldest_queued_s: Optional[int] = None
    breaker: Optional[BreakerView] = None
    jobs: Bounds = Bounds()

    @property
    def gpu_backfill(self) -> bool:
        """Whether user jobs that ask for no GPU may use cores of its glideins with GPUs."""
        return self.advertises.get("GLIDEPOST_Backfill") is True


@dataclass(frozen=True)
class Heartbeat(Document):
    """A site at one time.

    `max_total` bounds its glideins over all shapes; null is no bound. `outcomes` counts how glideins ended since the
    heartbeat before. `token_expires_at` is when the pool token that it holds ends; null when it has none, or one
    without an end.
    """

    kind: ClassVar[str] = "heartbeat/1"

    site: str
    instance_id: str
    version: str
    sequence: int
    sent_at: datetime
    shapes: tuple[ShapeReport, ...]
    demand_sequence: Optional[int] = None
    demand_age_s: Optional[int] = None
    clock_skew_s: Optional[int] = None
    errors: tuple[str, ...] = ()
    outcomes: dict[str, int] = field(default_factory=dict)
    max_total: Optional[int] = None
    token_expires_at: Optional[datetime] = None
