"""A heartbeat that fits through its form: what matters least is left out first, and outcomes never."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from glidepost.schema.document import encode
from glidepost.schema.heartbeat import BreakerView, Heartbeat, ShapeReport
from glidepost.schema.units import counted

# What the pool's upload form takes (publisher/forms.py); a test holds the two together.
MAX_BYTES: Final = 65536
# What the schema takes.
_TEXT: Final = 500
_ERRORS: Final = 50


def tidied(heartbeat: Heartbeat) -> Heartbeat:
    """Returns the heartbeat with texts that its schema takes: short enough, and no bytes that are no text."""
    return _shortened(heartbeat, errors=_ERRORS, text=_TEXT)


def fitted(heartbeat: Heartbeat, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Returns the document, no larger than that.

    Without room, spaces go first, then the ends of texts, then what glideins advertise, then shapes from the last on.
    A shape that advertises less, or is not reported, is given less by the pool, never more.

    Raises:
        GlidepostError: when it breaks its schema: a bug.
    """
    heartbeat = tidied(heartbeat)
    body = encode(heartbeat.to_json())
    steps: tuple[Callable[[Heartbeat], Heartbeat], ...] = (
        lambda whole: whole,
        lambda whole: _shortened(whole, errors=10, text=200),
        lambda whole: _shortened(whole, errors=5, text=60),
        _without_advertised,
    )
    for step in steps:
        if len(body) <= max_bytes:
            return body
        heartbeat = step(heartbeat)
        body = _dense(heartbeat.to_json())
    return body if len(body) <= max_bytes else _with_first_shapes(heartbeat, max_bytes)


def _with_first_shapes(heartbeat: Heartbeat, max_bytes: int) -> bytes:
    """Returns the document with as many shapes as there is room for, and an error that says so."""

    def part(kept: int) -> bytes:
        left_out = f"{counted(len(heartbeat.shapes) - kept, 'shape')} left out: the heartbeat would be too large"
        errors = (left_out, *heartbeat.errors)
        return _dense(replace(heartbeat, shapes=heartbeat.shapes[:kept], errors=errors).to_json())

    fits, too_many = 0, len(heartbeat.shapes)
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if len(part(middle)) <= max_bytes:
            fits = middle
        else:
            too_many = middle
    return part(fits)


def _dense(data: dict[str, Any]) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _shortened(heartbeat: Heartbeat, *, errors: int, text: int) -> Heartbeat:
    def shorten(shape: ShapeReport) -> ShapeReport:
        breaker = shape.breaker
        if isinstance(breaker, BreakerView):
            breaker = replace(breaker, detail=_plain(breaker.detail, text))
        return replace(shape, detail=_plain(shape.detail, text), breaker=breaker)

    return replace(
        heartbeat,
        errors=tuple(_plain(error, text) for error in heartbeat.errors[:errors]),
        shapes=tuple(shorten(shape) for shape in heartbeat.shapes),
    )


def _without_advertised(heartbeat: Heartbeat) -> Heartbeat:
    return replace(heartbeat, shapes=tuple(replace(shape, advertises={}) for shape in heartbeat.shapes))


def _plain(text: str, most: int) -> str:
    """Returns the beginning of a text. File names may hold bytes that no encoding has: they become question marks."""
    return text[:most].encode("utf-8", "replace").decode()
