"""How glideins ended: one small JSON file each, left by its bootstrap script, and the inbox that they are read into.

The inbox is reports.json: it holds the records that ledger or breakers have not judged yet, the counts that the pool
has not been told yet, and the names of files that are in it already. It is written before a file is removed, so that a
crash neither loses a record nor reads it twice. Who judges records remembers the serial number of the last one and asks
for those after it, so that each is judged once. Counts leave the inbox when a heartbeat with them was sent, so that the
pool is told at least once.

The records come from worker nodes, where user jobs run too: number, size and alphabet are bounded, and what is no
record is counted as such.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final, Optional

import msgspec

from glidepost.schema.document import DAMAGED, Moment
from glidepost.schema.files import write_atomic

UNREADABLE: Final = "unreadable-record"
OTHER: Final = "other"

_MAX_FILES: Final = 5000  # in one cycle
_MAX_STUCK: Final = 20_000  # files that were read and cannot be removed
_MAX_KEPT: Final = 20_000  # records that somebody has not judged yet
_MAX_BYTES: Final = 16384
_MAX_CODES: Final = 64  # as in heartbeat-1.schema.json
_MAX_COUNT: Final = 1_000_000_000  # same
_MAX_CORE_S: Final = 1_000_000_000_000

_CODE: Final = re.compile(r"[a-z][a-z0-9:-]{0,63}")
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_VERSION: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){1,3}")
_BATCH_JOB: Final = re.compile(r"[A-Za-z0-9_.\[\]-]{1,128}")
_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,255}")
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?Z")

# What says of a file that it will never be a record; after any other error the next cycle tries again.
_HOPELESS: Final = frozenset({errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO, errno.ENODEV})


@dataclass(frozen=True)
class Ended:
    """How one glidein ended. Empty text and None: its record did not say, or said what cannot be.

    `startd_at` is when HTCondor was started, `claimed_at` when the first user job came. Of the seconds of all cores
    since then, user jobs' programs ran for `busy_core_s`, and the rest is `idle_core_s`. `failed_checks` are the names
    of those checks of the node that failed, whether they had to be passed or not.
    """

    serial: int
    outcome: str
    glidein: str = ""
    name: str = ""
    shape: str = ""
    host: str = ""
    batch_job: str = ""
    started_at: Optional[Moment] = None
    ended_at: Optional[Moment] = None
    startd_at: Optional[Moment] = None
    claimed_at: Optional[Moment] = None
    user_jobs: Optional[int] = None
    busy_core_s: Optional[int] = None
    idle_core_s: Optional[int] = None
    condor_version: str = ""
    failed_checks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reports:
    """reports.json. `serial` is that of the newest record ever read; `consumed` are files that are in here."""

    serial: int = 0
    records: tuple[Ended, ...] = ()
    pending: dict[str, int] = field(default_factory=dict)
    consumed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inbox:
    """The records as one cycle sees them. `stuck` files were read in an earlier cycle and could not be removed."""

    folder: Path
    path: Path
    reports: Reports
    stuck: tuple[str, ...] = ()

    @property
    def serial(self) -> int:
        """The number of the newest record, for whoever has judged all of them."""
        return self.reports.serial

    @property
    def pending(self) -> dict[str, int]:
        """Ended glideins by outcome that no heartbeat has told yet: at most 64 codes, the rarest ones together."""
        return dict(self.reports.pending)

    def since(self, serial: int) -> tuple[Ended, ...]:
        """Returns the records that are newer than one."""
        return tuple(record for record in self.reports.records if record.serial > serial)

    def ends(self, serial: int = 0) -> dict[str, list[str]]:
        """Returns the batch ids, as the glideins spelt them, of records newer than one, by batch job name."""
        found: dict[str, list[str]] = {}
        for record in self.since(serial):
            if record.name:
                found.setdefault(record.name, []).append(record.batch_job)
        return found

    def save(self) -> None:
        """Writes the inbox, if it has changed, and then removes the files that are in it.

        Raises:
            OSError: when the disk is full; then the files stay where they are.
        """
        self.write()
        self.sweep()

    def write(self) -> None:
        """Writes the inbox, if it has changed.

        Raises:
            OSError: when the disk is full.
        """
        if _load(self.path) != self.reports:
            write_atomic(self.path, msgspec.json.encode(self.reports))

    def sweep(self) -> None:
        """Removes the files that are in the inbox; one that cannot be removed is not read again."""
        for name in self.reports.consumed:
            with suppress(OSError):  # a folder, not ours to remove, or gone
                (self.folder / name).unlink()

    def reported(self, sent: Mapping[str, int]) -> Inbox:
        """Returns the inbox after a heartbeat with these counts was sent."""
        left = {code: count - sent.get(code, 0) for code, count in self.reports.pending.items()}
        return replace(
            self, reports=replace(self.reports, pending={code: count for code, count in left.items() if count > 0})
        )


def read(folder: Path, path: Path, *, judged: Sequence[int] = ()) -> Inbox:
    """Returns the inbox with what glideins have left since; nothing is written or removed.

    Args:
        folder: Where glideins leave their records.
        path: reports.json.
        judged: For each who judges records, the serial number of the last one that it did.
    """
    reports = _load(path) or Reports()
    stuck = tuple(name for name in reports.consumed if os.path.lexists(folder / name))
    # A lost reports.json begins anew: not with numbers that somebody takes for judged.
    serial = max((reports.serial, *judged))
    oldest = min(judged, default=serial)
    fresh = _numbered(folder, frozenset(stuck), serial)
    records = (*(item for item in reports.records if item.serial > oldest), *(record for _, record in fresh))
    return Inbox(
        folder,
        path,
        Reports(
            serial=serial + len(fresh),
            records=records[-_MAX_KEPT:],
            pending=_added(reports.pending, (record.outcome for _, record in fresh)),
            consumed=(*stuck, *(name for name, _ in fresh)),
        ),
        stuck,
    )


def _load(path: Path) -> Optional[Reports]:
    """Returns what the file holds, None when it is not there or cannot be understood: then there is nothing to save."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Reports)
    except DAMAGED:
        return None


