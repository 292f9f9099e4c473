"""The site's batch system, asked and told: the only subprocess of the puller. Every command has a time-out."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final, Optional

from glidepost.backends import registry
from glidepost.backends.base import Backend, BatchJob, Command, GlideinRequest, Refusal
from glidepost.schema.errors import BatchError, CommandFailed, Refused, UnreadableOutput
from glidepost.schema.puller_config import PullerConfig

TIMEOUT_S: Final = 60
# Batch systems have been seen to give up on longer lists.
_REMOVED_AT_ONCE: Final = 200

# What a login shell or an outer batch job set for itself must not change what we submit.
_FOREIGN: Final = ("SBATCH_", "SLURM_", "SQUEUE_", "SCANCEL_", "SINFO_", "PBS_", "SGE_", "LSB_", "BSUB_")
# What says where the batch system is, and who we are to it.
_KEPT: Final = frozenset(
    {"SLURM_CONF", "SLURM_JWT", "SGE_ROOT", "SGE_CELL", "SGE_QMASTER_PORT", "SGE_EXECD_PORT"}
    | {"PBS_SERVER", "PBS_DEFAULT", "PBS_CONF_FILE"}
)

# What a client says that gave up on a server, which may go on with the submission: sbatch's "Socket timed out".
_UNCERTAIN: Final = re.compile(r"timed?[ -]?out|connection (reset|closed|lost)|broken pipe", re.IGNORECASE)
_TO_CHANGE: Final = (
    "change the shape in puller.toml, or ask those who run the batch system; then: glidepost puller resume"
)
_SSH_FAILED: Final = 255  # ssh(1): "or with 255 if an error occurred"

Run = Callable[..., "subprocess.CompletedProcess[str]"]
_Refusal = Callable[[int, str], Optional[Refusal]]


@dataclass(frozen=True)
class Answer:
    """What a batch system said of this user's batch jobs.

    Complete without an `error`. With one, `jobs` are those of a part of the queue, or none: then nobody knows.
    """

    jobs: tuple[BatchJob, ...]
    error: Optional[BatchError] = None

    @property
    def is_partial(self) -> bool:
        """Whether something was said, and not all."""
        return self.error is not None and bool(self.jobs)


class LostAnswer(CommandFailed):
    """A submission without a clear answer: the batch system may have accepted it."""


class _Interrupted(CommandFailed):
    """A command that may have done its work without our knowing."""


class Queue:
    """One batch system as one user sees it. `prefix` is put before every command, such as ("ssh", "login01")."""

    def __init__(
        self, backend: Backend, prefix: Sequence[str] = (), *, timeout_s: int = TIMEOUT_S, run: Optional[Run] = None
    ) -> None:
        self.backend = backend
        self._prefix = tuple(prefix)
        self._timeout_s = timeout_s
        self._run = run or run_apart

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for queues that give the same answer, so that one query serves several shapes."""
        return (self._prefix, self.backend.query())

    def count(self) -> Answer:
        """Returns this user's batch jobs as far as the batch system says; not to know is an answer too."""
        command = self.backend.query()
        try:
            output = self._execute(command)
        except BatchError as error:
            return Answer((), error)
        jobs: list[BatchJob] = []
        try:
            jobs.extend(self.backend.parse_query(output))
        except ValueError as error:
            unreadable = UnreadableOutput(
                f"{self._shown(command)}: {error}", hint="run it by hand; if it looks right, report it as a bug"
            )
            return Answer(tuple(jobs), unreadable)
        return Answer(tuple(jobs))

    def submit(self, request: GlideinRequest) -> str:
        """Returns the batch id of a submission.

        Raises:
            LostAnswer: when it may have been accepted all the same.
            Refused: when the batch system does not want it.
            BatchError: when it failed for another reason.
        """
        command = self.backend.submission(request)
        try:
            output = self._execute(command, self.backend.refusal)
        except _Interrupted as error:
            hint = "the next cycles look for it in the queue by its name, and count it until then"
            raise LostAnswer(error.what, hint=hint) from error
        try:
            return self.backend.parse_submission(output)
        except ValueError as error:
            raise LostAnswer(
                f"{self._shown(command)}: {error}", hint="the next cycles look for it in the queue by its name"
            ) from error

    def ask(self, command: Command) -> str:
        """Returns what a command prints that changes nothing, such as a backend's `limits`.

        Raises:
            BatchError: when it fails, does not end in time, or is not there.
        """
        return self._execute(command)

    def try_out(self, command: Command) -> None:
        """Runs a backend's `trial`.

        Raises:
            Refused: when the submission would be refused, as `submit` does.
            BatchError: when the trial failed for another reason.
        """
        self._execute(command, self.backend.refusal)

    def remove(self, batch_ids: Sequence[str]) -> None:
        """Removes queued batch jobs, some hundreds with each command.

        Raises:
            BatchError: when a command failed; one that has ended meanwhile is reason enough for some.
        """
        for start in range(0, len(batch_ids), _REMOVED_AT_ONCE):
            self._execute(self.backend.removal(batch_ids[start : start + _REMOVED_AT_ONCE]))

    def _execute(self, command: Command, refusal: _Refusal = lambda _code, _text: None) -> str:
        shown = self._shown(command)
        try:
            done = self._run(
                self._argv(command),
                stdin=command.stdin,
                env=clean_environment(os.environ),
                timeout_s=self._timeout_s,
            )
        except subprocess.TimeoutExpired as error:
            raise _Interrupted(
                f"{shown}: no answer within {self._timeout_s} s",
                hint="the batch system is slow or down; nothing was lost",
            ) from error
        except OSError as error:
            raise CommandFailed(
                f"{shown}: {error.strerror}", hint="is the batch system's client installed here, and in cron's PATH?"
            ) from error
        if done.returncode:
            was_lost = done.returncode < 0 or _UNCERTAIN.search(done.stderr)
            refused = None if was_lost else refusal(done.returncode, done.stderr)
            if refused:
                hint = "it is tried again by itself" if refused.is_limit else _TO_CHANGE
                what = f"{shown}: {refused.text} (exit {done.returncode})"
                raise Refused(what, hint=hint, is_limit=refused.is_limit, is_size=refused.is_size, said=refused.text)
            kind = _Interrupted if self._is_uncertain(done) else CommandFailed
            said = _last_line(done.stderr)
            raise kind(f"{shown}: {said} (exit {done.returncode})", hint="run it by hand", said=said)
        return done.stdout

    def _is_uncertain(self, done: subprocess.CompletedProcess[str]) -> bool:
        was_cut = done.returncode < 0 or (self._is_remote and done.returncode == _SSH_FAILED)
        return was_cut or _UNCERTAIN.search(done.stderr) is not None

    @property
    def _is_remote(self) -> bool:
        return bool(self._prefix) and PurePath(self._prefix[0]).name == "ssh"

    def _argv(self, command: Command) -> list[str]:
        if self._is_remote:
            # ssh hands one string to a shell at the other side
            return [*self._prefix, shlex.join(command.argv)]
        return [*self._prefix, *command.argv]

    def _shown(self, command: Command) -> str:
        """Returns the command as one can paste it, long scripts left out."""
        words = (word if len(word) < 200 else "..." for word in self._argv(command))
        return " ".join(shlex.quote(word) for word in words)


