"""demand/1: what the pool needs, the one document that all sites read. Signed; no owners, no Requirements."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Optional

from .document import Document
from .resources import Request, Resources, capacity, shortfalls


@dataclass(frozen=True)
class ScheddView:
    """How the census of one schedd went. `error` is set when its groups are missing or old."""

    name: str
    idle_jobs: int
    error: Optional[str] = None


@dataclass(frozen=True)
class Group:
    """Idle user jobs that ask for the same.

    `sites` says for how many of these idle user jobs each site should hold queued glideins: a level, not an increment.
    """

    id: str
    idle_jobs: int
    idle_since: datetime
    owner_count: int
    request: Request
    accounting_group: Optional[str] = None
    max_runtime_s: Optional[int] = None
    sites: dict[str, int] = field(default_factory=dict)

    def shortfalls(self, offer: Resources) -> tuple[str, ...]:
        """Returns why such a glidein cannot run these user jobs, one phrase for each reason; empty when it can."""
        return shortfalls(self.request, offer, max_runtime_s=self.max_runtime_s)

    def capacity(self, offer: Resources) -> int:
        """Returns how many of these user jobs one such glidein runs side by side."""
        return capacity(self.request, offer, max_runtime_s=self.max_runtime_s)


@dataclass(frozen=True)
class Unevaluated:
    """Idle user jobs whose needs could not be evaluated: counted here instead of dropped."""

    idle_jobs: int
    attribute: str
    problem: str


@dataclass(frozen=True)
class ShapeView:
    """What the collector sees of one shape of one site."""

    glideins: int
    cpus: int
    cpus_claimed: int
    gpus: int
    gpus_claimed: int


@dataclass(frozen=True)
class Tarball:
    """One build of HTCondor's execution side. `sha256` is what a glidein checks before it unpacks `url`."""

    os: str
    arch: str
    condor_version: str
    url: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class GlideinRelease:
    """The code that glideins run."""

    channel: str
    tarballs: tuple[Tarball, ...]
    site_channels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Demand(Document):
    """The demand of one pool at one time."""

    kind: ClassVar[str] = "demand/1"

    pool: str
    sequence: int
    generated_at: datetime
    expires_at: datetime
    collectors: tuple[str, ...]
    complete: bool
    schedds: tuple[ScheddView, ...]
    groups: tuple[Group, ...]
    glidein: GlideinRelease
    unevaluated: tuple[Unevaluated, ...] = ()
    unassigned_share: int = 0
    pool_view: dict[str, dict[str, ShapeView]] = field(default_factory=dict)

    @property
    def idle_jobs(self) -> int:
        """Idle user jobs in all groups, without those that could not be evaluated."""
        return sum(group.idle_jobs for group in self.groups)
