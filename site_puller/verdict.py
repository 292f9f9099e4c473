"""What makes the breaker of a shape trip, and what closes it again. Pure.

It trips when glideins fail one after the other, and then submits nothing for a while. After that it lets one glidein
out, the canary. If all is well with it the breaker closes; if not, it trips again, for twice as long.

* **Failures in a row.** Three failed glideins without a success between trip it. Within one cycle nobody knows which
  came first: fewer failures than successes count for nothing. So a bad node among many good ones does not trip it, nor
  do failures that all come from one host while another is known to be good and the pool sees glideins of this shape.
* **Not in the pool.** Two demands, one after the other, in which the pool sees none of this shape, although at least
  one has run for long enough.
* A success is a glidein that ended as it should, or has newly come into the pool. One that was pre-empted is neither
  success nor failure.
* **The canary** passes when its record says so; when it has run for ten minutes and the pool sees a glidein that
  started after the trip; or when it runs for longer than an unclaimed one would. It fails when its record says so, when
  the pool should see it and does not, and when it is gone early without a trace. While it waits in the queue there is
  no verdict, however long. One that was pre-empted, or removed by us, or that the batch system never took, is followed
  by another.
* **Refusals** of the batch system that will not pass by themselves trip it at once, and it closes as soon as a
  submission is accepted. Three other failures to submit in a row pause it for ten minutes. A limit that was reached
  does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Optional

from glidepost.schema.units import counted

from .circuit import OF_SUBMISSIONS, STATE_LOST, TRIP_AFTER, Canary, Circuit, Streak
from .evidence import JOIN_GRACE, NOWHERE, SUCCESSES, Evidence, Place, is_failure

# Over a shared file system a record may take minutes to show.
RECORD_GRACE: Final = timedelta(minutes=10)
# A glidein without a record that ran for so long was well enough, whatever ended it.
LONG_ENOUGH: Final = timedelta(hours=1)
# Clocks of worker nodes may be off by so much.
CLOCKS: Final = timedelta(minutes=2)

NOT_IN_POOL: Final = "not-in-pool"
NO_TRACE: Final = "no-trace"

# What a glidein in the pool refutes, whichever it is.
_REFUTABLE: Final = frozenset({NOT_IN_POOL, STATE_LOST})
_MAX_HOSTS: Final = 3  # remembered and shown


@dataclass(frozen=True)
class Verdict:
    """Of a canary: all is well, or the code of a failure; neither: another one must try."""

    is_well: bool = False
    code: str = ""
    detail: str = ""


_WELL: Final = Verdict(is_well=True)
_ANOTHER: Final = Verdict()


def judged(circuit: Circuit, evidence: Evidence, now: datetime, key: str) -> Circuit:
    """Returns a breaker after a cycle's evidence; see `circuit.pause` for `key`."""
    clocked = circuit.clocked(now)
    after = _open(clocked, evidence, now, key) if clocked.since else _closed(clocked, evidence, now, key)
    hosts = dict.fromkeys((*sorted(evidence.good_hosts), *after.good_hosts))
    after = replace(after, good_hosts=tuple(hosts)[:_MAX_HOSTS])
    if evidence.in_pool is None:
        return after
    return replace(after, in_pool=evidence.in_pool, newest_start=evidence.newest_start, sequence=evidence.sequence)


def _closed(circuit: Circuit, evidence: Evidence, now: datetime, key: str) -> Circuit:
    absent = _absent(circuit.absent, evidence, is_due=evidence.ripe > 0)
    if absent is not None and absent != evidence.sequence and evidence.in_pool == 0:
        what = f"the pool sees none of {counted(evidence.ripe, 'glidein')} that it should"
        return circuit.tripped(NOT_IN_POOL, what, now, key)
    streak = _lengthened(circuit, evidence)
    if streak.count >= TRIP_AFTER and not _is_one_bad_host(circuit, streak, evidence):
        return circuit.tripped(streak.code, str(streak), now, key)
    return replace(circuit, absent=absent, streak=streak)


def _absent(before: Optional[int], evidence: Evidence, *, is_due: bool) -> Optional[int]:
    """Returns the first of the demands in a row in which the pool did not see what it should."""
    if evidence.in_pool is None:
        return before
    if evidence.in_pool or not is_due:
        return None
    return evidence.sequence if before is None else before


def _lengthened(circuit: Circuit, evidence: Evidence) -> Streak:
    failures, streak = evidence.failures, circuit.streak
    successes = evidence.successes + _joined(circuit, evidence)
    if successes > sum(failures.values()):
        return Streak()
    codes = sorted({*streak.failures, *failures})
    hosts = {*streak.hosts, *evidence.bad_hosts, *([NOWHERE] if evidence.short else [])}
    longer = Streak(
        {code: streak.failures.get(code, 0) + failures.get(code, 0) for code in codes},
        streak.successes + successes,
        tuple(sorted(hosts)[:_MAX_HOSTS]),
    )
    return Streak() if longer.successes > longer.count else longer


