"""Who the daemons run as, and the folder that everything generated lies in."""

from __future__ import annotations

import hashlib
import os
import pwd
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from glidepost.schema.errors import ConfigError, GlidepostError

# What a command of the testbed sees instead of the caller's variables: nobody's HOME, SBATCH_* or CONDOR_* gets in.
CLEAN_ENVIRONMENT: Mapping[str, str] = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"}


@dataclass(frozen=True)
class Account:
    """The ordinary user that daemons, glideins and user jobs run as; never root."""

    name: str
    uid: int
    gid: int
    prefix: tuple[str, ...]  # argv to put before a command; empty where the account is the caller's own

    @classmethod
    def current(cls, environ: Mapping[str, str] = os.environ) -> Account:
        """Returns the caller's own account; for root, `nobody` or the one that GLIDEPOST_DEMO_USER names.

        Raises:
            ConfigError: GLIDEPOST_DEMO_USER names no user, or root.
        """
        uid = os.geteuid()
        if uid != 0:
            return cls(_name_of(uid), uid, os.getegid(), ())
        name = environ.get("GLIDEPOST_DEMO_USER", "nobody")
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise ConfigError(f"no user {name} on this host", hint="set GLIDEPOST_DEMO_USER to one") from None
        if entry.pw_uid == 0:
            raise ConfigError(f"{name} is root", hint="set GLIDEPOST_DEMO_USER to an ordinary user")
        prefix = ("setpriv", "--reuid", str(entry.pw_uid), "--regid", str(entry.pw_gid), "--clear-groups", "--")
        return cls(name, entry.pw_uid, entry.pw_gid, prefix)

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Optional[Mapping[str, str]] = None,
        stdin: str = "",
        cwd: Optional[Path] = None,
        timeout_s: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command as the account, in a clean environment, and returns it finished, however it ended.

        Args:
            argv: The command.
            env: Added to the clean environment.
            stdin: Its standard input.
            cwd: Its folder, which the account must be able to enter (default /).
            timeout_s: Seconds.

        Raises:
            subprocess.TimeoutExpired: The command took too long, and was killed.
            OSError: There is no such command.
        """
        return subprocess.run(
            [*self.prefix, *argv],
            env={**CLEAN_ENVIRONMENT, **(env or {})},
            input=stdin,
            cwd=cwd or Path("/"),
            timeout=timeout_s,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )

    def output(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        stdin: str = "",
        timeout_s: float = 60,
        failure: tuple[type[GlidepostError], str],
    ) -> str:
        """Returns what a command prints, run as the account.

        Args:
            argv: The command.
            env: Added to the clean environment.
            stdin: Its standard input.
            timeout_s: Seconds.
            failure: The class of the error when it fails or takes too long, and the hint to it.
        """
        kind, hint = failure
        what = shlex.join(argv)
        try:
            done = self.run(argv, env=env, stdin=stdin, timeout_s=timeout_s)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise kind(f"{what}: {error}", hint=hint) from error
        if done.returncode != 0:
            raise kind(f"{what}: {done.stderr.strip() or done.stdout.strip()}", hint=hint)
        return done.stdout

    def can(self, mode: str, path: Path) -> bool:
        """Says whether the account may `r`ead, `w`rite or e`x`ecute (enter) what lies at the path."""
        return self.run(["test", f"-{mode}", str(path)]).returncode == 0

    def make_folder(self, path: Path, mode: int = 0o755) -> Path:
        """Returns the path, as a folder that the account owns; folders above it are the caller's."""
        make_passable(path)
        self.give(path, mode)
        return path

    def give(self, path: Path, mode: int) -> None:
        """Makes the account the owner of a file or folder."""
        path.chmod(mode)
        if self.prefix:
            os.chown(path, self.uid, self.gid)


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a container's account may have no entry
        return str(uid)


def clone_folder() -> Path:
    """Returns the clone that this code runs from, or the current folder if it was installed from a wheel."""
    here = Path(__file__).resolve().parents[2]
    return here if (here / "pyproject.toml").is_file() else Path.cwd()


def workfolder(account: Account, environ: Mapping[str, str] = os.environ, clone: Optional[Path] = None) -> Path:
    """Returns the folder of everything generated, made if need be, which the account can enter.

    GLIDEPOST_WORK, else `.work` in the clone. Where root has a clone that the account cannot enter (below /root, say):
    a folder in /var/tmp, which must be root's.

    Raises:
        ConfigError: The folder cannot be made, is somebody else's, or cannot be entered by the account.
    """
    clone = clone or clone_folder()
    named = environ.get("GLIDEPOST_WORK")
    folder = Path(named).absolute() if named else clone / ".work"
    if not named and account.prefix and not account.can("x", clone):
        digest = hashlib.sha256(os.fsencode(clone)).hexdigest()[:8]
        folder = Path("/var/tmp") / f"glidepost-root-{digest}"  # noqa: S108 - its owner is looked at below
    try:
        make_passable(folder)
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}", hint="set GLIDEPOST_WORK to a folder of yours") from error
    seen = folder.lstat()
    if folder.is_symlink() or seen.st_uid != os.geteuid():
        raise ConfigError(f"{folder} is not yours", hint="remove it, or set GLIDEPOST_WORK to a folder of yours")
    if not account.can("x", folder):
        hint = "set GLIDEPOST_WORK to a folder that every user can enter"
        raise ConfigError(f"{account.name} cannot enter {folder}", hint=hint)
    return folder.resolve()


def make_passable(folder: Path) -> Path:
    """Returns the folder, made with those above it so that every user can enter them, whatever the umask."""
    for path in [*reversed(folder.parents), folder]:
        if not path.exists():
            path.mkdir(exist_ok=True)
            path.chmod(0o755)
    return folder


def shell_scripts(folder: Path) -> Path:
    """Copies the testbed's scripts to where the account can read them, which the clone may not be.

    Returns:
        The folder of the copies.
    """
    here = Path(__file__).resolve().parent
    make_passable(folder)
    for source in [*here.glob("*.sh"), *here.glob("*.conf")]:
        copy = folder / source.name
        text = source.read_bytes()
        if not copy.is_file() or copy.read_bytes() != text:
            partial = copy.with_suffix(f".{os.getpid()}")  # a script that runs at this moment must not change
            partial.write_bytes(text)
            partial.chmod(0o755)
            partial.replace(copy)
    return folder


def environment(names: Mapping[str, Optional[object]]) -> dict[str, str]:
    """Returns those of the variables that have a value, as strings."""
    return {name: str(value) for name, value in names.items() if value is not None}
