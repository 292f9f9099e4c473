"""The files of a publisher that others must not read: looked at when a run starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from glidepost.schema.publisher_config import PublisherConfig
from glidepost.schema.secrets import refuse_open_file, refuse_open_folder


def look(config: PublisherConfig) -> None:
    """Returns if each file with a secret is closed, and not everybody may write the state folder.

    Raises:
        ConfigError: naming the first one that is not, and the command that mends it.
    """
    refuse_open_folder(Path(config.demand.state), "the state folder")
    for path, what in files(config):
        refuse_open_file(path, what)


def files(config: PublisherConfig) -> Iterator[tuple[Path, str]]:
    """Yields the files with secrets and what they are called; not all of them need be there."""
    key, pool, store = Path(config.demand.signing_key), config.pool, config.store
    yield key, "key"
    for ending in ("next", "after", "new", "new.next"):  # as in schema/rotation.py
        yield key.with_name(f"{key.name}.{ending}"), "key"
    for name, what in (
        (pool.token_key_file, "[pool] token_key_file:"),
        (store.credentials, "[store] credentials:"),
        (store.forms_credentials, "[store] forms_credentials:"),
    ):
        if name is not None:
            yield Path(name), what
