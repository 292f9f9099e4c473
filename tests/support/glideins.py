"""Glideins in a real pool: the bootstrap script, run as by a batch system, with a tarball of the real HTCondor."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glidepost.glidein import build as builder
from glidepost.glidein.tarball import Manifest
from glidepost.infra.demo.testbed import Condor, Pool, wait_until
from glidepost.schema.errors import PoolError

PARTS = Path(__file__).parents[2] / "glidein" / "bootstrap"
IDLE_S, UPDATE_S = 12, 2
GLIDEIN = ["READ", "ADVERTISE_STARTD", "ADVERTISE_MASTER"]
JOB = (
    "executable = /bin/sh\ntransfer_executable = false\nshould_transfer_files = yes\n"
    "request_cpus = 1\nrequest_memory = 64\nrequest_disk = 1MB\n"
)


@dataclass(frozen=True)
class Built:
    path: Path
    manifest: Manifest


def build(condor: Condor, path: Path) -> Built:
    """Makes the tarball that glideins run."""
    manifest = builder.build(condor.release, path)
    path.chmod(0o644)
    return Built(path, manifest)


@dataclass
class Site:
    """A worker node of a site: an own scratch, token and folder of outcomes."""

    pool: Pool
    built: Built
    folder: Path
    name: str
    env: dict[str, str] = field(default_factory=dict)
    running: list[subprocess.Popen[str]] = field(default_factory=list)
    prefix: tuple[str, ...] = ()  # what goes before the glidein's shell; nothing: who the pool's account is

    def __post_init__(self) -> None:
        self.prefix = self.prefix or self.pool.account.prefix
        for name in ("scratch", "outcomes", "cache", "jobs"):
            self.pool.account.make_folder(self.folder / name)
        self.token = self.folder / "token"
        self.put_token(self.pool.token(f"glidein-{self.name}", 600, GLIDEIN))

    def put_token(self, token: str) -> None:
        self.token.write_text(token + "\n")
        self.pool.account.give(self.token, 0o600)

    def request(self) -> dict[str, str]:
        """Returns what a glidein is asked for. This site's user jobs are for it alone, so tests do not meet."""
        manifest = self.built.manifest
        return {
            "NAME": f"gp-{int(self.name[1:]) % 0x100000:05x}-{self.name[-5:]}",
            "SITE": self.name,
            "GLIDEIN_SITE": "North",
            "SHAPE": "small",
            "POOL": "test",
            "COLLECTORS": self.pool.collector,
            "CPUS": "2",
            "MEMORY_MIB": "1024",
            "DISK_MIB": "1024",
            "GPUS": "0",
            "WALLTIME_S": "600",
            "RETIRE_S": "60",
            "IDLE_S": str(IDLE_S),
            "UPDATE_S": str(UPDATE_S),
            "TOKEN_FILE": str(self.token),
            "SCRATCH": str(self.folder / "scratch"),
            "CACHE": str(self.folder / "cache"),
            "OUTCOMES": str(self.folder / "outcomes"),
            "NETWORK_INTERFACE": "127.0.0.1",
            "START": f'TARGET.WantSite == "{self.name}"',
            "GPU_DISCOVERY": "",
            "TASK": "",
            "TARBALLS": f"any {platform.machine()} {manifest.condor_version} {manifest.sha256} {manifest.size_bytes} "
            f"file://{self.built.path}",
        }

    def script(self, **request: str) -> str:
        """Returns the batch script."""
        variables = {**self.request(), **request}
        header = "".join(f"GLIDEPOST_{name}={shlex.quote(value)}\n" for name, value in variables.items())
        bootstrap = "".join(part.read_text() for part in sorted(PARTS.glob("*.sh")))
        return f"#!/bin/sh\n{header}{bootstrap}"

    def start(self, **request: str) -> subprocess.Popen[str]:
        """Starts a glidein from standard input, as the leader of a session and of a process group."""
        script = self.folder / f"script-{len(self.running)}"  # (a shell still reads the last one)
        script.write_text(self.script(**request))
        with script.open() as stdin:
            process = subprocess.Popen(
                [*self.prefix, "sh"],
                env={"PATH": "/usr/bin:/bin", "SECRET_OF_BATCH_JOB": "x", **self.env},
                cwd="/",
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self.running.append(process)
        return process

    def end(self, process: subprocess.Popen[str], timeout_s: float = 120) -> dict[str, Any]:
        """Waits for a glidein and returns its outcome record and `output`; nothing of it may be left."""
        output, _ = process.communicate(timeout=timeout_s)
        assert self.token.read_text().strip() not in output
        assert list((self.folder / "scratch").iterdir()) == []
        # (what was killed may take a moment to end)
        assert wait_until(lambda: not self.processes(process), 5), self.processes(process)
        glidein = re.search(r" glidein (\S+): ", output)
        assert glidein, output
        record = json.loads((self.folder / "outcomes" / f"{glidein[1]}.json").read_text())
        return {**record, "output": output, "code": process.returncode}

    def processes(self, *glideins: subprocess.Popen[str]) -> list[int]:
        """Returns the ids of the processes that glideins of this site have: those of their sessions, and HTCondor's."""
        mark = os.fsencode(f"{self.folder / 'scratch'}/")
        sessions = {glidein.pid for glidein in glideins}
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):  # gone meanwhile, or another user's
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    if fields[0] == "Z":  # ended, and its parent has not yet asked how
                        continue
                    if int(fields[3]) in sessions or mark in (entry / "environ").read_bytes():
                        found.append(int(entry.name))
        return found

    def kill_all(self, glidein: subprocess.Popen[str]) -> None:
        """Ends a glidein's processes, and HTCondor's, all at once as far as that can be."""
        while left := self.processes(glidein):
            for pid in left:
                with suppress(ProcessLookupError):  # it followed another one
                    os.kill(pid, signal.SIGKILL)
        glidein.communicate(timeout=120)

    def wait_for_start(self, started: Path) -> None:
        """Waits until a user job has made its file and the access point knows that it runs.

        Not just "running": a starter that is killed before it knows what to do cannot tell the shadow, which then waits
        for it until the job's lease is over.
        """
        assert wait_until(started.exists, 60)
        wait_for_execution(self.folder / "jobs" / "log")

    def submit(self, shell: str, count: int = 1, extra: str = "") -> int:
        arguments = f"""arguments = "-c '{shell}'"\n"""
        log = f"log = {self.folder}/jobs/log\noutput = {self.folder}/jobs/out.$(Process)\n"
        return self.pool.submit(f'{JOB}{arguments}{log}{extra}+WantSite = "{self.name}"\n', count)

    def states(self, cluster: int) -> list[int]:
        """1 idle, 2 running; a job that has completed is gone."""
        return [int(str(job["JobStatus"])) for job in self.pool.user_jobs(f"ClusterId == {cluster}")]

    def slots(self) -> list[Any]:
        return list(self.pool.slots(f'GLIDEPOST_Site == "{self.name}"'))

    def run_again(self, cluster: int, **request: str) -> dict[str, Any]:
        """Runs the user jobs to their end in a new glidein, which is killed then, and returns its record."""
        process = self.start(**{"IDLE_S": "60", **request})
        assert wait_until(lambda: self.states(cluster) == [], 60), self.states(cluster)
        process.terminate()
        record = self.end(process)
        assert (record["code"], record["outcome"]) == (0, "killed"), record["output"]
        return record

    def wait_for_running(self, cluster: int, count: int = 1) -> None:
        assert wait_until(lambda: self.states(cluster).count(2) == count, 60), self.states(cluster)


