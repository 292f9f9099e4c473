"""A real HTCondor pool without an execution point: pool.sh, driven from Python."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

from glidepost.infra.demo.account import CLEAN_ENVIRONMENT, Account, environment, shell_scripts
from glidepost.infra.demo.condor import Condor
from glidepost.infra.demo.ports import hold_free_port, hold_port, is_free
from glidepost.infra.demo.processes import daemons_of, end_daemons, last_lines
from glidepost.schema.errors import PoolError

ClassAd = Mapping[str, Union[str, float, Mapping[str, object], Sequence[object], None]]


@dataclass(frozen=True)
class Pool:
    """A central manager and an access point on one address and one port, wholly in one folder.

    Glideins join with a token of the identity `glidein-<site>@<trust domain>`; people are who they are (FS).
    """

    account: Account
    condor: Condor
    folder: Path
    trust_domain: str = "pool.test"
    port: Optional[int] = None  # default: the one of the last time, else a free one
    host: str = "127.0.0.1"

    @property
    def config(self) -> Path:
        """The pool's condor_config, for the account's own clients."""
        return self.folder / "condor_config"

    @property
    def admin_config(self) -> Path:
        """The condor_config for the caller's own clients, which may make tokens.

        HTCondor takes a signing key only from its owner, and root takes no configuration from an ordinary user: so
        root, whose pool is the account's, has both for itself.
        """
        return self._admin_folder / "condor_config" if self.account.prefix else self.config

    @property
    def collector(self) -> str:
        """host:port of the collector, from the pool's folder.

        Raises:
            PoolError: The pool has never been started.
        """
        try:
            return f"{self.host}:{int((self.folder / 'port').read_text())}"
        except (OSError, ValueError) as error:
            raise PoolError(f"{self.folder} holds no pool: {error}", hint="start the pool first") from error

    def env(self) -> dict[str, str]:
        """Returns the whole environment for clients: the pool's configuration, its programs, and who one really is.

        Without FS, a client that can read the signing key makes itself a token and is `condor`, not its user.
        """
        path = os.pathsep.join([str(self.condor.bin), str(self.condor.sbin), CLEAN_ENVIRONMENT["PATH"]])
        return {
            **CLEAN_ENVIRONMENT,
            "CONDOR_CONFIG": str(self.config),
            "PATH": path,
            "_CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS": "FS",
        }

    def start(self) -> None:
        """Starts the daemons and returns when the schedd is in the collector; a running pool is left as it is.

        Raises:
            PoolError: They did not come up.
        """
        if daemons_of(self.folder):
            return
        self.account.make_folder(self.folder)
        settings = environment(
            {
                "CONDOR": self.condor.release,
                "BIN": self.condor.bin,
                "SBIN": self.condor.sbin,
                "LIB": self.condor.lib,
                "LIBEXEC": self.condor.libexec,
                "DOMAIN": self.trust_domain,
                "PORT": self._choose_port(),
                "HOST": self.host,
            }
        )
        self._script("init", settings)
        if self.account.prefix:
            self._prepare_admin()
            self._script("init", {**settings, "PORT": self.collector.rpartition(":")[2]}, admin=True)
        self._script("start")

    def _choose_port(self) -> int:
        """Returns the port that is named, else that of the last time if it still serves, else a free one."""
        if self.port is not None:
            return self.port
        with suppress(PoolError):
            last = int(self.collector.rpartition(":")[2])
            if hold_port(last) or is_free(last):
                return last
        return hold_free_port()

    def stop(self) -> None:
        """Ends the pool, whoever started it; nothing to end is no error.

        Raises:
            PoolError: Something is left.
        """
        if daemons_of(self.folder):
            self._script("stop")
        left = end_daemons(self.folder)
        if left:
            raise PoolError(f"could not end the processes {left} of {self.folder}", hint="end them by hand")

    def run(self, argv: Sequence[str], *, stdin: str = "", timeout_s: float = 60) -> str:
        """Returns what an HTCondor tool prints, run as the account.

        Raises:
            PoolError: It failed, or took longer than the time-out in seconds.
        """
        failure = (PoolError, f"is the pool up? Its logs are in {self.folder / 'log'}")
        return self.account.output(argv, env=self.env(), stdin=stdin, timeout_s=timeout_s, failure=failure)

    def token(self, name: str, lifetime_s: int, authorizations: Sequence[str]) -> str:
        """Returns an IDTOKEN for `name@<trust domain>`, limited to the authorizations (none: all that the name has)."""
        options = [word for level in authorizations for word in ("-authz", level)]
        who = f"{name}@{self.trust_domain}"
        return self.run(
            ["condor_token_create", "-identity", who, "-key", "POOL", "-lifetime", str(lifetime_s), *options]
        ).strip()

    def submit(self, description: str, count: int = 1) -> int:
        """Submits user jobs and returns their cluster's number.

        Args:
            description: A submit description without its `queue` line.
            count: How many.
        """
        text = self.run(["condor_submit", "-terse", "-"], stdin=f"{description}\nqueue {count}\n")
        return int(text.split(".", 1)[0])

    def user_jobs(self, constraint: str = "true") -> list[ClassAd]:
        """Returns the ads of the user jobs in the queue; a job that has completed is no longer there."""
        return _ads(self.run(["condor_q", "-all", "-json", "-constraint", constraint]))

    def slots(self, constraint: str = "true") -> list[ClassAd]:
        """Returns the ads of the slots in the collector."""
        return _ads(self.run(["condor_status", "-json", "-constraint", constraint]))

    def _script(self, command: str, env: Optional[Mapping[str, str]] = None, *, admin: bool = False) -> None:
        script = shell_scripts(self.folder.parent / "scripts") / "pool.sh"
        account = dataclasses.replace(self.account, prefix=()) if admin else self.account
        folder = self._admin_folder if admin else self.folder
        try:
            done = account.run(["/bin/sh", str(script), str(folder), command], env=env, timeout_s=150)
        except subprocess.TimeoutExpired as error:
            raise PoolError(f"pool.sh {command}: {error}", hint=self._logs()) from error
        if done.returncode != 0:
            raise PoolError(f"pool.sh {command}: {done.stderr.strip()}", hint=self._logs())

    @property
    def _admin_folder(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}-admin")

    def _logs(self) -> str:
        log = self.folder / "log"
        logs = [log / name for name in ("console", "MasterLog", "CollectorLog", "SchedLog")]
        return f"the logs say\n  {last_lines(logs)}" if log.is_dir() else f"look at {self.folder}"

    def _prepare_admin(self) -> None:
        passwords, config = self._admin_folder / "passwords.d", self._admin_folder / "config.d"
        for path in (self._admin_folder, passwords, config):
            path.mkdir(mode=0o700, exist_ok=True)
        # Root's tools want a CONDOR_IDS where there is no user `condor`; and root is to be root, not `condor`.
        (config / "admin").write_text(
            f"CONDOR_IDS = {self.account.uid}.{self.account.gid}\nSEC_CLIENT_AUTHENTICATION_METHODS = FS\n"
        )
        key = passwords / "POOL"
        key.touch(mode=0o600)
        key.write_bytes((self.folder / "passwords.d" / "POOL").read_bytes())


def _ads(text: str) -> list[ClassAd]:
    ads: list[ClassAd] = json.loads(text) if text.strip() else []  # none at all is printed as nothing
    return ads
