"""What a site does that the pool has shut out: submit nothing, take its queued glideins back, say so. Pure.

Running glideins end by themselves: the pool gives them no more user jobs. The word is the pool's own, signed, so that
nobody else can say it.
"""

from __future__ import annotations

from typing import Final, Optional

from glidepost.schema.demand import Demand
from glidepost.schema.errors import ConfigError

from .gate import Gate

REVOKED: Final = "revoked"


def is_out(demand: Optional[Demand], site: str) -> bool:
    """Returns whether the pool has shut a site out."""
    return demand is not None and site in demand.revoked


def gate(demand: Optional[Demand], site: str) -> Optional[Gate]:
    """Returns what keeps all shapes from submitting, None when the site takes part."""
    return Gate(REVOKED, "this site was shut out by the pool: ask the pool's admin") if is_out(demand, site) else None


def error(demand: Demand, site: str) -> ConfigError:
    """Returns what a person must be told, with exit code 2: no later cycle mends it."""
    return ConfigError(
        f"this site, {site}, was shut out by the pool {demand.pool}: nothing is submitted, queued glideins are removed",
        hint="ask the pool's admin; to stop asking the pool, take `glidepost puller run` out of cron",
    )
