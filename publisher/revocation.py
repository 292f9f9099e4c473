"""Shutting a site out: of the store, and of the pool, by configuration of HTCondor.

What works was tried on a real collector (tests/real/test_revocation.py). A glidein that has joined goes on with the
session that it has: HTCondor looks at the token no more, but at its DENY lists with each message. So both are needed.
An ad that is in the collector stays there for its life (15 minutes): the negotiator is told to pass over it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from glidepost.schema.document import parse_object
from glidepost.schema.errors import GlidepostError, UntrustedDocument
from glidepost.schema.mailbox import Mailbox
from glidepost.schema.sites import EnrolledSite
from glidepost.schema.store_keys import mailbox_key

from .store import S3Store
from .tokens import AUTHORIZATIONS, identity

LOG = logging.getLogger(__name__)

_HEAD: Final = """\
# Sites that are shut out of this pool. `glidepost publisher revoke --write` writes this file anew: change nothing here.
# It belongs on the central manager and on each access point; after a change, there: condor_reconfig
"""


def names(sites: Mapping[str, EnrolledSite]) -> tuple[str, ...]:
    """Returns the sites that are revoked, sorted, as the demand names them."""
    return tuple(sorted(name for name, site in sites.items() if site.is_revoked))


def condor_config(sites: Mapping[str, EnrolledSite], trust_domain: str) -> str:
    """Returns HTCondor's configuration that keeps out all revoked sites, and old tokens of those let in again.

    It adds to what is configured before it. An expression that does not parse would let everybody in without a word, so
    that nothing but names of sites, the trust domain and numbers goes into one.
    """
    out = [identity(name, trust_domain) for name in names(sites)]
    lines = [_HEAD.rstrip("\n"), *_comments(sites)]
    if out:
        lines += [f"DENY_{level} = $(DENY_{level}), {', '.join(out)}" for level in AUTHORIZATIONS]
    dead = [f'sub == "{who}"' for who in out]
    for name, site in sorted(sites.items()):
        if site.tokens_from and not site.is_revoked:
            who = identity(name, trust_domain)
            dead.append(f'(sub == "{who}" && iat < {int(site.tokens_from.timestamp())})')
    if dead:
        lines.append(f"SEC_TOKEN_REVOCATION_EXPR = ($(SEC_TOKEN_REVOCATION_EXPR:false)) || {' || '.join(dead)}")
    if out:
        slots = " || ".join(f'AuthenticatedIdentity == "{who}"' for who in out)
        lines.append(f"NEGOTIATOR_SLOT_CONSTRAINT = ($(NEGOTIATOR_SLOT_CONSTRAINT:true)) && ({slots}) =!= true")
    return "\n".join(lines) + "\n"


def _comments(sites: Mapping[str, EnrolledSite]) -> Iterator[str]:
    for name, site in sorted(sites.items()):
        if site.revoked_at:
            yield f"# {name}: since {site.revoked_at:%Y-%m-%d %H:%M:%S}Z"
        elif site.tokens_from:
            yield f"# {name}: let in again; its tokens from before {site.tokens_from:%Y-%m-%d %H:%M:%S}Z stay out"


def clear_mailboxes(store: S3Store, sites: Iterable[EnrolledSite]) -> list[GlidepostError]:
    """Removes the mailboxes of revoked sites, and those that hold a dead token of a site that was let in again.

    A heartbeat stays where it is: nothing reads it any more, and its form, which cannot be taken back, could bring it
    again.

    Returns:
        What went wrong; the next run tries again.
    """
    failures: list[GlidepostError] = []
    for site in sites:
        try:
            _clear_mailbox(store, site)
        except GlidepostError as error:  # noqa: PERF203 - one failure leaves the others alone
            failures.append(error)
    return failures


def _clear_mailbox(store: S3Store, site: EnrolledSite) -> None:
    if site.is_revoked or _holds_dead_token(store, site):
        store.delete(mailbox_key(site.name))
        LOG.info("mailbox removed site=%s revoked=%s", site.name, site.is_revoked)


def _holds_dead_token(store: S3Store, site: EnrolledSite) -> bool:
    if site.tokens_from is None:
        return False
    body = store.get(mailbox_key(site.name))
    try:
        return body is not None and Mailbox.from_json(parse_object(body, what="mailbox")).issued_at < site.tokens_from
    except UntrustedDocument:  # what is none is written anew anyway
        return False
