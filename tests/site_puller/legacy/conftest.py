"""Imports old files into a temporary folder, through the command, and gives back the new file and the report."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import pytest

from glidepost.schema.errors import ConfigError
from glidepost.schema.keys import SigningKey
from glidepost.schema.puller_config import PullerConfig
from glidepost.site_puller.cli_import import import_command

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SAMPLES = Path(__file__).parents[2] / "recorded" / "pyglidein"


@dataclass(frozen=True)
class Imported:
    """What an import gave: the new file as text and tree, the loaded configuration, and the report."""

    text: str
    tree: dict[str, Any]
    config: PullerConfig
    report: dict[str, Any]
    stderr: str

    def said(self, key: str, section: str = "") -> str:
        """Returns verdict and words on a key: "kept: cpus = 2"."""
        found = [one for one in self.report["keys"] if one["key"] == key and section in {"", one["section"]}]
        assert found, f"nothing said of {key}"
        return f"{found[0]['verdict']}: {found[0]['what']}"

    def at(self, path: str) -> Any:
        """Returns a value of the new file by its dotted path, None if it is not there."""
        value: Any = self.tree
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value


@dataclass(frozen=True)
class Done:
    """How a run of the command ended."""

    stdout: str
    stderr: str
    exception: Optional[ConfigError] = None

    @property
    def exit_code(self) -> int:
        return self.exception.exit_code if self.exception else 0


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Runs it in a folder of its own: command("old.config", "--json")."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Done:
        capsys.readouterr()
        problem = None
        try:
            import_command([str(word) for word in words], standalone_mode=False)
        except ConfigError as error:
            problem = error
        return Done(*capsys.readouterr(), problem)

    return run


@pytest.fixture
def samples():
    return SAMPLES


@pytest.fixture
def public_key():
    return str(SigningKey.generate().public)


@pytest.fixture
def import_files(tmp_path, public_key, command):
    """Imports files: import_files(path, ...)."""

    def run(*paths: Path) -> Imported:
        output = tmp_path / "new" / "puller.toml"
        words = ["--json", "--force", "--output", str(output), "--url", "https://pool.example.org"]
        done = command(*words, "--public-key", public_key, *paths)
        if done.exception:
            raise done.exception
        text = output.read_text(encoding="utf-8")
        config = PullerConfig.load(output)
        return Imported(text, tomllib.loads(text), config, json.loads(done.stdout), done.stderr)

    return run


@pytest.fixture
def import_text(tmp_path, import_files):
    """Imports a configuration given as text: import_text("[Cluster]...", name="old.config")."""

    def run(text: str, *, name: str = "old.config") -> Imported:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return import_files(path)

    return run
