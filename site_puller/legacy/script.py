"""A batch script that starts a glidein, as sites wrote instead of a pyglidein configuration, becomes one shape."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Optional

from . import asked, quantities, values, variables, words
from .asked import Asked
from .family import Family
from .gridengine import GRIDENGINE
from .lsf import LSF
from .model import Draft, Entry, Findings, SiteDraft, Verdict
from .slurm import SLURM
from .torque import TORQUE
from .values import bounded, size
from .variables import Variable
from .words import Taken

_FAMILIES: Final = (SLURM, TORQUE, LSF, GRIDENGINE)
_ASSIGNMENT: Final = re.compile(r"(?P<export>export\s+|setenv\s+)?(?P<name>[A-Za-z_]\w*)(?:=|(?<=\s)\s)(?P<text>.*)")
_SETUP: Final = re.compile(r"(module|ml|source|\.|conda|mamba|ulimit|umask|unset|spack)\s|eval\s+.*conda")
_GUESSES: Final = {"cpus": 1, "memory": 2000, "disk": "20GiB", "walltime_s": 86400}
_GPU_FACTS: Final = (
    ("gpu_capability", re.compile(r"(?i)\bgpus?_?capability\s*=\s*[\"']?(\d{1,3}\.\d{1,3})")),
    ("gpu_name", re.compile(r"(?i)\b(?:gpus?_?)?devicename\s*=\s*[\"']?([^\"'\n]{1,100})")),
    ("gpu_memory_mib", re.compile(r"(?i)\b(?:gpus?_?)?globalmemorymb\s*=\s*[\"']?(\d{3,9})")),
)


@dataclass(frozen=True)
class Line:
    """A statement of the script, with the line where it starts."""

    number: int
    text: str


def translate(text: str, *, file: str, findings: Findings) -> SiteDraft:
    """Returns the draft of a site with one shape.

    Args:
        text: The script.
        file: Its name.
        findings: Gets a verdict on each directive, each variable, and the rest.
    """
    family = _family(text)
    stem = file.rsplit("/", 1)[-1].partition(".")[0]
    draft = Draft(values.slug(stem, default="main"), family.backend if family else "local", file)
    site = SiteDraft(file, shapes=[draft])
    entries: list[Entry] = []
    taken = Taken()
    rest: list[Line] = []
    for line in statements(text):
        directive = family and re.match(rf"{re.escape(family.directive)}\s+(?=-)", line.text)
        if family and directive:
            _directive(Line(line.number, line.text[directive.end() :]), family, taken, entries, findings, file)
        elif line.text.startswith("#SCRON"):
            entries.append(Entry(file, "#SCRON", line.text[6:].strip() or "-", "", line.number))
            findings.say(entries[-1], Verdict.OBSOLETE, "`glidepost puller schedule --scrontab` writes these")
        elif not line.text.startswith("#"):
            rest.append(line)
    found = asked.read(taken, draft.backend)
    _sizes(found, draft)
    assigned, others = _assignments(rest, file)
    for variable in assigned:
        variables.apply(variable, draft, site, findings)
    entries += [variable.entry for variable in assigned]
    entries += list(_others(others, draft, site, findings, file))
    _facts(text, draft)
    draft.options.update(taken.options)
    draft.extend("extra", taken.extra)
    _complete(draft, found, findings, is_batch=family is not None)
    if family is GRIDENGINE:
        draft.options.setdefault("memory_per", "slot")
    site.entries = merged(entries, findings)
    return site


def _family(text: str) -> Optional[Family]:
    """Returns the batch system whose directives a script has, None if it has none."""
    found = (one for one in _FAMILIES if re.search(rf"^{re.escape(one.directive)}\s+-", text, re.MULTILINE))
    return next(found, None)


def statements(text: str) -> Iterator[Line]:
    """Yields the lines of a script, continued ones joined, empty ones left out."""
    start = 0
    parts: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        start = start if parts else number
        if line.endswith("\\") and not line.startswith("#"):
            parts.append(line[:-1])
            continue
        joined = "".join((*parts, line)).strip()
        parts = []
        if joined and not joined.startswith("#!"):
            yield Line(start, joined)


def merged(entries: list[Entry], findings: Findings) -> tuple[Entry, ...]:
    """Returns the entries with those of the same section and key as one: what was said of the last one holds."""
    last: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        name = (entry.section, entry.key)
        old = last.get(name)
        if old is None:
            last[name] = entry
            continue
        joined = replace(entry, earlier=(*old.earlier, old.line))
        findings.move(entry, joined)
        last[name] = joined
    return tuple(sorted(last.values(), key=lambda entry: entry.line))


def _directive(  # noqa: PLR0913, PLR0917 - where it goes to is most of them
    line: Line, family: Family, taken: Taken, entries: list[Entry], findings: Findings, file: str
) -> None:
    own = Taken()
    left = words.read(words.split(line.text), family.dialect, own)
    family.refine(own)
    name, _, value = line.text.replace("=", " ", 1).partition(" ")
    entry = Entry(file, family.directive, name, value.strip(), line.number)
    entries.append(entry)
    taken.options.update(own.options)
    taken.extra += own.extra
    for quantity, found in own.taken.items():
        taken.taken.setdefault(quantity, []).extend(found)
        own.said.append(f"{quantity} {found[-1]}: read into the shape")
    own.said += [f"{word}: not understood" for word in left]
    is_dropped = not own.options and not own.extra and not own.taken
    verdict = Verdict.UNKNOWN if left else Verdict.OBSOLETE if is_dropped else Verdict.TRANSLATED
    findings.say(entry, verdict, values.printable("; ".join(own.said)) or "nothing")


def _sizes(found: Asked, draft: Draft) -> None:
    """Puts what the directives ask for into the draft; memory and walltime for the variables to be held against."""
    for key, number in (("cpus", found.cpus), ("gpus", found.gpus)):
        if number:
            draft.table[key] = bounded(number)
    for key, number in (("_memory_mib", found.memory_mib), ("_walltime_s", found.walltime_s)):
        if number:
            draft.table[key] = number


def _assignments(lines: list[Line], file: str) -> tuple[list[Variable], list[Line]]:
    """Returns the variables that are set, each once as last set, and the other lines."""
    found: dict[str, Variable] = {}
    rest = []
    exported = set()
    for line in lines:
        match = _ASSIGNMENT.fullmatch(line.text)
        text = _value(match["text"]) if match else None
        if match is None or text is None or ("=" not in line.text and not line.text.startswith("setenv")):
            names = re.fullmatch(r"export((?:\s+[A-Za-z_]\w*)+)", line.text)
            exported |= set(names[1].split()) if names else set()
            rest.append(line)
            continue
        name = match["name"]
        old = found.get(name)
        if text in {f"${name}", f"${{{name}}}"}:
            exported |= {name}
            rest.append(line)
            continue
        entry = Entry(file, "shell", name, text, line.number, (*old.entry.earlier, old.entry.line) if old else ())
        found[name] = Variable(
            entry, bool(match["export"]) or bool(old and old.is_exported), "$(" in text or "`" in text
        )
    return [replace(one, is_exported=one.is_exported or name in exported) for name, one in found.items()], rest


def _value(text: str) -> Optional[str]:
    """Returns the value of an assignment without quotes and comment; None if a command follows it."""
    text = text.strip()
    match = re.match(r"\"((?:[^\"\\]|\\.)*)\"|'([^']*)'|((?:\$\((?:[^()]|\([^()]*\))*\)|`[^`]*`|[^\s#;&|<>])*)", text)
    if match is None:
        return None
    rest = text[match.end() :].strip()
    if rest and not rest.startswith(("#", ";")):
        return None
    return next((group for group in match.groups() if group is not None), "")


def _others(lines: list[Line], draft: Draft, site: SiteDraft, findings: Findings, file: str) -> Iterator[Entry]:
    """Yields one entry for each line of setup, and one for each run of lines that Glidepost's script makes needless."""
    run: list[Line] = []
    for line in lines:
        if not _SETUP.match(line.text) or values.is_secret("", line.text):
            run.append(line)
            continue
        yield from _run(run, findings, file)
        run = []
        entry = Entry(file, "shell", f"line {line.number}", line.text, line.number)
        variables.add_setup(draft, line.text)
        findings.say(entry, Verdict.KEPT, "setup")
        yield entry
    yield from _run(run, findings, file)
    text = "\n".join(line.text for line in lines)
    if "cvmfsexec" in text:
        site.remark("glidein", "The old script brought CVMFS with cvmfsexec; see [shapes.NAME] cvmfs for native CVMFS.")
    if re.search(r"(singularity|apptainer|shifter|podman)\S*\s.*(exec|run|--image)", text):
        site.remark("glidein", "The old script ran the glidein in a container; now it runs on the node itself.")


