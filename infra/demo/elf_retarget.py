#!/usr/bin/env python3
"""Make a tree of unpacked programs relocatable, and let it run on this host's own, older, C library.

Two things keep a Debian package's files from running out of any folder on any host:

* they look for their libraries in /usr/lib: ``patchelf`` gives each an rpath relative to itself (``$ORIGIN``);
* a compiler of 2024 and glibc >= 2.38 turn ``strtol``, ``sscanf`` and their like into ``__isoc23_strtol@GLIBC_2.38``,
  the C23 spelling, which nothing but the name ties to that version. Here the undefined symbol gets its old name back
  (``st_name`` moves on by nine characters, no string is written) and its version requirement becomes one that the
  file has anyway. A file that needs any *other* symbol newer than the host's glibc is refused, never guessed at.

Runs alone, on the standard library, so that ``get_condor.sh`` needs no installed package.

Structures: ELF-64, "Symbol Versioning" in the Linux Standard Base core specification 5.0, section 10.7.
"""

from __future__ import annotations

import argparse
import os
import re
import struct
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Optional

SAME_BUT_RENUMBERED = {
    "fmod",
    "fmodf",
}  # glibc 2.38 gave them a new version without changing what callers see
C23_PREFIX = "__isoc23_"

PT_LOAD, PT_DYNAMIC, SHT_DYNSYM = 1, 2, 11
DT_STRTAB, DT_SYMTAB, DT_VERSYM, DT_VERNEED, DT_VERNEEDNUM = 5, 6, 0x6FFFFFF0, 0x6FFFFFFE, 0x6FFFFFFF

Version = tuple[int, ...]


class NotRetargetable(ValueError):  # noqa: N818 - a verdict about a file
    """The file needs something that the host's glibc does not have."""


class Need(NamedTuple):
    """One version that a file requires of a library (Elf64_Vernaux)."""

    offset: int  # bytes from the file's start
    number: int  # what .gnu.version holds for each symbol that wants it
    name: str  # GLIBC_2.38
    version: Optional[Version]  # None where the name is not a version of glibc


def glibc_version(name: str) -> Optional[Version]:
    """Returns (2, 38) for GLIBC_2.38; None for GLIBC_PRIVATE, GCC_3.0 and other names."""
    match = re.fullmatch(r"GLIBC_(\d+(?:\.\d+)+)", name)
    return tuple(int(part) for part in match[1].split(".")) if match else None


