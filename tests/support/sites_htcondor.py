"""A real HTCondor as a site: infra/demo/condor_site.py, used as the unprivileged account."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

from sites import Ask, Site

from glidepost.backends.base import Command
from glidepost.infra.demo.testbed import CondorSite, daemons_of, wait_until
from glidepost.schema.puller_config import Option

NO_QUEUES = "HTCondor has no queues: what runs where is said by expressions"


class RealHTCondor(Site):
    """A schedd, and two cores to run on. What glideins print is streamed, so that tests need not wait for their end."""

    label: ClassVar[str] = "htcondor 25.14"
    backend_name: ClassVar[str] = "htcondor"
    options: ClassVar[Mapping[str, Option]] = {"lines": ("stream_output = true", "stream_error = true")}
    slots = 2
    asks: ClassVar[Mapping[str, Ask]] = {
        "too long": Ask("a walltime of 90000 s is more than the 86400 s", resources={"walltime_s": 90_000}),
        "impossible": Ask("no match found", resources={"cpus": 64}, waits=True),
        "bad account": Ask("no accounting group nosuch", options={"accounting_group": "nosuch"}),
        "bad option": Ask("Parse error", options={"requirements": "TARGET.Cpus >"}),
        "too many": Ask("MAX_JOBS_PER_SUBMISSION", count=501),
    }
    lacks: ClassVar[Mapping[str, str]] = {
        "bad queue": NO_QUEUES,
        "closed queue": NO_QUEUES,
        "its limits are known": f"{NO_QUEUES}; see test_htcondor_site.py",
    }

    def __init__(self, site: CondorSite) -> None:
        self.site = site

    @property
    def path(self) -> str:
        """PATH, where HTCondor's clients are."""
        return self.site.pool.env()["PATH"]

    def execute(self, command: Command, environment: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
        """Runs a client as the account."""
        return subprocess.run(
            [*self.site.account.prefix, *command.argv],
            input=command.stdin.encode(),
            env={**self.site.pool.env(), **environment},
            cwd="/",
            capture_output=True,
            timeout=60,
            check=False,
        )

    def hold(self, batch_id: str) -> None:
        """Holds one, as its owner."""
        self.site.pool.run(["condor_hold", batch_id])

    def fail(self) -> str:
        """Submits one whose log folder has gone by the time it starts: HTCondor holds it."""
        folder = self.site.account.make_folder(self.site.folder / "away")
        cluster = self.submit(self.request(logs=str(folder)))
        folder.rmdir()
        return f"{cluster}.0"

    @contextmanager
    def down(self) -> Iterator[None]:
        """Stops the schedd's process: its clients wait for 20 seconds, then give up."""
        schedds = [pid for pid in daemons_of(self.site.folder) if _name(pid) == "condor_schedd"]
        _signal(schedds, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(schedds, signal.SIGCONT)

    def clean(self) -> None:
        """Removes all."""
        pool = self.site.pool
        self.site.account.run(["condor_rm", "-all"], env=pool.env())  # (none is a failure)
        assert wait_until(lambda: not pool.user_jobs(), 60, step_s=0.2), pool.user_jobs()

    def foreign(self) -> Mapping[str, str]:
        """What the caller's account likes to see, and what a batch job has."""
        return {
            "_CONDOR_CONDOR_Q_ONLY_MY_JOBS": "false",
            "_CONDOR_SCRATCH_DIR": "/nonexistent",
            "_CONDOR_SLOT": "slot1_1",
            "BATCH_SYSTEM": "HTCondor",
        }


def _name(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    return ""


def _signal(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # a child that answered one client
            os.kill(pid, number)
