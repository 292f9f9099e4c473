"""Sealed boxes (libsodium's crypto_box_seal): bytes that only one site can open, with the twin of its Ed25519 key."""

from __future__ import annotations

import base64

import nacl.exceptions
import nacl.public
import nacl.signing

from . import exact_base64
from .errors import UntrustedDocument
from .keys import PublicKey, SigningKey


def seal(message: bytes, recipient: PublicKey) -> str:
    """Returns the box as base64 text, 48 bytes longer than the message before encoding."""
    key = nacl.signing.VerifyKey(recipient.raw).to_curve25519_public_key()
    return base64.b64encode(nacl.public.SealedBox(key).encrypt(message)).decode()


def unseal(box: str, key: SigningKey) -> bytes:
    """Returns the message in a box that was sealed for us.

    Raises:
        UntrustedDocument: when it was sealed for another key, changed on the way, or is no box.
    """
    private = nacl.signing.SigningKey(key.seed).to_curve25519_private_key()
    try:
        return nacl.public.SealedBox(private).decrypt(exact_base64.decode(box))
    except (nacl.exceptions.CryptoError, ValueError) as error:  # nacl's own ValueError and TypeError are CryptoErrors
        raise UntrustedDocument(
            "the mailbox cannot be opened with this site's key",
            hint="was the site enrolled with another key? send the line of `glidepost keys show --site` again",
        ) from error
