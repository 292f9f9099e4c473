"""What the demand document and all heartbeats say together. Pure: no clock, no network.

Heartbeats are foreign input. Whatever one of them holds, the others are still shown, and the result keeps the bounds of
status/1.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Final, Optional, Union

from glidepost.schema.demand import Demand, ScheddView
from glidepost.schema.heartbeat import Heartbeat, ShapeReport
from glidepost.schema.status import DemandStatus, SiteStatus, Status

from .groups import CANNOT_ANSWER, MAX_BLOCKED, group_statuses
from .text import MAX_TEXT, clean
from .words import plural

# What other modules have always found here.
__all__ = ["CANNOT_ANSWER", "MAX_BLOCKED", "MAX_TEXT", "aggregate", "clean"]

# A site reports on change, else every 15 minutes: one report may be lost before we call it late, three before silent.
LATE_AFTER: Final = timedelta(minutes=20)
SILENT_AFTER: Final = timedelta(minutes=60)
# Clocks of login nodes differ by minutes. Beyond that, a site that died would look fresh until the time it claimed.
CLOCK_TOLERANCE: Final = timedelta(minutes=5)

MAX_SECONDS: Final = 10**9
MAX_SITE_ERRORS: Final = 50
MAX_ERRORS: Final = 1000
MAX_SITES: Final = 10_000

SITE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


def aggregate(
    demand: Union[Demand, str, None],
    heartbeats: Mapping[str, Union[Heartbeat, str]],
    sites: Collection[str],
    now: datetime,
    *,
    pool: str = "unnamed",
) -> Status:
    """Returns the state of the pool and of every site that anything is known of.

    Args:
        demand: The published demand, why it could not be read, or None when there is none.
        heartbeats: By the site's name in the object's key: the heartbeat, or why it could not be read.
        sites: Enrolled sites; those that have never reported are listed too.
        now: Aware.
        pool: The pool's name while no demand names it.
    """
    now = now.astimezone(timezone.utc).replace(microsecond=0)
    read = None if isinstance(demand, str) else demand
    names, errors = _site_names(read, heartbeats, sites)
    listed = tuple(_site(name, heartbeats.get(name), read, now) for name in names)
    errors.extend(_left_out(read))
    if isinstance(demand, str):
        errors.insert(0, demand)
    return Status(
        pool=read.pool if read else pool,
        generated_at=now,
        demand=_demand_status(read),
        groups=group_statuses(read, listed) if read else (),
        sites=listed,
        errors=tuple(clean(text) for text in errors[:MAX_ERRORS]),
    )


def _site_names(
    demand: Optional[Demand], heartbeats: Mapping[str, Union[Heartbeat, str]], sites: Collection[str]
) -> tuple[list[str], list[str]]:
    """Returns the sites to list, sorted, and an error for each name that no site can have."""
    named = {*heartbeats, *sites}
    if demand is not None:
        named.update(demand.pool_view, demand.revoked, *(group.sites for group in demand.groups))
    good = sorted(name for name in named if SITE_NAME.fullmatch(name))
    errors = [f"ignored a heartbeat of {name!r}: not a site's name" for name in sorted(named.difference(good))]
    if len(good) > MAX_SITES:
        errors.insert(0, f"{len(good) - MAX_SITES} of {len(good)} sites left out: more than the page can hold")
    return good[:MAX_SITES], errors


def _left_out(demand: Optional[Demand]) -> Iterator[str]:
    for some in demand.unevaluated if demand else ():
        whose = f"{plural(some.idle_jobs, 'idle user job')} of {plural(some.owner_count, 'owner')}"
        yield f"{whose} left out of the demand: {some.attribute}: {some.problem}"


def _demand_status(demand: Optional[Demand]) -> Optional[DemandStatus]:
    if demand is None:
        return None
    return DemandStatus(
        sequence=demand.sequence,
        generated_at=demand.generated_at,
        expires_at=demand.expires_at,
        complete=demand.complete,
        idle_jobs=demand.idle_jobs,
        schedds=tuple(_schedd(schedd) for schedd in demand.schedds),
        other=demand.other,
        metrics=demand.metrics,
    )


def _schedd(schedd: ScheddView) -> ScheddView:
    error = None if schedd.error is None else clean(schedd.error)
    return ScheddView(clean(schedd.name)[:200], schedd.idle_jobs, error, schedd.asked_at)


def _site(name: str, heartbeat: Optional[Union[Heartbeat, str]], demand: Optional[Demand], now: datetime) -> SiteStatus:
    unheard = SiteStatus(
        site=name,
        state="never",
        heartbeat_at=None,
        version=None,
        shapes=(),
        pool_view=dict(demand.pool_view.get(name, {})) if demand else {},
        errors=(),
        outcomes={},
        demand_sequence=None,
        rules=demand.rules.get(name) if demand else None,
    )
    if demand is not None and name in demand.revoked:  # whatever it says
        return replace(unheard, state="revoked")
    if heartbeat is None:
        return unheard
    if isinstance(heartbeat, str):
        return replace(unheard, state="unreadable", errors=(clean(heartbeat),))
    if heartbeat.site != name:
        error = f"the heartbeat under the name {name} says that it is from {heartbeat.site!r}: nothing of it is shown"
        return replace(unheard, state="unreadable", errors=(clean(error),))
    state, complaints = _state(heartbeat, now)
    return replace(
        unheard,
        state=state,
        heartbeat_at=heartbeat.sent_at,
        version=clean(heartbeat.version)[:32],
        shapes=tuple(_shape(shape) for shape in heartbeat.shapes),
        errors=tuple(clean(text) for text in [*complaints, *heartbeat.errors][:MAX_SITE_ERRORS]),
        outcomes=dict(heartbeat.outcomes),
        demand_sequence=heartbeat.demand_sequence,
        clock_skew_s=_bounded(heartbeat.clock_skew_s),
        demand_age_s=_bounded(heartbeat.demand_age_s),
        token_expires_at=heartbeat.token_expires_at,
    )


def _bounded(seconds: Optional[int]) -> Optional[int]:
    return None if seconds is None else max(-MAX_SECONDS, min(MAX_SECONDS, seconds))


def _state(heartbeat: Heartbeat, now: datetime) -> tuple[str, list[str]]:
    age = now - heartbeat.sent_at
    if age < -CLOCK_TOLERANCE:
        ahead = int(-age.total_seconds()) // 60
        return "unreadable", [f"its heartbeat is dated {ahead} minutes from now: set the site's clock"]
    if age > SILENT_AFTER:
        return "silent", []
    return ("late" if age > LATE_AFTER else "ok"), []


def _shape(shape: ShapeReport) -> ShapeReport:
    return replace(
        shape,
        name=clean(shape.name),
        backend=clean(shape.backend),
        detail=clean(shape.detail),
        advertises={
            name: clean(value)[:200] if isinstance(value, str) else value for name, value in shape.advertises.items()
        },
        accept=tuple(clean(name)[:200] or "?" for name in shape.accept),
        deny=tuple(clean(name)[:200] or "?" for name in shape.deny),
        breaker=replace(shape.breaker, detail=clean(shape.breaker.detail)) if shape.breaker else None,
    )
