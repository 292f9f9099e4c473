"""What a reader must know first: is the pool being served, and what is wrong that somebody must act on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Optional

from glidepost.schema.demand import ScheddView
from glidepost.schema.heartbeat import BreakerView
from glidepost.schema.status import DemandStatus, SiteStatus, Status

from .groups import CANNOT_ANSWER
from .words import Moment, breaker_code, moment, number, plural, span

PRESENT: Final = frozenset({"ok", "late"})
# A clock that is off by more than this makes signed documents look stale, or of a time to come.
MAX_SKEW_S: Final = 60
_SITE: Final = "The site's admin"
_POOL: Final = "The pool's admin"


@dataclass(frozen=True)
class Verdict:
    """One sentence about the pool. `level` is "ok", "warn", "bad" or "none" (nothing to judge yet)."""

    level: str
    text: str
    detail: str


@dataclass(frozen=True)
class Notice:
    """Something that somebody must act on.

    `subject` names it, `who` must act and `action` says how, or is ""; `since` is None where nobody knows. `anchor` is
    "site-NAME" or "group-ID" where the page says more, or "".
    """

    level: str
    subject: str
    text: str
    who: str
    action: str = ""
    anchor: str = ""
    since: Optional[Moment] = None


@dataclass(frozen=True)
class Glideins:
    """Glideins of all sites that still report; a silent site's old numbers are not in it."""

    queued: int
    running: int
    held: int

    @classmethod
    def of(cls, status: Status) -> Glideins:
        """Returns the sums over the shapes whose batch system could be asked."""
        counts = [
            shape.counts
            for site in status.sites
            if site.state in PRESENT
            for shape in site.shapes
            if shape.counts is not None
        ]
        return cls(
            queued=sum(count.idle for count in counts),
            running=sum(count.running for count in counts),
            held=sum(count.held for count in counts),
        )


def verdict(status: Status) -> Verdict:
    """Returns whether the pool is being served, worst news first."""
    demand = status.demand
    if demand is None and status.errors:
        return Verdict("bad", "Unknown: the demand cannot be read", "Sites submit nothing without a readable demand.")
    if demand is None:
        return Verdict("none", "No demand published yet", "On the access point: glidepost publisher run --config FILE")
    if demand.expires_at <= status.generated_at:
        late = span(int((status.generated_at - demand.expires_at).total_seconds()))
        detail = "Sites refuse an expired demand and submit nothing. Is the publisher's cron job alive?"
        return Verdict("bad", f"Not served: the demand expired {late} ago", detail)
    if demand.idle_jobs == 0:
        return _nothing_waits(demand)
    return _waiting(status, demand.idle_jobs)


def _nothing_waits(demand: DemandStatus) -> Verdict:
    if demand.complete:
        return Verdict("ok", "Nothing waits", "No user job is idle. Glideins leave when they have nothing to run.")
    return Verdict("warn", "Nothing is known to wait", "Not every access point could be asked; see below.")


def _waiting(status: Status, idle_jobs: int) -> Verdict:
    waiting = f"{plural(idle_jobs, 'idle user job')}"
    stuck = sum(group.idle_jobs for group in status.groups if not group.matching_shapes)
    fit = "fits" if stuck == 1 else "fit"
    glideins = Glideins.of(status)
    serving = f"{plural(glideins.queued, 'glidein')} queued, {number(glideins.running)} running."
    if all(site.state in {"never", "revoked"} for site in status.sites):
        return Verdict(
            "warn", f"Not served yet: no site has reported, {waiting}", "A site reports from its first cycle."
        )
    if not any(site.state in PRESENT for site in status.sites):
        return Verdict("bad", f"Not served: no site reports, {waiting}", "Nobody is there to submit glideins.")
    if stuck == idle_jobs:
        return Verdict("bad", f"Not served: {waiting} {fit} no site", "What waits, and why, is said below.")
    if not glideins.queued + glideins.running:
        return Verdict("warn", f"Not served yet: {waiting}, no glidein", "The sites below say why they hold none.")
    if stuck:
        return Verdict("warn", f"Partly served: {number(stuck)} of {waiting} {fit} no site", serving)
    return Verdict("ok", f"Being served: {waiting}", serving)


def notices(status: Status) -> list[Notice]:
    """Returns what somebody must act on, worst first."""
    found = [*_of_pool(status), *_of_groups(status)]
    for site in status.sites:
        found.extend(_of_site(site, status))
    order = {"bad": 0, "warn": 1, "none": 2}
    return sorted(found, key=lambda notice: order[notice.level])


