"""Submissions as they were once looked at and found right, in golden/*.txt: argv one word a line, then standard input.

After a deliberate change, `GLIDEPOST_GOLDEN=write pytest tests/backends/test_golden.py` writes the files, and fails, so
that it cannot pass unread; then look at `git diff tests/backends/golden` and run the tests again.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from all_cases import all_golden

from glidepost.backends.registry import create

GOLDEN = Path(__file__).parent / "golden"
SCRIPT = "#!/bin/sh\nexec sleep 60\n"

CASES = all_golden()


def rendered(command) -> str:
    folder = Path(__file__).parents[2] / "backends"
    programs = {path.read_text(encoding="utf-8"): path.name for path in folder.glob("*.sh")}
    words = [f"(the text of {programs[word]})" if word in programs else word for word in command.argv]
    return "\n".join([*words, "--- standard input ---", command.stdin])


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_submission_is_what_it_was(name, make_request):
    backend, options, asked = CASES[name]
    text = rendered(create(backend, options).submission(make_request(script=SCRIPT, **asked)))
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("GLIDEPOST_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
        pytest.fail(f"wrote {path}: look at it, then run again")
    assert text == path.read_text(encoding="utf-8")


def test_every_golden_file_belongs_to_a_case():
    assert sorted(path.stem for path in GOLDEN.glob("*.txt")) == sorted(CASES)
