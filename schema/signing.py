"""Ed25519 signatures over the RFC 8785 canonical bytes of a document without its `signatures`.

The signature stands inside the document, beside the data, so that one GET fetches both and `curl | jq` stays readable.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any, Final

import rfc8785
from nacl.exceptions import BadSignatureError

from . import exact_base64
from .errors import UntrustedDocument
from .keys import PublicKey, SigningKey

MAX_SIGNATURES: Final = 8  # a new key needs two; more would be somebody making us work
_FORGED = "the store serves something that the pool did not sign, or the pool has a new key; ask the pool's admin"


def canonical(data: dict[str, Any]) -> bytes:
    """Returns the bytes that are signed: RFC 8785 JSON of the document without `signatures`.

    Raises:
        UntrustedDocument: when the document holds values without a canonical form.
    """
    try:
        return rfc8785.dumps({key: value for key, value in data.items() if key != "signatures"})
    except (rfc8785.CanonicalizationError, ValueError, RecursionError) as error:  # ValueError: half a character
        raise UntrustedDocument(f"document has no canonical form: {error}", hint=_FORGED) from error


def sign(data: dict[str, Any], *keys: SigningKey) -> dict[str, Any]:
    """Returns the document with a signature by each of `keys` in place of any it had."""
    message = canonical(data)
    signatures = [
        {"key_id": key.public.key_id, "signature": base64.b64encode(key.sign(message)).decode()} for key in keys
    ]
    return {**data, "signatures": signatures}


def verify(data: dict[str, Any], trusted: Iterable[PublicKey]) -> PublicKey:
    """Returns the trusted key that signed the document.

    Raises:
        UntrustedDocument: when none of its signatures is a good one by a trusted key.
    """
    known = {key.key_id: key for key in trusted}
    signatures = data.get("signatures")
    if not isinstance(signatures, list) or not signatures:
        raise UntrustedDocument("document is not signed", hint=_FORGED)
    if len(signatures) > MAX_SIGNATURES:
        raise UntrustedDocument(f"document has {len(signatures)} signatures", hint=_FORGED)
    message = canonical(data)
    for entry in signatures:
        key_id = entry.get("key_id") if isinstance(entry, dict) else None
        key = known.get(key_id) if isinstance(key_id, str) else None
        if key is None:
            continue
        try:
            key.verify(message, exact_base64.decode(entry.get("signature")))
        except (BadSignatureError, ValueError) as error:
            raise UntrustedDocument(f"signature by key {key.key_id} is wrong", hint=_FORGED) from error
        return key
    raise UntrustedDocument(f"document is not signed by a key we trust ({', '.join(known)})", hint=_FORGED)
