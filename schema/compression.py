"""gzip as HTTP's Content-Encoding, both ways; what comes from outside is unpacked up to a bound only."""

from __future__ import annotations

import gzip
import zlib
from typing import Final

ENCODING: Final = "gzip"
_GZIP_ONLY: Final = 16 + zlib.MAX_WBITS  # zlib's manual, inflateInit2: no other header than gzip's


def pack(body: bytes) -> bytes:
    """Returns `body` compressed; the same bytes for the same body, so that a store gives it the same ETag."""
    return gzip.compress(body, mtime=0)


def unpack(body: bytes, *, max_bytes: int) -> bytes:
    """Returns what `pack` was given. Never holds more than `max_bytes` of it, however small `body` is.

    Raises:
        ValueError: saying why: it holds more than that, it was cut, or it is no gzip at all.
    """
    packed = zlib.decompressobj(wbits=_GZIP_ONLY)
    try:
        found = packed.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise ValueError(f"not {ENCODING}, though it is said to be: {error}") from error
    if len(found) > max_bytes:
        raise ValueError(f"more than {max_bytes} bytes when unpacked")
    if not packed.eof or packed.unused_data:
        raise ValueError(f"its {ENCODING} was cut, or something stands behind it")
    return found
