"""One partition of a pyglidein configuration becomes one shape; or several, where glideins differ in their GPUs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from . import asked, limits, quantities, scratch, sizes, values, words
from .condor import CONDOR, add_lines
from .family import Family
from .gridengine import GRIDENGINE
from .lsf import LSF
from .model import Draft, Findings, Settings, Verdict
from .slurm import SLURM
from .torque import TORQUE
from .words import Taken

FAMILIES: Final = {"slurm": SLURM, "pbs": TORQUE, "uge": GRIDENGINE, "sge": GRIDENGINE, "lsf": LSF, "htcondor": CONDOR}

_EXACT_OS: Final = re.compile(r"(SL|CentOS|AlmaLinux|Rocky|Debian|Ubuntu|RedHat|Fedora|openSUSE)(\d+)")
_REPOSITORIES: Final = ("icecube.opensciencegrid.org", "oasis.opensciencegrid.org")


def drafts(settings: Settings, family: Family, name: str, file: str, findings: Findings) -> list[Draft]:
    """Returns the shapes of one partition.

    Args:
        settings: The partition's section over [Cluster], and [SubmitFile].
        family: Its batch system.
        name: What the shape is called, as puller.toml allows.
        file: The old file's name.
        findings: Gets the verdicts.
    """
    made = []
    for variant in sizes.variants(settings):
        draft = Draft(f"{name[: 32 - len(variant.suffix)]}{variant.suffix}", family.backend, file)
        sizes.apply(settings, draft, variant, findings)
        taken = _options(settings, family, draft)
        override(taken, draft)
        family.finish(settings, draft)
        draft.options.update(taken.options)
        draft.extend("extra", taken.extra)
        limits.apply(settings, draft, findings)
        _node(settings, draft)
        made.append(draft)
    if len(made) > 1:
        for draft in made:
            draft.remarks.append("pyglidein made glideins with and without GPUs, or with several, of one partition.")
    return made


def _options(settings: Settings, family: Family, draft: Draft) -> Taken:
    """Reads the submit command, then the site's own lines, as the batch system did: the command line wins."""
    taken = Taken()
    _header(settings, family, draft, taken)
    text = settings.text("submit_command")
    line = words.command_line(text, family.commands)
    if not line.command or line.is_shell or words.has_assignment(line.prefix):
        draft.lines.append(f"submit_command = {values.shown('', text)}")
        known = "cannot be translated as a whole; written as a comment" if text else "empty: the usual one is taken"
        settings.say("submit_command", Verdict.UNKNOWN, known)
    if line.command:
        options = Taken()
        rest = words.read(line.options, family.dialect, options)
        family.refine(options)
        said = [*options.said, *(f"{word}: not understood" for word in rest)]
        if line.prefix and not line.is_shell and not words.has_assignment(line.prefix):
            draft.table["command_prefix"] = list(line.prefix)
            said.append(f"{' '.join(line.prefix)}: command_prefix")
        for quantity, found in options.taken.items():
            said.append(f"{quantity} {found[-1]}: read into the shape" if quantity != "lines" else "-a: options.lines")
        if family is CONDOR:
            add_lines(options.taken.pop("lines", ()), draft)
        _join(taken, options)
        text = f"{line.command}, written by the backend" + "".join(f"; {sentence}" for sentence in said)
        settings.say("submit_command", Verdict.TRANSLATED, values.printable(text))
    return taken


def _join(first: Taken, second: Taken) -> None:
    """Adds what the command line says to what the script's lines say; where both say it, the command line wins."""
    first.options.update(second.options)
    first.extra += second.extra
    for quantity, found in second.taken.items():
        first.taken[quantity] = found


def _header(settings: Settings, family: Family, draft: Draft, taken: Taken) -> None:
    """Reads custom_header and the like: directives, lines of a submit description, or lines of shell."""
    for key in ("custom_header", "custom_middle", "custom_footer"):
        text = settings.text(key)
        if not text:
            continue
        if family is CONDOR:
            said = add_lines(text.split("\n"), draft)
            settings.say(key, Verdict.TRANSLATED, values.printable("; ".join(said)) or "nothing but comments")
            continue
        if key == "custom_footer":
            continue
        before = len(taken.said)
        shell = directives(text.split("\n"), family, taken)
        setup = [_exported(line) for line in shell if not line.lstrip().startswith("#") and not _has_secret(line)]
        old = draft.table.get("setup")
        draft.table["setup"] = [*(old if isinstance(old, list) else []), *setup]
        if not draft.table["setup"]:
            del draft.table["setup"]
        said = [*taken.said[before:], *(f"{line}: setup" for line in setup)]
        said += [f"{line}: not a line of {family.directive}, so it was a comment" for line in shell if line[:1] == "#"]
        said += ["a secret, not copied: withdraw it" for line in shell if _has_secret(line)]
        settings.say(key, Verdict.TRANSLATED, values.printable("; ".join(said)) or "nothing but comments")


