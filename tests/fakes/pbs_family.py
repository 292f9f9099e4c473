"""What the fakes of PBS and Torque share: the queue's file, options as getopt reads them, and running a batch job.

    GLIDEPOST_FAKE_STATE         the file: {"next_id", "jobs": [...], "calls": [[...]], "crashed"}
    GLIDEPOST_FAKE_QSUB=MODE     (or QSTAT, QSELECT, QDEL) down: the server does not answer; hang; garbage: exit code 0
                                 and nonsense; cut: exit code 0 and half of the answer; lost: it does what it was asked,
                                 and then says that it failed
    GLIDEPOST_FAKE_SUBMIT_LIMIT  so many batch jobs at most

A batch job waits until `qrun ID...` starts it: then its script really runs. Its end is seen by a file that it leaves.
"""

from __future__ import annotations

import fcntl
import getopt
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

SERVER = "vm"
Job = dict[str, Any]
State = dict[str, Any]

# The script's output goes to the spool, and is copied when it ends; or straight to its place.
RUN = """
"$1" "$2" >"$3" 2>&1
[ "$3" = "$4" ] || cp "$3" "$4"
: >"$5"
"""


class Refused(Exception):  # noqa: N818
    """What the command says on stderr, and its exit code; `said` goes to stdout before."""

    def __init__(self, text: str, code: int, said: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.said = said


def user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def folder() -> Path:
    return Path(os.environ["GLIDEPOST_FAKE_STATE"]).with_suffix(".files")


def parse(command: str, argv: list[str], letters: str, usage: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Returns options and operands as getopt would, or the usage and exit code 2."""
    try:
        return getopt.gnu_getopt(argv, letters)
    except getopt.GetoptError as error:
        what = "option requires an argument" if "requires" in error.msg else "invalid option"
        raise Refused(f"{command}: {what} -- '{error.opt}'\n{usage}", 2) from error


@contextmanager
def queue(command: str) -> Iterator[State]:
    path = Path(os.environ["GLIDEPOST_FAKE_STATE"])
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = json.loads(path.read_text()) if path.exists() else {"next_id": 1, "jobs": []}
        state.setdefault("calls", []).append([command, *sys.argv[1:]])
        for job in state["jobs"]:
            if job["state"] in {"R", "E"} and Path(job["done"]).exists():
                job["state"] = "ended"
        try:
            yield state
        finally:
            path.write_text(json.dumps(state, indent=1))


def start(job: Job, environment: Mapping[str, str], *, spool: bool) -> None:
    """Runs the script of a batch job in the background, in an environment of its own."""
    files = folder()
    files.mkdir(exist_ok=True)
    stem = job["id"].replace("[", "-").replace("]", "")
    script, done = files / f"{stem}.SC", files / f"{stem}.done"
    script.write_text(job["script"], encoding="utf-8")
    output = str(files / f"{stem}.OU") if spool else job["output"]
    account = pwd.getpwuid(os.geteuid())
    login = {"HOME": str(files), "USER": account.pw_name, "LOGNAME": account.pw_name, "PATH": "/usr/bin:/bin"}
    process = subprocess.Popen(
        ["/bin/sh", "-c", RUN, "job", job["shell"], str(script), output, job["output"], str(done)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=files,
        env={**login, "PBS_JOBID": job["id"], "PBS_JOBNAME": job["name"], "PBS_QUEUE": job["queue"], **environment},
        start_new_session=True,
    )
    job.update(state="R", pid=process.pid, done=str(done), comment="Job run at Sun Nov 22 at 09:00 on (vm:ncpus=1)")


def kill(job: Job) -> None:
    if job.get("pid") and not Path(job["done"]).exists():
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(job["pid"], signal.SIGKILL)


def end_all(path: Path) -> None:
    """Ends what runs, and forgets the queue; for the end of a test."""
    if path.exists():
        for job in json.loads(path.read_text())["jobs"]:
            kill(job)
    for left in (path, path.with_suffix(".lock")):
        left.unlink(missing_ok=True)
    shutil.rmtree(path.with_suffix(".files"), ignore_errors=True)


def guard_limit(state: State, new: int, text: str, code: int) -> None:
    live = sum(job["state"] in set("QHWTRES") for job in state["jobs"])
    if live + new > int(os.environ.get("GLIDEPOST_FAKE_SUBMIT_LIMIT", "1000000")):
        raise Refused(text, code)


def run(
    command: str, commands: Mapping[str, Callable[[list[str]], str]], down: Callable[[str, list[str]], Refused]
) -> int:
    """Plays one command, or what its mode says instead."""
    mode = os.environ.get(f"GLIDEPOST_FAKE_{command.upper()}", "")
    if mode == "hang":
        time.sleep(3600)
    if mode == "garbage":
        sys.stdout.write("<html>503 Service Unavailable</html>\n")
        return 0
    try:
        if mode == "down":
            raise down(command, sys.argv[1:])
        answer = commands[command](sys.argv[1:])
    except Refused as refused:
        sys.stdout.write(refused.said)
        sys.stderr.write(f"{refused}\n")
        return refused.code
    if mode == "lost":
        sys.stderr.write(f"{command}: cannot connect to server {SERVER} (errno=15031)\n")
        return 167
    sys.stdout.write(answer[: len(answer) // 2] if mode == "cut" else answer)
    return 0
