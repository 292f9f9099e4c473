"""Which shapes can run each group, and why the others cannot. Pure.

Many shapes offer the same, so that each group is held against each different offer once. With 10,000 sites and
hundreds of groups anything else would take minutes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from glidepost.schema.demand import Demand, Group
from glidepost.schema.resources import Resources
from glidepost.schema.status import GroupStatus, SiteStatus

from .text import clean

# Reasons are groups times shapes: with many of both, only some of them are written out, as many for each group.
MAX_BLOCKED: Final = 100
MAX_BLOCKED_TOTAL: Final = 20_000
MIN_BLOCKED: Final = 4
CANNOT_ANSWER: Final = {
    "silent": "could run it, but its site is silent",
    "unreadable": "could run it, but its site's heartbeat cannot be believed",
}


@dataclass(frozen=True)
class _Offer:
    """One shape of one site; `kind` is the number of what it offers."""

    site: str
    shape: str
    kind: int
    cannot_answer: str


@dataclass(frozen=True)
class _Market:
    """All shapes, and what is offered: the different offers, and how many shapes that answer have each."""

    offers: Sequence[_Offer]
    of_site: dict[str, list[_Offer]]
    kinds: Sequence[tuple[Resources, bool]]
    answering: Counter[int]

    @classmethod
    def of(cls, sites: Iterable[SiteStatus]) -> _Market:
        kinds: dict[tuple[Resources, bool], int] = {}
        of_site: dict[str, list[_Offer]] = {}
        for site in sites:
            of_site[site.site] = [
                _Offer(
                    site.site,
                    shape.name,
                    kinds.setdefault((shape.offers, shape.gpu_backfill), len(kinds)),
                    CANNOT_ANSWER.get(site.state, ""),
                )
                for shape in site.shapes
            ]
        offers = [offer for some in of_site.values() for offer in some]
        return cls(offers, of_site, list(kinds), Counter(offer.kind for offer in offers if not offer.cannot_answer))


def group_statuses(demand: Demand, sites: Sequence[SiteStatus]) -> tuple[GroupStatus, ...]:
    """Returns each group of the demand with the shapes that can run it now, counted, and why some others cannot."""
    limit = max(MIN_BLOCKED, min(MAX_BLOCKED, MAX_BLOCKED_TOTAL // max(1, len(demand.groups))))
    market = _Market.of(sites)
    return tuple(_group(group, market, limit) for group in demand.groups)


def _group(group: Group, market: _Market, limit: int) -> GroupStatus:
    lacks = ["; ".join(group.shortfalls(offers, backfill=backfill)) for offers, backfill in market.kinds]
    matching = sum(count for kind, count in market.answering.items() if not lacks[kind]) - sum(
        not offer.cannot_answer and not lacks[offer.kind] and bool(_why_no_match(group, offer))
        for site in group.shapes
        for offer in market.of_site.get(site, ())
    )
    wanted = min(limit, len(market.offers) - matching)
    blocked: dict[str, str] = {}
    for offer in market.offers:
        if len(blocked) >= wanted:
            break
        why = lacks[offer.kind] or _why_no_match(group, offer) or offer.cannot_answer
        if why:
            blocked[f"{offer.site}/{offer.shape}"] = clean(why)
    return GroupStatus(
        id=group.id,
        idle_jobs=group.idle_jobs,
        idle_since=group.idle_since,
        request=group.request,
        accounting_group=None if group.accounting_group is None else clean(group.accounting_group)[:200],
        sites=dict(group.sites),
        blocked=blocked,
        matching_shapes=matching,
    )


def _why_no_match(group: Group, offer: _Offer) -> str:
    """Returns why a shape with enough of everything does not count; where the pool names no shape of a site, all do."""
    if offer.site not in group.shapes or offer.shape in group.shapes[offer.site]:
        return ""
    return f"does not match; clause by clause: glidepost publisher why {group.id}"
