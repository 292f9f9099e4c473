"""A real Slurm of two nodes, two fake GPUs and three partitions: slurm_up.sh and slurm_down.sh, driven from Python."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from glidepost.infra.demo.account import CLEAN_ENVIRONMENT, Account, environment, shell_scripts
from glidepost.infra.demo.condor import fetch
from glidepost.infra.demo.ports import hold_free_port
from glidepost.infra.demo.processes import daemons_of, end_daemons, last_lines
from glidepost.schema.errors import BatchError

PROGRAMS = ("munged", "slurmctld", "slurmd", "slurmstepd", "sbatch")


@dataclass(frozen=True)
class Slurm:
    """A cluster wholly in one folder: partitions main (sn0, sn1; the default), gpu (sn0, two GPUs), closed (down).

    Everything, the batch jobs too, runs as the account. Memory is not enforced.
    """

    account: Account
    prefix: Optional[Path]  # made by get_slurm.sh; None: the installed Slurm
    folder: Path

    def env(self) -> dict[str, str]:
        """Returns the whole environment for sbatch, squeue and the like."""
        path = CLEAN_ENVIRONMENT["PATH"]
        if self.prefix is not None:
            path = os.pathsep.join([str(self.prefix / "bin"), str(self.prefix / "sbin"), path])
        # A deep folder has a short name for its sockets, which the script has chosen.
        short = self.folder / "short"
        folder = Path(short.read_text().strip(), "d") if short.is_file() else self.folder.resolve()
        return {
            **CLEAN_ENVIRONMENT,
            "PATH": path,
            "SLURM_CONF": str(folder / "slurm.conf"),
            "MUNGE_SOCKET": str(folder / "munge" / "socket"),
        }

    def start(self) -> None:
        """Starts the daemons and returns when both nodes are idle; a running cluster is left as it is.

        Raises:
            BatchError: They did not come up.
        """
        if daemons_of(self.folder):
            return
        self.account.make_folder(self.folder)
        self._script("slurm_up.sh", environment({"SLURM": self.prefix, "PORT": hold_free_port(1, 2)}))

    def stop(self) -> None:
        """Ends the cluster and its batch jobs, whoever started it; nothing to end is no error.

        Raises:
            BatchError: Something is left.
        """
        if daemons_of(self.folder):
            self._script("slurm_down.sh", {})
        left = end_daemons(self.folder)
        if left:
            raise BatchError(f"could not end the processes {left} of {self.folder}", hint="end them by hand")

    def run(self, argv: Sequence[str], *, stdin: str = "", timeout_s: float = 60) -> str:
        """Returns what a Slurm command prints, run as the account.

        Raises:
            BatchError: It failed, or took longer than the time-out in seconds.
        """
        failure = (BatchError, f"is Slurm up? Its logs are in {self.folder / 'log'}")
        return self.account.output(argv, env=self.env(), stdin=stdin, timeout_s=timeout_s, failure=failure)

    def _script(self, name: str, env: Mapping[str, str]) -> None:
        script = shell_scripts(self.folder.parent / "scripts") / name
        try:
            done = self.account.run(["/bin/sh", str(script), str(self.folder)], env=env, timeout_s=150)
        except subprocess.TimeoutExpired as error:
            raise BatchError(f"{name}: {error}", hint=self._logs()) from error
        if done.returncode != 0:
            raise BatchError(f"{name}: {done.stderr.strip()}", hint=self._logs())

    def _logs(self) -> str:
        log = self.folder / "log"
        names = ("console", "munged.log", "slurmctld.log", "slurmd-sn0.log", "slurmd-sn1.log")
        return f"the logs say\n  {last_lines([log / name for name in names])}"


def get_slurm(work: Path) -> Optional[Path]:
    """Returns the prefix of a Slurm in the work folder, fetched if need be; None where the installed one must do.

    Raises:
        BatchError: None could be fetched, and none is installed.
    """
    try:
        fetch("get_slurm.sh", work / "slurm", work / "debs", BatchError)
    except BatchError:
        if all(shutil.which(name, path=CLEAN_ENVIRONMENT["PATH"]) for name in PROGRAMS):
            return None
        raise
    return work / "slurm"
