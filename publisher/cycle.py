"""One run of the publisher: ask the pool, decide, sign, write. All I/O of the others comes together here."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Optional, Protocol

from glidepost.schema.demand import Demand, GlideinRelease
from glidepost.schema.document import encode, parse_object
from glidepost.schema.errors import ConfigError, GlidepostError, PoolError, StoreError, UntrustedDocument
from glidepost.schema.files import write_atomic
from glidepost.schema.heartbeat import Heartbeat
from glidepost.schema.keys import SigningKey
from glidepost.schema.publisher_config import PublisherConfig, load_sites
from glidepost.schema.resources import Resources
from glidepost.schema.signing import sign, verify

from . import census, mailboxes, release, shares
from .store import S3Store

LOG = logging.getLogger(__name__)

DEMAND_KEY: Final = "v1/demand.json"
CACHE_SECONDS: Final = 15


class AskedPool(Protocol):
    """What a run needs of a pool; `Pool` is the real one."""

    def ask(self) -> census.Answer:
        """Returns what schedds and collector say."""

    def token(self, site: str) -> str:
        """Returns a new token for the glideins of a site."""


@dataclass(frozen=True)
class Published:
    """What a run did. `written` is false when the document in the store still says the same and is young enough."""

    demand: Demand
    written: bool
    mailboxes: tuple[str, ...]
    failures: tuple[GlidepostError, ...]


def run(config: PublisherConfig, store: S3Store, pool: AskedPool, *, now: datetime, dry_run: bool = False) -> Published:
    """Returns what was published; with `dry_run` what would be, and nothing is written.

    Raises:
        PoolError: when no schedd answered: the document in the store stays as it is.
        StoreError: when the store cannot be read or written.
        ConfigError: naming what to change.
    """
    key = SigningKey.load(Path(config.demand.signing_key))
    sites = load_sites(Path(config.demand.sites))
    answer = pool.ask()
    _refuse_silence(answer)
    stored = current(store)
    previous = _previous(stored)
    _refuse_other_pool(config, previous)
    demand = replace(
        _demand(config, answer, _offers(store, sites), now),
        sequence=_next_sequence(config, previous),
        glidein=_release(config, store, dry_run=dry_run),
    )
    if dry_run:
        return Published(demand, written=False, mailboxes=(), failures=())
    renewed, failures = mailboxes.renew(store, sites, tokens=pool, key=key, now=now)
    written = not _is_signed(stored, key) or _is_due(demand, previous, now)
    if written:
        # The number is spent before it is used: a run that dies here leaves a gap, never the same number twice.
        write_atomic(_sequence_file(config), f"{demand.sequence}\n".encode())
        body = encode(sign(demand.to_json(), key))
        store.put(DEMAND_KEY, body, content_type="application/json", cache_seconds=CACHE_SECONDS)
        LOG.info("demand published sequence=%d groups=%d", demand.sequence, len(demand.groups))
    return Published(demand if written or previous is None else previous, written, tuple(renewed), tuple(failures))


def current(store: S3Store) -> Optional[dict[str, Any]]:
    """Returns the demand document in the store as it is, signatures included; None when there is none.

    Raises:
        StoreError: when the store cannot be read, or holds something else under this key.
    """
    body = store.get(DEMAND_KEY)
    try:
        return None if body is None else parse_object(body, what=DEMAND_KEY)
    except UntrustedDocument as error:
        raise _not_a_demand(error) from error


def _previous(stored: Optional[dict[str, Any]]) -> Optional[Demand]:
    try:
        return None if stored is None else Demand.from_json(stored)
    except UntrustedDocument as error:
        raise _not_a_demand(error) from error


def _refuse_other_pool(config: PublisherConfig, previous: Optional[Demand]) -> None:
    if previous and previous.pool != config.pool.name:
        raise ConfigError(
            f"{DEMAND_KEY} in {config.store.bucket} is of pool {previous.pool}, not {config.pool.name}",
            hint="give each pool a bucket or a [store] prefix of its own",
        )


def _not_a_demand(error: UntrustedDocument) -> StoreError:
    return StoreError(
        f"{DEMAND_KEY} in the store is not a demand document: {error.what}",
        hint="who wrote it? Move the object away only if it is not yours: sites need a growing sequence",
    )


def _is_signed(stored: Optional[dict[str, Any]], key: SigningKey) -> bool:
    """Returns whether sites can verify what is stored: after a change of keys it must not wait for half of its life."""
    try:
        verify(stored or {}, [key.public])
    except UntrustedDocument:
        return False
    return True


def _refuse_silence(answer: census.Answer) -> None:
    """A failed query must never become "no demand"."""
    if all(schedd.error for schedd in answer.schedds):
        errors = [f"{schedd.name}: {schedd.error}" for schedd in answer.schedds] or ["the collector knows none"]
        raise PoolError(
            f"no schedd answered ({errors[0][:300]})",
            hint="nothing was published; sites go on with the last demand until it expires",
        )


def _demand(
    config: PublisherConfig,
    answer: census.Answer,
    offers: dict[str, Optional[tuple[Resources, ...]]],
    now: datetime,
) -> Demand:
    groups, unevaluated = census.group(row for schedd in answer.schedds for row in schedd.rows)
    return Demand(
        pool=config.pool.name,
        sequence=1,
        generated_at=now,
        expires_at=now + timedelta(seconds=config.demand.life_s),
        collectors=config.pool.collectors,
        complete=not any(schedd.error for schedd in answer.schedds),
        schedds=census.schedd_views(answer),
        groups=shares.assign(groups, offers, overcommit=config.demand.overcommit),
        unevaluated=unevaluated,
        pool_view=census.pool_view(answer.slots, offers),
        glidein=GlideinRelease(config.glidein.channel, ()),
    )


def _offers(store: S3Store, sites: dict[str, Any]) -> dict[str, Optional[tuple[Resources, ...]]]:
    """Returns what each enrolled site's shapes offer. A heartbeat that cannot be read offers nothing."""
    offers: dict[str, Optional[tuple[Resources, ...]]] = {}
    for site in sites:
        body = store.get(f"v1/heartbeats/{site}.json")
        if body is None:
            offers[site] = None
            continue
        try:
            limit = mailboxes.MAX_HEARTBEAT_BYTES
            heartbeat = Heartbeat.from_json(parse_object(body, what=f"heartbeat of {site}", max_bytes=limit))
        except UntrustedDocument as error:
            LOG.warning("heartbeat unreadable site=%s error=%s", site, error.what)
            offers[site] = ()
            continue
        offers[site] = tuple(shape.offers for shape in heartbeat.shapes) if heartbeat.site == site else ()
    return offers


