"""Options that verbs of `glidepost puller` share."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

config_option: Final = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("puller.toml"),
    envvar="GLIDEPOST_PULLER_CONFIG",
    show_default=True,
    help="This site's configuration.",
)
state_option: Final = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="GLIDEPOST_PULLER_STATE",
    help="The state folder, in place of [site] state.",
)
json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
documents_option: Final = click.option(
    "--documents",
    metavar="FILE",
    help="A file with demand and mailbox one after the other, in place of [pool] url; - is standard input.",
)
