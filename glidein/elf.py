"""The least glibc that a program needs, as its dynamic section says ("Symbol Versioning" in the Linux Standard Base).

A loader refuses a program that names a version of glibc which it does not have, whether or not it uses what is new in
that version; so this is no guess.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Optional

Version = tuple[int, int]

_PT_LOAD: Final = 1
_PT_DYNAMIC: Final = 2
_DT_STRTAB: Final = 5
_DT_VERNEED: Final = 0x6FFFFFFE
_DT_VERNEEDNUM: Final = 0x6FFFFFFF
# Such relative relocations are no function that has a version; this name stands for them.
_NAMES: Final = {"GLIBC_ABI_DT_RELR": (2, 36)}


def least_glibc(paths: Iterable[Path]) -> Optional[str]:
    """Returns the oldest glibc, such as "2.34", that all of these programs run with; None if none needs any.

    Raises:
        ValueError: for a program that is damaged.
    """
    found = [version for path in paths for version in _versions(path)]
    return ".".join(map(str, max(found))) if found else None


def _versions(path: Path) -> Iterator[Version]:
    with path.open("rb") as file:
        if file.read(6) != b"\x7fELF\x02\x01":  # 64 bits, little-endian
            return
        file.seek(0)
        image = file.read()
    try:
        for name in _needs(image):
            match = re.fullmatch(r"GLIBC_(\d+)\.(\d+)(?:\.\d+)?", name)
            if match:
                yield int(match[1]), int(match[2])
            elif name in _NAMES:
                yield _NAMES[name]
    except (struct.error, ValueError) as error:
        raise ValueError(f"{path.name} is a damaged program: {error}") from error


def _needs(image: bytes) -> Iterator[str]:
    """Yields each version that a program wants of a library."""
    loads, dynamic = _segments(image)
    if _DT_VERNEED not in dynamic:
        return
    strings, library = (_offset(loads, dynamic[tag]) for tag in (_DT_STRTAB, _DT_VERNEED))
    for _ in range(min(dynamic[_DT_VERNEEDNUM], 1000)):
        _, count, _, first, to_next = struct.unpack_from("<HHIII", image, library)
        entry = library + first
        for _ in range(count):
            _, _, _, name, to_next_entry = struct.unpack_from("<IHHII", image, entry)
            yield image[strings + name : image.index(0, strings + name)].decode("ascii", "replace")
            entry += to_next_entry
        library += to_next


def _segments(image: bytes) -> tuple[list[tuple[int, int, int]], dict[int, int]]:
    """Returns (address, offset, size) of what is loaded, and the dynamic section, tag to value."""
    loads: list[tuple[int, int, int]] = []
    dynamic: dict[int, int] = {}
    (table,) = struct.unpack_from("<Q", image, 32)
    entry_size, count = struct.unpack_from("<HH", image, 54)
    for number in range(count):
        kind, _, offset, address, _, size = struct.unpack_from("<IIQQQQ", image, table + number * entry_size)
        if kind == _PT_LOAD:
            loads.append((address, offset, size))
        elif kind == _PT_DYNAMIC:
            if offset + size > len(image):
                raise ValueError("it ends before its dynamic section")
            for tag, value in struct.iter_unpack("<qQ", image[offset : offset + size // 16 * 16]):
                dynamic.setdefault(tag, value)
    return loads, dynamic


def _offset(loads: list[tuple[int, int, int]], address: int) -> int:
    for start, offset, size in loads:
        if start <= address < start + size:
            return address - start + offset
    raise ValueError(f"{address:#x} is in no segment")