def _release(config: PublisherConfig, store: S3Store, *, dry_run: bool) -> GlideinRelease:
    public_url = config.store.public_url.rstrip("/") + ("/" + config.store.prefix).rstrip("/")
    if not dry_run:
        return release.publish(store, config.glidein, public_url=public_url)
    tarballs = (release.describe(Path(name), public_url=public_url) for name in config.glidein.tarballs)
    return GlideinRelease(config.glidein.channel, tuple(tarballs))


def _sequence_file(config: PublisherConfig) -> Path:
    return Path(config.demand.state) / "publisher.sequence"


def _next_sequence(config: PublisherConfig, previous: Optional[Demand]) -> int:
    """Returns a number above both the store's and our own memory, so that neither a restored one goes back."""
    file = _sequence_file(config)
    try:
        remembered = int(file.read_text(encoding="ascii")) if file.exists() else 0
    except (OSError, ValueError):
        remembered = 0
    return max(remembered, previous.sequence if previous else 0) + 1


def _is_due(demand: Demand, previous: Optional[Demand], now: datetime) -> bool:
    """Returns whether to write: something changed, or half of the life of what is there is over."""
    if previous is None:
        return True
    same = replace(
        demand, sequence=previous.sequence, generated_at=previous.generated_at, expires_at=previous.expires_at
    )
    half = (previous.expires_at - previous.generated_at) / 2
    # One from the future was written by a clock that went wrong, and sites refuse it.
    return same != previous or not timedelta(0) <= now - previous.generated_at < half
