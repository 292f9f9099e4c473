"""Changing a pool's keys on the access point: the signing key's files, the chain that sites follow, and their order.

Beside the signing key KEY lie KEY.next, made ahead; KEY.after, while a rotation makes the one after that; KEY.new and
KEY.new.next, while a revocation goes on. The chain in `[demand] state` is written first, then files are renamed: the
chain says which renames are left, so whatever was killed is finished by the next call (`finish`). Needs no network.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Optional

from .document import encode, parse_object
from .errors import ConfigError, UntrustedDocument
from .files import write_atomic
from .keychain import Keychain, Link, first, whole
from .keys import PublicKey, SigningKey
from .publisher_config import PublisherConfig
from .signing import sign, verify

CHAIN_FILE: Final = "keys.json"
_AGAIN: Final = "make a new request: glidepost keys revoke --request FILE"


@dataclass(frozen=True)
class KeyFiles:
    """Where a pool's keys and their chain are. `root` is the public half of the key that may replace the others."""

    pool: str
    signing_key: Path
    chain: Path
    root: Optional[PublicKey] = None

    @classmethod
    def of(cls, config: PublisherConfig) -> KeyFiles:
        """Returns those that publisher.toml names; of a key that is a link, where the key itself is.

        Raises:
            ConfigError: when root_key is no public key.
        """
        demand = config.demand
        root = None if demand.root_key is None else PublicKey.parse(demand.root_key)
        return cls(config.pool.name, Path(demand.signing_key).resolve(), Path(demand.state) / CHAIN_FILE, root)

    def aside(self, ending: str) -> Path:
        """Returns a file beside the signing key: "next", "after", "new" or "new.next"."""
        return self.signing_key.with_name(f"{self.signing_key.name}.{ending}")


@dataclass(frozen=True)
class Changed:
    """The link that holds now. `is_finished` says that it is of an earlier call, which was interrupted."""

    link: Link
    is_finished: bool = False


def load(files: KeyFiles) -> Optional[Keychain]:
    """Returns our chain, verified from its first link to its last; None when there is none.

    Raises:
        ConfigError: when it is damaged, another pool's, or what the root key signed is not by the one we know.
    """
    try:
        body = files.chain.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{files.chain}: {error.strerror}", hint="it must be readable for the publisher") from error
    try:
        chain = Keychain.from_json(parse_object(body, what=str(files.chain)))
        whole(chain, pool=files.pool, root=files.root)
    except UntrustedDocument as error:
        raise ConfigError(
            f"{files.chain}: {error.what}",
            hint="is [demand] root_key the one that it always was? Else restore the file from a backup, or remove it: "
            "the next publisher run takes the store's copy, if that fits the signing key",
        ) from error
    return chain


def save(files: KeyFiles, chain: Keychain) -> None:
    """Writes our chain.

    Raises:
        OSError: when the disk is full or the folder may not be written.
    """
    write_atomic(files.chain, encode(chain.to_json()))


def begin(files: KeyFiles, now: datetime) -> Keychain:
    """Returns the chain of a pool that had none, after writing it, and the next key before it.

    Raises:
        ConfigError: when one of the keys cannot be read.
    """
    following = _load(files.aside("next")) or _make(files.aside("next"))
    chain = first(files.pool, SigningKey.load(files.signing_key), following.public, now)
    save(files, chain)
    return chain


def rotate(files: KeyFiles, now: datetime) -> Changed:
    """Makes the next key the current one, and one that comes after it; what was interrupted is finished instead.

    Raises:
        ConfigError: when there is no chain, or a key file is not what the chain says.
    """
    chain, link = _present(files)
    if finish(files, link):
        return Changed(link, is_finished=True)
    key = SigningKey.load(files.signing_key)
    if str(key.public) != link.current:
        raise _not_ours(files, key)
    coming = _load(files.aside("next")) or _make(files.aside("next"))
    if str(coming.public) in {Link.from_json(data).current for data in chain.links}:
        raise ConfigError(
            f"{files.aside('next')} holds a key that the pool has used before",
            hint="remove it: glidepost keys rotate makes a new one",
        )
    after = _load(files.aside("after")) or _make(files.aside("after"))
    link = Link(files.pool, link.epoch, link.sequence + 1, now, str(coming.public), str(after.public))
    save(files, chain.extended(sign(link.to_json(), key, coming)))
    finish(files, link)
    return Changed(link)


def request(files: KeyFiles, now: datetime) -> dict[str, Any]:
    """Returns a link to two keys made this moment, which nobody has signed yet. The keys are put aside.

    Neither the signing key nor the next one is needed: they may be stolen, or lost.

    Raises:
        ConfigError: when there is no chain.
    """
    _, link = _present(files)
    finish(files, link)
    # Those of an earlier request may be as old as the stolen ones.
    new, following = _make(files.aside("new")), _make(files.aside("new.next"))
    made = Link(files.pool, link.epoch + 1, link.sequence + 1, now, str(new.public), str(following.public))
    return made.to_json()


