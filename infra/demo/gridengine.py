"""A real Grid Engine cell of this host: gridengine_up.sh and gridengine_down.sh, driven from Python."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from glidepost.infra.demo.account import CLEAN_ENVIRONMENT, Account, environment, shell_scripts
from glidepost.infra.demo.condor import fetch
from glidepost.infra.demo.ports import hold_free_port
from glidepost.infra.demo.processes import daemons_of, end_daemons, last_lines
from glidepost.schema.errors import BatchError


@dataclass(frozen=True)
class GridEngine:
    """A cell wholly in one folder: eight slots, two GPUs, the queues main.q, and closed.q, which is disabled.

    Everything, the batch jobs too, runs as the account, which is also the cell's manager.
    """

    account: Account
    prefix: Path  # made by get_gridengine.sh
    folder: Path

    def env(self) -> dict[str, str]:
        """Returns the whole environment for qsub, qstat and the like."""
        text = (self.folder / "env.sh").read_text(encoding="utf-8")
        settings = dict(re.findall(r"(SGE_\w+)='?([^\s']+)", text))
        return {**CLEAN_ENVIRONMENT, **settings, "PATH": f"{self.prefix / 'bin'}:{CLEAN_ENVIRONMENT['PATH']}"}

    def start(self) -> None:
        """Starts the daemons and returns when the queue is ready; a running cell is left as it is.

        Raises:
            BatchError: They did not come up.
        """
        if daemons_of(self.folder):
            return
        self.account.make_folder(self.folder)
        self._script("gridengine_up.sh", environment({"GRIDENGINE": self.prefix, "PORT": hold_free_port(1)}))

    def stop(self) -> None:
        """Ends the cell and its batch jobs, whoever started it; nothing to end is no error.

        Raises:
            BatchError: Something is left.
        """
        if daemons_of(self.folder):
            self._script("gridengine_down.sh", {})
        left = end_daemons(self.folder)
        if left:
            raise BatchError(f"could not end the processes {left} of {self.folder}", hint="end them by hand")

    def run(self, argv: Sequence[str], *, stdin: str = "", timeout_s: float = 60) -> str:
        """Returns what a Grid Engine command prints, run as the account.

        Raises:
            BatchError: It failed, or took longer than the time-out in seconds.
        """
        failure = (BatchError, f"is Grid Engine up? It writes to {self.folder / 'spool' / 'messages'}")
        return self.account.output(argv, env=self.env(), stdin=stdin, timeout_s=timeout_s, failure=failure)

    def configure(self, **settings: str) -> None:
        """Changes the cell's global configuration, such as max_u_jobs="3".

        Raises:
            BatchError: Grid Engine does not take it.
        """
        text = self.run(["qconf", "-sconf", "global"])
        for name, value in settings.items():
            text = re.sub(rf"^{name}\s.*$", f"{name} {value}", text, flags=re.MULTILINE)
        path = self.account.make_folder(self.folder / "conf" / "changed") / "global"  # qconf goes by the file's name
        path.write_text(text.replace("#global:\n", ""), encoding="utf-8")
        self.run(["qconf", "-Mconf", str(path)])

    def _script(self, name: str, env: Mapping[str, str]) -> None:
        script = shell_scripts(self.folder.parent / "scripts") / name
        try:
            done = self.account.run(["/bin/sh", str(script), str(self.folder)], env=env, timeout_s=150)
        except subprocess.TimeoutExpired as error:
            raise BatchError(f"{name}: {error}", hint=self._logs()) from error
        if done.returncode != 0:
            raise BatchError(f"{name}: {done.stderr.strip()}", hint=self._logs())

    def _logs(self) -> str:
        names = ("log/console", "log/qconf", "spool/messages", "execd/localhost/messages")
        return f"the logs say\n  {last_lines([self.folder / name for name in names])}"


def get_gridengine(work: Path) -> Path:
    """Returns the prefix of a Grid Engine in the work folder, fetched if need be.

    Raises:
        BatchError: None could be fetched.
    """
    fetch("get_gridengine.sh", work / "gridengine", work / "debs", BatchError)
    return work / "gridengine"
