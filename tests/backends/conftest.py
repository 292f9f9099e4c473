"""What the contract suite needs to know of each backend. A new one adds a `Case` and recorded outputs."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from all_cases import all_cases
from cases import Case
from sites_local import end_local

from glidepost.backends.base import Backend, BatchJob, Command, GlideinRequest, JobState
from glidepost.backends.registry import BACKENDS, create
from glidepost.schema.resources import Resources

TESTS = Path(__file__).parents[1]
IDLE, RUNNING, HELD, UNKNOWN = JobState.IDLE, JobState.RUNNING, JobState.HELD, JobState.UNKNOWN


@pytest.fixture(params=sorted(BACKENDS))
def case(request) -> Case:
    return all_cases()[request.param]


@pytest.fixture
def backend(request, case) -> Backend:
    return create(request.node.callspec.params["case"], case.options)


@pytest.fixture
def recorded() -> Callable[[str], str]:
    """Returns what a real batch system printed; as bytes and decoded, because text mode would change its line ends."""
    return lambda name: (TESTS / "recorded" / name).read_bytes().decode()


@pytest.fixture
def make_request() -> Callable[..., GlideinRequest]:
    def make(name="gp-1a2b3c", count=1, script="#!/bin/sh\nexit 0\n", log_folder="", **resources) -> GlideinRequest:
        sizes = {"cpus": 2, "memory_mib": 4096, "disk_mib": 10240, "walltime_s": 86400, "gpus": 0, **resources}
        return GlideinRequest(name, Resources(**sizes), count, script, log_folder)

    return make


def run(command: Command, prefix: Sequence[str] = (), **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a backend's command as the puller does: bytes in and out, so that line ends in names stay what they are."""
    done = subprocess.run(
        [*prefix, *command.argv],
        input=command.stdin.encode(),
        capture_output=True,
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


@dataclass(frozen=True)
class Live:
    """A backend whose commands are really run."""

    backend: Backend
    environment: Mapping[str, str]

    def run(self, command: Command, **environment: str) -> subprocess.CompletedProcess[str]:
        return run(command, **{**self.environment, **environment})

    def submit(self, request: GlideinRequest) -> str:
        done = self.run(self.backend.submission(request))
        assert done.returncode == 0, done.stderr
        return self.backend.parse_submission(done.stdout)

    def jobs(self) -> list[BatchJob]:
        done = self.run(self.backend.query())
        assert done.returncode == 0, done.stderr
        return list(self.backend.parse_query(done.stdout))

    def jobs_when(self, condition: Callable[[list[BatchJob]], bool]) -> list[BatchJob]:
        """Returns the batch jobs when the condition is met, or after a minute."""
        deadline = time.monotonic() + 60
        while not condition(found := self.jobs()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found


def live_slurm(folder: Path) -> Live:
    """Returns Slurm played by the executables in tests/fakes/bin."""
    environment = {
        "PATH": f"{TESTS / 'fakes/bin'}:{os.environ['PATH']}",
        "GLIDEPOST_FAKE_STATE": str(folder / "slurm.json"),
    }
    return Live(create("slurm", {}), environment)


def live_local(folder: Path, shell: str) -> Live:
    """Returns the local backend in a folder of its own, its script run by this shell."""
    path = folder / "bin"
    path.mkdir()
    (path / "sh").symlink_to(shutil.which(shell) or pytest.fail(f"no {shell} on the PATH"))
    return Live(
        create("local", {"folder": str(folder / "local"), "overcommit": True}), {"PATH": f"{path}:{os.environ['PATH']}"}
    )


@pytest.fixture(params=["dash", "bash"])
def local(request, tmp_path):
    yield live_local(tmp_path, request.param)
    end_local(tmp_path)


@pytest.fixture
def fake_slurm(tmp_path) -> Live:
    return live_slurm(tmp_path)
