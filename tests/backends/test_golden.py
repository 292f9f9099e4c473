"""Submissions as they were once looked at and found right, in golden/*.txt: argv one word a line, then standard input.

After a deliberate change, `GLIDEPOST_GOLDEN=write pytest tests/backends/test_golden.py` writes the files, and fails, so
that it cannot pass unread; then look at `git diff tests/backends/golden` and run the tests again.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from glidepost.backends.registry import create

GOLDEN = Path(__file__).parent / "golden"
SCRIPT = "#!/bin/sh\nexec sleep 60\n"
LOCAL = {"folder": "/var/lib/glidepost/local"}

# Name of the file: backend, options, and what differs from one glidein of 2 cores, 4 GiB, 24 h.
CASES = {
    "slurm-one": ("slurm", {}, {}),
    "slurm-array": ("slurm", {}, {"count": 25, "log_folder": "/srv/glidepost/logs"}),
    "slurm-one-with-log": ("slurm", {}, {"log_folder": "/srv/100%/logs"}),
    "slurm-odd-sizes": ("slurm", {}, {"memory_mib": 1537, "walltime_s": 61}),
    "slurm-gpu": ("slurm", {"partition": "gpu"}, {"gpus": 2}),
    "slurm-gpu-by-type": ("slurm", {"gres": "gpu:a100:{gpus},lscratch:100"}, {"gpus": 4}),
    "slurm-whole-node": ("slurm", {"exclusive": True, "extra": ("--mem=0",)}, {"cpus": 64}),
    "slurm-every-option": (
        "slurm",
        {
            "partition": "main,long",
            "account": "physics",
            "qos": "opportunistic",
            "constraint": "avx2&ib",
            "reservation": "glidein",
            "gres": "gpu:1",
            "exclusive": False,
            "extra": ("--nice=100", "--comment=from the pool"),
        },
        {"gpus": 1},
    ),
    "local-one": ("local", LOCAL, {}),
    "local-three-with-logs": ("local", LOCAL, {"count": 3, "log_folder": "/srv/glidepost/logs"}),
}


def rendered(command) -> str:
    program = (Path(__file__).parents[2] / "backends/local.sh").read_text(encoding="utf-8")
    words = ["(the text of local.sh)" if word == program else word for word in command.argv]
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
