"""Times and sizes as batch systems' options spell them."""

from __future__ import annotations

import math
import re
from typing import Final, Optional

_UNITS_MIB: Final = {"": 1.0, "k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0 * 1024}


def memory_mib(text: str, *, bare: str = "m") -> Optional[int]:
    """Returns MiB for "120G", "3904", "8gb", "3800mb"; `bare` is the unit of a number without one."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([kmgt]?)(?:i?b|w)?", text.strip().lower())
    if match is None:
        return None
    return math.ceil(float(match[1]) * _UNITS_MIB[match[2] or bare])


def seconds(text: str, *, bare: int = 60) -> Optional[int]:
    """Returns seconds for "48:00:00", "1-12:00", "2-0", "90"; `bare` is how many one has without a colon or day.

    With two numbers, those are minutes and seconds for Slurm, and hours and minutes for LSF (bare = 3600).
    """
    text = text.strip().partition("/")[0].strip()
    match = re.fullmatch(r"(?:(\d{1,6})-)?(\d{1,9})(?::(\d{1,6}))?(?::(\d{1,6}))?", text)
    if match is None:
        return None
    days, first, second, third = match.groups()
    if days is not None:
        return int(days) * 86400 + int(first) * 3600 + int(second or 0) * 60 + int(third or 0)
    if third is not None:
        return int(first) * 3600 + int(second) * 60 + int(third)
    if second is not None:
        return int(first) * bare + int(second) * bare // 60
    return int(first) * bare


def walltime(text: str, backend: str) -> Optional[int]:
    """Returns the seconds of a walltime as a backend's options spell it, None if it is none."""
    if text.strip().isdigit() and backend in {"torque", "gridengine"}:
        return int(text) if len(text.strip()) < 12 else None
    is_hours = backend == "lsf" and ":" in text
    return seconds(text, bare=3600 if is_hours else 60)


def array(text: str) -> tuple[int, int]:
    """Returns how many members an array has, and how many may run at one time (0: any), of "1-100%4", "0,3,5-9"."""
    members, _, running = text.partition("%")
    total = 0
    for part in members.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9})(?::(\d{1,9}))?)?\s*", part)
        if match is None:
            continue
        first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        total += max(0, last - first) // max(1, step) + 1
    return total, int(running) if running.strip().isdigit() else 0


def duration(spent: int) -> str:
    """Returns "48h", "90m" or "5400s", as puller.toml has it."""
    for unit, length in (("h", 3600), ("m", 60)):
        if spent % length == 0:
            return f"{spent // length}{unit}"
    return f"{spent}s"
