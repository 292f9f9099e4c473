"""Values of old files: read as Python 2 did, shown without secrets, spelt as the new file needs them."""

from __future__ import annotations

import ast
import difflib
import math
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Final, Optional

from glidepost.schema.units import format_size

_OCTAL: Final = re.compile(r"-?0[0-7]{1,40}[lL]?")
_LONG: Final = re.compile(r"-?(0|[1-9][0-9]{0,40})[lL]")
_TOKEN: Final = re.compile(r"eyJ[A-Za-z0-9_-]{6,}(\.[A-Za-z0-9_-]*){0,2}")
_SECRET: Final = re.compile(r"secret|passw|token|access_?key|credential|\bkey_?id\b", re.IGNORECASE)
# Not (values, but where a secret may lie): to show them is harmless, and says which file to delete.
_PATH: Final = re.compile(r"[~/$.][\w./${}~-]*")
_HIDDEN: Final = "(not shown: a secret)"
_SHOWN: Final = 300


def literal(text: str) -> object:
    """Returns the Python literal that a text spells, else the text; octal and long numbers as Python 2 had them."""
    number = text.strip()
    if _OCTAL.fullmatch(number) or _LONG.fullmatch(number):
        return int(number.rstrip("lL"), 8 if _OCTAL.fullmatch(number) else 10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of invalid escapes in somebody's strings
        try:
            value: object = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return text
    return value


def whole(value: object) -> Optional[int]:
    """Returns a whole number, fractions cut off as int() does, or None for what is none."""
    if isinstance(value, (bool, int)):
        return int(value)
    if isinstance(value, float):
        return int(value) if math.isfinite(value) else None
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,18}\s*", value):
        return int(value)
    return None


def fraction(value: object) -> Optional[float]:
    """Returns a finite number, or None for what is none."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e18:
        return float(value)
    return None


def is_secret(key: str, text: str) -> bool:
    """Tells whether a key or its value looks like a credential."""
    return bool(_TOKEN.search(text) or (_SECRET.search(key) and text.strip() and not _PATH.fullmatch(text.strip())))


def shown(key: str, text: str) -> str:
    """Returns a value as reports and comments may show it: one line, bounded, without secrets."""
    if is_secret(key, text):
        return _HIDDEN
    line = printable(text.replace("\n", " / "))
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."


def printable(text: str) -> str:
    """Returns a text without secrets and control characters, which TOML's comments and terminals cannot take."""
    return re.sub(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]", "?", _TOKEN.sub(_HIDDEN, text))


def without_tokens(text: str) -> str:
    """Returns a text without what looks like a token, so that none reaches the new file."""
    return _TOKEN.sub("SECRET-NOT-COPIED", text)


def slug(text: str, *, default: str) -> str:
    """Returns a name as puller.toml allows: [a-z0-9-], at most 32 characters."""
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:32].strip("-")
    return words or default


def glidein_site(text: str) -> str:
    """Returns a GLIDEIN_Site as puller.toml allows, empty if nothing is left of the text."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text.strip()).lstrip("_.-").rstrip("-")[:64]


def size(mib: int) -> str:
    """Returns "4000MiB", "8GiB"; at least 1 MiB, at most 1 PiB."""
    return format_size(max(1, min(mib, 1 << 30)))


def bounded(number: int, least: int = 1, most: int = 100000) -> int:
    """Returns the nearest number that puller.toml allows."""
    return max(least, min(number, most))


def suggestion(section: str, key: str, known: Mapping[str, Iterable[str]]) -> str:
    """Returns what to say of a key that nobody knows, with the nearest key that somebody does."""
    nearest_section = difflib.get_close_matches(section, list(known), n=1, cutoff=0.8)
    places = {name: list(keys) for name, keys in known.items()}
    here = difflib.get_close_matches(key, places.get(section, ()), n=1, cutoff=0.7)
    if here:
        return f"pyglidein never read it; did it mean {here[0]}?"
    if section not in places and nearest_section and key in places[nearest_section[0]]:
        return f"pyglidein never read [{section}]; did it mean [{nearest_section[0]}]?"
    elsewhere = next((name for name, keys in places.items() if key in keys), None)
    if elsewhere:
        return f"pyglidein never read it here; did it mean {key} in [{elsewhere}]?"
    anywhere = difflib.get_close_matches(key, [item for keys in places.values() for item in keys], n=1, cutoff=0.8)
    return f"pyglidein never read it; did it mean {anywhere[0]}?" if anywhere else "pyglidein never read it"
