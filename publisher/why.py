"""Why a group of idle user jobs goes where it goes: every shape of every site, with what is against it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Optional

from rich.console import Console
from rich.table import Table
from rich.text import Text

from glidepost.schema import advertised
from glidepost.schema.demand import Group
from glidepost.schema.errors import ConfigError
from glidepost.schema.heartbeat import Heartbeat, ShapeReport
from glidepost.schema.units import counted, format_duration

from .census import JobGroup
from .match import Matcher


@dataclass(frozen=True)
class ShapeAnswer:
    """One shape: whether the group's user jobs can run there, and why not. `ignored` are words that it may not say."""

    name: str
    offers: str
    fits: bool
    reasons: tuple[str, ...]
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class SiteAnswer:
    """One site: its share of the group in idle user jobs, what keeps a share from it, and its shapes."""

    name: str
    share: int
    notes: tuple[str, ...]
    shapes: tuple[ShapeAnswer, ...]


def find(jobs: Sequence[JobGroup], prefix: str) -> JobGroup:
    """Returns the group whose id is this, or alone begins with it.

    Raises:
        ConfigError: when there is none, or more than one.
    """
    exact = [job for job in jobs if job.group.id == prefix]
    found = exact or [job for job in jobs if job.group.id.startswith(prefix)]
    if len(found) == 1:
        return found[0]
    ids = [job.group.id for job in jobs]
    if found:
        these = ", ".join(job.group.id for job in found[:5])
        raise ConfigError(f"{len(found)} groups begin with {prefix}", hint=f"one of them: {these}")
    near = difflib.get_close_matches(prefix, ids, n=3, cutoff=0.4) or ids[:3]
    hint = f"did you mean {', '.join(near)}? A group changes its id with what its user jobs ask for" if near else ""
    raise ConfigError(f"no group of idle user jobs is {prefix}", hint=hint or "no user job of the pool is idle")


def explain(
    job: JobGroup,
    shares: Mapping[str, int],
    heartbeats: Mapping[str, Optional[Heartbeat]],
    refused: Mapping[str, str],
    matcher: Matcher,
) -> tuple[SiteAnswer, ...]:
    """Returns one answer for each site, in the order of their names: pure.

    Args:
        job: The group.
        shares: By site, as a run would publish them now.
        heartbeats: The last one of each site, None before its first; a site whose last cannot be believed is only in
            `refused`, if anywhere.
        refused: Why a site, or "site/shape", gets no share whatever matches.
        matcher: With the pool's rules.
    """
    answers = []
    for site in sorted({*heartbeats, *shares, *(name for name in refused if "/" not in name)}):
        heartbeat = heartbeats.get(site)
        notes = [refused[site]] if site in refused else []
        if heartbeat is None and not notes:
            notes.append("it has not reported yet" if site in heartbeats else "its heartbeat cannot be believed")
        shapes = heartbeat.shapes if heartbeat else ()
        notes += [f"{item.name}: {refused[key]}" for item in shapes if (key := f"{site}/{item.name}") in refused]
        answers.append(
            SiteAnswer(
                site, shares.get(site, 0), tuple(notes), tuple(_shape(job, site, item, matcher) for item in shapes)
            )
        )
    return tuple(answers)


def _shape(job: JobGroup, site: str, shape: ShapeReport, matcher: Matcher) -> ShapeAnswer:
    verdict = matcher.verdict(job, site, shape)
    _, ignored = advertised.known(shape.advertises)
    return ShapeAnswer(shape.name, str(shape.offers), verdict.fits, verdict.reasons, ignored)


def show(group: Group, answers: Sequence[SiteAnswer], now: datetime, console: Console) -> None:
    """Prints the answers as a table."""
    waiting = format_duration(int((now - group.idle_since).total_seconds()))
    who = f" of {group.accounting_group}" if group.accounting_group else ""
    console.print(
        f"{group.id}: {counted(group.idle_jobs, 'idle user job')}{who} for {group.request}, waiting {waiting}",
        markup=False,
    )
    table = Table(box=None, title_justify="left")
    table.add_column("site")
    table.add_column("share", justify="right")
    for heading in ("shape", "offers", "verdict"):
        table.add_column(heading, overflow="fold")
    for site in answers:
        cells = [site.name, str(site.share)]
        for shape in site.shapes:
            lines = ["fits"] if shape.fits else list(shape.reasons)
            lines += [f"(ignored: {words})" for words in shape.ignored]
            style = "green" if shape.fits else ""
            table.add_row(*cells, shape.name, shape.offers, Text("\n".join(lines), style=style))
            cells = ["", ""]
        for note in site.notes:
            table.add_row(*cells, "", "", Text(f"no share: {note}", style="yellow"))
            cells = ["", ""]
    console.print(table)
    if not answers:
        console.print("no site is enrolled")
