"""demand/1: what the pool needs, the one document that all sites read. Signed; no owners, no Requirements."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Optional

from .document import Document
from .resources import Request, Resources, capacity, shortfalls


@dataclass(frozen=True)
class ScheddView:
    """How the census of one schedd went.

    `error` is set when it could not be asked; its groups are then those of `asked_at`, or missing when that is null.
    """

    name: str
    idle_jobs: int
    error: Optional[str] = None
    asked_at: Optional[datetime] = None


@dataclass(frozen=True)
class Group:
    """Idle user jobs that ask for the same.

    `sites` says for how many of these idle user jobs each site should hold queued glideins: a level, not an increment.
    `shapes` names the shapes of a site that match; a site that is not in it goes by its resources alone.
    """

    id: str
    idle_jobs: int
    idle_since: datetime
    owner_count: int
    request: Request
    accounting_group: Optional[str] = None
    max_runtime_s: Optional[int] = None
    sites: dict[str, int] = field(default_factory=dict)
    shapes: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def shortfalls(self, offer: Resources, *, backfill: bool = False) -> tuple[str, ...]:
        """Returns why such a glidein cannot run these user jobs, one phrase for each reason; empty when it can."""
        return shortfalls(self.request, offer, max_runtime_s=self.max_runtime_s, backfill=backfill)

    def capacity(self, offer: Resources, *, backfill: bool = False) -> int:
        """Returns how many of these user jobs one such glidein runs side by side."""
        return capacity(self.request, offer, max_runtime_s=self.max_runtime_s, backfill=backfill)


@dataclass(frozen=True)
class Unevaluated:
    """Idle user jobs whose needs could not be evaluated: counted here instead of dropped."""

    idle_jobs: int
    attribute: str
    problem: str
    owner_count: int = 1


@dataclass(frozen=True)
class Other:
    """Groups for which the document has no room, the smallest: counted, with no share."""

    groups: int
    idle_jobs: int


@dataclass(frozen=True)
class Metrics:
    """What the daemons publish about the whole pool at one time, for the aggregator's history; null where they do not.

    `started_jobs` and `wait_s` grow over a schedd's life (JobsStarted, JobsAccumTimeToStart): their differences between
    two documents give the mean time before a start. `glidein_cpus` is per site, for the hours.
    """

    running_inside: Optional[int] = None
    running_outside: Optional[int] = None
    started_jobs: Optional[int] = None
    wait_s: Optional[int] = None
    glidein_cpus: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ShapeView:
    """What the collector sees of one shape of one site. The starts are of glideins that are still there."""

    glideins: int
    cpus: int
    cpus_claimed: int
    gpus: int
    gpus_claimed: int
    oldest_start: Optional[datetime] = None
    newest_start: Optional[datetime] = None


@dataclass(frozen=True)
class Tarball:
    """One build of HTCondor's execution side. `sha256` is what a glidein checks before it unpacks `url`.

    `glibc` is the least that a node must have, such as "2.34", null when nobody knows.
    """

    os: str
    arch: str
    condor_version: str
    url: str
    sha256: str
    size_bytes: int
    glibc: Optional[str] = None
    unpacked_bytes: Optional[int] = None


@dataclass(frozen=True)
class GlideinRelease:
    """The code that glideins run: the tarballs of `channel`, and those of other channels, which some sites take first.

    `channels` is by the name of such a channel, `site_channels` tells which sites take which. `checks` are the pool's
    shell scripts that each node must pass, by their names.
    """

    channel: str
    tarballs: tuple[Tarball, ...]
    site_channels: dict[str, str] = field(default_factory=dict)
    channels: dict[str, tuple[Tarball, ...]] = field(default_factory=dict)
    checks: dict[str, str] = field(default_factory=dict)

    @property
    def all_tarballs(self) -> tuple[Tarball, ...]:
        """Those of all channels, each once."""
        others = (tarball for tarballs in self.channels.values() for tarball in tarballs)
        return tuple(dict.fromkeys((*self.tarballs, *others)))

    def of_site(self, site: str) -> tuple[tuple[Tarball, ...], ...]:
        """Returns what glideins of a site may run.

        First the tarballs of its own channel, if it has one; then the common ones, for nodes that none of these is for.
        """
        own = self.channels.get(self.site_channels.get(site, ""), ())
        return (own, self.tarballs) if own else (self.tarballs,)


@dataclass(frozen=True)
class Rules:
    """Whom the pool lets run at one site: accounting groups, and with "@" owners' domains; empty `accept` is all."""

    accept: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


@dataclass(frozen=True)
class Demand(Document):
    """The demand of one pool at one time. `revoked` are sites that the pool has shut out."""

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
    other: Optional[Other] = None
    metrics: Optional[Metrics] = None
    rules: dict[str, Rules] = field(default_factory=dict)
    revoked: tuple[str, ...] = ()

    @property
    def idle_jobs(self) -> int:
        """Idle user jobs in all groups, without those that could not be evaluated."""
        return sum(group.idle_jobs for group in self.groups)
