"""What the puller needs of the host that it runs on: a state folder it can trust, and cron's poor environment."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Optional, Union

from glidepost.backends.base import Command
from glidepost.schema.checks import Finding, Remark, attempt
from glidepost.schema.errors import BatchError, ConfigError, GlidepostError
from glidepost.schema.files import make_folder
from glidepost.schema.puller_config import PullerConfig
from glidepost.schema.units import counted, format_size
from glidepost.site_puller.queue import Queue

from . import mounts
from .schedule import BATCH_VARIABLES, CRON_PATH

_PROBE_BYTES: Final = 1024 * 1024
_LEAST_MIB: Final = 64
_LEAST_INODES: Final = 1000


@dataclass(frozen=True)
class Here:
    """This host and shell: what `glidepost` was started as, its environment, and a way to run a command."""

    command: Path
    environment: Mapping[str, str]
    queue: Queue


def check_host(config: PullerConfig, here: Here) -> Iterator[Finding]:
    """Yields what is found of folders and environment."""
    folder = attempt("state folder", lambda: _state(config.state))
    yield folder
    if not folder.exit_code:
        yield attempt("state folder: locks", lambda: _locks(config.state))
        yield attempt("state folder: room", lambda: _room(config))
        yield attempt("log folder", lambda: _shared(config))
    yield attempt("environment", lambda: _environment(here.environment))
    yield attempt("cron", lambda: _cron(here))


def _state(folder: Path) -> str:
    make_folder(folder, mode=0o700)
    mount = _mount(folder)
    return f"{folder}, on {mount.type if mount else 'an unknown file system'}"


def _locks(folder: Path) -> str:
    """Says whether a second run would be kept out: some mounts of NFS and Lustre know no locks, or grant all."""
    probe = folder / ".check.lock"
    try:
        with probe.open("a", encoding="ascii") as first, probe.open("a", encoding="ascii") as second:
            try:
                fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise GlidepostError(
                    f"{folder}: no lock: {error.strerror}",
                    hint="put [site] state on another file system, or have this one mounted with locks",
                ) from error
            try:
                fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return "a second run is kept out"
            raise GlidepostError(
                f"{folder}: two locks on one file were granted at a time",
                hint="two runs would submit twice: put [site] state on another file system",
            )
    finally:
        probe.unlink(missing_ok=True)


def _room(config: PullerConfig) -> Union[str, Remark]:
    """Says whether a MiB can be written and synced, which is what a quota refuses, and what is left."""
    probe = config.state / ".check.room"
    try:
        with probe.open("wb") as file:
            file.write(os.urandom(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        hint = "may it be written? Does its file system know fsync?"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "the disk is full or your quota is used up (quota -s): without a ledger nothing is submitted"
        raise GlidepostError(f"{config.state}: {error.strerror}", hint=hint) from error
    finally:
        probe.unlink(missing_ok=True)
    found = os.statvfs(config.state)
    free_mib = found.f_bavail * found.f_frsize // _PROBE_BYTES
    if free_mib < _LEAST_MIB:
        raise GlidepostError(f"{config.state}: {format_size(free_mib)} left", hint="make room, or move [site] state")
    if found.f_files and found.f_favail < _LEAST_INODES:
        raise GlidepostError(
            f"{config.state}: {counted(found.f_favail, 'inode')} left", hint="remove files, or move [site] state"
        )
    text = f"a MiB was written and synced; {format_size(free_mib // 1024 * 1024 or free_mib)} left"
    if free_mib < config.glidein.log_size_mib:
        return Remark(
            text, f"the glideins' output may take {format_size(config.glidein.log_size_mib)}: lower [glidein] log_size"
        )
    return text


def _shared(config: PullerConfig) -> Union[str, Remark]:
    make_folder(config.log_folder)
    mount = _mount(config.state)
    if mount and mount.type in mounts.OWN and any(shape.backend != "local" for shape in config.shapes):
        return Remark(
            f"{config.log_folder}, on {mount.type} of this host",
            "glideins read the token and write outcomes there: do worker nodes see it? If not, move [site] state",
        )
    return f"{config.log_folder}; whether worker nodes see it cannot be seen from here"


def _environment(environment: Mapping[str, str]) -> Union[str, Remark]:
    """Says which variables of this shell matter that cron will not have."""
    found = [name for name in BATCH_VARIABLES if environment.get(name)]
    own = [name for name in environment if name.startswith("GLIDEPOST_")]
    if own or found:
        return Remark(
            f"set here, and not in cron: {', '.join([*own, *found])}",
            "use the line of: glidepost puller schedule --cron  (it names them)",
        )
    return "nothing of this shell matters that cron would not have"


def _cron(here: Here) -> str:
    """Says whether `glidepost` starts with nothing but what cron sets: a Python out of a module often does not."""
    kept = [f"{name}={here.environment[name]}" for name in ("HOME", "LOGNAME") if name in here.environment]
    argv = ("env", "-i", f"PATH={CRON_PATH}", "SHELL=/bin/sh", *kept, str(here.command), "--version")
    try:
        said = here.queue.ask(Command(argv))
    except BatchError as error:
        raise ConfigError(
            f"{here.command} does not start in cron's environment: {error.what.rpartition(': ')[2]}",
            hint=f"try: {' '.join(argv)}  (was it installed with a Python that needs LD_LIBRARY_PATH or a module?)",
        ) from error
    return f"{here.command} starts in cron's environment ({said.strip()})"


def _mount(path: Path) -> Optional[mounts.Mount]:
    try:
        return mounts.holding(path.resolve(), mounts.read())
    except OSError:
        return None