def directives(lines: Iterable[str], family: Family, taken: Taken) -> list[str]:
    """Reads the lines that are directives of a batch system; returns the others that are not empty."""
    rest = []
    for line in lines:
        if family.directive and line.startswith(family.directive):
            own = Taken()
            left = words.read(words.split(line[len(family.directive) :]), family.dialect, own)
            family.refine(own)
            own.said += [f"{word}: not understood" for word in left]
            own.said += [f"{quantity} {found[-1]}: read into the shape" for quantity, found in own.taken.items()]
            taken.options.update(own.options)
            taken.extra += own.extra
            taken.said += own.said
            for quantity, found in own.taken.items():
                taken.taken.setdefault(quantity, []).extend(found)
        elif line.strip():
            rest.append(line.rstrip())
    return rest


def _has_secret(line: str) -> bool:
    name, _, value = line.replace("export ", "").strip().partition("=")
    return values.is_secret(name if re.fullmatch(r"\w+", name) else "", value or line)


def _exported(line: str) -> str:
    """Returns a line of shell for `setup`; what is only assigned would not outlive it."""
    return f"export {line.strip()}" if re.fullmatch(r"\s*[A-Za-z_]\w*=[^;&|()]*", line) else line.strip()


def override(taken: Taken, draft: Draft) -> None:
    """Lets sizes that the site wrote win over pyglidein's own, as they did for the batch system."""
    table = draft.table
    found = asked.read(taken, draft.backend, cpus=int(str(table["cpus"])), gpus=int(str(table.get("gpus", 0))))
    if found.walltime_s:
        table["walltime"] = quantities.duration(values.bounded(found.walltime_s, 60, 36_000_000))
    if found.cpus:
        table["cpus"] = values.bounded(found.cpus)
    if found.memory_mib:
        table["memory"] = values.size(found.memory_mib)
        if table.get("fit"):
            draft.remarks.append("The site's own options fixed the memory, so the most is what they say.")
    if found.gpus and "gpus" not in table and draft.jobs.get("max_gpus") != 0:
        table["gpus"] = values.bounded(found.gpus)
    if found.members > 1:
        draft.remarks.append(f"The site's own options asked for arrays of {found.members}; Glidepost makes its own.")


def _node(settings: Settings, draft: Draft) -> None:
    """Adds what worker nodes are like: scratch, operating system, CVMFS."""
    folder = settings.text("local_dir")
    if folder:
        said = scratch.apply(folder, draft)
        is_kept = draft.table.get("scratch") == folder
        settings.say("local_dir", Verdict.KEPT if is_kept else Verdict.TRANSLATED, said)
    system = settings.text("os")
    if system:
        _system(settings, draft, system)
    if settings.has("cvmfs"):
        if settings.flag("cvmfs"):
            draft.table["cvmfs"] = list(_REPOSITORIES)
            text = "pyglidein never used it; now cvmfs names the repositories, and glideins look for them"
            settings.say("cvmfs", Verdict.TRANSLATED, text)
        else:
            draft.remarks.append("No CVMFS on the worker nodes, says the old file (it used Parrot).")
            settings.say("cvmfs", Verdict.TRANSLATED, "a comment: no cvmfs in this shape")


def _system(settings: Settings, draft: Draft, system: str) -> None:
    name = re.sub(r"^([A-Za-z]+)_?(\d+).*", r"\1\2", system.replace(" ", ""))
    if _EXACT_OS.fullmatch(name):
        draft.table["os"] = name
        settings.say("os", Verdict.TRANSLATED, f"os = {name!r}: pyglidein never used it, so see that it is still true")
    else:
        draft.lines.append(f'os = "{values.printable(name)}"  # what OpSysAndVer is on a worker node, exactly')
        text = "a comment: pyglidein never used it, and now it must be a worker node's OpSysAndVer exactly"
        settings.say("os", Verdict.TRANSLATED, text)
