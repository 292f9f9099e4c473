"""Reading the demand and the heartbeats: a list says which have changed, and only those are fetched."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Optional, Union

import msgspec

from glidepost.publisher.store import Listed
from glidepost.schema.demand import Demand
from glidepost.schema.document import parse_object
from glidepost.schema.errors import StoreError, UntrustedDocument
from glidepost.schema.heartbeat import Heartbeat
from glidepost.schema.store_keys import DEMAND_KEY, HEARTBEATS, MAILBOXES, MAX_HEARTBEAT_BYTES

from .aggregate import MAX_SITES, SITE_NAME
from .kept import Report
from .store import Store
from .words import plural

SUFFIX: Final = ".json"

MAX_READ_S: Final = 20.0
BATCH: Final = 200
NOT_YET: Final = "its heartbeat was not read yet: the next run goes on"
# As many as boto3 keeps connections open.
THREADS: Final = 10


@dataclass(frozen=True)
class Found:
    """What the store has. `changed` are the sites whose heartbeat was read now, and whether it could be is in it."""

    demand: Union[Demand, str, None]
    reports: Mapping[str, Report]
    changed: Collection[str]
    names: Collection[str]
    mailboxes: Collection[str]
    problems: tuple[str, ...] = ()


def find(
    store: Store,
    kept: Mapping[str, Report],
    mailboxes: Optional[Collection[str]] = None,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Found:
    """Returns the demand, all heartbeats, and every site that has one, or a mailbox.

    Args:
        store: Where they are.
        kept: What is known already, by site: with the same ETag it is not read again.
        mailboxes: The sites that have one, if that is known; else they are listed.
        clock: Seconds, for the time that reading may take.

    Raises:
        StoreError: when the demand or the lists cannot be read. A heartbeat that cannot be read stays as it was before,
            or is an error in its own place.
    """
    demand = read_demand(store)
    listed = {_site_of(item.key, HEARTBEATS): item for item in _documents(store, HEARTBEATS)}
    if mailboxes is None:
        mailboxes = [_site_of(item.key, MAILBOXES) for item in _documents(store, MAILBOXES)]
    readable = [site for site in listed if SITE_NAME.fullmatch(site)][:MAX_SITES]
    changed = [site for site in readable if site not in kept or kept[site].etag != listed[site].etag]
    fetched, problems = _fetch(store, [listed[site] for site in changed], clock)
    reports = {site: kept[site] for site in readable if site in kept}
    for site, report in fetched.items():
        reports[site] = _counted_as(kept.get(site), report)
    for site, problem in problems.items():
        # It is tried again: its ETag is not noted.
        reports[site] = kept[site] if site in kept else Report("", error=problem)
    gone = [site for site in changed if site not in fetched and site not in problems]
    reports = {site: report for site, report in reports.items() if site not in gone}
    waiting = sum(problem == NOT_YET for problem in problems.values())
    told = tuple(problem for site, problem in sorted(problems.items()) if site in kept and problem != NOT_YET)
    if waiting:
        told = (f"{plural(waiting, 'heartbeat')} not read yet, so many are new: the next run goes on", *told)
    return Found(demand, reports, frozenset(fetched), {*listed, *mailboxes}, mailboxes, told)


def _counted_as(old: Optional[Report], new: Report) -> Report:
    if old is not None:
        new.instance_id, new.sequence = old.instance_id, old.sequence
    return new


def _documents(store: Store, prefix: str) -> Iterator[Listed]:
    return (item for item in store.entries(prefix) if item.key.endswith(SUFFIX))


def _site_of(key: str, prefix: str) -> str:
    return key[len(prefix) : -len(SUFFIX)]


def read_demand(store: Store) -> Union[Demand, str, None]:
    """Returns the demand, why it cannot be read, or None when there is none."""
    try:
        body = store.get(DEMAND_KEY)
        return None if body is None else Demand.from_json(parse_object(body, what=DEMAND_KEY))
    except UntrustedDocument as error:
        return f"{DEMAND_KEY}: {error.what.removeprefix(f'{DEMAND_KEY}: ')}"


def _fetch(
    store: Store, items: Sequence[Listed], clock: Callable[[], float]
) -> tuple[dict[str, Report], dict[str, str]]:
    """Returns the heartbeats that were read, and why others were not; one removed since is in neither.

    It stops in time to show what there is: a small function would else be ended before it has kept anything.
    """
    reports: dict[str, Report] = {}
    problems: dict[str, str] = {}
    end = clock() + MAX_READ_S
    with ThreadPoolExecutor(THREADS) as threads:
        for begin in range(0, len(items), BATCH):
            some = items[begin : begin + BATCH]
            if clock() >= end:
                problems.update(dict.fromkeys((_site_of(item.key, HEARTBEATS) for item in items[begin:]), NOT_YET))
                break
            for item, answer in zip(some, threads.map(lambda item: _read(store, item), some)):
                site = _site_of(item.key, HEARTBEATS)
                if isinstance(answer, Report):
                    reports[site] = answer
                elif answer is not None:
                    problems[site] = answer
    return reports, problems


def _read(store: Store, item: Listed) -> Union[Report, str, None]:
    """Returns a heartbeat, with why it cannot be believed in its place; or what the store said; None when it is gone.

    A large one is not even fetched.
    """
    if item.size_bytes > MAX_HEARTBEAT_BYTES:
        return Report(item.etag, error=f"{item.key}: {item.size_bytes} bytes, more than {MAX_HEARTBEAT_BYTES}")
    try:
        body = store.get(item.key, max_bytes=MAX_HEARTBEAT_BYTES)
        if body is None:
            return None
        heartbeat = Heartbeat.from_json(parse_object(body, what=item.key, max_bytes=MAX_HEARTBEAT_BYTES))
        # A half character cannot be written, and would spoil what is kept of all others.
        return Report(item.etag, body=msgspec.Raw(msgspec.json.encode(heartbeat)))
    except UntrustedDocument as error:
        return Report(item.etag, error=error.what)
    except UnicodeEncodeError:
        return Report(item.etag, error=f"{item.key}: half a character in its text")
    except StoreError as error:
        return error.what
