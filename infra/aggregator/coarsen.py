"""A coarser history from a finer one: hours from five minutes, days from hours. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Optional

from .history import ADDED, HISTORIES, History, Series, Slot, array_of, put, shortened, slot_of


def coarsen(name: str, fine: History, coarse: Optional[History], now: datetime) -> Optional[History]:
    """Returns the coarser ring with all of its slots that are over and that the finer one knows anything of.

    Args:
        name: Of the coarser resolution.
        fine: The finer ring.
        coarse: What there is of the coarser one.
        now: Aware; a slot that ends later is not made yet.
    """
    step = HISTORIES[name].resolution_s
    begin = slot_of(fine.start, step)
    if coarse is not None and coarse.length:
        # The newest is made again: a run may have been late.
        begin = max(begin, coarse.end - step)
    for slot in range(begin, slot_of(now, step), step):
        values = _merged(fine, slot, step)
        if (values.pool or values.sites) and not _has(coarse, slot, values, fine):
            coarse = put(name, coarse, slot, values)
    return coarse


def _has(coarse: Optional[History], slot: int, values: Slot, fine: History) -> bool:
    """Returns whether the coarser ring has a slot already: with these values, or from before the finer one began."""
    if coarse is None:
        return False
    place = (slot - int(coarse.start.timestamp())) // coarse.resolution_s
    if not 0 <= place < coarse.length:
        return False
    old = Slot(_at(coarse.pool, place), {site: _at(columns, place) for site, columns in coarse.sites.items()})
    is_known = bool(old.pool or any(old.sites.values()))
    if slot < int(fine.start.timestamp()):
        return is_known
    sites = {site: _short(values.sites.get(site, {})) for site in old.sites}
    return is_known and old == Slot(_short(values.pool), sites)


def _short(values: Mapping[str, float]) -> dict[str, float]:
    return {name: shortened(value) for name, value in values.items()}


def _at(columns: Mapping[str, Series], place: int) -> dict[str, float]:
    found = {name: array_of(columns, name)[place] for name in columns}
    return {name: value for name, value in found.items() if value == value}  # noqa: PLR0124 - NaN


def _merged(fine: History, slot: int, step: int) -> Slot:
    """Returns one coarse slot from the fine ones in it."""
    begin = (slot - int(fine.start.timestamp())) // fine.resolution_s
    part = slice(max(0, begin), max(0, begin + step // fine.resolution_s))
    sites = {site: _merge(columns, part) for site, columns in fine.sites.items()}
    return Slot(_merge(fine.pool, part), {site: values for site, values in sites.items() if values})


def _merge(columns: Mapping[str, Series], part: slice) -> dict[str, float]:
    merged = {}
    for name in columns:
        known = [value for value in array_of(columns, name)[part] if value == value]  # noqa: PLR0124 - NaN
        if known:
            merged[name] = sum(known) if name in ADDED else sum(known) / len(known)
    if "mean_wait_s" in merged:
        merged["mean_wait_s"] = _weighted(
            array_of(columns, "mean_wait_s")[part], array_of(columns, "started_jobs")[part]
        )
    inside, outside = merged.get("running_inside"), merged.get("running_outside")
    if inside is not None and outside is not None and inside + outside > 0:
        merged["share_inside"] = inside / (inside + outside)
    return merged


def _weighted(means: Sequence[float], weights: Sequence[float]) -> float:
    """Returns the mean over all user jobs, of means over some of them; a mean without a count counts as one."""
    pairs = [(mean, weight if weight > 0 else 1.0) for mean, weight in zip(means, weights) if mean == mean]  # noqa: PLR0124 - NaN
    return sum(mean * weight for mean, weight in pairs) / sum(weight for _, weight in pairs)
