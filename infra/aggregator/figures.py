"""Histories as figures see them: a span of time in equal bins, with gaps left as gaps. Pure, and free of HTML."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final, NamedTuple, Optional

from .history import History, Series

Values = Series

_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR


@dataclass(frozen=True)
class Span:
    """A span of time that figures show, in `bins` of `bin_s` seconds.

    `rings` are the histories that it is drawn from: the coarsest first, for a finer one knows what is newer.
    """

    id: str
    title: str
    rings: tuple[str, ...]
    bin_s: int
    bins: int
    step: str


SPANS: Final = (
    Span("day", "24 hours", ("5min",), _HOUR // 4, 96, "15 minutes"),
    Span("quarter", "90 days", ("1h", "5min"), _DAY, 90, "a day"),
    Span("year", "52 weeks", ("1d", "1h", "5min"), 7 * _DAY, 52, "a week"),
)


class _Part(NamedTuple):
    """The slots of one history that a window takes: those from `first` to before `end`."""

    start: int
    step: int
    first: int
    end: int


@dataclass(frozen=True)
class Window:
    """The bins of a span up to `end`; without histories all of it is a gap."""

    span: Span
    end: datetime
    histories: tuple[History, ...]
    parts: tuple[_Part, ...]

    @classmethod
    def of(cls, histories: Mapping[str, History], span: Span, now: datetime) -> Window:
        """Returns the window whose newest bin holds `now`; it ends where a slot of its finest history does."""
        found = tuple(histories[name] for name in span.rings if name in histories)
        step = found[-1].resolution_s if found else span.bin_s
        end = -(-int(now.timestamp()) // step) * step
        parts = tuple(_parts(found, end - span.bin_s * span.bins, end))
        return cls(span, datetime.fromtimestamp(end, timezone.utc), found, parts)

    @property
    def start(self) -> datetime:
        """When its first bin begins."""
        return self.end - timedelta(seconds=self.span.bin_s * self.span.bins)

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites that its histories know, by name."""
        return tuple(sorted({site for history in self.histories for site in history.sites}))

    def pool(self, series: str, *, is_added: bool = False) -> Values:
        """Returns a series of the pool, one value for each bin: the mean of its slots, or what they add up to."""
        return self._binned([history.pool.get(series, ()) for history in self.histories], is_added=is_added)

    def site(self, site: str, series: str, *, is_added: bool = False) -> Values:
        """Returns a series of a site likewise."""
        return self._binned(self._of_site(site, series), is_added=is_added)

    def sum_of_site(self, site: str, series: str) -> float:
        """Returns what a series of a site adds up to."""
        slots = (values[part.first : part.end] for part, values in zip(self.parts, self._of_site(site, series)))
        return math.fsum(value for values in slots for value in values if value is not None and 0 <= value < math.inf)

    def _of_site(self, site: str, series: str) -> list[Series]:
        return [history.sites.get(site, {}).get(series, ()) for history in self.histories]

    def _binned(self, found: Sequence[Series], *, is_added: bool) -> Values:
        sums, lengths = [0.0] * self.span.bins, [0] * self.span.bins
        window = int(self.start.timestamp())
        for part, series in zip(self.parts, found):
            weight = 1 if is_added else part.step
            for index, value in enumerate(series[part.first : part.end], part.first):
                if value is not None and 0 <= value < math.inf:
                    place = (part.start + index * part.step - window) // self.span.bin_s
                    sums[place] += value * weight
                    lengths[place] += part.step
        return tuple((one if is_added else one / length) if length else None for one, length in zip(sums, lengths))


def _parts(histories: Sequence[History], start: int, end: int) -> Iterator[_Part]:
    """Yields what each history gives, the coarsest first: where it ends, the next finer one goes on."""
    known_to = start
    for history in histories:
        begin, step = int(history.start.timestamp()), history.resolution_s
        first, last = max(0, -(-(known_to - begin) // step)), max(0, -(-(end - begin) // step))
        yield _Part(begin, step, first, max(first, last))
        known_to = max(known_to, history.end)


def total(values: Values) -> float:
    """Returns the sum of what is known."""
    return math.fsum(value for value in values if value is not None)


def added(*series: Values) -> Values:
    """Returns series summed bin by bin; a bin of which none knows anything is a gap."""
    return tuple(total(found) if any(value is not None for value in found) else None for found in zip(*series))


def accumulated(values: Values) -> Values:
    """Returns the running sum, which goes on after a gap where it was before it."""
    sums, so_far = [], 0.0
    for value in values:
        so_far += value or 0.0
        sums.append(None if value is None else so_far)
    return tuple(sums)


def ratio(part: Values, whole: Values) -> Values:
    """Returns parts of 1 bin by bin, at most 1; a gap where the whole is nothing or unknown."""
    return tuple(min(1.0, one / all_) if one is not None and all_ else None for one, all_ in zip(part, whole))


def is_empty(values: Values) -> bool:
    """Says whether nothing is known."""
    return all(value is None for value in values)


def last(values: Values) -> Optional[float]:
    """Returns the newest known value."""
    return next((value for value in reversed(values) if value is not None), None)
