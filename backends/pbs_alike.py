"""What PBS Pro, OpenPBS and Torque have alike: options of one letter, ids, and what their queues and nodes can take."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Optional

from glidepost.schema.errors import ConfigError
from glidepost.schema.puller_config import Option

from . import options
from .base import Command, QueueLimits

# A batch job, or one member of an array.
ID: Final = r"\d+(?:\[\d+\])?\.[\w.-]+"

# The text form: the JSON form of PBS Pro repeats keys (openpbs issue 2677), and Torque has none. Whoever may not see
# the nodes sees the queues all the same.
LIMITS: Final = ("sh", "-c", "qstat -Q -f && qstat -B -f && echo Nodes: && { pbsnodes -a || :; }")

_NODES: Final = "\nNodes:\n"
_HEAD: Final = re.compile(r"(Queue|Server): (\S+)")
_ATTRIBUTE: Final = re.compile(r" {4,5}(\S+) = (.*)")
_SIZE: Final = re.compile(r"(\d+)([kmgtp]?)([bw]?)", re.IGNORECASE)
_PHYSICAL: Final = re.compile(r"\bphysmem=(\w+)")  # of Torque's status
_BYTES_PER_WORD: Final = 8
_ARRAY_SIZES: Final = ("max_array_size", "max_job_array_size")  # PBS's word, Torque's

_Blocks = Mapping[str, Mapping[str, str]]


def words(given: Mapping[str, Option], key: str, *, refused: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the words of `extra` or `extra_before`, each option one letter: -lwalltime=9 and -zN would slip by.

    Raises:
        ConfigError: for what is no such option, or one of those that are refused.
    """
    found = options.words(given, key, refused=refused)
    items = given.get(key, ())
    for item in items if isinstance(items, tuple) else ():
        if not re.match(r"-\w( |$)", item.strip()):
            hint = f'one letter, a blank, and its value: {key} = ["-l name=value"]'
            raise ConfigError(f"{key}: {item!r} is not one option of qsub", hint=hint)
    return found


def submitted(stdout: str) -> str:
    """Returns the id that qsub printed, "12.server" or "12[].server"; a site's banner is skipped.

    Raises:
        ValueError: when there is not exactly one.
    """
    found = re.findall(r"^(\d+(?:\[\])?\.[\w.-]+)\s*$", stdout, re.MULTILINE)
    if len(found) != 1:
        raise ValueError(f"no batch id in what qsub printed: {stdout[:200]!r}")
    return str(found[0])


def mail(*words_of_site: str) -> tuple[str, ...]:
    """Returns that no mail is wanted, unless the site says which."""
    return () if "-m" in words_of_site else ("-m", "n")


def removal(batch_ids: Sequence[str], script: str, system: str) -> Command:
    """Returns this script with the ids as its words.

    Raises:
        ValueError: without ids, or for one that is not a batch job, or is a whole array.
    """
    if not batch_ids or not all(re.fullmatch(ID, batch_id) for batch_id in batch_ids):
        raise ValueError(f"not ids of {system}: {list(batch_ids)!r}")
    return Command(("sh", "-s", *batch_ids), script)


def trial(submission: Command, script: str) -> Command:
    """Returns this script with the words of a qsub, and what qsub reads from standard input."""
    return Command(("sh", "-c", script, "glidepost-trial", *submission.argv[1:]), submission.stdin)


def limits(stdout: str, wanted: str) -> tuple[QueueLimits, ...]:
    """Returns the limits of one queue, once for each kind of host that is known; none when there is no such queue.

    Args:
        stdout: What LIMITS printed.
        wanted: The queue's name, empty for the server's default queue.

    Raises:
        ValueError: when this is not what these commands print, or not all of it.
    """
    text, marker, nodes = stdout.partition(_NODES)
    queues, servers = _blocks(text)
    if not servers or not marker:
        raise ValueError(f"no server in what qstat printed: {stdout[:200]!r}")
    server = next(iter(servers.values()))
    name = (wanted or server.get("default_queue", "")).partition("@")[0]
    if name not in queues:
        return ()
    queue = queues[name]
    sizes = [block[key] for key in _ARRAY_SIZES for block in (queue, server) if key in block]
    most = _number(queue.get("resources_max.ncpus", "")), mebibytes(queue.get("resources_max.mem", ""))
    return tuple(
        QueueLimits(
            queue=name,
            is_open=queue.get("enabled") == "True" and queue.get("started") == "True",
            walltime_s=seconds(queue.get("resources_max.walltime", "")),
            cpus=_least(cpus, most[0]),
            memory_mib=_least(memory_mib, most[1]),
            array_size=min((int(size) for size in sizes if size.isdigit()), default=None),
        )
        for cpus, memory_mib in dict.fromkeys(_hosts(nodes)) or ((None, None),)
    )


def seconds(text: str) -> Optional[int]:
    """Returns seconds of "24:00:00", "90:00" (minutes), "300" or "1:00:00:00" (days); None for anything else."""
    if not re.fullmatch(r"\d+(:\d+){0,3}", text):
        return None
    days, hours, minutes, rest = (int(part) for part in ("0:0:0:" + text).split(":")[-4:])
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def mebibytes(text: str) -> Optional[int]:
    """Returns whole MiB of "16gb", "700mb", "1048576" (bytes) or "2gw" (words); None for anything else."""
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    number, multiple, unit = match.groups()
    size_bytes = int(number) << (10 * " kmgtp".index(multiple.lower() or " "))
    return size_bytes * (_BYTES_PER_WORD if unit.lower() == "w" else 1) >> 20


def _blocks(stdout: str) -> tuple[_Blocks, _Blocks]:
    """Returns the attributes of each queue, and of each server. Long values go on in lines that begin with a tab.

    Any other line goes on with a value too, such as a comment of several lines.
    """
    found: dict[str, dict[str, dict[str, str]]] = {"Queue": {}, "Server": {}}
    block: dict[str, str] = {}
    for line in stdout.replace("\n\t", "").splitlines():
        head, attribute = _HEAD.fullmatch(line), _ATTRIBUTE.fullmatch(line)
        if head:
            block = found[head[1]].setdefault(head[2], {})
        elif attribute:
            block[attribute[1]] = attribute[2].strip()
    return found["Queue"], found["Server"]


def _hosts(text: str) -> Iterator[tuple[Optional[int], Optional[int]]]:
    """Yields cores and MiB of each host in what pbsnodes printed; None where it does not say, or for strange words."""
    hosts: dict[str, list[dict[str, str]]] = {}
    for block in re.split(r"\n(?=\S)", text):
        matches = filter(None, map(_ATTRIBUTE.fullmatch, block.splitlines()))
        node = {match[1]: match[2].strip() for match in matches}
        # Several vnodes of PBS are one host, and a chunk may have all of them.
        hosts.setdefault(node.get("resources_available.host", block.partition("\n")[0]), []).append(node)
    for nodes in hosts.values():
        cpus = [_number(node.get("resources_available.ncpus", node.get("np", ""))) for node in nodes]
        sizes = [node.get("resources_available.mem") or _physical(node.get("status", "")) for node in nodes]
        memory = [mebibytes(size) for size in sizes]
        if any(cpus) or any(memory):
            yield _sum(cpus), _sum(memory)


def _physical(status: str) -> str:
    return "".join(_PHYSICAL.findall(status)[:1])


def _sum(amounts: list[Optional[int]]) -> Optional[int]:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None


def _least(first: Optional[int], second: Optional[int]) -> Optional[int]:
    return min((amount for amount in (first, second) if amount is not None), default=None)


def _number(text: str) -> Optional[int]:
    return int(text) if text.isdigit() else None
