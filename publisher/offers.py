"""What the sites offer: heartbeats, rules and the pool's slots made into offers, and matched with the groups. Pure.

A heartbeat counts while it is fresh. The room of a shape is a level as its share is: what it may hold queued in all
under its own limits, those included that it holds already. Its weight follows the glideins of it that started in the
last hours, with a floor, so that one that has started none gets tried, and with the room as a bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Optional

from glidepost.schema.demand import Group
from glidepost.schema.heartbeat import Heartbeat, ShapeReport
from glidepost.schema.publisher_config import SiteRules

from .census import JobGroup, Slot
from .shares import Candidate, Offer, Site, Standing

# A site reports on change, else every 15 minutes: after an hour four reports were lost, and it is taken for gone.
FRESH: Final = timedelta(hours=1)
# Clocks of login nodes differ by minutes. Beyond that, a site that died would look fresh until the time it claimed.
CLOCK_TOLERANCE: Final = timedelta(minutes=5)
# Glideins that started within this time say how fast a shape starts them.
WINDOW: Final = timedelta(hours=3)
# The least that a shape is expected to start, in glideins, and what a site gets of each group before its first report.
FLOOR: Final = 10
_UNBOUNDED: Final = 10**9  # glideins; what a site that is new has room for, nobody knows
# Reasons of a site that say nothing of its room: until it knows better, others are served.
_FAILING: Final = frozenset(
    {
        "submit-failed",
        "refused",
        "queue-unknown",
        "queue-partial",
        "queue-implausible",
        "ledger-rebuilt",
        "token-short",
    }
)
_NO_RULES: Final = SiteRules()


@dataclass(frozen=True)
class SiteOffer:
    """What one site offers. `shapes` are all that it reported, each with its offer, None where it has no room now.

    `new` stands for the unknown shapes of a site that has never reported.
    """

    site: Site
    shapes: tuple[tuple[ShapeReport, Optional[Offer]], ...] = ()
    new: Optional[Offer] = None


@dataclass(frozen=True)
class Offers:
    """What all sites offer, by site, and why others get nothing: by "site" or "site/shape", in words."""

    sites: dict[str, SiteOffer]
    refused: dict[str, str]


def read(
    heartbeats: Mapping[str, Optional[Heartbeat]], slots: Iterable[Slot], rules: Mapping[str, SiteRules], now: datetime
) -> Offers:
    """Returns what the sites offer.

    Args:
        heartbeats: The last one of each enrolled site; None for one that never sent any. A site whose heartbeat cannot
            be believed is left out, and offers nothing.
        slots: Of all glideins in the pool; their starts say how fast a shape starts glideins.
        rules: What the pool decides about sites, by name.
        now: The time of the census.
    """
    starts = _starts(slots)
    sites: dict[str, SiteOffer] = {}
    refused: dict[str, str] = {}
    for name, heartbeat in heartbeats.items():
        rule = rules.get(name, _NO_RULES)
        why = _why_nothing(heartbeat, rule, now)
        if why:
            refused[name] = why
        elif heartbeat is None:
            site = Site(name, max_share=rule.max_share, max_jobs=FLOOR)
            sites[name] = SiteOffer(site, new=Offer(site, "", _UNBOUNDED, rule.priority, standing=Standing.NEW))
        else:
            site = Site(name, room=_site_room(heartbeat), max_share=rule.max_share)
            shapes = []
            for shape in heartbeat.shapes:
                failure = _why_paused(shape)
                if failure:
                    refused[f"{name}/{shape.name}"] = failure
                since = _Starts.of(starts.get((name, shape.name), ()), heartbeat.sent_at, now)
                offer = None if failure else _offer(site, shape, since, rule.priority)
                shapes.append((shape, offer))
            sites[name] = SiteOffer(site, tuple(shapes))
    return Offers(sites, refused)


def match(
    jobs: Iterable[JobGroup], offers: Offers, fits: Callable[[JobGroup, str, ShapeReport], bool]
) -> tuple[tuple[Group, ...], dict[str, list[Candidate]]]:
    """Returns the groups with the shapes that match, and by group's id the shapes that may be given a share of it.

    `Group.shapes` names a site only where resources alone would say something else than `fits`.
    """
    groups, candidates = [], {}
    for job in jobs:
        group, chosen, named = job.group, list[Candidate](), dict[str, tuple[str, ...]]()
        for name, site in offers.sites.items():
            if site.new:
                chosen.append(Candidate(site.new, 1))
            capacities = [group.capacity(shape.offers, backfill=shape.gpu_backfill) for shape, _ in site.shapes]
            large = [(shape, offer, count) for (shape, offer), count in zip(site.shapes, capacities) if count]
            good = [item for item in large if fits(job, name, item[0])]
            if len(good) < len(large):
                named[name] = tuple(shape.name for shape, _, _ in good)
            chosen.extend(Candidate(offer, count) for _, offer, count in good if offer)
        groups.append(replace(group, shapes=named) if named else group)
        candidates[group.id] = chosen
    return tuple(groups), candidates


def _why_nothing(heartbeat: Optional[Heartbeat], rule: SiteRules, now: datetime) -> Optional[str]:
    if not rule.priority or not rule.max_share:
        return "the pool's rules give it no share"
    if heartbeat is None:
        return None
    age = now - heartbeat.sent_at
    if age > FRESH:
        return f"its last heartbeat is {int(age.total_seconds()) // 60} minutes old"
    if -age > CLOCK_TOLERANCE:
        return f"its heartbeat is {int(-age.total_seconds()) // 60} minutes ahead of our clock"
    return None


def _why_paused(shape: ShapeReport) -> Optional[str]:
    if shape.paused:
        return "it is paused"
    if shape.counts is None:
        return "its batch system could not be asked"
    return f"its last cycle ended with {shape.reason}" if shape.reason in _FAILING else None


@dataclass(frozen=True)
class _Starts:
    """How many glideins of a shape started in the last hours, and how many since its site's last heartbeat."""

    lately: int
    since_heartbeat: int

    @classmethod
    def of(cls, starts: Iterable[int], sent_at: datetime, now: datetime) -> _Starts:
        moments = [moment for moment in starts if moment <= now.timestamp()]
        return cls(
            sum(moment >= (now - WINDOW).timestamp() for moment in moments),
            sum(moment > sent_at.timestamp() for moment in moments),
        )


