"""Slurm for the contract suite: a real one of two nodes, and the one that tests/fakes/bin plays."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from sites import SLEEP, Ask, FakeSite, Site

from glidepost.backends.base import Command, JobState
from glidepost.infra.demo.testbed import Slurm

FOREIGN = {
    "SBATCH_JOB_NAME": "x",
    "SBATCH_ARRAY_INX": "0-5",
    "SBATCH_PARTITION": "closed",
    "SBATCH_TIMELIMIT": "1",
}
BAD_QUEUE = Ask("Invalid partition name specified", {"partition": "nosuch"})
TOO_MANY = Ask("Invalid job array specification", count=1002)
NO_OPTION = Ask("unrecognized option", {"extra": ("--no-such-option",)})


class RealSlurm(Site):
    """A Slurm of two nodes with four cores each."""

    label: ClassVar[str] = "slurm 22.05.8"
    backend_name: ClassVar[str] = "slurm"
    slots = 8
    asks: ClassVar[Mapping[str, Ask]] = {
        "bad queue": BAD_QUEUE,
        "closed queue": Ask("PartitionDown", {"partition": "closed"}, waits=True),
        "too long": Ask("Requested time limit is invalid", resources={"walltime_s": 30 * 86400}),
        "impossible": Ask("Requested node configuration is not available", resources={"memory_mib": 1 << 30}),
        "bad option": NO_OPTION,
        "too many": TOO_MANY,
    }
    lacks: ClassVar[Mapping[str, str]] = {"bad account": "needs slurmdbd"}

    def __init__(self, slurm: Slurm) -> None:
        self.slurm = slurm
        self._deaf: dict[str, str] = {}

    def execute(self, command: Command, environment: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
        """Runs a command as the account."""
        env = {**self.slurm.env(), **environment, **self._deaf}
        done = self.slurm.account.run(command.argv, env=env, stdin=command.stdin)
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.encode(), done.stderr.encode())

    def hold(self, batch_id: str) -> None:
        """Holds one."""
        self.slurm.run(["scontrol", "hold", batch_id])

    @contextmanager
    def down(self) -> Iterator[None]:
        """Lets clients ask at a port where nobody listens."""
        text = Path(self.slurm.env()["SLURM_CONF"]).read_text(encoding="utf-8")
        port = next(line for line in text.splitlines() if line.startswith("SlurmctldPort="))
        deaf = self.slurm.folder / "deaf.conf"
        deaf.write_text(f"{text.replace(port, 'SlurmctldPort=1')}\nMessageTimeout=1\nTCPTimeout=1\n", encoding="utf-8")
        self._deaf = {"SLURM_CONF": str(deaf)}
        try:
            yield
        finally:
            self._deaf = {}

    def clean(self) -> None:
        """Ends all."""
        self.slurm.run(["scancel", f"--user={self.slurm.account.name}"])
        assert self.wait(lambda: self.jobs() == [])

    def fail(self) -> str:
        """Submits one that Slurm requeues and holds, as after a failed prolog."""
        batch_id = self.submit(self.request(script=SLEEP), requeue=True)
        assert self.wait(lambda: self.states() == {JobState.RUNNING: 1})
        self.slurm.run(["scontrol", "requeuehold", "State=SpecialExit", batch_id])
        return batch_id

    def foreign(self) -> Mapping[str, str]:
        """Returns variables that sbatch obeys."""
        return FOREIGN


class FakeSlurm(FakeSite):
    """Slurm as tests/fakes/bin plays it."""

    label: ClassVar[str] = "slurm (played)"
    backend_name: ClassVar[str] = "slurm"
    programs: ClassVar[str] = "bin"
    slots = 4
    asks: ClassVar[Mapping[str, Ask]] = {
        "bad queue": BAD_QUEUE,
        "impossible": Ask("More processors requested than permitted", resources={"cpus": 65}),
        "bad option": NO_OPTION,
        "too many": TOO_MANY,
    }
    lacks: ClassVar[Mapping[str, str]] = {
        "closed queue": "only the real one",
        "too long": "only the real one",
        "bad account": "only in a trial",
        "one in an error state is held": "only the real one",
        "a glidein knows which batch job it is": "nothing runs",
        "a script arrives as it was": "nothing runs",
        "ones that have ended are gone": "nothing runs",
        "a trial finds what it would refuse": "the fake tries accounts only",
    }

    def _edit(self, change) -> None:
        state = json.loads(self.state.read_text(encoding="utf-8"))
        change(state["jobs"])
        self.state.write_text(json.dumps(state), encoding="utf-8")

    def release(self) -> None:
        """Lets as many run as there are slots."""

        def start(jobs: list[dict[str, object]]) -> None:
            for job in jobs[: self.slots]:
                job.update(state="R", reason="None")

        self._edit(start)

    def hold(self, batch_id: str) -> None:
        """Holds one."""
        assert self.run(Command(("scontrol", "hold", batch_id))).returncode == 0

    @contextmanager
    def down(self) -> Iterator[None]:
        """Lets squeue find no controller."""
        plain = self.execute
        self.execute = lambda command, env: plain(command, {**env, "GLIDEPOST_FAKE_SQUEUE": "down"})  # type: ignore[method-assign]
        try:
            yield
        finally:
            del self.execute

    def clean(self) -> None:
        """Forgets the file."""
        self.state.unlink(missing_ok=True)
