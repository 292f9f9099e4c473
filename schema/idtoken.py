"""What a pool token (HTCondor's IDTOKEN, a JSON Web Token) says. Its signature is the collector's business."""

from __future__ import annotations

import base64
import json
import math
from typing import Optional


def claims(token: str) -> dict[str, object]:
    """Returns the second part of a token (RFC 7519): `iss`, `sub`, `iat` and `exp` (seconds since 1970), `scope`.

    Raises:
        ValueError: when this is no token.
    """
    what = "not three parts of base64 with a JSON object in them"
    parts = token.strip().split(".")
    if len(parts) != 3:
        raise ValueError(what)
    try:
        said = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):  # without the cause, which would quote the token
        raise ValueError(what) from None
    if isinstance(said, dict):
        return said
    raise ValueError(what)


def expiry(token: str) -> Optional[int]:
    """Returns when a token ends, in seconds since 1970; None for one that has no end.

    Raises:
        ValueError: when this is no token, or its end is no number.
    """
    end = claims(token).get("exp")
    if end is None:
        return None
    if isinstance(end, bool) or not isinstance(end, (int, float)) or not math.isfinite(end):
        raise ValueError("its end is no number")
    return math.floor(end)
