"""What qsub of OpenPBS 23.06 takes, and how it refuses the rest; see pbs_queue.py."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pbs_family import Refused

QSUB = "a:A:c:C:e:fGhIj:J:k:l:m:M:N:o:p:q:r:R:S:u:v:VW:XzP:"
USAGE = "usage: qsub [-a date_time] [-A account_string] [-c interval]\n\t[-C directive_prefix] [-e path] [-f ] [-h ]"
IN_CHUNK = {"ncpus", "mem", "vmem", "ngpus", "mpiprocs", "scratch", "host", "model", "cluster", "scratch_type"}
BESIDE = {"select", "place", "walltime", "pmem", "pvmem", "nodes", "cput", "file", "software"}
HAS = {"ncpus": 4, "mem": 16 << 30, "vmem": 32 << 30, "ngpus": 2, "scratch": 100 << 30}
SIZES = {"mem", "vmem", "pmem", "pvmem", "scratch", "file"}
PLACE = r"(free|pack|scatter|vscatter)?:?(excl|exclhost|shared)?(:group=\w+)?"


def usage(text: str) -> Refused:
    return Refused(f"{text}\n{USAGE}", 2)


def size_bytes(name: str, text: str) -> int:
    match = re.fullmatch(r"(\d+)([kmgt]?)([bw]?)", text)
    if match is None:
        raise Refused(f"qsub: Illegal attribute or resource value Resource_List.{name}", 166)
    return int(match[1]) << 10 * " kmgt".index(match[2] or " ")


def walltime(text: str) -> int:
    if not re.fullmatch(r"\d+(:\d+){0,2}(\.\d+)?", text):
        raise Refused("qsub: Illegal attribute or resource value Resource_List.walltime", 166)
    hours, minutes, seconds = (int(part) for part in f"0:0:{text}".split(":")[-3:])
    return (hours * 60 + minutes) * 60 + seconds


def resources(values: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for value in values:
        for part in value.split(","):
            name, equals, amount = part.partition("=")
            if not name or not equals:
                raise usage("qsub: illegal -l value")
            found[name] = amount
    for name, amount in found.items():
        if name not in BESIDE | IN_CHUNK:
            raise Refused(f"qsub: Unknown resource: {name}", 187)
        if name in SIZES:
            size_bytes(name, amount)
    check_together(found)
    return found


def check_together(found: dict[str, str]) -> None:
    beside = sorted(found.keys() & IN_CHUNK)
    if "select" in found and "nodes" in found:
        raise Refused("qsub: Cannot be used with select or place: nodes", 6)
    if ("select" in found or "place" in found) and beside:
        raise Refused(f'qsub: "-lresource=" cannot be used with "select" or "place", resource is: {beside[0]}', 5)
    if "place" in found and "select" not in found:
        raise Refused('qsub: Cannot have "place" without "select"', 7)
    if not re.fullmatch(PLACE, found.get("place", "")):
        raise Refused("qsub: Illegal attribute or resource value Resource_List.place", 166)
    if "gpus=" in found.get("nodes", ""):
        raise Refused("qsub: node(s) specification error", 241)


def chunk(select: str) -> dict[str, str]:
    count, *parts = select.split(":")
    if not re.fullmatch(r"[1-9]\d*", count):
        raise Refused("qsub: Illegal attribute or resource value Resource_List.select", 166)
    found: dict[str, str] = {}
    for part in parts:
        name, equals, amount = part.partition("=")
        if name in BESIDE:
            raise Refused(f'qsub: Resource invalid in "select" specification: {name}', 4)
        if name not in IN_CHUNK:
            raise Refused(f"qsub: Unknown resource: {name}", 187)
        if name in found:
            raise Refused(
                f"qsub: duplicated resource within a section of a select specification, resource is: {name}", 10
            )
        if not equals or not amount or (name in {"ncpus", "ngpus"} and not amount.isdigit()):
            raise Refused("qsub: Illegal attribute or resource value Resource_List.select", 166)
        found[name] = amount
    return found


def never(asked: dict[str, str]) -> str:
    for name, has in HAS.items():
        if name not in asked:
            continue
        wants = size_bytes(name, asked[name]) if name in SIZES else int(asked[name])
        if wants > has:
            return f"Can Never Run: Insufficient amount of resource: {name} (R: {asked[name]} A: {has} T: {has})"
    return ""


def checked(options: list[tuple[str, str]]) -> dict[str, str]:
    """Returns the options, the last of each, after the checks that qsub itself makes, in their order."""
    found: dict[str, str] = {}
    for option, value in options:
        name = option[1:]
        if (name == "J" and found.get("r") == "n") or (name == "r" and value == "n" and "J" in found):
            raise usage("qsub: cannot submit non-rerunable Array Job")
        patterns = {"j": "oe|eo|n", "k": "n|[oe]{1,2}d?", "m": "n|[abej]+", "r": "[yn]", "J": r"\d+-\d+(:\d+)?(%\d+)?"}
        patterns |= {"N": r"[^\s:/]{1,236}", "S": r"/[^\s,]+(,/[^\s,]+)*", "W": r"\w+=\S+", "p": r"-?\d{1,4}"}
        if name in patterns and not re.fullmatch(patterns[name], value):
            raise usage(f"qsub: illegal -{name} value")
        if name == "v" and '"' in value:
            raise Refused("qsub: cannot send environment with the job", 1)
        if name == "W" and value.startswith("group_list="):
            raise Refused("qsub: Bad GID for job execution", 197)
        if name == "W" and not re.fullmatch(r"umask=0?[0-7]{1,3}|block=true|sandbox=\w+|depend=\S+", value):
            raise Refused("qsub: Undefined attribute : " + value, 154)
        found[name] = value
    return found


def indices(text: str) -> list[int]:
    first, last, step = re.fullmatch(r"(\d+)-(\d+)(?::(\d+))?(?:%\d+)?", text).groups()  # type: ignore[union-attr]
    if int(first) >= int(last):
        raise usage("qsub: illegal -J value")
    return list(range(int(first), int(last) + 1, int(step or 1)))
