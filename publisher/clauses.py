"""A Requirements expression as the clauses that must all be true: pure."""

from __future__ import annotations

from typing import Final

_OPEN: Final = "([{"
_CLOSE: Final = ")]}"
_BINDS_LOOSER: Final = ("||", "?")  # than &&: `a && b || c` is one clause


def split(expression: str) -> tuple[str, ...]:
    """Returns the operands of the && at the top of a ClassAd expression, without the parentheses around them.

    Args:
        expression: As HTCondor prints one, so that quotes and parentheses are balanced; else it is returned whole.
    """
    text = _bare(expression.strip())
    operands = _operands(text)
    if len(operands) < 2:
        return (text,)
    return tuple(clause for operand in operands for clause in split(operand))


def _operands(text: str) -> list[str]:
    """Returns the parts between the && at depth 0; the whole if anything there binds looser."""
    found, start, depth, position = [], 0, 0, 0
    while position < len(text):
        character = text[position]
        if character in "\"'":
            position = _after_quote(text, position)
            continue
        depth += (character in _OPEN) - (character in _CLOSE)
        if depth == 0 and text.startswith("=?=", position):
            position += 3
            continue
        if depth == 0 and text.startswith(_BINDS_LOOSER, position):
            return [text]
        if depth == 0 and text.startswith("&&", position):
            found.append(text[start:position])
            start = position = position + 2
            continue
        position += 1
    return [*found, text[start:]]


def _bare(text: str) -> str:
    """Returns the expression without parentheses that enclose all of it."""
    while text.startswith("(") and text.endswith(")") and _closing(text) == len(text) - 1:
        text = text[1:-1].strip()
    return text


def _closing(text: str) -> int:
    """Returns where the parenthesis at the start is closed, -1 if nowhere."""
    depth, position = 0, 0
    while position < len(text):
        if text[position] in "\"'":
            position = _after_quote(text, position)
            continue
        depth += (text[position] in _OPEN) - (text[position] in _CLOSE)
        if depth == 0:
            return position
        position += 1
    return -1


def _after_quote(text: str, start: int) -> int:
    """Returns the position behind a quoted string ("...") or name ('...')."""
    position = start + 1
    while position < len(text) and text[position] != text[start]:
        position += 2 if text[position] == "\\" else 1
    return position + 1
