"""The template before a linter of policies that is not ours: checkov, in a virtual environment of its own.

It asks nobody anything (--skip-download). What it finds is mended, or suppressed in the template with the reason there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml

from glidepost.infra.cloud.deploy import TEMPLATE

CHECKOV = "checkov==3.3.30"


def get_checkov(work: Path) -> Path:
    """Returns the folder of its virtual environment, made if need be."""
    place = work / CHECKOV.replace("==", "-")
    if not place.exists():
        partial = work / f"checkov-{os.getpid()}"
        try:
            subprocess.run([sys.executable, "-m", "venv", str(partial)], check=True)
            pip = [str(partial / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, CHECKOV], check=True, capture_output=True)
            partial.rename(place)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return place


@pytest.fixture(scope="module")
def found(work: Path) -> dict[str, list[dict[str, Any]]]:
    python = get_checkov(work) / "bin" / "python"
    flags = ["--skip-download", "--framework", "cloudformation", "--output", "json", "--file", str(TEMPLATE)]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(work), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [str(python), "-m", "checkov.main", *flags],
        env=environment,
        cwd=work,  # (beside our own folder `schema` it would import that one)
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("{"), done.stderr
    answer: dict[str, list[dict[str, Any]]] = json.loads(done.stdout)["results"]
    return answer


def test_it_finds_nothing_that_is_not_explained(found: dict[str, list[dict[str, Any]]]) -> None:
    assert [(item["check_id"], item["resource"], item["check_name"]) for item in found["failed_checks"]] == []
    assert len(found["passed_checks"]) > 30
    assert found["parsing_errors"] == []


def test_nothing_is_suppressed_that_it_would_not_find(found: dict[str, list[dict[str, Any]]]) -> None:
    resources = cfn_yaml.load(str(TEMPLATE))["Resources"]
    written = {
        (item["id"], name)
        for name, resource in resources.items()
        for item in resource.get("Metadata", {}).get("checkov", {}).get("skip", ())
    }
    used = {(item["check_id"], item["resource"].rpartition(".")[2]) for item in found["skipped_checks"]}
    assert used == written
