"""What was, without a database: rings of values in one JSON file for each resolution. Pure.

A value is that of one slot of time, such as the five minutes from 09:10. Whatever is written to a slot twice is there
once, and a slot of which nothing is known stays a gap. The finest ring is filled from the runs (samples.py), each
coarser one from the finer one, when its slot is over. So a ring that was lost begins anew with what the finer one
still has.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Final, NamedTuple, Optional

Series = tuple[Optional[float], ...]


class Resolution(NamedTuple):
    """How long one slot is, and how many a ring has at most."""

    resolution_s: int
    length: int


# "For ever" is ten years of days: what it takes to read the file is bounded.
HISTORIES: Final = {
    "5min": Resolution(300, 2 * 288),
    "1h": Resolution(3600, 90 * 24),
    "1d": Resolution(86_400, 3653),
}
FINEST: Final = "5min"

POOL_SERIES: Final = (
    "idle",
    "running_inside",
    "running_outside",
    "glideins_queued",
    "glideins_running",
    "cpus",
    "cpus_busy",
    "gpus",
    "gpus_busy",
    "glidein_hours",
    "mean_wait_s",
    "share_inside",
    "started_jobs",
)
SITE_SERIES: Final = (
    "queued",
    "running",
    "held",
    "cpus",
    "cpus_busy",
    "gpus",
    "gpus_busy",
    "glidein_hours",
    "ended",
    "failed",
)
# What a coarser slot holds the sum of; it holds the mean of all others.
ADDED: Final = frozenset({"glidein_hours", "started_jobs", "ended", "failed"})

# Beyond, a run of all sites would not fit into a small function's memory. The pool's own series count all sites.
MAX_SITES: Final = 200
MAX_VALUE: Final = 1e15
_DIGITS: Final = 6
_GAP: Final = math.nan


class Columns(Mapping[str, Series]):
    """Series by their names: eight bytes a value, made a tuple with None in the gaps when somebody looks."""

    def __init__(self, arrays: Mapping[str, array[float]], length: int) -> None:
        self._arrays = arrays
        self._gaps = length

    def __getitem__(self, name: str) -> Series:
        return tuple(None if value != value else value for value in self._arrays[name])  # noqa: PLR0124 - NaN

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def raw(self, name: str) -> array[float]:
        """Returns a series with NaN in the gaps; one that is not there is all gaps."""
        found = self._arrays.get(name)
        return array("d", [_GAP]) * self._gaps if found is None else found


@dataclass(frozen=True)
class Slot:
    """What is known of one slot, by the series' names, of the pool and of each site."""

    pool: Mapping[str, float] = field(default_factory=dict)
    sites: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class History:
    """One ring. All series have one length: value `i` is of [start + i * resolution_s, + resolution_s), None is a gap.

    A series of which nothing was ever known is all None, or missing.
    """

    resolution_s: int
    start: datetime
    pool: Mapping[str, Series]
    sites: Mapping[str, Mapping[str, Series]]

    @property
    def length(self) -> int:
        """How many slots there are."""
        return max((len(series) for series in self._arrays()), default=0)

    @property
    def end(self) -> int:
        """The second of the epoch at which its last slot ends."""
        return int(self.start.timestamp()) + self.length * self.resolution_s

    def _arrays(self) -> Iterator[Sequence[object]]:
        for columns in (self.pool, *self.sites.values()):
            for name in columns:
                yield columns.raw(name) if isinstance(columns, Columns) else columns[name]
                break  # all have one length


def slot_of(time: datetime, resolution_s: int) -> int:
    """Returns the second of the epoch at which the slot of `time` begins."""
    return int(time.timestamp()) // resolution_s * resolution_s


def moment(seconds: int) -> datetime:
    """Returns a second of the epoch as a time."""
    return datetime.fromtimestamp(seconds, timezone.utc)


def from_arrays(
    name: str,
    start: int,
    length: int,
    pool: Mapping[str, array[float]],
    sites: Mapping[str, Mapping[str, array[float]]],
) -> History:
    """Returns a history of these columns, which are all `length` long; the pool's own series are always there."""
    gaps = array("d", [_GAP]) * length
    return History(
        HISTORIES[name].resolution_s,
        moment(start),
        Columns({series: pool.get(series, gaps) for series in POOL_SERIES}, length),
        {site: Columns(columns, length) for site, columns in sorted(sites.items())},
    )


def put(name: str, history: Optional[History], slot: int, values: Slot) -> History:
    """Returns the ring with the values of one slot in the place of what stood there.

    Slots between its last one and this one become gaps, and the oldest leave when it is full. One that is older than
    all changes nothing.

    Args:
        name: Of the resolution, such as "5min".
        history: None begins one.
        slot: The second of the epoch at which the slot begins.
        values: What is known of it.
    """
    step, most = HISTORIES[name]
    first = slot if history is None or not history.length else int(history.start.timestamp())
    end = max(first if history is None else history.end, slot + step)
    start = max(first, end - most * step)
    if slot < start:
        return history or from_arrays(name, slot, 0, {}, {})
    window = _Window(start, end, step)
    kept = _kept_sites(history, values.sites)
    pool = window.columns(history, history.pool if history else {}, POOL_SERIES, values.pool, slot)
    sites = {
        site: window.columns(
            history, history.sites.get(site, {}) if history else {}, SITE_SERIES, values.sites.get(site, {}), slot
        )
        for site in kept
    }
    return from_arrays(name, start, window.length, pool, {site: columns for site, columns in sites.items() if columns})


def _kept_sites(history: Optional[History], given: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Returns the sites of the ring: those that it has, then the largest of the new ones, as far as there is room."""
    known = list(history.sites) if history else []
    new = sorted(set(given).difference(known), key=lambda site: (-given[site].get("glidein_hours", 0), site))
    return [*known, *new][:MAX_SITES]


@dataclass(frozen=True)
class _Window:
    """The slots that a ring is to have."""

    start: int
    end: int
    step: int

    @property
    def length(self) -> int:
        return (self.end - self.start) // self.step

    def columns(
        self,
        history: Optional[History],
        old: Mapping[str, Series],
        names: Sequence[str],
        values: Mapping[str, float],
        slot: int,
    ) -> dict[str, array[float]]:
        """Returns the columns of which anything is known."""
        made = {}
        for name in names:
            if name not in old and name not in values:
                continue
            column = self._moved(history, old, name)
            column[(slot - self.start) // self.step] = shortened(values.get(name))
            if any(value == value for value in column):  # noqa: PLR0124 - NaN
                made[name] = column
        return made

    def _moved(self, history: Optional[History], old: Mapping[str, Series], name: str) -> array[float]:
        """Returns a column with the old values at their places in this window."""
        if history is None or name not in old:
            return array("d", [_GAP]) * self.length
        cut = (self.start - int(history.start.timestamp())) // self.step
        column = array_of(old, name)[cut:]
        column.extend(array("d", [_GAP]) * (self.length - len(column)))
        return column


def array_of(columns: Mapping[str, Series], name: str) -> array[float]:
    """Returns one series with NaN in its gaps."""
    if isinstance(columns, Columns):
        return columns.raw(name)
    return array("d", [_GAP if value is None else value for value in columns[name]])


def shortened(value: Optional[float]) -> float:
    """Returns a value with as many digits as are worth keeping, within what history/1 allows; NaN for None."""
    return _GAP if value is None else float(f"{max(0, min(MAX_VALUE, value)):.{_DIGITS}g}")
