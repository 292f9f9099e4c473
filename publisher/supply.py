"""How many idle user jobs the slots that are in the pool already will take: pure, but for the matcher that it is given.

For these no glidein is needed. The scarcest kind is served first, as at a site: GPUs, then memory. Each takes the
smallest slots that hold it, and what it takes of a slot is gone for the groups after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Optional

from glidepost.schema.resources import MEMORY_STEP_MIB, Request, places

from .census import JobGroup, Slot


def covered(
    jobs: Sequence[JobGroup], slots: Iterable[Slot], fits: Callable[[JobGroup, Slot], int], now: datetime
) -> dict[str, int]:
    """Returns by group how many of its idle user jobs free slots will take; groups that they take none of are left out.

    Args:
        jobs: The groups, in any order.
        slots: Of all glideins, in any order. Free is what no user job has claimed.
        fits: How many user jobs like these the slot's free resources hold now, 0 when it does not match.
        now: The time of the census.
    """
    moment = int(now.timestamp())
    free = sorted((slot for slot in slots if slot.cpus_free > 0 and _starts_jobs(slot, moment)), key=_size)
    taken: dict[str, int] = {}
    for job in sorted(jobs, key=_scarcity):
        count = _take(job, free, fits, moment)
        if count:
            taken[job.group.id] = count
            free = [slot for slot in free if slot.cpus_free > 0]
    return taken


def _take(job: JobGroup, free: list[Slot], fits: Callable[[JobGroup, Slot], int], moment: int) -> int:
    """Returns how many of a group's user jobs the slots take, which have that much less free afterwards."""
    group, left = job.group, job.group.idle_jobs
    for index, slot in enumerate(free):
        if not left:
            break
        room = _holds(slot, group.request)
        if room and _outlives(slot, group.max_runtime_s, moment):
            count = max(0, min(left, room, fits(job, slot)))
            if count:
                left -= count
                free[index] = _without(slot, group.request, count)
    return group.idle_jobs - left


def _starts_jobs(slot: Slot, moment: int) -> bool:
    ends = (end for end in (slot.to_retire, slot.to_die) if end is not None)
    return all(moment < end for end in ends)


def _outlives(slot: Slot, max_runtime_s: Optional[int], moment: int) -> bool:
    """Returns whether such a user job can end there. It may run on after `to_retire`, which only stops new ones."""
    end = slot.to_die if slot.to_die is not None else slot.to_retire
    return max_runtime_s is None or end is None or moment + max_runtime_s <= end


def _holds(slot: Slot, request: Request) -> int:
    """Returns how many such user jobs fit into what is free; one at most where a slot cannot be divided."""
    free = (slot.cpus_free, slot.memory_free_mib, slot.disk_free_mib, slot.gpus_free)
    cpus, memory_mib, disk_mib, gpus = (max(0, number) for number in free)
    count = places(request, cpus=cpus, memory_mib=memory_mib, disk_mib=disk_mib, gpus=gpus)
    return count if slot.is_partitionable else min(count, 1)


def _without(slot: Slot, request: Request, count: int) -> Slot:
    if not slot.is_partitionable:
        return replace(slot, cpus_free=0, memory_free_mib=0, disk_free_mib=0, gpus_free=0)
    step = -(-request.memory_mib // MEMORY_STEP_MIB) * MEMORY_STEP_MIB  # but for the last one, which may take less
    return replace(
        slot,
        cpus_free=slot.cpus_free - count * request.cpus,
        memory_free_mib=max(0, slot.memory_free_mib - count * step),
        disk_free_mib=slot.disk_free_mib - count * request.disk_mib,
        gpus_free=slot.gpus_free - count * request.gpus,
    )


def _scarcity(job: JobGroup) -> tuple[int, int, int, str]:
    request = job.group.request
    return (-request.gpus, -request.memory_mib, -request.cpus, job.group.id)


def _size(slot: Slot) -> tuple[int, int, int, int, str, str, int, int, bool, str]:
    """Returns what slots are ordered by, the smallest first: all of it, so that their own order is of no account."""
    free = (slot.gpus_free, slot.memory_free_mib, slot.cpus_free, slot.disk_free_mib)
    ends = (slot.to_retire or 0, slot.to_die or 0)
    return (*free, slot.site, slot.shape, *ends, slot.is_partitionable, slot.ad)
