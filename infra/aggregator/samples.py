"""What one run sees, as numbers, and the slot of five minutes that they are gathered in. Pure.

Levels, such as running glideins, become means over the runs in a slot; a second run in the same minute takes the place
of the first, so that doubled runs count once. Growths, such as glideins that ended, are sums. What is not known is left
out, and never 0.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Final, Optional

import msgspec

from glidepost.schema.demand import Demand, Metrics, ShapeView
from glidepost.schema.document import Moment
from glidepost.schema.heartbeat import Heartbeat
from glidepost.schema.status import SiteStatus, Status

from .history import FINEST, HISTORIES, MAX_SITES, Slot, slot_of
from .verdict import PRESENT
from .words import OUTCOMES

# Numbers by series, of the pool under the empty name and of each site under its own.
Numbers = dict[str, dict[str, float]]

POOL: Final = ""
# What the schedds counted while nobody looked for so long belongs to no slot.
LONGEST_GAP: Final = timedelta(hours=1)
_SLOT_HOURS: Final = HISTORIES[FINEST].resolution_s / 3600


class LastMetrics(msgspec.Struct):
    """The growing counters of the last demand that was read."""

    generated_at: Moment
    started_jobs: int
    wait_s: int


class OpenSlot(msgspec.Struct):
    """The slot that is being filled. `sums` are those of `runs` in earlier minutes, `last` is of `minute`.

    `sums` holds (sum, in how many runs it was known) for each series.
    """

    slot: int
    minute: int
    sums: dict[str, dict[str, tuple[float, int]]] = {}
    last: Numbers = {}
    counts: Numbers = {}


def levels(status: Status, tracked: Collection[str]) -> Numbers:
    """Returns the levels of a run, of the pool and of the sites in `tracked`.

    What only the demand says is left out when that has expired: nobody knows it then.
    """
    demand = status.demand
    is_fresh = demand is not None and demand.expires_at > status.generated_at
    sees_pool = is_fresh and any(site.pool_view for site in status.sites)
    found: Numbers = {POOL: {}}
    pool = found[POOL]
    for site in status.sites:
        of_site = _site_levels(site, sees_pool=sees_pool)
        if site.site in tracked:
            found[site.site] = of_site
        for name, value in of_site.items():
            whole = _OF_POOL.get(name)
            if whole is not None:
                pool[whole] = pool.get(whole, 0) + value
    if demand is not None and is_fresh:
        pool["idle"] = demand.idle_jobs + (demand.other.idle_jobs if demand.other else 0)
        pool.update(_of_metrics(demand.metrics))
    return found


# The pool's series that are sums over its sites.
_OF_POOL: Final = {
    "queued": "glideins_queued",
    "running": "glideins_running",
    "glideins": "glideins",
    "cpus": "cpus",
    "cpus_busy": "cpus_busy",
    "gpus": "gpus",
    "gpus_busy": "gpus_busy",
}


def _of_metrics(metrics: Optional[Metrics]) -> dict[str, float]:
    if metrics is None:
        return {}
    known = {"running_inside": metrics.running_inside, "running_outside": metrics.running_outside}
    return {name: value for name, value in known.items() if value is not None}


def _site_levels(site: SiteStatus, *, sees_pool: bool) -> dict[str, float]:
    """Returns what a site says while it reports, and what the collector sees of it.

    `glideins`, for the hours, are those in the pool; without the collector's view those that run at the site.
    """
    found: dict[str, float] = {}
    counts = [shape.counts for shape in site.shapes if shape.counts is not None]
    if site.state in PRESENT and (counts or not site.shapes):
        found["queued"] = sum(count.idle for count in counts)
        found["running"] = sum(count.running for count in counts)
        found["held"] = sum(count.held for count in counts)
        found["glideins"] = found["running"]
    if sees_pool:
        found.update(_seen(site.pool_view))
    return found


def _seen(views: Mapping[str, ShapeView]) -> dict[str, float]:
    return {
        "glideins": sum(view.glideins for view in views.values()),
        "cpus": sum(view.cpus for view in views.values()),
        "cpus_busy": sum(view.cpus_claimed for view in views.values()),
        "gpus": sum(view.gpus for view in views.values()),
        "gpus_busy": sum(view.gpus_claimed for view in views.values()),
    }


def tracked_sites(status: Status, kept: Collection[str]) -> frozenset[str]:
    """Returns the sites whose history is kept: those that have one, then others by name, as far as there is room."""
    names = {site.site for site in status.sites}
    known = sorted(names.intersection(kept))
    return frozenset([*known, *sorted(names.difference(known))][:MAX_SITES])


def outcomes(heartbeat: Heartbeat) -> dict[str, float]:
    """Returns how many glideins a heartbeat says have ended, and how many of them failed."""
    failed = sum(count for code, count in heartbeat.outcomes.items() if OUTCOMES.get(code, ("bad",))[0] == "bad")
    return {"ended": sum(heartbeat.outcomes.values()), "failed": failed}


def starts(demand: Optional[Demand], last: Optional[LastMetrics]) -> tuple[dict[str, float], Optional[LastMetrics]]:
    """Returns what the schedds counted since the demand before, and what to remember for the next one.

    A counter that fell belongs to a schedd that began anew: nothing is known of that time.
    """
    metrics = demand.metrics if demand else None
    if demand is None or metrics is None or metrics.started_jobs is None or metrics.wait_s is None:
        return {}, last
    if last is not None and demand.generated_at <= last.generated_at:
        return {}, last
    now = LastMetrics(demand.generated_at, metrics.started_jobs, metrics.wait_s)
    if last is None or demand.generated_at - last.generated_at > LONGEST_GAP:
        return {}, now
    started, wait_s = now.started_jobs - last.started_jobs, now.wait_s - last.wait_s
    if started < 0 or wait_s < 0:
        return {}, now
    return {"started_jobs": started, "wait_s": wait_s}, now


def add(
    filled: Optional[OpenSlot], now: datetime, seen: Numbers, grown: Numbers
) -> tuple[Optional[tuple[int, Slot]], OpenSlot]:
    """Returns the slot that is over, if one is, with its second of the epoch; and the one that is being filled.

    Args:
        filled: What the runs before have gathered.
        now: Aware. A run that is late, so that its slot was closed already, adds its growths only.
        seen: The levels of this run.
        grown: What has grown since the run before.
    """
    slot, minute = slot_of(now, HISTORIES[FINEST].resolution_s), slot_of(now, 60)
    done = None
    if filled is None or slot > filled.slot:
        done = None if filled is None else (filled.slot, closed(filled))
        filled = OpenSlot(slot, minute)
    counts = _added(filled.counts, grown)
    if minute < filled.minute:
        return done, OpenSlot(filled.slot, filled.minute, filled.sums, filled.last, counts)
    sums = filled.sums if minute == filled.minute else _sums(filled)
    return done, OpenSlot(filled.slot, minute, sums, seen, counts)


def closed(filled: OpenSlot) -> Slot:
    """Returns a slot's values: means of the levels, and what follows from the growths."""
    made = {}
    sums = _sums(filled)
    for name in {**sums, **filled.counts}:
        means = {series: total / runs for series, (total, runs) in sums.get(name, {}).items()}
        glideins = means.pop("glideins", None)
        if glideins is not None:
            means["glidein_hours"] = glideins * _SLOT_HOURS
        grown = filled.counts.get(name, {})
        made[name] = {**means, **(_waits(means, grown) if name == POOL else _ends(means, grown))}
    return Slot(made.get(POOL, {}), {name: values for name, values in made.items() if name != POOL and values})


