"""How large glideins are: whole_node and job-shaped ones, with the memory that user jobs were matched with.

pyglidein matched user jobs with one figure, asked the batch system for a second and let glideins advertise a third.
Here the first is the one that counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .model import Draft, Findings, Settings, Verdict
from .values import bounded, size

# pyglidein's client_defaults.cfg; memory and disk in MB, which HTCondor's RequestMemory makes MiB.
_DEFAULTS: Final = {"cpus": 12, "gpus": 8, "memory": 24000, "disk": 100000}
_PER_CORE: Final = 2000
_WALLTIME_HOURS: Final = 20
# UGE and HTCondor were asked for the memory as it is.
_BY_CORE: Final = frozenset({"slurm", "torque", "lsf"})


@dataclass(frozen=True)
class Variant:
    """One shape of a partition: what its name ends in, its GPUs, the least GPUs that its user jobs ask for."""

    suffix: str
    gpus: int
    least: int = 0


def variants(settings: Settings) -> tuple[Variant, ...]:
    """Returns the shapes that a partition needs, as a shape's GPUs are fixed and pyglidein's followed the user job."""
    cpu_only, gpu_only = settings.flag("cpu_only"), settings.flag("gpu_only")
    if settings.flag("whole_node"):
        gpus = 0 if cpu_only else max(0, settings.number("whole_node_gpus", 0))
        return (Variant("", bounded(gpus, least=0), 1 if gpu_only else 0),)
    most = settings.number("max_gpus_per_job", _DEFAULTS["gpus"])
    if cpu_only or most <= 0:
        return (Variant("", 0),)
    sizes = sorted({1, most, *(2**power for power in range(1, 8) if 2**power < most)} if _is_set(settings) else {1})
    made = tuple(
        Variant("" if gpu_only and len(sizes) == 1 else f"-{number}gpu", bounded(number), previous + 1)
        for previous, number in zip((0, *sizes), sizes)
    )
    return made if gpu_only else (Variant("", 0), *made)


def _is_set(settings: Settings) -> bool:
    return settings.has("max_gpus_per_job") and settings.number("max_gpus_per_job", 0) <= 64


def apply(settings: Settings, draft: Draft, variant: Variant, findings: Findings) -> None:
    """Adds a draft's size, and which user jobs it takes."""
    if settings.flag("whole_node"):
        _whole(settings, draft, variant, findings)
    else:
        _fitted(settings, draft, variant)
    _jobs(settings, draft, variant)
    hours = settings.number("walltime_hrs", _WALLTIME_HOURS)
    draft.table["walltime"] = f"{bounded(hours, most=10_000)}h"
    settings.say("walltime_hrs", Verdict.TRANSLATED, f"walltime = {draft.table['walltime']!r}")
    if hours < 1:
        settings.say("walltime_hrs", Verdict.BUG, "pyglidein cut it to whole hours, here to none; now it is an hour")


def _whole(settings: Settings, draft: Draft, variant: Variant, findings: Findings) -> None:
    settings.say("whole_node", Verdict.TRANSLATED, "a shape of fixed size")
    numbers = {}
    for key, default in (("cpus", 1), ("memory", 2000), ("disk", 10000)):
        name = f"whole_node_{key}"
        if not settings.has(name):
            findings.note(draft.file, f"[shapes.{draft.name}] had no {name}; {default} is a guess, please check")
            draft.remarks.append(f"{name} was missing: {key} is a guess.")
        numbers[key] = settings.number(name, default)
    draft.table["cpus"] = bounded(numbers["cpus"])
    draft.table["memory"] = size(numbers["memory"])
    draft.table["disk"] = size(numbers["disk"])
    settings.say("whole_node_cpus", Verdict.KEPT, f"cpus = {draft.table['cpus']}")
    settings.say("whole_node_disk", Verdict.TRANSLATED, f"disk = {draft.table['disk']!r}")
    settings.say("whole_node_memory", Verdict.TRANSLATED, f"memory = {draft.table['memory']!r}")
    _said_of_gpus(settings, draft, variant)
    _whole_memory(settings, draft, numbers["memory"], variant.gpus)


def _said_of_gpus(settings: Settings, draft: Draft, variant: Variant) -> None:
    if variant.gpus:
        draft.table["gpus"] = variant.gpus
        settings.say("whole_node_gpus", Verdict.KEPT, f"gpus = {variant.gpus}")
    else:
        settings.say("whole_node_gpus", Verdict.OBSOLETE, "none, or not for user jobs of a cpu_only partition")
        if not settings.has("whole_node_gpus") and not settings.flag("cpu_only"):
            text = "no whole_node_gpus was no limit: jobs for GPUs were sent here too; now only user jobs without do"
            settings.say("whole_node", Verdict.BUG, text)


