"""Why Grid Engine refuses a submission, read from what qsub writes to standard error."""

from __future__ import annotations

import re
from typing import Final, Optional

from .base import Refusal

# Parts of what qsub says of a submission that a person must change. Those with a star were seen with SoGE 8.1.9, the
# rest are further texts of its qmaster (msg_qmaster.h). Not here: "Error reading answer list from qmaster", which may
# be a bad moment, and what a site's job verifier (JSV) says, which is anything.
_PERMANENT: Final = (
    r"requests unknown queue",  # *
    r"no suitable queues",  # * -w e: walltime, memory, GPUs, slots or a resource quota that no queue fulfils
    r"the requested (parallel|checkpointing) environment .* does not exist",  # *
    r"the requested project .* does not exist",  # *
    r"no access to project",
    r"project .* is not allowed to submit jobs",
    r"no project (was supplied|assigned)",
    r"unknown resource",  # *
    r"attribute .* is not (a|an) \w+ value",  # *
    r"soft requests on consumables",
    r"is an invalid task id",  # *
    r"not allowed in objectname",  # *
    r"is not a valid object name",  # *
    r"is not allowed to submit jobs",
    r"is not a deadline initiation user",  # *
    r"your (user|group) id .* is lower than minimum",
    r"the user .* does not exist",
    r"no matching department for",
    r"positive submission priority requires operator",
    r"is not a submit host|is neither submit nor admin host",
    r"can't resolve hostname|two files are specified for the same host",  # * a path with ":" or ","
)
# Exit codes 2 and 7: an option in `extra` that qsub itself does not understand. (seen with 8.1.9)
_NOT_UNDERSTOOD: Final = re.compile(r"^qsub: (?!warning)(?P<text>.+)$", re.MULTILINE)
_TOO_MANY: Final = re.compile(r"more than \d+ tasks")  # * max_aj_tasks
# * max_u_jobs and max_jobs. An array counts as one there, so that to ask for fewer members would change nothing.
_PASSING: Final = re.compile(r"only \d+ jobs are allowed per (user|cluster)")
_TRY_LATER: Final = 25  # * with these (and only with these)
_REASON: Final = re.compile(
    r"^Unable to run job: (?:[jJ]ob (?:was )?rejected(?: because|:) |error: |denied: )?(?P<text>.+)$"
)


def refusal(exit_code: int, stderr: str) -> Optional[Refusal]:
    """Returns what qsub says, without what it says each time, None when it is no known refusal."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    reasons = [match["text"] for match in map(_REASON.match, lines) if match]
    if not reasons:
        said = _NOT_UNDERSTOOD.search(stderr)
        return Refusal(said["text"].strip(), is_limit=False) if said and exit_code in {2, 7} else None
    # With -w v, what does not fit stands in the first line, and the rest in those that follow.
    text = "; ".join([reasons[-1], *(line for line in lines if line.startswith("Job "))])
    if _PASSING.search(text) or exit_code == _TRY_LATER:
        return Refusal(text, is_limit=True)
    if _TOO_MANY.search(text):
        return Refusal(text, is_limit=False, is_size=True)
    if any(re.search(words, stderr) for words in _PERMANENT):
        return Refusal(text, is_limit=False)
    return None
