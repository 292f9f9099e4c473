"""Writing the files of a run: only those that have changed, and pages only as often as somebody gains by it.

A request to write costs as much as a dozen to read. What a run has written it notes (kept.Written): the digest, and
when. Once a day each file is written again, changed or not, so that one that somebody removed comes back.
"""

from __future__ import annotations

import hashlib
import logging
import zlib
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Final, Optional

from glidepost.schema.errors import StoreError
from glidepost.schema.status import Status

from .health import health
from .kept import Written
from .machines import BADGES, Files
from .overview import MAX_SITES, sorted_sites
from .page import GROUPS
from .store import Store, write

LOG = logging.getLogger(__name__)

SITES: Final = "sites/"
THREADS: Final = 10
AGAIN_S: Final = 24 * 3600
# The page of a site shows what it reports each 15 minutes, and says itself that it is old after an hour.
SITE_PAGE_S: Final = 900
OLDEST_SITE_PAGE_S: Final = 3000
GROUPS_S: Final = 180
# More are left to the next runs: a first run with very many sites must end too.
MAX_SITE_PAGES: Final = 60
MAX_WRITES: Final = 300


def site_page(site: str) -> str:
    """Returns the key of a site's page."""
    return f"{SITES}{site}.html"


def due_pages(
    status: Status, written: Mapping[str, Written], states: Mapping[str, str], changed: Collection[str], now: datetime
) -> list[str]:
    """Returns the sites whose pages are to be made in this run, those that have waited longest first.

    Args:
        status: What is there now.
        written: What was written before, by key.
        states: How the sites were in the run before, in a word.
        changed: Sites that have reported since.
        now: Aware.
    """
    due = []
    for site in sorted_sites(status)[:MAX_SITES]:
        before = written.get(site_page(site.site))
        age = now.timestamp() - before.at if before else float("inf")
        if (
            age >= OLDEST_SITE_PAGE_S
            or (age >= SITE_PAGE_S and site.site in changed)
            or states.get(site.site) != health(site).state
        ):
            due.append((-age, site.site))
    return [site for _, site in sorted(due)][:MAX_SITE_PAGES]


def write_changed(
    store: Store, files: Files, written: Mapping[str, Written], now: datetime
) -> tuple[dict[str, Written], list[StoreError]]:
    """Returns what is written now, by key, and what could not be.

    The files are written side by side, those that the first ones of `files` do not need before them: style sheets
    before pages.

    Args:
        store: Where they go.
        files: (body, content type) by key.
        written: What was written before.
        now: Aware.
    """
    at = int(now.timestamp())
    wanted = {}
    for key, (body, _) in files.items():
        new = Written(hashlib.sha256(body).hexdigest()[:32], at)
        if _is_due(key, new, written.get(key)):
            wanted[key] = new
    first = [key for key in wanted if key.startswith("assets/")]
    rest = [key for key in wanted if key not in first][:MAX_WRITES]
    done, failures = dict(written), []
    for keys in (first, rest):
        for key, failure in _write_all(store, files, keys):
            if failure is None:
                done[key] = wanted[key]
            else:
                failures.append(failure)
        if failures:
            break  # a page without its style is worse than the one before
    return done, failures


def _is_due(key: str, new: Written, old: Optional[Written]) -> bool:
    if old is None:
        return True
    age = new.at - old.at
    if new.digest == old.digest:
        return age >= AGAIN_S + zlib.crc32(key.encode()) % 3600  # not all in one run
    return not (key == GROUPS and 0 <= age < GROUPS_S)


def _write_all(store: Store, files: Files, keys: Collection[str]) -> Iterator[tuple[str, Optional[StoreError]]]:
    def put(key: str) -> Optional[StoreError]:
        try:
            write(store, key, *files[key])
        except StoreError as error:
            return error
        return None

    if not keys:
        return
    with ThreadPoolExecutor(THREADS) as threads:
        yield from zip(keys, threads.map(put, keys))


def remove_gone(store: Store, status: Status, written: Mapping[str, Written]) -> dict[str, Written]:
    """Returns what is written without the pages and badges of sites that are not there any more, which are removed."""
    sites = {site.site for site in status.sites}
    left = dict(written)
    for key in written:
        folder, _, name = key.rpartition("/")
        site = name.rsplit(".", 1)[0]
        if f"{folder}/" in {SITES, BADGES} and site not in sites and not site.startswith("_"):
            try:
                store.delete(key)
            except StoreError as error:
                LOG.warning("cannot remove the file of a site that is gone key=%s error=%s", key, error.what)
            del left[key]
    return left
