"""The option that all verbs have which work with publisher.toml."""

from __future__ import annotations

from pathlib import Path

import click

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("publisher.toml"),
    envvar="GLIDEPOST_PUBLISHER_CONFIG",
    show_default=True,
    help="The publisher's configuration.",
)
