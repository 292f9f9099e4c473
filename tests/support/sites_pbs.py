"""PBS and Torque for the contract suite, as tests/fakes/pbs and tests/fakes/torque play them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

from sites import Ask, FakeSite

from glidepost.backends.base import Command

sys.path.insert(0, str(Path(__file__).parents[1] / "fakes"))

from pbs_family import end_all

# What a batch job around the puller, or a login, may have set.
FOREIGN = {
    "PBS_SHELL": "/bin/false",
    "PBS_JOBID": "99[7].other",
    "PBS_ARRAY_INDEX": "7",
    "PBS_ARRAYID": "7",
    "PBS_O_QUEUE": "closed",
    "PBS_QUEUE": "closed",
}


class _Played(FakeSite):
    slots = 4
    server_programs: ClassVar[tuple[str, ...]] = ("QSUB", "QSTAT", "QSELECT", "QDEL")

    def jobs_file(self) -> list[dict[str, Any]]:
        """Returns the batch jobs as the fake keeps them."""
        found: list[dict[str, Any]] = json.loads(self.state.read_text(encoding="utf-8"))["jobs"]
        return found

    def release(self) -> None:
        """Starts as many as there are slots left."""
        jobs = self.jobs_file()
        free = self.slots - sum(job["state"] == "R" for job in jobs)
        ids = [job["id"] for job in jobs if job["state"] == "Q" and not job["comment"].startswith("Can Never")]
        assert self.run(Command(("qrun", *ids[:free]))).returncode == 0

    @contextmanager
    def down(self) -> Iterator[None]:
        """Lets no client reach the server."""
        plain = self.execute
        deaf = {f"GLIDEPOST_FAKE_{program}": "down" for program in self.server_programs}
        self.execute = lambda command, env: plain(command, {**env, **deaf})  # type: ignore[method-assign]
        try:
            yield
        finally:
            del self.execute

    def clean(self) -> None:
        """Ends what runs, and forgets the queue; a server that crashed is an error of the test."""
        crashed = self.state.exists() and json.loads(self.state.read_text(encoding="utf-8")).get("crashed")
        with suppress(FileNotFoundError):
            end_all(self.state)
        shutil.rmtree(self.state.with_suffix(".files"), ignore_errors=True)
        assert not crashed, crashed

    def foreign(self) -> Mapping[str, str]:
        """Returns variables that one of the clients, or a glidein, looks at."""
        return FOREIGN


class FakePbs(_Played):
    """OpenPBS 23.06 as tests/fakes/pbs plays it."""

    label: ClassVar[str] = "openpbs 23.06 (played)"
    backend_name: ClassVar[str] = "pbs"
    programs: ClassVar[str] = "pbs"
    asks: ClassVar[Mapping[str, Ask]] = {
        "bad queue": Ask("Unknown queue", {"queue": "nosuch"}),
        "closed queue": Ask("Queue is not enabled", {"queue": "closed"}),
        "too long": Ask("Job violates queue and/or server resource limits", resources={"walltime_s": 30 * 86400}),
        "impossible": Ask(
            "Can Never Run: Insufficient amount of resource: mem", resources={"memory_mib": 1 << 30}, waits=True
        ),
        "bad option": Ask("invalid option", {"extra": ("-y nosuch",)}),
        "too many": Ask("Array job exceeds server or queue size limit", count=10001),
    }
    lacks: ClassVar[Mapping[str, str]] = {
        "bad account": "the server never checks it",
        "a held one is held and can be removed": "no member of an array is held by itself: see test_pbs_played.py",
        "one in an error state is held": "there is no such state",
    }

    def hold(self, batch_id: str) -> None:
        """Holds a whole batch job."""
        assert self.run(Command(("qhold", batch_id))).returncode == 0


class FakeTorque(_Played):
    """Torque 6.1.3 as tests/fakes/torque plays it."""

    label: ClassVar[str] = "torque 6.1.3 (played)"
    backend_name: ClassVar[str] = "torque"
    programs: ClassVar[str] = "torque"
    asks: ClassVar[Mapping[str, Ask]] = {
        "bad queue": Ask("Unknown queue", {"queue": "nosuch"}),
        "closed queue": Ask("Queue is not enabled", {"queue": "closed"}),
        "too long": Ask("Job exceeds queue resource limits", resources={"walltime_s": 30 * 86400}),
        "impossible": Ask("", resources={"memory_mib": 1 << 30}, waits=True),
        "bad option": Ask("invalid option", {"extra": ("-y nosuch",)}),
    }
    lacks: ClassVar[Mapping[str, str]] = {
        "bad account": "the server never checks it",
        "too many": "it takes arrays of any length",
        "one in an error state is held": "there is no such state",
        "a glidein knows which batch job it is": "logs come when it has ended: test_torque.py looks at them then",
    }

    def hold(self, batch_id: str) -> None:
        """Holds one."""
        assert self.run(Command(("qhold", batch_id))).returncode == 0
