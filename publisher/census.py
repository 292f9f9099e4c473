"""From the schedds' rows to groups: pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Optional

from glidepost.schema.demand import Group, ScheddView, ShapeView, Unevaluated
from glidepost.schema.resources import Request


@dataclass(frozen=True)
class Problem:
    """An attribute of a row whose expression has no value."""

    attribute: str
    expression: str


@dataclass(frozen=True)
class Row:
    """Idle user jobs of one owner, equal in every attribute asked for. `idle_since` is the oldest, as an epoch."""

    idle_jobs: int
    idle_since: int
    owner: str
    accounting_group: Optional[str]
    requirements: str
    problem: Optional[Problem]
    cpus: Optional[int]
    memory_mib: Optional[int]
    disk_kib: Optional[int]
    gpus: Optional[int]
    max_runtime_s: Optional[int]


@dataclass(frozen=True)
class ScheddAnswer:
    """One schedd's rows, or why there are none."""

    name: str
    rows: tuple[Row, ...]
    error: Optional[str]

    @property
    def idle_jobs(self) -> int:
        """Idle user jobs in all rows."""
        return sum(row.idle_jobs for row in self.rows)


@dataclass(frozen=True)
class Slot:
    """One partitionable slot of one of our glideins."""

    site: str
    shape: str
    cpus: int
    cpus_free: int
    gpus: int
    gpus_free: int


@dataclass(frozen=True)
class Answer:
    """What the pool said."""

    schedds: tuple[ScheddAnswer, ...]
    slots: tuple[Slot, ...]


def schedd_views(answer: Answer) -> tuple[ScheddView, ...]:
    """Returns how the census of each schedd went."""
    return tuple(ScheddView(schedd.name, schedd.idle_jobs, _short(schedd.error)) for schedd in answer.schedds)


def group(rows: Iterable[Row]) -> tuple[tuple[Group, ...], tuple[Unevaluated, ...]]:
    """Returns the rows folded into groups of equal needs, the largest first, and those that have no evaluated needs.

    Rows of different owners and submission times fall into one group; different Requirements or accounting groups do
    not, though the Requirements' text itself stays here.
    """
    folded: dict[tuple[object, ...], list[Row]] = {}
    problems: dict[tuple[str, str], int] = {}
    for row in rows:
        request = _request(row)
        if request is None:
            problem = row.problem or Problem("Request", "is negative or zero")
            key = (problem.attribute, _short(problem.expression) or "")
            problems[key] = problems.get(key, 0) + row.idle_jobs
        else:
            folded.setdefault((request, row.accounting_group, row.max_runtime_s, row.requirements), []).append(row)
    groups = [_folded(members) for members in folded.values()]
    unevaluated = [Unevaluated(count, attribute, problem) for (attribute, problem), count in sorted(problems.items())]
    return tuple(sorted(groups, key=lambda item: (-item.idle_jobs, item.id))), tuple(unevaluated)


def pool_view(slots: Iterable[Slot]) -> dict[str, dict[str, ShapeView]]:
    """Returns what the collector sees of each shape of each site."""
    view: dict[str, dict[str, ShapeView]] = {}
    for slot in slots:
        shapes = view.setdefault(slot.site, {})
        seen = shapes.get(slot.shape, ShapeView(0, 0, 0, 0, 0))
        shapes[slot.shape] = ShapeView(
            seen.glideins + 1,
            seen.cpus + slot.cpus,
            seen.cpus_claimed + max(0, slot.cpus - slot.cpus_free),
            seen.gpus + slot.gpus,
            seen.gpus_claimed + max(0, slot.gpus - slot.gpus_free),
        )
    return view


def _request(row: Row) -> Optional[Request]:
    if row.problem or row.memory_mib is None or row.disk_kib is None or row.gpus is None or not row.cpus:
        return None
    if min(row.cpus, row.memory_mib, row.disk_kib, row.gpus) < 0:
        return None
    return Request(row.cpus, row.memory_mib, -(-row.disk_kib // 1024), row.gpus)


def _folded(rows: list[Row]) -> Group:
    first = rows[0]
    request = _request(first)
    if request is None:
        raise ValueError("a row without evaluated needs is in no group")
    identity = repr((request, first.accounting_group, first.max_runtime_s, first.requirements))
    return Group(
        id="g" + hashlib.sha256(identity.encode()).hexdigest()[:8],
        idle_jobs=sum(row.idle_jobs for row in rows),
        idle_since=datetime.fromtimestamp(min(row.idle_since for row in rows), timezone.utc),
        owner_count=len({row.owner for row in rows}),
        request=request,
        accounting_group=first.accounting_group,
        max_runtime_s=first.max_runtime_s or None,
    )


def _short(text: Optional[str]) -> Optional[str]:
    return text if text is None or len(text) <= 300 else text[:299] + "…"
