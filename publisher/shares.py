"""How the idle user jobs of each group are divided over the sites: pure.

A share is a level: for so many idle user jobs the site should hold queued glideins, those that it holds already
included (docs/adr/0007-shares-are-levels.md). What is divided of a group is its idle user jobs, less those that free
slots of the pool will take, times `overcommit`. Three things are done with it, in this order:

1. One each. Every group gets one place, so that none starves behind larger ones: first the groups with the fewest
   shapes to choose from, then those that wait longest. A shape that has started glideins lately is preferred to one of
   a site that only reports, and that to a site that has never reported; among equals a fixed lot decides, by weight.
2. Glideins that are queued already. As many user jobs stay with a shape as it holds glideins that can be expected to
   start. No glidein is submitted for these.
3. The rest, by weight.

In 2 and 3 each group splits what it still needs over its open shapes in proportion to their weights. A shape that is
asked for more than it has room for cuts what all groups ask of it in proportion, and what it refused is split again
over the shapes that are still open, until all is given or no shape is open. All rounding is by largest remainder
(apportion.py). Rooms are counted in exact fractions of a glidein, as the site fills one glidein with several groups.

Quotas of accounting groups are left to the pool's negotiator, which knows them: it decides which user job a glidein
gets.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum
from typing import Optional

from glidepost.schema.demand import Group

from . import apportion


class Standing(IntEnum):
    """What is known of a shape: nothing; what its site reports; that it has started glideins lately."""

    NEW = 0
    REPORTS = 1
    STARTS = 2


@dataclass(frozen=True)
class Site:
    """What bounds a site as a whole.

    `room` is over all its shapes, in glideins; `max_share` in per cent of a group's idle user jobs; `max_jobs` in user
    jobs of one group. None is no bound.
    """

    name: str
    room: Optional[int] = None
    max_share: int = 100
    max_jobs: Optional[int] = None


@dataclass(frozen=True)
class Offer:
    """One shape of a site, in glideins.

    `room` is how many it may hold queued in all, `held` those of them that it holds already and that can be expected to
    start. `weight` says how much it gets beside others.
    """

    site: Site
    shape: str
    room: int
    weight: int
    held: int = 0
    standing: Standing = Standing.REPORTS


@dataclass(frozen=True)
class Candidate:
    """A shape that can run a group, and how many of its user jobs one glidein runs side by side."""

    offer: Offer
    capacity: int


def assign(
    groups: Iterable[Group],
    candidates: Mapping[str, Sequence[Candidate]],
    *,
    covered: Optional[Mapping[str, int]] = None,
    overcommit: int = 1,
) -> tuple[Group, ...]:
    """Returns the groups, in their order, with each site's share.

    Args:
        groups: As the census found them.
        candidates: By group's id.
        covered: By group's id, how many of its user jobs free slots of the pool will take.
        overcommit: Glideins' places asked for per idle user job.
    """
    groups = tuple(groups)
    rooms = _open_rooms(candidate for choice in candidates.values() for candidate in choice)
    claims = {}
    for group in sorted(groups, key=lambda item: item.id):
        need = max(0, group.idle_jobs - (covered or {}).get(group.id, 0)) * overcommit
        claims[group.id] = _claim(group, need, candidates.get(group.id, ()), rooms, overcommit)
    hungry = [claim for claim in claims.values() if claim.need and claim.edges]
    _give_one_each(hungry)
    _fill(hungry, are_held=True)
    _fill(hungry, are_held=False)
    return tuple(replace(group, sites=_by_site(claims[group.id])) for group in groups)


@dataclass(eq=False)
class _SiteRoom:
    """A site while it is filled: `left` in units, of which one glidein is `unit`; None is no bound."""

    unit: int
    left: Optional[int]


@dataclass(eq=False)
class _Room:
    """A shape while it is filled, in its site's units. `held` is the part of `left` that queued glideins are."""

    offer: Offer
    site: _SiteRoom
    left: int
    held: int


