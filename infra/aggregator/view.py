"""The page as values: everything that the template shows, in the order in which it shows it. Pure, and free of HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Optional

from glidepost.schema.demand import Other
from glidepost.schema.status import GroupStatus, Status

from .site_view import SiteBlock, site_block
from .verdict import PRESENT, Glideins, Notice, Verdict, notices, verdict
from .words import SITE_STATES, Moment, asks, moment, number, plural, some, span

# A page for people: what goes beyond is counted, and stands in status.json.
MAX_NOTICES: Final = 6
MAX_GROUPS: Final = 100
MAX_SITES: Final = 300
MAX_REASONS: Final = 4
MAX_REASON_SHAPES: Final = 3
MAX_SHARES: Final = 8

_LEVELS: Final = {"bad": 0, "warn": 1, "none": 2, "ok": 3}


@dataclass(frozen=True)
class Figure:
    """A large number with its name and one line of context."""

    name: str
    value: str
    note: str
    level: str = ""


@dataclass(frozen=True)
class GroupRow:
    """A group: what it asks for and who serves it, or why nobody does.

    `shares` is (site, user jobs); `reasons` is (why, the shapes that cannot run it for that reason).
    """

    id: str
    idle: str
    asks: str
    accounting_group: str
    since: Moment
    shares: tuple[tuple[str, str], ...]
    more_shares: int
    stuck: str
    reasons: tuple[tuple[str, str], ...]
    more_reasons: int


@dataclass(frozen=True)
class View:
    """The whole page. `anchors` are the rows that it has, so that no link leads to one that was cut off."""

    pool: str
    made: Moment
    verdict: Verdict
    figures: tuple[Figure, ...]
    notices: tuple[Notice, ...]
    more_notices: int
    has_demand: bool
    groups: tuple[GroupRow, ...]
    more_groups: str
    left_out: str
    sites: tuple[SiteBlock, ...]
    more_sites: int
    anchors: frozenset[str]


def view(status: Status) -> View:
    """Returns the page of a status: groups that nobody can run first, then the largest; ill sites first."""
    found = notices(status)
    groups = sorted(status.groups, key=lambda group: (group.matching_shapes > 0, -group.idle_jobs, group.id))
    sites = sorted(status.sites, key=lambda site: (_LEVELS[SITE_STATES[site.state][0]], site.site))
    shown_groups, shown_sites = groups[:MAX_GROUPS], sites[:MAX_SITES]
    return View(
        pool=status.pool,
        made=moment(status.generated_at, status.generated_at),
        verdict=verdict(status),
        figures=_figures(status),
        notices=tuple(found[:MAX_NOTICES]),
        more_notices=len(found[MAX_NOTICES:]),
        has_demand=status.demand is not None,
        groups=tuple(_group_row(group, status) for group in shown_groups),
        more_groups=_more_groups(groups[MAX_GROUPS:]),
        left_out=_left_out(status.demand.other if status.demand else None),
        sites=tuple(site_block(site, status) for site in shown_sites),
        more_sites=len(sites[MAX_SITES:]),
        anchors=frozenset(
            [*(f"group-{group.id}" for group in shown_groups), *(f"site-{site.site}" for site in shown_sites)]
        ),
    )


def _more_groups(hidden: list[GroupStatus]) -> str:
    if not hidden:
        return ""
    jobs = sum(group.idle_jobs for group in hidden)
    return f"{plural(len(hidden), 'more group')} with {plural(jobs, 'idle user job')}"


def _left_out(other: Optional[Other]) -> str:
    if other is None or not other.groups:
        return ""
    groups = plural(other.groups, "smaller group")
    jobs = plural(other.idle_jobs, "idle user job")
    return f"{groups} with {jobs}: no room in the demand document, so that no site holds glideins for them"


def _figures(status: Status) -> tuple[Figure, ...]:
    glideins = Glideins.of(status)
    present = sum(site.state in PRESENT for site in status.sites)
    taking_part = sum(site.state != "revoked" for site in status.sites)
    old = len([site for site in status.sites if site.state not in PRESENT and site.shapes])
    uncounted = f"without {plural(old, 'site')} not heard of" if old else "in the sites' batch systems"
    held = f"and {number(glideins.held)} held" if glideins.held else uncounted
    views = [shape for site in status.sites for shape in site.pool_view.values()]
    cpus, claimed = sum(shape.cpus for shape in views), sum(shape.cpus_claimed for shape in views)
    return (
        _idle_figure(status),
        Figure("Glideins queued", number(glideins.queued), held),
        Figure("Glideins running", number(glideins.running), uncounted),
        Figure("Cpus busy", f"{number(claimed)} of {number(cpus)}", _running(status)),
        Figure("Sites reporting", f"{number(present)} of {number(taking_part)}", "in the last hour"),
    )


def _running(status: Status) -> str:
    """Returns where user jobs run: in glideins, and beside them (figure 4 of the pyglidein paper, at one time)."""
    metrics = status.demand.metrics if status.demand else None
    if metrics is None or metrics.running_inside is None:
        return "seen by the pool's collector"
    inside = f"{plural(metrics.running_inside, 'user job')} in glideins"
    return inside if metrics.running_outside is None else f"{inside}, {number(metrics.running_outside)} elsewhere"


def _idle_figure(status: Status) -> Figure:
    demand = status.demand
    if demand is None:
        return Figure("Idle user jobs", "?", "no demand to count them", "none")
    age = span(max(0, int((status.generated_at - demand.generated_at).total_seconds())))
    left = int((demand.expires_at - status.generated_at).total_seconds())
    if left <= 0:
        note = f"demand {demand.sequence} is {age} old: expired"
        return Figure("Idle user jobs", number(demand.idle_jobs), note, "bad")
    note = f"demand {demand.sequence}: {age} old, good for {span(left)}"
    return Figure("Idle user jobs", number(demand.idle_jobs), note)


def _group_row(group: GroupStatus, status: Status) -> GroupRow:
    given = [(site, share) for site, share in group.sites.items() if share]
    shares = sorted(given, key=lambda item: (-item[1], item[0]))
    is_stuck = not group.matching_shapes
    reasons = _reasons(group) if is_stuck else []
    return GroupRow(
        id=group.id,
        idle=number(group.idle_jobs),
        asks=asks(group.request),
        accounting_group=group.accounting_group or "",
        since=moment(group.idle_since, status.generated_at),
        shares=tuple((site, number(share)) for site, share in shares[:MAX_SHARES]),
        more_shares=len(shares[MAX_SHARES:]),
        stuck=_stuck(group) if is_stuck else "",
        reasons=tuple(reasons[:MAX_REASONS]),
        more_reasons=len(reasons[MAX_REASONS:]),
    )


def _reasons(group: GroupStatus) -> list[tuple[str, str]]:
    """Returns each different reason once, the commonest first: many sites offer alike glideins."""
    shapes: dict[str, list[str]] = {}
    for shape, why in group.blocked.items():
        shapes.setdefault(why, []).append(shape)
    return [
        (why, some(names, MAX_REASON_SHAPES)) for why, names in sorted(shapes.items(), key=lambda item: -len(item[1]))
    ]


def _stuck(group: GroupStatus) -> str:
    return "No site can run this now" if group.blocked else "No site offers anything yet"
