"""Quantities as people write them ("8GiB", "48h") and as the code holds them (integers, unit last in the name).

Sizes are binary and become MiB; durations become seconds. A bare number or a decimal unit ("8GB") is refused, not
guessed: a factor of 1.07 or 60 in somebody's limits is worse than an error message.
"""

from __future__ import annotations

import re
from typing import Final

from .errors import ConfigError

_SIZE_MIB: Final = {"MiB": 1, "GiB": 1024, "TiB": 1024 * 1024}
_DURATION_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}

# Keys of configuration files that hold a quantity, and the unit that the code's name for it ends in.
SIZES: Final = frozenset(
    {"memory", "disk", "memory_step", "disk_step", "gpu_memory", "max_size", "memory_margin", "log_size", "logs_max"}
    | {"min_memory", "min_disk", "max_memory", "max_disk"}
)
DURATIONS: Final = frozenset(
    {
        "walltime",
        "timeout",
        "min_idle",
        "life",
        "queue_time",
        "idle_shutdown",
        "retirement",
        "update_interval",
        "excess_grace",
        "stagger",
        "check_every",
        "logs_every",
    }
)
# Tables whose keys are somebody else's: a batch system's words, names of variables.
FOREIGN: Final = frozenset({"options", "environment"})


def parse_size(text: object, *, where: str = "size") -> int:
    """Returns MiB for "512MiB", "8GiB", "1.5TiB".

    Raises:
        ConfigError: for anything else, with the right spelling.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(MiB|GiB|TiB)", str(text))
    if match is None or not isinstance(text, str):
        raise ConfigError(
            f"{where}: {text!r} is not a size", hint='write a string with a binary unit: "512MiB", "8GiB"'
        )
    mib = float(match[1]) * _SIZE_MIB[match[2]]
    if mib != int(mib):
        raise ConfigError(f"{where}: {text!r} is not a whole number of MiB", hint='use a smaller unit: "1536MiB"')
    return int(mib)


def parse_duration(text: object, *, where: str = "duration") -> int:
    """Returns seconds for "90s", "30m", "48h", "7d", or sums of them such as "1h30m".

    Raises:
        ConfigError: for anything else, with the right spelling.
    """
    if not isinstance(text, str) or not re.fullmatch(r"(\d+[smhd])+", text):
        raise ConfigError(
            f"{where}: {text!r} is not a duration",
            hint='write a string with a unit: "90s", "30m", "48h", "1h30m"',
        )
    return sum(int(number) * _DURATION_S[unit] for number, unit in re.findall(r"(\d+)([smhd])", text))


def format_size(mib: int) -> str:
    """Returns the shortest exact spelling that `parse_size` reads back: 8192 -> "8GiB"."""
    for unit, factor in sorted(_SIZE_MIB.items(), key=lambda item: -item[1]):
        if mib and mib % factor == 0:
            return f"{mib // factor}{unit}"
    return f"{mib}MiB"


def format_duration(seconds: int) -> str:
    """Returns the two largest parts, for people: 5400 -> "1h30m", 90061 -> "1d1h"."""
    parts = []
    rest = max(0, seconds)
    for unit, factor in sorted(_DURATION_S.items(), key=lambda item: -item[1]):
        number, rest = divmod(rest, factor)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts[:2]) or "0s"


def counted(number: int, noun: str) -> str:
    """Returns "1 group", "2 groups"."""
    return f"{number} {noun}{'s' * (number != 1)}"


def normalise(tree: object, *, where: str = "") -> object:
    """Returns a configuration tree in the code's units: {"memory": "8GiB"} -> {"memory_mib": 8192}.

    Args:
        tree: What a TOML file gave: tables, lists and values.
        where: Dotted path of `tree`, for error messages.

    Raises:
        ConfigError: naming the key, for a quantity that cannot be read.
    """
    if isinstance(tree, list):
        return [normalise(item, where=f"{where}[{index}]") for index, item in enumerate(tree)]
    if not isinstance(tree, dict):
        return tree
    result: dict[str, object] = {}
    for key, value in tree.items():
        path = f"{where}.{key}" if where else str(key)
        if key in SIZES:
            result[f"{key}_mib"] = parse_size(value, where=path)
        elif key in DURATIONS:
            result[f"{key}_s"] = parse_duration(value, where=path)
        elif key in FOREIGN:
            result[key] = value
        else:
            result[key] = normalise(value, where=path)
    return result
