"""`glidepost puller import` as a person types it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest
from rich.console import Console

from glidepost.schema.errors import ConfigError
from glidepost.site_puller.legacy.known import KNOWN
from glidepost.site_puller.legacy.merge import merge
from glidepost.site_puller.legacy.model import Findings, Verdict
from glidepost.site_puller.legacy.read import read
from glidepost.site_puller.legacy.report import Report, rendered

OLD = "[Glidein]\nsite = North\n[Cluster]\nscheduler = slurm\nsubmit_command = sbatch -A x\ncpu_only = True\n"


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "old.config"
    path.write_text(OLD, encoding="utf-8")
    return path


def test_it_writes_puller_toml_and_says_what_is_missing(old, command, tmp_path):
    done = command(old)
    assert done.exit_code == 0
    assert "does not load yet: fill in [pool] url, [pool] public_key" in done.stderr
    text = (tmp_path / "puller.toml").read_text(encoding="utf-8")
    assert '# url = "https://..."' in text
    assert '# public_key = "ed25519:..."' in text
    assert "TO BE FILLED IN" in text
    assert 'name = "north"' in text


def test_with_what_the_admin_says_the_file_loads(old, command, public_key):
    done = command(old, "--url", "https://pool.example.org", "--public-key", public_key, "--site", "north-2")
    assert done.exit_code == 0
    assert "next: glidepost puller check" in done.stderr


def test_an_existing_file_is_kept_unless_forced(old, command, tmp_path):
    (tmp_path / "puller.toml").write_text("mine", encoding="utf-8")
    assert isinstance(command(old).exception, ConfigError)
    assert (tmp_path / "puller.toml").read_text(encoding="utf-8") == "mine"
    assert command(old, "--force").exit_code == 0


def test_an_unreadable_file_writes_nothing(old, command, tmp_path):
    (tmp_path / "bad.config").write_text("no section\n", encoding="utf-8")
    done = command(old, "bad.config", "missing.config")
    assert done.exit_code == 2
    assert not (tmp_path / "puller.toml").exists()
    assert "bad.config:1" in done.stderr  # the other one is what the command ends with


@pytest.mark.parametrize("words", [("--url", "pool"), ("--public-key", "x"), ("--site", "North Pole")])
def test_options_that_are_wrong_are_refused_before_anything_is_written(words, old, command, tmp_path):
    assert isinstance(command(old, *words).exception, ConfigError)
    assert not (tmp_path / "puller.toml").exists()


def test_unknown_keys_are_warnings_with_a_suggestion(old, command):
    old.write_text(OLD + "max_totl_jobs = 5\nfoo = 1\n", encoding="utf-8")
    done = command(old)
    assert done.exit_code == 0
    assert "warning: " in done.stderr
    assert "did it mean max_total_jobs?" in done.stderr
    assert "[Cluster] foo" in done.stderr


def test_json_has_each_key_with_a_verdict(old, command):
    report = json.loads(command(old, "--json").stdout)
    assert [one["key"] for one in report["keys"]] == ["site", "scheduler", "submit_command", "cpu_only"]
    assert {one["verdict"] for one in report["keys"]} <= {verdict.value for verdict in Verdict}
    assert report["missing"] == ["[pool] url", "[pool] public_key"]
    assert report["shapes"] == ["cpu"]


def test_several_files_become_one_and_conflicts_are_named(old, command, tmp_path):
    other = tmp_path / "himem.config"
    other.write_text(OLD.replace("North", "South") + "max_memory_per_job = 64000\n", encoding="utf-8")
    report = json.loads(command(old, other, "--json").stdout)
    assert report["shapes"] == ["old-cpu", "himem-cpu"]
    assert any("glidein_site" in note["what"] for note in report["notes"])
    assert len(report["keys"]) == 9


def test_a_file_named_twice_is_read_once(old, command):
    assert json.loads(command(old, old, "--json").stdout)["shapes"] == ["cpu"]


def test_settings_that_are_all_switched_off_are_said_to_lack_a_shape(old, command):
    old.write_text(OLD + "max_total_jobs = 0\n", encoding="utf-8")
    done = command(old)
    assert "at least one that is not commented out" in done.stderr


@pytest.mark.parametrize("width", [80, 200])
def test_the_report_fits_into_a_terminal(width, samples):
    findings = Findings()
    draft = merge([read(samples / "16-slurm-memory-by-core.config", findings)], findings)
    report = Report("puller.toml", ("x",), ("a",), (), findings.of(draft.entries, KNOWN), tuple(findings.notes), ())
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(rendered(report))
    lines = console.export_text().split("\n")
    assert max(map(len, lines)) <= width
    assert any("known bugs" in line for line in lines)


def test_the_new_file_does_not_depend_on_the_locale(old, tmp_path):
    old.write_text(OLD.replace("North", "Zürich"), encoding="utf-8")
    code = "from glidepost.site_puller.cli_import import import_command as c; c()"
    done = subprocess.run(
        [sys.executable, "-c", code, str(old), "--output", str(tmp_path / "new.toml")],
        env={"LANG": "C", "LC_ALL": "C", "PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert 'glidein_site = "Z-rich"' in (tmp_path / "new.toml").read_text(encoding="utf-8")
