"""Everything that is written for programs beside status.json, by key: metrics, feed, tables, badges. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from glidepost.schema.status import Status

from . import badges, feed, metrics, tables
from .history import HISTORIES, History
from .problems import Problem
from .verdict import verdict

METRICS_KEY: Final = "v1/metrics.txt"
BADGES: Final = "badges/"
TABLES: Final = "v1/history/"

Files = dict[str, tuple[bytes, str]]


def files(
    status: Status,
    histories: Mapping[str, History],
    problems: Iterable[Problem] = (),
    changed: Collection[str] = tuple(HISTORIES),
) -> Files:
    """Returns (body, content type) by key.

    Args:
        status: What is there now.
        histories: By their names.
        problems: For the feed.
        changed: The histories whose tables are wanted: those that have changed.
    """
    found: Files = {
        METRICS_KEY: (metrics.render(status), metrics.CONTENT_TYPE),
        feed.KEY: (feed.render(status.pool, problems), feed.CONTENT_TYPE),
    }
    for name in changed:
        if name in histories:
            found[f"{TABLES}pool-{name}.csv"] = (tables.pool_table(histories[name]), tables.CONTENT_TYPE)
            found[f"{TABLES}sites-{name}.csv"] = (tables.sites_table(histories[name]), tables.CONTENT_TYPE)
    found[f"{BADGES}{badges.POOL}.svg"] = (_pool_badge(status), badges.CONTENT_TYPE)
    for site in status.sites:
        found[f"{BADGES}{site.site}.svg"] = (badges.site_badge(site.site, site.state), badges.CONTENT_TYPE)
    return found


_WORDS: Final = {"ok": "served", "warn": "needs a look", "bad": "not served", "none": "no demand yet"}


def _pool_badge(status: Status) -> bytes:
    level = verdict(status).level
    return badges.draw(status.pool, _WORDS[level], level)
