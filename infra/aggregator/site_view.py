"""A site's page as values: what it reports of its shapes, beside what the pool sees of them. Pure, and free of HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Optional

from glidepost.schema.demand import ShapeView
from glidepost.schema.heartbeat import BreakerView, ShapeReport
from glidepost.schema.status import SiteStatus, Status

from .health import health
from .verdict import MAX_SKEW_S, PRESENT
from .words import SITE_STATES, Moment, breaker_code, moment, number, outcome, plural, reason, some, span

MAX_ERRORS: Final = 10
MAX_TERMS: Final = 3
MAX_WAITING: Final = 10
MAX_SHAPES: Final = 100
# A token lives for days and is renewed each 6 hours: with less left, renewing has failed for long.
TOKEN_LOW: Final = timedelta(hours=6)


@dataclass(frozen=True)
class Busy:
    """What is claimed of what glideins bring, in words, and in thousandths of all."""

    text: str
    per_mille: int


@dataclass(frozen=True)
class PoolCell:
    """What the collector sees of a shape. `busy` is empty when its glideins bring no cpus."""

    glideins: str
    busy: tuple[Busy, ...]
    started: str


@dataclass(frozen=True)
class Count:
    """A number of glideins and the site's own limit of it; "?" where the batch system could not be asked."""

    name: str
    value: str
    limit: str = ""
    level: str = ""


@dataclass(frozen=True)
class ShapeCard:
    """A shape. `what` is what its glideins bring and for whom; `doubts` are differences and unknowns that matter."""

    name: str
    what: str
    counts: tuple[Count, ...]
    pool: Optional[PoolCell]
    reason: str
    detail: str
    doubts: tuple[str, ...]
    breaker: str
    breaker_since: Optional[Moment]
    breaker_until: Optional[Moment]


@dataclass(frozen=True)
class Fact:
    """Something known of a site, with a word on it; `level` when it is not as it should be."""

    name: str
    value: str
    note: str = ""
    level: str = ""
    time: Optional[Moment] = None


@dataclass(frozen=True)
class Waiting:
    """A group that has a share here, or the reason why this site cannot run it."""

    id: str
    idle: str
    asks: str
    share: str
    why: str


@dataclass(frozen=True)
class SitePage:
    """All that the page of one site shows, its figures apart. `is_old` says that its counts are of the past."""

    name: str
    level: str
    state: str
    is_old: bool
    heard: Optional[Moment]
    facts: tuple[Fact, ...]
    errors: tuple[str, ...]
    more_errors: int
    errors_since: Optional[Moment]
    shapes: tuple[ShapeCard, ...]
    more_shapes: int
    outcomes: tuple[tuple[str, str, str, str], ...]  # level, count, code, words
    waiting: tuple[Waiting, ...]
    more_waiting: int


def site_page(site: SiteStatus, status: Status) -> SitePage:
    """Returns the page of a site: its shapes as it reports them, then those that only the collector sees."""
    found = health(site)
    reported = {shape.name for shape in site.shapes}
    now = status.generated_at
    cards = [
        *(_shape_card(shape, site.pool_view.get(shape.name), now) for shape in site.shapes),
        *(_seen_card(name, seen, now) for name, seen in site.pool_view.items() if name not in reported),
    ]
    ends = sorted((item for item in site.outcomes.items() if item[1]), key=lambda item: (-item[1], item[0]))
    waiting = list(_waiting(site, status))
    return SitePage(
        name=site.site,
        level=found.level,
        state=found.state,
        is_old=site.state not in PRESENT,
        heard=None if site.heartbeat_at is None else moment(site.heartbeat_at, now),
        facts=tuple(_facts(site, status)),
        errors=site.errors[:MAX_ERRORS],
        more_errors=len(site.errors[MAX_ERRORS:]),
        errors_since=moment(site.errors_since, now) if site.errors_since else None,
        shapes=tuple(cards[:MAX_SHAPES]),
        more_shapes=len(cards[MAX_SHAPES:]),
        outcomes=tuple((outcome(code)[0], number(count), code, outcome(code)[1]) for code, count in ends),
        waiting=tuple(waiting[:MAX_WAITING]),
        more_waiting=len(waiting[MAX_WAITING:]),
    )


def pool_cell(seen: Optional[ShapeView], now: datetime) -> Optional[PoolCell]:
    """Returns what the collector sees of a shape, None when it has never seen one."""
    if seen is None:
        return None
    return PoolCell(plural(seen.glideins, "glidein"), tuple(busy([seen])), _started(seen, now))


