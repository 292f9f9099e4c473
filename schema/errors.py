"""Every error that a person may meet, as one tree.

::

    GlidepostError                exit 1   something went wrong; the next cycle may succeed
      ConfigError                 exit 2   a file or option that a person wrote needs changing
      UntrustedDocument           exit 3   a document is forged, expired, older than one already seen, or malformed
      StoreError                  exit 1   the object store did not answer, or refused
      PoolError                   exit 1   a schedd, the collector or an HTCondor tool failed
      BatchError                  exit 1   the site's batch system
        CommandFailed                      a command ended with an error, timed out, or is not installed
          Refused                          the batch system read a submission and said no
        UnreadableOutput                   a command succeeded and said something we do not understand

Each carries what happened, in the words of the part that failed, and a hint that says what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar


class GlidepostError(Exception):
    """What went wrong and what to do about it.

    Args:
        what: One line: the file, command or document concerned, and what it really said.
        hint: What the reader can do next.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, hint: str) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


def exit_code(errors: Iterable[GlidepostError]) -> int:
    """Returns the exit code of the gravest of some errors, 0 without any."""
    return max((error.exit_code for error in errors), default=0)


class ConfigError(GlidepostError):
    """A configuration file, key or option that must be changed by hand."""

    exit_code: ClassVar[int] = 2


class UntrustedDocument(GlidepostError):  # noqa: N818 - the name says more than UntrustedDocumentError
    """A document that must not be acted on: its signature, kind, age, sequence or form is wrong."""

    exit_code: ClassVar[int] = 3


class StoreError(GlidepostError):
    """The object store cannot be reached, or refused."""


class PoolError(GlidepostError):
    """HTCondor: a schedd, the collector or a tool failed or timed out."""


class BatchError(GlidepostError):
    """The site's batch system failed."""


class CommandFailed(BatchError):  # noqa: N818 - as documented above
    """A batch command ended with an error, timed out, or could not be started.

    `said` is the batch system's own line, without the command.
    """

    def __init__(self, what: str, *, hint: str, said: str = "") -> None:
        super().__init__(what, hint=hint)
        self.said = said or what


class Refused(CommandFailed):
    """A submission that the batch system understood and does not want.

    `is_limit` tells a limit that passes by itself (so many batch jobs of one user) from what a person must change: an
    account, a queue, a size. `is_size` tells that it is about how many were asked for at once: fewer may be accepted.
    """

    def __init__(self, what: str, *, hint: str, is_limit: bool, is_size: bool = False, said: str = "") -> None:
        super().__init__(what, hint=hint, said=said)
        self.is_limit = is_limit
        self.is_size = is_size


class UnreadableOutput(BatchError):  # noqa: N818 - as documented above
    """A batch command printed something that its backend does not understand."""
