"""The pool as the publisher asks it: census, in a child process with a time-out, and tokens. The only subprocess."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from glidepost.schema.errors import ConfigError, PoolError
from glidepost.schema.publisher_config import PublisherConfig

from .census import Answer

CENSUS_COMMAND: Final = (sys.executable, "-m", "glidepost.publisher.schedd")
_TOKEN_AUTHORIZATIONS: Final = ("READ", "ADVERTISE_STARTD", "ADVERTISE_MASTER")


class Pool:
    """One HTCondor pool, seen from its access point. `census_command` answers as schedd.py does."""

    def __init__(self, config: PublisherConfig, *, census_command: Sequence[str] = CENSUS_COMMAND) -> None:
        self._config = config
        self._census_command = tuple(census_command)

    def ask(self) -> Answer:
        """Returns what all schedds of the pool and its collector say now.

        Raises:
            PoolError: when the collector does not answer, knows no schedd, or the time is over.
        """
        census = self._config.census
        request = msgspec.json.encode({"collector": None, "min_idle_s": census.min_idle_s})
        hint = "is CONDOR_CONFIG right, and does condor_status -schedd answer here?"
        try:
            done = subprocess.run(
                self._census_command,
                input=request,
                capture_output=True,
                env=self._environment(),
                timeout=census.timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise PoolError(
                f"census: no answer within {census.timeout_s} s", hint=f"{hint} Or raise [census] timeout"
            ) from error
        if done.returncode:
            raise PoolError(f"census: {_last_line(done.stderr)}", hint=hint)
        try:
            answer = msgspec.json.decode(done.stdout, type=Answer)
        except msgspec.MsgspecError as error:
            raise PoolError(f"census: {error}", hint="this is a bug in Glidepost: please report it") from error
        if not answer.schedds:
            raise PoolError(
                "census: the collector knows no schedd", hint="is the access point up? condor_status -schedd"
            )
        return answer

    def token(self, site: str) -> str:
        """Returns a new pool token for the glideins of one site.

        Raises:
            ConfigError: when condor_token_create is not installed here.
            PoolError: when it refuses.
        """
        pool = self._config.pool
        tool = str(Path(pool.condor_bin) / "condor_token_create") if pool.condor_bin else "condor_token_create"
        command = [tool, "-identity", f"glidein-{site}@{pool.trust_domain}", "-key", pool.token_key]
        command += [word for level in _TOKEN_AUTHORIZATIONS for word in ("-authz", level)]
        command += ["-lifetime", str(self._config.glidein.token_life_s)]
        try:
            done = subprocess.run(
                command, capture_output=True, env=self._environment(), timeout=30, check=False, stdin=subprocess.DEVNULL
            )
        except OSError as error:
            raise ConfigError(
                f"{tool} cannot be run: {error.strerror}", hint="set [pool] condor_bin to HTCondor's bin folder"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise PoolError(f"{tool}: no answer within 30 s", hint="try it by hand") from error
        token = done.stdout.decode(errors="replace").strip()
        if done.returncode or not re.fullmatch(r"[\w-]+(\.[\w-]+){2}", token, re.ASCII):
            raise PoolError(
                f"{' '.join(command)}: {_last_line(done.stderr)}",
                hint=f"it must be run by a user who can read the pool's signing key {pool.token_key}",
            )
        return token

    def _environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        if self._config.pool.condor_config:
            environment["CONDOR_CONFIG"] = self._config.pool.condor_config
        return environment


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it failed and said nothing"
