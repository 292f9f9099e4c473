"""What became of each key of the old files: for people as a table, for programs as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from glidepost.schema.units import counted

from .model import Finding, Verdict

_TITLES = {
    Verdict.UNKNOWN: "unknown: please look",
    Verdict.BUG: "known bugs of pyglidein that this site was living with",
    Verdict.TRANSLATED: "translated",
    Verdict.KEPT: "kept",
    Verdict.OBSOLETE: "obsolete",
}


@dataclass(frozen=True)
class Report:
    """The result of an import: one finding for each key, notes on files, and whether the new file loads as it is."""

    output: str
    files: tuple[str, ...]
    shapes: tuple[str, ...]
    commented_out: tuple[str, ...]
    findings: tuple[Finding, ...]
    notes: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the report as JSON can hold it."""
        return {
            "output": self.output,
            "files": list(self.files),
            "shapes": list(self.shapes),
            "commented_out": list(self.commented_out),
            "missing": list(self.missing),
            "notes": [{"file": file, "what": what} for file, what in self.notes],
            "keys": [
                {
                    "file": one.file,
                    "line": one.line,
                    "section": one.section,
                    "key": one.key,
                    "value": one.value,
                    "verdict": one.verdict.value,
                    "what": one.what,
                }
                for one in self.findings
            ],
        }

    def of(self, verdict: Verdict) -> tuple[Finding, ...]:
        """Returns the findings with a verdict."""
        return tuple(one for one in self.findings if one.verdict is verdict)


def rendered(report: Report) -> RenderableType:
    """Returns the report for a console, one table for each verdict, what needs a look first."""
    parts: list[RenderableType] = []
    for verdict in _TITLES:
        found = report.of(verdict)
        if found:
            parts += [_table(verdict, found, with_file=len(report.files) > 1), Text()]
    if report.notes:
        parts.append(Text("notes", style="bold"))
        parts += [Text(f"{file}: {what}" if len(report.files) > 1 else what) for file, what in report.notes]
        parts.append(Text())
    parts.append(_summary(report))
    return Group(*parts)


def _table(verdict: Verdict, found: Sequence[Finding], *, with_file: bool) -> Table:
    table = Table(title=f"{_TITLES[verdict]} ({len(found)})", title_justify="left", title_style="bold", box=None)
    table.add_column("line", justify="right", style="dim", no_wrap=True)
    table.add_column("key", overflow="fold", max_width=32)
    table.add_column("was", overflow="fold", max_width=36, style="dim")
    table.add_column("now", overflow="fold", min_width=32)
    for one in found:
        where = f"{one.file.rsplit('/', 1)[-1]}:{one.line}" if with_file else str(one.line)
        table.add_row(where, Text(f"[{one.section}] {one.key}"), Text(one.value[:120]), Text(one.what))
    return table


def _summary(report: Report) -> Text:
    counts = ", ".join(f"{len(report.of(verdict))} {verdict.value}" for verdict in Verdict if report.of(verdict))
    lines = [f"{counted(len(report.findings), 'key')}: {counts}"]
    shapes = ", ".join(report.shapes) or "none"
    off = f"; commented out: {', '.join(report.commented_out)}" if report.commented_out else ""
    lines.append(f"shapes: {shapes}{off}")
    lines += [f"to be filled in before it loads: {what}" for what in report.missing]
    return Text("\n".join(lines))
