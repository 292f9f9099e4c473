"""Removes a scratch folder of ours, its lease last: follows no link, crosses no mount, enters what its owner locked."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from .lease import FILE

_DEEPEST: Final = 400  # each level holds a descriptor open


def erase(folder: Path) -> None:
    """Removes a folder and all that is in it. What cannot be removed does not keep the rest; then the lease stays too.

    Raises:
        OSError: the first that went wrong.
    """
    parent = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        device = os.stat(folder.name, dir_fd=parent, follow_symlinks=False).st_dev
        inside = _enter(folder.name, parent, device)
        try:
            problems = _empty(inside, device, keep=FILE, depth=0)
            if problems:
                raise problems[0]
            with suppress(FileNotFoundError):
                os.unlink(FILE, dir_fd=inside)
        finally:
            os.close(inside)
        os.rmdir(folder.name, dir_fd=parent)
    finally:
        os.close(parent)


def _enter(name: str, parent: int, device: int) -> int:
    """Returns a descriptor of a folder of ours on this device; its owner may enter it afterwards.

    Between the look and the opening it cannot become another one: both are of the same inode, by its O_PATH descriptor.
    """
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY, dir_fd=parent)
    try:
        found = os.fstat(handle)
        if found.st_dev != device:
            raise OSError(errno.EXDEV, "another file system is mounted there", name)
        if found.st_uid != os.geteuid():
            raise OSError(errno.EPERM, "it belongs to somebody else", name)
        if found.st_mode & stat.S_IRWXU != stat.S_IRWXU:
            os.chmod(f"/proc/self/fd/{handle}", 0o700)  # noqa: PTH101 - chmod(2) has no other way to an inode
        return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_DIRECTORY)
    finally:
        os.close(handle)


def _empty(folder: int, device: int, *, keep: str, depth: int) -> list[OSError]:
    """Removes what is in a folder, but the entry `keep`. Returns what went wrong."""
    problems: list[OSError] = []
    if depth > _DEEPEST:
        return [OSError(errno.ENAMETOOLONG, f"more than {_DEEPEST} folders in each other")]
    with os.scandir(folder) as entries:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries if entry.name != keep]
    for name, is_folder in names:
        problems += _removed(name, folder, device, depth) if is_folder else _unlinked(name, folder)
    return problems


def _unlinked(name: str, parent: int) -> list[OSError]:
    try:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parent)
    except OSError as error:
        return [error]
    return []


def _removed(name: str, parent: int, device: int, depth: int) -> list[OSError]:
    try:
        inside = _enter(name, parent, device)
        try:
            problems = _empty(inside, device, keep="", depth=depth + 1)
        finally:
            os.close(inside)
        if not problems:
            os.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        return []
    except OSError as error:
        return [error]
    return problems