def _whole_memory(settings: Settings, draft: Draft, memory: int, gpus: int) -> None:
    """Says what pyglidein asked the batch system for instead of the shape's memory."""
    per_core = settings.number("mem_per_core", 0)
    cpus = settings.number("whole_node_cpus", 1)
    if draft.backend not in _BY_CORE:
        settings.say("mem_per_core", Verdict.OBSOLETE, "pyglidein did not read it on this batch system")
    elif not settings.has("mem_per_core"):
        if draft.backend == "torque" and cpus > 1 and not settings.flag("vmem_only") and not settings.flag("mem_only"):
            text = f"as pmem, pyglidein asked for it for each of {cpus} cores; now it is asked for once"
            settings.say("whole_node_memory", Verdict.BUG, text)
    elif gpus and memory > per_core:
        text = (
            f"with GPUs, user jobs up to {memory} MB were sent to glideins that offered {per_core} MB, for ever;"
            f" now a glidein asks for and offers {draft.table['memory']}"
        )
        settings.say("mem_per_core", Verdict.BUG, text)
        draft.remarks.append(f"Memory: pyglidein asked the batch system for {per_core}MiB and matched {memory}MiB.")
    elif not gpus and per_core > 0 and memory > per_core and draft.backend == "slurm":
        text = (
            f"a core's share was written as --mem, which is the whole node's: {-(-memory // -(-memory // per_core))} MB"
            f" for glideins that offered {memory} MB; now {draft.table['memory']} is asked for"
        )
        settings.say("mem_per_core", Verdict.BUG, text)
    else:
        settings.say("mem_per_core", Verdict.OBSOLETE, "a shape says its memory; the backend divides where it must")


def _fitted(settings: Settings, draft: Draft, variant: Variant) -> None:
    table = draft.table
    table["fit"] = True
    settings.say("whole_node", Verdict.TRANSLATED, "fit = true: glideins as large as the user jobs they are for")
    most = {key: settings.number(f"max_{key}_per_job", default) for key, default in _DEFAULTS.items()}
    table["cpus"] = bounded(most["cpus"])
    table["memory"] = size(most["memory"])
    table["disk"] = size(most["disk"])
    for key in ("cpus", "memory", "disk"):
        settings.say(f"max_{key}_per_job", Verdict.TRANSLATED, f"{key} = {table[key]!r}, the most with fit")
    if variant.gpus:
        table["gpus"] = variant.gpus
        settings.say("max_gpus_per_job", Verdict.TRANSLATED, f"gpus = {variant.gpus} in [shapes.{draft.name}]")
        if not _is_set(settings):
            draft.remarks.append("For user jobs that ask for more GPUs than 1, copy this shape and change gpus.")
    else:
        settings.say("max_gpus_per_job", Verdict.TRANSLATED, "no gpus in this shape")
    for key, least in (("memory", 1024), ("disk", 1024)):
        if most[key] < least:
            table[f"min_{key}"] = table[key]
    _fitted_memory(settings, draft, most["memory"], variant.gpus)
    for key in ("cpus", "gpus", "memory", "disk"):
        settings.say(f"whole_node_{key}", Verdict.OBSOLETE, "whole_node is off, so it had no effect")


def _fitted_memory(settings: Settings, draft: Draft, memory: int, gpus: int) -> None:
    per_core = settings.number("mem_per_core", _PER_CORE)
    if draft.backend not in _BY_CORE:
        settings.say("mem_per_core", Verdict.OBSOLETE, "pyglidein did not read it on this batch system")
    elif gpus and memory > per_core:
        text = (
            f"with GPUs, user jobs up to {memory} MB were sent to glideins that asked for and offered {per_core} MB;"
            " now they get what they ask for"
        )
        settings.say("mem_per_core", Verdict.BUG, text)
        draft.remarks.append(
            f"Memory: pyglidein asked for {per_core}MiB at most and matched {memory}MiB."
            f' If the batch system gives no more, write memory = "{size(per_core)}".'
        )
    elif gpus:
        settings.say("mem_per_core", Verdict.OBSOLETE, "more than any user job asked for")
    else:
        remark = f"pyglidein asked for one core more for each {per_core}MiB that a user job wanted; a fitted glidein"
        remark += " asks for the user job's own cores."
        draft.remarks.append(remark)
        settings.say("mem_per_core", Verdict.TRANSLATED, "a comment: no key makes cores of memory, see the new file")
        if draft.backend == "slurm":
            settings.say("mem_per_core", Verdict.BUG, "a core's share was written as --mem, which is the whole node's")


def _jobs(settings: Settings, draft: Draft, variant: Variant) -> None:
    """Adds which user jobs are taken: what the site wrote, where the size does not say it already."""
    jobs = draft.jobs
    for key in ("cpus", "gpus", "memory", "disk"):
        for word in ("min", "max"):
            name = f"{word}_{key}_per_job"
            if not settings.has(name) or (word == "max" and (key == "gpus" or settings.flag("whole_node"))):
                continue
            number = max(0, settings.number(name, 0))
            is_size = key in {"memory", "disk"}
            jobs[f"{word}_{key}"] = _job_size(number) if is_size else bounded(number, least=0)
            settings.say(name, Verdict.KEPT, f"jobs.{word}_{key} = {jobs[f'{word}_{key}']!r}")
    if settings.flag("whole_node"):
        for key in ("cpus", "gpus", "memory", "disk"):
            settings.say(f"max_{key}_per_job", Verdict.OBSOLETE, "whole_node is on, so pyglidein did not read it")
    if settings.flag("cpu_only"):
        jobs["max_gpus"] = 0
        settings.say("cpu_only", Verdict.TRANSLATED, "jobs.max_gpus = 0")
    else:
        settings.say("cpu_only", Verdict.OBSOLETE, "off, as without it")
    if variant.least:
        jobs["min_gpus"] = max(variant.least, int(str(jobs.get("min_gpus", 0))))
    if settings.flag("gpu_only"):
        settings.say("gpu_only", Verdict.TRANSLATED, "jobs.min_gpus")
    else:
        settings.say("gpu_only", Verdict.OBSOLETE, "off, as without it")
    if settings.flag("cpu_only") and settings.flag("gpu_only") and not draft.off:
        draft.off = "cpu_only and gpu_only together let no user job in"


def _job_size(mib: int) -> str:
    return "0MiB" if mib == 0 else size(mib)
