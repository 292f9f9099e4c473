"""What others must not read, change or find: keys, tokens, and what decides which code runs under this account."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Union

from glidepost.schema.checks import Finding, Remark, Skipped, attempt
from glidepost.schema.errors import ConfigError
from glidepost.schema.keys import SigningKey
from glidepost.schema.puller_config import GlideinOptions, PullerConfig
from glidepost.schema.secrets import refuse_open_file, refuse_open_folder
from glidepost.schema.units import counted
from glidepost.site_puller import script, secret_files

_PASTED: Final = {
    "a token": re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    "an AWS access key": re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY|\bed25519-secret:\S"),
}


def pasted_secrets(text: str) -> tuple[str, ...]:
    """Returns what looks like a secret, by kind and line, never itself: "a token in line 12"."""
    return tuple(
        f"{kind} in line {number}"
        for number, line in enumerate(text.splitlines(), start=1)
        for kind, pattern in _PASTED.items()
        if pattern.search(line)
    )


def check_text(path: Path) -> Iterator[Finding]:
    """Yields whether a secret was pasted into a configuration file. The file need not be right in any other way."""
    yield attempt(f"secrets in {path.name}", lambda: _nothing_pasted(path))


def check_secrets(path: Path, config: PullerConfig) -> Iterator[Finding]:
    """Yields what is found about the key, the token, and who may change what this account runs."""
    yield attempt("site key", lambda: _key(config))
    yield attempt("token and forms", lambda: _own_files(config))
    for file in config.glidein.checks:
        yield attempt(f"check {Path(file).name}", lambda file=file: _script(Path(file)))  # type: ignore[misc]
    yield attempt("glidein's script", lambda: _glidein(config.glidein))
    yield attempt("who may write", lambda: _writers(path, config))


def _nothing_pasted(path: Path) -> str:
    found = pasted_secrets(path.read_text(encoding="utf-8", errors="replace"))
    if found:
        raise ConfigError(
            f"{path} holds {', '.join(found)}",
            hint="take it out and have it revoked; tokens come through the mailbox, keys stay in their files",
        )
    return "none"


def _key(config: PullerConfig) -> str:
    key = SigningKey.load(config.key)
    return f"{config.key}, key id {key.public.key_id}"


def _own_files(config: PullerConfig) -> str:
    there = [path for path in secret_files.own_files(config) if path.exists() or path.is_symlink()]
    if not there:
        raise Skipped("there is none yet", remedy="the first run writes it: glidepost puller run")
    for path in there:
        refuse_open_file(path, "the puller's file")
    return f"only you may read {_list(there)}"


def _script(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}", hint="it is named in [glidein] checks: correct it there"
        ) from error
    found = pasted_secrets(text)
    if found:
        raise ConfigError(f"{path} holds {', '.join(found)}", hint="it goes along with each glidein: take it out")
    return str(path)


def _glidein(glidein: GlideinOptions) -> str:
    """Says what goes along with each glidein, put together as for a submission."""
    checks = script.checks(glidein)
    script.environment(glidein)
    variables = len({*glidein.keep, *glidein.environment})
    return f"can be made, with {counted(len(checks), 'check')} and {counted(variables, 'variable')} of the site"


def _writers(path: Path, config: PullerConfig) -> Union[str, Remark]:
    """Says who else may change what runs here: puller.toml and the checks hold commands of this account."""
    refuse_open_folder(config.state, "the state folder")
    files = [path.absolute(), config.key, *map(Path, config.glidein.checks)]
    places = list(dict.fromkeys([*files, *(file.parent for file in files), config.state]))
    modes = [(place, place.stat()) for place in places if place.exists()]
    world = [place for place, found in modes if found.st_mode & stat.S_IWOTH and not _is_sticky(found)]
    if world:
        raise ConfigError(f"anybody may write {_list(world)}", hint=f"chmod o-w {_list(world)}")
    group = [place for place, found in modes if found.st_mode & stat.S_IWGRP and not _is_sticky(found)]
    if group:
        return Remark(f"you, and your group {_list(group)}", f"if that is not meant: chmod g-w {_list(group)}")
    if config.state.exists() and config.state.stat().st_mode & stat.S_IROTH:
        return Remark(
            "only you; others may read the state folder, where the glideins' output is",
            f"if that is not meant: chmod 700 {config.state}",
        )
    return "only you"


def _is_sticky(found: os.stat_result) -> bool:
    return bool(found.st_mode & stat.S_ISVTX) and stat.S_ISDIR(found.st_mode)


def _list(places: Sequence[Path]) -> str:
    return " ".join(map(str, places))
