"""The status as pages: the pool's, one for groups, one for each site, and the style sheet and script of all. Pure.

Every text of a site or a user job is foreign and is escaped; nothing on a page may run but the script beside it. The
policy stands in the pages too, for stores that send no headers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final, Optional

import jinja2

from glidepost.schema.status import Status

from .drawings import pool_drawings, site_drawings
from .figures import SPANS
from .group_view import group_row, left_out, more_groups, sorted_groups
from .history import HISTORIES, History
from .overview import MAX_SITES, overview, sorted_sites
from .site_view import site_page
from .words import Moment, moment

INDEX: Final = "index.html"
GROUPS: Final = "groups.html"
HTML: Final = "text/html; charset=utf-8"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'"
)
MAX_GROUPS: Final = 200
# After so many seconds without a new one, a page says that it is old. Sites' pages may be written less often.
STALE_S: Final = 300
SITE_STALE_S: Final = 3600

_SITE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
# The mark of each level, so that colour is never alone: a ring with a tick, a triangle, an octagon, an empty ring.
_ICONS: Final = {
    "ok": "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zm3.6 5.2-4.4 5a.9.9 0 0 1-1.3 0L4.2 9.4l1.2-1.2 1.1 1.1 3.8-4.3z",
    "warn": "M8 1.2 15.5 14.5H.5zM7.2 6v4.2h1.6V6zm0 5.2v1.7h1.6v-1.7z",
    "bad": "M4.9 1h6.2L15 4.9v6.2L11.1 15H4.9L1 11.1V4.9zm.7 3.4L4.4 5.6 6.8 8l-2.4 2.4 1.2 1.2L8 9.2l2.4 2.4"
    " 1.2-1.2L9.2 8l2.4-2.4-1.2-1.2L8 6.8z",
    "none": "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zm0 1.8a5.2 5.2 0 1 1 0 10.4A5.2 5.2 0 0 1 8 2.8z",
}
# The shapes of the lines in figures, about their middle: a dot, a square, two triangles, a diamond, a ring.
_MARKS: Final = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "M-4-4h8v8h-8z",
    "M0-5 5 4h-10z",
    "M0-5.5 5 0 0 5.5-5 0z",
    "M0 5-5-4h10z",
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
)
# In the tab of a browser there is no style sheet: mid tones that show on light and dark.
_TAB_COLOURS: Final = {"ok": "0a9475", "warn": "c98200", "bad": "d9483b", "none": "808a96"}


@dataclass(frozen=True)
class Frame:
    """What all pages share: `root` leads to the pool's page, `level` is the icon in the tab."""

    pool: str
    made: Moment
    title: str
    level: str
    root: str
    place: str
    stale_s: int


def pages(
    status: Status, histories: Mapping[str, History], *, only: Optional[Collection[str]] = None
) -> dict[str, tuple[bytes, str]]:
    """Returns the files of the page by their keys in the store, each with its content type.

    Style sheet and script come first, and their keys change with what is in them: who writes the files in this order
    never shows a page without its style, and need not write those two again.

    Args:
        status: What is shown.
        histories: By resolution; the figures say so when there are none.
        only: The sites whose pages are wanted; all that the pool's page shows, when it is not given.
    """
    listed = [site for site in sorted_sites(status)[:MAX_SITES] if _SITE_NAME.fullmatch(site.site)]
    linked = frozenset(site.site for site in listed)
    made = moment(status.generated_at, status.generated_at)
    found = {_asset("css"): (_text("page.css").encode(), "text/css; charset=utf-8")}
    found[_asset("js")] = (_text("page.js").encode(), "text/javascript; charset=utf-8")
    view = overview(status, histories)
    rings = [name for name in HISTORIES if name in histories]
    frame = Frame(status.pool, made, view.verdict.text, view.verdict.level, "", INDEX, STALE_S)
    found[INDEX] = _page(
        frame, page=view, linked=linked, rings=rings, drawings=pool_drawings(histories, status.generated_at)
    )
    found[GROUPS] = _groups(status, made, linked)
    for site in status.sites:
        if site.site in linked and (only is None or site.site in only):
            shown = site_page(site, status)
            frame = Frame(
                status.pool, made, f"{site.site}: {shown.state}", shown.level, "../", "site.html", SITE_STALE_S
            )
            drawings = site_drawings(site.site, histories, status.generated_at)
            found[f"sites/{site.site}.html"] = _page(frame, page=shown, linked=linked, rings=rings, drawings=drawings)
    return found


def _groups(status: Status, made: Moment, linked: frozenset[str]) -> tuple[bytes, str]:
    groups = sorted_groups(status)
    stuck = any(not group.matching_shapes for group in groups)
    level = "none" if status.demand is None else "warn" if stuck else "ok"
    return _page(
        Frame(status.pool, made, "What waits", level, "", GROUPS, STALE_S),
        groups=[group_row(group, status) for group in groups[:MAX_GROUPS]],
        more_groups=more_groups(groups[MAX_GROUPS:]),
        left_out=left_out(status.demand.other if status.demand else None),
        demand=status.demand,
        counted=moment(status.demand.generated_at, status.generated_at) if status.demand else None,
        linked=linked,
    )


def _page(frame: Frame, **values: object) -> tuple[bytes, str]:
    text = _environment().get_template(f"{frame.place}.j2").render(frame=frame, **values)
    # A lone half of a character, which no store takes, is shown as "?".
    return text.encode("utf-8", "replace"), HTML


def _asset(kind: str) -> str:
    digest = hashlib.sha256(_text(f"page.{kind}").encode()).hexdigest()
    return f"assets/page.{digest[:16]}.{kind}"


@cache
def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        policy=POLICY,
        icons=_ICONS,
        marks=_MARKS,
        tab_colours=_TAB_COLOURS,
        spans=SPANS,
        style=_asset("css"),
        script=_asset("js"),
    )
    return environment
