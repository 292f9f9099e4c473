"""`glidepost publisher check`: everything that a run needs, each tried for real, each with its own verdict.

Here is what concerns this host and the pool; check_store.py has the store, as the publisher, a site and a stranger
see it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol, Union

from nacl.exceptions import CryptoError

from glidepost.schema import idtoken
from glidepost.schema.checks import FAILED, OK, Finding, Remark, Skipped, attempt
from glidepost.schema.errors import ConfigError, PoolError
from glidepost.schema.files import write_atomic
from glidepost.schema.keychain import whole
from glidepost.schema.keys import PublicKey, SigningKey
from glidepost.schema.publisher_config import PublisherConfig
from glidepost.schema.rotation import KeyFiles
from glidepost.schema.sealing import seal
from glidepost.schema.sites import active, load_sites
from glidepost.schema.units import counted, format_duration

from . import census, keychain, release, revocation, secret_files, site_terms, tokens
from .pool import Granted

CONNECT_S: Final = 5
TOKEN_SITE: Final = "check"  # noqa: S105 - a name: the identity of the token that is made, looked at and thrown away


class CheckedPool(Protocol):
    """What is tried of a pool; `Pool` is the real one."""

    def ask(self) -> census.Answer:
        """Returns what schedds and collector say."""

    def token(self, site: str) -> str:
        """Returns a new token for the glideins of a site."""

    def granted(self, token: str) -> Granted:
        """Returns what the pool lets the holder of a token do."""

    def condor_version(self) -> str:
        """Returns the version of the pool's oldest schedd, such as "25.14.1"."""


def check_host(config: PublisherConfig) -> Iterator[Finding]:
    """Yields what is found in the files of this host."""
    yield attempt("secret files", lambda: _secret_files(config))
    key = attempt("signing key", lambda: _signing_key(Path(config.demand.signing_key)))
    yield key
    yield attempt("sites", lambda: _sites(config))
    state = attempt("state folder", lambda: _state(Path(config.demand.state)))
    yield state
    if key.state == OK and state.state == OK:
        yield attempt("keys of the pool", lambda: _keys(config))


def check_pool(config: PublisherConfig, pool: CheckedPool, *, now: datetime) -> Iterator[Finding]:
    """Yields what is found of the pool: its collector and schedds, its tokens, and whether the tarballs suit it."""
    for address in config.pool.collectors:
        yield attempt(f"collector {address}", lambda address=address: _connect(address))  # type: ignore[misc]
    yield from _schedds(pool)
    yield from _tokens(config, pool, now)
    if not config.glidein.tarballs:
        yield attempt("tarballs", _no_tarballs)
        return
    version = attempt("pool's version", pool.condor_version)
    if version.state != OK:
        yield version
    for name in (*config.glidein.tarballs, *config.glidein.canary_tarballs):
        yield attempt(
            f"tarball {Path(name).name}",
            lambda name=name: _tarball(Path(name), version.text if version.state == OK else ""),  # type: ignore[misc]
        )


def _secret_files(config: PublisherConfig) -> str:
    secret_files.look(config)
    there = [path for path, _ in secret_files.files(config) if path.exists()]
    return f"{counted(len(there), 'file')} that only their owner may read"


def _signing_key(path: Path) -> str:
    key = SigningKey.load(path)
    return f"{path}, key id {key.public.key_id}; sites need public_key = {str(key.public)!r}"


def _keys(config: PublisherConfig) -> Union[str, Remark]:
    files = KeyFiles.of(config)
    chain = keychain.local(files, SigningKey.load(files.signing_key))
    if chain is None:
        raise Skipped("no chain of them yet", remedy="the next run makes it: glidepost publisher run")
    link = whole(chain, pool=files.pool, root=files.root)
    text = f"{counted(len(chain.links), 'link')}, epoch {link.epoch}, next key {'made' if link.next else 'missing'}"
    if files.root is None:
        return Remark(
            f"{text}, no root key",
            "a stolen signing key cannot be revoked at the sites without one: [demand] root_key, "
            "docs/how-to/change-the-pools-key.md",
        )
    return f"{text}; sites need root_key = {str(files.root)!r}"


def _sites(config: PublisherConfig) -> str:
    path = Path(config.demand.sites)
    sites = load_sites(path)
    site_terms.applied(config, active(sites))
    if not sites:
        raise Skipped(
            "no site is enrolled yet", remedy="glidepost publisher enroll 'LINE', with the line from the site"
        )
    broken = [name for name, site in sites.items() if not _can_be_sealed_for(site.public_key)]
    if broken:
        raise ConfigError(
            f"{path}: nothing can be sealed for the key of {', '.join(broken)}",
            hint="a letter of it was lost: enrol the site again",
        )
    revoked = revocation.names(sites)
    text = f"{len(sites) - len(revoked)} enrolled: {', '.join(sorted(active(sites)))}"
    return f"{text}; {len(revoked)} revoked: {', '.join(revoked)}" if revoked else text


def _can_be_sealed_for(key: PublicKey) -> bool:
    try:
        seal(b"", key)
    except CryptoError:
        return False
    return True


