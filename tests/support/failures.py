"""What failed in a run of several parts, in a few lines for its very end: who reads only the last screen learns it.

Each part has GLIDEPOST_TEST_RUN=FOLDER and adds to FOLDER/failures.txt; `python failures.py FOLDER` prints it.
"""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

LINES = 5
WIDTH = 160


def note_failure(report) -> None:
    """Adds a line about pytest's report, if it failed and this is a part of a run: test and first line of the error."""
    folder = os.environ.get("GLIDEPOST_TEST_RUN")
    if not folder or not report.failed:
        return
    crash = getattr(report.longrepr, "reprcrash", None)
    text = getattr(crash, "message", None) or str(report.longrepr)
    error = next((line for line in text.splitlines() if line.strip()), "")
    place = f" line {crash.lineno}" if crash else ""
    python = ".".join(platform.python_version_tuple()[:2])
    with (Path(folder) / "failures.txt").open("a", encoding="utf-8") as out:
        out.write(f"{report.nodeid} [{report.when or 'collect'}, {python}]{place}: {error}"[:WIDTH] + "\n")


def summary(folder: Path) -> str:
    """Returns the first lines of what failed, and how many more there are; empty if no test failed."""
    try:
        lines = (folder / "failures.txt").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ""
    more = [f"and {len(lines) - LINES} more"] if len(lines) > LINES else []
    return "".join(f"{line}\n" for line in [*lines[:LINES], *more])


if __name__ == "__main__":
    sys.stdout.write(summary(Path(sys.argv[1])))
