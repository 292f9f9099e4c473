"""Mailboxes: each enrolled site's upload forms and pool token, sealed for it, renewed long before they expire."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Optional

from nacl.exceptions import CryptoError

from glidepost.schema.document import MAX_DOCUMENT_BYTES, encode, parse_object
from glidepost.schema.errors import ConfigError, GlidepostError, StoreError, UntrustedDocument
from glidepost.schema.keys import PublicKey, SigningKey
from glidepost.schema.mailbox import Letter, Mailbox
from glidepost.schema.signing import sign, verify
from glidepost.schema.store_keys import MAILBOXES, mailbox_key

from . import kept
from .forms import Forms
from .store import Listed, S3Store
from .tokens import TokenMaker

LOG = logging.getLogger(__name__)

RENEW_AFTER: Final = timedelta(hours=6)
LIFE: Final = timedelta(hours=48)  # so sites still report while the publisher is down for a day


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


def renew(
    office: Office, sites: Mapping[str, PublicKey], memory: kept.Memory, *, now: datetime
) -> tuple[list[str], list[GlidepostError]]:
    """Writes the mailboxes that are missing, old, signed by another key, or not as they would be if made now.

    That is so when the site has another key, or the settings have changed.

    Args:
        office: What letters are made with.
        sites: The public keys of the enrolled sites.
        memory: What was found in mailboxes before, which is changed to what is now. One that is listed with the same
            ETag, and was good for this site, key and settings, is not read; all others are before they are judged.
        now: The time.

    Returns:
        The sites whose mailbox was renewed, and what went wrong for the others: one failure leaves the rest alone.
    """
    renewed, failures = list[str](), list[GlidepostError]()
    try:
        settings = office.settings()
    except GlidepostError as error:  # of all sites; what they have lasts for hours
        return renewed, [error]
    old, memory.mailboxes = memory.mailboxes, {}
    listed = _listed(office.store)
    for site, public in sites.items():
        key, wanted = mailbox_key(site), (site, public.key_id, settings, str(office.key.public))
        try:
            known, item = old.get(key), listed.get(key)
            if not (known and item and kept.is_same(known.etag, item.etag) and _is_good(known, wanted, now)):
                known = _read(office, key, item)
            if known and _is_good(known, wanted, now):
                memory.mailboxes[key] = known
            else:
                _write(office, site, public, settings, now)
                renewed.append(site)
        except GlidepostError as error:
            failures.append(error)
    return renewed, failures


def _write(office: Office, site: str, public: PublicKey, settings: str, now: datetime) -> None:
    letter = _letter(site, office.store.forms, office.tokens, now)
    body = encode(sign(_packed(letter, public, settings).to_json(), office.key))
    office.store.put(mailbox_key(site), body, content_type="application/json", cache_seconds=60)
    LOG.info("mailbox renewed site=%s", site)


def _listed(store: S3Store) -> dict[str, Listed]:
    """Returns the mailboxes that the store has, by key; none when it cannot say, so that each is read."""
    try:
        return {item.key: item for item in store.entries(MAILBOXES)}
    except StoreError as error:
        LOG.warning("mailboxes not listed, all are read error=%s", error.what)
        return {}


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


def _read(office: Office, key: str, item: Optional[Listed]) -> Optional[kept.Judged]:
    """Returns what is in a mailbox that we have signed, None for anything else.

    Raises:
        UntrustedDocument: when it is far too large to be one; if the list says so, it is not read.
        StoreError: when the store cannot be read.
    """
    if item and item.size_bytes > MAX_DOCUMENT_BYTES:
        what = f"{key}: {item.size_bytes} bytes, more than {MAX_DOCUMENT_BYTES}"
        raise UntrustedDocument(what, hint="somebody wrote it who is not Glidepost: remove it")
    found = office.store.fetch(key)
    if found is None:
        return None
    signer = office.key.public
    try:
        data = parse_object(found.body, what="mailbox")
        verify(data, [signer])
        box = Mailbox.from_json(data)
    except UntrustedDocument:
        return None
    return kept.Judged(found.etag, box.site, box.recipient, box.settings, str(signer), box.issued_at)


def _is_good(known: kept.Judged, wanted: tuple[str, str, str, str], now: datetime) -> bool:
    """Returns whether a mailbox is for this site, key and settings, signed with our key, and young."""
    is_for = (known.site, known.recipient, known.settings, known.signed_by) == wanted
    return is_for and timedelta(0) <= now - known.issued_at < RENEW_AFTER
