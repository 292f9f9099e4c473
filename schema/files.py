"""Files that survive a crash, and the lock that keeps two runs apart."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Final, Optional, Union

from .errors import ConfigError, GlidepostError


class AlreadyRunning(Exception):  # noqa: N818 - no error: the other run does the work
    """Another run holds the lock."""


# Older marks are of runs that died: the puller ends its cycles before that (site_puller/watchdog.py).
DEAD_AFTER: Final = timedelta(minutes=15)
# A mark is written at once; one without a name in it is of a run that was killed just then.
_CUT_AFTER: Final = timedelta(minutes=1)
# What write_atomic makes first.
_TEMPORARY: Final = re.compile(r"\..+\.[a-z0-9_]{8}")
# flock(2), and what file systems say that have no locks.
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL})


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, and since when."""

    host: str
    process: int
    since: datetime

    @classmethod
    def current(cls) -> Holder:
        """Returns this process."""
        return cls(os.uname().nodename, os.getpid(), datetime.now(timezone.utc))

    @classmethod
    def parse(cls, text: str) -> Holder:
        """Returns the holder that a mark names.

        Raises:
            ValueError: when it was cut.
        """
        host, process, since = text.split()
        return cls(host, int(process), datetime.fromisoformat(since).astimezone(timezone.utc))

    def __str__(self) -> str:
        return f"{self.host} {self.process} {self.since.isoformat(timespec='seconds')}"

    def may_live(self, me: Holder) -> bool:
        """Returns whether this other run may still go on, as seen by one that got the kernel's lock.

        A process 0 stands for a mark that was cut.
        """
        if abs(me.since - self.since) >= (DEAD_AFTER if self.process else _CUT_AFTER):
            return False
        # On one host the kernel has let go, so it died; unless somebody removed the lock file under it.
        return self.host != me.host or (self.process != me.process and _is_running(self.process))


@contextmanager
def lock(path: Path, *, me: Optional[Holder] = None, flock: Callable[[int, int], None] = fcntl.flock) -> Iterator[None]:
    """Holds a lock file for the time of a `with` block; the kernel lets go of it however the process ends.

    On NFS that is mounted with local locks two hosts can both get it. So the holder's mark lies beside it, in a file
    that only one of them can make.

    Args:
        path: The lock file; the mark is `path` with `.holder` behind it.
        me: Who takes it, this process if not given.
        flock: As in fcntl.

    Raises:
        AlreadyRunning: when another process holds it, here or on another host.
        ConfigError: when the file cannot be made, or its file system has no locks.
        GlidepostError: when the file system fails.
        OSError: when the mark cannot be written.
    """
    try:
        make_folder(path.parent)
        file = path.open("a", encoding="ascii")
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {error.strerror}", hint="choose a folder that you may write"
        ) from error
    with file:
        give_to_owner_of(path.parent, file.fileno())
        mark, text = path.with_name(f"{path.name}.holder"), str(me or Holder.current())
        try:
            _flock(file.fileno(), path, flock)
        except BlockingIOError as error:
            raise AlreadyRunning(f"{path}: {_read_mark(mark) or 'as of this moment'}") from error
        _leave_mark(mark, text)
        try:
            yield
        finally:
            if _read_mark(mark) == text:  # else this run took so long that another host went on without it
                mark.unlink(missing_ok=True)


def _flock(descriptor: int, path: Path, flock: Callable[[int, int], None]) -> None:
    try:
        flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        what = f"cannot lock {path}: {error.strerror}"
        if error.errno not in _NO_LOCKS:
            raise GlidepostError(what, hint="the file system fails; the next run tries again") from error
        raise ConfigError(
            what, hint="choose a folder on another file system (puller: --state), such as a local disk of this host"
        ) from error


def _leave_mark(mark: Path, text: str) -> None:
    """Makes the mark, which the file server lets only one host do.

    Raises:
        AlreadyRunning: when the mark of a run is there that may still go on.
    """
    for _ in range(3):
        try:
            descriptor = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            _remove_dead(mark, Holder.parse(text))
            continue
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                give_to_owner_of(mark.parent, descriptor)
                file.write(text)
                file.flush()
                os.fsync(descriptor)
        except BaseException:
            mark.unlink()  # the disk is full: half a mark would stop the next runs too
            raise
        if _read_mark(mark) == text:
            return
    raise AlreadyRunning(str(mark))


def _remove_dead(mark: Path, me: Holder) -> None:
    """Removes the mark of a run that died. It is renamed first: of two hosts that see it only one can do that.

    Raises:
        AlreadyRunning: when that run may still go on.
    """
    with suppress(FileNotFoundError):  # removed meanwhile
        seen = _read_mark(mark)
        if seen is not None and _holder(mark, seen).may_live(me):
            raise AlreadyRunning(f"{mark}: {seen}")
        aside = mark.with_name(f"{mark.name}.{me.host}.{me.process}")
        mark.rename(aside)
        if _read_mark(aside) != seen:  # the other host was faster: this is its new mark
            aside.rename(mark)
            raise AlreadyRunning(str(mark))
        aside.unlink()


def _read_mark(mark: Path) -> Optional[str]:
    try:
        return mark.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _holder(mark: Path, text: str) -> Holder:
    """Returns whom a mark names. One that was cut says when it was made, and the rest could be anybody."""
    try:
        return Holder.parse(text)
    except (ValueError, OverflowError):
        return Holder("?", 0, datetime.fromtimestamp(mark.stat().st_mtime, timezone.utc))


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another account's
        return True
    return True


def make_folder(path: Path, *, mode: int = 0o755) -> None:
    """Makes a folder, and its parents, if it is not there.

    Made by root, it belongs to the owner of the folder it is in.
    So a `sudo` by mistake leaves nothing behind that the next run of the ordinary account cannot write.
    """
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(mode=mode, exist_ok=True)
    give_to_owner_of(path.parent, path)


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
            give_to_owner_of(path.parent, file.fileno())
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def remove_leftovers(folder: Path) -> None:
    """Removes what `write_atomic` and `lock` left in a folder when their process was killed."""
    oldest = time.time() - DEAD_AFTER.total_seconds()
    with suppress(OSError):  # it is tried again
        for file in folder.iterdir():
            if _TEMPORARY.fullmatch(file.name) and file.lstat().st_mtime < oldest:
                file.unlink()


def give_to_owner_of(folder: Path, made: Union[int, Path]) -> None:
    """Gives what root made (a path or an open file) to the owner of the folder; others own what they make anyway."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(made, owner.st_uid, owner.st_gid)
