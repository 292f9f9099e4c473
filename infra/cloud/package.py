"""The aggregator as a zip file for AWS Lambda: Glidepost's own files, and the few libraries that they import."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from glidepost.schema.errors import GlidepostError

from . import archive, modules

REQUIREMENTS: Final = Path(__file__).with_name("requirements.txt")
# What pip calls AWS's names of processors.
_MACHINES: Final = {"x86_64": "x86_64", "arm64": "aarch64"}
ARCHITECTURES: Final = tuple(_MACHINES)
PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
# The oldest C library among AWS's runtimes is 2.26, of 3.11's.
_PLATFORMS: Final = ("manylinux_2_26", "manylinux_2_17", "manylinux2014", "manylinux_2_12", "manylinux_2_5")
# From 3.12 on it is 2.34.
_NEWER_PLATFORMS: Final = ("manylinux_2_34", "manylinux_2_28")
# Who installed it, from where, and programs: nothing that a function needs, and not always the same.
_LEFT_OUT: Final = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")

Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class Target:
    """What a zip file is for: AWS's name of the processor, and the version of Python."""

    architecture: str = "arm64"
    python: str = "3.13"

    @property
    def runtime(self) -> str:
        """What AWS calls the Python."""
        return f"python{self.python}"

    @property
    def name(self) -> str:
        """The usual name of the zip file."""
        return f"aggregator-{self.architecture}-{self.runtime}.zip"


@dataclass(frozen=True)
class Package:
    """A zip file that was made. `sha256` is of the file; the same code always has the same."""

    path: Path
    sha256: str
    size_bytes: int
    target: Target


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Runs a command, and returns it finished, however it ended."""
    return subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)


def build(target: Target, output: Path, run: Run = run) -> Package:
    """Makes the zip file and returns what it is.

    Args:
        target: What it is for; this host may be another.
        output: The file; replaced when all is done.
        run: Runs pip.

    Raises:
        GlidepostError: pip could not get the libraries.
    """
    with tempfile.TemporaryDirectory(prefix="glidepost-package-") as name:
        libraries = Path(name) / "libraries"
        install(target, libraries, run)
        partial = output.with_name(f".{output.name}.{os.getpid()}")
        try:
            archive.write(partial, {**_installed(libraries), **modules.needed_by().files})
            partial.replace(output)
        finally:
            partial.unlink(missing_ok=True)
    return describe(output, target)


def describe(path: Path, target: Target) -> Package:
    """Returns what a zip file is that was made before."""
    body = path.read_bytes()
    return Package(path, hashlib.sha256(body).hexdigest(), len(body), target)


def install(target: Target, folder: Path, run: Run = run) -> None:
    """Installs the libraries into a folder: the versions and the very files that the requirements name.

    Raises:
        GlidepostError: pip could not get them.
    """
    command = [*_pip(), *_options(target), "--target", str(folder), "--requirement", str(REQUIREMENTS)]
    done = run(command)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise GlidepostError(
            f"pip could not get the aggregator's libraries for {target.runtime} on {target.architecture}:"
            f" {' '.join(said)[-400:]}",
            hint="is a package index reachable from here, and does this Python have pip (python -m pip --version)?"
            " Else make the zip elsewhere, and: glidepost infra deploy --zip FILE",
        )


def _pip() -> Sequence[str]:
    return (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install")


def _options(target: Target) -> list[str]:
    newer = tuple(map(int, target.python.split("."))) >= (3, 12)
    machine = _MACHINES[target.architecture]
    platforms = [f"{name}_{machine}" for name in ((*_NEWER_PLATFORMS, *_PLATFORMS) if newer else _PLATFORMS)]
    return [
        *("--quiet", "--no-deps", "--require-hashes", "--no-compile", "--only-binary=:all:"),
        # (of the Python that is asked for, not of pip's own, which older ones look at too)
        "--ignore-requires-python",
        *("--implementation=cp", f"--python-version={target.python}"),
        *(f"--platform={platform}" for platform in platforms),
    ]


def _installed(folder: Path) -> dict[str, Path]:
    """Returns what was installed in a folder, by the names in it, without what differs from host to host."""
    found = {}
    for path in folder.rglob("*"):
        inner = path.relative_to(folder)
        if path.is_file() and path.name not in _LEFT_OUT and inner.parts[0] != "bin" and path.suffix != ".pyc":
            found[inner.as_posix()] = path
    return found
