"""Grid Engine for the contract suite: a real cell of one host."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

from sites import SLEEP, Ask, Site

from glidepost.backends.base import Command
from glidepost.infra.demo.testbed import GridEngine
from glidepost.schema.puller_config import Option


class RealGridEngine(Site):
    """A Grid Engine with eight slots."""

    label: ClassVar[str] = "gridengine 8.1.9"
    backend_name: ClassVar[str] = "gridengine"
    options: ClassVar[Mapping[str, Option]] = {"memory_resource": "h_vmem"}
    slots = 8
    asks: ClassVar[Mapping[str, Ask]] = {
        "bad queue": Ask('requests unknown queue "nosuch.q"', {"queue": "nosuch.q"}),
        "closed queue": Ask("", {"queue": "closed.q"}, waits=True),
        "too long": Ask("no suitable queues", resources={"walltime_s": 2 * 3600}),
        "impossible": Ask("no suitable queues", resources={"memory_mib": 1 << 20}),
        "bad account": Ask('the requested project "nosuch" does not exist', {"project": "nosuch"}),
        "bad option": Ask('invalid option argument "-no-such-option"', {"extra": ("-no-such-option",)}),
        "too many": Ask("you tried to submit a job with more than 1000 tasks", count=1001),
    }
    lacks: ClassVar[Mapping[str, str]] = {"why one waits": "only qstat -j says, one by one"}

    def __init__(self, cell: GridEngine) -> None:
        self.cell = cell
        self._deaf: dict[str, str] = {}

    def execute(self, command: Command, environment: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
        """Runs a command as the account."""
        env = {**self.cell.env(), **environment, **self._deaf}
        done = self.cell.account.run(command.argv, env=env, stdin=command.stdin)
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.encode(), done.stderr.encode())

    def hold(self, batch_id: str) -> None:
        """Holds one."""
        self.cell.run(["qhold", batch_id])

    @contextmanager
    def down(self) -> Iterator[None]:
        """Lets clients ask at a port where nobody listens."""
        self._deaf = {"SGE_QMASTER_PORT": "1"}
        try:
            yield
        finally:
            self._deaf = {}

    def clean(self) -> None:
        """Ends all."""
        # (a failure if there is none, or the last one ends meanwhile)
        self.cell.account.run(["qdel", "-u", self.cell.account.name], env=self.cell.env())
        assert self.wait(lambda: "job_list" not in self.listing()), self.listing()

    def listing(self) -> str:
        """Returns what is listed of all, what is being deleted too."""
        return self.run(self.backend().query()).stdout

    def fail(self) -> str:
        """Submits one whose output can be written nowhere."""
        return self.submit(self.request(script=SLEEP, logs="/nonexistent"))

    def foreign(self) -> Mapping[str, str]:
        """Returns variables of a caller that is a batch job itself, or has two cells."""
        return {"JOB_ID": "1", "SGE_TASK_ID": "1", "JOB_NAME": "x", "QUEUE": "closed.q", "PE": "x", "NSLOTS": "2"}
