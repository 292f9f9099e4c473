"""The threat model names a test for each claim, and each of them is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "threat-model.md"
TABLE = PAGE.read_text(encoding="utf-8").partition("## What shows it")[2]
NAMED = sorted(set(re.findall(r"`(tests/[^`]+\.py)::(\w+)`", TABLE)))


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[f"{file}::{name}" for file, name in NAMED])
def test_a_test_that_the_threat_model_names_is_there(file, name):
    assert (ROOT / file).is_file(), f"{file} is gone: change docs/explanation/threat-model.md"
    assert name in functions(ROOT / file), f"{name} is gone from {file}: change docs/explanation/threat-model.md"


def test_each_claim_names_a_test_and_nothing_is_left_unread():
    rows = [line for line in TABLE.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 25
    for row in rows:
        claim, _, named = row.strip("| ").partition(" | ")
        assert claim
        assert re.fullmatch(r"(`tests/[\w/]+\.py::test_\w+`(, )?)+", named), row
