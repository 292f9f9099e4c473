"""One sample for each need that real sites of pyglidein had, and what the new file must say of it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from glidepost.backends.base import GlideinRequest
from glidepost.backends.registry import create

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SECRETS = ("eyJ", "AKIAEXAMPLE")


@dataclass(frozen=True)
class Need:
    """Old files, values of the new file by dotted path, texts in it, and words that the report says of keys."""

    files: list[str]
    values: dict[str, Any] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    said: dict[str, str] = field(default_factory=dict)


TABLE = tomllib.loads((Path(__file__).parent / "needs.toml").read_text(encoding="utf-8"))
NEEDS = [Need(**need) for need in TABLE["need"]]


def test_there_is_a_sample_for_each_need(samples):
    files = sorted(path.name for path in samples.iterdir())
    assert [int(name[:2]) for name in files] == list(range(1, 58))
    assert sorted({name for need in NEEDS for name in need.files}) == files


@pytest.mark.parametrize("need", NEEDS, ids=lambda need: need.files[0])
def test_the_new_file_says_what_the_old_one_meant(need, samples, import_files):
    done = import_files(*(samples / name for name in need.files))
    for path, value in need.values.items():
        assert done.at(path) == (None if value == "(absent)" else value), path
    for text in need.texts:
        assert text in done.text
    for key, words in need.said.items():
        assert words in done.said(key)


@pytest.mark.parametrize("need", NEEDS, ids=lambda need: need.files[0])
def test_nothing_is_unknown_and_no_secret_is_copied(need, samples, import_files):
    done = import_files(*(samples / name for name in need.files))
    assert [one for one in done.report["keys"] if one["verdict"] == "unknown"] == []
    for secret in SECRETS:
        assert secret not in done.text
        assert secret not in str(done.report)


def test_no_shape_takes_user_jobs_that_its_glideins_cannot_run(samples, import_files):
    done = import_files(samples / "16-slurm-memory-by-core.config")
    single = next(shape for shape in done.config.shapes if shape.name == "singlegpu")
    # pyglidein matched 7600 MB and let glideins offer 3800 MB
    assert single.offers.memory_mib == single.resources.memory_mib == 7600


@pytest.mark.parametrize("need", NEEDS, ids=lambda need: need.files[0])
def test_imported_options_are_ones_that_the_backend_takes(need, samples, import_files):
    for shape in import_files(*(samples / name for name in need.files)).config.shapes:
        request = GlideinRequest(name="gp-x", resources=shape.resources, count=2, script="true\n")
        assert create(shape.backend, shape.options).submission(request).stdin.endswith(request.script)


@pytest.mark.parametrize("order", [1, -1])
def test_a_helper_sets_the_limit_of_the_script_that_it_submits(order, samples, import_files):
    files = [samples / "46-four-queued-two-running.slurm", samples / "51-kept-filled-over-ssh.bash"][::order]
    done = import_files(*files)
    shape = done.tree["shapes"]["46-four-queued-two-running"]
    assert shape["max_total"] == 3  # one more as long as there are at most two
    assert shape["command_prefix"] == ["ssh", "login2.example.org"]
