"""JSON of which each byte string has one meaning at most, whoever reads it, and little work for the reader.

Where RFC 8259 leaves readers free they differ: which of two equal keys counts, what NaN or 1e400 is, what half a
character (a lone surrogate) is, and in which encoding the bytes are. Nothing of that is read here, nor what nests
deeper or holds more values than any document of ours.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

# The deepest document, status/1, has eight levels.
MAX_DEPTH: Final = 32
# Of 8 MiB. A share of one site, the smallest value with a name that a demand has, takes six bytes: `"a":1,`.
MAX_VALUES: Final = 1_500_000
# 64 bits have 19. What RFC 8785 can sign ends before (2^53), which signing.canonical looks at.
_MAX_DIGITS: Final = 19
_HALF_CHARACTER: Final = re.compile(r"\\u[dD][89a-fA-F]")


def loads(body: bytes) -> Any:
    """Returns what UTF-8 JSON says. The size is the caller's business.

    Raises:
        ValueError: when it is no JSON, has more than one meaning, nests too deep, or holds too many values.
    """
    # One begins with each of these, or with the end; those inside of texts do no harm.
    if sum(map(body.count, b",[{")) >= MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES} values")
    text = body.decode("utf-8")
    try:
        data = json.loads(text, object_pairs_hook=_once, parse_int=_integer, parse_float=_finite, parse_constant=_none)
    except RecursionError as error:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels") from error
    _refuse_deep(data)
    if _HALF_CHARACTER.search(text):
        json.dumps(data, ensure_ascii=False).encode("utf-8")  # UnicodeEncodeError is a ValueError
    return data


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {twice[:40]!r} stands twice in one object")
    return found


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"a number that is too large: {digits[:40]}")
    return number


def _none(word: str) -> float:
    raise ValueError(f"{word} is no JSON")


def _refuse_deep(data: object) -> None:
    """Goes down level by level.

    Raises:
        ValueError: when there are more than MAX_DEPTH.
    """
    level: Iterable[object] = [data]
    for _ in range(MAX_DEPTH + 1):
        containers = [value for value in level if isinstance(value, (dict, list))]
        if not containers:
            return
        level = [value for one in containers for value in (one.values() if isinstance(one, dict) else one)]
    raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