def run_apart(
    argv: Sequence[str], *, stdin: str, env: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Returns what a command said, run in a process group of its own.

    All of the group ends with the time-out: the clients of LSF try for ever, and each cycle would leave some behind.

    Raises:
        subprocess.TimeoutExpired: when it has not ended by then.
        OSError: when it cannot be started.
    """
    with subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        env=env,
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(stdin, timeout=timeout_s)
        except BaseException:  # the time-out, and whatever ends the puller meanwhile
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(argv, process.returncode, stdout, stderr)


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns an environment in which batch commands do what they are told, in English."""
    kept = {name: value for name, value in environment.items() if name in _KEPT or not name.startswith(_FOREIGN)}
    return {**kept, "LC_ALL": "C"}


def _last_line(text: str) -> str:
    """Returns the last line that says something; Grid Engine's qsub ends each of its errors with "Exiting."."""
    lines = [line.strip() for line in text.splitlines() if line.strip() not in {"", "Exiting."}]
    return lines[-1] if lines else "it said nothing"


def open_queues(config: PullerConfig) -> dict[str, Queue]:
    """Returns each shape's batch system.

    Raises:
        ConfigError: when a backend does not know an option.
    """
    return {
        shape.name: Queue(registry.create(shape.backend, shape.options), shape.command_prefix)
        for shape in config.shapes
    }
