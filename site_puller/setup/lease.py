"""Leases: what a glidein writes into its scratch folder, so that others can tell whether it still lives.

glidein/bootstrap/6-scratch.sh writes them. Only a lease that is whole, ours, and fits its folder says anything.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Optional

from glidepost.schema.puller_config import Shape

FILE: Final = ".lease"
PREFIX: Final = "glidepost-"
_KIND: Final = "lease/1"
_MAX_BYTES: Final = 4096
_NAME: Final = re.compile(r"gp-[0-9a-f]{5}-[a-z0-9]{5}")
_VARIABLE: Final = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")
# Variables that mean the same here as on a worker node.
_EVERYWHERE: Final = frozenset({"HOME", "USER", "LOGNAME"})


@dataclass(frozen=True)
class Lease:
    """Who uses a scratch folder, and until when.

    `name` is the batch job's, `start` in clock ticks since the boot `boot`, `deadline` in seconds since 1970. Empty
    `pid_namespace`: not known.
    """

    glidein: str
    name: str
    batch_job: str
    host: str
    boot: str
    pid: int
    start: int
    deadline: int
    pid_namespace: str = ""


def parse(text: str) -> Lease:
    """Returns the lease in a text of lines key=value.

    Raises:
        ValueError: saying what is wrong with it.
    """
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if fields.get("kind") != _KIND:
        raise ValueError(f"its lease is of kind {fields.get('kind', '')[:20]!r}, not {_KIND}")
    lacking = [key for key in ("glidein", "name", "host", "boot", "pid", "start", "deadline") if not fields.get(key)]
    if lacking:
        raise ValueError(f"its lease lacks {lacking[0]}")
    if not _NAME.fullmatch(fields["name"]) or not fields["glidein"].startswith(fields["name"]):
        raise ValueError("its lease names no glidein of ours")
    try:
        pid, start, deadline = (int(fields[key]) for key in ("pid", "start", "deadline"))
    except ValueError:
        raise ValueError("its lease has no number where one belongs") from None
    return Lease(
        glidein=fields["glidein"],
        name=fields["name"],
        batch_job=fields.get("batch_job", ""),
        host=fields["host"],
        boot=fields["boot"],
        pid=pid,
        start=start,
        deadline=deadline,
        pid_namespace=fields.get("pid_namespace", ""),
    )


def read(folder: Path) -> Lease:
    """Returns the lease in a scratch folder. Links are not followed, neither to the folder nor to the lease.

    Raises:
        ValueError: when the folder or the lease is not ours, or is not what its name says.
    """
    try:
        seen = folder.lstat()
        if not stat.S_ISDIR(seen.st_mode):
            raise ValueError("it is no folder")
        if seen.st_uid != os.geteuid():
            raise ValueError("it belongs to somebody else")
        descriptor = os.open(folder / FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_size > _MAX_BYTES:
                raise ValueError("its lease is not a small file of ours")
            text = file.read(_MAX_BYTES).decode("ascii")
    except FileNotFoundError:
        raise ValueError("it has no lease") from None
    except UnicodeDecodeError:
        raise ValueError("its lease is not text") from None
    except OSError as error:
        raise ValueError(f"its lease cannot be read: {error.strerror}") from error
    lease = parse(text)
    if folder.name != PREFIX + lease.glidein:
        raise ValueError("its lease is another glidein's")
    return lease


def scratch_here(shape: Shape, environment: Mapping[str, str] = os.environ) -> Optional[Path]:
    """Returns the folder on this host where glideins of a shape make their scratch, None if only worker nodes know."""
    text = shape.scratch
    if not text:
        return Path("/tmp") if shape.backend == "local" else None  # noqa: S108 - where the bootstrap goes
    names = _VARIABLE.findall(text)
    if not _EVERYWHERE.issuperset(names) or not all(environment.get(name) for name in names):
        return None
    text = re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda match: environment[match[1] or match[2]], text)
    folder = Path(text).expanduser()
    return folder if folder.is_absolute() and "$" not in str(folder) else None
