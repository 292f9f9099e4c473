"""LSF, played: openlava 2.2 as it was measured, and IBM's LSF 10.1 as its manual has it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

from sites import Ask, FakeSite

from glidepost.backends.base import Command

REPORT = "\n------------------------------------------------------------\nSender: LSF System <lsfadmin@node01>\n"


class _LsfSite(FakeSite):
    backend_name = "lsf"
    slots = 3
    unit: ClassVar[str]
    lacks: ClassVar[Mapping[str, str]] = {
        "one in an error state is held": "a batch job that LSF cannot start ends (EXIT)",
    }

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder
        self.started: list[subprocess.Popen[bytes]] = []
        self.environment: dict[str, str] = {"LSF_ENVDIR": str(folder)}
        (folder / "lsf.conf").write_text(f"# of the fake\nLSB_STDOUT_DIRECT=Y\n{self.unit}", encoding="utf-8")

    def execute(self, command: Command, environment: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
        """Runs the fakes as who runs the tests, in a group of their own that ends with the time-out."""
        return super().execute(command, {**self.environment, **environment})

    def foreign(self) -> Mapping[str, str]:
        """Returns what an account may have in its profile."""
        return {
            "BSUB_QUIET": "Y",
            "BSUB_STDERR": "Y",
            "LSB_DEFAULTQUEUE": "closed",
            "LSB_BJOBS_FORMAT": "jobid",
            "GLIDEPOST_FAKE_ENHANCED": "Y",
        }

    def hold(self, batch_id: str) -> None:
        """Holds a queued one."""
        done = self.run(Command(("bstop", batch_id)))
        assert done.returncode == 0, done.stderr

    @contextmanager
    def down(self) -> Iterator[None]:
        """Lets no client find the daemons."""
        self.environment["GLIDEPOST_FAKE_LSF"] = "down"
        yield
        del self.environment["GLIDEPOST_FAKE_LSF"]

    @contextmanager
    def queue(self) -> Iterator[dict[str, Any]]:
        """Gives the queue to be changed."""
        with self.state.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = json.loads(self.state.read_text()) if self.state.exists() else {"next_id": 1, "jobs": []}
            yield state
            self.state.write_text(json.dumps(state))

    def release(self) -> None:
        """Starts queued ones as long as there are slots."""
        assert self.slots is not None
        with self.queue() as state:
            free = self.slots - sum(job["state"] == "RUN" for job in state["jobs"])
            queued = [job for job in state["jobs"] if job["state"] == "PEND" and "resource" not in job["reason"]]
            for job in queued:
                job["reason"] = "Job slot limit reached: 2 hosts"
            for job in queued[:free]:
                job.update(state="RUN", host="node01", pid=self._start(job, state["scripts"][str(job["id"])]))

    def clean(self) -> None:
        """Ends all that was started."""
        for process in self.started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        with self.queue() as state:
            state["jobs"] = []

    def _start(self, job: Mapping[str, Any], script: str) -> int:
        """Returns the PID of a script that runs, and in whose group all stays that it starts."""
        path = self.folder / f"{job['id']}.{job['index']}.shell"  # as ~/.lsbatch has it
        path.write_text(script, encoding="utf-8")
        path.chmod(0o700)
        output = job["output"].replace("%J", str(job["id"])).replace("%I", str(job["index"]))
        environment = {
            **{name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}},
            "LSB_JOBID": str(job["id"]),
            "LSB_JOBINDEX": str(job["index"]),
            "LSB_JOBNAME": f"{job['name']}[{job['index']}]" if job["index"] else str(job["name"]),
            "LSB_QUEUE": str(job["queue"]),
            "LSB_HOSTS": "node01",
            "LSB_MCPU_HOSTS": "node01 1",
        }
        with Path(output or "/dev/null").open("a", encoding="utf-8") as file:
            file.write(REPORT)
            file.flush()
            process = subprocess.Popen(
                [str(path)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        self.started.append(process)
        return process.pid


_ASKS = {
    "bad queue": Ask("nosuch: No such queue", {"queue": "nosuch"}),
    "closed queue": Ask("closed: Queue has been closed", {"queue": "closed"}),
    "too long": Ask("RUNLIMIT: Cannot exceed queue's hard limit(s)", resources={"walltime_s": 40 * 86400}),
    "impossible": Ask("not satisfied", resources={"memory_mib": 1 << 20}, waits=True),
    "bad option": Ask("Bad resource requirement syntax", {"select": "(pascal"}),
    "too many": Ask("Job array index too large", count=1001),
}


class OpenlavaSite(_LsfSite):
    """openlava 2.2, whose lsf.conf says nothing of units."""

    label = "openlava 2.2 (played)"
    programs = "openlava"
    unit = ""
    asks: ClassVar[Mapping[str, Ask]] = {
        **_ASKS,
        "bad account": Ask("admins: User cannot use the queue", {"queue": "admins"}),
    }


class LsfSite(_LsfSite):
    """IBM's LSF 10.1, which counts in GB."""

    label = "lsf 10.1 (played)"
    programs = "lsf"
    unit = "LSF_UNIT_FOR_LIMITS=GB\n"
    asks: ClassVar[Mapping[str, Ask]] = {**_ASKS, "bad account": Ask("Bad user group name", {"group": "nobody"})}


SITES = (OpenlavaSite, LsfSite)
