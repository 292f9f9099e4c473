"""Mailboxes: each enrolled site's upload form and pool token, sealed for it, renewed long before they expire."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Optional, Protocol

from nacl.exceptions import CryptoError

from glidepost.schema.document import encode, parse_object
from glidepost.schema.errors import ConfigError, GlidepostError, UntrustedDocument
from glidepost.schema.keys import PublicKey, SigningKey
from glidepost.schema.mailbox import Letter, Mailbox
from glidepost.schema.signing import sign, verify

from .store import S3Store

LOG = logging.getLogger(__name__)

RENEW_AFTER: Final = timedelta(hours=6)
LIFE: Final = timedelta(hours=48)  # so sites still report while the publisher is down for a day
MAX_HEARTBEAT_BYTES: Final = 65536


class TokenMaker(Protocol):
    """Makes pool tokens; `Pool` is the real one."""

    def token(self, site: str) -> str:
        """Returns a new token for the glideins of a site."""


def key_of(site: str) -> str:
    """Returns the store key of a site's mailbox."""
    return f"v1/sites/{site}.json"


def renew(
    store: S3Store, sites: Mapping[str, PublicKey], *, tokens: TokenMaker, key: SigningKey, now: datetime
) -> tuple[list[str], list[GlidepostError]]:
    """Writes the mailboxes that are missing, old, signed by another key, or sealed for a key the site no longer has.

    Returns:
        The sites whose mailbox was renewed, and what went wrong for the others: one failure leaves the rest alone.
    """
    renewed, failures = [], []
    for site, public in sites.items():
        try:
            if _is_fresh(store.get(key_of(site)), site, public, signed_by=key.public, now=now):
                continue
            letter = Letter(
                site=site,
                issued_at=now,
                expires_at=now + LIFE,
                heartbeat_form=store.upload_form(
                    f"v1/heartbeats/{site}.json",
                    content_type="application/json",
                    max_bytes=MAX_HEARTBEAT_BYTES,
                    life_s=int(LIFE.total_seconds()),
                ),
                pool_token=tokens.token(site),
            )
            body = encode(sign(_packed(letter, public).to_json(), key))
            store.put(key_of(site), body, content_type="application/json", cache_seconds=60)
            renewed.append(site)
            LOG.info("mailbox renewed site=%s", site)
        except GlidepostError as error:
            failures.append(error)
    return renewed, failures


def _packed(letter: Letter, public: PublicKey) -> Mailbox:
    try:
        return Mailbox.pack(letter, public)
    except CryptoError as error:
        # Most texts of the right length are keys; about half of them are none for sealing.
        raise ConfigError(
            f"nothing can be sealed for the public key of site {letter.site}",
            hint="a letter of it was lost: enrol the site again with what its `glidepost keys show --site` prints",
        ) from error


def _is_fresh(body: Optional[bytes], site: str, public: PublicKey, *, signed_by: PublicKey, now: datetime) -> bool:
    if body is None:
        return False
    try:
        data = parse_object(body, what="mailbox")
        verify(data, [signed_by])
        mailbox = Mailbox.from_json(data)
    except UntrustedDocument:
        return False
    is_for_site = mailbox.site == site and mailbox.recipient == public.key_id
    return is_for_site and timedelta(0) <= now - mailbox.issued_at < RENEW_AFTER
