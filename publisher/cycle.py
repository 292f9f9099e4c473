"""One run of the publisher: ask the pool, decide, sign, write. All I/O of the others comes together here."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Optional, Protocol

from glidepost.schema.demand import Demand, GlideinRelease, Rules
from glidepost.schema.errors import ConfigError, GlidepostError, PoolError
from glidepost.schema.heartbeat import Heartbeat
from glidepost.schema.keys import SigningKey
from glidepost.schema.publisher_config import PublisherConfig
from glidepost.schema.sites import EnrolledSite, active, load_sites
from glidepost.schema.store_keys import DEMAND_KEY

from . import (
    census,
    heartbeats,
    kept,
    keychain,
    last_good,
    mailboxes,
    offers,
    publish,
    release,
    revocation,
    shares,
    site_terms,
    supply,
)
from .match import Matcher
from .store import S3Store

LOG = logging.getLogger(__name__)

MIB: Final = 1024 * 1024


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


@dataclass(frozen=True)
class Outlook:
    """What a run would publish, and what it was decided from. `refused` says why a site or shape gets no share."""

    demand: Demand
    jobs: tuple[census.JobGroup, ...]
    heartbeats: Mapping[str, Optional[Heartbeat]]
    refused: Mapping[str, str]
    matcher: Matcher


def look(config: PublisherConfig, store: S3Store, pool: AskedPool, *, now: datetime) -> Outlook:
    """Returns what a run would decide now, before it is made to fit into a document. Writes nothing.

    Raises:
        PoolError: when no schedd answered.
        StoreError: when the store cannot be read.
        ConfigError: naming what to change.
    """
    sites = active(load_sites(Path(config.demand.sites)))
    config = site_terms.applied(config, sites)
    answer = _ask(config, pool, now=now, is_kept=False)
    reports = heartbeats.read(store, sites, kept.load(config))
    return _decide(config, answer, reports, _release(config, store, dry_run=True), now)


def run(config: PublisherConfig, store: S3Store, pool: AskedPool, *, now: datetime, dry_run: bool = False) -> Published:
    """Returns what was published; with `dry_run` what would be, and nothing is written.

    Raises:
        PoolError: when no schedd answered: the document in the store stays as it is.
        StoreError: when the store cannot be read or written.
        ConfigError: naming what to change.
    """
    key = SigningKey.load(Path(config.demand.signing_key))
    keys = keychain.look(config, store, key)
    enrolled = load_sites(Path(config.demand.sites))
    sites = active(enrolled)
    config = site_terms.applied(config, sites)
    answer = _ask(config, pool, now=now, is_kept=not dry_run)
    stored = publish.current(store)
    previous, is_ours = publish.read(stored), publish.is_signed(stored, key)
    _refuse_other_pool(config, previous)
    memory = Path(config.demand.state) / "publisher.sequence"
    known = kept.load(config)
    before = kept.copy(known)
    reports = heartbeats.read(store, sites, known)
    last = publish.last_sequence(memory, previous, is_ours=is_ours, seen=_seen(reports))
    demand = replace(
        _decide(config, answer, reports, _release(config, store, dry_run=dry_run), now).demand,
        sequence=last + 1,
        pool_view=census.pool_view(answer.slots, enrolled),
        metrics=census.of_sites(answer.metrics, sites),
        revoked=revocation.names(enrolled),
    )
    demand = publish.fit_into(demand, config.demand.max_size_mib * MIB)
    if dry_run:
        return Published(demand, written=False, mailboxes=(), failures=())
    is_announced = keys.is_announced(key.public)
    if not is_announced:
        keys.publish(store, now)
    office = mailboxes.Office(store, pool, key, config.token_settings)
    renewed, failures = _renew_mailboxes(office, enrolled, known, now)
    kept.save(config, known, before)
    written = publish.is_due(demand, previous, is_ours=is_ours, now=now)
    publish.remember(memory, last)
    if written:
        publish.write(store, demand, key, memory)
    if is_announced:
        keys.publish(store, now)
    return Published(demand if written or previous is None else previous, written, renewed, failures)


def _renew_mailboxes(
    office: mailboxes.Office, enrolled: dict[str, EnrolledSite], known: kept.Memory, now: datetime
) -> tuple[tuple[str, ...], tuple[GlidepostError, ...]]:
    """Returns the sites whose mailbox was renewed, and what went wrong; a site that was shut out has none any more."""
    not_cleared = revocation.clear_mailboxes(office.store, enrolled.values())
    public_keys = {name: site.public_key for name, site in active(enrolled).items()}
    renewed, failures = mailboxes.renew(office, public_keys, known, now=now)
    return tuple(renewed), (*not_cleared, *failures)


def _ask(config: PublisherConfig, pool: AskedPool, *, now: datetime, is_kept: bool) -> census.Answer:
    """Returns what the pool says, with the last good groups of the schedds that did not answer."""
    answer = pool.ask()
    _refuse_silence(answer)
    return last_good.complete(config, answer, now=now, is_kept=is_kept)


def _seen(reports: Mapping[str, Optional[Heartbeat]]) -> list[int]:
    return [heartbeat.demand_sequence or 0 for heartbeat in reports.values() if heartbeat]


def _refuse_other_pool(config: PublisherConfig, previous: Optional[Demand]) -> None:
    if previous and previous.pool != config.pool.name:
        raise ConfigError(
            f"{DEMAND_KEY} in {config.store.bucket} is of pool {previous.pool}, not {config.pool.name}",
            hint="give each pool a bucket or a [store] prefix of its own",
        )


def _refuse_silence(answer: census.Answer) -> None:
    """A failed query must never become "no demand"."""
    if all(schedd.error for schedd in answer.schedds):
        errors = [f"{schedd.name}: {schedd.error}" for schedd in answer.schedds] or ["the collector knows none"]
        raise PoolError(
            f"no schedd answered ({errors[0][:300]})",
            hint="nothing was published; sites go on with the last demand until it expires",
        )


def _decide(
    config: PublisherConfig,
    answer: census.Answer,
    reports: Mapping[str, Optional[Heartbeat]],
    glidein: GlideinRelease,
    now: datetime,
) -> Outlook:
    jobs, unevaluated = census.group(
        (row for schedd in answer.schedds for row in schedd.rows),
        memory_step_mib=config.census.memory_step_mib,
        disk_step_mib=config.census.disk_step_mib,
    )
    offered = offers.read(reports, answer.slots, config.rules, now)
    for name, why in offered.refused.items():
        LOG.warning("no share for=%s reason=%s", name, why)
    matcher = Matcher(config.rules, tarballs=glidein.tarballs)
    groups, candidates = offers.match(jobs, offered, lambda job, site, shape: matcher.verdict(job, site, shape).fits)
    covered = supply.covered(jobs, answer.slots, matcher.fits_slot, now)
    demand = Demand(
        pool=config.pool.name,
        sequence=1,
        generated_at=now,
        expires_at=now + timedelta(seconds=config.demand.life_s),
        collectors=config.pool.collectors,
        complete=not any(schedd.error for schedd in answer.schedds),
        schedds=census.schedd_views(answer),
        groups=shares.assign(groups, candidates, covered=covered, overcommit=config.demand.overcommit),
        unevaluated=unevaluated,
        glidein=glidein,
        rules={
            site: Rules(rule.accept, rule.deny)
            for site, rule in sorted(config.rules.items())
            if site in reports and (rule.accept or rule.deny)
        },
    )
    return Outlook(demand, jobs, reports, offered.refused, matcher)


def _release(config: PublisherConfig, store: S3Store, *, dry_run: bool) -> GlideinRelease:
    public_url = config.store.public_url.rstrip("/") + ("/" + config.store.prefix).rstrip("/")
    if not dry_run:
        return release.publish(store, config.glidein, public_url=public_url)
    return release.plan(config.glidein, public_url=public_url)
