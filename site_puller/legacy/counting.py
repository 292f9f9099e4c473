"""What a site's `running_cmd` and `idle_cmd` counted: each site wrote its own pipe, with a meaning of its own.

Glidepost counts by itself, from one bulk query; the old pipes only say what the site's limits were limits of.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

ALL: Final = "all"
RUNNING: Final = "running"
CORES: Final = "cores"

# Words by which a command, or a grep behind it, lets only running batch jobs through.
_RUNNING: Final = (
    r"-t\s*R(UNNING)?\b",
    r"--states?[= ]\s*R(UNNING)?\b",
    r"grep\s+(-\S+\s+)*[\"']\s*R\s+[\"']",
    r"grep\s+(-\S+\s+)*[\"']\s+R\s*[\"']",
    r"grep\s+(-\S+\s+)*[\"']?\b(RUN|RUNNING|Running)\b",
    r"\bqstat\b[^|;]*\s-r\b",
    r"\bqstat\b[^|;]*\s-s\s+r\b",
    r"\bshowq\b[^|;]*\s-r\b",
    r"\bbjobs\b[^|;]*\s-r\b",
    r"JobStatus\s*=[=?]=?\s*2\b",
    r"\bcondor_q\b[^|;]*\s-run\b",
)
_USERS: Final = (
    r"(?:^|\s)-u\s*([\w.$-]+)",
    r"--users?[= ]\s*([\w.$-]+)",
    r"Owner\s*=[=?]=?\s*\\?[\"']([\w.$-]+)",
)
_SUM: Final = re.compile(r"awk\s.*\+=\s*\$(\d+)", re.DOTALL)


@dataclass(frozen=True)
class Count:
    """What a pipe counted: `kind` is all batch jobs, running ones only, or cores; `faults` are sentences."""

    text: str
    kind: str
    users: tuple[str, ...]
    faults: tuple[str, ...]

    @property
    def words(self) -> str:
        """The kind, for people."""
        return {
            ALL: "it counted batch jobs in all states",
            RUNNING: "it counted running batch jobs only",
            CORES: "it counted cores, not batch jobs",
        }[self.kind]


def read(text: str) -> Count:
    """Returns what a shell pipe counted, as far as its text tells."""
    if _SUM.search(text):
        kind = CORES
    elif any(re.search(pattern, text) for pattern in _RUNNING):
        kind = RUNNING
    else:
        kind = ALL
    found = (match for pattern in _USERS for match in re.findall(pattern, text))
    return Count(_normal(text), kind, tuple(dict.fromkeys(found)), tuple(_faults(text)))


def _normal(text: str) -> str:
    return " ".join(text.split()).replace("| ", "|").replace(" |", "|")


def _faults(text: str) -> list[str]:
    found = []
    last = text.rsplit("|", 1)[-1]
    if re.search(r"\bgrep\b.*\s-\w*c", last):
        found.append('grep -c ends with 1 when the right answer is "0"')
    elif "|" in text:
        found.append("when its first command failed, it counted 0, and the limits let everything through")
    letters = re.findall(r"grep\s+-v\s+[\"']?([A-Za-z])[\"']?(?=\s|$|\|)", text)
    found += [
        f"grep -v {one} drops every line with a {one} in it, such as that of a partition {one}8" for one in letters
    ]
    digits = re.search(r"grep\s+-\w*F\s+[\"']?(\d+)[\"']?", text)
    if digits:
        found.append(f"grep {digits[1]} also counts lines with {digits[1]}0, 1{digits[1]}, ...")
    if re.search(r"\bsqueue\b(?![^|]*\s(-o|-O|--format|--Format))[^|]*\|.*gpu:", text):
        found.append("squeue shows no gpu: in its columns unless SQUEUE_FORMAT says so, which cron does not set")
    nodes = re.search(r"-t\s*P(?:D|ENDING)\b[^|]*\|.*grep\s+[\"']?([a-z]+[0-9]+)[\"']?\s*\|", text)
    if nodes:
        found.append(f"queued batch jobs have no node yet, so grep {nodes[1]} counts 0 if that is a node's name")
    return found
