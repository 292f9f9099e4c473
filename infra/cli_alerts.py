"""`glidepost infra alert`: tell people what has gone wrong, without making the page."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import click

from glidepost.publisher.store import S3Store
from glidepost.schema.errors import ConfigError
from glidepost.schema.publisher_config import PublisherConfig
from glidepost.schema.sites import load_sites

from .aggregator.alert_settings import audience
from .aggregator.run import watch_once


@click.command()
@click.option(
    "--config",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The publisher's publisher.toml: its [alerts] are told, its store is read.",
)
def alert(config: Path) -> None:
    """Tell [alerts] once which sites are silent or unreadable, which shapes are paused, if the demand is overdue.

    `glidepost publisher run` does it too, and the aggregator: who was told is kept in the store.

    Example: glidepost infra alert --config publisher.toml
    """
    settings = PublisherConfig.load(config)
    if settings.alerts.is_empty:
        raise ConfigError(f"{config} has no [alerts]", hint="set webhook_file, or mail_to, mail_from and smtp")
    watch_once(
        S3Store.from_settings(settings.store),
        datetime.now(timezone.utc),
        audience(settings),
        pool=settings.pool.name,
        sites=load_sites(Path(settings.demand.sites)),
    )
