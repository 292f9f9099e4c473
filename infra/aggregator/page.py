"""status/1 as index.html: one file, no script, nothing fetched, under a policy that would allow neither. Pure."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import Final

import jinja2
import markupsafe

from glidepost.schema.status import Status

from .view import view

# The mark of each level, so that colour is never alone: a ring with a tick, a triangle, a cross, an empty ring.
ICON_PATHS: Final = {
    "ok": "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zm3.6 5.2-4.4 5a.9.9 0 0 1-1.3 0L4.2 9.4l1.2-1.2 1.1 1.1 3.8-4.3z",
    "warn": "M8 1.2 15.5 14.5H.5zM7.2 6v4.2h1.6V6zm0 5.2v1.7h1.6v-1.7z",
    "bad": "M4.9 1h6.2L15 4.9v6.2L11.1 15H4.9L1 11.1V4.9zm.7 3.4L4.4 5.6 6.8 8l-2.4 2.4 1.2 1.2L8 9.2l2.4 2.4"
    " 1.2-1.2L9.2 8l2.4-2.4-1.2-1.2L8 6.8z",
    "none": "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zm0 1.8a5.2 5.2 0 1 1 0 10.4A5.2 5.2 0 0 1 8 2.8z",
}
# In the tab of a browser there is no style sheet: mid tones that show on light and dark.
_TAB_COLOURS: Final = {"ok": "0a9475", "warn": "c98200", "bad": "d9483b", "none": "808a96"}


def render(status: Status) -> str:
    """Returns the page as HTML. Every text is escaped; the only style block is named by its hash in the policy."""
    style = _text("status.css")
    return _template().render(
        page=view(status),
        style=markupsafe.Markup(style),  # noqa: S704 - our own file, and the policy below holds its hash
        policy=policy(style),
        icons=ICON_PATHS,
        tab_colours=_TAB_COLOURS,
    )


def policy(style: str) -> str:
    """Returns the Content-Security-Policy of a page with exactly this style block: no script, no address, no form."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_text("status.html.j2"))
