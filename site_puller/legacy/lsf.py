"""pyglidein's LSF: -W hours, -M in kilobytes times mem_scale, no request for GPUs."""

from __future__ import annotations

import re
from typing import Final

from . import values
from .family import Family
from .model import Draft, Settings, Verdict
from .words import ARRAYS, LOGS, NAMES, OURS, Dialect, Taken

_MEANINGS: Final = {
    "-q": "option:queue",
    "-P": "option:project",
    "-G": "option:group",
    "-gpu": "take:gpu",
    "-J": ARRAYS,
    "-W": "take:walltime",
    "-M": "take:memory_lsf",
    "-n": "take:cpus",
    "-o": LOGS,
    "-oo": LOGS,
    "-e": LOGS,
    "-eo": LOGS,
    "-cwd": OURS,
    "-env": "drop:glideins start with a clean environment",
    "-r!": OURS,
    "-rn!": OURS,
    "-K!": "drop:Glidepost does not wait",
    "-H!": "drop:nobody would release it",
    "-I!": "drop:glideins are not interactive",
    "-x!": "true:exclusive",
    "-N!": "extra",
    "-B!": "extra",
    "-a": "extra",
    "-R": "take:requirements",
    "-m": "extra",
    "-u": "extra",
    "-app": "option:application",
    "-g": "extra",
    "-sp": "extra",
    "-U": "extra",
    "-E": "extra",
    "-C": "extra",
    "-c": "extra",
    "-S": "extra",
    "-v": "extra",
    "-L": "drop:Glidepost writes the script",
}

# pyglidein wrote memory * 1000 * mem_scale; with 0.001 that is MB.
_UNITS: Final = ((1e-4, "GB"), (0.1, "MB"), (100.0, "KB"))


def _refine(taken: Taken) -> None:
    _requirements(taken)
    for text in taken.taken.pop("gpu", ()):
        taken.options["gpus"] = text
        taken.said.append(f"-gpu {text}: options.gpus")
    for text in taken.taken.pop("array", ()):
        if "[" in text:
            taken.taken["array"] = [text.partition("[")[2].replace("]", "")]
        else:
            taken.said.append(f"-J {text}: {NAMES.partition(':')[2]}")


def _requirements(taken: Taken) -> None:
    """Reads -R: what selects hosts goes along, what asks for resources is what Glidepost writes itself."""
    selected = []
    for text in taken.taken.pop("requirements", ()):
        sections = dict(re.findall(r"(\w+)\[([^\]]*)\]", text))
        plain = re.sub(r"\w+\[[^\]]*\]", "", text).strip()
        selected += [part for part in (sections.pop("select", ""), plain) if part]
        for name, value in sections.items():
            taken.said.append(f"-R {name}[{value}]: Glidepost writes span and rusage itself")
    if selected:
        taken.options["select"] = " && ".join(f"({part})" for part in selected) if len(selected) > 1 else selected[0]
        taken.said.append(f"-R: options.select = {taken.options['select']!r}")


def _finish(settings: Settings, draft: Draft) -> None:
    scale = values.fraction(settings.value("mem_scale"))
    if settings.has("mem_scale") and scale is None:
        settings.say("mem_scale", Verdict.UNKNOWN, "not a number: pyglidein took 1, so kilobytes")
    unit = next((name for most, name in _UNITS if (1.0 if scale is None else scale) < most), "KB")
    draft.options["memory_unit"] = unit
    if scale is not None:
        settings.say("mem_scale", Verdict.TRANSLATED, f"options.memory_unit = {unit!r}")
    host = settings.text("ref_host")
    if host:
        draft.options["reference_host"] = host
        settings.say("ref_host", Verdict.KEPT, "options.reference_host")
    if draft.table.get("gpus") and "gpus" not in draft.options:
        draft.options["gpus"] = ""
        draft.remarks.append(
            "pyglidein asked LSF for no GPUs; the queue or the host had them. If yours wants a request:"
            ' gpus = "num={gpus}" in the options.'
        )
    if settings.has("gpu_submit"):
        settings.say("gpu_submit", Verdict.BUG, "pyglidein read it on Slurm only; options.gpus does that now")


LSF: Final = Family(
    backend="lsf",
    commands=("bsub",),
    directive="#BSUB",
    dialect=Dialect(_MEANINGS),
    refine=_refine,
    finish=_finish,
    own=("mem_scale", "ref_host"),
)
