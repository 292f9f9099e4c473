"""Histories as CSV (RFC 4180), for spreadsheets and programs. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Union

from .history import POOL_SERIES, SITE_SERIES, History, Series, array_of, moment

CONTENT_TYPE: Final = "text/csv; charset=utf-8"
# What a spreadsheet takes for the beginning of a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")

Cell = Union[str, int, float]


def pool_table(history: History) -> bytes:
    """Returns a line for each slot: its begin, then the pool's series. A gap is an empty cell."""
    return _table(("time", *POOL_SERIES), _rows(history, history.pool, POOL_SERIES, ()))


def sites_table(history: History) -> bytes:
    """Returns a line for each slot of each site of which something is known."""
    rows = (row for site, columns in history.sites.items() for row in _rows(history, columns, SITE_SERIES, (site,)))
    return _table(("time", "site", *SITE_SERIES), rows)


def _rows(
    history: History, columns: Mapping[str, Series], names: Sequence[str], label: tuple[str, ...]
) -> Iterator[list[Cell]]:
    start = int(history.start.timestamp())
    arrays = [array_of(columns, name) if name in columns else None for name in names]
    for place in range(history.length):
        values = [_number(array[place]) if array is not None else "" for array in arrays]
        if any(value != "" for value in values):
            time = f"{moment(start + place * history.resolution_s):%Y-%m-%dT%H:%M:%SZ}"
            yield [time, *(guarded(text) for text in label), *values]


def _number(value: float) -> Cell:
    if value != value:  # noqa: PLR0124 - NaN
        return ""
    return int(value) if value.is_integer() else value


def guarded(text: str) -> str:
    """Returns text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _table(head: Sequence[str], rows: Iterator[list[Cell]]) -> bytes:
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(head)
    table.writerows(rows)
    return text.getvalue().encode()
