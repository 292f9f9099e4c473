"""Enrolled sites: a readable TOML file that an admin keeps under version control, edited and never rewritten.

Comments, order and lines written by hand stay as they are. What is about to be written is read once more before: it
must say the same of all other sites.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Optional

import tomlkit
from nacl.exceptions import CryptoError
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AbstractTable

from glidepost.schema.document import validator
from glidepost.schema.errors import ConfigError
from glidepost.schema.files import write_atomic
from glidepost.schema.keys import PublicKey
from glidepost.schema.sealing import seal
from glidepost.schema.sites import STABLE, EnrolledSite, load_sites

_HEAD: Final = (
    "# The sites of this pool. What is written by hand stays: glidepost publisher enroll and revoke keep it.\n"
)
_PRINTED: Final = "the site prints it: glidepost keys show SITE.key --site NAME"


@dataclass(frozen=True)
class Enrolled:
    """What an enrolment did. `before` is what the file said of the site, None when it did not know it."""

    site: EnrolledSite
    before: Optional[EnrolledSite]

    @property
    def is_new_key(self) -> bool:
        """Whether a known site has another key now."""
        return self.before is not None and self.before.public_key != self.site.public_key


@dataclass(frozen=True)
class Terms:
    """On what terms a site takes part; None: as before, or the default.

    `groups` are accounting groups and "@" owners' domains that may run there, none at all: all. `channel` is "stable"
    or "canary". `again` also lets a site in that was revoked.
    """

    groups: Optional[tuple[str, ...]] = None
    channel: Optional[str] = None
    again: bool = False


AS_BEFORE: Final = Terms()


def enroll(line: str, path: Path, terms: Terms = AS_BEFORE, *, now: datetime) -> Enrolled:
    """Lets the site in a line such as ``glidepost-site north ed25519:...`` take part.

    A site that is there already gets the new key. It keeps its groups and its channel, unless others are given.

    Args:
        line: What the site printed.
        path: sites.toml.
        terms: What to write beside the key.
        now: In UTC, whole seconds.

    Raises:
        ConfigError: when the line is not one that a site's `glidepost keys` printed, or the site was revoked.
    """
    name, key = _parse(line)
    before = load_sites(path).get(name)
    if before and before.revoked_at and not terms.again:
        raise ConfigError(
            f"{name} was revoked on {before.revoked_at:%Y-%m-%d %H:%M}Z",
            hint="is the line from the site's admin, and the cause gone? Then add --again",
        )
    changes: dict[str, Any] = {"public_key": str(key)}
    if before is None or before.public_key != key or before.is_revoked:
        changes["enrolled_at"] = now
    if terms.groups is not None:
        changes["groups"] = list(terms.groups) or None
    if terms.channel is not None:
        changes["channel"] = terms.channel if terms.channel != STABLE else None
    if before and before.revoked_at:
        changes.update(revoked_at=None, tokens_from=now)
    _change(path, name, changes)
    return Enrolled(load_sites(path)[name], before)


def revoke(name: str, path: Path, *, now: datetime) -> EnrolledSite:
    """Writes down that a site is shut out, and returns it; one that is already keeps its time.

    Raises:
        ConfigError: when there is no such site.
    """
    sites = load_sites(path)
    if name not in sites:
        known = ", ".join(sorted(sites)) or "none"
        raise ConfigError(f"{path}: no site {name!r}", hint=f"enrolled are: {known}")
    if not sites[name].is_revoked:
        _change(path, name, {"revoked_at": now})
    return load_sites(path)[name]


def name_in(line: str) -> str:
    """Returns the site's name in an enrolment line.

    Raises:
        ConfigError: when the line is none.
    """
    return _parse(line)[0]


def _parse(line: str) -> tuple[str, PublicKey]:
    words = line.split()
    if len(words) != 3 or words[0] != "glidepost-site" or not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", words[1]):
        raise ConfigError(f"not an enrolment line: {line[:100]!r}", hint=_PRINTED)
    return words[1], _key(words[2])


def _key(text: str) -> PublicKey:
    key = PublicKey.parse(text)
    try:
        seal(b"", key)
    except CryptoError as error:
        raise ConfigError(
            f"{text} is not a public key of a site, though it has the right length",
            hint=f"was a letter lost on the way? T{_PRINTED[1:]}",
        ) from error
    return key


def _change(path: Path, name: str, changes: Mapping[str, Any]) -> None:
    """Sets keys of a site's table; None takes one away.

    Raises:
        ConfigError: when the file cannot be changed without touching something else. It is as before then.
    """
    text = path.read_bytes().decode() if path.exists() else _HEAD  # (read_text would change ends of lines)
    try:
        document = tomlkit.parse(text)
        wanted = document.unwrap()
        if name not in document:
            if not text.endswith("\n"):
                document.add(tomlkit.nl())
            document.add(tomlkit.nl())
            document.add(name, tomlkit.table())
        _edit(document[name], changes)
        text = tomlkit.dumps(document)
        written = tomlkit.parse(text).unwrap()
    except (TOMLKitError, TypeError, ValueError) as error:
        raise _by_hand(path, name, str(error)) from error
    kept = {key: value for key, value in wanted.get(name, {}).items() if key not in changes}
    wanted[name] = {**kept, **{key: value for key, value in changes.items() if value is not None}}
    if written != wanted:
        raise _by_hand(path, name, "the change would touch other lines")
    _refuse_wrong(path, written)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    write_atomic(path.resolve(), text.encode(), mode=mode)


def _refuse_wrong(path: Path, written: Mapping[str, Any]) -> None:
    problem = next(iter(validator("sites/1").iter_errors(written)), None)
    if problem is not None:
        where = ".".join(str(part) for part in problem.absolute_path)
        raise ConfigError(
            f"{path}: {where}: {problem.message[:200]}",
            hint="a group is a name such as group_physics, or @ and a domain of owners",
        )


def _edit(entry: Any, changes: Mapping[str, Any]) -> None:
    """Sets keys. The comments at the end of a table mostly belong to the next one: new keys go before them.

    Raises:
        TypeError: when this is no table, as that of `north.public_key = ...` at the top is none.
    """
    if not isinstance(entry, AbstractTable):
        raise TypeError("it is not one table")
    body = entry.value.body
    tail = []
    while body and body[-1][0] is None:
        tail.append(body.pop())
    for key, value in changes.items():
        if value is None:
            entry.pop(key, None)
        else:
            entry[key] = value
    body.extend(reversed(tail))


def _by_hand(path: Path, name: str, why: str) -> ConfigError:
    return ConfigError(f"{path}: cannot change {name}: {why}", hint="give each site one [table], or change it by hand")
