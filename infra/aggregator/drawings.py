"""Which figures the page draws of the histories, and what each says in words. Pure, and free of HTML.

The first three are those of the pyglidein paper: what glideins have run per site, how long user jobs wait, and which
part of them runs on glideins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from .charts import COUNT, HOURS, PERCENT, Chart, Drawn, Unit, chart, unit_of_time
from .figures import SPANS, Values, Window, accumulated, added, is_empty, last, ratio, total
from .history import History

# As many lines as one can tell apart, by colour, dash and shape; the last one is for all others.
MAX_LINES: Final = 6
OTHERS: Final = MAX_LINES - 1


@dataclass(frozen=True)
class Drawing:
    """A figure, once for each span. `empty` says what a reader can do when there is nothing to draw."""

    id: str
    title: str
    text: str
    empty: str
    charts: tuple[Chart, ...]


def pool_drawings(histories: Mapping[str, History], now: datetime) -> tuple[Drawing, ...]:
    """Returns the figures of the whole pool."""
    windows = [Window.of(histories, span, now) for span in SPANS]
    return (
        Drawing(
            "hours",
            "What glideins have run",
            "Hours of glideins at each site, added up from the left.",
            "No glidein has run in this time. Glideins start when user jobs wait and a site takes part.",
            tuple(map(_hours, windows)),
        ),
        Drawing(
            "wait",
            "Time before a user job starts",
            "The mean from submission to start.",
            "No start is known of in this time. The publisher takes it from what the access points tell the collector.",
            tuple(map(_wait, windows)),
        ),
        Drawing(
            "share",
            "User jobs on glideins",
            "Running user jobs that run on glideins, of all that run in the pool.",
            "No user job is known to have run in this time. The publisher counts them at each of its runs.",
            tuple(map(_share, windows)),
        ),
        Drawing(
            "queue",
            "What waits and what runs",
            "Idle user jobs, and glideins in the batch systems of all sites.",
            "Nothing is recorded of this time. Each run of the aggregator adds to it.",
            tuple(map(_queue, windows)),
        ),
    )


def site_drawings(site: str, histories: Mapping[str, History], now: datetime) -> tuple[Drawing, ...]:
    """Returns the figures of one site."""
    windows = [Window.of(histories, span, now) for span in SPANS]
    return (
        Drawing(
            "glideins",
            "Glideins",
            "In the batch system, as the site counts them.",
            "The site has counted none in this time. It reports from its first cycle: glidepost puller run.",
            tuple(_site_glideins(site, window) for window in windows),
        ),
        Drawing(
            "busy",
            "Efficiency",
            "What user jobs hold, of all that the glideins bring.",
            "The pool has seen no glidein of this site in this time.",
            tuple(_site_busy(site, window) for window in windows),
        ),
        Drawing(
            "ended",
            "Glideins that ended",
            "All, and those that failed, as the site reports them.",
            "No glidein of this site is known to have ended in this time.",
            tuple(_site_ended(site, window) for window in windows),
        ),
    )


def _hours(window: Window) -> Chart:
    sums = {site: window.sum_of_site(site, "glidein_hours") for site in window.sites}
    ranked = sorted((site for site in sums if sums[site]), key=lambda site: (-sums[site], site))
    shown = ranked if len(ranked) <= MAX_LINES else ranked[:OTHERS]
    series = {site: window.site(site, "glidein_hours", is_added=True) for site in shown}
    pool = window.pool("glidein_hours", is_added=True)
    whole = max(total(pool), sum(sums.values()))
    lines = [
        Drawn(site, mark, accumulated(values), _part(total(values), whole))
        for mark, (site, values) in enumerate(series.items())
    ]
    if len(shown) < len(ranked):
        rest = _rest(pool, added(*series.values()))
        name = f"{len(ranked) - len(shown)} other sites"
        lines.append(Drawn(name, OTHERS, accumulated(rest), _part(total(rest), whole)))
    said = f"{HOURS.text(whole)} in {window.span.title}."
    return chart(window, lines, HOURS, said) if lines else Chart(window.span.id, "")


def _part(part: float, whole: float) -> str:
    return f"{HOURS.text(part)}, {PERCENT.text(part / whole)}" if whole else HOURS.text(part)


def _rest(pool: Values, shown: Values) -> Values:
    return tuple(None if all_ is None else max(0.0, all_ - (some or 0.0)) for all_, some in zip(pool, shown))


def _wait(window: Window) -> Chart:
    values = window.pool("mean_wait_s")
    unit = unit_of_time(max((value for value in values if value is not None), default=0.0))
    return chart(window, [Drawn("mean wait", 0, values)], unit, _sentence(_range(values, unit)))


def _share(window: Window) -> Chart:
    values = window.pool("share_inside")
    return chart(window, [Drawn("on glideins", 2, values)], PERCENT, _sentence(_range(values, PERCENT)), top=1.0)


def _queue(window: Window) -> Chart:
    lines = [
        Drawn("idle user jobs", 1, window.pool("idle")),
        Drawn("glideins queued", 3, window.pool("glideins_queued")),
        Drawn("glideins running", 0, window.pool("glideins_running")),
    ]
    return chart(window, _noted(lines), COUNT, "")


def _site_glideins(site: str, window: Window) -> Chart:
    lines = [
        Drawn("queued", 3, window.site(site, "queued")),
        Drawn("running", 0, window.site(site, "running")),
        Drawn("held", 1, window.site(site, "held")),
    ]
    return chart(window, _noted(lines), COUNT, "")


def _site_busy(site: str, window: Window) -> Chart:
    def busy(what: str) -> Values:
        return ratio(window.site(site, f"{what}_busy"), window.site(site, what))

    lines = [Drawn("cpus busy", 0, busy("cpus")), Drawn("gpus busy", 2, busy("gpus"))]
    known = [Drawn(one.name, one.mark, one.values, _range(one.values, PERCENT)) for one in lines]
    hours = window.sum_of_site(site, "glidein_hours")
    said = f"{HOURS.text(hours)} of glideins in {window.span.title}." if hours else ""
    return chart(window, known, PERCENT, said, top=1.0)


def _site_ended(site: str, window: Window) -> Chart:
    lines = [
        Drawn("ended", 0, window.site(site, "ended", is_added=True)),
        Drawn("failed", 1, window.site(site, "failed", is_added=True)),
    ]
    ended, failed = (total(one.values) for one in lines)
    said = f"{COUNT.text(failed)} of {COUNT.text(ended)} failed. Each point counts what ended in {window.span.step}."
    return chart(window, lines, COUNT, said)


def _noted(lines: list[Drawn]) -> list[Drawn]:
    return [Drawn(one.name, one.mark, one.values, _range(one.values, COUNT)) for one in lines]


def _range(values: Values, unit: Unit) -> str:
    """Returns "now 12 min, between 2 min and 44 min", with "last" for "now" when the newest bin is a gap."""
    newest = last(values)
    if newest is None or is_empty(values):
        return ""
    known = [value for value in values if value is not None]
    when = "now" if values[-1] is not None else "last"
    if min(known) == max(known):
        return f"{when} {unit.text(newest)}"
    return f"{when} {unit.text(newest)}, between {unit.text(min(known))} and {unit.text(max(known))}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""
