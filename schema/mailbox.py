"""mailbox/1: what only one site may know: its upload form, and the token with which its glideins join the pool.

The outer document is public and signed by the pool; the letter inside is sealed for the site. The site's name is in
both, and a letter that was moved into another site's mailbox is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

import msgspec

from .document import Document
from .errors import UntrustedDocument
from .keys import PublicKey, SigningKey
from .sealing import seal, unseal


@dataclass(frozen=True)
class Form:
    """A presigned POST: the only key it may write, and its limits, are inside its signed policy."""

    url: str
    fields: dict[str, str]


@dataclass(frozen=True, repr=False)
class Letter:
    """What is sealed. Never logged: both fields are credentials."""

    site: str
    issued_at: datetime
    expires_at: datetime
    heartbeat_form: Form
    pool_token: str


@dataclass(frozen=True)
class Mailbox(Document):
    """A letter in its envelope. `box` is base64."""

    kind: ClassVar[str] = "mailbox/1"

    site: str
    issued_at: datetime
    expires_at: datetime
    recipient: str
    box: str

    @classmethod
    def pack(cls, letter: Letter, recipient: PublicKey) -> Mailbox:
        """Returns the letter sealed for one site's key."""
        message = json.dumps(msgspec.to_builtins(letter)).encode()
        return cls(letter.site, letter.issued_at, letter.expires_at, recipient.key_id, seal(message, recipient))

    def open(self, key: SigningKey, *, site: str) -> Letter:
        """Returns the letter.

        Raises:
            UntrustedDocument: when it was sealed for another key or written to another site.
        """
        try:
            letter = msgspec.json.decode(unseal(self.box, key), type=Letter)
        except msgspec.MsgspecError as error:
            raise UntrustedDocument(
                "the letter in the mailbox is unreadable",
                hint="the publisher runs another version of Glidepost",
            ) from error
        if letter.site != site or self.site != site:
            raise UntrustedDocument(
                f"the mailbox of {site} holds a letter to {letter.site}",
                hint="tell the pool's admin: somebody moved it",
            )
        return letter
