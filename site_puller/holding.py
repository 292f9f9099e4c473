"""What a site holds of one shape: the ledger and the queue's answer, as the plan looks at them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Optional

from glidepost.backends.base import JobState
from glidepost.schema.heartbeat import Counts
from glidepost.schema.puller_config import Shape
from glidepost.schema.resources import Resources
from glidepost.schema.units import counted

from .caps import Occupied
from .coverage import Sizes
from .ledger import Entry, Ledger, Member
from .observe import implausible
from .queue import Answer

# Why nothing may be submitted: reason code and words.
Trouble = tuple[str, str]
# Characters of a reason's detail: what a heartbeat and a table have room for.
MAX_DETAIL: Final = 400


@dataclass(frozen=True)
class Holding:
    """The glideins of one shape.

    `counts` is what the batch system lists, None when that is not known; `trouble` then has the reason code and the
    words, or says why a complete answer is not believed. `unreported` were submitted and have not been listed yet,
    `missing` are not listed any more. `fresh` are those of the running ones that started too late for the demand to
    know what they took. `queued` has the sizes of all that will still take user jobs of this demand; `removable` the
    ids of idle ones, the youngest first. `excess_for_s` is how long there has been more than is wanted.
    """

    counts: Optional[Counts] = None
    unreported: int = 0
    missing: int = 0
    fresh: int = 0
    queued: Sizes = ()
    occupied: Occupied = Occupied()
    removable: tuple[str, ...] = ()
    oldest_queued_s: Optional[int] = None
    excess_for_s: Optional[int] = None
    trouble: Optional[Trouble] = None


def holding(
    shape: Shape,
    ledger: Ledger,
    *,
    demand_at: Optional[datetime],
    is_counted: bool = True,
    trouble: Optional[tuple[str, str]] = None,
) -> Holding:
    """Returns what the ledger, brought up to date with the queue's answer, says of a shape.

    Args:
        shape: Whose.
        ledger: After this cycle's answers.
        demand_at: Glideins that started after this are fresh; None when there is no demand.
        is_counted: Whether the batch system gave a complete answer in this cycle.
        trouble: Why nothing may be submitted: reason code and words.
    """
    now = ledger.seen_at
    if now is None:
        raise ValueError("the ledger's clock has not begun")
    entries = ledger.of(shape.name)
    states = Counter(member.state for entry in entries for member in entry.members.values() if not member.missing)
    since = ledger.excess_s.get(shape.name)
    waits = [entry.submitted_at for entry in entries if _waiting(entry)]
    return Holding(
        counts=_counts(states) if is_counted else None,
        unreported=sum(entry.unreported for entry in entries),
        missing=sum(bool(member.missing) for entry in entries for member in entry.members.values()),
        fresh=sum(_is_fresh(member, demand_at) for entry in entries for member in entry.members.values()),
        queued=_queued(entries, demand_at),
        occupied=_occupied(shape, ledger, entries),
        removable=_removable(entries) if is_counted else (),
        oldest_queued_s=max(0, int((now - min(waits)).total_seconds())) if waits else None,
        excess_for_s=None if since is None else ledger.clock_s - since,
        trouble=trouble,
    )


def trouble(ledger: Ledger, answer: Answer, together: Iterable[str]) -> Optional[Trouble]:
    """Returns why nothing may be submitted on what a batch system says, None when it may.

    Args:
        ledger: After its answer.
        answer: Complete, partial, or none.
        together: The shapes that it is about.
    """
    if answer.is_partial:
        return "queue-partial", f"{counted(len(answer.jobs), 'batch job')} listed, then: {answer.error}"[:MAX_DETAIL]
    if answer.error:
        return "queue-unknown", str(answer.error)[:MAX_DETAIL]
    doubt = implausible(ledger, together)
    if doubt:
        return "queue-implausible", doubt
    if ledger.rebuilt_s is not None:
        return "ledger-rebuilt", "the ledger was lost: the queue is counted for ten minutes first"
    return None


def others(shapes: Collection[str], ledger: Ledger) -> Occupied:
    """Returns what glideins take up whose shape is not in the configuration (`shapes`) any more.

    What they cost, and that they were submitted, the site's limits do not forget with the shape.
    """
    now = ledger.seen_at
    known = {entry.shape for entry in ledger.entries.values()} | {item.shape for item in ledger.recent}
    former = (known | {shape for costs in ledger.spent.values() for shape in costs}) - set(shapes)
    return replace(
        _places([entry for entry in ledger.entries.values() if entry.shape in former]),
        lately=sum(ledger.submitted_lately(shape) for shape in former),
        day=sum(ledger.charged(f"{now:%Y-%m-%d}", shape) for shape in former),
        month=sum(ledger.charged(f"{now:%Y-%m}", shape) for shape in former),
    )


def ripe(ledger: Ledger, shape: str, demand_at: datetime, join_grace: timedelta) -> int:
    """Returns how many glideins have run for so long before the demand was made that it must know them."""
    return sum(
        member.state is JobState.RUNNING
        and not member.missing
        and member.started_at is not None
        and member.started_at <= demand_at - join_grace
        for entry in ledger.of(shape)
        for member in entry.members.values()
    )


def _counts(states: Counter[JobState]) -> Counts:
    return Counts(
        idle=states[JobState.IDLE],
        running=states[JobState.RUNNING],
        held=states[JobState.HELD],
        unknown=states[JobState.UNKNOWN],
    )


def _is_fresh(member: Member, demand_at: Optional[datetime]) -> bool:
    return (
        member.state is JobState.RUNNING
        and demand_at is not None
        and member.started_at is not None
        and member.started_at > demand_at
    )


def _waiting(entry: Entry) -> int:
    """Returns the glideins of an entry that do not run yet, as far as anybody knows."""
    return entry.unreported + sum(member.state is not JobState.RUNNING for member in entry.members.values())


def _queued(entries: Sequence[Entry], demand_at: Optional[datetime]) -> Sizes:
    sizes: Counter[Resources] = Counter()
    for entry in entries:
        fresh = sum(_is_fresh(member, demand_at) for member in entry.members.values())
        sizes[entry.resources] += _waiting(entry) + fresh
    return tuple((resources, count) for resources, count in sizes.items() if count)


def _places(entries: Sequence[Entry]) -> Occupied:
    return Occupied(
        total=sum(entry.live for entry in entries),
        waiting=sum(_waiting(entry) for entry in entries),
        cpus=sum(entry.live * entry.resources.cpus for entry in entries),
        memory_mib=sum(entry.live * entry.resources.memory_mib for entry in entries),
        gpus=sum(entry.live * entry.resources.gpus for entry in entries),
    )


def _occupied(shape: Shape, ledger: Ledger, entries: Sequence[Entry]) -> Occupied:
    places, now = _places(entries), ledger.seen_at
    return replace(
        places,
        # While a lost ledger is rebuilt nobody knows: as many as the limit allows.
        total=places.total if ledger.rebuilt_s is None else max(places.total, shape.limits.max_total),
        lately=ledger.submitted_lately(shape.name),
        day=ledger.charged(f"{now:%Y-%m-%d}", shape.name),
        month=ledger.charged(f"{now:%Y-%m}", shape.name),
    )


def _removable(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Returns the ids of idle batch jobs, the youngest first; of one submission, the last of the array first."""
    found: list[str] = []
    by_age = sorted(entries, key=lambda item: item.submitted_at)  # of one second, in the order of the ledger
    for entry in by_age[::-1]:
        idle = [
            batch_id
            for batch_id, member in entry.members.items()
            if member.state is JobState.IDLE and not member.missing
        ]
        found += reversed(idle)
    return tuple(found)
