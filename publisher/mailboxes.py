"""Mailboxes: each enrolled site's upload forms and pool token, sealed for it, renewed long before they expire."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Optional, Protocol

from nacl.exceptions import CryptoError

from glidepost.schema.document import encode, parse_object
from glidepost.schema.errors import ConfigError, GlidepostError, UntrustedDocument
from glidepost.schema.keys import PublicKey, SigningKey
from glidepost.schema.mailbox import Letter, Mailbox
from glidepost.schema.signing import sign, verify

from .forms import Forms
from .store import S3Store

LOG = logging.getLogger(__name__)

RENEW_AFTER: Final = timedelta(hours=6)
LIFE: Final = timedelta(hours=48)  # so sites still report while the publisher is down for a day


class TokenMaker(Protocol):
    """Makes pool tokens; `Pool` is the real one."""

    def token(self, site: str) -> str:
        """Returns a new token for the glideins of a site."""


def key_of(site: str) -> str:
    """Returns the store key of a site's mailbox."""
    return f"v1/sites/{site}.json"


@dataclass(frozen=True)
class Office:
    """What letters are made with. Tokens made after a change of `token_settings` differ from those before."""

    store: S3Store
    tokens: TokenMaker
    key: SigningKey
    token_settings: tuple[str, ...] = ()

    def settings(self) -> str:
        """Returns 16 hex digits that differ when letters made from now on do: in how forms are, or tokens.

        Raises:
            ConfigError: when forms cannot be signed.
        """
        return self.store.forms.digest(*self.token_settings)


def renew(office: Office, sites: Mapping[str, PublicKey], *, now: datetime) -> tuple[list[str], list[GlidepostError]]:
    """Writes the mailboxes that are missing, old, signed by another key, or not as they would be if made now.

    That is so when the site has another key, or the settings have changed.

    Returns:
        The sites whose mailbox was renewed, and what went wrong for the others: one failure leaves the rest alone.
    """
    renewed, failures = list[str](), list[GlidepostError]()
    try:
        settings = office.settings()
    except GlidepostError as error:  # of all sites; what they have lasts for hours
        return renewed, [error]
    store = office.store
    for site, public in sites.items():
        try:
            known = _read(store.get(key_of(site)), signed_by=office.key.public)
            if known and _is_for(known, site, public, settings) and _is_young(known, now):
                continue
            letter = _letter(site, store.forms, office.tokens, now)
            body = encode(sign(_packed(letter, public, settings).to_json(), office.key))
            store.put(key_of(site), body, content_type="application/json", cache_seconds=60)
            renewed.append(site)
            LOG.info("mailbox renewed site=%s", site)
        except GlidepostError as error:
            failures.append(error)
    return renewed, failures


def _letter(site: str, forms: Forms, tokens: TokenMaker, now: datetime) -> Letter:
    life_s = int(LIFE.total_seconds())
    log_form = forms.log(site, life_s=life_s)
    return Letter(
        site=site,
        issued_at=now,
        expires_at=now + LIFE,
        heartbeat_form=forms.heartbeat(site, life_s=life_s),
        pool_token=tokens.token(site),
        log_form=log_form,
        log_url=forms.log_url(site) if log_form else "",
    )


def _packed(letter: Letter, public: PublicKey, settings: str) -> Mailbox:
    try:
        return Mailbox.pack(letter, public, settings=settings)
    except CryptoError as error:
        # Most texts of the right length are keys; about half of them are none for sealing.
        raise ConfigError(
            f"nothing can be sealed for the public key of site {letter.site}",
            hint="a letter of it was lost: enrol the site again with what its `glidepost keys show --site` prints",
        ) from error


def _read(body: Optional[bytes], *, signed_by: PublicKey) -> Optional[Mailbox]:
    """Returns a mailbox that we have signed, None for anything else."""
    if body is None:
        return None
    try:
        data = parse_object(body, what="mailbox")
        verify(data, [signed_by])
        return Mailbox.from_json(data)
    except UntrustedDocument:
        return None


def _is_for(mailbox: Mailbox, site: str, public: PublicKey, settings: str) -> bool:
    return (mailbox.site, mailbox.recipient, mailbox.settings) == (site, public.key_id, settings)


def _is_young(mailbox: Mailbox, now: datetime) -> bool:
    return timedelta(0) <= now - mailbox.issued_at < RENEW_AFTER
