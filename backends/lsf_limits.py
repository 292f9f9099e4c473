"""What LSF's queues let one batch job have, read from `bqueues -l` and `bparams -l`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, Optional

from .base import QueueLimits

_QUEUE: Final = re.compile(r"^QUEUE: +(\S+) *$", re.MULTILINE)
_DEFAULT: Final = re.compile(r"This is (?:the|one of the) default queues?\.")
_STATUS: Final = re.compile(r"^ *-?\d+ .*?\b((?:Open|Closed):\w+)", re.MULTILINE)
_ARRAY: Final = re.compile(r"\bMAX_JOB_ARRAY_SIZE *= *(\d+)")
_AMOUNT: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?: *(?P<unit>[KMGT])\b)?")
_UNITS_KIB: Final = {"K": 1, "M": 1024, "G": 1024**2, "T": 1024**3}
_COLUMNS: Final = r"[A-Z]+LIMIT"


def parse(stdout: str, wanted: Sequence[str]) -> tuple[QueueLimits, ...]:
    """Returns the limits of these queues, or of the default ones when none is named.

    Raises:
        ValueError: when there is no queue at all in the text.
    """
    names = list(_QUEUE.finditer(stdout))
    if not names:
        raise ValueError(f"no queue in what bqueues printed: {stdout[:200]!r}")
    sizes = _ARRAY.findall(stdout)
    ends = [match.start() for match in names[1:]] + [len(stdout)]
    found: list[QueueLimits] = []
    for match, end in zip(names, ends):
        body = stdout[match.end() : end]
        if match[1] in wanted or (not wanted and _DEFAULT.search(body)):
            found.append(_limits(match[1], body, int(sizes[0]) if sizes else None))
    return tuple(found)


def _limits(queue: str, body: str, array_size: Optional[int]) -> QueueLimits:
    status = _STATUS.search(body)
    if status is None:
        raise ValueError(f"no status of queue {queue} in what bqueues printed: {body[:200]!r}")
    # Closed by a run window it opens by itself; inactive by an administrator it takes them, and starts none.
    is_open = status[1].startswith("Open:") and not status[1].startswith("Open:Inact_Adm")
    # Defaults stand before the maximum, if there are any.
    limits = dict(_values(body.partition("SCHEDULING PARAMETERS")[0].rpartition("MAXIMUM LIMITS:")[2]))
    run = re.match(r"([\d.]+) min", limits.get("RUNLIMIT", ""))
    # One, two or three numbers: the most is the last.
    slots = re.findall(r"\d+", limits.get("TASKLIMIT", limits.get("PROCLIMIT", "")))
    return QueueLimits(
        queue,
        is_open,
        int(float(run[1]) * 60) if run else None,
        int(slots[-1]) if slots else None,
        _mib(limits.get("MEMLIMIT", "")),
        array_size,
    )


def _values(text: str) -> Iterator[tuple[str, str]]:
    """Yields each limit's name and value: the names stand in one line, their values in the next.

    Those of time stand below their names; those of sizes in the same order only.
    """
    lines = text.split("\n")
    for names, values in zip(lines, lines[1:]):
        columns = [(match[0], match.start()) for match in re.finditer(_COLUMNS, names)]
        if not columns or names.replace(" ", "") != "".join(name for name, _ in columns):
            continue
        if {"RUNLIMIT", "CPULIMIT", "PROCLIMIT", "TASKLIMIT"} & {name for name, _ in columns}:
            ends = [start for _, start in columns[1:]] + [len(values)]
            yield from ((name, values[start:end].strip()) for (name, start), end in zip(columns, ends))
        else:
            amounts = [match[0] for match in _AMOUNT.finditer(values)]
            yield from zip((name for name, _ in columns), amounts)


def _mib(amount: str) -> Optional[int]:
    match = _AMOUNT.fullmatch(amount)
    if match is None:
        return None
    return int(float(match["number"]) * _UNITS_KIB[match["unit"] or "K"]) // 1024
