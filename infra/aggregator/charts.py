"""Lines in a box: scales, ticks and paths of an SVG that takes any width. Pure, and free of HTML.

Paths live in a box of 1000 x 1000 that is stretched to the figure's size; ticks and marks are placed in percent, so
that their text and shape are not stretched with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Optional

from .figures import Values, Window, is_empty

BOX: Final = 1000
MAX_TICKS: Final = 4
# How many marks a line has, its end among them.
MARKS: Final = 4
_STEPS: Final = (1, 2, 2.5, 5, 10)
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class Tick:
    """A place on an axis, in percent of its length, and what it says there."""

    at: str
    text: str


@dataclass(frozen=True)
class Unit:
    """What a figure counts: its values are divided by `size` and called `name`. `whole` has no fractions."""

    name: str
    size: float = 1
    whole: bool = False

    def text(self, value: float) -> str:
        """Returns "12 min", "1,204 h", "0.5 h", "40 %"."""
        scaled = value / self.size
        text = f"{scaled:,.{0 if self.whole or scaled >= 10 else 1}f}".removesuffix(".0")
        return f"{text}\u00a0{self.name}" if self.name else text

    def short(self, value: float) -> str:
        """Returns the same for the axis, where there is little room: "600k h" for 600,000 hours."""
        scaled = value / self.size
        for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if scaled >= 10 * size or (size > 1e3 and scaled >= size):
                return f"{scaled / size:g}{letter}\u00a0{self.name}".rstrip()
        return self.text(value)


PERCENT: Final = Unit("%", 0.01, whole=True)
COUNT: Final = Unit("")
HOURS: Final = Unit("h")
_TIMES: Final = ((120, Unit("s")), (2 * 3600, Unit("min", 60)), (3 * 86400, Unit("h", 3600)))


def unit_of_time(seconds: float) -> Unit:
    """Returns the unit in which a duration of up to so many seconds is said."""
    return next((unit for limit, unit in _TIMES if seconds < limit), Unit("d", 86400))


@dataclass(frozen=True)
class Line:
    """A line: `mark` numbers its colour, dash and shape; `marks` are the places of its shapes, in percent."""

    name: str
    mark: int
    path: str
    marks: tuple[tuple[str, str], ...]
    note: str = ""


@dataclass(frozen=True)
class Chart:
    """A figure over one span: what it shows in one sentence, its axes and its lines. Without lines it is empty."""

    span: str
    summary: str
    x: tuple[Tick, ...] = ()
    y: tuple[Tick, ...] = ()
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True)
class Drawn:
    """A series to be drawn, its name, its mark and what the legend says beside it."""

    name: str
    mark: int
    values: Values
    note: str = ""


def chart(window: Window, drawn: Sequence[Drawn], unit: Unit, summary: str, *, top: Optional[float] = None) -> Chart:
    """Returns the figure of some series of one window, or an empty one when nothing of them is known.

    Args:
        window: Where the bins lie.
        drawn: The lines; the scale begins at 0.
        unit: Of the values.
        summary: What the figure says, in words.
        top: The end of the scale, where it is fixed.
    """
    if all(is_empty(one.values) for one in drawn):
        return Chart(window.span.id, summary)
    highest = max(value for one in drawn for value in one.values if value is not None)
    ticks = scale((top or highest) / unit.size, whole=unit == COUNT)
    end = ticks[-1] * unit.size
    return Chart(
        span=window.span.id,
        summary=summary,
        x=tuple(time_ticks(window)),
        y=tuple(Tick(percent(1 - tick * unit.size / end), unit.short(tick * unit.size)) for tick in ticks),
        lines=tuple(
            Line(one.name, one.mark, path(one.values, end), marks(one.values, end), one.note)
            for one in drawn
            if not is_empty(one.values)
        ),
    )


def scale(highest: float, *, whole: bool = False) -> list[float]:
    """Returns round numbers from 0 to `highest` or a little more: two to five of them."""
    if highest <= 0:
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(highest / MAX_TICKS))
    step = next(power * step for step in _STEPS if power * step * MAX_TICKS >= highest * (1 - 1e-9))
    if whole:
        step = math.ceil(step)
    return [step * count for count in range(math.ceil(highest / step - 1e-9) + 1)]


def path(values: Values, top: float) -> str:
    """Returns the path of a line: one stroke for each stretch without a gap, a point for a value between two gaps."""
    strokes = []
    for first, stretch in _stretches(values):
        points = [f"{_x(first + index, len(values))} {_y(value, top)}" for index, value in enumerate(stretch)]
        strokes.append("M" + " ".join(points) if len(points) > 1 else f"M{points[0]}h0")
    return "".join(strokes)


def marks(values: Values, top: float) -> tuple[tuple[str, str], ...]:
    """Returns where a line has its shapes: at its end, and at some places before it."""
    known = [index for index, value in enumerate(values) if value is not None]
    chosen = sorted({known[-1 - (len(known) - 1) * part // MARKS] for part in range(MARKS)}) if known else []
    return tuple(
        (percent(_x(index, len(values)) / BOX), percent(_y(values[index] or 0.0, top) / BOX)) for index in chosen
    )


def spark(values: Values) -> str:
    """Returns the path of a small line without axes, scaled by its own highest value; "" when nothing is known."""
    if is_empty(values):
        return ""
    return path(values, max(1.0, *(value for value in values if value is not None)))


def time_ticks(window: Window) -> Iterator[Tick]:
    """Yields times of day for a day, days for a quarter, and months for a year; none so near the rim that it is cut."""
    length = (window.end - window.start).total_seconds()
    for time, text in _times(window):
        place = (time - window.start).total_seconds() / length
        if 0.03 <= place <= 0.95:
            yield Tick(percent(place), text)


def _times(window: Window) -> Iterator[tuple[datetime, str]]:
    midnight = window.start.replace(hour=0, minute=0, second=0, microsecond=0)
    days = [midnight + index * _DAY for index in range((window.end - midnight).days + 2)]
    if window.span.id == "day":
        for time in (day + timedelta(hours=hour) for day in days for hour in (0, 6, 12, 18)):
            yield time, f"{time:%H:%M}" if time.hour else f"{time.day} {time:%b}"
    else:
        months = (1, 4, 7, 10) if window.span.id == "year" else range(1, 13)
        for day in days:
            if day.day == 1 and day.month in months:
                yield day, f"{day:%b %Y}" if window.span.id == "year" else f"1 {day:%b}"


def percent(part: float) -> str:
    """Returns 0.375 as "37.5%"."""
    return f"{100 * part:.4g}%"


def _stretches(values: Values) -> Iterator[tuple[int, list[float]]]:
    """Yields each stretch of known values, and where it begins."""
    stretch: list[float] = []
    for index, value in enumerate(values):
        if value is not None:
            stretch.append(value)
        elif stretch:
            yield index - len(stretch), stretch
            stretch = []
    if stretch:
        yield len(values) - len(stretch), stretch


def _x(index: int, count: int) -> int:
    """Returns the middle of a bin."""
    return round(BOX * (index + 0.5) / count)


def _y(value: float, top: float) -> int:
    return round(BOX * (1 - min(1.0, value / top)))
