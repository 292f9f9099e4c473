"""`glidepost keys`: make keys, and show the half that may be shown."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import click

from .keys import SigningKey


@click.group()
def group() -> None:
    """Make and show keys."""


@group.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--site", metavar="NAME", help="Print the line by which the pool's admin enrols this site.")
def generate(file: Path, site: Optional[str]) -> None:
    """Make a new key in FILE and print its public half.

    Example: glidepost keys generate pool.key
    """
    key = SigningKey.generate()
    key.save(file)
    click.echo(_line(key, site))


@group.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--site", metavar="NAME", help="Print the line by which the pool's admin enrols this site.")
def show(file: Path, site: Optional[str]) -> None:
    """Print the public half of the key in FILE.

    Example: glidepost keys show pool.key
    """
    click.echo(_line(SigningKey.load(file), site))


def _line(key: SigningKey, site: Optional[str]) -> str:
    return f"glidepost-site {site} {key.public}" if site else str(key.public)
