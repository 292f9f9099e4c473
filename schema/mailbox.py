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

from .document import Document
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
    def is_post(self) -> bool:
        """Whether it is a POST of fields; else a PUT."""
        return bool(self.fields)


@dataclass(frozen=True, repr=False)
class Letter:
    """What is sealed. Never logged: the forms and the token are credentials.

    `log_form` writes any object below one prefix: its `key` ends in `FILENAME`. `log_url` is where such an object can
    be read by whom the pool allows that, FILENAME in it too.
    """

    site: str
    issued_at: datetime
    expires_at: datetime
    heartbeat_form: Form
    pool_token: str
    log_form: Optional[Form] = None
    log_url: str = ""


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
