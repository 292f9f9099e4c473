"""What condor_submit says of a submission that it, or the schedd, does not want."""

from __future__ import annotations

import re
from typing import Final, Optional

from .base import Refusal

# From src/condor_utils/submit_utils.cpp and src/condor_submit.V6/submit.cpp; those with a star were seen with 25.14.1.
# Not here: a schedd that cannot be found or reached, which may be there again in a minute.
_NOT_UNDERSTOOD: Final = re.compile(
    r"Parse error in expression"  # * a value that is no ClassAd expression
    r"|Failed to parse command file"  # * a line that is no submit command
    r"|I don't know about the '.*' universe"  # *
    r"|[Ii]nvalid (?:value|submit|\S+ type)"
    r"|is (?:not a valid|an invalid|invalid)"
    r"|must be (?:specified|a|an|one)\b"
    r"|Usage: condor_submit"  # *
)
# * SUBMIT_REQUIREMENT of the schedd: its words follow. Alone it may be a full disk.
_NOT_TAKEN: Final = "Failed to commit job submission into the queue."
# * How many there may be: MAX_JOBS_PER_SUBMISSION of one submission, the others (MAX_JOBS_PER_OWNER,
# MAX_JOBS_SUBMITTED) of all in the queue, which passes by itself.
_TOO_MANY: Final = re.compile(r"would exceed (MAX_JOBS\w*)")
_LONGEST: Final = 300


def refusal(stderr: str) -> Optional[Refusal]:
    """Returns condor_submit's complaint in one line, without the words that begin it; None for other failures."""
    said = _said(stderr)
    words = "; ".join(line for line in said if line not in {_NOT_TAKEN, "Failed to create proc"})[:_LONGEST]
    too_many = _TOO_MANY.search(stderr)
    if too_many:
        return Refusal(words, is_limit=too_many[1] != "MAX_JOBS_PER_SUBMISSION", is_size=True)
    if (_NOT_TAKEN in said and words) or _NOT_UNDERSTOOD.search(words):
        return Refusal(words, is_limit=False)
    return None


def _said(stderr: str) -> list[str]:
    """Returns the paragraphs of what was said: warnings left out, an indented line belongs to the one before."""
    found: list[str] = []
    for line in stderr.splitlines():
        text = " ".join(line.split())
        if not text or text.startswith("WARNING:"):
            continue
        if line[0].isspace() and found:
            found[-1] += f" {text}"
        else:
            found.append(re.sub(r"^ERROR: (?:on Line (\d+) of \S+: ?)?", "", text))
    return list(filter(None, found))
