"""What is written down of many cycles, within a size: the puller's own log, and what glideins print."""

from __future__ import annotations

import logging
import logging.handlers
import os
import re
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Final

from glidepost.schema.files import give_to_owner_of, make_folder

LOG = logging.getLogger(__name__)

FILE: Final = "puller.log"
_FILE_BYTES: Final = 1024 * 1024
_OLD_FILES: Final = 3

# The name of a batch job (ledger.py), and what a batch system puts behind it.
_OURS: Final = re.compile(r"(gp-[0-9a-f]{5}-[a-z0-9]{5})([-._].*)?", re.DOTALL)
# An empty file too costs a place in the file system, and often a block.
_LEAST_BYTES: Final = 4096


class _Line(logging.Formatter):
    """One line for each event, whatever is in it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        """Returns time, level and event; further lines of it behind a bar."""
        return " | ".join(super().format(record).splitlines())


class _Handler(logging.handlers.RotatingFileHandler):
    """A log whose disk may be full: it is no reason to end a cycle, or to fill cron's mail."""

    def _open(self) -> TextIOWrapper:
        stream = super()._open()
        give_to_owner_of(Path(self.baseFilename).parent, stream.fileno())
        return stream

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Does without."""


@contextmanager
def kept_log(state: Path) -> Iterator[None]:
    """Writes what our modules log, from INFO on, into puller.log for the time of a `with` block.

    What goes to standard error stays what -v and -q say. A log that cannot be opened is said there, and no error.
    """
    file = state / FILE
    try:
        make_folder(state)
        handler = _Handler(file, maxBytes=_FILE_BYTES, backupCount=_OLD_FILES, encoding="utf-8", errors="replace")
    except OSError as error:
        LOG.warning("no log file=%s why=%s", file, error.strerror or error)
        yield
        return
    handler.setFormatter(_Line())
    handler.setLevel(logging.INFO)
    ours, root = logging.getLogger("glidepost"), logging.getLogger()
    shown = root.getEffectiveLevel()
    others = {other: other.level for other in root.handlers}
    before = ours.level
    for other in others:
        other.setLevel(max(other.level, shown))
    ours.setLevel(min(logging.INFO, shown))
    ours.addHandler(handler)
    try:
        yield
    finally:
        ours.removeHandler(handler)
        ours.setLevel(before)
        for other, level in others.items():
            other.setLevel(level)
        with suppress(OSError):  # the disk is full
            handler.close()


def tidy(folder: Path, max_bytes: int, live: Container[str]) -> int:
    """Removes what glideins printed, oldest first, until the rest is within a size. Returns how many files went.

    Args:
        folder: Where batch systems put it. Only plain files that are called as ours are count, and only they go.
        max_bytes: How much may stay, each file counted with at least 4 KiB.
        live: Names of batch jobs that may still write: their files count, and stay.
    """
    files = sorted(_ours(folder))
    excess = sum(size for _, size, _ in files) - max_bytes
    removed = 0
    for _, size, path in files:
        if excess <= 0:
            break
        name = _OURS.fullmatch(path.name)
        if name is None or name[1] in live:
            continue
        with suppress(OSError):  # gone, or not ours to remove; the next cycle tries again
            path.unlink()
            excess -= size
            removed += 1
    if removed:
        LOG.info("logs removed files=%d folder=%s", removed, folder)
    return removed


def _ours(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """Yields age, size in bytes and path of our plain files; links are not followed."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _OURS.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):  # gone meanwhile
                    seen = entry.stat(follow_symlinks=False)
                    yield seen.st_mtime, max(seen.st_size, _LEAST_BYTES), Path(entry.path)
