"""What a run leaves for the next one: the heartbeats that it has read, by their ETags, and numbers half gathered.

Nothing here is needed. Without it, or when it is damaged, a run reads all heartbeats again, writes all files again, and
one slot of the histories has fewer values.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Final, Optional, Union

import msgspec

from glidepost.schema.errors import UntrustedDocument
from glidepost.schema.heartbeat import Heartbeat

from .samples import LastMetrics, OpenSlot
from .store import JSON, Store, write

LOG = logging.getLogger(__name__)

KEY: Final = "v1/aggregator/kept.json"
MAX_BYTES: Final = 128 * 1024 * 1024


_NOTHING: Final = msgspec.Raw(b"null")


class Report(msgspec.Struct):
    """A site's heartbeat as one run has read it: its JSON, or why it could not be believed.

    `instance_id` and `sequence` are those of the last one whose outcomes were counted.
    """

    etag: str
    body: msgspec.Raw = _NOTHING
    error: str = ""
    instance_id: str = ""
    sequence: int = -1

    @property
    def is_readable(self) -> bool:
        """Whether there is a heartbeat, rather than an error."""
        return bytes(self.body) != bytes(_NOTHING)


class Written(msgspec.Struct, array_like=True):
    """What was written under a key: the beginning of its SHA-256, and the second of the epoch."""

    digest: str
    at: int


class Kept(msgspec.Struct):
    """What is kept between runs. `is_new` tells that nothing was: what was counted before is not known.

    `states` say how the sites were, so that a change shows on their pages at once. `mailboxes` are the sites that had
    one at `listed_at`. `errors_since` has the sites with errors. Times are seconds of the epoch.
    """

    reports: dict[str, Report] = {}
    filled: Optional[OpenSlot] = None
    metrics: Optional[LastMetrics] = None
    written: dict[str, Written] = {}
    states: dict[str, str] = {}
    mailboxes: list[str] = []
    listed_at: int = 0
    errors_since: dict[str, int] = {}
    is_new: bool = False
    kind: str = "kept/1"


_READ: Final = msgspec.json.Decoder(Kept)
_READ_HEARTBEAT: Final = msgspec.json.Decoder(Heartbeat)


class Heartbeats(Mapping[str, Union[Heartbeat, str]]):
    """The heartbeats by site, each made from its JSON when it is looked at: 10,000 at once would be too many."""

    def __init__(self, reports: Mapping[str, Report]) -> None:
        self._reports = reports

    def __getitem__(self, site: str) -> Union[Heartbeat, str]:
        report = self._reports[site]
        return _READ_HEARTBEAT.decode(report.body) if report.is_readable else report.error

    def __iter__(self) -> Iterator[str]:
        return iter(self._reports)

    def __len__(self) -> int:
        return len(self._reports)


def load(store: Store) -> Kept:
    """Returns what the run before has left.

    Raises:
        StoreError: when the store cannot be read.
    """
    try:
        body = store.get(KEY, max_bytes=MAX_BYTES)
        if body is None:
            return Kept(is_new=True)
        kept = _READ.decode(body)
        # Decoded once here, so that damage shows now, and not in the middle of a run.
        for report in kept.reports.values():
            if report.is_readable:
                _READ_HEARTBEAT.decode(report.body)
    except (UntrustedDocument, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        LOG.warning("kept state damaged, all is read again key=%s error=%s", KEY, error)
        return Kept(is_new=True)
    return kept if kept.kind == Kept().kind else Kept(is_new=True)


def save(store: Store, kept: Kept) -> None:
    """Writes what the next run is to know.

    Raises:
        StoreError: when the store refuses.
    """
    kept.is_new = False
    write(store, KEY, msgspec.json.encode(kept), JSON)
