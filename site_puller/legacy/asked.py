"""How many cores, how much memory and how long a batch system was asked for, by the options that a site wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from . import quantities, values
from .words import Taken

# Quantities of memory, what they are for, and the unit of a bare number.
_MEMORY: Final = (
    ("memory", "job", "m"),
    ("memory_per_cpu", "cpu", "m"),
    ("memory_per_gpu", "gpu", "m"),
    ("memory_slot", "cpu", "m"),
    ("memory_mem", "job", "m"),
    ("memory_vmem", "job", "m"),
    ("memory_pmem", "cpu", "m"),
    ("memory_pvmem", "cpu", "m"),
    ("memory_lsf", "job", "k"),
)


@dataclass(frozen=True)
class Asked:
    """Of one batch job; 0 where the options do not say. `running` is how many members of an array may run at a time."""

    cpus: int = 0
    memory_mib: int = 0
    gpus: int = 0
    walltime_s: int = 0
    members: int = 0
    running: int = 0


def read(taken: Taken, backend: str, *, cpus: int = 0, gpus: int = 0) -> Asked:
    """Returns what was asked for.

    Args:
        taken: Options by quantity.
        backend: Whose options they are.
        cpus: What is known of cores otherwise, for memory that is said for each.
        gpus: Same for GPUs.
    """
    per_task = _number(taken.last("cpus_per_task"))
    tasks = max(_number(taken.last("tasks")), _number(taken.last("tasks_per_node")))
    is_said = per_task or tasks > 1
    asked_cpus = _number(taken.last("cpus")) or (max(1, tasks) * max(1, per_task) if is_said else 0)
    asked_gpus = _number(taken.last("gpus"))
    per = {"job": 1, "cpu": asked_cpus or cpus or 1, "gpu": asked_gpus or gpus or 1}
    memory = 0
    for quantity, what, bare in _MEMORY:
        found = quantities.memory_mib(taken.last(quantity), bare=bare)
        if found:
            memory = found * per[what]
            break
    members, running = quantities.array(taken.last("array"))
    return Asked(
        cpus=asked_cpus,
        memory_mib=memory,
        gpus=asked_gpus,
        walltime_s=quantities.walltime(taken.last("walltime"), backend) or 0,
        members=members,
        running=running or _number(taken.last("running")),
    )


def _number(text: str) -> int:
    return values.whole(text) or 0
