"""Files that survive a crash, and the lock that keeps two runs apart."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Union

from .errors import ConfigError


class AlreadyRunning(Exception):  # noqa: N818 - no error: the other run does the work
    """Another run holds the lock."""


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Holds a lock file for the time of a `with` block; the kernel lets go of it however the process ends.

    Raises:
        AlreadyRunning: when another process holds it.
        ConfigError: when the file cannot be made.
    """
    try:
        make_folder(path.parent)
        file = path.open("a", encoding="ascii")
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {error.strerror}", hint="choose a folder that you may write"
        ) from error
    with file:
        _give_to_owner_of(path.parent, file.fileno())
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(str(path)) from error
        yield


def make_folder(path: Path, *, mode: int = 0o755) -> None:
    """Makes a folder, and its parents, if it is not there.

    Made by root, it belongs to the owner of the folder it is in.
    So a `sudo` by mistake leaves nothing behind that the next run of the ordinary account cannot write.
    """
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(mode=mode, exist_ok=True)
    _give_to_owner_of(path.parent, path)


def write_atomic(path: Path, body: bytes, *, mode: int = 0o644) -> None:
    """Writes a file whole or not at all: a new file, synced to disk, renamed over the old one.

    Written by root, it belongs to the owner of the folder it is in, as with `make_folder`.

    Raises:
        OSError: when the disk is full or the folder may not be written; the old file is untouched then.
    """
    make_folder(path.parent)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            _give_to_owner_of(path.parent, file.fileno())
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _give_to_owner_of(folder: Path, made: Union[int, Path]) -> None:
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(made, owner.st_uid, owner.st_gid)
