"""The shells that a worker node may have as sh: dash, bash, and busybox's, which is fetched where the host has none."""

from __future__ import annotations

import functools
import shutil

from glidepost.infra.demo.condor import fetch
from glidepost.infra.demo.testbed import CLEAN_ENVIRONMENT, Account, workfolder
from glidepost.schema.errors import GlidepostError

SHELLS = ("dash", "bash", "busybox")


@functools.cache
def busybox() -> str:
    """Returns the path of the installed one, else of that in the work folder."""
    installed = shutil.which("busybox", path=CLEAN_ENVIRONMENT["PATH"])
    if installed:
        return installed
    work = workfolder(Account.current())
    fetch("get_busybox.sh", work / "busybox", work / "debs", GlidepostError)
    return str(work / "busybox" / "bin" / "busybox")


def command_of(shell: str) -> list[str]:
    """Returns the command of one of SHELLS."""
    return [busybox(), "ash"] if shell == "busybox" else [shell]
