"""`glidepost keys`: make keys, show the half that may be shown, and change a pool's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Optional

import click

from . import rotation
from .cli_options import config_option
from .document import encode, parse_object
from .errors import ConfigError, GlidepostError, UntrustedDocument
from .files import AlreadyRunning, lock, write_atomic
from .keychain import Link
from .keys import PublicKey, SigningKey
from .publisher_config import PublisherConfig
from .rotation import Changed, KeyFiles

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def group() -> None:
    """Make, show and change keys."""


@group.command()
@click.argument("file", type=_FILE)
@click.option("--site", metavar="NAME", help="Print the line by which the pool's admin enrols this site.")
def generate(file: Path, site: Optional[str]) -> None:
    """Make a new key in FILE and print its public half.

    Example: glidepost keys generate pool.key
    """
    key = SigningKey.generate()
    key.save(file)
    click.echo(_line(key, site))


@group.command()
@click.argument("file", type=_FILE)
@click.option("--site", metavar="NAME", help="Print the line by which the pool's admin enrols this site.")
def show(file: Path, site: Optional[str]) -> None:
    """Print the public half of the key in FILE.

    Example: glidepost keys show pool.key
    """
    click.echo(_line(SigningKey.load(file), site))


@group.command("list")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def list_keys(*, config: Path, as_json: bool) -> None:
    """Show which keys sign for the pool, as the access point has them.

    Example: glidepost keys list --config publisher.toml
    """
    files = KeyFiles.of(PublisherConfig.load(config))
    chain = rotation.load(files)
    link = Link.from_json(chain.links[-1]) if chain else None
    current = link.current if link else str(SigningKey.load(files.signing_key).public)
    answer = {
        "pool": files.pool,
        "current": current,
        "next": link.next if link else None,
        "root": None if files.root is None else str(files.root),
        "epoch": link.epoch if link else 0,
        "links": len(chain.links) if chain else 0,
    }
    if as_json:
        click.echo(json.dumps(answer, indent=1))
        return
    for name, value in answer.items():
        is_key = name in {"current", "next", "root"} and value is not None
        click.echo(f"{name:8} {value or 'none'}{f'  (id {_key_id(str(value))})' if is_key else ''}".rstrip())


@group.command()
@config_option
def rotate(*, config: Path) -> None:
    """Change the pool's signing key to the next one, which was made ahead, and make another next one.

    Interrupted, it is finished by running it again. The old key is not kept. For a stolen key: glidepost keys revoke.

    Example: glidepost keys rotate --config publisher.toml
    """
    with _locked(config) as files:
        changed = rotation.rotate(files, _now())
    _say(changed, "the sites follow by themselves")


@group.command()
@config_option
@click.option("--root", type=_FILE, help="The root key's file.")
@click.option("--request", "request_file", type=_FILE, help="Where to write what the root key, kept offline, signs.")
@click.option("--endorsed", type=_FILE, help="What `glidepost keys endorse` has signed: finishes the request.")
def revoke(*, config: Path, root: Optional[Path], request_file: Optional[Path], endorsed: Optional[Path]) -> None:
    """Replace a signing key that was stolen or lost, and the next one with it, by the word of the root key.

    Example: glidepost keys revoke --config publisher.toml --root root.key
    """
    if sum(option is not None for option in (root, request_file, endorsed)) != 1:
        raise click.UsageError("one of --root, --request and --endorsed is needed")
    with _locked(config) as files:
        if request_file is not None:
            _request(files, request_file)
            return
        changed = (
            rotation.revoke(files, SigningKey.load(root), _now())
            if root is not None
            else rotation.replace(files, _read(endorsed or Path()))
        )
    _say(changed, "sites that pinned root_key follow by themselves; the others need the new public_key")


@group.command()
@click.argument("file", type=_FILE)
@click.option("--root", type=_FILE, required=True, help="The root key's file.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def endorse(*, file: Path, root: Path, yes: bool) -> None:
    """Sign, with the root key, the request in FILE that `glidepost keys revoke --request` wrote. Needs no network.

    Example: glidepost keys endorse request.json --root root.key
    """
    key = SigningKey.load(root)
    data = _read(file)
    try:
        link = Link.from_json(data)
    except UntrustedDocument as error:
        raise ConfigError(
            f"{file}: {error.what}", hint="it is written by: glidepost keys revoke --request FILE"
        ) from error
    click.echo(f"pool     {link.pool}\nepoch    {link.epoch}\nmade at  {link.issued_at:%Y-%m-%d %H:%M} UTC")
    click.echo(f"current  {link.current}  (id {_key_id(link.current)})")
    click.echo(f"next     {link.next or 'none'}")
    if not yes:
        click.confirm(f"Are these the pool's keys from now on? Sign with {key.public.key_id}", abort=True, err=True)
    write_atomic(file, encode(rotation.endorse(data, key)))
    click.echo(f"signed; on the access point: glidepost keys revoke --endorsed {file.name}", err=True)


@contextmanager
def _locked(config: Path) -> Iterator[KeyFiles]:
    """Gives the pool's files, while no publisher runs.

    Raises:
        GlidepostError: when one does.
    """
    settings = PublisherConfig.load(config)
    try:
        with lock(Path(settings.demand.state) / "publisher.lock"):
            yield KeyFiles.of(settings)
    except AlreadyRunning as running:
        raise GlidepostError(f"a publisher is running (it holds {running})", hint="try again in a minute") from running


def _request(files: KeyFiles, file: Path) -> None:
    if os.path.lexists(file):
        raise ConfigError(f"{file} exists", hint="an earlier request? finish it with --endorsed, or remove the file")
    link = Link.from_json(data := rotation.request(files, _now()))
    write_atomic(file, encode(data))
    click.echo(f"{file}: key {_key_id(link.current)} is to be current in epoch {link.epoch} of pool {link.pool}")
    click.echo(
        f"nothing has changed yet. Where the root key is: glidepost keys endorse {file.name} --root ROOT.key\n"
        f"Then here: glidepost keys revoke --endorsed {file}",
        err=True,
    )


def _say(changed: Changed, who: str) -> None:
    link = changed.link
    what = "what was interrupted is finished" if changed.is_finished else f"link {link.sequence} is written"
    click.echo(f"{what}: key {_key_id(link.current)} signs for {link.pool} now (epoch {link.epoch})")
    click.echo(f"the next publisher run publishes it; {who}", err=True)


def _read(file: Path) -> dict[str, object]:
    try:
        return parse_object(file.read_bytes(), what=str(file))
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}", hint="it is written by: glidepost keys revoke") from error


def _key_id(text: str) -> str:
    return PublicKey.parse(text).key_id


def _line(key: SigningKey, site: Optional[str]) -> str:
    return f"glidepost-site {site} {key.public}" if site else str(key.public)


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)
