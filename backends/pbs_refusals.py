"""Why PBS Pro, OpenPBS and Torque refuse a submission, read from what qsub writes to standard error.

Their words are in src/lib/Liblog/pbs_messages.c (openpbs, commit b62b69f) and src/include/pbs_error_db.h (torque,
commit 029d81f). Those with a star were seen with OpenPBS 23.06 or Torque 6.1.3. The exit code is the number of the
error modulo 256, and says less than the words. Not here, because they may be a bad moment of a daemon or of the
directory server: "Bad UID for job execution", "Invalid credential", "Server shutting down", "Batch protocol error",
"Resource temporarily unavailable", and words that a site's hook or filter made up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Optional

from .base import Refusal

# What a person must change, in the words of both.
_COMMON: Final = (
    "Access from host not allowed",
    "Access to queue is denied",
    "Bad GID for job execution",  # * a group of -W group_list that is not the user's
    "Cannot set attribute, read only or insufficient permission",
    "Illegal attribute or resource value",  # *
    "Invalid Account",
    "Job rejected by all possible destinations",  # a routing queue
    "No default queue specified",
    "Queue is not enabled",  # * a closed queue; one that is stopped takes them
    "Resource limit exceeds allowable",
    "Unauthorized Request",
    "Undefined attribute",
    "Unknown queue",  # *
    "Unknown resource",  # *
    "illegal -",  # an option's value
    "invalid option --",
    "requires an argument --",
)
_PBS: Final = (
    *_COMMON,
    'Cannot have "place" without "select"',
    "Cannot be used with select or place",  # * nodes
    "Job violates queue and/or server resource limits",  # *
    'Resource invalid in "select" specification',
    "attribute value is out of range",
    "cannot be used with",  # * -l mem beside select
    "cannot submit non-rerunable Array Job",
    "duplicated resource within a section of a select specification",
    "name is too long",
    "node(s) specification error",  # * gpus= in nodes
)
_TORQUE: Final = (
    *_COMMON,
    "Job exceeds queue resource limits",  # *
    "Queue does not allow",  # batch jobs, arrays, or those that cannot be run again
    "Your job has been administratively rejected by the queueing system",  # the site's submit filter
)
# Fewer at once may be accepted.
_PBS_SIZE: Final = "Array job exceeds server or queue size limit"  # *
_TORQUE_SIZE: Final = "Bad Job Array Request"  # max_job_array_size, max_slot_limit
# What passes by itself, all of it about how many there are.
_PASSING: Final = re.compile(r"would exceed .*limit|Maximum number of jobs .*already in")

_USAGE: Final = 2  # the exit code of an option that is not understood


def pbs(exit_code: int, stderr: str) -> Optional[Refusal]:
    """Returns why qsub of PBS refused, in one line of its words; None when they are no known refusal."""
    is_usage = exit_code == _USAGE and "usage: qsub" in stderr
    return _refusal(_said(stderr), _PBS, _PBS_SIZE, is_usage=is_usage)


def torque(exit_code: int, stderr: str) -> Optional[Refusal]:
    """Returns why qsub of Torque refused, in one line of its words; None when they are no known refusal."""
    said = re.sub(r"submit error \((.*)\)", r"\1", _said(stderr))
    is_usage = exit_code == _USAGE and "usage: qsub" in stderr
    return _refusal(said, _TORQUE, _TORQUE_SIZE, is_usage=is_usage)


def _said(stderr: str) -> str:
    """Returns the lines that qsub begins with its name, or puts in brackets; of mere usage, its first line."""
    lines = re.findall(r"^(?:qsub: |\[(?=.*\]$)(?:qsub: )?)(.+?)\]?$", stderr, re.MULTILINE)
    return "; ".join(line.strip() for line in lines[-2:]) or "".join(re.findall(r"\Ausage: qsub.*", stderr)[:1])


def _refusal(said: str, permanent: Sequence[str], size: str, *, is_usage: bool) -> Optional[Refusal]:
    if size in said:
        return Refusal(said, is_limit=False, is_size=True)
    if _PASSING.search(said):
        return Refusal(said, is_limit=True, is_size=True)
    if is_usage or any(words in said for words in permanent):
        return Refusal(said, is_limit=False)
    return None
