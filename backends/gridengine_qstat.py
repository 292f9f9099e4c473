"""What qstat -xml writes, read without an XML library: no entity is expanded, and what is cut or strange is refused.

Not a conforming parser, because the answer is no conforming XML either: 8.1.9 writes "<" in a name as "%lt;", and lets
control characters through.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Optional

from .base import QueueLimits

_TOKEN: Final = re.compile(
    r"<\?xml[^<>]*\?>|<(?P<close>/?)(?P<tag>[A-Za-z][\w.:-]*)(?P<attributes>(?:\s[^<>]*?)?)(?P<empty>/?)>|(?P<text>[^<]+)"
)
_NAME: Final = re.compile(r"""\bname\s*=\s*["']([^"']*)["']""")
_ENTITY: Final = re.compile(
    r"&(?:#(?P<decimal>\d{1,7})|#x(?P<hex>[0-9A-Fa-f]{1,6})|(?P<name>lt|gt|amp|quot|apos));|%lt;"
)
_ENTITIES: Final = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}
_MOST_TASKS: Final = 1_000_000  # in one element; max_aj_tasks is 75000 by default
_RANGE: Final = re.compile(r"(?P<first>\d{1,9})(?:-(?P<last>\d{1,9})(?::(?P<step>\d{1,9}))?)?")


@dataclass
class Element:
    """One element: its tag, the attribute `name` if it has one, its text, and the elements in it."""

    tag: str
    name: str = ""
    text: str = ""
    inner: list[Element] = field(default_factory=list)

    def value(self, tag: str) -> Optional[str]:
        """Returns the text of the first element of this tag directly in this one, None where there is none."""
        return next((element.text for element in self.inner if element.tag == tag), None)

    def all(self, tag: str) -> Iterator[Element]:
        """Yields the elements of this tag, at any depth."""
        for element in self.inner:
            if element.tag == tag:
                yield element
            yield from element.all(tag)


def parsed(text: str, root: str) -> Element:
    """Returns an element with all documents in the text, each complete and with this root; none in an empty text.

    Raises:
        ValueError: when something is missing, or there is anything else.
    """
    top = Element("")
    open_elements = [top]
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"no answer of qstat -xml here: {text[position : position + 200]!r}")
        position = match.end()
        _take(match, open_elements)
    if len(open_elements) > 1:
        raise ValueError(f"qstat's answer is cut: {text[-200:]!r}")
    is_complete = all(element.tag == root for element in top.inner) and (top.inner or not text.strip())
    if top.text.strip() or not is_complete:
        raise ValueError(f"not qstat's {root}: {text[:200]!r}")
    return top


def _take(match: re.Match[str], open_elements: list[Element]) -> None:
    """Adds what one token says to the innermost open element."""
    if match["text"] is not None:
        open_elements[-1].text += _decoded(match["text"])
    elif match["close"]:
        if len(open_elements) == 1 or open_elements.pop().tag != match["tag"]:
            raise ValueError(f"</{match['tag']}> closes what is not open")
    elif match["tag"]:
        name = _NAME.search(match["attributes"])
        element = Element(match["tag"], name[1] if name else "")
        open_elements[-1].inner.append(element)
        if not match["empty"]:
            open_elements.append(element)


def _decoded(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        if match["name"]:
            return _ENTITIES[match["name"]]
        number = match["decimal"] or match["hex"]
        if number is None:
            return "<"  # %lt;
        code = int(number, 10 if match["decimal"] else 16)
        return chr(code) if code <= 0x10FFFF and not 0xD800 <= code < 0xE000 else "\N{REPLACEMENT CHARACTER}"

    return _ENTITY.sub(one, text)


def indices(tasks: str) -> Iterator[int]:
    """Yields the members of an array that "4", "9-12:1" or "1-9:2,13,20-22:1" stands for.

    Raises:
        ValueError: for anything else, or too many.
    """
    for part in tasks.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"not tasks of an array: {tasks[:200]!r}")
        first, step = int(match["first"]), int(match["step"] or 1)
        last = int(match["last"] or first)
        if step < 1 or last < first or (last - first) // step >= _MOST_TASKS:
            raise ValueError(f"not tasks of an array: {tasks[:200]!r}")
        yield from range(first, last + 1, step)


def queue_limits(queue: Element, walltime: str, array_size: Optional[int]) -> QueueLimits:
    """Returns what one queue instance, a queue on a host, lets a batch job have."""
    resources = {element.name: element.text for element in queue.inner if element.tag == "resource"}
    name = (queue.value("name") or "").partition("@")[0]
    slots = queue.value("slots_total") or ""
    state = queue.value("state") or ""
    return QueueLimits(
        name,
        not set(state)
        - set("aA"),  # an alarm (of the load, or to suspend) passes; disabled, unheard of and the like do not
        _seconds(resources.get(walltime, "")),
        int(slots) if slots.isdecimal() else None,
        _mebibytes(resources.get("mem_total", "")),
        array_size,
    )


def _seconds(text: str) -> Optional[int]:
    """Returns seconds for "01:00:00", "1:00:00:00" or "3600", None for INFINITY and what is not known."""
    if not re.fullmatch(r"\d+(?::\d+){0,3}", text):
        return None
    numbers = [int(number) for number in text.split(":")]
    return sum(number * unit for number, unit in zip(reversed(numbers), (1, 60, 3600, 86400)))


def _mebibytes(text: str) -> Optional[int]:
    """Returns MiB for "23.541G" and its like, None for what is not known."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT])", text)
    if match is None:
        return None
    return int(float(match[1]) * 1024 ** ("KMGT".index(match[2]) - 1))
