"""pyglidein's UGE and SGE: h_rss and tmpdir_size for each slot, GPUs by `-l gpu=N`, cores by a parallel environment."""

from __future__ import annotations

from typing import Final

from .family import Family
from .model import Draft, Settings
from .words import ARRAYS, LOGS, NAMES, OURS, Dialect, Taken

_MEANINGS: Final = {
    "-A": "option:account",
    "-P": "option:project",
    "-q": "option:queue",
    "-l": "take:resources",
    "-pe": "take:environment",
    "-N": NAMES,
    "-o": LOGS,
    "-e": LOGS,
    "-j": LOGS,
    "-t": ARRAYS,
    "-tc": "take:running",
    "-S": OURS,
    "-cwd!": OURS,
    "-wd": OURS,
    "-terse!": OURS,
    "-r": OURS,
    "-b": OURS,
    "-notify!": OURS,
    "-sync": "drop:Glidepost does not wait",
    "-V!": "drop:glideins start with a clean environment; [glidein] keep and environment add to it",
    "-v": "drop:glideins start with a clean environment; [glidein] environment adds to it",
    "-h!": "drop:nobody would release it",
    "-hard!": "extra",
    "-soft!": "extra",
    "-w": OURS,
    "-p": "extra",
    "-m": "extra",
    "-M": "extra",
    "-R": "extra",
    "-js": "extra",
    "-ac": "extra",
    "-binding": "extra",
}

_QUANTITIES: Final = {"h_rt": "walltime", "s_rt": "walltime", "gpu": "gpus"}


def _refine(taken: Taken) -> None:
    rest = []
    for item in (item for text in taken.taken.pop("resources", ()) for item in text.split(",") if item):
        name, sign, value = item.partition("=")
        if sign and name in _QUANTITIES:
            taken.taken.setdefault(_QUANTITIES[name], []).append(value)
        elif sign and name in {"h_vmem", "h_rss", "m_mem_free", "mem_free", "virtual_free"}:
            taken.options["memory_resource"] = name
            taken.taken.setdefault("memory_slot", []).append(value)
        else:
            rest.append(f"-l {item}")
    taken.extra += rest
    taken.said += [f"{item}: options.extra" for item in rest]
    for text in taken.taken.pop("environment", ()):
        name, _, slots = text.partition(" ")
        taken.options["parallel_environment"] = name
        taken.said.append(f"-pe {text}: options.parallel_environment")
        if slots.isdigit():
            taken.taken["cpus"] = [slots]


def _finish(settings: Settings, draft: Draft) -> None:
    is_uge = settings.text("scheduler").lower() != "sge"
    draft.options.setdefault("memory_resource", "h_rss")
    draft.options["memory_per"] = "slot"
    if is_uge:
        draft.options["disk_resource"] = "tmpdir_size"
    if draft.table.get("gpus"):
        draft.options["gpus"] = "gpu={gpus}"
    draft.options.setdefault("parallel_environment", "multicore" if is_uge else "mpi")


GRIDENGINE: Final = Family(
    backend="gridengine",
    commands=("qsub",),
    directive="#$",
    dialect=Dialect(_MEANINGS, pairs=frozenset({"-pe"})),
    refine=_refine,
    finish=_finish,
)
