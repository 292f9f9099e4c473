"""status/1: what the aggregator makes of the demand and all heartbeats; the page is drawn from nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Optional

from .demand import Metrics, Other, Rules, ScheddView, ShapeView
from .document import Document
from .heartbeat import ShapeReport
from .resources import Request


@dataclass(frozen=True)
class GroupStatus:
    """A group of the demand.

    `blocked` says per "site/shape" why its glideins cannot run it now, for a bounded number of shapes;
    `matching_shapes` counts all shapes, of sites that still report, whose glideins can.
    """

    id: str
    idle_jobs: int
    idle_since: datetime
    request: Request
    accounting_group: Optional[str]
    sites: dict[str, int]
    blocked: dict[str, str]
    matching_shapes: int


@dataclass(frozen=True)
class SiteStatus:
    """A site: its last word, how old it is, and what the collector sees of it.

    `state` is "ok", "late" or "silent" by the heartbeat's age, "never" before the first, "unreadable" when it breaks
    its schema or claims a time to come, "revoked" when the pool has shut it out: what it says is not read then. `rules`
    are the pool's for it, if any. `clock_skew_s` is the store's clock minus the site's, `demand_age_s` how old the
    demand was when it acted on it, `token_expires_at` when its pool token ends, `errors_since` since when it was seen
    with errors; null where nobody said.
    """

    site: str
    state: str
    heartbeat_at: Optional[datetime]
    version: Optional[str]
    shapes: tuple[ShapeReport, ...]
    pool_view: dict[str, ShapeView]
    errors: tuple[str, ...]
    outcomes: dict[str, int]
    demand_sequence: Optional[int]
    rules: Optional[Rules] = None
    clock_skew_s: Optional[int] = None
    demand_age_s: Optional[int] = None
    token_expires_at: Optional[datetime] = None
    errors_since: Optional[datetime] = None


@dataclass(frozen=True)
class DemandStatus:
    """The demand document as the aggregator saw it."""

    sequence: int
    generated_at: datetime
    expires_at: datetime
    complete: bool
    idle_jobs: int
    schedds: tuple[ScheddView, ...]
    other: Optional[Other] = None
    metrics: Optional[Metrics] = None


@dataclass(frozen=True)
class Status(Document):
    """The whole pool at one time. `demand` is null while none was published."""

    kind: ClassVar[str] = "status/1"

    pool: str
    generated_at: datetime
    demand: Optional[DemandStatus]
    groups: tuple[GroupStatus, ...] = ()
    sites: tuple[SiteStatus, ...] = ()
    errors: tuple[str, ...] = field(default=())
