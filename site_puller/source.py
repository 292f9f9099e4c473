"""Where the pool's documents come from. What was believed is kept, and what nobody verified never takes its place."""

from __future__ import annotations

import json
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Optional

from glidepost.schema import compression
from glidepost.schema.document import MAX_DOCUMENT_BYTES
from glidepost.schema.errors import StoreError
from glidepost.schema.files import write_atomic
from glidepost.schema.keychain import KEYS_KEY
from glidepost.schema.store_keys import DEMAND_KEY, mailbox_key

FOREIGN: Final = "this is not Glidepost's document"

_GZIP_MAGIC: Final = b"\x1f\x8b"
# The demand, and what is small: a mailbox, and the pool's keys.
MAX_STREAM_BYTES: Final = MAX_DOCUMENT_BYTES + 1024 * 1024


@dataclass(frozen=True)
class Fetched:
    """A document as it came. `clock_skew_s` is the store's clock minus ours, when it said its time; `tag` its ETag."""

    body: bytes
    is_new: bool = True
    clock_skew_s: Optional[int] = None
    tag: str = ""


class Source(ABC):
    """Gives documents by their key in the store. Copies of those that were believed are kept in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @abstractmethod
    def get(self, key: str, *, now: datetime) -> Optional[Fetched]:
        """Returns a document, None when there is none under this key.

        Raises:
            StoreError: when it cannot be had, or is too large.
        """

    @abstractmethod
    def place(self, key: str) -> str:
        """Returns where the document is looked for, for messages."""

    def keep(self, key: str, fetched: Fetched) -> None:
        """Keeps what was believed.

        The tag is written last: a crash in between costs one more full answer, never an old body under a new tag.
        """
        if not fetched.is_new:
            return
        file = self._file(key)
        self.forget(key)
        write_atomic(file, fetched.body, mode=0o600)
        if fetched.tag:
            note = {"url": self.place(key), "etag": fetched.tag}
            write_atomic(file.with_suffix(".etag"), json.dumps(note).encode())

    def forget(self, key: str) -> None:
        """Makes the next `get` fetch the document whole: a kept copy that is no good must not be confirmed."""
        self._file(key).with_suffix(".etag").unlink(missing_ok=True)

    def _kept(self, key: str) -> Optional[bytes]:
        try:
            return self._file(key).read_bytes()
        except OSError:
            return None

    def _tag(self, key: str) -> str:
        try:
            note = json.loads(self._file(key).with_suffix(".etag").read_text(encoding="utf-8"))
            return str(note["etag"]) if note["url"] == self.place(key) else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _file(self, key: str) -> Path:
        return self._folder / key.replace("/", "-")


class FolderSource(Source):
    """A folder with the store's keys as paths, that another host fills."""

    def __init__(self, root: Path, folder: Path) -> None:
        super().__init__(folder)
        self._root = root

    def place(self, key: str) -> str:
        """Returns the file."""
        return str(self._root / key)

    def get(self, key: str, *, now: datetime) -> Optional[Fetched]:  # noqa: ARG002 - files do not say the store's time
        """Returns a document, None when there is no such file.

        Raises:
            StoreError: when it cannot be read, or is too large.
        """
        file = self._root / key
        try:
            body = read_bounded(file, MAX_DOCUMENT_BYTES)
            if body.startswith(_GZIP_MAGIC):  # large documents travel so, and curl leaves them so unless told
                body = compression.unpack(body, max_bytes=MAX_DOCUMENT_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{file}: {error.strerror or error}", hint="may this account read it?") from error
        except ValueError as error:
            raise StoreError(f"{file}: {error}", hint=FOREIGN) from error
        return Fetched(body, is_new=body != self._kept(key))


class StreamSource(Source):
    """Documents one after the other in one stream; what is not among them is taken from the kept copies.

    Args:
        name: What the stream is called in messages.
        read: Returns its bytes, once.
        site: Whose mailbox may be in it.
        folder: Of the kept copies.
    """

    def __init__(self, name: str, read: Callable[[], bytes], *, site: str, folder: Path) -> None:
        super().__init__(folder)
        self._name = name
        self._read = read
        self._keys = {"demand/1": DEMAND_KEY, "mailbox/1": mailbox_key(site), "keys/1": KEYS_KEY}
        self._documents: Optional[dict[str, bytes]] = None
        self._failure: Optional[StoreError] = None

    def place(self, key: str) -> str:
        """Returns the stream's name and the key."""
        return f"{self._name}: {key}"

    def get(self, key: str, *, now: datetime) -> Optional[Fetched]:  # noqa: ARG002 - a stream does not say the time
        """Returns a document of the stream, else the kept one, None when there is neither.

        Raises:
            StoreError: when anything in the stream is no document, even if this one came before it.
        """
        body, kept = self._all().get(key), self._kept(key)
        if body is None:
            return None if kept is None else Fetched(kept, is_new=False)
        return Fetched(body, is_new=body != kept)

    def _all(self) -> dict[str, bytes]:
        """Returns what the stream holds; it is read once."""
        if self._failure:
            raise self._failure
        if self._documents is None:
            try:
                self._documents = self._split(self._read())
            except StoreError as error:
                self._failure = error
                raise
        return self._documents

    def _split(self, stream: bytes) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        decoder = json.JSONDecoder()
        try:
            text = stream.decode("utf-8").strip()
            while text:
                data, end = decoder.raw_decode(text)
                key = self._keys.get(str(data["kind"]))
                if key is None or key in found:
                    why = "neither demand, mailbox nor keys" if key is None else "a second one of its kind"
                    raise self._refused(f"document {len(found) + 1} is {str(data['kind'])[:40]!r}, {why}")
                found[key] = text[:end].encode()
                text = text[end:].lstrip()
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise self._refused(f"no document after {len(found)} of them: {error}") from error
        if not found:
            raise self._refused("nothing came")
        return found

    def _refused(self, what: str) -> StoreError:
        return StoreError(
            f"{self._name}: {what}",
            hint="the transfer was cut, or something else was sent: fetch with curl -fsS --compressed, and look at it",
        )


def read_bounded(file: Path, max_bytes: int) -> bytes:
    """Returns what a file holds; waits for nobody, should it be a pipe.

    Raises:
        OSError: when it cannot be read.
        ValueError: when it is no file, or larger than that.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a file")
        body = opened.read(max_bytes + 1)
    if len(body) > max_bytes:
        raise ValueError(f"more than {max_bytes} bytes")
    return body
