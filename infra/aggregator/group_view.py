"""Groups of idle user jobs as the pages show them: who serves them, which glideins match, and why the others do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Optional

from glidepost.schema.demand import Other
from glidepost.schema.status import GroupStatus, Status

from .verdict import PRESENT
from .words import Moment, asks, moment, number, plural, some

MAX_REASONS: Final = 4
MAX_REASON_SHAPES: Final = 3
MAX_SHARES: Final = 8
MAX_MATCHING: Final = 8


@dataclass(frozen=True)
class GroupRow:
    """A group: what it asks for and who serves it, or why nobody does.

    `shares` is (site, user jobs); `matching` are shapes whose glideins can run it, as "site/shape", `more_matching` how
    many others can; `reasons` is (why, the shapes that cannot for that reason). `is_stuck` says that none can.
    """

    id: str
    idle: str
    asks: str
    accounting_group: str
    since: Moment
    is_stuck: bool
    served: str
    shares: tuple[tuple[str, str], ...]
    more_shares: int
    matching: tuple[str, ...]
    more_matching: int
    reasons: tuple[tuple[str, str], ...]
    more_reasons: int


def sorted_groups(status: Status) -> list[GroupStatus]:
    """Returns the groups that nobody can run first, then the largest."""
    return sorted(status.groups, key=lambda group: (group.matching_shapes > 0, -group.idle_jobs, group.id))


def group_row(group: GroupStatus, status: Status) -> GroupRow:
    """Returns a group's row of the page."""
    given = [(site, share) for site, share in group.sites.items() if share]
    shares = sorted(given, key=lambda item: (-item[1], item[0]))
    reasons = _reasons(group)
    matching = _matching(group, status)[:MAX_MATCHING]
    return GroupRow(
        id=group.id,
        idle=number(group.idle_jobs),
        asks=asks(group.request),
        accounting_group=group.accounting_group or "",
        since=moment(group.idle_since, status.generated_at),
        is_stuck=not group.matching_shapes,
        served=_served(group, shares),
        shares=tuple((site, number(share)) for site, share in shares[:MAX_SHARES]),
        more_shares=len(shares[MAX_SHARES:]),
        matching=tuple(matching),
        more_matching=max(0, group.matching_shapes - len(matching)),
        reasons=tuple(reasons[:MAX_REASONS]),
        more_reasons=len(reasons[MAX_REASONS:]),
    )


def more_groups(hidden: list[GroupStatus]) -> str:
    """Returns "3 more groups with 12 idle user jobs", "" for none."""
    if not hidden:
        return ""
    jobs = sum(group.idle_jobs for group in hidden)
    return f"{plural(len(hidden), 'more group')} with {plural(jobs, 'idle user job')}"


def left_out(other: Optional[Other]) -> str:
    """Returns what the demand document has no room for, "" for nothing."""
    if other is None or not other.groups:
        return ""
    groups = plural(other.groups, "smaller group")
    jobs = plural(other.idle_jobs, "idle user job")
    return f"{groups} with {jobs}: no room in the demand document, so that no site holds glideins for them"


def _served(group: GroupStatus, shares: list[tuple[str, int]]) -> str:
    if not group.matching_shapes:
        return "No site can run this now" if group.blocked else "No site offers anything yet"
    return "" if shares else "assigned to no site yet"


def _matching(group: GroupStatus, status: Status) -> list[str]:
    """Returns the shapes that can run the group, as far as that is known: a long list of those that cannot is cut."""
    offered = [f"{site.site}/{shape.name}" for site in status.sites if site.state in PRESENT for shape in site.shapes]
    matching = [name for name in offered if name not in group.blocked]
    return matching if len(matching) == group.matching_shapes else []


def _reasons(group: GroupStatus) -> list[tuple[str, str]]:
    """Returns each different reason once, the commonest first: many sites offer alike glideins."""
    shapes: dict[str, list[str]] = {}
    for shape, why in group.blocked.items():
        shapes.setdefault(why, []).append(shape)
    return [
        (why, some(names, MAX_REASON_SHAPES)) for why, names in sorted(shapes.items(), key=lambda item: -len(item[1]))
    ]
