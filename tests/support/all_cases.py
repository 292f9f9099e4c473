"""The cases and golden submissions of every backend, found by the names of their files."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from cases import Case


def _modules() -> Iterator[tuple[str, ModuleType]]:
    for path in sorted(Path(__file__).parent.glob("case_*.py")):
        yield path.stem.removeprefix("case_"), importlib.import_module(path.stem)


def all_cases() -> dict[str, Case]:
    """Returns the case of each backend; a file for two has CASES instead of CASE."""
    found: dict[str, Case] = {}
    for name, module in _modules():
        found |= getattr(module, "CASES", None) or {name: module.CASE}
    return found


def all_golden() -> dict[str, tuple[str, dict[str, Any], dict[str, Any]]]:
    """Returns backend, options, and what differs from a plain request, by the name of the file in golden/."""
    return {name: case for _, module in _modules() for name, case in module.GOLDEN.items()}