def _of_pool(status: Status) -> Iterator[Notice]:
    now = status.generated_at
    for error in status.errors:
        yield Notice("warn", "Pool", error, _POOL)
    for schedd in status.demand.schedds if status.demand else ():
        if schedd.error is not None:
            text = f"could not be asked, {_counted(schedd, status)}: {schedd.error}"
            since = None if schedd.asked_at is None else moment(schedd.asked_at, now)
            yield Notice(
                "warn", f"Access point {schedd.name}", text, "Its admin", "does its condor_schedd answer?", since=since
            )


def _counted(schedd: ScheddView, status: Status) -> str:
    if schedd.asked_at is None:
        return "its idle user jobs are not counted"
    jobs, asked = plural(schedd.idle_jobs, "idle user job"), moment(schedd.asked_at, status.generated_at)
    return f"{jobs} of {asked.age} are counted in their place"


def _of_groups(status: Status) -> Iterator[Notice]:
    # Without any site there is one thing to do, and the page says it where the sites would be.
    if not any(site.shapes for site in status.sites):
        return
    could_run = set(CANNOT_ANSWER.values())
    for group in status.groups:
        # What only a silent site could run is that site's notice.
        if not group.matching_shapes and not could_run.intersection(group.blocked.values()):
            yield Notice(
                "warn",
                f"Group {group.id}",
                f"{plural(group.idle_jobs, 'idle user job')} that no site can run",
                "Their owners",
                "ask for less, or find a site with more to offer",
                f"group-{group.id}",
                moment(group.idle_since, status.generated_at),
            )


def _of_site(site: SiteStatus, status: Status) -> Iterator[Notice]:
    name, anchor = f"Site {site.site}", f"site-{site.site}"
    if site.state in {"silent", "late"} and site.heartbeat_at is not None:
        level = "bad" if site.state == "silent" else "warn"
        since = moment(site.heartbeat_at, status.generated_at)
        yield Notice(level, name, f"is {site.state}", _SITE, "is glidepost puller run still in cron?", anchor, since)
    elif site.state == "unreadable":
        text = site.errors[0] if site.errors else "its heartbeat cannot be read"
        yield Notice("bad", name, text, _SITE, "what does glidepost puller check say?", anchor, _since(site, status))
    elif site.state == "revoked":
        yield from _of_revoked_site(site, name, anchor)
    elif site.state == "never":
        yield Notice("none", name, "has never reported", _SITE, "put glidepost puller run into cron", anchor)
    else:
        yield from _of_present_site(site, status, name, anchor)


def _since(site: SiteStatus, status: Status) -> Optional[Moment]:
    return moment(site.errors_since, status.generated_at) if site.errors_since else None


def _of_revoked_site(site: SiteStatus, name: str, anchor: str) -> Iterator[Notice]:
    glideins = sum(view.glideins for view in site.pool_view.values())
    if glideins:
        text = f"is shut out, and {plural(glideins, 'glidein')} of it {'is' if glideins == 1 else 'are'} in the pool"
        action = "does HTCondor refuse it? glidepost publisher revoke --write FILE"
        yield Notice("bad", name, text, _POOL, action, anchor)


def _of_present_site(site: SiteStatus, status: Status, name: str, anchor: str) -> Iterator[Notice]:
    if site.errors:
        more = f" (and {len(site.errors) - 1} more)" if len(site.errors) > 1 else ""
        text = f"{site.errors[0]}{more}"
        yield Notice("warn", name, text, _SITE, "glidepost puller why says more", anchor, _since(site, status))
    unasked = [shape.name for shape in site.shapes if shape.counts is None]
    if unasked and not site.errors:
        text = f"could not ask the batch system for {', '.join(unasked[:5])}"
        yield Notice("warn", name, text, _SITE, "does the batch system answer there?", anchor)
    held = sum(shape.counts.held for shape in site.shapes if shape.counts is not None)
    if held:
        text = f"{plural(held, 'glidein')} held in its queue"
        yield Notice("warn", name, text, _SITE, "the batch system says why", anchor)
    for shape in site.shapes:
        if shape.breaker is not None:
            text = f"{shape.name} {_paused(shape.breaker)}: {breaker_code(shape.breaker.code)}"
            since = moment(shape.breaker.since, status.generated_at)
            yield Notice("warn", name, text, _SITE, "glidepost puller why", anchor, since)
    if site.clock_skew_s is not None and abs(site.clock_skew_s) > MAX_SKEW_S:
        text = f"its clock is {span(abs(site.clock_skew_s))} {'behind' if site.clock_skew_s > 0 else 'ahead'}"
        yield Notice("warn", name, text, _SITE, "set that host's clock", anchor)


def _paused(breaker: BreakerView) -> str:
    return "is paused" if breaker.state == "paused" else "tries one glidein after a pause"
