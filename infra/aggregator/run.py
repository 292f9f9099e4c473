"""One run of the aggregator: read what has changed, decide, write what has changed. The I/O comes together here.

What a run leaves for the next one (kept.py, rings.py, problems.py) may be lost or damaged, and runs may be doubled,
late or lost: the next one makes it good. A run that cannot read writes nothing, and the page of the run before stays.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Final, Union

import msgspec

from glidepost.schema.demand import Demand
from glidepost.schema.document import encode
from glidepost.schema.errors import GlidepostError, StoreError
from glidepost.schema.heartbeat import Heartbeat
from glidepost.schema.status import Status

from . import alerts, files, kept, machines, rings
from .aggregate import MAX_ERRORS, aggregate
from .alerts import NOBODY, Audience
from .health import health
from .history import FINEST, History
from .kept import Heartbeats, Kept, Report
from .page import pages
from .problems import Problem
from .reading import Found, find
from .samples import POOL, Numbers, add, levels, outcomes, starts, tracked_sites
from .store import JSON, Store, write
from .text import clean
from .verdict import PRESENT, Glideins, verdict

__all__ = [
    "PAGE_KEY",
    "STATUS_KEY",
    "Store",
    "aggregate_once",
    "summary",
    "watch_once",
]

STATUS_KEY: Final = "v1/status.json"
PAGE_KEY: Final = "index.html"
# A status is held against its schema to find our own mistakes, of which many sites show no more than some.
MAX_CHECKED: Final = 500
MAILBOXES_S: Final = 600
# A larger one is for programs only.
MAX_INDENTED_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class Seen:
    """What a run has read and made of it. `changed_rings` are those of the histories that are to be written."""

    status: Status
    found: Found
    kept: Kept
    histories: Mapping[str, History]
    changed_rings: Mapping[str, History]


def aggregate_once(
    store: Store,
    now: datetime,
    *,
    pool: str = "unnamed",
    sites: Collection[str] = (),
    audience: Audience = NOBODY,
) -> Status:
    """Returns the status that it wrote, with histories, pages and files for programs, to the store.

    Args:
        store: Holds the demand, the mailboxes and the heartbeats.
        now: Aware.
        pool: The pool's name while no demand names it.
        sites: Enrolled sites, beside those that have a mailbox.
        audience: Who is told what has gone wrong since the run before.

    Raises:
        StoreError: when the demand, the lists or the histories cannot be read, or the status cannot be written: the
            page of the run before stays. A heartbeat that cannot be read is shown as such, beside the others.
        GlidepostError: when all is done but some: a file that could not be written, a message that could not be sent.
    """
    seen = look(store, now.astimezone(timezone.utc).replace(microsecond=0), pool=pool, sites=sites)
    rings.save(store, seen.changed_rings)
    write(store, STATUS_KEY, encode_status(seen.status, seen.found.changed), JSON)
    failures: list[GlidepostError] = []
    problems: Mapping[str, Problem] = {}
    try:
        problems = alerts.notice(store, seen.status)
        failures += alerts.tell(store, problems, audience, seen.status)
    except StoreError as error:
        failures.append(error)
    try:
        failures += _write_files(store, seen, problems)
    finally:  # also when a page could not be made: what was read need not be read again
        kept.save(store, seen.kept)
    _raise(failures)
    return seen.status


def watch_once(
    store: Store,
    now: datetime,
    audience: Audience,
    *,
    pool: str = "unnamed",
    sites: Collection[str] = (),
) -> Status:
    """Returns the status, of which nothing is written: who watches only tells what has gone wrong, or is well again.

    Raises:
        StoreError: when the store cannot be read, or what was told not be noted.
        GlidepostError: when a message could not be sent.
    """
    before = kept.load(store)
    status, _ = dated(_status(find(store, before.reports), now, pool, sites), before)
    _raise(alerts.tell(store, alerts.notice(store, status), audience, status))
    return status


def _raise(failures: Sequence[GlidepostError]) -> None:
    if failures:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise GlidepostError(f"{failures[0].what}{more}", hint=f"all the rest is done; {failures[0].hint}")


def look(store: Store, now: datetime, *, pool: str, sites: Collection[str]) -> Seen:
    """Returns what a run would write at `now`; the store is only read.

    Raises:
        StoreError: when it cannot be read.
    """
    before, histories = kept.load(store), rings.load(store, now)
    # A list costs as much as a file that is written, and a site that is new shows with its first heartbeat too.
    is_listed = 0 <= now.timestamp() - before.listed_at < MAILBOXES_S
    found = find(store, before.reports, before.mailboxes if is_listed else None)
    status, errors_since = dated(_status(found, now, pool, sites), before)
    demand = found.demand if isinstance(found.demand, Demand) else None
    grown_pool, metrics = starts(demand, before.metrics)
    grown: Numbers = {POOL: grown_pool} if grown_pool else {}
    tracked = tracked_sites(status, histories[FINEST].sites if FINEST in histories else ())
    ended = count_outcomes(found.reports, found.changed, is_new=before.is_new)
    grown.update({site: values for site, values in ended.items() if site in tracked})
    done, filled = add(before.filled, now, levels(status, tracked), grown)
    changed = rings.advance(histories, done[0], done[1], now) if done else {}
    after = Kept(
        dict(found.reports),
        filled,
        metrics,
        before.written,
        before.states,
        list(found.mailboxes),
        before.listed_at if is_listed else int(now.timestamp()),
        errors_since,
    )
    return Seen(status, found, after, {**histories, **changed}, changed)


def _status(found: Found, now: datetime, pool: str, sites: Collection[str]) -> Status:
    status = aggregate(found.demand, Heartbeats(found.reports), {*sites, *found.names}, now, pool=pool)
    errors = (*status.errors, *(clean(problem) for problem in found.problems))
    return replace(status, errors=errors[:MAX_ERRORS])


def dated(status: Status, before: Kept) -> tuple[Status, dict[str, int]]:
    """Returns the status with the time since when each site has errors, and these times, in seconds of the epoch.

    A site that reports errors and one that cannot be read are in different trouble: the time begins anew.
    """
    now = int(status.generated_at.timestamp())
    since = {}
    for site in status.sites:
        if site.errors:
            is_same = (before.states.get(site.site) == "unreadable") == (site.state == "unreadable")
            since[site.site] = min(before.errors_since.get(site.site, now), now) if is_same else now
    sites = (
        replace(site, errors_since=datetime.fromtimestamp(since[site.site], timezone.utc)) if site.errors else site
        for site in status.sites
    )
    return replace(status, sites=tuple(sites)), since


def count_outcomes(reports: Mapping[str, Report], changed: Collection[str], *, is_new: bool) -> Numbers:
    """Returns how many glideins have ended, by site, from the heartbeats that were not counted before.

    Each is counted once, by its instance and number, which are noted in `reports`. When nobody knows what was counted
    before (`is_new`), nothing is.
    """
    grown: Numbers = {}
    heartbeats = Heartbeats(reports)
    for site in sorted(changed):
        report, heartbeat = reports[site], heartbeats[site]
        if not isinstance(heartbeat, Heartbeat) or heartbeat.site != site:
            continue
        is_newer = heartbeat.instance_id != report.instance_id or heartbeat.sequence > report.sequence
        if is_newer and not is_new:
            grown[site] = outcomes(heartbeat)
        if is_newer:
            report.instance_id, report.sequence = heartbeat.instance_id, heartbeat.sequence
    return grown


def encode_status(status: Status, changed: Collection[str]) -> bytes:
    """Returns status/1, indented while people may read it.

    Raises:
        GlidepostError: when it breaks its schema; of very many sites those that have changed are looked at, and some.
    """
    checked = [site for site in status.sites if len(status.sites) <= MAX_CHECKED or site.site in changed][:MAX_CHECKED]
    data = replace(status, sites=tuple(checked)).to_json()
    if len(checked) == len(status.sites):
        body = encode(data)
        if len(body) <= MAX_INDENTED_BYTES:
            return body
    # In one piece, as it may be many MB: the brace that the rest begins with becomes the comma before it.
    buffer = bytearray(b'{"kind":"status/1"')
    place = len(buffer)
    msgspec.json.Encoder().encode_into(status, buffer, place)
    buffer[place : place + 1] = b","
    buffer += b"\n"
    return bytes(buffer)


def _write_files(store: Store, seen: Seen, problems: Mapping[str, Problem]) -> list[StoreError]:
    """Returns what could not be written, after pages and files for programs were, and notes what was."""
    status, after = seen.status, seen.kept
    now = status.generated_at
    due = files.due_pages(status, after.written, after.states, seen.found.changed, now)
    # Where a table was never written it is, whatever has changed.
    tables = [
        name
        for name in seen.histories
        if name in seen.changed_rings or f"{machines.TABLES}pool-{name}.csv" not in after.written
    ]
    made = {
        **pages(status, seen.histories, only=due),
        **machines.files(status, seen.histories, problems.values(), tables),
    }
    after.written, failures = files.write_changed(store, made, after.written, now)
    after.written = files.remove_gone(store, status, after.written)
    after.states = {site.site: health(site).state for site in status.sites}
    return failures


def summary(status: Status) -> dict[str, Union[str, int]]:
    """Returns a status in a few numbers, for log lines and return values."""
    glideins = Glideins.of(status)
    return {
        "pool": status.pool,
        "verdict": verdict(status).text,
        "idle_jobs": status.demand.idle_jobs if status.demand else 0,
        "groups": len(status.groups),
        "groups_without_site": sum(not group.matching_shapes for group in status.groups),
        "sites": len(status.sites),
        "sites_reporting": sum(site.state in PRESENT for site in status.sites),
        "glideins_queued": glideins.queued,
        "glideins_running": glideins.running,
        "errors": len(status.errors),
    }
