"""Base64 (RFC 4648) in which each text stands for its own bytes: no other text for the same, nothing left out."""

from __future__ import annotations

import base64


def decode(text: object) -> bytes:
    """Returns the bytes.

    Raises:
        ValueError: when it is no text, or not the one that `base64.b64encode` would write.
    """
    if not isinstance(text, str):
        raise ValueError("no base64: not a text")  # noqa: TRY004 - what every bad text raises
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode() != text:  # bits behind the end, or more padding than there should be
        raise ValueError("no base64: another spelling of its bytes")
    return raw
