"""`glidepost puller cleanup`: removes the scratch of glideins that are dead for certain, told by their leases only.

A kill without warning, a crash of a node, a full disk leave such folders behind. Whatever cannot be told stays.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Optional

from glidepost.backends.base import JobState
from glidepost.schema.puller_config import PullerConfig
from glidepost.schema.units import format_duration
from glidepost.site_puller.ledger import name_prefix
from glidepost.site_puller.queue import Queue

from . import lease as leases
from . import mounts
from .erase import erase
from .lease import PREFIX, Lease

GRACE_S: Final = 3600
DEAD: Final = "dead"
KEPT: Final = "kept"
REMOVED: Final = "removed"
FAILED: Final = "failed"


@dataclass(frozen=True)
class View:
    """What this host knows: its name, boot and processes, the time, and which batch jobs are listed.

    Args:
        host: As glideins write it.
        boot: The kernel's id of this boot.
        pid_namespace: In which `processes` are counted.
        processes: For each pid when it started, in clock ticks since the boot.
        busy: Folders in which processes of ours are.
        now: Seconds since 1970.
        listed: Names of batch jobs that may live.
        prefixes: What names of this site's batch jobs begin with; of others nothing is known.
    """

    host: str
    boot: str
    pid_namespace: str
    processes: Mapping[int, int]
    busy: tuple[Path, ...]
    now: float
    listed: frozenset[str]
    prefixes: tuple[str, ...]


@dataclass(frozen=True)
class Clock:
    """What a file system says of the time: now, and when a scratch folder was last written to."""

    now: float
    written: float


@dataclass(frozen=True)
class Case:
    """One scratch folder: DEAD, KEPT, REMOVED or FAILED, and why."""

    folder: str
    verdict: str
    why: str
    glidein: str = ""
    host: str = ""


def judge(lease: Lease, view: View, clock: Optional[Clock]) -> tuple[bool, str]:
    """Returns whether a glidein is dead for certain, and why or why not.

    Args:
        lease: Its own.
        view: Of this host.
        clock: Of the file system, None if it could not be asked.
    """
    if lease.host == view.host and lease.boot == view.boot:
        if view.processes.get(lease.pid) == lease.start:
            return False, f"process {lease.pid} lives"
        if lease.pid_namespace == view.pid_namespace:
            return True, f"process {lease.pid} of this host is gone"
        # A container counts processes for itself: what is not seen from here may live.
        if not lease.pid_namespace and lease.name not in view.listed:
            return True, f"process {lease.pid} of this host is gone, and batch job {lease.name} too"
    doubt = _doubt(lease, view, clock)
    return not doubt, doubt or f"its walltime is over, and batch job {lease.name} is gone"


def _doubt(lease: Lease, view: View, clock: Optional[Clock]) -> str:
    """Returns why a glidein of whose processes nothing can be seen may live; empty when it cannot."""
    if lease.name in view.listed:
        return f"batch job {lease.name} is listed"
    if not lease.name.startswith(view.prefixes):
        return f"batch job {lease.name} is of another site, or of a shape that is gone"
    if clock is None:
        return "its file system does not tell the time"
    left_s = lease.deadline + GRACE_S - min(view.now, clock.now)
    if left_s >= 0:
        return f"it may run {format_duration(int(left_s) + 1)} more (its walltime, and an hour)"
    if clock.now - clock.written <= GRACE_S:
        return f"it was written to {format_duration(int(clock.now - clock.written))} ago"
    return ""


def look(folder: Path, view: View, mounted: tuple[mounts.Mount, ...]) -> Iterator[Case]:
    """Yields a case for each scratch folder in a folder."""
    base = folder.resolve()
    fs_now = _file_system_time(base)
    for path in sorted(base.glob(f"{PREFIX}*")):
        try:
            lease = leases.read(path)
        except ValueError as error:
            yield Case(str(path), KEPT, str(error))
            continue
        clock = None if fs_now is None else Clock(fs_now, _last_written(path))
        is_dead, why = judge(lease, view, clock)
        if is_dead and any(path == busy or path in busy.parents for busy in view.busy):
            is_dead, why = False, "a process of yours works in it"
        if is_dead and mounts.below(path, mounted):
            is_dead, why = False, "something is mounted in it"
        yield Case(str(path), DEAD if is_dead else KEPT, why, lease.glidein, lease.host)


def remove(case: Case) -> Case:
    """Returns what became of a folder: a dead one is removed, any other stays as it is."""
    if case.verdict != DEAD:
        return case
    try:
        erase(Path(case.folder))
    except OSError as error:
        where = f"{error.filename}: " if isinstance(error.filename, str) else ""
        return Case(case.folder, FAILED, f"{where}{error.strerror or error}", case.glidein, case.host)
    return Case(case.folder, REMOVED, case.why, case.glidein, case.host)


def listed_names(queues: Iterable[Queue]) -> frozenset[str]:
    """Returns the names of all batch jobs that may live.

    Raises:
        BatchError: when one batch system did not say all: then nothing may be removed.
    """
    names: set[str] = set()
    for queue in {queue.identity: queue for queue in queues}.values():
        answer = queue.count()
        if answer.error:
            raise answer.error
        names.update(job.name for job in answer.jobs if job.state is not JobState.GONE)
    return frozenset(names)


def view_of(config: PullerConfig, listed: frozenset[str], now: float, proc: Path = Path("/proc")) -> View:
    """Returns what this host knows now."""
    return View(
        host=re.sub(r"[^A-Za-z0-9.-]", "-", os.uname().nodename),
        boot=(proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip(),
        pid_namespace=_link(proc / "self/ns/pid"),
        processes=dict(_processes(proc)),
        busy=tuple(Path(_link(entry / "cwd")) for entry in proc.glob("[0-9]*")),
        now=now,
        listed=listed,
        prefixes=tuple(name_prefix(config.site, shape.name) for shape in config.shapes),
    )


def default_folders(config: PullerConfig) -> tuple[Path, ...]:
    """Returns where glideins of this site make their scratch, as far as this host sees it."""
    found = (leases.scratch_here(shape) for shape in config.shapes)
    return tuple(dict.fromkeys(folder for folder in found if folder is not None and folder.is_dir()))


def _processes(proc: Path) -> Iterator[tuple[int, int]]:
    """Yields pid and start of each process: field 22 of stat; the second is a name in brackets that may hold blanks."""
    for entry in proc.glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):  # ended meanwhile
            stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            fields = stat.rpartition(") ")[2].split()
            if fields[0] != "Z":  # a zombie is dead
                yield int(entry.name), int(fields[19])


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _file_system_time(folder: Path) -> Optional[float]:
    """Returns the file system's own time: on a file server it is not this host's."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".cleanup-") as probe:
            probe.write(b".")
            probe.flush()
            return os.fstat(probe.fileno()).st_mtime
    except OSError:
        return None


def _last_written(folder: Path) -> float:
    """Returns when something was last written: HTCondor's logs tell of a living glidein every few minutes."""
    times = []
    for path in (folder, *folder.glob("*"), *folder.glob("log/*")):
        with suppress(OSError):
            times.append(path.lstat().st_mtime)
    return max(times, default=0)
