"""The limits, in the order in which they cut: pure. What a shape may submit of what it is missing.

The order is: max-total, max-running, max-queued, max-cpus, max-memory, max-gpus of the shape; site-max-total,
site-max-queued, site-max-cpus, site-max-memory, site-max-gpus over all shapes; budget, site-budget; max-per-hour,
site-max-per-hour, max-per-cycle; last what a breaker allows (canary). A limit that allows less than the ones before
cuts, and the last one that cut gives the reason. (The limits that a site did not write are as high as max-total.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Optional

from glidepost.schema.puller_config import Caps, Shape, SiteLimits
from glidepost.schema.resources import Resources
from glidepost.schema.units import format_size

from .coverage import Sizes, of_size

Price = Callable[[Resources], float]


@dataclass(frozen=True)
class Occupied:
    """What glideins take up: all that live, queued and running, and what else limits look at.

    `waiting` are those that do not run yet. `lately` were submitted within an hour. `day` and `month` are what the
    budgets are charged with.
    """

    total: int = 0
    waiting: int = 0
    cpus: int = 0
    memory_mib: int = 0
    gpus: int = 0
    lately: int = 0
    day: float = 0.0
    month: float = 0.0

    def plus(self, other: Occupied) -> Occupied:
        """Returns both together."""
        mine, others = self.__dict__, other.__dict__
        return Occupied(**{key: mine[key] + others[key] for key in mine})


@dataclass(frozen=True)
class Limit:
    """One limit: how much of `price` is left for more glideins, and in words."""

    code: str
    room: float
    words: str
    price: Price = lambda _: 1.0

    def allows(self, sizes: Sizes) -> int:
        """Returns how many of these glideins, in this order, it allows."""
        allowed, room = 0, self.room
        for resources, count in sizes:
            price = self.price(resources)
            fits = count if price <= 0 else max(0, math.floor(room / price + 1e-9))
            if fits < count:
                return allowed + fits
            allowed, room = allowed + count, room - count * price
        return allowed


def cost_of(shape: Shape, resources: Resources) -> float:
    """Returns what one glidein of a size costs if it runs for its whole walltime, in the unit of the budgets."""
    return of_size(shape, resources).hourly_cost * resources.walltime_s / 3600


def occupied_by(shape: Shape, sizes: Sizes) -> Occupied:
    """Returns what glideins that are submitted now take up."""
    cost = sum(count * cost_of(shape, resources) for resources, count in sizes)
    total = sum(count for _, count in sizes)
    return Occupied(
        total=total,
        waiting=total,
        cpus=sum(count * resources.cpus for resources, count in sizes),
        memory_mib=sum(count * resources.memory_mib for resources, count in sizes),
        gpus=sum(count * resources.gpus for resources, count in sizes),
        lately=total,
        day=cost,
        month=cost,
    )


def limits(shape: Shape, mine: Occupied, site: SiteLimits, everything: Occupied) -> Iterator[Limit]:
    """Yields the limits of a shape in their order.

    Args:
        shape: Whose.
        mine: What its own glideins take up.
        site: The limits over all shapes.
        everything: What all shapes' glideins take up.
    """
    own = shape.limits
    yield _count("max-total", own.max_total, mine.total, "in all")
    # Nothing keeps a queued glidein from starting: what waits counts too, or more would run one day than may.
    yield _count("max-running", own.max_running, mine.total, "that may run")
    yield _count("max-queued", own.max_queued, mine.waiting, "queued")
    yield from _sizes("", shape.caps, mine)
    if site.max_total is not None:
        yield _count("site-max-total", site.max_total, everything.total, "at this site")
    if site.max_queued is not None:
        yield _count("site-max-queued", site.max_queued, everything.waiting, "queued at this site")
    yield from _sizes("site-", site.caps, everything)
    yield from _budgets("budget", shape, shape.caps, mine)
    yield from _budgets("site-budget", shape, site.caps, everything)
    for prefix, caps, taken in (("", shape.caps, mine), ("site-", site.caps, everything)):
        if caps.max_per_hour is not None:
            yield _count(f"{prefix}max-per-hour", caps.max_per_hour, taken.lately, "submitted within an hour")
    yield Limit("max-per-cycle", own.max_per_cycle, f"{own.max_per_cycle} a cycle")


def capped(sizes: Sizes, limit: Limit) -> Optional[Sizes]:
    """Returns what a limit leaves of these glideins, the first ones; None when it leaves all."""
    allowed = limit.allows(sizes)
    if allowed >= sum(count for _, count in sizes):
        return None
    left = []
    for resources, count in sizes:
        taken = min(count, allowed)
        allowed -= taken
        if taken:
            left.append((resources, taken))
    return tuple(left)


def _count(code: str, most: int, taken: int, what: str) -> Limit:
    return Limit(code, most - taken, f"{taken} of {most} {what}")


def _sizes(prefix: str, caps: Caps, taken: Occupied) -> Iterator[Limit]:
    if caps.max_cpus is not None:
        words = f"{taken.cpus} of {caps.max_cpus} cores"
        yield Limit(f"{prefix}max-cpus", caps.max_cpus - taken.cpus, words, lambda one: one.cpus)
    if caps.max_memory_mib is not None:
        words = f"{format_size(taken.memory_mib)} of {format_size(caps.max_memory_mib)} memory"
        yield Limit(f"{prefix}max-memory", caps.max_memory_mib - taken.memory_mib, words, lambda one: one.memory_mib)
    if caps.max_gpus is not None:
        words = f"{taken.gpus} of {caps.max_gpus} GPUs"
        yield Limit(f"{prefix}max-gpus", caps.max_gpus - taken.gpus, words, lambda one: one.gpus)


def _budgets(code: str, shape: Shape, caps: Caps, taken: Occupied) -> Iterator[Limit]:
    for budget, spent, period in (
        (caps.budget_per_day, taken.day, "day"),
        (caps.budget_per_month, taken.month, "month"),
    ):
        if budget is not None:
            each = cost_of(shape, shape.resources)
            words = f"{spent:.0f} of {budget:.0f} charged this {period}, {each:.1f} a glidein"
            yield Limit(code, budget - spent, words, lambda one: cost_of(shape, one))
