"""The sites of the page as values: what each reports of its shapes, beside what the pool sees of them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Optional

from glidepost.schema.demand import ShapeView
from glidepost.schema.heartbeat import ShapeReport
from glidepost.schema.status import SiteStatus, Status

from .verdict import PRESENT
from .words import SITE_STATES, Moment, moment, number, plural, reason, some, span

MAX_SITE_ERRORS: Final = 3
MAX_TERMS: Final = 3


@dataclass(frozen=True)
class PoolCell:
    """What the collector sees of a shape. `busy_per_mille` is claimed cpus of all, None when there are none."""

    glideins: str
    cpus: str
    gpus: str
    started: str
    busy_per_mille: Optional[int]


@dataclass(frozen=True)
class ShapeRow:
    """A shape. Counts are text; "?" where the batch system could not be asked, "" where only the collector knows it.

    `queued_limit` and `running_limit` are the site's own bounds of the count before them.
    """

    name: str
    what: str
    queued: str
    queued_limit: str
    running: str
    running_limit: str
    held: str
    unknown: str
    is_held: bool
    pool: Optional[PoolCell]
    reason: str
    detail: str


@dataclass(frozen=True)
class SiteBlock:
    """A site and its shapes. `is_old` says that its counts are of the past."""

    name: str
    level: str
    state: str
    is_old: bool
    heard: Optional[Moment]
    facts: tuple[str, ...]
    shapes: tuple[ShapeRow, ...]
    errors: tuple[str, ...]
    more_errors: int


def site_block(site: SiteStatus, status: Status) -> SiteBlock:
    """Returns a site's block of the page: its shapes as it reports them, then those that only the collector sees."""
    level, state = SITE_STATES[site.state]
    reported = {shape.name for shape in site.shapes}
    only_seen = [name for name in site.pool_view if name not in reported]
    return SiteBlock(
        name=site.site,
        level=level,
        state=state,
        is_old=site.state not in PRESENT,
        heard=None if site.heartbeat_at is None else moment(site.heartbeat_at, status.generated_at),
        facts=tuple(_facts(site, status)),
        shapes=(
            *(_shape_row(shape, site.pool_view.get(shape.name), status.generated_at) for shape in site.shapes),
            *(_seen_row(name, site.pool_view[name], status.generated_at) for name in only_seen),
        ),
        errors=site.errors[:MAX_SITE_ERRORS],
        more_errors=len(site.errors[MAX_SITE_ERRORS:]),
    )


def _facts(site: SiteStatus, status: Status) -> list[str]:
    facts = []
    if site.version is not None:
        facts.append(f"Glidepost {site.version}")
    if site.demand_sequence is not None and status.demand is not None:
        behind = status.demand.sequence - site.demand_sequence
        facts.append(f"saw demand {site.demand_sequence}" + (f", {behind} behind" if behind > 1 else ""))
    if site.rules is not None:
        facts.append("the pool's rule: " + ", ".join(_whom(site.rules.accept, site.rules.deny)))
    ends = sorted(
        ((code, count) for code, count in site.outcomes.items() if count), key=lambda item: (-item[1], item[0])
    )
    if ends:
        facts.append("glideins ended: " + ", ".join(f"{number(count)} {code}" for code, count in ends[:6]))
    return facts


def _shape_row(shape: ShapeReport, seen: Optional[ShapeView], now: datetime) -> ShapeRow:
    counts, limits = shape.counts, shape.limits
    words = reason(shape.reason)
    return ShapeRow(
        name=shape.name,
        what="; ".join([f"{shape.backend}: {shape.offers}", f"at most {number(limits.max_total)}", *_terms(shape)]),
        queued="?" if counts is None else number(counts.idle),
        queued_limit=number(limits.max_queued),
        running="?" if counts is None else number(counts.running),
        running_limit=number(limits.max_running),
        held="?" if counts is None else number(counts.held),
        unknown=", ".join(_doubts(shape)),
        is_held=counts is not None and counts.held > 0,
        pool=_pool_cell(seen, now),
        reason=words,
        detail="" if shape.detail == words else shape.detail,
    )


def _doubts(shape: ShapeReport) -> Iterator[str]:
    """Yields which of its glideins nobody knows enough about."""
    if shape.counts is not None and shape.counts.unknown:
        yield f"{number(shape.counts.unknown)} in a state we do not know"
    if shape.missing:
        yield f"{number(shape.missing)} not listed any more"


def _terms(shape: ShapeReport) -> Iterator[str]:
    """Yields for whom the site runs such glideins, and whether it does now."""
    yield from _whom(shape.accept, shape.deny)
    if shape.breaker:
        what = "paused" if shape.breaker.state == "paused" else "one glidein tries again"
        yield f"{what} after {shape.breaker.code}"
    elif shape.paused:
        yield "paused"


def _whom(accept: Sequence[str], deny: Sequence[str]) -> Iterator[str]:
    if accept:
        yield f"only for {some(accept, MAX_TERMS)}"
    if deny:
        yield f"not for {some(deny, MAX_TERMS)}"


def _seen_row(name: str, seen: ShapeView, now: datetime) -> ShapeRow:
    return ShapeRow(
        name=name,
        what="seen in the pool, not in the site's report",
        queued="",
        queued_limit="",
        running="",
        running_limit="",
        held="",
        unknown="",
        is_held=False,
        pool=_pool_cell(seen, now),
        reason="",
        detail="",
    )


def _pool_cell(seen: Optional[ShapeView], now: datetime) -> Optional[PoolCell]:
    if seen is None:
        return None
    return PoolCell(
        glideins=plural(seen.glideins, "glidein"),
        cpus=f"{number(seen.cpus_claimed)} of {number(seen.cpus)} cpus",
        gpus=f"{number(seen.gpus_claimed)} of {number(seen.gpus)} gpus" if seen.gpus else "",
        started=_started(seen, now),
        busy_per_mille=min(1000, 1000 * seen.cpus_claimed // seen.cpus) if seen.cpus else None,
    )


def _started(seen: ShapeView, now: datetime) -> str:
    """Returns "started 6 min to 20 h ago": how long glideins live, and whether new ones still come."""
    starts = [start for start in (seen.newest_start, seen.oldest_start) if start is not None]
    ages = list(dict.fromkeys(span(max(0, int((now - start).total_seconds()))) for start in starts))
    return f"started {' to '.join(ages)} ago" if ages else ""
