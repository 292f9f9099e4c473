"""`glidepost infra`: what runs beside the pool."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import click

from glidepost.publisher.store import S3Store
from glidepost.schema.document import encode
from glidepost.schema.publisher_config import PublisherConfig
from glidepost.schema.sites import load_sites

from .aggregator.alert_settings import audience
from .aggregator.run import aggregate_once, summary
from .cli_alerts import alert
from .cloud.cli import deploy, destroy, package
from .cost_cli import cost


@click.group()
def group() -> None:
    """Deploy the cloud side, make the status page, tell what is wrong, count costs."""


for _command in (alert, package, deploy, destroy, cost):
    group.add_command(_command)


@group.command()
@click.option(
    "--config",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The publisher's publisher.toml: its store is read and written.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the whole status document instead of one line.")
def aggregate(config: Path, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Write status, pages, histories and metrics from the demand and all heartbeats, once; cron is the loop.

    Example: glidepost infra aggregate --config publisher.toml
    """
    settings = PublisherConfig.load(config)
    status = aggregate_once(
        S3Store.from_settings(settings.store),
        datetime.now(timezone.utc),
        pool=settings.pool.name,
        sites=load_sites(Path(settings.demand.sites)),
        audience=audience(settings),
    )
    if as_json:
        click.echo(encode(status.to_json()), nl=False)
        return
    counts = summary(status)
    click.echo(
        f"pool {counts['pool']}: {counts['verdict']}; {counts['groups']} groups,"
        f" {counts['groups_without_site']} of them without a site;"
        f" {counts['sites_reporting']} of {counts['sites']} sites report,"
        f" {counts['glideins_queued']} glideins queued, {counts['glideins_running']} running"
    )
