"""What a pool token (HTCondor's IDTOKEN, a JSON Web Token) says. Its signature is the collector's business."""

from __future__ import annotations

import base64
import json


def claims(token: str) -> dict[str, object]:
    """Returns the second part of a token (RFC 7519): `iss`, `sub`, `iat` and `exp` (seconds since 1970), `scope`.

    Raises:
        ValueError: when this is no token.
    """
    try:
        part = token.strip().split(".")[1]
        said = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError) as error:
        raise ValueError("not three parts of base64 with JSON in them") from error
    return said if isinstance(said, dict) else {}
