"""What `check` of publisher and puller have in common: a verdict for each thing tried, and how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Union

from rich.console import Console
from rich.text import Text

from .errors import GlidepostError

OK: Final = "ok"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"
_COLOURS: Final = {FAILED: "bold red", SKIPPED: "yellow", OK: "green"}


@dataclass(frozen=True)
class Finding:
    """How one check went.

    `state` is OK, FAILED or SKIPPED; `remedy` says what to do: always when it failed, and with OK what could be better.
    `exit_code` is the error's, see schema/errors.py.
    """

    name: str
    state: str
    text: str
    remedy: str = ""
    exit_code: int = 0


@dataclass(frozen=True)
class Remark:
    """All is well, and there is something that the reader may want to know or change."""

    text: str
    advice: str


class Skipped(Exception):  # noqa: N818 - nothing is wrong
    """There is nothing to check yet."""

    def __init__(self, what: str, *, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


def attempt(name: str, check: Callable[[], Union[str, Remark]]) -> Finding:
    """Returns how a check went, which returns what it found or raises what is wrong."""
    try:
        found = check()
    except Skipped as skipped:
        return Finding(name, SKIPPED, str(skipped), skipped.remedy)
    except GlidepostError as error:
        return Finding(name, FAILED, error.what, error.hint, error.exit_code)
    except OSError as error:
        remedy = "is the disk full, or may the file or folder not be used?"
        return Finding(name, FAILED, str(error), remedy, GlidepostError.exit_code)
    if isinstance(found, Remark):
        return Finding(name, OK, found.text, found.advice)
    return Finding(name, OK, found)


def exit_code(findings: Iterable[Finding]) -> int:
    """Returns that of the gravest failure; 0 without one."""
    return max((item.exit_code or 1 for item in findings if item.state == FAILED), default=0)


def show_finding(finding: Finding, console: Console) -> None:
    """Prints what one check found: a line, and a second one that says what to do, if anything."""
    state = Text(f"{finding.state:8}", _COLOURS[finding.state])
    console.print(state, Text(f"{finding.name}: ", "bold"), Text(finding.text), sep="", soft_wrap=True)
    if finding.remedy:
        label = "advice" if finding.state == OK else "remedy"
        console.print(Text(f"        {label}: {finding.remedy}"), soft_wrap=True)