def _waits(means: Mapping[str, float], grown: Mapping[str, float]) -> dict[str, float]:
    found: dict[str, float] = {}
    if "started_jobs" in grown:
        found["started_jobs"] = grown["started_jobs"]
        if grown["started_jobs"]:
            found["mean_wait_s"] = grown["wait_s"] / grown["started_jobs"]
    running = means.get("running_inside", 0) + means.get("running_outside", 0)
    if running and "running_outside" in means:
        found["share_inside"] = means.get("running_inside", 0) / running
    return found


def _ends(means: Mapping[str, float], grown: Mapping[str, float]) -> dict[str, float]:
    """Returns the outcomes: of a site that reports, and says nothing of them, none."""
    if "ended" in grown:
        return {"ended": grown["ended"], "failed": grown["failed"]}
    return {"ended": 0.0, "failed": 0.0} if "running" in means else {}


def _sums(filled: OpenSlot) -> dict[str, dict[str, tuple[float, int]]]:
    """Returns the sums with those of the last minute."""
    sums = {name: dict(values) for name, values in filled.sums.items()}
    for name, values in filled.last.items():
        of_name = sums.setdefault(name, {})
        for series, value in values.items():
            total, runs = of_name.get(series, (0.0, 0))
            of_name[series] = (total + value, runs + 1)
    return sums


def _added(counts: Numbers, grown: Numbers) -> Numbers:
    made = {name: dict(values) for name, values in counts.items()}
    for name, values in grown.items():
        of_name = made.setdefault(name, {})
        for series, value in values.items():
            of_name[series] = of_name.get(series, 0.0) + value
    return made
