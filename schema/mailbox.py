"""mailbox/1: what only one site may know: its upload form, and the token with which its glideins join the pool.

The outer document is public and signed by the pool; the letter inside is sealed for the site. The site's name is in
both, and a letter that was moved into another site's mailbox is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Final, Optional

import msgspec

from .document import Document, Moment, parse_object
from .errors import UntrustedDocument
from .keys import PublicKey, SigningKey
from .sealing import seal, unseal

FILENAME: Final = "${filename}"  # S3 puts the name of the uploaded file there; a glidein does it itself


@dataclass(frozen=True, repr=False)
class Form:
    """What a store lets its bearer write: what, and its limits, are signed inside. A credential, never logged.

    A presigned POST has `fields`, and a policy among them. A presigned PUT, for stores that know no such policies, has
    `headers`, which must be sent as they are, and no bound on the size.
    """

    url: str
    fields: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """POST of the fields, or PUT."""
        return "PUT" if self.headers else "POST"

    @property
    def place(self) -> str:
        """The address, for people: without what makes that of a PUT a credential."""
        return self.url.partition("?")[0]


@dataclass(frozen=True, repr=False)
class Letter:
    """What is sealed. Never logged: the forms and the token are credentials.

    `log_form` writes any object below one prefix: its `key` ends in `FILENAME`. `log_url` is where such an object can
    be read by whom the pool allows that, FILENAME in it too.
    """

    site: str
    issued_at: Moment
    expires_at: Moment
    heartbeat_form: Form
    pool_token: str
    log_form: Optional[Form] = None
    log_url: str = ""


@dataclass(frozen=True)
class Mailbox(Document):
    """A letter in its envelope. `box` is base64. `settings` says what the publisher made it for: see mailboxes.py."""

    kind: ClassVar[str] = "mailbox/1"

    site: str
    issued_at: datetime
    expires_at: datetime
    recipient: str
    box: str
    settings: Optional[str] = None

    @classmethod
    def pack(cls, letter: Letter, recipient: PublicKey, *, settings: Optional[str] = None) -> Mailbox:
        """Returns the letter sealed for one site's key."""
        message = json.dumps(msgspec.to_builtins(letter)).encode()
        box = seal(message, recipient)
        return cls(letter.site, letter.issued_at, letter.expires_at, recipient.key_id, box, settings)

    def open(self, key: SigningKey, *, site: str) -> Letter:
        """Returns the letter.

        Raises:
            UntrustedDocument: when it was sealed for another key or written to another site.
        """
        try:
            letter = msgspec.convert(parse_object(unseal(self.box, key), what="the letter in the mailbox"), Letter)
        except msgspec.ValidationError as error:
            raise UntrustedDocument(
                "the letter in the mailbox is unreadable",
                hint="the publisher runs another version of Glidepost",
            ) from error
        if letter.site != site or self.site != site:
            raise UntrustedDocument(
                f"the mailbox of {site} holds a letter to {letter.site}",
                hint="tell the pool's admin: somebody moved it",
            )
        if letter.expires_at != self.expires_at:
            raise UntrustedDocument(
                "the mailbox and the letter in it end at different times", hint="tell the pool's admin: it is not one"
            )
        return letter
