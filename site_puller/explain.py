"""Why a site did what it did, in words and tables: pure, but for the console it is given."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Final, Optional

from rich.console import Console
from rich.table import Table
from rich.text import Text

from glidepost.schema.demand import Demand
from glidepost.schema.puller_config import PullerConfig

from .plan import ShapePlan, obstacles

REASONS: Final = {
    "satisfied": "all that are missing",
    "covered": "enough glideins are queued or have just started",
    "no-demand": "no user job of the pool is idle",
    "no-share": "no idle user job is assigned to this site",
    "no-fit": "no assigned user job fits into this shape",
    "max-queued": "the shape's limit of queued glideins",
    "max-running": "the shape's limit of running glideins",
    "max-total": "the shape's limit of glideins",
    "site-max-total": "the limit over all shapes",
    "max-per-cycle": "the shape's limit of glideins a cycle",
    "queue-unknown": "the batch system could not be asked, so nothing is submitted",
    "demand-unknown": "there is no demand that may be acted on, so nothing is submitted",
    "submit-failed": "the batch system refused, or its answer was lost",
}


def console() -> Console:
    """Returns standard output; not on a terminal, lines are as long as they need to be."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)


def plan_table(plans: Iterable[ShapePlan], *, title: str, done: bool) -> Table:
    """Returns one row for each shape. `done` says whether it was carried out."""
    table = Table(title=title, title_justify="left", box=None)
    numbers = ("queued", "running", "held", "unknown", "unreported", "wanted", "submitted" if done else "submit")
    table.add_column("shape")
    for heading in numbers:
        table.add_column(heading, justify="right")
    table.add_column("reason")
    table.add_column("which means", overflow="fold")
    for line in plans:
        counts = line.holding.counts
        listed = (counts.idle, counts.running, counts.held, counts.unknown) if counts else ("?",) * 4
        cells = map(str, (*listed, line.holding.unreported, line.wanted, line.submit))
        table.add_row(line.name, *cells, Text(line.reason, style="bold"), Text(line.detail))
    return table


def sentence(line: ShapePlan) -> str:
    """Returns why a shape got what it got, in words."""
    submitted = f"{line.submit} submitted of {line.wanted} wanted" if line.wanted else "none wanted"
    return f"{line.name}: {submitted}, because of {line.reason}: {REASONS.get(line.reason, '?')} ({line.detail})"


def group_table(config: PullerConfig, demand: Demand) -> Table:
    """Returns one row for each group of the demand: this site's share, and for each shape why it cannot run it."""
    table = Table(title=f"groups of demand {demand.sequence}", title_justify="left", box=None)
    for heading in ("group", "idle", "share here", "asks for", *(f"shape {shape.name}" for shape in config.shapes)):
        table.add_column(heading, justify="right" if heading in ("idle", "share here") else "left")
    for group in demand.groups:
        verdicts = (Text(verdict(obstacles(group, config.site, shape))) for shape in config.shapes)
        share = str(group.sites.get(config.site, 0))
        table.add_row(group.id, str(group.idle_jobs), share, str(group.request), *verdicts)
    return table


def verdict(shortfalls: Optional[tuple[str, ...]]) -> str:
    """Returns "fits", or why not."""
    return f"no: {', '.join(shortfalls)}" if shortfalls else "fits"
