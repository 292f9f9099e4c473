"""What the aggregator needs of the object store. S3Store is one; failures are StoreErrors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Optional, Protocol

from glidepost.publisher.store import COMPRESS_ABOVE, Listed
from glidepost.schema.document import MAX_DOCUMENT_BYTES

CACHE_SECONDS: Final = 15
JSON: Final = "application/json"


class Store(Protocol):
    """Reads and writes objects by their keys."""

    def get(self, key: str, *, max_bytes: int = MAX_DOCUMENT_BYTES) -> Optional[bytes]:
        """Returns an object, None when there is none; UntrustedDocument when it is larger."""

    def put(
        self, key: str, body: bytes, *, content_type: str, cache_seconds: int, compress_above: Optional[int] = None
    ) -> None:
        """Writes an object; compressed, if longer than `compress_above` bytes."""

    def copy(self, key: str, target: str) -> None:
        """Writes a copy of an object, as it is."""

    def delete(self, key: str) -> None:
        """Removes an object."""

    def entries(self, prefix: str) -> Sequence[Listed]:
        """Returns what begins with `prefix`: keys, with what tells one version of an object from the next."""


def write(store: Store, key: str, body: bytes, content_type: str) -> None:
    """Writes an object as all of the aggregator's are written: soon looked at again, and compressed when large."""
    store.put(key, body, content_type=content_type, cache_seconds=CACHE_SECONDS, compress_above=COMPRESS_ABOVE)
