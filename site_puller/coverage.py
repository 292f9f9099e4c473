"""Which glideins hold which idle user jobs: pure. How many of a shape are wanted, and of what size with `fit`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from glidepost.schema.demand import Demand, Group
from glidepost.schema.puller_config import Shape
from glidepost.schema.resources import Request, Resources

# With `fit`, so many different sizes are submitted in one cycle: each is a batch command of its own.
MAX_SIZES: Final = 10

# Glideins of one size: what each has, and how many.
Sizes = tuple[tuple[Resources, int], ...]

_KEYS: Final[dict[str, Callable[[Group], float]]] = {
    "gpus": lambda group: group.request.gpus,
    "memory": lambda group: group.request.memory_mib,
    "cpus": lambda group: group.request.cpus,
    "disk": lambda group: group.request.disk_mib,
    "age": lambda group: -group.idle_since.timestamp(),
}


@dataclass
class Waiting:
    """What this site should still hold glideins for of one group, less what the shapes before took."""

    group: Group
    site: str
    jobs: int

    def capacity(self, shape: Shape) -> int:
        """Returns how many user jobs of the group one glidein of a shape runs side by side; 0 when not one."""
        return (
            0
            if obstacles(self.group, self.site, shape)
            else self.group.capacity(shape.offers, backfill=shape.gpu_backfill)
        )


def assigned(demand: Demand, site: str, prefer: Sequence[str] = ("gpus", "memory")) -> list[Waiting]:
    """Returns what is assigned to this site, in the order of its preference.

    By default groups with GPUs come first, then those with much memory, as in pyglidein (Schultz et al. 2017,
    section 2.2).

    Args:
        demand: Verified and fresh.
        site: Our enrolled name.
        prefer: Keys as in puller.toml, the most important first; "-" before one turns it round.
    """
    known = any(site in group.sites for group in demand.groups) or site in demand.pool_view
    waiting = []
    for group in sorted(demand.groups, key=lambda item: (*_rank(item, prefer), item.id)):
        share = group.sites.get(site, 0) if known else group.idle_jobs * demand.unassigned_share // 100
        if share > 0:
            waiting.append(Waiting(group, site, share))
    return waiting


def _rank(group: Group, prefer: Iterable[str]) -> tuple[float, ...]:
    return tuple(_KEYS[key[1:]](group) if key.startswith("-") else -_KEYS[key](group) for key in prefer)


def obstacles(group: Group, site: str, shape: Shape) -> tuple[str, ...]:
    """Returns why a glidein of a shape runs no user job of a group, one phrase for each reason; empty when it does.

    Held against each other are what the user jobs ask for and what the glidein will advertise (`Shape.offers`), not
    what the batch system is asked for: else a site submits for ever glideins that their user jobs cannot use.
    """
    found = (*group.shortfalls(shape.offers, backfill=shape.gpu_backfill), *shape.jobs.refusals(group.request))
    return found if found or _is_named(group, site, shape) else ("does not match, says the pool",)


def _is_named(group: Group, site: str, shape: Shape) -> bool:
    """Returns whether the pool lets the shape count; where it names none of the site's, resources alone decide."""
    return site not in group.shapes or shape.name in group.shapes[site]


def fitted(shape: Shape, request: Request) -> Resources:
    """Returns the smallest glidein of a shape with `fit` in which one such user job runs."""
    most, fit = shape.resources, shape.fit
    if fit is None:
        return most
    return replace(
        most,
        cpus=_stepped(request.cpus, fit.min_cpus, fit.cpu_step, most.cpus),
        memory_mib=_stepped(
            request.memory_mib + shape.memory_margin_mib, fit.min_memory_mib, fit.memory_step_mib, most.memory_mib
        ),
        disk_mib=_stepped(request.disk_mib, fit.min_disk_mib, fit.disk_step_mib, most.disk_mib),
        gpus=request.gpus,
    )


def _stepped(asked: int, least: int, step: int, most: int) -> int:
    return min(most, max(least, math.ceil(asked / step) * step))


def of_size(shape: Shape, resources: Resources) -> Shape:
    """Returns a shape with `fit` as one of a fixed size."""
    return shape if resources == shape.resources else replace(shape, resources=resources)


def wanted(waiting: Sequence[Waiting], shape: Shape) -> int:
    """Returns how many glideins hold all that fit; groups share a glidein by the part of it that they fill."""
    places = ((item.jobs, item.capacity(shape)) for item in waiting)
    return math.ceil(sum((Fraction(jobs, capacity) for jobs, capacity in places if capacity), Fraction(0)))


def serve(waiting: Sequence[Waiting], shape: Shape, sizes: Sizes) -> None:
    """Takes away what such glideins of a shape hold, so that nobody else serves it too."""
    for resources, glideins in sizes:
        one, free = of_size(shape, resources), Fraction(glideins)
        for item in waiting:
            capacity = item.capacity(one)
            if capacity and free > 0:
                taken = min(item.jobs, math.floor(free * capacity))
                item.jobs -= taken
                free -= Fraction(taken, capacity)


@dataclass(frozen=True)
class Need:
    """What a shape should hold, in glideins: `wanted` in all, `missing` of these by size, `excess` queued too many."""

    wanted: int
    missing: Sizes
    excess: int


def need(waiting: Sequence[Waiting], shape: Shape, queued: Sizes) -> Need:
    """Returns what is missing of a shape, or too much, given what will still take user jobs of this demand.

    Args:
        waiting: What is assigned and not served yet; it is left as it is.
        shape: Fixed, or with `fit`.
        queued: Glideins of the shape that wait or have just started.
    """
    total = sum(count for _, count in queued)
    if shape.fit is None:
        want = wanted(waiting, shape)
        missing = want - total
        return Need(want, ((shape.resources, missing),) if missing > 0 else (), max(0, -missing))
    return _need_fitted(waiting, shape, Counter(dict(queued)))


def _need_fitted(waiting: Sequence[Waiting], shape: Shape, have: Counter[Resources]) -> Need:
    """Returns what a shape with `fit` lacks. Queued ones of sizes that nobody would ask for now serve what they can."""
    rest = [replace(item) for item in waiting]
    spare, useful = have - Counter(dict(_fitted_sizes(waiting, shape))), 0
    for resources, count in spare.items():
        used = min(count, wanted(rest, of_size(shape, resources)))
        serve(rest, shape, ((resources, used),))
        useful += used
    want = Counter(dict(_fitted_sizes(rest, shape)))
    kept = have - spare
    missing = tuple((resources, count) for resources, count in (want - kept).items() if count > 0)
    return Need(useful + sum(want.values()), missing, sum(spare.values()) - useful + sum((kept - want).values()))


def _fitted_sizes(waiting: Sequence[Waiting], shape: Shape) -> Sizes:
    rest = [replace(item) for item in waiting]
    sizes: dict[Resources, int] = {}
    for item in rest:
        if item.jobs <= 0 or not item.capacity(shape):
            continue
        resources = fitted(shape, item.group.request)
        capacity = item.capacity(of_size(shape, resources))
        if not capacity or (resources not in sizes and len(sizes) >= MAX_SIZES):
            continue
        glideins = math.ceil(item.jobs / capacity)
        serve(rest, shape, ((resources, glideins),))
        sizes[resources] = sizes.get(resources, 0) + glideins
    return tuple(sizes.items())