def busy(views: Sequence[ShapeView]) -> Iterator[Busy]:
    """Yields "18 of 20 cpus busy", and the same of gpus, for what the glideins bring."""
    sums = (
        ("cpus", sum(view.cpus_claimed for view in views), sum(view.cpus for view in views)),
        ("gpus", sum(view.gpus_claimed for view in views), sum(view.gpus for view in views)),
    )
    for what, claimed, all_ in sums:
        if all_:
            yield Busy(f"{number(claimed)} of {number(all_)} {what}", min(1000, 1000 * claimed // all_))


def terms(accept: Sequence[str], deny: Sequence[str]) -> Iterator[str]:
    """Yields for whom something is."""
    if accept:
        yield f"only for {some(accept, MAX_TERMS)}"
    if deny:
        yield f"not for {some(deny, MAX_TERMS)}"


def _facts(site: SiteStatus, status: Status) -> Iterator[Fact]:
    if site.heartbeat_at is not None:
        level = SITE_STATES.get(site.state, ("none", ""))[0]
        yield Fact("Last heard", "", "", "" if level == "ok" else level, moment(site.heartbeat_at, status.generated_at))
    if site.version is not None:
        yield Fact("Glidepost", site.version)
    if site.clock_skew_s is not None:
        off = abs(site.clock_skew_s)
        side = "behind" if site.clock_skew_s > 0 else "ahead"
        value = f"{span(off)} {side}" if off > 1 else "right"
        yield Fact("Clock", value, "beside the store's", "warn" if off > MAX_SKEW_S else "")
    if site.token_expires_at is not None:
        yield _token(site.token_expires_at, status.generated_at)
    if site.demand_sequence is not None:
        age = "" if site.demand_age_s is None else f"{span(max(0, site.demand_age_s))} old when it was read"
        yield Fact("Demand acted on", str(site.demand_sequence), age or _behind(site.demand_sequence, status))
    seen = list(busy(list(site.pool_view.values())))
    if seen:
        yield Fact("Busy in the pool", ", ".join(one.text for one in seen), _percent(seen))
    if site.rules is not None:
        yield Fact("The pool's rule", ", ".join(terms(site.rules.accept, site.rules.deny)) or "for all")


def _token(end: datetime, now: datetime) -> Fact:
    left = end - now
    level = "warn" if left < TOKEN_LOW else ""
    if left <= timedelta(0):
        return Fact("Pool token", "expired", "its glideins cannot join: look at the errors of its cycle", level)
    return Fact("Pool token", f"good for {span(int(left.total_seconds()))}", "", level)


def _behind(sequence: int, status: Status) -> str:
    behind = status.demand.sequence - sequence if status.demand else 0
    return f"{number(behind)} behind" if behind > 1 else ""


def _percent(seen: list[Busy]) -> str:
    return ", ".join(f"{one.per_mille // 10}\u00a0%" for one in seen)


def _shape_card(shape: ShapeReport, seen: Optional[ShapeView], now: datetime) -> ShapeCard:
    counts, limits, words = shape.counts, shape.limits, reason(shape.reason)
    held = counts is not None and counts.held > 0
    until = shape.breaker.until if shape.breaker else None
    return ShapeCard(
        name=shape.name,
        what="; ".join([f"{shape.backend}: {shape.offers}", f"at most {number(limits.max_total)}", *_terms(shape)]),
        counts=(
            Count("Queued", "?" if counts is None else number(counts.idle), number(limits.max_queued)),
            Count("Running", "?" if counts is None else number(counts.running), number(limits.max_running)),
            Count("Held", "?" if counts is None else number(counts.held), "", "warn" if held else ""),
        ),
        pool=pool_cell(seen, now),
        reason=words,
        detail="" if shape.detail == words else shape.detail,
        doubts=tuple(_doubts(shape, seen)),
        breaker=_breaker(shape.breaker),
        breaker_since=moment(shape.breaker.since, now) if shape.breaker else None,
        breaker_until=moment(until, now) if until else None,
    )


def _seen_card(name: str, seen: ShapeView, now: datetime) -> ShapeCard:
    what = "seen in the pool, not in the site's report"
    return ShapeCard(name, what, (), pool_cell(seen, now), "", "", (), "", None, None)


def _terms(shape: ShapeReport) -> Iterator[str]:
    yield from terms(shape.accept, shape.deny)
    if shape.paused and not shape.breaker:
        yield "paused"


def _breaker(breaker: Optional[BreakerView]) -> str:
    if breaker is None:
        return ""
    what = "Paused" if breaker.state == "paused" else "One glidein tries again"
    times = f" (pause {number(breaker.trips)} in a row)" if breaker.trips > 1 else ""
    detail = f": {breaker.detail}" if breaker.detail else ""
    return f"{what}{times}, for {breaker_code(breaker.code)}{detail}"


def _doubts(shape: ShapeReport, seen: Optional[ShapeView]) -> Iterator[str]:
    """Yields which of its glideins nobody knows enough about, and where site and pool do not see the same."""
    if shape.counts is not None:
        if shape.counts.unknown:
            yield f"{plural(shape.counts.unknown, 'glidein')} in a state we do not know"
        apart = shape.counts.running - (seen.glideins if seen else 0)
        if apart > 0:
            yield f"{plural(apart, 'glidein')} more run in the batch system than the pool sees"
        elif apart < 0:
            yield f"the pool sees {plural(-apart, 'glidein')} more than run in the batch system"
    if shape.missing:
        yield f"{plural(shape.missing, 'glidein')} not listed any more"
    if shape.oldest_queued_s is not None and shape.counts is not None and shape.counts.idle:
        yield f"the oldest queued glidein has waited {span(max(0, shape.oldest_queued_s))}"


def _started(seen: ShapeView, now: datetime) -> str:
    """Returns "started 6 min to 20 h ago": how long glideins live, and whether new ones still come."""
    starts = [start for start in (seen.newest_start, seen.oldest_start) if start is not None]
    ages = list(dict.fromkeys(span(max(0, int((now - start).total_seconds()))) for start in starts))
    return f"started {' to '.join(ages)} ago" if ages else ""


def _waiting(site: SiteStatus, status: Status) -> Iterator[Waiting]:
    """Yields the groups that have a share here, the largest first, then those that it cannot run, and why."""
    prefix = f"{site.site}/"
    by_size = sorted(status.groups, key=lambda group: (-group.sites.get(site.site, 0), -group.idle_jobs, group.id))
    for group in by_size:
        share = group.sites.get(site.site, 0)
        reasons = dict.fromkeys(why for shape, why in group.blocked.items() if shape.startswith(prefix))
        if share or reasons:
            why = "" if share else "; ".join(list(reasons)[:MAX_TERMS])
            yield Waiting(group.id, number(group.idle_jobs), str(group.request), number(share) if share else "", why)
