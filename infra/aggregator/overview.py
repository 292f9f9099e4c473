"""The pool's page as values: everything that the template shows, in its order. Pure, and free of HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Optional

from glidepost.schema.status import SiteStatus, Status

from .charts import spark
from .figures import Span, Window
from .group_view import GroupRow, group_row, left_out, more_groups, sorted_groups
from .health import Health, health
from .history import History
from .site_view import Busy, Count, busy
from .verdict import PRESENT, Glideins, Notice, Verdict, notices, verdict
from .words import Moment, moment, number, plural, span

# A page for people: what goes beyond is counted, and stands in status.json.
MAX_NOTICES: Final = 6
MAX_WAITING: Final = 5
MAX_SITES: Final = 300
# The small lines of the table of sites: a day, by the hour.
SPARK: Final = Span("spark", "24 hours", ("5min",), 3600, 24, "an hour")


@dataclass(frozen=True)
class Number:
    """A large number with its name and one line of context."""

    name: str
    value: str
    note: str
    level: str = ""


@dataclass(frozen=True)
class SiteRow:
    """A site in one line: its glideins over all shapes, what the pool sees of them, and what it says itself."""

    name: str
    health: Health
    is_old: bool
    heard: Optional[Moment]
    counts: tuple[Count, ...]
    busy: tuple[Busy, ...]
    more_errors: int
    running: str


@dataclass(frozen=True)
class Overview:
    """The pool's page."""

    pool: str
    verdict: Verdict
    numbers: tuple[Number, ...]
    notices: tuple[Notice, ...]
    more_notices: int
    has_demand: bool
    groups: tuple[GroupRow, ...]
    more_groups: str
    left_out: str
    sites: tuple[SiteRow, ...]
    more_sites: int


def overview(status: Status, histories: Mapping[str, History]) -> Overview:
    """Returns the pool's page: groups that nobody can run first, then the largest; ill sites first."""
    found = notices(status)
    groups = sorted_groups(status)
    sites = sorted_sites(status)
    window = Window.of(histories, SPARK, status.generated_at)
    return Overview(
        pool=status.pool,
        verdict=verdict(status),
        numbers=tuple(_numbers(status)),
        notices=tuple(found[:MAX_NOTICES]),
        more_notices=len(found[MAX_NOTICES:]),
        has_demand=status.demand is not None,
        groups=tuple(group_row(group, status) for group in groups[:MAX_WAITING]),
        more_groups=more_groups(groups[MAX_WAITING:]),
        left_out=left_out(status.demand.other if status.demand else None),
        sites=tuple(_site_row(site, status, window) for site in sites[:MAX_SITES]),
        more_sites=len(sites[MAX_SITES:]),
    )


def sorted_sites(status: Status) -> list[SiteStatus]:
    """Returns ill sites first, then by name."""
    return sorted(status.sites, key=lambda site: (health(site).order, site.site))


def _numbers(status: Status) -> Iterator[Number]:
    glideins = Glideins.of(status)
    present = sum(site.state in PRESENT for site in status.sites)
    taking_part = sum(site.state != "revoked" for site in status.sites)
    old = len([site for site in status.sites if site.state not in PRESENT and site.shapes])
    uncounted = f"without {plural(old, 'site')} not heard of" if old else "in the sites' batch systems"
    held = f"and {number(glideins.held)} held" if glideins.held else uncounted
    views = [shape for site in status.sites for shape in site.pool_view.values()]
    cpus, claimed = sum(shape.cpus for shape in views), sum(shape.cpus_claimed for shape in views)
    yield _idle_number(status)
    yield Number("Glideins queued", number(glideins.queued), held)
    yield Number("Glideins running", number(glideins.running), uncounted)
    yield Number("Cpus busy", f"{number(claimed)} of {number(cpus)}", _running(status))
    yield Number("Sites reporting", f"{number(present)} of {number(taking_part)}", "in the last hour")


def _running(status: Status) -> str:
    """Returns where user jobs run: in glideins, and beside them (figure 4 of the pyglidein paper, at one time)."""
    metrics = status.demand.metrics if status.demand else None
    if metrics is None or metrics.running_inside is None:
        return "seen by the pool's collector"
    inside = f"{plural(metrics.running_inside, 'user job')} in glideins"
    return inside if metrics.running_outside is None else f"{inside}, {number(metrics.running_outside)} elsewhere"


def _idle_number(status: Status) -> Number:
    demand = status.demand
    if demand is None:
        return Number("Idle user jobs", "?", "no demand to count them", "none")
    age = span(max(0, int((status.generated_at - demand.generated_at).total_seconds())))
    left = int((demand.expires_at - status.generated_at).total_seconds())
    if left <= 0:
        note = f"demand {demand.sequence} is {age} old: expired"
        return Number("Idle user jobs", number(demand.idle_jobs), note, "bad")
    note = f"demand {demand.sequence}: {age} old, good for {span(left)}"
    return Number("Idle user jobs", number(demand.idle_jobs), note)


def _site_row(site: SiteStatus, status: Status, window: Window) -> SiteRow:
    return SiteRow(
        name=site.site,
        health=health(site),
        is_old=site.state not in PRESENT,
        heard=None if site.heartbeat_at is None else moment(site.heartbeat_at, status.generated_at),
        counts=_counts(site),
        busy=tuple(busy(list(site.pool_view.values()))),
        more_errors=max(0, len(site.errors) - 1),
        running=spark(window.site(site.site, "running")),
    )


def _counts(site: SiteStatus) -> tuple[Count, ...]:
    """Returns the sums over all shapes; "?" as soon as one of them could not be asked for."""
    if not site.shapes:
        return (Count("Queued", ""), Count("Running", ""), Count("Held", ""))
    known = [shape.counts for shape in site.shapes if shape.counts is not None]
    if len(known) < len(site.shapes):
        return (Count("Queued", "?"), Count("Running", "?"), Count("Held", "?"))
    held = sum(counts.held for counts in known)
    return (
        Count("Queued", number(sum(counts.idle for counts in known))),
        Count("Running", number(sum(counts.running for counts in known))),
        Count("Held", number(held), "", "warn" if held else ""),
    )
