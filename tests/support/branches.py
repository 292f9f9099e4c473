"""Measures the branches of the code that decides what is believed, and fails below all of them (see tests/all.sh).

Run as: python tests/support/branches.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

import coverage
import pytest

ROOT: Final = Path(__file__).parents[2]
MEASURED: Final = (
    "schema/document.py",
    "schema/exact_base64.py",
    "schema/keychain.py",
    "schema/keys.py",
    "schema/mailbox.py",
    "schema/sealing.py",
    "schema/signing.py",
    "schema/strict_json.py",
    "site_puller/fetch.py",
    "site_puller/freshness.py",
    "site_puller/trust.py",
)
TESTS: Final = (
    "tests/schema/test_documents.py",
    "tests/schema/test_key*.py",
    "tests/schema/test_mailbox*.py",
    "tests/schema/test_rotation*.py",
    "tests/schema/test_signing*.py",
    "tests/schema/test_strict_json.py",
    "tests/site_puller/test_fetch*.py",
    "tests/site_puller/test_freshness.py",
    "tests/site_puller/test_trust*.py",
)
# What takes seconds, and no branch of its own.
QUICK: Final = "not largest_size and not bomb"


class FewExamples:
    """A plugin of pytest: hypothesis tries enough to run each branch."""

    def pytest_configure(self) -> None:
        """Sets that before any test is read."""
        from hypothesis import settings  # noqa: PLC0415 - not before pytest, which rewrites its plugin

        settings.register_profile("branches", max_examples=10, deadline=None)
        settings.load_profile("branches")


def main() -> int:
    """Returns 0 when all tests pass and no line and no branch of the measured files was left out."""
    files = sorted(str(file) for pattern in TESTS for file in ROOT.glob(pattern))
    with tempfile.TemporaryDirectory() as folder:
        measure = coverage.Coverage(
            branch=True,
            include=[str(ROOT / name) for name in MEASURED],
            data_file=f"{folder}/coverage",
            config_file=False,
        )
        with measure.collect():
            code = pytest.main(
                ["-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}", "-k", QUICK, *files], plugins=[FewExamples()]
            )
        share = measure.report(show_missing=True, skip_covered=True, file=sys.stdout)
    if code:
        return int(code)
    if share < 100:
        sys.stdout.write(f"branches.py: {share:.2f} % of lines and branches: write the tests that are missing\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