def _offer(site: Site, shape: ShapeReport, starts: _Starts, priority: int) -> Optional[Offer]:
    """Returns what a shape may be given, None when it has no room.

    Held glideins and those in a state that nobody knows take up its limits and start nothing. Glideins that started
    after the heartbeat are not queued any more, though it says so.
    """
    room = _room(shape)
    if room <= 0 or shape.counts is None:
        return None
    # In steps of two, so that one more start does not move every share.
    steps = 1 << (starts.lately.bit_length() - 1) if starts.lately else 0
    expected = min(room, max(FLOOR, steps))
    queued = shape.counts.idle + shape.submitted - shape.removed - starts.since_heartbeat
    return Offer(
        site,
        shape.name,
        room,
        expected * priority,
        held=max(0, min(queued, expected)) if starts.lately else 0,
        standing=Standing.STARTS if starts.lately else Standing.REPORTS,
    )


def _room(shape: ShapeReport) -> int:
    """Returns how many glideins that will start a shape may hold queued in all."""
    limits, counts = shape.limits, shape.counts
    if counts is None:
        return 0
    most = min(limits.max_queued, limits.max_total - counts.running, limits.max_running - counts.running)
    return most - counts.held - counts.unknown


def _site_room(heartbeat: Heartbeat) -> Optional[int]:
    """Returns the same for all shapes of a site together, None when it sets no limit of that kind."""
    if heartbeat.max_total is None:
        return None
    taken = 0
    for shape in heartbeat.shapes:
        counts = shape.counts
        # As the site does: a batch system that could not be asked may hold as many as its limit allows.
        taken += shape.limits.max_total if counts is None else counts.total - counts.idle
    return max(0, heartbeat.max_total - taken)


def _starts(slots: Iterable[Slot]) -> dict[tuple[str, str], list[int]]:
    """Returns by site and shape when the glideins that are in the pool started, as epochs."""
    found: dict[tuple[str, str], list[int]] = {}
    for slot in slots:
        if slot.start is not None:
            found.setdefault((slot.site, slot.shape), []).append(slot.start)
    return found
