"""Glidepost's own checks, as the header of a batch script holds them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

CHECKS = Path(__file__).parents[2] / "glidein" / "checks"
NAMES = sorted(path.stem for path in CHECKS.glob("*.sh"))


def all_checks() -> dict[str, str]:
    """Returns the variables for all of them."""
    return as_variables({name: (CHECKS / f"{name}.sh").read_text() for name in NAMES})


def as_variables(texts: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables for these texts in their place."""
    said = {f"OWN_CHECK_{number}": text for number, text in enumerate(texts.values(), 1)}
    return {"OWN_CHECKS": " ".join(texts), **said}
