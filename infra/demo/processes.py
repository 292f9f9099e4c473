"""Which daemons are ours, how to wait for them, and how to end them.

As in daemons.sh: a daemon is known by a mark in its environment, which its children inherit. A process id in a file may
belong to somebody else by now, and a zombie looks alive to `kill -0`; neither has the mark.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Callable, Optional

MARK = "GLIDEPOST_DAEMON_OF"  # its value is the daemon's folder, without symbolic links


def daemons_of(folder: Path) -> list[int]:
    """Returns the ids of the living processes that carry the folder's mark."""
    mark = os.fsencode(f"{MARK}={folder.resolve()}")
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):  # gone meanwhile, or another user's
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
    return found


def end_daemons(folder: Path, grace_s: float = 5) -> list[int]:
    """Ends every process that carries the folder's mark: TERM, then KILL after the grace.

    Returns:
        The ids of those that are still there, which should be none.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in daemons_of(folder):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        if wait_until(lambda: not daemons_of(folder), grace_s):
            return []
    return daemons_of(folder)


def wait_until(is_ready: Callable[[], bool], deadline_s: float, step_s: float = 0.05) -> bool:
    """Returns True as soon as the question is answered with yes, False if it is not within the deadline."""
    end = time.monotonic() + deadline_s
    while not is_ready():
        if time.monotonic() > end:
            return False
        time.sleep(step_s)
    return True


def launch(command: Sequence[str], *, prefix: Sequence[str], env: Mapping[str, str], folder: Path, log: Path) -> None:
    """Starts a server that outlives us, by a shell that ends at once: so it is nobody's unreaped child.

    Args:
        command: What to run.
        prefix: What makes it run as another account.
        env: Its whole environment, but for the mark.
        folder: Whose daemon it is.
        log: Gets what it prints.
    """
    with log.open("wb") as output:
        subprocess.run(
            [*prefix, "/bin/sh", "-c", '"$@" &', "sh", *command],
            env={**env, MARK: str(folder.resolve())},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            check=True,
        )


def failure_to_come_up(
    folder: Path, use: Callable[[], object], errors: tuple[type[Exception], ...], deadline_s: float
) -> Optional[Exception]:
    """Returns None as soon as a server can be used; else why not, when its time is up or it has ended."""
    failure: Optional[Exception] = None

    def is_over() -> bool:
        nonlocal failure
        try:
            use()
        except errors as error:
            failure = error
            return not daemons_of(folder)
        failure = None
        return True

    wait_until(is_over, deadline_s)
    return failure


def last_lines(logs: Sequence[Path], count: int = 8) -> str:
    """Returns the end of each log under its name, for an error message; logs that cannot be read are left out."""
    parts = []
    for log in logs:
        with suppress(OSError):
            lines = log.read_text("utf-8", "replace").splitlines()[-count:]
            if lines:
                parts.append("\n    ".join([f"{log}:", *lines]))
    return "\n  ".join(parts)