def endorse(link: dict[str, Any], root: SigningKey) -> dict[str, Any]:
    """Returns a link with the root key's signature."""
    return sign(link, root)


def replace(files: KeyFiles, endorsed: dict[str, Any]) -> Changed:
    """Replaces both keys by those put aside, as a link says that the root key signed.

    Raises:
        ConfigError: when the root key is not known or has not signed, or the link is none for these keys, now.
        UntrustedDocument: when it is no link.
    """
    chain, last = _present(files)
    finish(files, last)
    link = Link.from_json(endorsed)
    if link == last:
        return Changed(link, is_finished=True)
    _refuse_unendorsed(files, endorsed)
    place = (link.pool, link.epoch, link.sequence)
    if place != (files.pool, last.epoch + 1, last.sequence + 1):
        raise ConfigError("the pool's keys have changed since this was requested, or it is another pool's", hint=_AGAIN)
    new, following = _load(files.aside("new")), _load(files.aside("new.next"))
    if new is None or following is None or (str(new.public), str(following.public)) != (link.current, link.next):
        raise ConfigError(f"the keys of this request are not in {files.aside('new')} and .next", hint=_AGAIN)
    own = sign(endorsed, new)["signatures"]
    save(files, chain.extended({**endorsed, "signatures": [*endorsed["signatures"], *own]}))
    finish(files, link)
    return Changed(link)


def revoke(files: KeyFiles, root: SigningKey, now: datetime) -> Changed:
    """Replaces both keys by new ones; what was interrupted is finished instead.

    Raises:
        ConfigError: when there is no chain, or this is not the pool's root key.
    """
    refuse_other_root(files, root.public)
    _, link = _present(files)
    new = _load(files.aside("new"))
    if new is not None and str(new.public) == link.current:
        finish(files, link)
        return Changed(link, is_finished=True)
    return replace(files, endorse(request(files, now), root))


def finish(files: KeyFiles, link: Link) -> bool:
    """Does the renames that the last link asks for and that were not done; returns whether there were any.

    In this order: at no time is a stolen next key the one that a rotation would take.
    """
    moves = (
        ("new.next", files.aside("next"), link.next),
        ("new", files.signing_key, link.current),
        ("next", files.signing_key, link.current),
        ("after", files.aside("next"), link.next),
    )
    is_moved = False
    for ending, target, public in moves:
        key = _load(files.aside(ending))
        if key is not None and str(key.public) == public:
            files.aside(ending).replace(target)
            is_moved = True
    return is_moved


def refuse_other_root(files: KeyFiles, key: PublicKey) -> None:
    """Returns if a key is the pool's root key.

    Raises:
        ConfigError: when it is not, or publisher.toml names none.
    """
    root = _root(files)
    if key != root:
        raise ConfigError(
            f"this is key {key.key_id}, and [demand] root_key is {root.key_id}",
            hint="use the key whose public half the sites have pinned as root_key",
        )


def _root(files: KeyFiles) -> PublicKey:
    if files.root is None:
        raise ConfigError(
            "[demand] root_key is not set: no site can have pinned one, so each must be given a new public_key",
            hint="docs/how-to/change-the-pools-key.md says how, without a root key",
        )
    return files.root


def _refuse_unendorsed(files: KeyFiles, endorsed: dict[str, Any]) -> None:
    root = _root(files)
    try:
        verify(endorsed, [root])
    except UntrustedDocument as error:
        raise ConfigError(
            f"the request is not endorsed by [demand] root_key ({root.key_id}): {error.what}",
            hint="where that key is: glidepost keys endorse FILE --root ROOT.key",
        ) from error


def _present(files: KeyFiles) -> tuple[Keychain, Link]:
    chain = load(files)
    if chain is None:
        raise ConfigError(
            f"{files.chain} is not there",
            hint="glidepost publisher run makes it, or takes the store's copy; by hand: curl -f "
            f"PUBLIC_URL/v1/keys.json >{files.chain}",
        )
    return chain, whole(chain, pool=files.pool, root=files.root)


def _not_ours(files: KeyFiles, key: SigningKey) -> ConfigError:
    return ConfigError(
        f"{files.signing_key} is key {key.public.key_id}, which is not the current one of {files.chain}",
        hint="restore both from the same backup, or replace the keys: glidepost keys revoke",
    )


def _load(path: Path) -> Optional[SigningKey]:
    return SigningKey.load(path) if path.exists() else None


def _make(path: Path) -> SigningKey:
    """Makes a key in a file, whole or not at all; whatever was there was never used."""
    key = SigningKey.generate()
    write_atomic(path, key.line, mode=0o600)
    return key
