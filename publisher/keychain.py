"""The pool's keys into the store, so that sites follow a change of keys by themselves.

Ours is the chain in the state folder, which `glidepost keys` changes. A key that sites know as the next one signs
first, and its link is published after that: so at no time is there a document that they cannot verify. Any other key
must be published before it signs.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Optional

from glidepost.schema import rotation
from glidepost.schema.document import encode, parse_object
from glidepost.schema.errors import ConfigError, UntrustedDocument
from glidepost.schema.keychain import KEYS_KEY, Keychain, Link, Trust, last, whole
from glidepost.schema.keys import PublicKey, SigningKey
from glidepost.schema.publisher_config import PublisherConfig
from glidepost.schema.rotation import KeyFiles

from .store import S3Store

LOG = logging.getLogger(__name__)

CACHE_SECONDS: Final = 15
_HOW_TO: Final = "see docs/how-to/change-the-pools-key.md"


@dataclass(frozen=True)
class Standing:
    """Our chain, None before the first; and the store's, empty when it is nothing that a site can read.

    `is_kept` says that ours lies in the state folder already.
    """

    files: KeyFiles
    chain: Optional[Keychain]
    stored: Optional[Keychain]
    is_kept: bool

    def is_announced(self, key: PublicKey) -> bool:
        """Returns whether sites that read the store's chain can verify what this key signs."""
        link = last(self.stored) if self.stored else None
        return link is not None and str(key) in {link.current, link.next}

    def publish(self, store: S3Store, now: datetime) -> None:
        """Writes our chain into the store, if it is not there; and where it is kept, if this is the first time.

        Raises:
            StoreError: when the store refuses.
            ConfigError: when a key cannot be read.
        """
        chain = self.chain or rotation.begin(self.files, now)
        if not self.is_kept and self.chain:
            rotation.save(self.files, chain)
        if chain == self.stored:
            return
        body = encode(chain.to_json())
        store.put(KEYS_KEY, body, content_type="application/json", cache_seconds=CACHE_SECONDS)
        link = whole(chain, pool=self.files.pool, root=self.files.root)
        LOG.info("keys published epoch=%d sequence=%d", link.epoch, link.sequence)


def look(config: PublisherConfig, store: S3Store, key: SigningKey) -> Standing:
    """Returns how our chain and the store's stand to each other. Writes nothing.

    Raises:
        ConfigError: when our key is not the chain's current one, or the store's chain is none that ours may replace.
        StoreError: when the store cannot be read.
    """
    files = KeyFiles.of(config)
    chain = local(files, key)
    stored = _stored(store)
    _refuse_other_pool(files, stored)
    if chain is not None:
        _refuse_newer(files, chain, stored)
        return Standing(files, chain, stored, is_kept=True)
    if stored is not None:
        _refuse_foreign(files, stored, key)
        return Standing(files, stored, stored, is_kept=False)
    return Standing(files, None, None, is_kept=False)


def local(files: KeyFiles, key: SigningKey) -> Optional[Keychain]:
    """Returns the chain in the state folder, whose current key is ours; None when there is none.

    Raises:
        ConfigError: when it is damaged, or another key is current.
    """
    chain = rotation.load(files)
    link = last(chain) if chain else None
    if link is None or link.current == str(key.public):
        return chain
    raise ConfigError(
        f"{files.signing_key} is key {key.public.key_id}, and {files.chain} says that "
        f"{PublicKey.parse(link.current).key_id} is current",
        hint="a rotation was interrupted: run glidepost keys rotate again. If not, restore both from one backup",
    )


def _stored(store: S3Store) -> Optional[Keychain]:
    """Returns the store's chain: None when there is none, an empty one when no site could read it."""
    try:
        body = store.get(KEYS_KEY)
        chain = None if body is None else Keychain.from_json(parse_object(body, what=KEYS_KEY))
        for data in chain.links if chain else ():
            Link.from_json(data)
    except UntrustedDocument as error:
        LOG.warning("keys unreadable error=%s", error.what)
        return Keychain(())
    return chain


def _refuse_other_pool(files: KeyFiles, stored: Optional[Keychain]) -> None:
    link = last(stored) if stored else None
    if link is not None and link.pool != files.pool:
        raise ConfigError(
            f"{KEYS_KEY} in the store is of pool {link.pool}, not {files.pool}",
            hint="give each pool a bucket or a [store] prefix of its own",
        )


def _refuse_newer(files: KeyFiles, chain: Keychain, stored: Optional[Keychain]) -> None:
    """Refuses to replace a chain that sites would follow further than ours: then ours is old, or a thief is at work."""
    ours = whole(chain, pool=files.pool, root=files.root)
    trust = Trust(ours.keys, ours.epoch, ours.sequence)
    try:
        theirs = trust.follow(stored or Keychain(()), pool=files.pool, root=files.root)
    except UntrustedDocument as error:
        LOG.warning("keys in the store are replaced error=%s", error.what)
        return
    if theirs != trust:
        raise ConfigError(
            f"{KEYS_KEY} in the store goes on to key {theirs.keys[0].key_id}, which {files.chain} does not know",
            hint="is this host restored from an older backup, or are there two publishers? If neither, our key was "
            f"stolen: glidepost keys revoke; {_HOW_TO}",
        )


def _refuse_foreign(files: KeyFiles, stored: Keychain, key: SigningKey) -> None:
    """Refuses a chain in the store that does not hold, or does not end with our key."""
    hint = f"restore the state folder's {files.chain.name} from a backup, or begin anew: {_HOW_TO}"
    try:
        link = whole(stored, pool=files.pool, root=files.root)
    except UntrustedDocument as error:
        raise ConfigError(
            f"{files.chain} is not there, and {KEYS_KEY} in the store is no substitute: {error.what}", hint=hint
        ) from error
    if link.current != str(key.public):
        current = PublicKey.parse(link.current).key_id
        raise ConfigError(
            f"{KEYS_KEY} in the store says that key {current} is current, and {files.signing_key} is "
            f"{key.public.key_id}",
            hint=hint,
        )
