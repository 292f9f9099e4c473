"""Reading the sites' heartbeats: a list says which have changed, and only those are fetched, several at a time."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Optional, Union

from glidepost.schema.document import parse_object
from glidepost.schema.errors import UntrustedDocument
from glidepost.schema.heartbeat import Heartbeat
from glidepost.schema.store_keys import HEARTBEATS, MAX_HEARTBEAT_BYTES, heartbeat_key

from . import kept
from .store import Listed, S3Store

LOG = logging.getLogger(__name__)

# Of the 10 connections that boto3 keeps open.
THREADS: Final = 8

_Found = Union[kept.Body, UntrustedDocument, None]


def read(store: S3Store, sites: Collection[str], memory: kept.Memory) -> dict[str, Optional[Heartbeat]]:
    """Returns each site's last heartbeat, None before its first; a site whose last cannot be believed is left out.

    Args:
        store: Where they are.
        sites: Those that are enrolled: others are neither read nor kept.
        memory: What was read before. It is changed to what was read now.

    Raises:
        StoreError: when the store cannot be read.
    """
    bodies = _bodies(store, {heartbeat_key(site) for site in sites}, memory.heartbeats)
    memory.heartbeats = {key: body for key, body in bodies.items() if isinstance(body, kept.Body) and body.etag}
    found: dict[str, Optional[Heartbeat]] = {}
    for site in sites:
        try:
            heartbeat = _parsed(site, bodies.get(heartbeat_key(site)))
        except UntrustedDocument as error:
            LOG.warning("heartbeat unreadable site=%s error=%s", site, error.what)
            continue
        if heartbeat is None or heartbeat.site == site:
            found[site] = heartbeat
        else:
            LOG.warning("heartbeat of another site site=%s says=%s", site, heartbeat.site)
    return found


def _bodies(store: S3Store, keys: Collection[str], known: Mapping[str, kept.Body]) -> dict[str, _Found]:
    """Returns what is under each key that is listed, from the memory where it has not changed."""
    bodies: dict[str, _Found] = {}
    changed = []
    for item in store.entries(HEARTBEATS):
        if item.key not in keys:
            continue
        old = known.get(item.key)
        if old and kept.is_same(old.etag, item.etag):
            bodies[item.key] = old
        else:
            changed.append(item)
    if changed:
        with ThreadPoolExecutor(min(THREADS, len(changed))) as threads:
            # (the first failure ends the run: what has not begun yet is given up)
            for item, found in zip(changed, threads.map(lambda item: _fetch(store, item), changed)):
                bodies[item.key] = found
    return bodies


def _fetch(store: S3Store, item: Listed) -> _Found:
    """Returns an object, or why it is not believed; None when it was removed since. One too large is not read."""
    if item.size_bytes > MAX_HEARTBEAT_BYTES:
        what = f"{item.key}: {item.size_bytes} bytes, more than {MAX_HEARTBEAT_BYTES}"
        return UntrustedDocument(what, hint="the form allows no more: somebody wrote it who is not the site")
    try:
        found = store.fetch(item.key, max_bytes=MAX_HEARTBEAT_BYTES)
    except UntrustedDocument as error:
        return error
    # (the ETag is that of the answer: it may be newer than the list)
    return None if found is None else kept.Body(found.etag, found.body)


def _parsed(site: str, found: _Found) -> Optional[Heartbeat]:
    """Returns the heartbeat in foreign bytes.

    Raises:
        UntrustedDocument: when it cannot be believed.
    """
    if isinstance(found, UntrustedDocument):
        raise found
    if found is None:
        return None
    data = parse_object(found.body, what=f"heartbeat of {site}", max_bytes=MAX_HEARTBEAT_BYTES)
    return Heartbeat.from_json(data)
