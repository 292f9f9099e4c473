"""What a batch system is to the site puller: five translations, text in and text out. The puller runs the commands.

To add one, write a module with a subclass of `Backend`, list it in `BACKENDS` (registry.py), record what its commands
print under tests/recorded; the contract suite in tests/backends/test_contract.py does the rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Optional

from glidepost.schema.resources import Resources


class JobState(Enum):
    """Where a batch job is, in HTCondor's words."""

    IDLE = "idle"
    RUNNING = "running"
    HELD = "held"
    GONE = "gone"
    # A word that no manual of ours has. It occupies a place: a strange word must never cause more submissions.
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Command:
    """A command line without its prefix, and what is written to its standard input."""

    argv: tuple[str, ...]
    stdin: str = ""


@dataclass(frozen=True)
class BatchJob:
    """One member of the queue; an array has several. `reason` says why it waits, if the batch system does."""

    batch_id: str
    name: str
    state: JobState
    reason: str = ""


@dataclass(frozen=True)
class QueueLimits:
    """What one queue lets one batch job have, at most; None is no bound, or none that the batch system tells.

    A queue with several kinds of nodes stands once for each. `array_size` is how many members one submission may have.
    """

    queue: str
    is_open: bool
    walltime_s: Optional[int] = None
    cpus: Optional[int] = None
    memory_mib: Optional[int] = None
    array_size: Optional[int] = None


@dataclass(frozen=True)
class GlideinRequest:
    """What one submission asks for.

    `name` becomes the batch job's name: [a-z0-9-], at most 15 characters for old PBS, the same for all members.
    `script` is POSIX sh and complete. `log_folder` exists, for what the glideins print, or is empty for none. `files`
    are on this host (the pool token): batch systems that copy files to the node take them along, others leave them.
    """

    name: str
    resources: Resources
    count: int
    script: str
    log_folder: str = ""
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """A submission that the batch system understood and does not want, in one line of its own words.

    `is_limit`: it will pass by itself, such as so many batch jobs of one user; else a person must change something.
    `is_size`: it is about how many were asked for at once; fewer may be accepted.
    """

    text: str
    is_limit: bool
    is_size: bool = False


class Backend(ABC):
    """One batch system, as translations between our words and its words. Pure: no I/O, no clock, no environment."""

    name: ClassVar[str]
    states: ClassVar[Mapping[str, JobState]]
    programs: ClassVar[tuple[str, ...]] = ()  # what must be on the PATH

    @abstractmethod
    def submission(self, request: GlideinRequest) -> Command:
        """Returns the command that submits `request.count` glideins at once."""

    @abstractmethod
    def parse_submission(self, stdout: str) -> str:
        """Returns the batch id of what was submitted.

        Raises:
            ValueError: when the output holds none.
        """

    @abstractmethod
    def query(self) -> Command:
        """Returns the command that lists all our batch jobs, finished ones left out where that is possible."""

    @abstractmethod
    def parse_query(self, stdout: str) -> Iterator[BatchJob]:
        """Yields one batch job for each member of each array.

        Raises:
            ValueError: when a line is not understood: half an answer is no answer.
        """

    @abstractmethod
    def removal(self, batch_ids: Sequence[str]) -> Command:
        """Returns the command that removes these queued batch jobs, ids as `parse_query` gave them.

        One that runs by now stays, where the batch system can be told so. Some may be gone: the others go all the same.

        Raises:
            ValueError: without ids (some commands would take all), or for one that is not this batch system's.
        """

    def refusal(self, exit_code: int, stderr: str) -> Optional[Refusal]:  # noqa: ARG002 - for those whose words are known
        """Returns why a submission was refused, None when that may be a failure of another kind."""
        return None

    # What only `glidepost puller check` asks. A batch system that cannot say leaves these as they are.

    def limits(self) -> Optional[Command]:
        """Returns the command that tells the limits of this shape's queues, None if this batch system cannot say."""
        return None

    def parse_limits(self, stdout: str) -> tuple[QueueLimits, ...]:
        """Returns those limits; none when there is no such queue.

        Raises:
            ValueError: when the output is not understood.
        """
        raise ValueError(f"{self.name} tells no limits: {stdout[:200]!r}")

    def trial(self, request: GlideinRequest) -> Optional[Command]:  # noqa: ARG002 - for those that can
        """Returns the command that fails where this submission would be refused, and leaves nothing in the queue.

        None where there is no such command.
        """
        return None
