"""Files that hold secrets, and folders that decide what happens: who else may read or write them.

A file is closed when nobody but its owner may read or write it, and the owner is whoever runs this, or root. When root
runs it, files may also belong to the owner of their folder, who could replace them anyway: that is a `sudo` for an
ordinary account.
"""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import Final

from .errors import ConfigError

LOG = logging.getLogger(__name__)

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def refuse_open_file(path: Path, what: str) -> None:
    """Returns if a file that holds a secret is closed, or is not there.

    Args:
        path: The file; a link is followed.
        what: What it is called in the message, such as "key" or "[store] credentials:".

    Raises:
        ConfigError: when others may read or write it, or it belongs to somebody else.
    """
    try:
        found = path.stat()
    except OSError:  # who needs it says why it cannot be read
        return
    if found.st_mode & _OTHERS:
        raise ConfigError(
            f"{what} {path} can be read by others (mode {stat.S_IMODE(found.st_mode):o})", hint=f"chmod 600 {path}"
        )
    _refuse_owner(path, found, what)


def read_two_lines(path: Path, what: str, *, hint: str) -> tuple[str, str]:
    """Returns the first two lines of a closed file that people write by hand; "" for one that is not there.

    Args:
        path: The file.
        what: What it is called in messages.
        hint: What belongs into it.

    Raises:
        ConfigError: when it is not closed, or cannot be read.
    """
    refuse_open_file(path, what)
    try:
        first, second, *_ = [*path.read_text(encoding="utf-8").split("\n"), ""]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{what} {path}: {error}", hint=hint) from error
    return first, second


def close_own_file(path: Path, what: str) -> None:
    """Takes a file of our own making away from others, with a warning: it is written anew by the run itself.

    Args:
        path: The file. A link is none of ours.
        what: What it is called in messages.

    Raises:
        ConfigError: when it belongs to somebody else, or is a link.
    """
    try:
        found = path.lstat()
    except OSError:
        return
    if stat.S_ISLNK(found.st_mode):
        raise ConfigError(f"{what} {path} is a link", hint=f"we did not make it: remove it (rm {path})")
    _refuse_owner(path, found, what)
    if found.st_mode & _OTHERS:
        path.chmod(0o600)
        LOG.warning("closed what others could read file=%s mode=%o", path, stat.S_IMODE(found.st_mode))


def refuse_open_folder(path: Path, what: str) -> None:
    """Returns if not everybody may write a folder, or it is not there.

    A group that may is the site's own affair: with a umask of 002 each account has a group of its own.

    Raises:
        ConfigError: when everybody may write it.
    """
    try:
        found = path.stat()
    except OSError:
        return
    if found.st_mode & stat.S_IWOTH:
        raise ConfigError(
            f"anybody may write {what} {path} (mode {stat.S_IMODE(found.st_mode):o})",
            hint=f"chmod o-w {path}, and look whether somebody has put something there",
        )


def _refuse_owner(path: Path, found: os.stat_result, what: str) -> None:
    me = os.geteuid()
    allowed = {0, me}
    if me == 0:
        allowed.add(path.absolute().parent.stat().st_uid)
    if found.st_uid not in allowed:
        raise ConfigError(
            f"{what} {path} belongs to user {found.st_uid}, not to you ({me})",
            hint="run this as the account that owns it, or make the file anew",
        )
