"""From the schedds' rows to groups: pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Final, Optional

from glidepost.schema.demand import Group, Metrics, ScheddView, ShapeView, Unevaluated
from glidepost.schema.resources import Request

# What one user job or one startd says must not make the whole document break its schema (schema/demand-1.schema.json).
MAX_CPUS: Final = 100_000
MAX_NUMBER: Final = 1_000_000_000
MAX_GROUPS: Final = 2000  # a document of some megabytes; more groups than this are all different for no good reason
MAX_PROBLEMS: Final = 500
_FAR: Final = (1 << 53) - 1
_LAST_DATE: Final = 253_402_300_799  # the year 9999
_SHAPE_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
_SITE_NAME: Final = r"[a-z0-9][a-z0-9-]{0,31}"


@dataclass(frozen=True)
class Problem:
    """An attribute of a row whose expression has no value."""

    attribute: str
    expression: str


@dataclass(frozen=True)
class Row:
    """Idle user jobs of one owner that ask for the same. `idle_since` is the oldest, as an epoch.

    `ad` is the text of such a user job's ClassAd, without the requests, and with nothing private in it.
    """

    idle_jobs: int
    idle_since: int
    owner: str
    accounting_group: Optional[str]
    problem: Optional[Problem]
    cpus: Optional[int]
    memory_mib: Optional[int]
    disk_kib: Optional[int]
    gpus: Optional[int]
    max_runtime_s: Optional[int]
    ad: str
    gpu_capability: Optional[str] = None
    gpu_memory_mib: Optional[int] = None
    domain: str = ""


@dataclass(frozen=True)
class ScheddAnswer:
    """One schedd's rows, or why there are none. With an error, rows are those of an earlier time, `asked_at`."""

    name: str
    rows: tuple[Row, ...]
    error: Optional[str]
    asked_at: Optional[datetime] = None

    @property
    def idle_jobs(self) -> int:
        """Idle user jobs in all rows."""
        return sum(row.idle_jobs for row in self.rows)


@dataclass(frozen=True)
class Slot:
    """One partitionable or static slot of one of our glideins, or a free one of another startd (`site` is empty).

    What is free is 0 while user jobs cannot come. The times are epochs. `ad` is the text of the slot's ClassAd, as far
    as matching may look at it, and empty when nothing is free.
    """

    site: str
    shape: str
    cpus: int
    cpus_free: int
    gpus: int
    gpus_free: int
    memory_free_mib: int = 0
    disk_free_mib: int = 0
    start: Optional[int] = None
    to_retire: Optional[int] = None
    to_die: Optional[int] = None
    is_partitionable: bool = True
    ad: str = "[]"


@dataclass(frozen=True)
class Counters:
    """What a schedd's ad in the collector counts. None: it does not say."""

    started: Optional[int] = None
    wait_s: Optional[int] = None
    running: Optional[int] = None


@dataclass(frozen=True)
class Answer:
    """What the pool said."""

    schedds: tuple[ScheddAnswer, ...]
    slots: tuple[Slot, ...]
    metrics: Optional[Metrics] = None


@dataclass(frozen=True)
class JobGroup:
    """A group, the ClassAd of a user job like those in it, as text, and their owners' domain. Both stay in the pool."""

    group: Group
    ad: str
    domain: str = ""


def schedd_views(answer: Answer) -> tuple[ScheddView, ...]:
    """Returns how the census of each schedd went."""
    return tuple(
        ScheddView(schedd.name, schedd.idle_jobs, _short(schedd.error), schedd.asked_at) for schedd in answer.schedds
    )


def group(
    rows: Iterable[Row], *, memory_step_mib: int = 1, disk_step_mib: int = 1
) -> tuple[tuple[JobGroup, ...], tuple[Unevaluated, ...]]:
    """Returns the rows folded into groups of equal needs, the largest first, and those that have no evaluated needs.

    Rows of different owners and times fall into one group, and so do those whose memory and disk are equal when rounded
    up to the step; the group asks for the exact maximum. Different Requirements, or other attributes that matching may
    look at, keep groups apart. No user job is dropped: beyond `MAX_GROUPS` groups, and beyond `MAX_PROBLEMS` problems,
    the smallest are counted together.
    """
    folded: dict[tuple[object, ...], list[Row]] = {}
    problems: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        request = _request(row)
        if request is None:
            problem = row.problem or Problem("Request", "is negative, zero or absurdly large")
            problems.setdefault((_short(problem.attribute) or "", _public(problem.expression)), []).append(row)
        else:
            stepped = replace(
                request,
                memory_mib=_up(request.memory_mib, memory_step_mib),
                disk_mib=_up(request.disk_mib, disk_step_mib),
            )
            folded.setdefault((stepped, row.accounting_group, row.max_runtime_s, row.domain, row.ad), []).append(row)
    groups = sorted(((_count(of), _id(key), of) for key, of in folded.items()), key=lambda item: (-item[0], item[1]))
    if groups[MAX_GROUPS:]:
        rest = [row for _, _, of in groups[MAX_GROUPS:] for row in of]
        problems.setdefault(("Requirements", f"more than {MAX_GROUPS} groups"), []).extend(rest)
    return tuple(_folded(name, of) for _, name, of in groups[:MAX_GROUPS]), _unevaluated(problems)


