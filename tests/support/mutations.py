"""Valid examples, changed: values of another type, deleted, doubled and moved ones, huge numbers, odd texts, cut bytes.

The strategies know the structure (JSON values, lines and words), so that most of what they make gets past the first
look of a parser.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any, Union

from hypothesis import strategies as st

Container = Union[dict[str, Any], list[Any]]

ODD_TEXTS = (
    "", " ", "\0", "\n", "a\nb", "-1", "0", "NaN", "1e400", "9" * 30, "é", "\u0435", "\u202e", "\U0001f600", "\ud800",
    "../../x", "2026-11-22T09:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-02-30T25:61:61Z",
    "2026-11-22T09:00:00", "2026-11-22T09:00:00+23:59", "north", "$(id)", "%s%n", "{}",
    "[", '"', "ed25519:" + "A" * 43 + "=", "x" * 5000,
)  # fmt: skip
ODD_NUMBERS = (0, 1, -1, 2**31, 2**53 - 1, 2**53, 2**63, -(2**63) - 1, 10**19, 0.5, -0.0, 1e308, 7.0, True, False)
ODD_VALUES = st.one_of(
    st.sampled_from(ODD_TEXTS),
    st.sampled_from(ODD_NUMBERS),
    st.sampled_from([None, [], {}, [[]], {"": {}}, [None] * 50]).map(copy.deepcopy),
    st.text(max_size=12),
    st.integers(),
)


def _containers(value: Any) -> list[Container]:
    """Returns all objects and lists with something in them."""
    found: list[Container] = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, (dict, list)) and one:
            found.append(one)
            waiting.extend(one.values() if isinstance(one, dict) else one)
    return found


@st.composite
def changed_values(draw: st.DrawFn, examples: Sequence[Any]) -> Any:
    """Returns one of the examples with some changes; any value at its top."""
    value = copy.deepcopy(draw(st.sampled_from(examples)))
    for _ in range(draw(st.integers(0, 4))):
        places = _containers(value)
        if not places:
            return draw(ODD_VALUES)
        place = draw(st.sampled_from(places))
        key = draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
        _change(draw, place, key, examples)
    return value


def _change(draw: st.DrawFn, place: Any, key: Any, examples: Sequence[Any]) -> None:
    how = draw(st.sampled_from(["odd", "odd", "delete", "splice", "swap", "add", "wrap"]))
    if how == "odd":
        place[key] = draw(ODD_VALUES)
    elif how == "delete":
        del place[key]
    elif how == "splice":
        other = draw(st.sampled_from(_containers(draw(st.sampled_from(examples))) or [{}]))
        place[key] = copy.deepcopy(
            draw(st.sampled_from([other, *(other.values() if isinstance(other, dict) else other)]))
        )
    elif how == "swap":
        other_key = draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
        place[key], place[other_key] = place[other_key], place[key]
    elif how == "wrap":
        place[key] = [place[key]]
    elif isinstance(place, list):
        place.append(copy.deepcopy(place[key]))
    else:
        place[draw(st.sampled_from(ODD_TEXTS))] = copy.deepcopy(place[key])


@st.composite
def changed_bytes(draw: st.DrawFn, body: bytes) -> bytes:
    """Returns bytes with some flipped, cut out, doubled or put in."""
    changed = bytearray(body)
    for _ in range(draw(st.integers(0, 3))):
        begin = draw(st.integers(0, len(changed)))
        end = min(len(changed), begin + draw(st.integers(0, 40)))
        how = draw(st.sampled_from(["flip", "cut", "double", "put", "end"]))
        if how == "flip" and begin < len(changed):
            changed[begin] ^= 1 << draw(st.integers(0, 7))
        elif how == "cut":
            del changed[begin:end]
        elif how == "double":
            changed[end:end] = changed[begin:end]
        elif how == "put":
            changed[begin:begin] = draw(
                st.binary(max_size=8) | st.sampled_from([b"[" * 2000, b"{", b"}", b",", b'"', b"\xff"])
            )
        elif how == "end":
            del changed[begin:]
    return bytes(changed)


def _written(value: Any) -> bytes:
    """Returns JSON; half a character is escaped, for it has no bytes."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()


def json_bytes(examples: Sequence[Any]) -> st.SearchStrategy[bytes]:
    """Returns foreign bytes in the place of a JSON document like the examples."""
    written = changed_values(examples).map(_written)
    return st.one_of(written, written, written.flatmap(changed_bytes), st.binary(max_size=200))


@st.composite
def changed_text(draw: st.DrawFn, examples: Sequence[str]) -> str:
    """Returns one of the examples with lines or words deleted, doubled, moved or replaced."""
    lines = draw(st.sampled_from(examples)).split("\n")
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, max(0, len(lines) - 1)))
        how = draw(st.sampled_from(["word", "word", "letter", "delete", "double", "splice", "cut", "put"]))
        if not lines or how == "put":
            lines.insert(place, draw(st.sampled_from(ODD_TEXTS)))
        elif how == "delete":
            del lines[place]
        elif how == "double":
            lines.insert(place, lines[place])
        elif how == "splice":
            lines[place] = draw(st.sampled_from(draw(st.sampled_from(examples)).split("\n")))
        elif how == "cut":
            lines[place] = lines[place][: draw(st.integers(0, len(lines[place])))]
        elif how == "letter":
            at = draw(st.integers(0, len(lines[place])))
            lines[place] = lines[place][:at] + draw(st.text(max_size=3)) + lines[place][at + draw(st.integers(0, 2)) :]
        else:
            words = lines[place].split(" ")
            words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(ODD_TEXTS))
            lines[place] = " ".join(words)
    return "\n".join(lines)


def texts(examples: Sequence[str]) -> st.SearchStrategy[str]:
    """Returns foreign texts in the place of one like the examples."""
    return st.one_of(changed_text(examples), changed_text(examples), st.text(max_size=200))
