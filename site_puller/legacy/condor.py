"""pyglidein's HTCondor: a submit file, to which a site added lines of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from .family import Family
from .model import Draft, Settings
from .words import ARRAYS, OURS, Dialect, Taken

_MEANINGS: Final = {
    "-pool": "option:pool",
    "-name": "option:schedd",
    "-remote": "option:schedd",
    "-n": "option:schedd",
    "-r": "option:schedd",
    "-a": "take:lines",
    "-append": "take:lines",
    "-spool!": OURS,
    "-terse!": OURS,
    "-verbose!": OURS,
    "-disable!": OURS,
    "-queue": ARRAYS,
    "-batch-name": "drop:each submission has a name of its own, by which it is found again",
}

_OURS: Final = frozenset(
    {"output", "error", "log", "executable", "universe", "arguments", "notification", "queue"}
    | {"should_transfer_files", "when_to_transfer_output", "want_graceful_removal", "transfer_input_files"}
    | {"transfer_output_files", "transfer_executable", "environment", "initialdir", "stream_output", "stream_error"}
    | {"run_as_owner", "batch_name", "+transferoutput", "getenv"}
)


def add_lines(lines: Iterable[str], draft: Draft) -> list[str]:
    """Adds lines of a submit description to a draft's options.

    Returns:
        For each line what became of it, in words.
    """
    said = []
    kept = []
    for line in (line.strip() for line in lines):
        name, sign, value = (part.strip() for part in line.partition("="))
        word = name.lower()
        if not line or line.startswith("#"):
            continue
        if word == "requirements" and sign and value:
            draft.options["requirements"] = value
            said.append(f"{line}: options.requirements")
        elif word == "accounting_group" and value:
            draft.options["accounting_group"] = value
            said.append(f"{line}: options.accounting_group")
        elif word in _OURS or re.match(r"(?i)queue\b", line):
            said.append(f"{line}: Glidepost writes it")
        else:
            kept.append(line)
            said.append(f"{line}: options.lines")
    draft.extend("lines", kept)
    return said


def _refine(taken: Taken) -> None:
    """Nothing here holds several things."""


def _finish(settings: Settings, draft: Draft) -> None:
    """Nothing is to be added: HTCondor's own words are Glidepost's."""


CONDOR: Final = Family(
    backend="htcondor",
    commands=("condor_submit",),
    directive="",
    dialect=Dialect(_MEANINGS),
    refine=_refine,
    finish=_finish,
)
