"""What one cycle should do: pure. Demand, own glideins and limits in; one line for each shape out.

The first of these that applies decides: what the batch system or the ledger leaves unknown (queue-unknown,
queue-partial, queue-implausible, ledger-rebuilt), what the pool does (demand-unknown), an order (drained), a breaker
(paused, refused, canary-out). Then a shape that misses glideins is cut by its limits, in the order of caps.py. One that
holds more queued glideins than it wants loses the youngest of them, after a grace, but never one that runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from glidepost.schema.demand import Demand
from glidepost.schema.puller_config import Shape, SiteLimits
from glidepost.schema.units import counted, format_duration

from .caps import Limit, Occupied, capped, limits, occupied_by
from .coverage import Need, Sizes, Waiting, assigned, need, obstacles, serve
from .gate import Gate
from .holding import MAX_DETAIL, Holding


@dataclass(frozen=True)
class ShapePlan:
    """What to do about one shape. `reason` is one code (docs/reference/reasons.md), `detail` says it in words.

    `sizes` are the glideins to submit, with one entry but for shapes with `fit`; `remove` the batch ids to remove.
    `excess` is how many queued glideins there are beyond those wanted.
    """

    name: str
    holding: Holding
    wanted: int
    reason: str
    detail: str
    sizes: Sizes = ()
    remove: tuple[str, ...] = ()
    excess: int = 0

    @property
    def submit(self) -> int:
        """How many glideins to submit."""
        return sum(count for _, count in self.sizes)


@dataclass(frozen=True)
class Situation:
    """All that a plan depends on.

    `demand` is verified and fresh, or None: then nothing is submitted or removed. `shapes` are ours, the preferred
    first; a group served by one is not served again by the next. `holdings` and `gates` are by shape's name. `others`
    is what glideins take up whose shape is not in the configuration any more. A shape in `drained` gives back what it
    queues.
    """

    demand: Optional[Demand]
    site: str
    shapes: Sequence[Shape]
    holdings: Mapping[str, Holding]
    gates: Mapping[str, Gate]
    limits: SiteLimits = SiteLimits()
    prefer: Sequence[str] = ("gpus", "memory")
    others: Occupied = Occupied()
    drained: frozenset[str] = frozenset()


def plan(situation: Situation) -> tuple[ShapePlan, ...]:
    """Returns one line for each shape, in the site's order of preference."""
    waiting = assigned(situation.demand, situation.site, situation.prefer) if situation.demand else []
    everything = situation.others
    for shape in situation.shapes:
        everything = everything.plus(situation.holdings[shape.name].occupied)
    lines = []
    for shape in situation.shapes:
        holding = situation.holdings[shape.name]
        line = _line(situation, shape, waiting, everything)
        serve(waiting, shape, (*holding.queued, *line.sizes))
        everything = everything.plus(occupied_by(shape, line.sizes))
        lines.append(line)
    return tuple(lines)


def _line(situation: Situation, shape: Shape, waiting: Sequence[Waiting], everything: Occupied) -> ShapePlan:
    holding, gate = situation.holdings[shape.name], situation.gates.get(shape.name)
    if holding.trouble:
        return ShapePlan(shape.name, holding, 0, *holding.trouble)
    if shape.name in situation.drained:
        return _drained(shape, holding, gate)
    demand = situation.demand
    if demand is None:
        return ShapePlan(shape.name, holding, 0, "demand-unknown", "there is no demand that may be acted on")
    found = need(waiting, shape, holding.queued)
    remove = _superfluous(found, holding, demand, situation.limits)
    if gate and not gate.most:
        detail = gate.detail[:MAX_DETAIL]
        return ShapePlan(shape.name, holding, found.wanted, gate.code, detail, remove=remove, excess=found.excess)
    if found.excess or not found.missing:
        reason, detail = _why_none(situation, demand, waiting, shape, found)
        if remove:
            reason, detail = "excess-removed", f"{counted(len(remove), 'queued glidein')} that nothing waits for"
        elif found.excess and holding.removable:
            detail = f"{detail}; {found.excess} too many, {_when(holding, situation.limits)}"
        return ShapePlan(shape.name, holding, found.wanted, reason, detail, remove=remove, excess=found.excess)
    sizes, reason, detail = _capped(situation, shape, found, everything)
    return ShapePlan(shape.name, holding, found.wanted, reason, detail, sizes=sizes)


def _drained(shape: Shape, holding: Holding, gate: Optional[Gate]) -> ShapePlan:
    code, detail = (gate.code, gate.detail) if gate else ("drained", "")
    return ShapePlan(shape.name, holding, 0, code, detail[:MAX_DETAIL], remove=holding.removable)


def _capped(situation: Situation, shape: Shape, found: Need, everything: Occupied) -> tuple[Sizes, str, str]:
    holding, gate = situation.holdings[shape.name], situation.gates.get(shape.name)
    missing = sum(count for _, count in found.missing)
    sizes, reason, detail = found.missing, "satisfied", f"{missing} missing"
    bounds = list(limits(shape, holding.occupied, situation.limits, everything))
    if gate:
        bounds.append(Limit(gate.code, gate.most, gate.detail))
    for limit in bounds:
        cut = capped(sizes, limit)
        if cut is not None:
            sizes, reason, detail = cut, limit.code, f"{missing} missing, {limit.words}"[:MAX_DETAIL]
    return sizes, reason, detail


def _superfluous(found: Need, holding: Holding, demand: Demand, site: SiteLimits) -> tuple[str, ...]:
    """Returns what to remove: nothing on the word of an incomplete demand, nor before the grace is over."""
    is_due = holding.excess_for_s is not None and holding.excess_for_s >= site.excess_grace_s
    return holding.removable[: found.excess] if is_due and demand.complete else ()


def _why_none(
    situation: Situation, demand: Demand, waiting: Sequence[Waiting], shape: Shape, found: Need
) -> tuple[str, str]:
    holding = situation.holdings[shape.name]
    queued = sum(count for _, count in holding.queued)
    if found.wanted:
        held = holding.counts.held if holding.counts else 0
        if held and queued - held < found.wanted:
            return "held", f"{held} of {counted(queued, 'queued glidein')} are held in the batch system"
        return "covered", f"{counted(queued, 'glidein')} queued or just started hold the {found.wanted} wanted"
    if not demand.groups:
        return "no-demand", "no user job is idle"
    if not waiting:
        return "no-share", f"{counted(demand.idle_jobs, 'idle user job')} in the pool, none assigned to this site"
    reasons = {item.group.id: obstacles(item.group, item.site, shape) for item in waiting}
    if all(reasons.values()):
        return "no-fit", "; ".join(f"{group} {', '.join(words)}" for group, words in reasons.items())[:MAX_DETAIL]
    return "covered", "other shapes hold all that is assigned"


def _when(holding: Holding, site: SiteLimits) -> str:
    left = site.excess_grace_s - (holding.excess_for_s or 0)
    return (
        f"removed in {format_duration(left)} if that stays so" if left > 0 else "not removed: the demand is incomplete"
    )
