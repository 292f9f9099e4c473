"""Batch systems x cases of the contract suite, as a table at the end of a run.

`python coverage_table.py FOLDER` prints one table of several runs that had GLIDEPOST_TEST_RUN=FOLDER.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table


class Coverage:
    """What the cases found so far: of each case and system "ok", "FAILED", or why it has no meaning there."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], str] = {}

    def note(self, report) -> None:
        """Takes in pytest's report, if it is of the contract suite."""
        named = dict(report.user_properties).get("contract")
        if named is None or (report.when != "call" and report.passed):
            return
        case, system, lacking = named
        if self._found.get((case, system)) != "FAILED":
            self._found[case, system] = "FAILED" if report.failed else lacking or "ok"

    def save(self, folder: Path) -> None:
        """Writes what was found into a file of this process."""
        if self._found:
            rows = [[*key, found] for key, found in self._found.items()]
            (folder / f"coverage-{os.getpid()}.json").write_text(json.dumps(rows), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Adds what other processes found."""
        for path in sorted(folder.glob("coverage-*.json")):
            rows = json.loads(path.read_text(encoding="utf-8"))
            self._found |= {(case, system): found for case, system, found in rows}

    def table(self) -> str:
        """Returns the table, empty if no case ran."""
        if not self._found:
            return ""
        systems = sorted({system for _, system in self._found}, key=lambda name: ("played" in name, name))
        reasons = _in_order(found for found in self._found.values() if found not in {"ok", "FAILED"})
        numbers = {reason: str(number) for number, reason in enumerate(reasons, 1)}
        table = Table("case", *systems, title="The contract of batch systems (a number: it has no meaning there)")
        for case in _in_order(case for case, _ in self._found):
            cells = (self._found.get((case, system), "-") for system in systems)
            table.add_row(case, *(numbers.get(cell, cell) for cell in cells))
        out = io.StringIO()
        console = Console(file=out, width=58 + 13 * len(systems))
        console.print(table)
        for reason, number in numbers.items():
            console.print(f"{number:>3}  {reason}")
        return f"\n{out.getvalue()}"


def _in_order(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))


if __name__ == "__main__":
    coverage = Coverage()
    coverage.load(Path(sys.argv[1]))
    sys.stdout.write(coverage.table())
