"""What keeps a shape from submitting although it may by its limits: a pause, a canary, somebody's order."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gate:
    """A shape with a gate submits at most `most` glideins in this cycle, for the reason `code`."""

    code: str
    detail: str
    most: int = 0
