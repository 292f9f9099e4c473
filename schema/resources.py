"""What a user job asks for, what a glidein offers, and whether the one fits into the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Optional

from .units import counted, format_duration, format_size

# A startd rounds each RequestMemory up to this step (MODIFY_REQUEST_EXPR_REQUESTMEMORY, HTCondor's manual, "startd
# configuration"), but takes a user job as it is when only the rounded one would not fit: a slot of 1000 MiB holds one
# of 1000 MiB, but not two of 500 MiB.
MEMORY_STEP_MIB: Final = 128


@dataclass(frozen=True)
class Request:
    """What one user job of a group asks for.

    `gpu_capability` is text such as "8.0", because signed documents hold no fractions.
    """

    cpus: int
    memory_mib: int
    disk_mib: int
    gpus: int = 0
    gpu_memory_mib: Optional[int] = None
    gpu_capability: Optional[str] = None

    def __str__(self) -> str:
        """Returns "2 cpus, 4GiB, 1 gpu"."""
        return _words(self.cpus, self.memory_mib, self.gpus)


@dataclass(frozen=True)
class Resources:
    """What one glidein of a shape has, and for how long."""

    cpus: int
    memory_mib: int
    disk_mib: int
    walltime_s: int
    gpus: int = 0

    def __str__(self) -> str:
        """Returns "4 cpus, 8GiB, 48h"."""
        return f"{_words(self.cpus, self.memory_mib, self.gpus)}, {format_duration(self.walltime_s)}"


def _words(cpus: int, memory_mib: int, gpus: int) -> str:
    words = [counted(cpus, "cpu"), format_size(memory_mib)]
    if gpus:
        words.append(counted(gpus, "gpu"))
    return ", ".join(words)


@dataclass(frozen=True)
class Bounds:
    """Which user jobs a site lets into a shape, by what they ask for; None is no bound."""

    min_cpus: int = 0
    max_cpus: Optional[int] = None
    min_memory_mib: int = 0
    max_memory_mib: Optional[int] = None
    min_disk_mib: int = 0
    max_disk_mib: Optional[int] = None
    min_gpus: int = 0
    max_gpus: Optional[int] = None

    def refusals(self, request: Request) -> tuple[str, ...]:
        """Returns why such a user job is not let in, one phrase for each reason; empty when it is."""
        found = []
        for what, asked, least, most in (
            ("cpus", request.cpus, self.min_cpus, self.max_cpus),
            ("MiB of memory", request.memory_mib, self.min_memory_mib, self.max_memory_mib),
            ("MiB of disk", request.disk_mib, self.min_disk_mib, self.max_disk_mib),
            ("gpus", request.gpus, self.min_gpus, self.max_gpus),
        ):
            if asked < least:
                found.append(f"asks for {asked} {what}, the site wants at least {least}")
            if most is not None and asked > most:
                found.append(f"asks for {asked} {what}, the site allows {most}")
        return tuple(found)

    def clauses(self) -> tuple[str, ...]:
        """Returns the same as ClassAd expressions that must all be true, for START; RequestDisk is in KiB."""
        found = []
        for attribute, least, most in (
            ("RequestCpus", self.min_cpus, self.max_cpus),
            ("RequestMemory", self.min_memory_mib, self.max_memory_mib),
            ("RequestDisk", self.min_disk_mib * 1024, None if self.max_disk_mib is None else self.max_disk_mib * 1024),
            ("RequestGPUs", self.min_gpus, self.max_gpus),
        ):
            if least:
                found.append(f"(TARGET.{attribute} ?: 0) >= {least}")
            if most is not None:
                found.append(f"(TARGET.{attribute} ?: 0) <= {most}")
        return tuple(found)


def shortfalls(
    request: Request, offer: Resources, *, max_runtime_s: Optional[int] = None, backfill: bool = False
) -> tuple[str, ...]:
    """Returns why a glidein cannot run such a user job, one phrase for each reason; empty when it can.

    Args:
        request: What the user job asks for.
        offer: What the glidein has.
        max_runtime_s: How long the user job may run.
        backfill: User jobs that ask for no GPU may have the cores that leave one to each GPU, as in start.clauses.
    """
    found = []
    if request.cpus > offer.cpus:
        found.append(f"asks for {request.cpus} cpus of {offer.cpus}")
    if request.memory_mib > offer.memory_mib:
        found.append(f"asks for {format_size(request.memory_mib)} of {format_size(offer.memory_mib)} memory")
    if request.disk_mib > offer.disk_mib:
        found.append(f"asks for {format_size(request.disk_mib)} of {format_size(offer.disk_mib)} disk")
    if request.gpus > offer.gpus:
        found.append(f"asks for {request.gpus} gpus of {offer.gpus}")
    if offer.gpus and not request.gpus and not backfill:
        found.append("asks for no gpu, and this glidein keeps its gpus for those that do")
    elif not request.gpus and offer.cpus - offer.gpus < request.cpus <= offer.cpus:
        found.append(f"asks for {request.cpus} cpus of {offer.cpus}, and this glidein keeps one for each gpu")
    if max_runtime_s is not None and max_runtime_s > offer.walltime_s:
        found.append(f"may run {format_duration(max_runtime_s)} of {format_duration(offer.walltime_s)}")
    return tuple(found)


def capacity(request: Request, offer: Resources, *, max_runtime_s: Optional[int] = None, backfill: bool = False) -> int:
    """Returns how many such user jobs one glidein runs side by side; 0 when not even one fits. See shortfalls."""
    if shortfalls(request, offer, max_runtime_s=max_runtime_s, backfill=backfill):
        return 0
    cpus = offer.cpus if request.gpus else offer.cpus - offer.gpus
    return places(request, cpus=cpus, memory_mib=offer.memory_mib, disk_mib=offer.disk_mib, gpus=offer.gpus)


def places(request: Request, *, cpus: int, memory_mib: int, disk_mib: int, gpus: int) -> int:
    """Returns how many such user jobs go side by side into what is free; of a resource they do not ask for, any."""
    wanted = ((request.cpus, cpus), (request.disk_mib, disk_mib), (request.gpus, gpus))
    counts = [have // need for need, have in wanted if need > 0]
    if request.memory_mib > memory_mib:
        return 0
    if request.memory_mib:
        step = -(-request.memory_mib // MEMORY_STEP_MIB) * MEMORY_STEP_MIB
        counts.append((memory_mib - request.memory_mib) // step + 1)
    return max(0, min(counts, default=1))