@dataclass(frozen=True)
class Elf:
    """The dynamic part of one little-endian ELF-64 file, read into memory."""

    image: bytearray
    dynamic: dict[int, int]  # DT_* tag -> value, the first of each
    loads: list[tuple[int, int, int]]  # (virtual address, file offset, size) in bytes

    @classmethod
    def read(cls, path: Path) -> Optional[Elf]:
        """Returns the parsed file, or None for a script, a static program, or another kind of ELF."""
        with path.open("rb") as file:
            head = file.read(6)
            if head != b"\x7fELF\x02\x01":
                return None
            image = bytearray(head + file.read())
        program_headers = struct.unpack_from("<Q", image, 32)[0]
        entry_size, count = struct.unpack_from("<HH", image, 54)
        loads: list[tuple[int, int, int]] = []
        dynamic: dict[int, int] = {}
        for i in range(count):
            kind, _, offset, address, _, size = struct.unpack_from("<IIQQQQ", image, program_headers + i * entry_size)
            if kind == PT_LOAD:
                loads.append((address, offset, size))
            if kind == PT_DYNAMIC:
                for tag, value in struct.iter_unpack("<qQ", image[offset : offset + size // 16 * 16]):
                    dynamic.setdefault(tag, value)
        return cls(image, dynamic, loads) if dynamic else None

    def unpack(self, layout: str, offset: int) -> tuple[int, ...]:
        """Returns the little-endian integers at a file offset."""
        return struct.unpack_from("<" + layout, self.image, offset)

    def offset(self, tag: int) -> int:
        """Returns where in the file the table lies whose address the dynamic section gives."""
        wanted = self.dynamic[tag]
        for address, offset, size in self.loads:
            if address <= wanted < address + size:
                return wanted - address + offset
        raise ValueError(f"address {wanted:#x} is in no segment")

    def string(self, offset: int) -> str:
        """Returns the string at an offset into the dynamic string table."""
        start = self.offset(DT_STRTAB) + offset
        return self.image[start : self.image.index(0, start)].decode()

    def symbol_count(self) -> int:
        """Returns how many dynamic symbols there are, from the section headers."""
        sections = self.unpack("Q", 40)[0]
        entry_size, count = self.unpack("HH", 58)
        for i in range(count):
            _, kind, _, _, _, size = self.unpack("IIQQQQ", sections + i * entry_size)
            if kind == SHT_DYNSYM:
                return size // 24
        return 0

    def needs(self) -> Iterator[Need]:
        """Yields every version that the file requires, of whichever library."""
        if DT_VERNEED not in self.dynamic:
            return
        record = self.offset(DT_VERNEED)
        for _ in range(self.dynamic[DT_VERNEEDNUM]):
            _, count, _, first, to_next = self.unpack("HHIII", record)
            entry = record + first
            for _ in range(count):
                _, _, index, name_offset, to_next_entry = self.unpack("IHHII", entry)
                name = self.string(name_offset)
                yield Need(entry, index & 0x7FFF, name, glibc_version(name))
                entry += to_next_entry
            record += to_next


def retarget(elf: Elf, have: Version) -> bool:
    """Changes the image so that it asks nothing newer than ``have`` of glibc.

    Args:
        elf: The file; its image is written to.
        have: The host's glibc, such as (2, 36).

    Returns:
        Whether anything had to be changed.

    Raises:
        NotRetargetable: A symbol is really newer; the image is then half changed and must not be written.
    """
    versions = [need for need in elf.needs() if need.version is not None]
    too_new = {need.number: need for need in versions if need.version and need.version > have}
    if not too_new:
        return False
    oldest = min((need for need in versions if need.number not in too_new), key=lambda n: n.version or (), default=None)
    if oldest is None:
        raise NotRetargetable("needs nothing of glibc but what is too new")
    symbols, numbers = elf.offset(DT_SYMTAB), elf.offset(DT_VERSYM)
    for i in range(elf.symbol_count()):
        index = elf.unpack("H", numbers + 2 * i)[0] & 0x7FFF
        if index not in too_new:
            continue
        (name_offset,) = elf.unpack("I", symbols + 24 * i)
        name = elf.string(name_offset)
        if name.startswith(C23_PREFIX):
            struct.pack_into("<I", elf.image, symbols + 24 * i, name_offset + len(C23_PREFIX))
        elif name not in SAME_BUT_RENUMBERED:
            raise NotRetargetable(f"needs {name}@{too_new[index].name}")
    (version_hash,) = elf.unpack("I", oldest.offset)
    (version_name,) = elf.unpack("I", oldest.offset + 8)
    for need in too_new.values():
        struct.pack_into("<I", elf.image, need.offset, version_hash)
        struct.pack_into("<I", elf.image, need.offset + 8, version_name)
    return True


def dynamic_files(root: Path) -> Iterator[Path]:
    """Yields the dynamically linked ELF files below a folder; links are left out."""
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            if not path.is_symlink() and path.is_file() and Elf.read(path) is not None:
                yield path


def set_rpaths(files: list[Path], libraries: list[Path], patchelf: str) -> None:
    """Gives each file an rpath that names the library folders as seen from where the file lies.

    Raises:
        subprocess.CalledProcessError: patchelf failed; it has said why on standard error.
    """
    by_folder: dict[Path, set[Path]] = defaultdict(set)
    for path in files:
        by_folder[path.parent].add(path)
    for folder, members in by_folder.items():
        rpath = ":".join(f"$ORIGIN/{os.path.relpath(library, folder)}" for library in libraries)
        subprocess.run([patchelf, "--set-rpath", rpath, *map(str, sorted(members))], check=True)


def main() -> int:
    """Returns 0, or 3 if some file cannot run on this glibc."""
    parser = argparse.ArgumentParser(description="Make the programs below PREFIX relocatable and fit for this glibc.")
    parser.add_argument("--have", required=True, help="glibc of the host, such as 2.36")
    parser.add_argument("--patchelf", required=True, help="the patchelf program")
    parser.add_argument(
        "--library", dest="libraries", action="append", required=True, help="folder of libraries, relative to PREFIX"
    )
    parser.add_argument("prefix", type=Path)
    options = parser.parse_args()
    have = tuple(int(part) for part in options.have.split("."))
    files = list(dynamic_files(options.prefix))
    set_rpaths(files, [options.prefix / library for library in options.libraries], options.patchelf)
    refused = 0
    for path in files:
        elf = Elf.read(path)
        try:
            if elf is not None and retarget(elf, have):
                path.write_bytes(elf.image)
        except NotRetargetable as error:
            refused += 1
            sys.stderr.write(f"elf_retarget: {path}: {error}\n")
    return 3 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
