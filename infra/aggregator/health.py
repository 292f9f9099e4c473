"""How a site is: its state by its heartbeat's age, and what of its report one should read first. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from glidepost.schema.status import SiteStatus

from .words import SITE_STATES, breaker_code, reason

MAX_SHAPES: Final = 2
_ORDER: Final = {"bad": 0, "warn": 1, "none": 2, "ok": 3}


@dataclass(frozen=True)
class Health:
    """`level` is a class of the style sheet, `state` the word for it, `says` what the site says of itself.

    `is_trouble` says that this is something to act on: an error, an open breaker, held glideins.
    """

    level: str
    state: str
    says: str
    is_trouble: bool

    @property
    def order(self) -> int:
        """Sorts ill sites before those that are well."""
        return _ORDER[self.level]


def health(site: SiteStatus) -> Health:
    """Returns how a site is; one that reports trouble is not well."""
    level, state = SITE_STATES.get(site.state, ("none", site.state))
    trouble = _trouble(site)
    if trouble and level == "ok":
        return Health("warn", f"{state} trouble", trouble, is_trouble=True)
    return Health(level, state, trouble or _reasons(site), is_trouble=bool(trouble))


def _trouble(site: SiteStatus) -> str:
    if site.errors:
        return site.errors[0]
    for shape in site.shapes:
        if shape.breaker is not None:
            return f"{shape.name}: paused, {breaker_code(shape.breaker.code)}"
    for shape in site.shapes:
        if shape.counts is not None and shape.counts.held:
            return f"{shape.name}: {reason('held')}"
    return ""


def _reasons(site: SiteStatus) -> str:
    words = list(dict.fromkeys(reason(shape.reason) for shape in site.shapes))
    if len(words) <= 1:
        return "".join(words)
    more = "; …" if len(site.shapes) > MAX_SHAPES else ""
    return "; ".join(f"{shape.name}: {reason(shape.reason)}" for shape in site.shapes[:MAX_SHAPES]) + more
