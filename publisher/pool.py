"""The pool as the publisher asks it: census, in a child process with a time-out, and tokens. The only subprocess."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeVar

import msgspec

from glidepost.schema.errors import PoolError
from glidepost.schema.publisher_config import PublisherConfig

from . import tokens
from .census import Answer, Counters, Row, ScheddAnswer, Slot, metrics

CENSUS_COMMAND: Final = (sys.executable, "-m", "glidepost.publisher.schedd")
_MOST_AT_ONCE: Final = 32
_HINT: Final = "is CONDOR_CONFIG right, and does condor_status -schedd answer here?"
# (nor any token of this host)
_TOKEN_ALONE: Final = MappingProxyType(
    {
        "_CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS": "IDTOKENS",
        "_CONDOR_SEC_TOKEN_DIRECTORY": os.devnull,
        "_CONDOR_SEC_TOKEN_SYSTEM_DIRECTORY": os.devnull,
    }
)
AnswerType = TypeVar("AnswerType")


@dataclass(frozen=True)
class Location(Counters):
    """A schedd that the collector knows; `ad` is the text of the ClassAd that says where it is."""

    name: str = ""
    ad: str = "[]"


@dataclass(frozen=True)
class Located:
    """The schedds that are to be asked."""

    schedds: tuple[Location, ...]


@dataclass(frozen=True)
class Counted:
    """The idle user jobs of one schedd, and which attributes of slots their Requirements name."""

    rows: tuple[Row, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Seen:
    """The slots in the collector, and how many user jobs run in our glideins."""

    slots: tuple[Slot, ...]
    running_inside: int


@dataclass(frozen=True)
class Daemon:
    """A daemon of the pool; `kind` is "collector", "negotiator" or "schedd"."""

    kind: str
    name: str
    address: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Daemons:
    """Whom the holder of a pool token could ask something."""

    daemons: tuple[Daemon, ...]


@dataclass(frozen=True)
class Granted:
    """What the pool lets the holder of a token do: whom it may read, and which collectors let its glideins in."""

    reads: tuple[Daemon, ...]
    joins: tuple[Daemon, ...]


class Pool:
    """One HTCondor pool, seen from its access point. `census_command` answers as schedd.py does."""

    def __init__(self, config: PublisherConfig, *, census_command: Sequence[str] = CENSUS_COMMAND) -> None:
        self._config = config
        self._census_command = tuple(census_command)

    def ask(self) -> Answer:
        """Returns what the schedds of the pool and its collector say now; a schedd that does not says why.

        Raises:
            PoolError: when the collector does not answer, knows no schedd, or the time is over.
        """
        wanted = self._config.census.schedds
        located = self._child({"ask": "collector", "schedds": wanted}, Located).schedds
        missing = set() if isinstance(wanted, str) else set(wanted) - {schedd.name for schedd in located}
        if not located and not missing:
            raise PoolError(
                "census: the collector knows no schedd", hint="is the access point up? condor_status -schedd"
            )
        with ThreadPoolExecutor(_MOST_AT_ONCE) as threads:
            counted = list(threads.map(self._count, located))
        answers = [answer for answer, _ in counted]
        answers += [ScheddAnswer(name, (), "it is not in the collector") for name in missing]
        names = sorted({name for _, named in counted for name in named})
        seen = self._child({"ask": "slots", "names": names}, Seen)
        return Answer(
            schedds=tuple(sorted(answers, key=lambda answer: answer.name)),
            slots=seen.slots,
            metrics=metrics(located, seen.slots, running_inside=seen.running_inside),
        )

    def condor_version(self) -> str:
        """Returns the version of the oldest schedd that the collector knows, such as "25.14.1".

        Raises:
            PoolError: when the collector does not answer, or no schedd says its version.
        """
        located = self._child({"ask": "collector", "schedds": "all"}, Located).schedds
        found: list[str] = []
        for schedd in located:
            found += re.findall(r"CondorVersion: (\d+(?:\.\d+)+)", schedd.ad)
        if not found:
            raise PoolError("census: no schedd says its version", hint="does condor_status -schedd -long name it?")
        return min(found, key=lambda version: tuple(map(int, version.split("."))))

    def _count(self, schedd: Location) -> tuple[ScheddAnswer, tuple[str, ...]]:
        """Returns one schedd's rows, and the attributes of slots that they name; an error is its answer."""
        request = {"ask": "schedd", "location": schedd.ad, "min_idle_s": self._config.census.min_idle_s}
        try:
            counted = self._child(request, Counted)
        except PoolError as error:
            return ScheddAnswer(schedd.name, (), error.what), ()
        return ScheddAnswer(schedd.name, counted.rows, None), counted.names

    def _child(
        self, request: Mapping[str, object], kind: type[AnswerType], settings: Mapping[str, str] = MappingProxyType({})
    ) -> AnswerType:
        census = self._config.census
        environment = self._environment()
        if census.token_directory:
            environment["_CONDOR_SEC_TOKEN_DIRECTORY"] = census.token_directory
        environment.update(settings)
        try:
            done = subprocess.run(
                self._census_command,
                input=msgspec.json.encode(request),
                capture_output=True,
                env=environment,
                timeout=census.timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise PoolError(
                f"census: no answer within {census.timeout_s} s", hint=f"{_HINT} Or raise [census] timeout"
            ) from error
        if done.returncode:
            raise PoolError(f"census: {_last_line(done.stderr)}", hint=_HINT)
        try:
            return msgspec.json.decode(done.stdout, type=kind)
        except msgspec.MsgspecError as error:
            raise PoolError(f"census: {error}", hint="this is a bug in Glidepost: please report it") from error

    def token(self, site: str) -> str:
        """Returns a new pool token for the glideins of one site.

        Raises:
            ConfigError: when the tool or the key that makes tokens is not there.
            PoolError: when the tool refuses.
        """
        return tokens.maker(self._config).token(site)

    def granted(self, token: str) -> Granted:
        """Returns what the collector, the negotiator and the schedds let the holder of a token do.

        Raises:
            PoolError: when the collector does not answer us, or the time is over.
        """
        daemons = self._child({"ask": "daemons"}, Daemons).daemons
        return self._child({"ask": "granted", "token": token, "daemons": daemons}, Granted, _TOKEN_ALONE)

    def _environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        if self._config.pool.condor_config:
            environment["CONDOR_CONFIG"] = self._config.pool.condor_config
        return environment


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it failed and said nothing"
