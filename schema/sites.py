"""sites/1: sites.toml, the sites that a pool has enrolled, as an admin keeps it under version control."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final, Optional

from .config import load
from .errors import ConfigError
from .keys import PublicKey

STABLE: Final = "stable"
CANARY: Final = "canary"


@dataclass(frozen=True)
class EnrolledSite:
    """One site. `groups` are the accounting groups that may run there, empty: all.

    `channel` "canary" takes new tarballs first. A site that was revoked stays in the file, with when: its name is not
    free for somebody else. When it was let in again, pool tokens from before `tokens_from` stay refused.
    """

    name: str
    public_key: PublicKey
    groups: tuple[str, ...] = ()
    channel: str = STABLE
    enrolled_at: Optional[datetime] = None
    revoked_at: Optional[datetime] = None
    tokens_from: Optional[datetime] = None

    @property
    def is_revoked(self) -> bool:
        """Whether it was shut out."""
        return self.revoked_at is not None


def load_sites(path: Path) -> dict[str, EnrolledSite]:
    """Returns all sites in the file by name, revoked ones too; none when there is no file yet.

    Raises:
        ConfigError: naming what to change in the file.
    """
    if not path.exists():
        return {}
    return {
        name: EnrolledSite(
            name=name,
            public_key=PublicKey.parse(entry["public_key"]),
            groups=tuple(entry.get("groups", ())),
            channel=entry.get("channel", STABLE),
            enrolled_at=_moment(path, name, entry, "enrolled_at"),
            revoked_at=_moment(path, name, entry, "revoked_at"),
            tokens_from=_moment(path, name, entry, "tokens_from"),
        )
        for name, entry in load(path, "sites/1").items()
    }


def _moment(path: Path, name: str, entry: dict[str, Any], key: str) -> Optional[datetime]:
    """Returns a time in UTC, None when it is not given.

    Raises:
        ConfigError: for anything else: a site that somebody meant to shut out must not stay in for a slip of the pen.
    """
    said = entry.get(key)
    if said is None:
        return None
    if not isinstance(said, datetime) or said.tzinfo is None:
        raise ConfigError(
            f"{path}: {name}.{key} = {said}: not a date and time with its zone",
            hint=f"write it like {key} = 2026-11-22T09:00:00Z",
        )
    return said.astimezone(timezone.utc)


def active(sites: dict[str, EnrolledSite]) -> dict[str, EnrolledSite]:
    """Returns those that take part."""
    return {name: site for name, site in sites.items() if not site.is_revoked}
