"""How glideins ended: one small JSON file each, left by its bootstrap script, counted into the next heartbeat."""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Final

# What comes from a worker node is foreign: bounded in number, size and alphabet.
_MAX_FILES: Final = 5000
_MAX_BYTES: Final = 16384
_MAX_CODES: Final = 32


def collect(folder: Path) -> tuple[dict[str, int], list[Path]]:
    """Returns how many glideins ended with each outcome, and the files that say so, to be removed once reported."""
    counts: Counter[str] = Counter()
    files = sorted(folder.glob("*.json"))[:_MAX_FILES] if folder.is_dir() else []
    for file in files:
        counts[_code(file)] += 1
    return dict(counts.most_common(_MAX_CODES)), files


def remove(files: list[Path]) -> None:
    """Removes records that were reported."""
    for file in files:
        with suppress(OSError):  # a folder, or gone; it is reported again at worst
            file.unlink()


def _code(file: Path) -> str:
    try:
        if not file.is_file():  # to open a pipe would wait for ever
            return "unreadable-record"
        with file.open("rb") as record:
            code = json.loads(record.read(_MAX_BYTES)).get("outcome")
    except (OSError, ValueError, AttributeError, RecursionError):
        return "unreadable-record"
    return code if isinstance(code, str) and re.fullmatch(r"[a-z][a-z:-]{0,63}", code) else "unreadable-record"
