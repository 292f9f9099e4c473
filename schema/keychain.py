"""keys/1: which keys sign for a pool, as a chain: each link is signed by a key of the link before, and by its own.

A site pins one public key, finds the link that this key signed, follows the chain from there, and remembers how far it
came: so a pool changes its key without a visit to the sites, also to one that slept through several changes. A link
that the root key signed begins a new epoch, whatever stands before it: that takes the pool back from a thief of the
signing key, at all sites that pinned the root key. Pure, but for the signatures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar, Final, Optional

from .document import Document
from .errors import ConfigError, UntrustedDocument
from .keys import PublicKey, SigningKey
from .signing import sign, verify

KEYS_KEY: Final = "v1/keys.json"
MAX_LINKS: Final = 256
_FOREIGN: Final = "something serves keys that are not this pool's; tell the pool's admin"


@dataclass(frozen=True)
class Link(Document):
    """One statement of who signs from now on: `current`, and `next`, which was made ahead. Public keys as text.

    `epoch` counts the interventions of the root key, `sequence` all links from 1 on.
    """

    kind: ClassVar[str] = "key-link/1"

    pool: str
    epoch: int
    sequence: int
    issued_at: datetime
    current: str
    next: Optional[str] = None

    @property
    def keys(self) -> tuple[PublicKey, ...]:
        """The keys that sign for the pool.

        Raises:
            ConfigError: when one of them is none.
        """
        return tuple(PublicKey.parse(text) for text in (self.current, self.next) if text is not None)


@dataclass(frozen=True)
class Keychain(Document):
    """All links, the oldest first, each a signed document of its own."""

    kind: ClassVar[str] = "keys/1"

    links: tuple[dict[str, Any], ...]

    def extended(self, link: dict[str, Any]) -> Keychain:
        """Returns the chain with one more link; of one that is too long the oldest go.

        Args:
            link: Signed by who was entitled to say so, and by the key that becomes the current one. Its sequence is
                one more than that of the last.
        """
        return replace(self, links=(*self.links, link)[-MAX_LINKS:])


@dataclass(frozen=True)
class Trust:
    """Whom one reader of the chain believes: some keys, and how far in the chain that is.

    It begins with a pinned key, which may stand anywhere in the chain: that is sequence 0.
    """

    keys: tuple[PublicKey, ...]
    epoch: int = 0
    sequence: int = 0

    def follow(self, chain: Keychain, *, pool: Optional[str] = None, root: Optional[PublicKey] = None) -> Trust:
        """Returns whom to believe after reading a chain: the same, if it holds nothing new.

        Links that are not newer than what is known are not looked at, so that an old copy of the chain takes nothing
        back.

        Args:
            chain: From anywhere.
            pool: Whose keys are wanted, if the reader knows.
            root: The key that may begin an epoch, if the reader pinned one.

        Raises:
            UntrustedDocument: when a newer link is malformed, of another pool, or signed by none of these keys.
        """
        trust = self
        for data in chain.links:
            link = Link.from_json(data)
            if pool is not None and link.pool != pool:
                raise UntrustedDocument(f"keys of pool {link.pool}, not {pool}", hint=_FOREIGN)
            if (link.epoch, link.sequence) > (trust.epoch, trust.sequence):
                trust = trust._after(link, data, root)
        if chain.links and not trust.sequence:
            raise UntrustedDocument(
                "the public key that is pinned here is none of the pool's",
                hint="ask the pool's admin for the present one, and put it into [pool] public_key",
            )
        return trust

    def _after(self, link: Link, data: dict[str, Any], root: Optional[PublicKey]) -> Trust:
        """Returns whom to believe after a link that is newer than what is known."""
        if link.epoch != self.epoch and root is not None:
            signers: tuple[PublicKey, ...] = (root,)
        elif link.epoch == self.epoch or not self.sequence:
            signers = self.keys
        else:
            raise UntrustedDocument(
                "the pool's keys were replaced with its root key, which this site did not pin",
                hint="ask the pool's admin for the new public key, and put it into [pool] public_key",
            )
        try:
            verify(data, signers)
        except UntrustedDocument:
            if not self.sequence:  # before the pinned key's time
                return self
            raise
        try:
            return Trust(link.keys, link.epoch, link.sequence)
        except ConfigError as error:
            raise UntrustedDocument(f"link {link.sequence} of the pool's keys: {error.what}", hint=_FOREIGN) from error


def first(pool: str, key: SigningKey, following: Optional[PublicKey], now: datetime) -> Keychain:
    """Returns a new chain of one link, by which a key names itself."""
    link = Link(pool, 0, 1, now, str(key.public), None if following is None else str(following))
    return Keychain(()).extended(sign(link.to_json(), key))


def whole(chain: Keychain, *, pool: str, root: Optional[PublicKey]) -> Link:
    """Returns the newest link of a chain that holds from its first link, which signed itself, to its last.

    Args:
        chain: Our own, or one that may become it.
        pool: Whose it must be.
        root: Who may have begun an epoch in it.

    Raises:
        UntrustedDocument: when it is empty, or any link is malformed, of another pool, out of order, or badly signed.
    """
    newest = last(chain)
    if newest is None:
        raise UntrustedDocument("the pool's keys are an empty list", hint=_FOREIGN)
    oldest = Link.from_json(chain.links[0])
    trust = Trust(oldest.keys[:1], oldest.epoch).follow(chain, pool=pool, root=root)
    if trust != Trust(newest.keys, newest.epoch, newest.sequence):
        raise UntrustedDocument("the pool's keys are not in order", hint=_FOREIGN)
    return newest


def last(chain: Keychain) -> Optional[Link]:
    """Returns the newest link, None of an empty chain. Its signature is not looked at.

    Raises:
        UntrustedDocument: when it is malformed.
    """
    links: Sequence[dict[str, Any]] = chain.links
    return Link.from_json(links[-1]) if links else None