@dataclass(eq=False)
class _Edge:
    """One candidate of a group. `cost` is what one of its user jobs takes of the room, `given` how many it got."""

    claim: _Claim
    room: _Room
    capacity: int
    cost: int
    given: int = 0

    def holds(self, *, are_held: bool) -> int:
        """Returns how many more user jobs of the group have room."""
        units = self.room.held if are_held else self.room.left
        if self.room.site.left is not None:
            units = min(units, self.room.site.left)
        return min(units // self.cost, self.claim.left[self.room.offer.site.name])

    def weight(self, *, are_held: bool) -> int:
        """Returns what it gets beside others: user jobs, for what is held, else in proportion to them."""
        offer = self.room.offer
        return (offer.held if are_held else offer.weight) * self.capacity

    def lot(self) -> float:
        """Returns what this group has drawn at this shape, once and for all."""
        offer = self.room.offer
        return apportion.draw(f"{self.claim.group.id}/{offer.site.name}/{offer.shape}")

    def take(self, count: int) -> bool:
        """Gives user jobs of the group to the shape. Returns whether there were any."""
        room, name = self.room, self.room.offer.site.name
        self.given += count
        self.claim.need -= count
        self.claim.left[name] -= count
        room.left -= count * self.cost
        room.held = max(0, room.held - count * self.cost)
        if room.site.left is not None:
            room.site.left -= count * self.cost
        return count > 0


@dataclass(eq=False)
class _Claim:
    """A group while it is divided. `need` is what it still wants, `left` what each site may still get of it."""

    group: Group
    need: int
    left: dict[str, int]
    edges: list[_Edge]


def _open_rooms(candidates: Iterable[Candidate]) -> dict[tuple[str, str], _Room]:
    """Returns the empty rooms by site and shape. All capacities at a site divide its unit: nothing is rounded."""
    offers, capacities = {}, dict[str, set[int]]()
    for candidate in candidates:
        offer = candidate.offer
        offers[offer.site.name, offer.shape] = offer
        capacities.setdefault(offer.site.name, set()).add(max(1, candidate.capacity))
    units = {name: math.lcm(*numbers) for name, numbers in capacities.items()}
    bounds = {offer.site.name: offer.site.room for offer in offers.values()}
    sites = {
        name: _SiteRoom(unit, None if bounds[name] is None else max(0, bounds[name] or 0) * unit)
        for name, unit in units.items()
    }
    return {
        key: _Room(
            offer,
            sites[key[0]],
            max(0, offer.room) * units[key[0]],
            max(0, min(offer.held, offer.room)) * units[key[0]],
        )
        for key, offer in offers.items()
    }


def _claim(
    group: Group, need: int, candidates: Iterable[Candidate], rooms: Mapping[tuple[str, str], _Room], overcommit: int
) -> _Claim:
    claim = _Claim(group, need, {}, [])
    for candidate in sorted(candidates, key=lambda item: (item.offer.site.name, item.offer.shape)):
        offer, capacity = candidate.offer, candidate.capacity
        if capacity > 0 and offer.weight > 0:
            room, site = rooms[offer.site.name, offer.shape], offer.site
            share = -(-group.idle_jobs * overcommit * site.max_share // 100)
            claim.left[site.name] = share if site.max_jobs is None else min(share, site.max_jobs)
            claim.edges.append(_Edge(claim, room, capacity, room.site.unit // capacity))
    return claim


def _by_site(claim: _Claim) -> dict[str, int]:
    given: dict[str, int] = {}
    for edge in claim.edges:
        if edge.given:
            name = edge.room.offer.site.name
            given[name] = given.get(name, 0) + edge.given
    return given


def _give_one_each(claims: Iterable[_Claim]) -> None:
    def open_edges(claim: _Claim) -> list[_Edge]:
        return [edge for edge in claim.edges if edge.holds(are_held=False)]

    def urgency(claim: _Claim) -> tuple[int, datetime, str]:
        return (len(open_edges(claim)), claim.group.idle_since, claim.group.id)

    for claim in sorted(claims, key=urgency):
        edges = open_edges(claim)
        if edges:
            best = max(edge.room.offer.standing for edge in edges)
            among = [edge for edge in edges if edge.room.offer.standing == best]
            max(among, key=lambda edge: edge.weight(are_held=False) / edge.lot()).take(1)


def _fill(claims: Iterable[_Claim], *, are_held: bool) -> None:
    """Gives what the groups still need to the shapes that are open, until there is none of either.

    Each turn gives at least one user job: some group wishes for an open shape, and an open shape grants a wish.
    """
    has_moved = True
    while has_moved:
        wishes: dict[_SiteRoom, list[tuple[_Edge, int]]] = {}
        for claim in claims:
            for edge, count in _wishes(claim, are_held=are_held):
                wishes.setdefault(edge.room.site, []).append((edge, count))
        has_moved = False
        for site, asked in wishes.items():
            granted = asked if site.left is None else _rationed(asked, site.left)
            shapes: dict[_Room, list[tuple[_Edge, int]]] = {}
            for edge, count in granted:
                shapes.setdefault(edge.room, []).append((edge, count))
            for room, wanted in shapes.items():
                for edge, count in _rationed(wanted, room.held if are_held else room.left):
                    has_moved |= edge.take(min(count, edge.holds(are_held=are_held)))


def _wishes(claim: _Claim, *, are_held: bool) -> list[tuple[_Edge, int]]:
    """Returns how a group would divide what it needs over the shapes that are open.

    A wish may be larger than the room: what it gets beside the wishes of others goes by what each group needs.
    """
    if not claim.need:
        return []
    edges = [edge for edge in claim.edges if edge.holds(are_held=are_held)]
    weights = [edge.weight(are_held=are_held) for edge in edges]
    parts = apportion.split(claim.need, weights, lambda index: edges[index].lot())
    return [(edge, min(part, claim.left[edge.room.offer.site.name])) for edge, part in zip(edges, parts) if part]


def _rationed(wishes: Sequence[tuple[_Edge, int]], room: int) -> list[tuple[_Edge, int]]:
    edges = [edge for edge, _ in wishes]
    counts = apportion.ration(
        [count for _, count in wishes], [edge.cost for edge in edges], room, lambda index: edges[index].lot()
    )
    return [(edge, count) for edge, count in zip(edges, counts) if count]
