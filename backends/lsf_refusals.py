"""Why LSF refuses a submission, read from what bsub writes to standard error."""

from __future__ import annotations

import re
from typing import Final, Optional

from .base import Refusal

_NOT_SUBMITTED: Final = "Job not submitted."

# The library's words (lsb_errmsg of lsbatch/lib/lsb.err.c of openlava, which IBM's LSF has too) for what a person must
# change. Those with a star were seen with openlava 2.2. Not here: "Unknown user", which may be a directory server's bad
# moment, and all that is about daemons, connections and memory.
_PERMANENT: Final = (
    "Application profile",  # IBM, with -app
    "Bad GPU requirement",  # IBM, with -gpu
    "Bad argument",
    "Bad host name, host group name or cluster name",
    "Bad host specification",  # -W M/HOST
    "Bad job name",
    "Bad resource name",
    "Bad resource requirement syntax",  # *
    "Bad time specification",
    "Bad user group name",  # -G
    "Cannot exceed queue's hard limit(s)",  # * -W, -M
    "Cannot exceed queue's resource reservation",
    "Empty job",
    "Host or host group is not used by the queue",
    "Invoker is not in specified project group",
    "Job array index error",
    "Job array index too large",  # *
    "No such application profile",
    "No such queue",  # *
    "No such user/host group",
    "Not enough host(s) currently eligible",
    "Queue does not accept EXCLUSIVE jobs",  # -x
    "Queue does not have enough per-host job slots",  # more than the limit lets one have, with none running
    "Queue does not have enough per-processor job slots",
    "Queue does not have enough per-user job slots",
    "Queue has been closed",
    "Queue name must be specified",
    "Queue only accepts interactive jobs",
    "Request aborted by esub",  # the site's own check; it says why in the lines before
    "Request from non-LSF host rejected",
    "Root job submission is disabled",
    "Too few processors requested",
    "Too many processors requested",  # *
    "User cannot use the queue",  # *
    "User not in the specified user group",
    "User or one of user's groups does not have enough job slots",
    "User permission denied",
)
_TOO_LONG_ARRAY: Final = "Job array index too large"
# What bsub itself does not understand: an option in `extra`, or a value.
_NOT_UNDERSTOOD: Final = re.compile(
    r"[Ii]llegal option|[Uu]nrecognized option|requires an argument|^Usage: +bsub|Bad argument for option"
    r"|Bad \w+LIMIT specification|MEMLIM(?:I)?T value|should be a positive integer|\w+LIMIT value is too big"
    r"|project name too long|File name too long|option was used more than once|More than one host_spec",
    re.MULTILINE,
)
# MAX_PEND_JOBS of a user or of the cluster (lsb.users, lsb.params): fewer may still fit.
_FULL: Final = re.compile(
    r"[Pp]ending job (?:slot )?threshold|reached its (?:pending )?job limit|No job Id can be used now"
)


def refusal(stderr: str) -> Optional[Refusal]:
    """Returns what bsub said, without "Job not submitted.", None when that is no refusal that we know."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if not lines:
        return None
    full = [line for line in lines if _FULL.search(line)]
    if full:
        return Refusal(_plain(full[-1]), is_limit=True, is_size=True)
    text = _plain(lines[-1])
    if any(words in text for words in _PERMANENT):
        if "esub" in text and len(lines) > 1:
            text = f"{lines[-2]}; {text}"
        return Refusal(text, is_limit=False, is_size=_TOO_LONG_ARRAY in text)
    problem = next((line for line in lines if _NOT_UNDERSTOOD.search(line)), None)
    return None if problem is None else Refusal(_plain(problem), is_limit=False)


def _plain(line: str) -> str:
    return line.replace(_NOT_SUBMITTED, "").rstrip(" .")
