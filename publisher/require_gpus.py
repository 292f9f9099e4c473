"""What a user job's `require_gpus` certainly asks of a GPU: lower bounds of capability and memory. Pure.

Only for people and for sites that look at numbers; matching evaluates the expression itself. So a bound is stated only
where the expression cannot be true without it: in a conjunction, by a term that compares the property with a number.
https://htcondor.readthedocs.io/en/latest/man-pages/condor_submit.html (require_gpus, gpus_minimum_capability)
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Final, Optional

_PROPERTIES: Final = {"capability": "capability", "globalmemorymb": "memory"}
_NAME: Final = r"(?:TARGET\.)?(Capability|GlobalMemoryMb)"
_ATLEAST: Final = re.compile(rf"{_NAME}\s*(>=|>|==|=\?=|is)\s*(.+)", re.IGNORECASE | re.DOTALL)
_ATMOST: Final = re.compile(rf"(.+?)\s*(<=|<|==|=\?=|is)\s*{_NAME}", re.IGNORECASE | re.DOTALL)
# One token: a string, an operator of which a part would look like another one, or any character.
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|=\?=|=!=|&&|\|\||.', re.DOTALL)
_MAX: Final = 1_000_000_000


def bounds(expression: str, evaluate: Callable[[str], object]) -> tuple[Optional[str], Optional[int]]:
    """Returns the least capability, such as "8.0", and the least memory in MiB; None where nothing is certain.

    Args:
        expression: `RequireGPUs` as text.
        evaluate: Gives the value of an expression in the user job's ad.
    """
    found: dict[str, list[float]] = {"capability": [], "memory": []}
    for term in _conjuncts(expression):
        bound = _bound(term, evaluate)
        if bound:
            found[bound[0]].append(bound[1])
    capability = max(found["capability"], default=None)
    memory = max(found["memory"], default=None)
    return None if capability is None else _decimal(capability), None if memory is None else math.ceil(memory)


def _conjuncts(expression: str) -> Iterator[str]:
    """Gives the terms that must all be true."""
    text = expression.strip()
    parts, depth, start = [], 0, 0
    for token in _TOKEN.finditer(text):
        word = token.group()
        depth += (word in "([{") - (word in ")]}")
        if depth:
            continue
        if word in {"||", "?"}:
            return  # one of several, so none is certain
        if word == "&&":
            parts.append(text[start : token.start()])
            start = token.end()
    if parts:
        for part in (*parts, text[start:]):
            yield from _conjuncts(part)
    elif _is_enclosed(text):
        yield from _conjuncts(text[1:-1])
    else:
        yield text


def _is_enclosed(text: str) -> bool:
    """Returns whether the first parenthesis is closed by the last character."""
    depth = 0
    for token in _TOKEN.finditer(text):
        depth += (token.group() == "(") - (token.group() == ")")
        if depth == 0:
            return token.end() == len(text) and text.startswith("(")
    return False


def _bound(term: str, evaluate: Callable[[str], object]) -> Optional[tuple[str, float]]:
    """Returns the property and the number that it must reach; one beyond, for integers and a strict comparison."""
    found = _ATLEAST.fullmatch(term)
    if found:
        name, operator, other = found.groups()
    else:
        found = _ATMOST.fullmatch(term)
        if not found:
            return None
        other, operator, name = found.groups()
    value = evaluate(other)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _MAX:
        return None
    kind = _PROPERTIES[name.lower()]
    return kind, math.floor(value) + 1 if kind == "memory" and operator in {">", "<"} else value


def _decimal(value: float) -> str:
    return f"{value:.4f}".rstrip("0") + ("0" if value == int(value) else "")