def wait_for_execution(log: Path, count: int = 1) -> None:
    """Waits until a log says that so many user jobs have run or do, as their shadows heard from the starters."""
    assert wait_until(lambda: log.exists() and log.read_text(encoding="utf-8").count("Job executing") >= count, 60)
    time.sleep(1)


@contextmanager
def open_site(pool: Pool, built: Built, folder: Path, word: str, prefix: Sequence[str] = ()) -> Iterator[Site]:
    """A site whose name is made of the word; at the end its user jobs and its glideins are gone."""
    site = Site(pool, built, folder, f"t{abs(hash(word)) % 10**8:08}", prefix=tuple(prefix))
    try:
        yield site
    finally:
        remove_user_jobs(pool, f'WantSite == "{site.name}"')
        for process in site.running:
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=120)
            if process.stdout:
                process.stdout.close()


def remove_user_jobs(pool: Pool, constraint: str = "true") -> None:
    """Removes user jobs; also those whose glidein was killed, to which the access point holds on until a lease ends."""
    for options, patience_s in ([[]], 10), ([[], ["-forcex"]], 60):
        if not pool.user_jobs(constraint):
            return
        for option in options:
            with suppress(PoolError):  # they end by themselves meanwhile
                pool.run(["condor_rm", *option, "-constraint", constraint])
        if wait_until(lambda: not pool.user_jobs(constraint), patience_s):
            return
    raise AssertionError(f"user jobs that cannot be removed: {constraint}")