def _run(lines: list[Line], findings: Findings, file: str) -> Iterator[Entry]:
    if not lines:
        return
    first, last = lines[0].number, lines[-1].number
    key = f"line {first}" if first == last else f"lines {first}-{last}"
    entry = Entry(file, "shell", key, "\n".join(line.text for line in lines), first)
    findings.say(
        entry, Verdict.OBSOLETE, "Glidepost's own script does what a glidein needs; look for what is special here"
    )
    yield entry


def _facts(text: str, draft: Draft) -> None:
    """Reads what a script says of its nodes in passing."""
    for key, pattern in _GPU_FACTS:
        match = pattern.search(text)
        if match and draft.table.get("gpus"):
            draft.table[key] = int(match[1]) if key == "gpu_memory_mib" else match[1].strip()
    if "aarch64" in text and "x86_64" not in text:
        draft.table["arch"] = "aarch64"
    if re.search(r"(?i)--rocm|\bamd\b|\bmi[0-9]{3}", text) and draft.table.get("gpus"):
        draft.remarks.append('GPUs of AMD: condor_gpu_discovery may want gpu_discovery = "-hip" in [glidein].')
    if re.search(r"(?i)\bpvc\b|\bintel\b.*gpu|ponte", text) and draft.table.get("gpus"):
        draft.remarks.append('GPUs of Intel: condor_gpu_discovery may want gpu_discovery = "-opencl" in [glidein].')