def _numbered(folder: Path, known: frozenset[str], serial: int) -> list[tuple[str, Ended]]:
    """Returns the names of new files and their records, numbered from the one after `serial`."""
    found: list[tuple[str, Ended]] = []
    room = min(_MAX_FILES, _MAX_STUCK - len(known))
    for name in _names(folder, known)[: max(0, room)]:
        record = _record(folder / name, serial + len(found) + 1)
        if record is not None:
            found.append((name, record))
    return found


def _names(folder: Path, known: frozenset[str]) -> list[str]:
    try:
        names = [file.name for file in folder.iterdir()]
    except OSError:  # not there before the first glidein, or not to be read now
        return []
    # One that is still being written has another ending, and a dot begins what an editor or a file system leaves.
    return sorted(name for name in names if name.endswith(".json") and name[0] != "." and name not in known)


def _record(file: Path, serial: int) -> Optional[Ended]:
    """Returns the record in a file, None when it cannot be read now."""
    try:
        body = _body(file)
    except OSError as error:
        return Ended(serial, UNREADABLE) if error.errno in _HOPELESS else None
    try:
        data = json.loads(body) if body is not None else None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict) or data.get("kind") != "outcome/1":
        return Ended(serial, UNREADABLE)
    return Ended(
        serial,
        _text(data.get("outcome"), _CODE) or UNREADABLE,
        glidein=_text(data.get("glidein"), _NAME),
        name=_text(data.get("name"), _NAME),
        shape=_text(data.get("shape"), _NAME),
        host=_text(data.get("host"), _HOST),
        batch_job=_text(data.get("batch_job"), _BATCH_JOB),
        started_at=_moment(data.get("started_at")),
        ended_at=_moment(data.get("ended_at")),
        startd_at=_moment(data.get("startd_at")),
        claimed_at=_moment(data.get("claimed_at")),
        user_jobs=_number(data.get("user_jobs"), _MAX_COUNT),
        busy_core_s=_number(data.get("busy_core_s"), _MAX_CORE_S),
        idle_core_s=_number(data.get("idle_core_s"), _MAX_CORE_S),
        condor_version=_text(data.get("condor_version"), _VERSION),
        failed_checks=_failed(data.get("checks")),
    )


def _body(file: Path) -> Optional[bytes]:
    """Returns what is in a file, None if it is none, or too large. A pipe does not block, a link is not followed."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as opened:
            body = opened.read(_MAX_BYTES + 1)
        return body if len(body) <= _MAX_BYTES else None
    finally:
        os.close(descriptor)


def _text(value: Any, pattern: re.Pattern[str]) -> str:
    return value if isinstance(value, str) and pattern.fullmatch(value) else ""


def _number(value: Any, most: int) -> Optional[int]:
    return value if type(value) is int and 0 <= value <= most else None


def _failed(value: Any) -> tuple[str, ...]:
    """Returns the names of failed checks, in their order, of an object of results by name."""
    if not isinstance(value, dict):
        return ()
    return tuple(name for name, result in value.items() if result == "failed" and _text(name, _CODE))[:_MAX_CODES]


def _moment(value: Any) -> Optional[datetime]:
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    try:
        return datetime.fromisoformat(match[1]).replace(tzinfo=timezone.utc)
    except ValueError:
        return None


def _added(pending: Mapping[str, int], codes: Iterable[str]) -> dict[str, int]:
    """Returns counts with more added, bounded: the rarest codes go together."""
    counts = Counter(pending)
    counts.update(codes)
    ranked = sorted(
        ((code, count) for code, count in counts.items() if code != OTHER), key=lambda item: (-item[1], item[0])
    )
    kept = dict(ranked[: _MAX_CODES - 1])
    rest = counts[OTHER] + sum(count for _, count in ranked[_MAX_CODES - 1 :])
    if rest:
        kept[OTHER] = rest
    return {code: min(count, _MAX_COUNT) for code, count in kept.items()}
