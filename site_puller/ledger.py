"""What this site has submitted: written before the batch command runs and completed after, so that no answer is lost.

An entry is one submission under one unique batch job name; an array counts as many glideins as it has members.
Glideins of an entry that the batch system has not listed yet are `unreported`, and occupy places, for `REPORT_GRACE`.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Optional

import msgspec

from glidepost.schema.errors import ConfigError
from glidepost.schema.files import write_atomic

# A batch system may take minutes to list what it accepted; after this it is taken for gone.
REPORT_GRACE: Final = timedelta(minutes=10)
_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Entry:
    """One submission.

    `batch_id` is None until the batch system answered. `started` has, per member seen running, when it was first seen
    so. `reported` is how many members were ever listed.
    """

    name: str
    shape: str
    count: int
    submitted_at: datetime
    batch_id: Optional[str] = None
    reported: int = 0
    started: dict[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True)
class Ledger:
    """All submissions that may still matter, by name."""

    entries: dict[str, Entry] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Ledger:
        """Returns the ledger in a file; an empty one when there is none.

        Raises:
            ConfigError: when the file is there and cannot be understood: nothing may be submitted on a guess.
        """
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except FileNotFoundError:
            return cls()
        except (OSError, msgspec.MsgspecError) as error:
            raise ConfigError(
                f"the ledger {path} is unreadable: {error}",
                hint="look at your batch jobs named gp-*; when all of them are known to be gone, move the file away",
            ) from error

    def save(self, path: Path) -> None:
        """Writes the ledger, whole and synced to disk.

        Raises:
            OSError: when the disk is full; then nothing may be submitted.
        """
        write_atomic(path, msgspec.json.format(msgspec.json.encode(self), indent=1))

    def with_entry(self, entry: Entry) -> Ledger:
        """Returns the ledger with one entry added or replaced."""
        return Ledger({**self.entries, entry.name: entry})

    def without(self, name: str) -> Ledger:
        """Returns the ledger without one entry: a submission that the batch system refused."""
        return Ledger({key: entry for key, entry in self.entries.items() if key != name})

    def observed(self, jobs: Mapping[str, Iterable[tuple[str, bool]]], *, now: datetime) -> Ledger:
        """Returns the ledger brought up to date with a complete answer of the batch system.

        Args:
            jobs: Per batch job name its listed members, each as (batch id, whether it runs).
            now: When the batch system was asked.

        Entries without listed members are dropped when all members were listed before, or their time for it is over.
        """
        entries = {}
        for name, entry in self.entries.items():
            members = list(jobs.get(name, ()))
            if not members and (entry.reported >= entry.count or now - entry.submitted_at > REPORT_GRACE):
                continue
            started = {member: entry.started.get(member, now) for member, is_running in members if is_running}
            entries[name] = replace(entry, reported=max(entry.reported, len(members)), started=started)
        return Ledger(entries)

    def unreported(self, shape: str, *, now: datetime) -> int:
        """Returns the glideins of a shape that were submitted and have never been listed, within their grace."""
        return sum(
            max(0, entry.count - entry.reported)
            for entry in self.entries.values()
            if entry.shape == shape and now - entry.submitted_at <= REPORT_GRACE
        )

    def started_since(self, shape: str, moment: datetime) -> int:
        """Returns the running glideins of a shape that started after a moment."""
        entries = (entry for entry in self.entries.values() if entry.shape == shape)
        return sum(started > moment for entry in entries for started in entry.started.values())


def name_prefix(site: str, shape: str) -> str:
    """Returns what the batch job names of a shape begin with, so that they are known again even without a ledger."""
    return f"gp-{hashlib.sha256(f'{site}/{shape}'.encode()).hexdigest()[:5]}-"


def new_name(site: str, shape: str) -> str:
    """Returns a batch job name that was never used before: 14 characters of [a-z0-9-]."""
    return name_prefix(site, shape) + "".join(secrets.choice(_ALPHABET) for _ in range(5))
