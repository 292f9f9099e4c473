"""`glidepost publisher enroll`, `sites` and `revoke`: who takes part."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Final, Optional

import click
from rich.console import Console

from glidepost.schema.cli_options import config_option
from glidepost.schema.errors import ConfigError
from glidepost.schema.files import write_atomic
from glidepost.schema.publisher_config import PublisherConfig
from glidepost.schema.sites import CANARY, STABLE, load_sites

from . import enrolment, revocation, site_list, site_terms
from .tokens import identity

_RECONFIG: Final = "condor_reconfig, on the central manager and each access point"


@click.command()
@click.argument("line")
@config_option
@click.option(
    "--groups", metavar="A,B", help='Only user jobs of these accounting groups and @domains; "" is all again.'
)
@click.option("--channel", type=click.Choice([STABLE, CANARY]), help="Which tarballs it takes first.")
@click.option("--again", is_flag=True, help="Let a site in that was revoked.")
def enroll(*, line: str, config: Path, groups: Optional[str], channel: Optional[str], again: bool) -> None:
    """Let a site take part: LINE is what `glidepost keys generate --site NAME` printed there.

    A site that is enrolled already gets the new key, and keeps its groups and its channel unless you give others.

    Example: glidepost publisher enroll 'glidepost-site north ed25519:AAAA...' --groups group_physics
    """
    settings = PublisherConfig.load(config)
    wanted = None if groups is None else tuple(word.strip() for word in groups.split(",") if word.strip())
    file = Path(settings.demand.sites)
    site_terms.accepted(settings, enrolment.name_in(line), wanted or ())  # says now what the next run would
    done = enrolment.enroll(line, file, enrolment.Terms(wanted, channel, again), now=_now())
    for sentence in _said(done, file):
        click.echo(sentence)


def _said(done: enrolment.Enrolled, file: Path) -> Iterator[str]:
    name, before = done.site.name, done.before
    if before is None:
        yield f"{name} is enrolled in {file}; the next run writes its mailbox"
        return
    if done.is_new_key:
        yield f"{name} has another key now: {done.site.public_key.key_id}, no longer {before.public_key.key_id}"
        if not before.is_revoked:
            yield f"was it stolen? Its pool token lives on: glidepost publisher revoke {name}, then enroll --again"
    else:
        yield f"{name} is enrolled in {file} with this key already"
    if before.is_revoked:
        yield f"{name} is let in again, with new pool tokens only"
        yield f"HTCondor does not know that yet: glidepost publisher revoke --write FILE, then {_RECONFIG}"


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print a list of the sites.")
def sites(*, config: Path, as_json: bool) -> None:
    """Show the sites of this pool: what is written down of each, and when it was last heard of.

    Example: glidepost publisher sites --config publisher.toml
    """
    settings = PublisherConfig.load(config)
    now = _now()
    found = site_list.look(settings, now=now)
    if as_json:
        click.echo(json.dumps([site_list.to_json(row) for row in found.rows], indent=1))
    else:
        console = Console(highlight=False)
        console.width = max(console.width, site_list.WIDTH)
        console.print(site_list.table(found.rows, now))
    if found.problem:
        click.echo(f"note: what sites report is not known: {found.problem.what}\n  {found.problem.hint}", err=True)


@click.command()
@click.argument("site", required=False)
@config_option
@click.option(
    "--write",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write HTCondor's configuration into this file, such as /etc/condor/config.d/90-glidepost-revoked.conf.",
)
def revoke(*, site: Optional[str], config: Path, write: Optional[Path]) -> None:
    """Shut SITE out: no mailbox, no share, and its pool tokens are refused once HTCondor is configured so.

    Prints the configuration for all sites that are shut out, or writes it into a file. Without SITE it does only that.

    Example: glidepost publisher revoke north --write /etc/condor/config.d/90-glidepost-revoked.conf
    """
    settings = PublisherConfig.load(config)
    file, domain = Path(settings.demand.sites), settings.pool.trust_domain
    if site is not None:
        revoked = enrolment.revoke(site, file, now=_now())
        click.echo(
            f"{site} is shut out since {revoked.revoked_at:%Y-%m-%d %H:%M}Z; the next run tells all sites", err=True
        )
        click.echo(f"HTCondor does not know that yet: it must refuse {identity(site, domain)}", err=True)
    text = revocation.condor_config(load_sites(file), domain)
    if write is None:
        click.echo(text, nl=False)
        click.echo(f"put this into HTCondor's configuration (--write FILE does), then: {_RECONFIG}", err=True)
        return
    try:
        write_atomic(write, text.encode())
    except OSError as error:
        raise ConfigError(f"{write}: {error.strerror}", hint="write it as the user who owns that folder") from error
    click.echo(f"wrote {write}; now: {_RECONFIG}")


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)
