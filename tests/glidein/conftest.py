"""Runs the bootstrap script as a batch system would, with a tarball whose condor_master is a few lines of sh.

The real HTCondor is in tests/real/test_glidein.py; here the ways of going wrong are many and must be quick.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import pytest
from shells import SHELLS, command_of

from glidepost.glidein import tarball
from glidepost.infra.demo.testbed import Account, wait_until

PARTS = Path(__file__).parents[2] / "glidein" / "bootstrap"
BOOTSTRAP = "".join(part.read_text() for part in sorted(PARTS.glob("*.sh")))
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJnbGlkZWluIn0.c2VjcmV0"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what runs the bootstrap, in shells: it does not depend on the version of Python."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.path.name.startswith(("test_bootstrap", "test_checks")):
            item.add_marker(pytest.mark.long)


@dataclass(frozen=True)
class Ended:
    """A glidein that is over."""

    code: int
    output: str
    records: list[dict[str, Any]]

    @property
    def outcome(self) -> str:
        (record,) = self.records
        return record["outcome"]

    @property
    def detail(self) -> str:
        (record,) = self.records
        return record["detail"]


@dataclass
class Node:
    """A worker node's folders, all below one that the account can enter."""

    account: Account
    folder: Path
    shell: list[str]
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("scratch", "outcomes", "cache", "made"):
            self.account.make_folder(self.folder / name)
        self.token = self.folder / "token"
        self.token.write_text(TOKEN + "\n")
        self.account.give(self.token, 0o600)

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    @property
    def made(self) -> Path:
        """Where the fake condor_master leaves what the test wants to see."""
        return self.folder / "made"

    def pack(self, master: str, name: str = "glidein.tar.gz") -> tarball.Manifest:
        """Makes the tarball whose condor_master runs these lines of sh; $SCRATCH and $MADE are set."""
        program = self.folder / "condor_master"
        program.write_text(f"#!/bin/sh\nSCRATCH=${{CONDOR_CONFIG%/*}} MADE={self.made}\n{master}\n")
        program.chmod(0o755)
        files = {"sbin/condor_master": program}
        return tarball.write(self.folder / name, files, condor_version="25.0.1", os="any", arch="x86_64")

    def line(self, manifest: tarball.Manifest, **changes: object) -> str:
        """Returns the line of GLIDEPOST_TARBALLS for a tarball of this node."""
        words = {
            "os": "any",
            "arch": platform.machine(),
            "version": manifest.condor_version,
            "sha256": manifest.sha256,
            "size": manifest.size_bytes,
            "url": f"file://{self.folder}/glidein.tar.gz",
            **changes,
        }
        return " ".join(str(word) for word in words.values())

    def script(self, tarballs: str, request: Mapping[str, Optional[str]], **constants: int) -> str:
        """Returns the batch script; a variable that is None is left out. `constants` are of the script itself."""
        variables = {
            "NAME": "gp-north-1",
            "SITE": "north",
            "GLIDEIN_SITE": "North",
            "SHAPE": "small",
            "POOL": "demo",
            "COLLECTORS": "127.0.0.1:9618 cm2.example.org:9618",
            "CPUS": "2",
            "MEMORY_MIB": "2048",
            "DISK_MIB": "1024",
            "GPUS": "0",
            "WALLTIME_S": "3600",
            "RETIRE_S": "600",
            "IDLE_S": "60",
            "UPDATE_S": "60",
            "TOKEN_FILE": str(self.token),
            "SCRATCH": str(self.scratch),
            "CACHE": "",
            "OUTCOMES": str(self.folder / "outcomes"),
            "NETWORK_INTERFACE": "",
            "START": "",
            "GPU_DISCOVERY": "",
            "TASK": "",
            "TARBALLS": tarballs,
            **request,
        }
        header = "".join(
            f"GLIDEPOST_{name}={shlex.quote(value)}\n" for name, value in variables.items() if value is not None
        )
        script = f"#!/bin/sh\n{header}{BOOTSTRAP}"
        for name, value in constants.items():
            script, count = re.subn(rf"^{name}=\d+", f"{name}={value}", script, flags=re.MULTILINE)
            assert count == 1, name
        return script

    def start(self, script: str) -> subprocess.Popen[str]:
        """Starts a batch script that comes from standard input."""
        path = self.folder / "script"
        path.write_text(script)
        with path.open() as stdin:
            return subprocess.Popen(
                [*self.account.prefix, *self.shell],
                env={"PATH": "/usr/bin:/bin", **self.env},
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd="/",
            )

    def end(self, process: subprocess.Popen[str], timeout_s: float = 120) -> Ended:
        """Waits for a glidein, and checks what must be so however it ended."""
        try:
            output, _ = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
        assert list(self.scratch.iterdir()) == []
        # (what was killed may take a moment to end)
        assert wait_until(lambda: not processes_in(self.scratch), 5), processes_in(self.scratch)
        assert TOKEN not in output
        assert "eyJ" not in output
        outcomes = self.folder / "outcomes"
        records = [json.loads(path.read_text()) for path in sorted(outcomes.iterdir())]
        assert [path.stem for path in sorted(outcomes.iterdir())] == [record["glidein"] for record in records]
        return Ended(process.returncode, output, records)

    def run(self, tarballs: str, timeout_s: float = 120, **request: Optional[str]) -> Ended:
        return self.end(self.start(self.script(tarballs, request)), timeout_s)

    def run_master(self, master: str, timeout_s: float = 120, **request: Optional[str]) -> Ended:
        """Runs a glidein whose condor_master is these lines."""
        return self.run(self.line(self.pack(master)), timeout_s, **request)

    def call(self, lines: str, **env: str) -> str:
        """Returns what lines print that use the functions of the bootstrap script, with none of its main run."""
        functions = BOOTSTRAP.rpartition("\nmain </dev/null")[0]
        path = self.folder / "call"  # (it is too long for an argument)
        path.write_text(f"{functions}\nglidein=test\n{lines}")
        self.account.give(path, 0o600)
        done = self.account.run([*self.shell, str(path)], env=env, cwd=self.made, timeout_s=120)
        return done.stdout + done.stderr


def processes_in(folder: Path) -> list[str]:
    """Returns the command lines of living processes whose environment or program lies in a folder."""
    found = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):  # gone meanwhile, or another user's
            if process.name.isdigit() and os.fsencode(f"{folder}/") in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text())
    return found


def wait_for(path: Path, timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not path.exists():
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.02)


@pytest.fixture
def node_folder() -> Iterator[Path]:
    # pytest's own folders are not to be entered by anybody but the caller
    folder = Path(tempfile.mkdtemp(prefix="glidepost-test-"))
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture(params=SHELLS)
def node(request: pytest.FixtureRequest, node_folder: Path) -> Node:
    """A node under each shell."""
    return Node(Account.current(), node_folder, command_of(request.param))


@pytest.fixture
def dash_node(node_folder: Path) -> Node:
    """A node under one shell, for what does not depend on the shell."""
    return Node(Account.current(), node_folder, ["dash"])


@pytest.fixture
def kill_when_ready() -> Any:
    """Sends a signal to a glidein once its condor_master has left the file `ready`."""

    def kill(node: Node, process: subprocess.Popen[str], number: int = signal.SIGTERM) -> None:
        wait_for(node.made / "ready")
        process.send_signal(number)

    return kill
