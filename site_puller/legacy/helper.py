"""A helper script or crontab that kept a queue filled (`squeue | wc -l`, then `sbatch FILE`): its number is a limit."""

from __future__ import annotations

import re
from typing import Final

from . import values
from .model import Entry, Findings, SiteDraft, Verdict
from .script import Line, merged, statements

_SUBMITS: Final = re.compile(r"\b(?:sbatch|qsub|bsub|condor_submit)\s+([^;&|\n]*)")
_FILE: Final = re.compile(r"([\w.-]+\.(?:slurm|sh|pbs|lsf|condor|sub))\b")
_LIMIT: Final = re.compile(
    r"-(?P<sign>ge|gt|le|lt|eq)\s+[\"']?(?:\$\{?(?P<name>\w+)\}?|(?P<number>\d+))|(?P<more>[<>]=?)\s*(?P<second>\d+)\s*\)\)"
)
_ASSIGNMENT: Final = re.compile(r"(?:export\s+|local\s+)?(\w+)=[\"']?(\d+)[\"']?\s*(?:#.*)?")


def is_helper(text: str) -> bool:
    """Tells whether a script submits others and starts no glidein itself."""
    starts = re.search(r"^#(SBATCH|PBS|BSUB|\$)\s+-|^[^#\n]*glidein_start", text, re.MULTILINE)
    return starts is None and any(_SUBMITS.search(line) for line in text.split("\n") if line.lstrip()[:1] != "#")


def translate(text: str, *, file: str, findings: Findings) -> SiteDraft:
    """Returns a draft without shapes, whose `helps` say what holds for the shapes of other files.

    Args:
        text: The helper script.
        file: Its name.
        findings: Gets a verdict on each of its lines.
    """
    site = SiteDraft(file)
    lines = list(statements(text))
    numbers = {match[1]: int(match[2][:9]) for line in lines if (match := _ASSIGNMENT.fullmatch(line.text))}
    limits = [limit for line in lines if (limit := _limit(line.text, numbers))]
    hosts = [match[1] for line in lines if (match := re.search(r"\bssh\s+(?:-\S+\s+)*([\w.@-]+)\s", line.text))]
    most = max(limits, default=0)
    names = list(dict.fromkeys(name for line in lines for name in _files(line.text, lines)))
    for name in names:
        site.helps[name] = (most, hosts[0] if hosts else "")
    site.entries = merged([_entry(line, file, most, names, findings) for line in lines], findings)
    if most:
        site.remark("limits", f"{file} kept {most} batch jobs of {', '.join(names)[:200]}.")
    return site


def _files(text: str, lines: list[Line]) -> list[str]:
    """Returns the names of the files that a line submits, looked up where a variable holds them."""
    found = _SUBMITS.search(text)
    if found is None or text.startswith("#"):
        return []
    named = re.findall(r"\$\{?(\w+)\}?", found[1])
    assigned = (line.text for line in lines for name in named if re.match(rf"(export\s+)?{name}=", line.text))
    return [name for part in (found[1], *assigned) for name in _FILE.findall(part)]


def _limit(text: str, numbers: dict[str, int]) -> int:
    match = _LIMIT.search(text)
    if match is None or not re.search(r"squeue|qstat|bjobs|condor_q|wc\b|count", text):
        return 0
    number = int((match["number"] or match["second"] or "0")[:9]) or numbers.get(match["name"] or "", 0)
    # "as long as there are at most 2, one more" keeps three, "as long as there are less than 4" keeps four
    return number + 1 if match["sign"] == "le" or match["more"] == "<=" else number


def _entry(line: Line, file: str, most: int, names: list[str], findings: Findings) -> Entry:
    entry = Entry(file, "helper", f"line {line.number}", line.text, line.number)
    if line.text.startswith("#"):
        findings.say(entry, Verdict.OBSOLETE, "a comment")
    elif _SUBMITS.search(line.text):
        text = f"`glidepost puller run` submits; import {', '.join(names)[:200]} too, for its shape"
        findings.say(entry, Verdict.TRANSLATED, text)
    elif _LIMIT.search(line.text) and most:
        findings.say(entry, Verdict.TRANSLATED, f"max_total = {most} for the shapes of {', '.join(names)[:200]}")
    elif values.is_secret("", line.text):
        findings.say(entry, Verdict.BUG, "a secret in clear, not copied: withdraw it")
    else:
        findings.say(entry, Verdict.OBSOLETE, "`glidepost puller run`, from cron, asks the queue and submits")
    return entry
