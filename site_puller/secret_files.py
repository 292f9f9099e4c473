"""The files of a site that others must not read: looked at when a run starts, before anything is submitted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from glidepost.schema.puller_config import PullerConfig
from glidepost.schema.secrets import close_own_file, refuse_open_file, refuse_open_folder
from glidepost.schema.store_keys import mailbox_key

from . import outbox
from .heartbeat import outbox_folder


def look(config: PullerConfig, carried: Optional[Path] = None) -> None:
    """Refuses what a person must mend, and closes what runs have written themselves.

    The site key is a person's: who may have copied it, only a person knows. Token, forms and the kept mailbox are
    written anew by the run that finds them open, so that refusing would only keep the site from its work.

    Args:
        config: Of this site.
        carried: The folder that `--heartbeat` names, if it does.

    Raises:
        ConfigError: when the key can be read by others, anybody may write the state folder, or one of these files is
            another user's.
    """
    refuse_open_folder(config.state, "the state folder")
    refuse_open_file(config.key, "key")
    for path in own_files(config, carried):
        close_own_file(path, "the puller's file")


def own_files(config: PullerConfig, carried: Optional[Path] = None) -> Iterator[Path]:
    """Yields the files with secrets that runs write; not all of them need be there."""
    yield config.token_file
    yield config.log_form_file
    yield config.state / "documents" / mailbox_key(config.site).replace("/", "-")
    folder = outbox_folder(config, carried)
    if folder is not None:
        yield folder / outbox.CURL
