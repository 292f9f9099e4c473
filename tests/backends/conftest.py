"""What the contract suite needs to know of each backend. A new one adds a `Case` and recorded outputs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import pytest

from glidepost.backends.base import Backend, BatchJob, Command, GlideinRequest, JobState
from glidepost.backends.registry import BACKENDS, create
from glidepost.schema.puller_config import Option
from glidepost.schema.resources import Resources

TESTS = Path(__file__).parents[1]
IDLE, RUNNING, HELD, UNKNOWN = JobState.IDLE, JobState.RUNNING, JobState.HELD, JobState.UNKNOWN


@dataclass(frozen=True)
class Case:
    """One backend.

    submitted: what a submission printed (file in tests/recorded) -> the id in it.
    listing, jobs: what a query printed (file in tests/recorded), and what it says.
    ours: a batch job name in it that stands for an array of several.
    line: writes one line of a query's answer, from id, state and name.
    ids: two that may be removed.
    granted: what a submission's argv asks for, or None where nothing is asked for.
    """

    options: Mapping[str, Option]
    submitted: Mapping[str, str]
    listing: str
    jobs: Sequence[BatchJob]
    ours: str
    line: Callable[[str, str, str], str]
    ids: Sequence[str]
    granted: Optional[Callable[[Sequence[str]], Resources]] = None


def _slurm_grant(argv: Sequence[str]) -> Resources:
    values = dict(word[2:].split("=", 1) for word in argv if "=" in word)
    assert values["mem"].endswith("M")
    return Resources(
        cpus=int(values["cpus-per-task"]) * int(values["ntasks"]),
        memory_mib=int(values["mem"][:-1]),
        disk_mib=0,
        walltime_s=int(values["time"]) * 60,
        gpus=int(values.get("gres", "gpu:0").split(":")[1]),
    )


CASES = {
    "slurm": Case(
        options={},
        submitted={"slurm-22.05.8-sbatch-array.txt": "53", "slurm-22.05.8-sbatch-single.txt": "54"},
        listing="slurm-22.05.8-squeue-mixed.txt",
        jobs=[
            BatchJob("53_4", "gp-1a2b3c", IDLE, "Resources"),
            BatchJob("54", "gp-4d5e6f", IDLE, "Priority"),
            BatchJob("53_5", "gp-1a2b3c", HELD, "JobHeldUser"),
            BatchJob("52", "", HELD, "JobHeldUser"),
            BatchJob("51", "new\nline", HELD, "JobHeldUser"),
            BatchJob("50", "od|d @na%me é", HELD, "JobHeldUser"),
            *(BatchJob(f"53_{index}", "gp-1a2b3c", RUNNING) for index in range(4)),
        ],
        ours="gp-1a2b3c",
        line=lambda batch_id, state, name: f"{batch_id}@{state}@Reason@{name}@\n",
        ids=["53_4", "54"],
        granted=_slurm_grant,
    ),
    "local": Case(
        options={"folder": "/var/lib/glidepost/local"},
        submitted={"local-0.1.0-submit.txt": "1795338781-13715"},
        listing="local-0.1.0-query.txt",
        jobs=[
            BatchJob("1795338781-13715.0", "gp-1a2b3c", RUNNING),
            BatchJob("1795338781-13715.1", "gp-1a2b3c", RUNNING),
            BatchJob("1795338781-13715.10", "gp-1a2b3c", UNKNOWN),
            BatchJob("1795338790-14001.0", "gp-4d5e6f", RUNNING),
        ],
        ours="gp-1a2b3c",
        line=lambda batch_id, state, name: f"{batch_id}|{state}|{name}|\n",
        ids=["1795338781-13715.0", "1795338781-13715.10"],
    ),
}


@pytest.fixture(params=sorted(BACKENDS))
def case(request) -> Case:
    return CASES[request.param]


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
        timeout=20,
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
        """Returns the batch jobs when the condition is met, or after five seconds."""
        deadline = time.monotonic() + 5
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
    return Live(create("local", {"folder": str(folder / "local")}), {"PATH": f"{path}:{os.environ['PATH']}"})


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


@pytest.fixture(params=["dash", "bash"])
def local(request, tmp_path):
    yield live_local(tmp_path, request.param)
    end_local(tmp_path)


@pytest.fixture(params=["fake slurm", "local"])
def live(request, tmp_path):
    """Every backend that can run on this machine without a daemon."""
    yield live_slurm(tmp_path) if request.param == "fake slurm" else live_local(tmp_path, "sh")
    end_local(tmp_path)


@pytest.fixture
def fake_slurm(tmp_path) -> Live:
    return live_slurm(tmp_path)
