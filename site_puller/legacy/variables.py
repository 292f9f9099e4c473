"""Shell variables that batch scripts of IceCube's sites set for the glidein, and what becomes of each."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from . import scratch, values
from .model import Draft, Entry, Findings, SiteDraft, Verdict
from .quantities import duration
from .values import bounded, size

_TYPED_BY_HAND_MIB: Final = 16 << 20
_DEFAULT_DISK: Final = "100GiB"
_ENVIRONMENT: Final = re.compile(
    r"(?i)(apptainer|singularity|cvmfs|osg|glidein_parrot|container|ld_library_path|opencl|ocl_|https?_proxy|no_proxy)"
)


@dataclass
class Variable:
    """One assignment: `is_exported` if the glidein saw it, `is_computed` if a command makes its value."""

    entry: Entry
    is_exported: bool
    is_computed: bool

    @property
    def number(self) -> int:
        """The value as a number, 0 if it is none."""
        return values.whole(self.entry.text) or 0


def apply(variable: Variable, draft: Draft, site: SiteDraft, findings: Findings) -> None:
    """Adds what a variable says to the drafts, and its verdict to the findings."""
    entry = variable.entry
    name = entry.key
    if values.is_secret(name, entry.text):
        text = "a secret in clear, not copied: each glidein gets a token of its own; withdraw this one in the pool"
        findings.say(entry, Verdict.BUG, text)
    elif name in _SPECIAL:
        verdict, what = _SPECIAL[name](variable, draft, site)
        findings.say(entry, verdict, what)
    elif re.fullmatch(r"(?i)(glidein_|condor_)?start_extra", name) and not variable.is_computed:
        old = site.glidein.get("start")
        site.glidein["start"] = f"({old}) && ({entry.text})" if old and old != entry.text else entry.text
        findings.say(entry, Verdict.KEPT, "[glidein] start")
    elif name == "CUDA_VISIBLE_DEVICES" or (variable.is_exported and variable.is_computed):
        add_setup(draft, f"export {name}={quoted(variable)}")
        findings.say(entry, Verdict.KEPT, "setup")
    elif variable.is_exported or _ENVIRONMENT.match(name):
        site.environment[name] = " ".join(entry.text.split())
        findings.say(entry, Verdict.KEPT, "[glidein.environment]")
    else:
        findings.say(entry, Verdict.OBSOLETE, "the script's own")


def add_setup(draft: Draft, line: str) -> None:
    """Adds a line of shell that runs before the glidein."""
    old = draft.table.get("setup")
    draft.table["setup"] = list(dict.fromkeys([*(old if isinstance(old, list) else []), line]))


def quoted(variable: Variable) -> str:
    """Returns a value as shell: in double quotes, so that what it computes is still computed."""
    text = variable.entry.text
    return text if re.fullmatch(r"[\w,.:/$(){}-]*", text) and " " not in text else '"' + text.replace('"', r"\"") + '"'


def _memory(variable: Variable, draft: Draft, site: SiteDraft) -> tuple[Verdict, str]:  # noqa: ARG001 - one signature
    asked = int(str(draft.table.get("_memory_mib", 0)))
    offered = variable.number
    if offered <= 0:
        return Verdict.OBSOLETE, "glideins offer the shape's memory"
    if not asked:
        draft.table["_memory_mib"] = offered
        return Verdict.TRANSLATED, f"memory = {size(offered)!r}: the script asked the batch system for none"
    if offered > asked:
        text = f"it offered user jobs {offered} MB of {asked} MB; now a glidein offers what it asked for, {size(asked)}"
        return Verdict.BUG, text
    if offered < asked:
        draft.table["memory_margin"] = size(asked - offered)
        return Verdict.TRANSLATED, f"memory_margin = {draft.table['memory_margin']!r}, which user jobs do not get"
    return Verdict.KEPT, "glideins offer the shape's memory"


def _cpus(variable: Variable, draft: Draft, site: SiteDraft) -> tuple[Verdict, str]:  # noqa: ARG001 - one signature
    offered = variable.number
    if offered <= 0:
        return Verdict.OBSOLETE, "glideins offer the shape's cores"
    if "cpus" not in draft.table:
        draft.table["cpus"] = bounded(offered)
        return Verdict.TRANSLATED, f"cpus = {draft.table['cpus']}: the script asked the batch system for none"
    asked = int(str(draft.table["cpus"]))
    if offered > asked:
        return Verdict.BUG, f"it offered user jobs {offered} cores of {asked}; now a glidein offers those it asked for"
    if offered < asked:
        draft.remarks.append(
            f"User jobs got {offered} of the {asked} cores that are asked for; now they get all of them."
        )
        return Verdict.TRANSLATED, f"a comment: {asked} cores are asked for and offered"
    return Verdict.KEPT, "glideins offer the shape's cores"


def _gpus(variable: Variable, draft: Draft, site: SiteDraft) -> tuple[Verdict, str]:  # noqa: ARG001 - one signature
    text = variable.entry.text
    found = len(re.findall(r"(?:CUDA|GPU|OCL)\d+", text)) or (variable.number if not variable.is_computed else 0)
    if found > 0 and "gpus" not in draft.table:
        draft.table["gpus"] = bounded(found)
        return Verdict.TRANSLATED, f"gpus = {draft.table['gpus']}"
    return Verdict.OBSOLETE, "glideins find out which GPUs are theirs"


def _disk(variable: Variable, draft: Draft, site: SiteDraft) -> tuple[Verdict, str]:  # noqa: ARG001 - one signature
    mib = variable.number // 1024
    if mib <= 0:
        return Verdict.OBSOLETE, "glideins offer the shape's disk"
    if mib > _TYPED_BY_HAND_MIB:
        draft.table["disk"] = _DEFAULT_DISK
        draft.remarks.append(f"The old DISK was {mib >> 20} TiB, typed by hand: disk is a guess, please check.")
        return Verdict.BUG, f"{mib >> 20} TiB, typed by hand; disk = {_DEFAULT_DISK!r} is a guess, please check"
    draft.table["disk"] = size(mib)
    return Verdict.TRANSLATED, f"disk = {draft.table['disk']!r}"


def _lives(unit_s: int) -> Callable[[Variable, Draft, SiteDraft], tuple[Verdict, str]]:
    def said(variable: Variable, draft: Draft, site: SiteDraft) -> tuple[Verdict, str]:  # noqa: ARG001 - one signature
        wanted = variable.number * unit_s
        if wanted <= 0:
            return Verdict.OBSOLETE, "glideins know when their walltime ends"
        asked = int(str(draft.table.get("_walltime_s", 0)))
        if not asked:
            draft.table["_walltime_s"] = min(wanted, 36_000_000)
            return Verdict.TRANSLATED, f"walltime = {duration(min(wanted, 36_000_000))!r}: the script asked for none"
        if wanted > asked:
            text = f"glideins meant to stay {duration(wanted)} where the batch system gave {duration(asked)}, and were"
            return Verdict.BUG, f"{text} killed with their user jobs; now they leave before the end of the walltime"
        return Verdict.OBSOLETE, "glideins know when their walltime ends"

    return said


def _after(key: str, unit_s: int) -> Callable[[Variable, Draft, SiteDraft], tuple[Verdict, str]]:
    def said(variable: Variable, draft: Draft, site: SiteDraft) -> tuple[Verdict, str]:  # noqa: ARG001 - one signature
        if variable.number <= 0:
            return Verdict.UNKNOWN, "not a time"
        site.glidein[key] = duration(variable.number * unit_s)
        return Verdict.TRANSLATED, f"[glidein] {key} = {site.glidein[key]!r}"

    return said


def _site(variable: Variable, draft: Draft, site: SiteDraft) -> tuple[Verdict, str]:  # noqa: ARG001 - one signature
    name = values.glidein_site(variable.entry.text)
    if not name or "$" in variable.entry.text:
        return Verdict.OBSOLETE, "no name by itself"
    site.site.setdefault("glidein_site", name)
    return (Verdict.KEPT if name == variable.entry.text else Verdict.TRANSLATED), f"[site] glidein_site = {name!r}"


def _scratch(variable: Variable, draft: Draft, site: SiteDraft) -> tuple[Verdict, str]:  # noqa: ARG001 - one signature
    text = variable.entry.text
    if not text or variable.is_computed:
        return Verdict.OBSOLETE, "each glidein makes a folder of its own in scratch"
    said = scratch.apply(text, draft)
    return (Verdict.KEPT if draft.table.get("scratch") == text else Verdict.TRANSLATED), said


def _proxy(variable: Variable, draft: Draft, site: SiteDraft) -> tuple[Verdict, str]:  # noqa: ARG001 - one signature
    text = variable.entry.text
    if re.fullmatch(r"http://\S+", text):
        site.glidein["proxy"] = text
        return Verdict.TRANSLATED, f"[glidein] proxy = {text!r}"
    site.environment[variable.entry.key] = text
    return Verdict.KEPT, "[glidein.environment]"


def _interface(variable: Variable, draft: Draft, site: SiteDraft) -> tuple[Verdict, str]:  # noqa: ARG001 - one signature
    site.glidein["network_interface"] = variable.entry.text
    return Verdict.KEPT, "[glidein] network_interface"


def _gone(what: str) -> Callable[[Variable, Draft, SiteDraft], tuple[Verdict, str]]:
    def said(variable: Variable, draft: Draft, site: SiteDraft) -> tuple[Verdict, str]:  # noqa: ARG001 - one signature
        return Verdict.OBSOLETE, what

    return said


_SPECIAL: Final[dict[str, Callable[[Variable, Draft, SiteDraft], tuple[Verdict, str]]]] = {
    "MEMORY": _memory,
    "CPUS": _cpus,
    "GPUS": _gpus,
    "DISK": _disk,
    "WALLTIME": _lives(1),
    "ACCEPT_JOBS_FOR_HOURS": _lives(3600),
    "ACCEPT_IDLE_MINUTES": _after("idle_shutdown", 60),
    "NOCLAIMTIME": _after("idle_shutdown", 1),
    "RETIRETIME": _after("retirement", 1),
    "SITE": _site,
    "GLIDEIN_Site": _site,
    "GLIDEIN_SITE": _site,
    "Glidein_SITE": _site,
    "LOCAL_DIR": _scratch,
    "JOB_DIR": _scratch,
    "SCRATCHDIR": _scratch,
    "WORK_DIR": _scratch,
    "http_proxy": _proxy,
    "HTTP_PROXY": _proxy,
    "NETWORK_INTERFACE": _interface,
    "_CONDOR_NETWORK_INTERFACE": _interface,
    **dict.fromkeys(
        ("GLIDEIN_LOC", "GLIDEIN_LOCATION", "GLIDEIN_DIR", "CVMFSEXEC_DIR", "CLEANUP"),
        _gone("glideins bring what they need, and clean up by themselves"),
    ),
    "BASE_IMAGE": _gone("a container around the glidein has no key in this version: it runs on the node itself"),
    "ResourceName": _gone("glideins advertise site and shape (GLIDEPOST_Site, GLIDEPOST_Shape)"),
    "GLIDEIN_ResourceName": _gone("glideins advertise site and shape (GLIDEPOST_Site, GLIDEPOST_Shape)"),
    "NEED_CONDOR_EXTRA_ATTR": _gone("glideins find out what their GPUs are; gpu_name and gpu_capability say it before"),
}
