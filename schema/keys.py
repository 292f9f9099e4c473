"""Ed25519 keys: the pool's, which signs the demand, and a site's, to which its mailbox is sealed.

A key file holds one line, ``ed25519-secret:<base64 of the 32-byte seed>``, mode 0600. A public key is written
``ed25519:<base64>`` everywhere; its id is the first 16 hex digits of its SHA-256.
"""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import nacl.signing

from . import exact_base64
from .errors import ConfigError
from .secrets import refuse_open_file

_PUBLIC: Final = "ed25519:"
_SECRET: Final = "ed25519-secret:"  # noqa: S105 - the word before it


@dataclass(frozen=True)
class PublicKey:
    """The half that may be shown. `raw` is 32 bytes."""

    raw: bytes

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Returns the key in ``ed25519:<base64>``.

        Raises:
            ConfigError: when it is anything else.
        """
        return cls(_decode(text, _PUBLIC, "a public key"))

    @property
    def key_id(self) -> str:
        """16 hex digits that name this key in signatures."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    def verify(self, message: bytes, signature: bytes) -> None:
        """Returns if the signature is good, else raises nacl.exceptions.BadSignatureError or ValueError."""
        nacl.signing.VerifyKey(self.raw).verify(message, signature)

    def __str__(self) -> str:
        """Returns ``ed25519:<base64>``."""
        return _PUBLIC + base64.b64encode(self.raw).decode()


@dataclass(frozen=True, repr=False)
class SigningKey:
    """The half that stays in its file. `seed` is 32 bytes and never printed."""

    seed: bytes

    @classmethod
    def generate(cls) -> SigningKey:
        """Returns a new key."""
        return cls(bytes(nacl.signing.SigningKey.generate()))

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """Returns the key in a file that nobody else can read.

        Raises:
            ConfigError: when the file is missing, readable by others, somebody else's, or holds no key.
        """
        try:
            text = path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"cannot read key {path}: {error}", hint=f"make one: glidepost keys generate {path}"
            ) from error
        refuse_open_file(path, "key")
        return cls(_decode(text.strip(), _SECRET, f"the key in {path}"))

    def save(self, path: Path) -> None:
        """Writes a new file of mode 0600.

        Raises:
            ConfigError: when there is one already: a key is never overwritten.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise ConfigError(f"{path} exists", hint="move it away first if you really want a new key") from error
        except OSError as error:
            raise ConfigError(f"cannot write key {path}: {error}", hint="choose a folder that you may write") from error
        with os.fdopen(descriptor, "wb") as file:
            file.write(self.line)

    @property
    def line(self) -> bytes:
        """What a key file holds: the secret."""
        return f"{_SECRET}{base64.b64encode(self.seed).decode()}\n".encode()

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return PublicKey(bytes(nacl.signing.SigningKey(self.seed).verify_key))

    def sign(self, message: bytes) -> bytes:
        """Returns the 64-byte signature of a message."""
        return nacl.signing.SigningKey(self.seed).sign(message).signature


def _decode(text: str, prefix: str, what: str) -> bytes:
    hint = f"it looks like {prefix}<44 characters of base64>"
    if not text.startswith(prefix):
        raise ConfigError(f"{what} does not begin with {prefix}", hint=hint)
    try:
        raw = exact_base64.decode(text[len(prefix) :])
    except ValueError as error:
        raise ConfigError(f"{what} is not base64", hint=hint) from error
    if len(raw) != 32:
        raise ConfigError(f"{what} has {len(raw)} bytes instead of 32", hint=hint)
    return raw
