"""A batch system that tests can make do things, real or played: what the contract suite (contract.py) runs over."""

from __future__ import annotations

import os
import subprocess
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Optional

from glidepost.backends.base import Backend, BatchJob, Command, GlideinRequest, JobState
from glidepost.backends.registry import create
from glidepost.schema.puller_config import Option
from glidepost.schema.resources import Resources
from glidepost.site_puller.queue import clean_environment

SLEEP = "#!/bin/sh\nexec sleep 600\n"


@dataclass(frozen=True)
class Ask:
    """A glidein that a batch system does not want, or not now.

    words: A part of what it says: the refusal's text, or the reason why the glidein waits.
    options, resources: What differs from a small one that it takes.
    count: How many at once.
    waits: It is accepted all the same, and stays in the queue for this reason ("" in words: it does not say why).
    is_limit: The refusal passes by itself.
    """

    words: str
    options: Mapping[str, Option] = field(default_factory=dict)
    resources: Mapping[str, int] = field(default_factory=dict)
    count: int = 1
    waits: bool = False
    is_limit: bool = False


class Site(ABC):
    """One batch system with one account, as the site puller sees it.

    label: How the coverage table calls it: system, version, and whether it is real.
    backend_name, options: Of the shapes here.
    slots: How many glideins of one core run at once; the others wait. None: all run.
    asks: By case ("bad queue", "closed queue", "too long", "impossible", "bad account", "bad option", "too many"), what
        is not wanted. A case that this batch system does not know stands in `lacks`.
    lacks: Cases of the contract that have no meaning here, and why.
    """

    label: ClassVar[str]
    backend_name: ClassVar[str]
    options: Mapping[str, Option] = {}
    slots: Optional[int] = None
    asks: Mapping[str, Ask] = {}
    lacks: Mapping[str, str] = {}

    # --- what each batch system does in its own way

    @abstractmethod
    def execute(self, command: Command, environment: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
        """Runs a command as the unprivileged account, in the environment of a login there plus this one."""

    @abstractmethod
    def hold(self, batch_id: str) -> None:
        """Holds a queued glidein, as its owner or an operator would."""

    @abstractmethod
    def down(self) -> AbstractContextManager[None]:
        """Makes the batch system's server unreachable for the time of a `with` block."""

    @abstractmethod
    def clean(self) -> None:
        """Ends all batch jobs and returns when none is listed."""

    def fail(self) -> str:
        """Submits a glidein that goes into the batch system's error state, and returns its batch id."""
        raise NotImplementedError(self.label)

    def release(self) -> None:  # noqa: B027 - most need not
        """Lets queued glideins run, where that is not done by the batch system itself (the fakes)."""

    def foreign(self) -> Mapping[str, str]:
        """Returns variables by which a caller's environment could change what these commands do."""
        return {}

    # --- what tests do with all of them

    def backend(self, **options: Option) -> Backend:
        """Returns the backend, with these options over those of the site."""
        return create(self.backend_name, {**self.options, **options})

    def run(self, command: Command, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs a backend's command as the puller does; output is decoded without changing line ends."""
        done = self.execute(command, {"LC_ALL": "C", **environment})
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def request(
        self, name: str = "gp-abc", count: int = 1, *, script: str = SLEEP, logs: str = "", **resources: int
    ) -> GlideinRequest:
        """Returns a request for small glideins."""
        sizes = {"cpus": 1, "memory_mib": 100, "disk_mib": 0, "walltime_s": 1800, "gpus": 0, **resources}
        return GlideinRequest(name, Resources(**sizes), count, script, logs)

    def submit(self, request: GlideinRequest, **options: Option) -> str:
        """Returns the batch id of a submission that must be accepted."""
        backend = self.backend(**options)
        done = self.run(backend.submission(request))
        assert done.returncode == 0, done.stderr
        return backend.parse_submission(done.stdout)

    def jobs(self) -> list[BatchJob]:
        """Returns what a query says that must succeed."""
        done = self.run(self.backend().query())
        assert done.returncode == 0, done.stderr
        return list(self.backend().parse_query(done.stdout))

    def states(self) -> Counter[JobState]:
        """Returns how many are in each state, those that are gone left out."""
        return Counter(job.state for job in self.jobs() if job.state is not JobState.GONE)

    def live(self) -> list[BatchJob]:
        """Returns those that are not gone."""
        return [job for job in self.jobs() if job.state is not JobState.GONE]

    def wait(self, condition: Callable[[], bool], seconds: float = 60) -> bool:
        """Returns whether the condition was met in time; asks again each fifth of a second."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True


class FakeSite(Site):
    """A batch system played by executables, whose queue is a JSON file."""

    programs: ClassVar[str]  # folder below tests/fakes

    def __init__(self, folder: Path) -> None:
        self.state = folder / f"{self.backend_name}.json"

    def execute(self, command: Command, environment: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
        """Runs the fakes as who runs the tests."""
        path = f"{Path(__file__).parents[1] / 'fakes' / self.programs}:{os.environ['PATH']}"
        return subprocess.run(
            command.argv,
            input=command.stdin.encode(),
            capture_output=True,
            env={**clean_environment(os.environ), "PATH": path, "GLIDEPOST_FAKE_STATE": str(self.state), **environment},
            timeout=60,
            check=False,
        )