def _state(folder: Path) -> str:
    probe = folder / "publisher.check"
    write_atomic(probe, b"")
    probe.unlink()
    return f"{folder} can be written"


def _connect(address: str) -> str:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S):
            return "takes connections, from here at least"
    except (OSError, ValueError, OverflowError) as error:
        raise PoolError(
            f"no connection: {error}",
            hint="glideins connect to this address: is it the collector's, and does the firewall let it through?",
        ) from error


def _schedds(pool: CheckedPool) -> Iterator[Finding]:
    answers: list[census.ScheddAnswer] = []

    def ask() -> str:
        answers.extend(pool.ask().schedds)
        return f"{len(answers)} to be asked"

    yield attempt("census", ask)
    for answer in answers:
        name = f"schedd {answer.name}"
        if answer.error is None:
            yield Finding(
                name, OK, f"{counted(answer.idle_jobs, 'idle user job')} in {counted(len(answer.rows), 'row')}"
            )
        else:
            remedy = (
                "is it up, does it allow READ to this account, is [census] timeout long enough? condor_q -name NAME"
            )
            yield Finding(name, FAILED, answer.error, remedy.replace("NAME", answer.name))


def _tokens(config: PublisherConfig, pool: CheckedPool, now: datetime) -> Iterator[Finding]:
    """Yields what is found of a token that is made for this: that it is good, lets a glidein in, and no more."""
    made: list[str] = []
    grants: list[Granted] = []

    def make() -> str:
        made.append(pool.token(TOKEN_SITE))
        return _token(config, made[0], now)

    def join() -> str:
        grants.append(pool.granted(made[0]))
        return _joins(config, grants[0])

    finding = attempt("pool token", make)
    yield finding
    if finding.state == OK:
        yield attempt("pool token: joins", join)
    for granted in grants:
        yield attempt("pool token: reads", lambda granted=granted: _reads(config, granted))  # type: ignore[misc]


def _everyone(config: PublisherConfig) -> str:
    """Returns the glideins of all sites, as HTCondor's ALLOW_... and DENY_... name them."""
    return tokens.identity("*", config.pool.trust_domain)


def _joins(config: PublisherConfig, granted: Granted) -> str:
    if not granted.joins:
        raise PoolError(
            "no collector lets a glidein in with it, from here at least",
            hint=f"it needs ALLOW_ADVERTISE_STARTD = $(ALLOW_ADVERTISE_STARTD), {_everyone(config)}, the same for "
            "ADVERTISE_MASTER, IDTOKENS among its SEC_DEFAULT_AUTHENTICATION_METHODS, and the key "
            f"{config.pool.token_key}",
        )
    return f"{', '.join(map(str, granted.joins))} would let a glidein in"


def _reads(config: PublisherConfig, granted: Granted) -> Union[str, Remark]:
    """Says whom a site could read. HTCondor takes who may advertise for one who may READ, whatever the token says."""
    if not granted.reads:
        return "no daemon of the pool shows a site its queue or configuration"
    return Remark(
        f"every site may read queue and configuration of {', '.join(map(str, granted.reads))}",
        f"glideins do not need it: DENY_READ = $(DENY_READ), {_everyone(config)} in HTCondor's configuration there, "
        "then condor_reconfig; docs/how-to/shut-out-a-site.md",
    )


def _token(config: PublisherConfig, token: str, now: datetime) -> str:
    """Says whether glideins with such a token are let in: HTCondor compares issuer and subject with its own names."""
    maker = config.pool.token_key_file or "condor_token_create"
    try:
        claims = idtoken.claims(token)
    except ValueError as error:
        raise PoolError(f"what was made is no token: {error}", hint="try condor_token_create by hand") from error
    domain = config.pool.trust_domain
    if claims.get("iss") != domain:
        raise ConfigError(
            f"{maker} issues for {claims.get('iss')!r}, and [pool] trust_domain is {domain!r}",
            hint="set trust_domain to what condor_config_val TRUST_DOMAIN says on the central manager",
        )
    expires = claims.get("exp")
    if not isinstance(expires, int) or expires <= now.timestamp():
        raise PoolError("the token has no end, or is expired at birth", hint="is this host's clock right?")
    left = format_duration(expires - int(now.timestamp()))
    return f"can be made with key {config.pool.token_key}: {claims.get('sub')}, good for {left}, made by {maker}"


def _no_tarballs() -> str:
    raise ConfigError(
        "[glidein] tarballs is empty: glideins have nothing to run",
        hint="make one: glidepost glidein build --from CONDOR_PREFIX --output FILE",
    )


def _tarball(path: Path, pool_version: str) -> str:
    found = release.describe(path, public_url="https://unused")
    if pool_version and _numbers(found.condor_version) > _numbers(pool_version):
        raise ConfigError(
            f"HTCondor {found.condor_version} is newer than the pool's {pool_version}: its slots may never match",
            hint=f"build it from HTCondor {pool_version} or older",
        )
    return (
        f"HTCondor {found.condor_version} for {found.os} {found.arch}; the pool has {pool_version or 'an unknown one'}"
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(word) for word in version.split(".") if word.isdigit())
