"""Foreign text, made fit to be shown."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

MAX_TEXT: Final = 500
# Control, format (among them: direction), surrogate, and the two separators that break lines.
_UNPRINTABLE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


# Most sites say the same few things: said once in memory, and looked at once.
@lru_cache(maxsize=8192)
def clean(text: str) -> str:
    """Returns foreign text on one line: no control, direction or half characters, at most 500 characters.

    A lone surrogate cannot be written as UTF-8, and a direction override would let a site rewrite its neighbour's line.
    """
    text = text[: 4 * MAX_TEXT]
    if not (text.isascii() and text.isprintable()):
        text = "".join(" " if unicodedata.category(char) in _UNPRINTABLE else char for char in text)
    line = " ".join(text.split())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"
