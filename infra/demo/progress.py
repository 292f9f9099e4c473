"""What the demo says while it runs: stages with their times, so that one can see that it works, and where time goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table
from rich.text import Text


class Progress:
    """Lines on standard output, each with the seconds since the start."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._start = time.monotonic()
        self._stages: list[tuple[str, float]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Announces a stage and keeps how long it took."""
        start = time.monotonic()
        self._console.print(Text.assemble((f"{start - self._start:6.1f} s  ", "dim"), (name, "bold")))
        yield
        self._stages.append((name, time.monotonic() - start))

    def say(self, line: str) -> None:
        """Prints a line under the stage that runs."""
        self._console.print(Text(f"          {line}" if line else ""))

    def show(self, output: str) -> None:
        """Prints what a command said."""
        for line in output.rstrip().splitlines():
            self._console.print(Text(f"            {line}", style="dim"))

    def summary(self) -> None:
        """Prints how long each stage took."""
        table = Table(box=None, show_header=False, pad_edge=False)
        for name, seconds in self._stages:
            table.add_row("", name, f"{seconds:.1f} s")
        table.add_row("", Text("in all", style="bold"), Text(f"{time.monotonic() - self._start:.1f} s", style="bold"))
        table.columns[2].justify = "right"
        self._console.print()
        self._console.print(table)
        self._console.print()