def metrics(counters: Iterable[Counters], slots: Iterable[Slot], *, running_inside: int) -> Metrics:
    """Returns what the daemons count about the whole pool; slots of a site that no document can name are left out."""
    counters = tuple(counters)
    cpus: dict[str, int] = {}
    for slot in slots:
        if re.fullmatch(_SITE_NAME, slot.site):
            cpus[slot.site] = min(cpus.get(slot.site, 0) + max(0, slot.cpus), MAX_NUMBER)
    running = _sum(counter.running for counter in counters)
    return Metrics(
        running_inside=running_inside,
        running_outside=None if running is None else max(0, running - running_inside),
        started_jobs=_sum(counter.started for counter in counters),
        wait_s=_sum(counter.wait_s for counter in counters),
        glidein_cpus=dict(sorted(cpus.items())),
    )


def of_sites(counted: Optional[Metrics], sites: Container[str]) -> Optional[Metrics]:
    """Returns the metrics with these sites alone; what others advertise is not repeated."""
    if counted is None:
        return None
    return replace(counted, glidein_cpus={site: cpus for site, cpus in counted.glidein_cpus.items() if site in sites})


def pool_view(slots: Iterable[Slot], sites: Container[str]) -> dict[str, dict[str, ShapeView]]:
    """Returns what the collector sees of each shape of each of these sites; what others advertise is not repeated."""
    seen: dict[tuple[str, str], list[Slot]] = {}
    for slot in slots:
        if slot.site in sites and re.fullmatch(_SHAPE_NAME, slot.shape):
            seen.setdefault((slot.site, slot.shape), []).append(slot)
    view: dict[str, dict[str, ShapeView]] = {}
    for (site, shape), members in sorted(seen.items()):
        starts = [_date(slot.start) for slot in members if slot.start is not None]
        view.setdefault(site, {})[shape] = ShapeView(
            glideins=len(members),
            cpus=sum(slot.cpus for slot in members),
            cpus_claimed=sum(max(0, slot.cpus - slot.cpus_free) for slot in members),
            gpus=sum(slot.gpus for slot in members),
            gpus_claimed=sum(max(0, slot.gpus - slot.gpus_free) for slot in members),
            oldest_start=min(starts, default=None),
            newest_start=max(starts, default=None),
        )
    return view


def _request(row: Row) -> Optional[Request]:
    if row.problem or row.memory_mib is None or row.disk_kib is None or row.gpus is None or not row.cpus:
        return None
    request = Request(row.cpus, row.memory_mib, -(-row.disk_kib // 1024), row.gpus)
    numbers = (request.cpus, request.memory_mib, request.disk_mib, request.gpus, row.max_runtime_s or 0)
    if min(numbers) < 0 or max(numbers) > MAX_NUMBER or request.cpus > MAX_CPUS:
        return None
    return replace(request, gpu_memory_mib=row.gpu_memory_mib, gpu_capability=row.gpu_capability)


def _unevaluated(problems: Mapping[tuple[str, str], list[Row]]) -> tuple[Unevaluated, ...]:
    by_size = sorted(problems.items(), key=lambda item: (-_count(item[1]), item[0]))
    kept, rest = dict(by_size[:MAX_PROBLEMS]), by_size[MAX_PROBLEMS:]
    if rest:
        key = ("(others)", f"{len(rest)} more expressions without a value")
        kept[key] = [row for _, rows in rest for row in rows]
    return tuple(
        Unevaluated(_count(rows), attribute, problem, _owners(rows))
        for (attribute, problem), rows in sorted(kept.items())
    )


def _folded(name: str, rows: list[Row]) -> JobGroup:
    first = rows[0]
    request = _request(first)
    if request is None:
        raise ValueError("a row without evaluated needs is in no group")
    disk_kib = max(row.disk_kib or 0 for row in rows)
    request = replace(
        request, memory_mib=max(row.memory_mib or 0 for row in rows), disk_mib=_up(disk_kib, 1024) // 1024
    )
    folded = Group(
        id=name,
        idle_jobs=_count(rows),
        idle_since=_date(min(row.idle_since for row in rows)),
        owner_count=_owners(rows),
        request=request,
        accounting_group=_short(first.accounting_group, 200),
        max_runtime_s=first.max_runtime_s or None,
    )
    requests = {"RequestCpus": request.cpus, "RequestMemory": request.memory_mib, "RequestDisk": disk_kib}
    if request.gpus:
        requests["RequestGPUs"] = request.gpus
    written = "".join(f"{attribute} = {value}; " for attribute, value in requests.items())
    return JobGroup(folded, f"[{written}{first.ad[1:]}", first.domain)


def _id(key: tuple[object, ...]) -> str:
    return "g" + hashlib.sha256(repr(key).encode()).hexdigest()[:8]


def _count(rows: Iterable[Row]) -> int:
    return sum(row.idle_jobs for row in rows)


def _owners(rows: Iterable[Row]) -> int:
    return len({row.owner for row in rows})


def _up(number: int, step: int) -> int:
    return -(-number // step) * step


def _sum(numbers: Iterable[Optional[int]]) -> Optional[int]:
    known = [number for number in numbers if number is not None]
    return max(0, min(sum(known), _FAR)) if known else None


def _date(epoch: int) -> datetime:
    return datetime.fromtimestamp(max(0, min(epoch, _LAST_DATE)), timezone.utc)


def _public(expression: str) -> str:
    """Returns an expression as it may be published: without its texts, which may be names and paths."""
    return _short(re.sub(r'"(?:[^"\\]|\\.)*"', '"…"', expression, flags=re.DOTALL)) or ""


def _short(text: Optional[str], length: int = 300) -> Optional[str]:
    return text if text is None or len(text) <= length else text[: length - 1] + "…"
