"""No batch system for the contract suite: real processes of this host."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from sites import Ask, Site

from glidepost.backends.base import Command

_NOTHING_WAITS = "nothing waits here: what is accepted runs"
_NO_QUEUES = "there are no queues"


class LocalSite(Site):
    """Processes of the account that runs the tests, with one shell as sh."""

    label: ClassVar[str] = "local"
    backend_name: ClassVar[str] = "local"
    asks: ClassVar[Mapping[str, Ask]] = {
        "impossible": Ask("4 cpus each, 2 here", {"cpus": 2, "overcommit": False}, {"cpus": 4}),
        "too many": Ask("that would be 3 of 2 cpus", {"cpus": 2, "overcommit": False}, count=3, is_limit=True),
    }
    lacks: ClassVar[Mapping[str, str]] = {
        "running and queued ones are counted apart": _NOTHING_WAITS,
        "one that has started meanwhile is not removed": _NOTHING_WAITS,
        "a held one is held and can be removed": _NOTHING_WAITS,
        "one in an error state is held": _NOTHING_WAITS,
        "why one waits": _NOTHING_WAITS,
        "bad queue": _NO_QUEUES,
        "closed queue": _NO_QUEUES,
        "bad account": _NO_QUEUES,
        "too long": "no walltime is enforced",
        "bad option": "there are no such options",
        "a server that is down is no empty queue": "there is no server",
        "five hundred are listed": "500 processes are too many for a test",
        "check finds: too many": "what is full is so for a while",
        "check finds a server that is down": "there is no server",
        "its limits are known": _NO_QUEUES,
    }

    def __init__(self, folder: Path, shell: str = "sh") -> None:
        self.label = f"local ({shell})"  # type: ignore[misc]
        self.folder = folder
        path = folder / "bin"
        path.mkdir()
        (path / "sh").symlink_to(shutil.which(shell) or "/nonexistent")
        self.options = {"folder": str(folder / "local"), "overcommit": True}
        self._path = f"{path}:{os.environ['PATH']}"

    def execute(self, command: Command, environment: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
        """Runs local.sh."""
        return subprocess.run(
            command.argv,
            input=command.stdin.encode(),
            capture_output=True,
            env={**os.environ, "PATH": self._path, **environment},
            timeout=60,
            check=False,
        )

    def hold(self, batch_id: str) -> None:
        """Never."""
        raise NotImplementedError(batch_id)

    @contextmanager
    def down(self) -> Iterator[None]:
        """Never."""
        raise NotImplementedError
        yield

    def clean(self) -> None:
        """Ends what is left."""
        end_local(self.folder)


def end_local(folder: Path) -> None:
    """Ends what a test left, by the PIDs that it recorded; what has not started finds its entry gone."""
    for entry in (folder / "local").glob("*.*"):
        process = entry.rename(entry.with_name(f"ended-{entry.name}")) / "process"
        if not process.exists():
            continue
        pid, start, _ = process.read_text().split()
        with contextlib.suppress(OSError):
            if Path("/proc", pid, "stat").read_text().rsplit(") ", 1)[1].split()[19] == start:
                os.kill(int(pid), signal.SIGKILL)
