"""What one cycle should do: pure. Demand, own batch jobs and limits in; one line for each shape out.

A shape that asks for more glideins than it may have is cut by the first of these that is exceeded, in this order, and
the one that cut last gives the reason: max-queued, max-running, max-total, site-max-total, max-per-cycle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Optional

from glidepost.schema.demand import Demand, Group
from glidepost.schema.heartbeat import Counts
from glidepost.schema.puller_config import Shape
from glidepost.schema.units import counted


@dataclass(frozen=True)
class Holding:
    """The glideins of one shape.

    `counts` is what the batch system says, None when it could not be asked. `unreported` were submitted and have not
    shown in its answers yet. `fresh` are those of the running ones that started too late for the demand to know what
    they took.
    """

    counts: Optional[Counts]
    unreported: int = 0
    fresh: int = 0

    @property
    def queued(self) -> int:
        """Glideins that will still take user jobs of this demand: everything but those that it already knows."""
        counts = self.counts or Counts()
        return counts.idle + counts.held + counts.unknown + self.unreported + self.fresh

    @property
    def total(self) -> int:
        """All of them."""
        return (self.counts or Counts()).total + self.unreported


@dataclass(frozen=True)
class ShapePlan:
    """What to do about one shape. `reason` is one code (docs/reference/reasons.md), `detail` says it in words."""

    name: str
    holding: Holding
    wanted: int
    submit: int
    reason: str
    detail: str


def plan(
    demand: Optional[Demand],
    site: str,
    shapes: Sequence[Shape],
    holdings: Mapping[str, Holding],
    *,
    max_total: Optional[int] = None,
) -> tuple[ShapePlan, ...]:
    """Returns one line for each shape, in the site's order of preference.

    Args:
        demand: Verified and fresh, or None: then nothing is submitted.
        site: Our enrolled name.
        shapes: Ours, the preferred first; a group served by one is not served again by the next.
        holdings: Per shape's name.
        max_total: Glideins over all shapes.
    """
    waiting = _assigned(demand, site) if demand else []
    room = math.inf if max_total is None else max_total - sum(_occupied(item, holdings[item.name]) for item in shapes)
    lines = []
    for shape in shapes:
        holding = holdings[shape.name]
        line = _plan_shape(demand, waiting, shape, holding, room)
        _serve(waiting, shape, holding.queued + line.submit)
        room -= line.submit
        lines.append(line)
    return tuple(lines)


def _occupied(shape: Shape, holding: Holding) -> int:
    """Returns the glideins there may be: of a batch system that could not be asked, as many as its limit allows."""
    return holding.total if holding.counts else max(holding.total, shape.limits.max_total)


@dataclass
class _Waiting:
    """What this site should still hold glideins for of one group, less what the shapes before took."""

    group: Group
    site: str
    jobs: int

    def capacity(self, shape: Shape) -> int:
        """Returns how many user jobs of the group one glidein of a shape runs side by side."""
        return self.group.capacity(shape.resources) if _is_named(self.group, self.site, shape) else 0


def obstacles(group: Group, site: str, shape: Shape) -> tuple[str, ...]:
    """Returns why a glidein of a shape runs no user job of a group, one phrase for each reason; empty when it does."""
    found = group.shortfalls(shape.resources)
    return found if found or _is_named(group, site, shape) else ("does not match, says the pool",)


def _is_named(group: Group, site: str, shape: Shape) -> bool:
    """Returns whether the pool lets the shape count; where it names none of the site's, resources alone decide."""
    return site not in group.shapes or shape.name in group.shapes[site]


def _assigned(demand: Demand, site: str) -> list[_Waiting]:
    """Returns what is assigned to this site, the scarcest kind first.

    Groups with GPUs come first, then those with much memory, as in pyglidein (Schultz et al. 2017, section 2.2).
    """
    known = any(site in group.sites for group in demand.groups) or site in demand.pool_view
    waiting = []
    for group in sorted(demand.groups, key=lambda item: (-item.request.gpus, -item.request.memory_mib, item.id)):
        share = group.sites.get(site, 0) if known else group.idle_jobs * demand.unassigned_share // 100
        if share > 0:
            waiting.append(_Waiting(group, site, share))
    return waiting


def _plan_shape(
    demand: Optional[Demand], waiting: Sequence[_Waiting], shape: Shape, holding: Holding, room: float
) -> ShapePlan:
    if holding.counts is None:
        return ShapePlan(shape.name, holding, 0, 0, "queue-unknown", "the batch system could not be asked")
    if demand is None:
        return ShapePlan(shape.name, holding, 0, 0, "demand-unknown", "there is no demand that may be acted on")
    wanted = _glideins_for(waiting, shape)
    missing = wanted - holding.queued
    if missing <= 0:
        reason, detail = _why_none(demand, waiting, shape, wanted, holding)
        return ShapePlan(shape.name, holding, wanted, 0, reason, detail)
    submit, reason, detail = _capped(missing, shape, holding, holding.counts, room)
    return ShapePlan(shape.name, holding, wanted, submit, reason, detail)


def _glideins_for(waiting: Sequence[_Waiting], shape: Shape) -> int:
    """Returns how many glideins hold all that fit; groups share a glidein by the part of it that they fill."""
    places = ((item.jobs, item.capacity(shape)) for item in waiting)
    return math.ceil(sum((Fraction(jobs, capacity) for jobs, capacity in places if capacity), Fraction(0)))


def _serve(waiting: Sequence[_Waiting], shape: Shape, glideins: int) -> None:
    """Takes away what so many glideins of one shape hold, so that the next shape does not serve it too."""
    free = Fraction(glideins)
    for item in waiting:
        capacity = item.capacity(shape)
        if capacity:
            taken = min(item.jobs, math.floor(free * capacity))
            item.jobs -= taken
            free -= Fraction(taken, capacity)


def _capped(missing: int, shape: Shape, holding: Holding, counts: Counts, room: float) -> tuple[int, str, str]:
    limits = shape.limits
    waiting = counts.idle + counts.held + counts.unknown + holding.unreported
    caps = (
        ("max-queued", limits.max_queued - waiting, f"{waiting} of {limits.max_queued} queued"),
        ("max-running", limits.max_running - counts.running, f"{counts.running} of {limits.max_running} running"),
        ("max-total", limits.max_total - holding.total, f"{holding.total} of {limits.max_total} in all"),
        ("site-max-total", room, "the limit over all shapes is reached"),
        ("max-per-cycle", limits.max_per_cycle, f"{limits.max_per_cycle} a cycle"),
    )
    submit, reason, detail = missing, "satisfied", f"{missing} missing"
    for code, cap, words in caps:
        if cap < submit:
            submit, reason, detail = max(0, int(cap)), code, f"{missing} missing, {words}"
    return submit, reason, detail


def _why_none(
    demand: Demand, waiting: Sequence[_Waiting], shape: Shape, wanted: int, holding: Holding
) -> tuple[str, str]:
    if wanted:
        return "covered", f"{holding.queued} glideins queued or just started hold the {wanted} wanted"
    if not demand.groups:
        return "no-demand", "no user job is idle"
    if not waiting:
        return "no-share", f"{counted(demand.idle_jobs, 'idle user job')} in the pool, none assigned to this site"
    found = {item.group.id: obstacles(item.group, item.site, shape) for item in waiting}
    if all(found.values()):
        return "no-fit", "; ".join(f"{group} {', '.join(words)}" for group, words in found.items())[:400]
    return "covered", "other shapes hold all that is assigned"