def _complete(draft: Draft, found: Asked, findings: Findings, *, is_batch: bool) -> None:
    """Turns what was read into the shape's keys; what nobody said is a guess, and is named as one."""
    table = draft.table
    memory, walltime = table.pop("_memory_mib", 0), table.pop("_walltime_s", 0)
    missing = [
        key for key, have in (("cpus", table.get("cpus")), ("memory", memory), ("walltime", walltime)) if not have
    ]
    missing += ["disk"] if "disk" not in table else []
    ordered = {
        "cpus": table.pop("cpus", _GUESSES["cpus"]),
        "memory": size(int(str(memory)) or int(str(_GUESSES["memory"]))),
        "disk": table.pop("disk", _GUESSES["disk"]),
        "gpus": table.pop("gpus", 0),
        "walltime": quantities.duration(
            bounded(int(str(walltime)) or int(str(_GUESSES["walltime_s"])), 60, 36_000_000)
        ),
    }
    if not ordered["gpus"]:
        del ordered["gpus"]
    if missing:
        draft.remarks.append(f"The script does not say: {', '.join(missing)}. These are guesses, please check.")
        findings.note(draft.file, f"[shapes.{draft.name}]: {', '.join(missing)} are guesses, please check")
    if draft.backend == "slurm" and ordered.get("gpus") and not found.gpus:
        text = (
            "The script asked Slurm for no GPUs, as where a node comes with them; Glidepost asks for them with --gres."
        )
        draft.remarks.append(text)
    draft.table = {**ordered, "max_total": bounded(found.members)}
    if 0 < found.running < found.members:
        draft.table["max_running"] = bounded(found.running)
    if not found.members:
        what = "batch jobs" if is_batch else "processes"
        draft.remarks.append(f"How many {what} there were, the script does not say: max_total is 1.")
    draft.table.update(table)
