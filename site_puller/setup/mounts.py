"""Which file systems are mounted where on this host: /proc/self/mountinfo, see proc(5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Optional

MOUNTINFO: Final = Path("/proc/self/mountinfo")
# Types that no other host sees. A folder that all worker nodes need is rarely on one of them.
OWN: Final = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs"})


@dataclass(frozen=True)
class Mount:
    """A file system and where it is mounted. `type` is the kernel's word: "nfs4", "lustre", "ext4"."""

    path: Path
    type: str


def read(file: Path = MOUNTINFO) -> tuple[Mount, ...]:
    """Returns what is mounted, in order.

    Raises:
        OSError: when the kernel does not say.
    """
    return parse(file.read_text(encoding="utf-8", errors="surrogateescape"))


def parse(text: str) -> tuple[Mount, ...]:
    """Returns the mounts in the text of a mountinfo file; blanks in paths are written as octal numbers there."""
    found = []
    for line in text.splitlines():
        front, _, back = line.partition(" - ")
        words = front.split(" ")
        if len(words) >= 5 and back:
            path = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), words[4])
            found.append(Mount(Path(path), back.split(" ")[0]))
    return tuple(found)


def holding(path: Path, mounts: tuple[Mount, ...]) -> Optional[Mount]:
    """Returns the mount that a real path is on: the longest, the last of several at one place."""
    fitting = [mount for mount in mounts if mount.path == path or mount.path in path.parents]
    return max(fitting, key=lambda mount: len(mount.path.parts), default=None) if fitting else None


def below(path: Path, mounts: tuple[Mount, ...]) -> tuple[Mount, ...]:
    """Returns what is mounted on a real path, or anywhere inside of it."""
    return tuple(mount for mount in mounts if mount.path == path or path in mount.path.parents)
