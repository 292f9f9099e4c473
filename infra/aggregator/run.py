"""One run of the aggregator: read what is in the store, decide, write status.json and the page. The I/O is all here.

A run keeps nothing for the next one: doubled, late and lost runs do no harm.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Final, Optional, Protocol, Union

from glidepost.publisher.store import COMPRESS_ABOVE
from glidepost.schema.demand import Demand
from glidepost.schema.document import encode, parse_object
from glidepost.schema.errors import StoreError, UntrustedDocument
from glidepost.schema.heartbeat import Heartbeat
from glidepost.schema.status import Status

from .aggregate import MAX_SITES, aggregate
from .page import render
from .verdict import PRESENT, Glideins, verdict

DEMAND_KEY: Final = "v1/demand.json"
HEARTBEATS: Final = "v1/heartbeats/"
MAILBOXES: Final = "v1/sites/"
STATUS_KEY: Final = "v1/status.json"
PAGE_KEY: Final = "index.html"
SUFFIX: Final = ".json"

# What the upload form allows too; a store that ignores the form's bounds is not trusted with more.
MAX_HEARTBEAT_BYTES: Final = 64 * 1024
CACHE_SECONDS: Final = 15
# As many as boto3 keeps connections open.
THREADS: Final = 10


class Store(Protocol):
    """What the aggregator needs of the object store; S3Store is one. Failures are StoreErrors."""

    def get(self, key: str) -> Optional[bytes]:
        """Returns an object, None when there is none."""

    def put(
        self, key: str, body: bytes, *, content_type: str, cache_seconds: int, compress_above: Optional[int] = None
    ) -> None:
        """Writes an object; compressed, if longer than `compress_above` bytes."""

    def list(self, prefix: str) -> Sequence[str]:
        """Returns the keys that begin with `prefix`."""


def aggregate_once(store: Store, now: datetime, *, pool: str = "unnamed", sites: Collection[str] = ()) -> Status:
    """Returns the status that it wrote, with its page, to the store.

    Args:
        store: Holds the demand, the mailboxes and the heartbeats.
        now: Aware.
        pool: The pool's name while no demand names it.
        sites: Enrolled sites, beside those that have a mailbox.

    Raises:
        StoreError: when the demand or the lists cannot be read, or nothing can be written: the page of the run before
            stays. A heartbeat that cannot be read is shown as such, beside the others.
    """
    demand = _read_demand(store)
    keys = [key for key in store.list(HEARTBEATS) if key.endswith(SUFFIX)]
    mailboxes = [key for key in store.list(MAILBOXES) if key.endswith(SUFFIX)]
    heartbeats = _read_heartbeats(store, keys[:MAX_SITES])
    known = {*sites, *(_site_of(key, MAILBOXES) for key in mailboxes), *(_site_of(key, HEARTBEATS) for key in keys)}
    status = aggregate(demand, heartbeats, known, now, pool=pool)
    body = encode(status.to_json())
    _write(store, STATUS_KEY, body, "application/json")
    _write(store, PAGE_KEY, render(status).encode(), "text/html; charset=utf-8")
    return status


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


def _write(store: Store, key: str, body: bytes, content_type: str) -> None:
    store.put(key, body, content_type=content_type, cache_seconds=CACHE_SECONDS, compress_above=COMPRESS_ABOVE)


def _read_demand(store: Store) -> Union[Demand, str, None]:
    body = store.get(DEMAND_KEY)
    if body is None:
        return None
    try:
        return Demand.from_json(parse_object(body, what=DEMAND_KEY))
    except UntrustedDocument as error:
        return f"{DEMAND_KEY}: {error.what.removeprefix(f'{DEMAND_KEY}: ')}"


def _read_heartbeats(store: Store, keys: Sequence[str]) -> dict[str, Union[Heartbeat, str]]:
    with ThreadPoolExecutor(THREADS) as threads:
        found = threads.map(lambda key: _read_heartbeat(store, key), keys)
        pairs = [(_site_of(key, HEARTBEATS), heartbeat) for key, heartbeat in zip(keys, found)]
    return {site: heartbeat for site, heartbeat in pairs if heartbeat is not None}


def _read_heartbeat(store: Store, key: str) -> Optional[Union[Heartbeat, str]]:
    """Returns a heartbeat, or why it cannot be read; None when it was removed since it was listed."""
    try:
        body = store.get(key)
        if body is None:
            return None
        return Heartbeat.from_json(parse_object(body, what=key, max_bytes=MAX_HEARTBEAT_BYTES))
    except (StoreError, UntrustedDocument) as error:
        return error.what


def _site_of(key: str, prefix: str) -> str:
    return key[len(prefix) : -len(SUFFIX)]
