"""Why a site did what it did, in words and tables: pure, but for the console it is given."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any, Optional

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from glidepost.backends.base import BatchJob
from glidepost.schema.demand import Demand
from glidepost.schema.puller_config import PullerConfig
from glidepost.schema.reasons import REASONS

from .coverage import obstacles
from .plan import ShapePlan


def console() -> Console:
    """Returns standard output; not on a terminal, lines are as long as they need to be."""
    return Console(highlight=False, width=None if sys.stdout and sys.stdout.isatty() else 200)


def plan_table(plans: Iterable[ShapePlan], *, title: str, done: bool) -> Table:
    """Returns one row for each shape. `done` says whether it was carried out."""
    table = Table(title=title, title_justify="left", box=None)
    verbs = ("submitted", "removed") if done else ("submit", "remove")
    numbers = ("queued", "running", "held", "unknown", "unreported", "missing", "wanted", *verbs)
    table.add_column("shape")
    for heading in numbers:
        table.add_column(heading, justify="right")
    table.add_column("reason")
    table.add_column("which means", overflow="fold")
    for line in plans:
        counts = line.holding.counts
        listed = (counts.idle, counts.running, counts.held, counts.unknown) if counts else ("?",) * 4
        held = line.holding
        cells = map(str, (*listed, held.unreported, held.missing, line.wanted, line.submit, len(line.remove)))
        table.add_row(line.name, *cells, Text(line.reason, style="bold"), Text(line.detail))
    return table


def plan_json(plans: Iterable[ShapePlan]) -> list[dict[str, Any]]:
    """Returns the same as JSON values, with how many glideins to submit beside their sizes."""
    return [{**msgspec.to_builtins(line), "submit": line.submit} for line in plans]


def status_table(jobs: Iterable[BatchJob], shapes: Mapping[str, str]) -> Table:
    """Returns one row for each glidein in a queue.

    Args:
        jobs: Batch jobs that are ours by their name.
        shapes: What names begin with, and the shape that this stands for.
    """
    table = Table(box=None)
    for heading in ("batch job", "name", "shape", "state", "why it waits"):
        table.add_column(heading, overflow="fold")
    for item in jobs:
        shape = next(
            (name for prefix, name in shapes.items() if item.name.startswith(prefix)), "(no longer configured)"
        )
        table.add_row(item.batch_id, item.name, shape, item.state.value, Text(item.reason))
    return table


def sentence(line: ShapePlan) -> str:
    """Returns why a shape got what it got, in words."""
    done = [f"{line.submit} submitted of {line.wanted} wanted" if line.wanted else "none wanted"]
    if line.remove:
        done.append(f"{len(line.remove)} removed")
    return f"{line.name}: {', '.join(done)}, because of {line.reason}: {REASONS.get(line.reason, '?')} ({line.detail})"


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
