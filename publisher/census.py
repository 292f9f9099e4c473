"""From the schedds' rows to groups: pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Final, Optional

from glidepost.schema.demand import Group, ScheddView, ShapeView, Unevaluated
from glidepost.schema.resources import Request

# What one user job or one startd says must not make the whole document break its schema (schema/demand-1.schema.json).
MAX_CPUS: Final = 100_000
MAX_NUMBER: Final = 1_000_000_000
MAX_GROUPS: Final = 2000  # a document of some megabytes; more groups than this are all different for no good reason
MAX_PROBLEMS: Final = 500
_SHAPE_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"


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
    not, though the Requirements' text itself stays here. No user job is dropped: beyond `MAX_GROUPS` groups, and beyond
    `MAX_PROBLEMS` problems, the smallest are counted together.
    """
    folded: dict[tuple[object, ...], list[Row]] = {}
    problems: dict[tuple[str, str], int] = {}
    for row in rows:
        request = _request(row)
        if request is None:
            problem = row.problem or Problem("Request", "is negative, zero or absurdly large")
            key = (_short(problem.attribute) or "", _short(problem.expression) or "")
            problems[key] = problems.get(key, 0) + row.idle_jobs
        else:
            folded.setdefault((request, row.accounting_group, row.max_runtime_s, row.requirements), []).append(row)
    groups = sorted(map(_folded, folded.values()), key=lambda item: (-item.idle_jobs, item.id))
    if groups[MAX_GROUPS:]:
        key = ("Requirements", f"more than {MAX_GROUPS} groups")
        problems[key] = problems.get(key, 0) + sum(item.idle_jobs for item in groups[MAX_GROUPS:])
    return tuple(groups[:MAX_GROUPS]), _unevaluated(problems)


def pool_view(slots: Iterable[Slot], sites: Container[str]) -> dict[str, dict[str, ShapeView]]:
    """Returns what the collector sees of each shape of each of these sites; what others advertise is not repeated."""
    view: dict[str, dict[str, ShapeView]] = {}
    for slot in slots:
        if slot.site not in sites or not re.fullmatch(_SHAPE_NAME, slot.shape):
            continue
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
    request = Request(row.cpus, row.memory_mib, -(-row.disk_kib // 1024), row.gpus)
    numbers = (request.cpus, request.memory_mib, request.disk_mib, request.gpus, row.max_runtime_s or 0)
    if min(numbers) < 0 or max(numbers) > MAX_NUMBER or request.cpus > MAX_CPUS:
        return None
    return request


def _unevaluated(problems: Mapping[tuple[str, str], int]) -> tuple[Unevaluated, ...]:
    by_size = sorted(problems.items(), key=lambda item: (-item[1], item[0]))
    kept, rest = dict(by_size[:MAX_PROBLEMS]), by_size[MAX_PROBLEMS:]
    if rest:
        kept["(others)", f"{len(rest)} more expressions without a value"] = sum(count for _, count in rest)
    return tuple(Unevaluated(count, attribute, problem) for (attribute, problem), count in sorted(kept.items()))


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
        accounting_group=_short(first.accounting_group, 200),
        max_runtime_s=first.max_runtime_s or None,
    )


def _short(text: Optional[str], length: int = 300) -> Optional[str]:
    return text if text is None or len(text) <= length else text[: length - 1] + "…"
