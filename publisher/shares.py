"""How the idle user jobs of each group are divided over the sites: pure.

A share is a level: for so many idle user jobs the site should hold queued glideins. The shares of a group never add
up to more than its idle user jobs times `overcommit`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Optional

from glidepost.schema.demand import Group
from glidepost.schema.resources import Resources


def assign(
    groups: Iterable[Group], offers: Mapping[str, Optional[Sequence[Resources]]], *, overcommit: int = 1
) -> tuple[Group, ...]:
    """Returns the groups with each site's share.

    Args:
        groups: As the census found them.
        offers: Per enrolled site what its shapes offer, by its last heartbeat; None before its first, so that a new
        site
            is tried with everything.
        overcommit: Glideins' places asked for per idle user job.
    """
    return tuple(
        replace(group, sites=_split(group.idle_jobs * overcommit, _able(group, offers), salt=group.id))
        for group in groups
    )


def _able(group: Group, offers: Mapping[str, Optional[Sequence[Resources]]]) -> list[str]:
    return [site for site, shapes in offers.items() if shapes is None or any(map(group.capacity, shapes))]


def _split(count: int, sites: Sequence[str], *, salt: str) -> dict[str, int]:
    """Returns equal integers that add up to `count`; the remainder goes by group, so that it evens out."""
    if not sites:
        return {}
    base, rest = divmod(count, len(sites))
    order = sorted(sites, key=lambda site: hashlib.sha256(f"{salt}/{site}".encode()).digest())
    shares = {site: base + (position < rest) for position, site in enumerate(order)}
    return {site: shares[site] for site in sorted(sites) if shares[site]}