def _joined(circuit: Circuit, evidence: Evidence) -> int:
    """Returns how many glideins have come into the pool since the last demand, as far as its numbers show."""
    if evidence.in_pool is None or circuit.in_pool is None or evidence.sequence == circuit.sequence:
        return 0
    start, before = evidence.newest_start, circuit.newest_start
    is_newer = start is not None and before is not None and start > before
    return max(evidence.in_pool - circuit.in_pool, int(is_newer))


def _is_one_bad_host(circuit: Circuit, streak: Streak, evidence: Evidence) -> bool:
    in_pool = circuit.in_pool if evidence.in_pool is None else evidence.in_pool
    good = {*circuit.good_hosts, *evidence.good_hosts} - set(streak.hosts)
    return len(streak.hosts) == 1 and NOWHERE not in streak.hosts and bool(good) and bool(in_pool)


def _open(circuit: Circuit, evidence: Evidence, now: datetime, key: str) -> Circuit:
    if circuit.code in _REFUTABLE and evidence.in_pool:
        return circuit.closed()
    if circuit.canary is None:
        return circuit
    canary = _followed(circuit.canary, circuit.since or now, evidence, now)
    if circuit.code in OF_SUBMISSIONS:
        verdict = _of_submission(canary, evidence)
    elif evidence.canary.outcome is not None:
        verdict = _by_record(canary, evidence.canary.outcome)
    else:
        verdict = _by_sight(canary, evidence, now)
    if verdict is None:
        return replace(circuit, canary=canary)
    if verdict.is_well:
        return circuit.closed()
    if verdict.code:
        return circuit.tripped(verdict.code, verdict.detail, now, key)
    return replace(circuit, canary=None)


def _followed(canary: Canary, since: datetime, evidence: Evidence, now: datetime) -> Canary:
    """Returns what is known of a canary after one more cycle."""
    sight = evidence.canary
    gone_at = None
    if sight.place is Place.GONE:
        gone_at = min(canary.gone_at or now, now)
    elif sight.place is Place.UNKNOWN:
        gone_at = canary.gone_at
    is_newer = evidence.newest_start is not None and evidence.newest_start > since + CLOCKS
    return replace(
        canary,
        was_taken=canary.was_taken or sight.place in (Place.QUEUED, Place.RUNNING),
        is_in_pool=canary.is_in_pool or is_newer,
        started_at=canary.started_at or sight.started_at,
        gone_at=gone_at,
        absent=_absent(canary.absent, evidence, is_due=sight.is_ripe),
    )


def _of_submission(canary: Canary, evidence: Evidence) -> Optional[Verdict]:
    """Returns what a canary says of a batch system that refused: no more than that it takes submissions again."""
    if canary.was_taken or evidence.canary.outcome is not None:
        return _WELL
    return _ANOTHER if evidence.canary.place in (Place.GONE, Place.REMOVED) else None


def _by_record(canary: Canary, outcome: str) -> Verdict:
    if outcome in SUCCESSES:
        return _WELL
    return Verdict(code=outcome, detail=f"the canary {canary.name} failed too") if is_failure(outcome) else _ANOTHER


def _by_sight(canary: Canary, evidence: Evidence, now: datetime) -> Optional[Verdict]:
    """Returns the verdict on a canary that left no record, None while there is none."""
    sight = evidence.canary
    ran = (canary.gone_at or now) - canary.started_at if canary.started_at else timedelta()
    is_well = canary.is_in_pool and ran >= JOIN_GRACE
    if sight.place is Place.RUNNING:
        if is_well or (sight.has_outlived and evidence.in_pool != 0):
            return _WELL
        if canary.absent is not None and canary.absent != evidence.sequence and evidence.in_pool == 0:
            return Verdict(code=NOT_IN_POOL, detail=f"the pool does not see the canary {canary.name}")
    if sight.place is Place.REMOVED:
        return _ANOTHER
    if canary.gone_at is None or now - canary.gone_at < RECORD_GRACE:
        return None
    return _without_trace(canary, ran, is_well=is_well)


def _without_trace(canary: Canary, ran: timedelta, *, is_well: bool) -> Verdict:
    if is_well:
        return _WELL
    if not canary.was_taken or ran >= LONG_ENOUGH:
        return _ANOTHER
    return Verdict(code=NO_TRACE, detail=f"the canary {canary.name} is gone without a trace")
