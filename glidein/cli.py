"""`glidepost glidein`: build and inspect the tarball that glideins run."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import click

from .tarball import ARCHES, Manifest
from .tarball import inspect as inspect_tarball

_as_json = click.option("--json", "is_json", is_flag=True, help="Print the whole manifest as JSON.")


@click.group()
def group() -> None:
    """Build and inspect the tarball that glideins run."""


@group.command()
@click.option(
    "--from",
    "source",
    required=True,
    metavar="DIR|TARBALL",
    type=click.Path(exists=True, path_type=Path),
    help="Prefix of an HTCondor (/usr, or an unpacked release), or a release's .tar.gz.",
)
@click.option(
    "--output", required=True, metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Tarball to write."
)
@click.option("--os", default="any", show_default=True, help="Nodes that may run it: any, el9, debian12, ...")
@click.option("--arch", type=click.Choice(ARCHES), help="Refuse an HTCondor for any other (default: take what it is).")
@_as_json
def build(source: Path, output: Path, os: str, arch: Optional[str], is_json: bool) -> None:  # noqa: FBT001 - click's way
    """Make a glidein tarball from an installed or unpacked HTCondor.

    Example: glidepost glidein build --from /usr --output glidein.tar.gz
    """
    from .build import build as build_tarball  # noqa: PLC0415 - inspecting needs no building

    _show(output, build_tarball(source, output, os=os, arch=arch), is_json=is_json)


@group.command()
@click.argument("file", type=click.Path(path_type=Path))
@_as_json
def inspect(file: Path, is_json: bool) -> None:  # noqa: FBT001 - click's way
    """Compare every file of a glidein tarball with its manifest, and show what it is.

    Example: glidepost glidein inspect glidein.tar.gz
    """
    _show(file, inspect_tarball(file), is_json=is_json)


def _show(path: Path, manifest: Manifest, *, is_json: bool) -> None:
    if is_json:
        click.echo(manifest.to_json())
        return
    click.echo(f"path            {path}")
    click.echo(f"condor version  {manifest.condor_version}")
    click.echo(f"os, arch        {manifest.os}, {manifest.arch}")
    click.echo(f"glibc           {manifest.glibc or 'any'}{' or newer' if manifest.glibc else ''}")
    click.echo(f"size            {manifest.size_bytes} bytes, unpacked {manifest.unpacked_bytes}")
    click.echo(f"files           {len(manifest.files)}")
    click.echo(f"sha256          {manifest.sha256}")
