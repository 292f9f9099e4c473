"""pyglidein's PBS, which is Torque's dialect: nodes=1:ppn=N:gpus=G, and four styles of memory limits."""

from __future__ import annotations

import re
from typing import Final

from .family import Family
from .model import Draft, Settings, Verdict
from .words import ARRAYS, LOGS, NAMES, OURS, Dialect, Taken

_MEANINGS: Final = {
    "-A": "option:account",
    "-q": "option:queue",
    "-l": "take:resources",
    "-N": NAMES,
    "-o": LOGS,
    "-e": LOGS,
    "-j": LOGS,
    "-k": LOGS,
    "-t": ARRAYS,
    "-J": ARRAYS,
    "-r": OURS,
    "-S": OURS,
    "-V!": "drop:glideins start with a clean environment; [glidein] keep and environment add to it",
    "-v": "drop:glideins start with a clean environment; [glidein] environment adds to it",
    "-d": OURS,
    "-w": OURS,
    "-h!": "drop:nobody would release it",
    "-z!": OURS,
    "-I!": "drop:glideins are not interactive",
    "-X!": "drop:glideins are not interactive",
    "-M": "extra",
    "-m": "extra",
    "-p": "extra",
    "-P": "extra",
    "-W": "extra",
    "-a": "extra",
    "-u": "extra",
    "-c": "extra",
    "-n!": "true:exclusive",
}

# Which limits pyglidein wrote for each of its switches, and for none of them.
_STYLES: Final = (
    ("pmem_only", ("pmem",)),
    ("pvmem", ("pmem", "vmem")),
    ("vmem_only", ("vmem",)),
    ("mem_only", ("mem",)),
)


def _refine(taken: Taken) -> None:
    """Reads the lists of -l: `nodes=1:ppn=4:gpus=1,mem=8gb`."""
    rest = []
    for item in (item for text in taken.taken.pop("resources", ()) for item in text.split(",") if item):
        name, _, value = item.partition("=")
        if name == "nodes":
            _nodes(value, taken)
        elif name in {"mem", "vmem", "pmem", "pvmem", "walltime"}:
            taken.taken.setdefault("walltime" if name == "walltime" else f"memory_{name}", []).append(value)
        elif name == "qos" and value:
            taken.options["qos"] = value
            taken.said.append(f"-l {item}: options.qos")
        else:
            rest.append(f"-l {item}")
    taken.extra += rest
    taken.said += [f"{item}: options.extra" for item in rest]


def _nodes(text: str, taken: Taken) -> None:
    for word in text.split(":")[1:]:
        name, sign, value = word.partition("=")
        if name in {"ppn", "gpus"} and value.isdigit():
            taken.taken.setdefault("cpus" if name == "ppn" else "gpus", []).append(value)
        elif not sign:
            taken.options["node_property"] = word
            taken.said.append(f"nodes={text}: options.node_property = {word!r}")
        else:
            taken.said.append(f"{word} in nodes={text}: no key for it; see the comment in the new file")


def _finish(settings: Settings, draft: Draft) -> None:
    limits: tuple[str, ...] = ("pmem", "mem")
    style = next((key for key, _ in _STYLES if settings.flag(key)), None)
    for key, words in _STYLES:
        if key == style:
            limits = words
            settings.say(key, Verdict.TRANSLATED, f"options.memory_limits = {list(words)}")
        else:
            settings.say(key, Verdict.OBSOLETE, "it is off, or another style of memory limits wins")
    draft.options["memory_limits"] = limits
    if limits == ("vmem",) and settings.has("mem_per_core"):
        text = "as vmem, pyglidein asked for the memory of one core for all of them; now it asks for the whole"
        settings.say("vmem_only", Verdict.BUG, text)
    node = settings.text("node_property")
    if node:
        draft.options["node_property"] = re.sub(r"\s+", "", node)
        settings.say("node_property", Verdict.KEPT, "options.node_property")
    if settings.has("set_gpu_req"):
        if settings.flag("set_gpu_req"):
            settings.say("set_gpu_req", Verdict.KEPT, "GPUs are asked for as :gpus=N, which is the default")
        else:
            draft.options["gpus"] = ""
            settings.say("set_gpu_req", Verdict.TRANSLATED, "options.gpus = '': GPUs are not asked for")
    draft.remarks.append('pyglidein spoke Torque. If qsub --version says PBS Pro or OpenPBS, write backend = "pbs".')


TORQUE: Final = Family(
    backend="torque",
    commands=("qsub",),
    directive="#PBS",
    dialect=Dialect(_MEANINGS),
    refine=_refine,
    finish=_finish,
    own=("pmem_only", "pvmem", "vmem_only", "mem_only", "node_property", "set_gpu_req"),
)
