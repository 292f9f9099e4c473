"""The JSON in which PBS Pro and OpenPBS list batch jobs, read although it may be spoilt by anybody's batch job.

PBS writes values as they are: a number such as .5, a quote at the beginning, a backslash at the end make the document
of all of them invalid (openpbs issues 1255 and 2541, pull requests 2049 and 2603). Each value is on a line of its own,
so what is no JSON there becomes a text, and everything around it must be JSON still.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

_KEY: Final = re.compile(r'\s*"[^"\\]*"\s*:\s*')
_BATCH_ID: Final = re.compile(r"\d+(\[\d*\])?\.")


def jobs_of(account: str, text: str) -> Mapping[str, Mapping[str, Any]]:
    """Returns the attributes of an account's batch jobs by their ids; numbers are texts.

    Raises:
        ValueError: when it is not such a document, or not whole.
    """
    whole = "\n".join(map(_mended, text.split("\n")))
    document = json.loads(whole, object_pairs_hook=_once, parse_float=str, parse_int=str, parse_constant=str)
    is_list = isinstance(document, dict) and "pbs_version" in document
    jobs = document.get("Jobs", {}) if is_list else None  # no such key when there are none
    if not isinstance(jobs, dict):
        raise ValueError(f"not a list of qstat: {text[:200]!r}")  # noqa: TRY004 - what every answer of this kind raises
    return {batch_id: job for batch_id, job in jobs.items() if _owner(batch_id, job) == account}


def _mended(line: str) -> str:
    """Returns a line with a value, made JSON; any other line as it is."""
    match = _KEY.match(line)
    value = line[match.end() :].rstrip() if match else ""
    if match is None or not value or value in "{[":
        return line
    comma = "," if value[-1] == "," else ""
    value = value[:-1] if comma else value
    try:
        json.loads(value)
    except ValueError:
        bare = value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
        return f"{match[0]}{json.dumps(bare)}{comma}"
    return line


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Returns an object in which no batch job stands twice: who could write a second one could hide the first."""
    found = dict(pairs)
    if len(found) != len(pairs) and any(_BATCH_ID.match(key) for key in found):
        raise ValueError("one batch job stands twice in what qstat printed")
    return found


def _owner(batch_id: str, job: object) -> str:
    """Returns the account of a batch job, of its Job_Owner "account@host".

    Raises:
        ValueError: when it has no owner or no state.
    """
    if not isinstance(job, dict) or "job_state" not in job or "@" not in str(job.get("Job_Owner", "")):
        raise ValueError(f"batch job {batch_id[:50]!r} without owner or state")
    return str(job["Job_Owner"]).rpartition("@")[0]
