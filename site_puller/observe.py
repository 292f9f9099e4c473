"""What the batch systems' answers mean for the ledger: pure.

A batch job that was listed and is not any more has a reason: its walltime is over, we have removed it, the batch system
says that it has ended, or the glidein left a record of its end. Without a reason it is missing. It occupies its place
until it has been missing for `MISSING_CYCLES` complete answers and `MISSING_GRACE_S`: batch systems have been seen to
answer "none" for a queue that was full. What was submitted and never listed is given up after as many. When all that
were listed are missing, or most of them, the answer is not believed at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Optional

from glidepost.backends.base import BatchJob, JobState
from glidepost.schema.puller_config import Shape
from glidepost.schema.units import counted

from .ledger import REPORT_GRACE_S, Entry, Ledger, Member, name_prefix

MISSING_CYCLES: Final = 3
MISSING_GRACE_S: Final = 600
# So many missing at once, and more than are still there, is no coincidence.
MANY: Final = 5
# A glidein that is over so soon after its start, and left no record, has failed.
SHORT: Final = timedelta(minutes=5)


@dataclass(frozen=True)
class Observed:
    """The ledger after the answers. `short` counts, per shape, glideins that were gone minutes after their start."""

    ledger: Ledger
    short: dict[str, int]


def observe(
    ledger: Ledger,
    answers: Mapping[str, Optional[Sequence[BatchJob]]],
    ends: Mapping[str, Sequence[str]],
    shapes: Sequence[Shape],
    site: str,
) -> Observed:
    """Returns the ledger brought up to date; entries of a shape without a complete answer stay as they are.

    Args:
        ledger: At the begin of this cycle (`ticked`).
        answers: Per shape's name all batch jobs of this user, None when that is not known.
        ends: By batch job name, the batch ids of glideins that left a record of their end, in their own spelling.
        shapes: Of this site, for batch jobs that are ours by their name and that the ledger does not know.
        site: Our enrolled name.
    """
    listed = _by_name(answers)
    entries = dict(ledger.entries)
    for shape in shapes:
        prefix = name_prefix(site, shape.name)
        for job in answers[shape.name] or ():
            if job.name.startswith(prefix) and job.name not in entries and job.state is not JobState.GONE:
                entries[job.name] = _adopted(job.name, shape, ledger)
    kept, spent, short = {}, {day: dict(costs) for day, costs in ledger.spent.items()}, dict[str, int]()
    everything = all(answer is not None for answer in answers.values())
    for name, entry in entries.items():
        # An entry of a shape that the configuration no longer has can be in any of the queues.
        is_known = answers[entry.shape] is not None if entry.shape in answers else everything
        if not is_known:
            kept[name] = entry
            continue
        after, over = _looked_at(entry, listed.get(name, {}), ends.get(name, ()), ledger)
        for member in over:
            costs = spent.setdefault(f"{entry.submitted_at:%Y-%m-%d}", {})
            costs[entry.shape] = costs.get(entry.shape, 0.0) + _cost(entry, member, ledger)
            short[entry.shape] = short.get(entry.shape, 0) + _is_short(member)
        if after.live:
            kept[name] = after
    return Observed(replace(ledger, entries=kept, spent=spent), short)


def implausible(ledger: Ledger, shapes: Iterable[str]) -> Optional[str]:
    """Returns why one batch system's answer is not believed, None when it is: too many are missing at once.

    Args:
        ledger: After the answer.
        shapes: Those that this batch system runs.
    """
    members = [member for shape in shapes for entry in ledger.of(shape) for member in entry.members.values()]
    missing = sum(member.missing > 0 for member in members)
    present = len(members) - missing
    if missing and (not present or (missing >= MANY and missing > present)):
        return f"{counted(missing, 'glidein')} of {len(members)} are not listed any more, and none of these left a word"
    return None


def rebuilt(ledger: Ledger) -> Ledger:
    """Returns a ledger that was lost after a complete answer; as a whole one when there were enough for long enough."""
    if ledger.rebuilt_s is None:
        return ledger
    answers = ledger.rebuilt_answers + (ledger.clock_s - ledger.rebuilt_s >= REPORT_GRACE_S)
    if answers >= MISSING_CYCLES:
        return replace(ledger, rebuilt_s=None, rebuilt_answers=0)
    return replace(ledger, rebuilt_answers=answers)


def _by_name(answers: Mapping[str, Optional[Sequence[BatchJob]]]) -> dict[str, dict[str, JobState]]:
    """Returns the states by batch job name and id. Shapes of one batch system have the same answer."""
    listed: dict[str, dict[str, JobState]] = {}
    seen: list[Sequence[BatchJob]] = []
    for answer in answers.values():
        if answer is None or any(answer is other for other in seen):
            continue
        seen.append(answer)
        for job in answer:
            listed.setdefault(job.name, {})[job.batch_id] = job.state
    return listed


def _adopted(name: str, shape: Shape, ledger: Ledger) -> Entry:
    now = ledger.seen_at
    if now is None:
        raise ValueError("the ledger's clock has not begun")
    return Entry(name, shape.name, 0, now, ledger.clock_s, shape.resources, shape.hourly_cost)


def _looked_at(
    entry: Entry, listed: Mapping[str, JobState], ends: Sequence[str], ledger: Ledger
) -> tuple[Entry, list[Member]]:
    """Returns the entry after an answer, and the members that are over."""
    now = ledger.seen_at
    if now is None:
        raise ValueError("the ledger's clock has not begun")
    members, over, gone = {}, [], list(entry.gone)
    for batch_id, state in listed.items():
        if state is not JobState.GONE:
            before = entry.members.get(batch_id, Member(state))
            after = replace(before, state=state, missing=0, missed_at=None)
            if state is JobState.RUNNING and after.started_at is None:
                after = replace(after, started_at=now, started_s=ledger.clock_s)
            members[batch_id] = after
    known, strange = _split(entry, ends)
    for batch_id, member in entry.members.items():
        if batch_id in members:
            continue
        has_reason = member.removed or batch_id in listed or batch_id in known or entry.is_over(member, ledger.clock_s)
        if not has_reason and strange:
            has_reason, strange = True, strange - 1
        after = member if has_reason else _missed(member, ledger.clock_s, now)
        if has_reason or _is_given_up(after, ledger.clock_s):
            gone.append(batch_id)
            over.append(after)
        else:
            members[batch_id] = after
    # A glidein that died before the batch system ever listed it.
    gone += [batch_id for batch_id in known if batch_id not in members]
    gone = [batch_id for batch_id in dict.fromkeys(gone) if batch_id not in members]
    # Until the grace is over an honest answer may lack what was submitted, so that it says nothing.
    count, answers = max(entry.count, len(members) + len(gone)), entry.answers
    answers += ledger.clock_s - entry.submitted_s >= REPORT_GRACE_S
    if answers >= MISSING_CYCLES:
        count = len(members) + len(gone)
    return replace(entry, count=count, members=members, gone=tuple(gone), answers=answers), over


def _split(entry: Entry, ends: Sequence[str]) -> tuple[set[str], int]:
    """Returns the ids that are spelt as the batch system spells them, and how many ends are of somebody unknown."""
    sample = entry.batch_id or next(iter((*entry.members, *entry.gone)), None)
    if sample is None:
        return set(), len(ends)
    first = re.escape(re.split(r"[._\[]", sample)[0])
    known = {batch_id for batch_id in ends if re.match(rf"{first}([._\[]|$)", batch_id)}
    return known, len(ends) - sum(batch_id in known for batch_id in ends)


def _missed(member: Member, clock_s: int, now: datetime) -> Member:
    if member.missing:
        return replace(member, missing=member.missing + 1)
    return replace(member, missing=1, missing_s=clock_s, missed_at=now)


def _is_given_up(member: Member, clock_s: int) -> bool:
    return member.missing >= MISSING_CYCLES and clock_s - member.missing_s >= MISSING_GRACE_S


def _is_short(member: Member) -> bool:
    """Returns whether a glidein that nobody accounts for was gone soon after its start."""
    return bool(
        member.missing and member.started_at and member.missed_at and member.missed_at - member.started_at <= SHORT
    )


def _cost(entry: Entry, member: Member, ledger: Ledger) -> float:
    """Returns what a member that is over has cost: what it ran, as far as that was seen."""
    if member.started_at is None or ledger.seen_at is None:
        return 0.0
    ran_s = ((member.missed_at or ledger.seen_at) - member.started_at).total_seconds()
    return entry.hourly_cost * min(max(ran_s, 0.0), entry.resources.walltime_s) / 3600
