"""What a batch system is to the site puller: five translations, text in and text out. The puller runs the commands.

To add one, write a module with a subclass of `Backend`, list it in `BACKENDS` (registry.py), record what its commands
print under tests/recorded; the contract suite in tests/backends/test_contract.py does the rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

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
class GlideinRequest:
    """What one submission asks for.

    `name` becomes the batch job's name: [a-z0-9-], at most 15 characters for old PBS, the same for all members.
    `script` is POSIX sh and complete. `log_folder` exists, for what the glideins print, or is empty for none.
    """

    name: str
    resources: Resources
    count: int
    script: str
    log_folder: str = ""


class Backend(ABC):
    """One batch system, as translations between our words and its words. Pure: no I/O, no clock, no environment."""

    name: ClassVar[str]
    states: ClassVar[Mapping[str, JobState]]

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
        """Returns the command that removes these queued batch jobs, ids as `parse_query` gave them."""
