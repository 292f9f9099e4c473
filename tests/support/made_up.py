"""Pools and histories that never were, for pages: of any number of sites, in all states, and with hostile names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Optional

from documents import NOW, Documents

from glidepost.infra.aggregator.aggregate import aggregate
from glidepost.infra.aggregator.history import HISTORIES, POOL_SERIES, SITE_SERIES, History
from glidepost.schema.demand import Metrics, Other, ScheddView, ShapeView, Unevaluated
from glidepost.schema.heartbeat import BreakerView, Counts, Heartbeat
from glidepost.schema.status import Status

EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7919*7927 }}</style></title></svg><!--\u202e&#x27;"
REASONS = ("covered", "max-queued", "no-share", "satisfied", "token-moon-phase")
# What of a ring is a gap, as parts of its length.
GAP = (0.55, 0.6)


def names(count: int) -> list[str]:
    return [f"site-{number:03d}" for number in range(count)]


def pool(count: int) -> Status:
    """Returns a pool of so many sites, the first few of them ill in different ways, and one that never reported."""
    build, sites = Documents(), names(count)
    heartbeats = {site: _heartbeat(build, number, site) for number, site in enumerate(sites)}
    views = {site: _view(number) for number, site in enumerate(sites)}
    groups = [
        build.group("g00000001", idle_jobs=812, sites=dict.fromkeys(sites[:12], 10), accounting_group="group_a.sim"),
        build.group("g00000002", idle_jobs=90, cpus=8, memory_mib=16000, accounting_group="group_b"),
        build.group("g00000003", idle_jobs=40, gpus=1, memory_mib=4096, sites=dict.fromkeys(sites[:2], 5)),
        build.group("g00000004", idle_jobs=3, cpus=2, memory_mib=6144),
    ]
    demand = build.demand(
        *groups,
        pool_view=views,
        metrics=Metrics(126, 1040),
        schedds=(ScheddView("ap1", 12), ScheddView("ap2", 30, "timed out", NOW - timedelta(minutes=14))),
        complete=False,
        other=Other(3, 12),
    )
    return aggregate(demand, heartbeats, [*sites, "new-site"] if count else [], NOW)


def _heartbeat(build: Documents, number: int, site: str) -> Heartbeat:
    since, until = NOW - timedelta(hours=2), NOW + timedelta(minutes=35)
    breaker = BreakerView("paused", "never-joined", "wn-12: connection to cm:9618 timed out", 2, since, until)
    shapes = {
        3: [build.shape(counts=None, reason="queue-unknown")],
        4: [build.shape(counts=Counts(), reason="paused", paused=True, breaker=breaker)],
        5: [build.shape(counts=Counts(1, 4, 3, 1), reason="held", missing=2)],
    }.get(number, [build.shape(counts=Counts(2, 5 + number), reason=REASONS[number % 5], oldest_queued_s=1900)])
    if number % 3 == 0:
        shapes.append(build.shape("gpu", gpus=1, counts=Counts(1, 3), reason="max-gpus", detail="2 of 8 missing"))
    return build.heartbeat(
        site,
        *shapes,
        age_s={1: 7500, 2: 1500}.get(number, 120 + number),
        errors=("squeue: slurm_load_jobs error: Unable to contact slurm controller",) if number == 3 else (),
        clock_skew_s=(0, 2, 95, -1)[number % 4],
        demand_age_s=61,
        outcomes={"idle-shutdown": 12, "never-joined": number % 2, "check-failed:cvmfs": 1, "moon-phase": 2},
    )


def _view(number: int) -> dict[str, ShapeView]:
    oldest, newest = NOW - timedelta(hours=20), NOW - timedelta(minutes=6)
    view = {"small": ShapeView(5 + number, 20 + 4 * number, 18 + 3 * number, 0, 0, oldest, newest)}
    if number % 3 == 0:
        view["gpu"] = ShapeView(3, 24, 10, 3, 2)
    return view


def hostile() -> Status:
    """Returns a pool in which every foreign text tries to be more than text, and every number is as large as it can."""
    build, most = Documents(), 10**9
    shape = build.shape("n" * 64, counts=Counts(*[most] * 4), detail=EVIL * 4, reason="z" * 32, missing=most)
    breaker = BreakerView("paused", "q" * 64, EVIL, most, NOW, NOW)
    broken = build.shape(EVIL[:64], breaker=breaker, accept=(EVIL,), deny=(EVIL,), advertises={"A": EVIL})
    heartbeats = {
        "north": build.heartbeat(
            "north",
            shape,
            broken,
            errors=(EVIL,),
            version=EVIL[:32],
            outcomes={"check-failed:" + "w" * 51: most, "q" * 64: most},
        ),
        "south": EVIL,
        "x" * 32: build.heartbeat("x" * 32, *(build.shape("w" * 64) for _ in range(200)), clock_skew_s=-(10**12)),
        EVIL: build.heartbeat("north"),
    }
    demand = build.demand(
        build.group(accounting_group=EVIL, sites={"x" * 32: most}, cpus=100000, idle_jobs=most),
        schedds=(ScheddView(EVIL, 1, EVIL),),
        unevaluated=(Unevaluated(4, EVIL, EVIL, 2),),
        pool_view={"north": {"m" * 64: ShapeView(most, most, most, most, most)}},
    )
    return aggregate(demand, heartbeats, [EVIL], NOW)


def histories(sites: Sequence[str], *, has_values: bool = True, part: float = 1.0) -> dict[str, History]:
    """Returns rings of waves, with gaps.

    Args:
        sites: The first ones run the most.
        has_values: False makes all of them gaps.
        part: How much of the time is in them, the newest.
    """
    return {name: _history(name, sites, part=part, has_values=has_values) for name in HISTORIES}


def _history(name: str, sites: Sequence[str], *, part: float, has_values: bool) -> History:
    step, most = HISTORIES[name]
    length = int(min(most, 400 if name == "1d" else most) * part)
    end = int(NOW.timestamp()) // step * step
    start = datetime.fromtimestamp(end - length * step, timezone.utc)

    def wave(level: float, phase: float = 0.0, most: float = math.inf) -> tuple[Optional[float], ...]:
        return tuple(
            min(most, level * (1 + 0.5 * math.sin(phase + (start.timestamp() + index * step) / 86400 * math.tau)))
            if has_values and not GAP[0] < index / length < GAP[1]
            else None
            for index in range(length)
        )

    pool = {series: wave(600) for series in POOL_SERIES}
    pool["share_inside"] = wave(0.8, most=1)
    each = {
        site: {series: wave(200 / (number + 1) * (0.2 if "failed" in series else 1), number) for series in SITE_SERIES}
        for number, site in enumerate(sites)
    }
    return History(step, start, pool, each)
