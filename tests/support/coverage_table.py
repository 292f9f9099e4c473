"""Batch systems x cases of the contract suite, as a table at the end of a run."""

from __future__ import annotations

import io
from collections.abc import Iterable

import pytest
from rich.console import Console
from rich.table import Table


class Coverage:
    """What the cases found so far: in (case, system), "ok", "FAILED", or a number that stands for why there is none."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], str] = {}
        self._reasons: dict[str, str] = {}

    def note(self, report: pytest.TestReport) -> None:
        """Takes in a report, if it is of the contract suite."""
        named = dict(report.user_properties).get("contract")
        if named is None or (report.when != "call" and report.passed):
            return
        case, system, lacking = named
        mark = "ok"
        if lacking:
            mark = self._reasons.setdefault(lacking, str(len(self._reasons) + 1))
        if report.failed:
            mark = "FAILED"
        if self._found.get((case, system)) != "FAILED":
            self._found[case, system] = mark

    def table(self) -> str:
        """Returns the table, empty if no case ran."""
        if not self._found:
            return ""
        systems = _in_order(system for _, system in self._found)
        table = Table("case", *systems, title="The contract of batch systems (a number: it has no meaning there)")
        for case in _in_order(case for case, _ in self._found):
            table.add_row(case, *(self._found.get((case, system), "-") for system in systems))
        out = io.StringIO()
        console = Console(file=out, width=max(120, 64 + 14 * len(systems)))
        console.print(table)
        for reason, number in self._reasons.items():
            console.print(f"{number}  {reason}")
        return f"\n{out.getvalue()}"


def _in_order(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))
