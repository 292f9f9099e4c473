"""How glideins upload their logs: the pool's form, in a file for them, as glidein/bootstrap/2-logs.sh reads it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final, Optional

from glidepost.schema.files import write_atomic
from glidepost.schema.mailbox import Letter

LOG = logging.getLogger(__name__)

_RESERVED: Final = frozenset({"url", "get"})


def write(letter: Letter, file: Path) -> None:
    """Writes the log form of a letter into a file, mode 0600. Without one, what is in the file goes.

    The file itself stays: a batch system may have been told to take it along when a glidein starts, and holds what it
    cannot find.

    Raises:
        OSError: when it cannot be written.
    """
    text = lines(letter)
    if text is not None or file.exists():
        write_atomic(file, (text or "").encode(), mode=0o600)


def is_there(file: Path) -> bool:
    """Returns whether there is a form in the file."""
    try:
        return file.stat().st_size > 0
    except OSError:
        return False


def lines(letter: Letter) -> Optional[str]:
    """Returns a letter's log form as lines NAME=VALUE: `url`, `get`, and the form's fields; None when it has none.

    None too for one that such lines cannot hold, or that is no POST: glideins know no other.
    """
    form = letter.log_form
    if form is None or form.method != "POST":
        return None
    items = [("url", form.url), *([("get", letter.log_url)] if letter.log_url else []), *form.fields.items()]
    is_clean = all(name and "=" not in name and f"{name}{value}".isascii() for name, value in items)
    is_clean = is_clean and all(f"{name}{value}".isprintable() for name, value in items)
    if not is_clean or _RESERVED & set(form.fields):
        LOG.warning("log form ignored why=unreadable")
        return None
    return "".join(f"{name}={value}\n" for name, value in items)
