"""pyglidein's Slurm: one sbatch for each glidein, memory written with --mem, which is for a node and not for a core."""

from __future__ import annotations

import re
from typing import Final

from .family import Family
from .model import Draft, Settings, Verdict
from .words import ARRAYS, LOGS, NAMES, OURS, Dialect, Taken

_MEANINGS: Final = {
    "--account": "option:account",
    "-A": "option:account",
    "--partition": "option:partition",
    "-p": "option:partition",
    "--qos": "option:qos",
    "-q": "option:qos",
    "--constraint": "option:constraint",
    "-C": "option:constraint",
    "--reservation": "option:reservation",
    "--exclusive=": "true:exclusive",
    "--gres": "take:gres",
    "--gpus": "take:gpus",
    "-G": "take:gpus",
    "--gpus-per-node": "take:gpus_per_node",
    "--gpus-per-task": "take:gpus",
    "--ntasks": "take:tasks",
    "--tasks": "take:tasks",
    "-n": "take:tasks",
    "--ntasks-per-node": "take:tasks_per_node",
    "--tasks-per-node": "take:tasks_per_node",
    "--cpus-per-task": "take:cpus_per_task",
    "-c": "take:cpus_per_task",
    "--mem": "take:memory",
    "--mem-per-cpu": "take:memory_per_cpu",
    "--mem-per-gpu": "take:memory_per_gpu",
    "--time": "take:walltime",
    "-t": "take:walltime",
    "--array": ARRAYS,
    "-a": ARRAYS,
    "--nodes": "drop:a glidein is one node",
    "-N": "drop:a glidein is one node",
    "--job-name": NAMES,
    "-J": NAMES,
    "--output": LOGS,
    "-o": LOGS,
    "--error": LOGS,
    "-e": LOGS,
    "--open-mode": LOGS,
    "--export": "drop:glideins start with a clean environment; [glidein] keep and environment add to it",
    "--get-user-env=": "drop:glideins start with a clean environment",
    "--chdir": OURS,
    "-D": OURS,
    "--workdir": OURS,
    "--requeue!": "drop:Glidepost submits anew and does not requeue",
    "--no-requeue!": OURS,
    "--parsable!": OURS,
    "--wait!": "drop:Glidepost does not wait",
    "-W!": "drop:Glidepost does not wait",
    "--quiet!": OURS,
    "-Q!": OURS,
    "--verbose!": OURS,
    "-v!": OURS,
    "--wrap": "drop:Glidepost writes the script",
    "--clusters": "take:clusters",
    "-M": "take:clusters",
    "--hold!": "drop:nobody would release it",
    "-H!": "drop:nobody would release it",
    "--licenses": "extra",
    "-L": "extra:--licenses",
    "--nodelist": "extra",
    "-w": "extra:--nodelist",
    "--exclude": "extra",
    "-x": "extra:--exclude",
    "--dependency": "drop:a glidein depends on no other batch job",
    "-d": "drop:a glidein depends on no other batch job",
    "--mail-user": "extra",
    "--mail-type": "extra",
    "--gres-flags": "extra",
    "--gpu-bind": "extra",
    "--image": "extra",
    "--module": "extra",
    "--volume": "extra",
    "--time-min": "take:least_walltime",
    "--tmp": "extra",
    "--nice=": "extra",
    "--comment": "extra",
    "--hint": "extra",
    "--threads-per-core": "extra",
    "--cpus-per-gpu": "extra",
    "--signal": "drop:glideins know when their walltime ends",
}


def _refine(taken: Taken) -> None:
    for text in taken.taken.pop("clusters", ()):
        taken.said.append(
            f'-M {text}: another cluster cannot be given as an option; write command_prefix = ["ssh", "HOST"]'
        )
    for text in taken.taken.pop("least_walltime", ()):
        taken.taken["walltime"] = [text]
        taken.said.append(f"--time-min={text}: walltime, because a glidein does not learn which one Slurm chose")
    for text in taken.taken.pop("gres", ()):
        template, gpus = gres(text)
        taken.options["gres"] = template
        taken.said.append(f"--gres={text}: options.gres = {template!r}")
        if gpus:
            taken.taken.setdefault("gpus", []).append(str(gpus))
    for text in taken.taken.pop("gpus_per_node", ()):
        kind, _, number = text.rpartition(":")
        taken.options["gpus_per_node"] = f"{kind}:{{gpus}}" if kind else "{gpus}"
        taken.said.append(f"--gpus-per-node={text}: options.gpus_per_node")
        taken.taken.setdefault("gpus", []).append(number)
    for text in taken.taken.get("gpus", ()):
        kind, _, number = text.rpartition(":")
        if kind and number.isdigit() and "gres" not in taken.options:
            taken.options["gres"] = f"gpu:{kind}:{{gpus}}"
            taken.said.append(f"gpus {text}: options.gres = 'gpu:{kind}:{{gpus}}'")
    taken.taken["gpus"] = [text.rpartition(":")[2] for text in taken.taken.get("gpus", ())]
    if not taken.taken["gpus"]:
        del taken.taken["gpus"]


def gres(text: str) -> tuple[str, int]:
    """Returns "gpu:p100:{gpus}" and 2 for "gpu:p100:2"; what is no GPU stays as it is."""
    parts = []
    gpus = 0
    for part in text.split(","):
        words = part.split(":")
        if words[0] != "gpu":
            parts.append(part)
        elif words[-1].isdigit():
            gpus += int(words[-1])
            parts.append(":".join((*words[:-1], "{gpus}")))
        else:
            gpus += 1
            parts.append(f"{part}:{{gpus}}")
    return ",".join(parts), gpus


def _finish(settings: Settings, draft: Draft) -> None:
    partition = settings.text("partition")
    if partition:
        if "partition" not in draft.options:
            draft.options["partition"] = partition
        settings.say("partition", Verdict.KEPT, "options.partition")
    template = settings.text("gpu_submit")
    if template and draft.table.get("gpus"):
        _gpu_submit(settings, draft, template)
    elif template:
        settings.say("gpu_submit", Verdict.OBSOLETE, "this shape has no GPUs")


def _gpu_submit(settings: Settings, draft: Draft, template: str) -> None:
    """Reads the template of GPU requests, such as `--gpus-per-node=v100:%d`."""
    text = template.replace("#SBATCH", "").strip()
    match = re.fullmatch(r"--(gres=gpu|gpus|gpus-per-node|gpus-per-task)[:=](?:([\w.-]+):)?%[di]", text)
    if match:
        gpus = f"{match[2]}:{{gpus}}" if match[2] else "{gpus}"
        key, value = ("gpus_per_node", gpus) if match[1] == "gpus-per-node" else ("gres", f"gpu:{gpus}")
        draft.options[key] = value
        settings.say("gpu_submit", Verdict.TRANSLATED, f"options.{key} = {value!r}")
        return
    draft.extend("extra", [re.sub(r"%[di]", str(draft.table["gpus"]), text)])
    settings.say("gpu_submit", Verdict.TRANSLATED, "options.extra, beside --gres=gpu:N, which Glidepost writes itself")


SLURM: Final = Family(
    backend="slurm",
    commands=("sbatch",),
    directive="#SBATCH",
    dialect=Dialect(_MEANINGS, joins="", has_long=True),
    refine=_refine,
    finish=_finish,
    own=("partition",),
)
