from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from glidepost.publisher.shares import Candidate, Offer, Site, Standing, assign
from glidepost.schema.demand import Group
from glidepost.schema.resources import Request

NOW = datetime(2026, 11, 22, tzinfo=timezone.utc)
NAMES = ("north", "south", "east", "west")
quick = settings(max_examples=150, deadline=None)


def group_of(number: int, idle_jobs: int, age: int = 0) -> Group:
    return Group(f"g{number:08x}", idle_jobs, NOW - timedelta(minutes=age), 1, Request(1, 1000, 100))


def offer_of(site, *, room: int = 100, weight: int = 100, held: int = 0, shape: str = "cpu", **changes) -> Offer:
    site = site if isinstance(site, Site) else Site(site)
    return Offer(site, shape, room, weight, held, **changes)


@st.composite
def pools(draw):
    """Groups, and for each some of the shapes of some sites, with whatever limits."""
    sites = {
        name: Site(name, draw(st.sampled_from([None, None, 0, 3, 40])), draw(st.sampled_from([100, 100, 50, 1])), bound)
        for name, bound in zip(NAMES, draw(st.tuples(*[st.sampled_from([None, None, None, 4])] * 4)))
    }
    offers = [
        Offer(
            sites[name],
            shape,
            draw(st.sampled_from([0, 1, 5, 60])),
            draw(st.sampled_from([0, 1, 100, 1600])),
            draw(st.integers(0, 8)),
            draw(st.sampled_from(list(Standing))),
        )
        for name in NAMES
        for shape in "ab"
    ]
    groups = [
        group_of(number, draw(st.integers(0, 80)), draw(st.integers(0, 9))) for number in range(draw(st.integers(0, 7)))
    ]
    candidates = {
        group.id: [
            Candidate(offer, draw(st.sampled_from([1, 1, 2, 3, 8])))
            for offer in draw(st.lists(st.sampled_from(offers), unique_by=lambda item: (item.site.name, item.shape)))
        ]
        for group in groups
    }
    covered = {group.id: draw(st.integers(0, 30)) for group in groups if draw(st.booleans())}
    return groups, candidates, covered, draw(st.integers(1, 3))


def run(pool) -> tuple[Group, ...]:
    groups, candidates, covered, overcommit = pool
    return assign(groups, candidates, covered=covered, overcommit=overcommit)


# What always holds


@given(pools())
@quick
def test_the_shares_never_exceed_what_is_left_of_the_idle_jobs(pool):
    for group in run(pool):
        assert sum(group.sites.values()) <= max(0, group.idle_jobs - pool[2].get(group.id, 0)) * pool[3]
        assert all(share > 0 for share in group.sites.values())


@given(pools())
@quick
def test_no_site_gets_more_than_its_room(pool):
    """All capacities of a site's shapes at their best, its rooms hold what it is given."""
    assigned, candidates = run(pool), pool[1]
    for name in NAMES:
        shapes = {item.offer.shape: item.offer for choice in candidates.values() for item in choice if _of(item, name)}
        room = sum(offer.room for offer in shapes.values() if offer.weight)
        whole = next((offer.site.room for offer in shapes.values()), None)
        used = Fraction(0)
        for group in assigned:
            best = max((item.capacity for item in candidates[group.id] if _of(item, name)), default=1)
            used += Fraction(group.sites.get(name, 0), best)
        assert used <= (room if whole is None else min(room, whole))


@given(pools())
@quick
def test_no_site_gets_more_of_a_group_than_the_rules_say(pool):
    groups, candidates, _, overcommit = pool
    for group, assigned in zip(groups, run(pool)):
        for site in {item.offer.site for item in candidates[group.id]}:
            share = assigned.sites.get(site.name, 0)
            assert share <= -(-group.idle_jobs * overcommit * site.max_share // 100)
            assert site.max_jobs is None or share <= site.max_jobs


@given(pools())
@quick
def test_a_group_gets_all_or_its_sites_are_full(pool):
    """Where a user job of a group is left, no site that could take it has room for it, whatever the shape."""
    groups, candidates, covered, overcommit = pool
    assigned = {group.id: group for group in run(pool)}
    for group in groups:
        missing = max(0, group.idle_jobs - covered.get(group.id, 0)) * overcommit - sum(
            assigned[group.id].sites.values()
        )
        others = [item for item in groups if item.id != group.id and any(assigned[item.id].sites.values())]
        if missing and not others:  # alone: every bound is its own
            for item in candidates[group.id]:
                assert not _has_room(item, assigned[group.id].sites, candidates[group.id], group, overcommit)


@given(pools())
@quick
def test_every_group_that_a_site_with_room_can_run_gets_a_share(pool):
    """With a glidein's room for each group at each shape, none goes without."""
    groups, candidates, covered, overcommit = pool
    roomy = {
        key: [
            replace(item, offer=replace(item.offer, site=replace(item.offer.site, room=None), room=len(groups)))
            for item in choice
        ]
        for key, choice in candidates.items()
    }
    for group in assign(groups, roomy, covered=covered, overcommit=overcommit):
        can_run = any(item.offer.weight for item in roomy[group.id])
        if can_run and group.idle_jobs > covered.get(group.id, 0):
            assert group.sites


@given(pools(), st.randoms(use_true_random=False))
@quick
def test_the_order_of_groups_and_candidates_changes_nothing(pool, random):
    groups, candidates, covered, overcommit = pool
    shuffled = random.sample(groups, len(groups))
    mixed = {group.id: random.sample(candidates[group.id], len(candidates[group.id])) for group in shuffled}
    again = assign(shuffled, mixed, covered=covered, overcommit=overcommit)
    assert {group.id: group for group in again} == {group.id: group for group in run(pool)}
    assert [group.id for group in again] == [group.id for group in shuffled]


@given(pools())
@quick
def test_nothing_but_the_shares_is_changed(pool):
    assert [replace(group, sites={}) for group in run(pool)] == pool[0]


@given(
    st.lists(st.sampled_from([1000, 1600, 3200, 12_800]), min_size=1, max_size=30),
    st.integers(1, 2000),
    st.integers(0, 10**6),
)
@quick
def test_one_more_user_job_moves_few_numbers(weights, idle_jobs, number):
    """Largest remainder may take one from a site to give it to another: here never from more than one in five."""
    choice = [Candidate(offer_of(f"s{index}", room=10**6, weight=weight), 1) for index, weight in enumerate(weights)]
    before, after = (
        assign([group_of(number, count)], {f"g{number:08x}": choice})[0].sites for count in (idle_jobs, idle_jobs + 1)
    )
    moved = [after.get(site, 0) - before.get(site, 0) for site in {*before, *after}]
    assert sum(moved) == 1
    assert max(map(abs, moved)) <= 2
    assert sum(move < 0 for move in moved) <= 1 + len(weights) // 5


# What it means


def test_equal_sites_get_equal_shares_but_for_the_rest():
    group = group_of(1, 10)
    (assigned,) = assign([group], {group.id: [Candidate(offer_of(name), 1) for name in "abc"]})
    assert sorted(assigned.sites.values()) == [3, 3, 4]


def test_shares_follow_the_weights():
    group = group_of(1, 90)
    choice = [Candidate(offer_of("fast", weight=800), 1), Candidate(offer_of("slow", weight=100), 1)]
    (assigned,) = assign([group], {group.id: choice})
    assert assigned.sites["slow"] in {9, 10}
    assert sum(assigned.sites.values()) == 90


def test_a_larger_glidein_counts_for_as_many_user_jobs_as_it_runs():
    group = group_of(1, 90)
    choice = [Candidate(offer_of("large", room=5), 8), Candidate(offer_of("small"), 1)]
    (assigned,) = assign([group], {group.id: choice})
    assert assigned.sites == {"large": 40, "small": 50}


def test_small_groups_do_not_all_go_to_the_site_with_the_largest_weight():
    groups = [group_of(number, 1) for number in range(600)]
    choice = [Candidate(offer_of(name, room=1000, weight=weight), 1) for name, weight in (("a", 4), ("b", 3), ("c", 3))]
    assigned = assign(groups, {group.id: choice for group in groups})
    counts = Counter(site for group in assigned for site in group.sites)
    assert 200 < counts["a"] < 280
    assert 140 < counts["b"] < 220
    assert sum(counts.values()) == 600


def test_user_jobs_stay_with_the_glideins_that_are_queued_for_them():
    group = group_of(1, 50)
    choice = [Candidate(offer_of("holds", held=50), 1), Candidate(offer_of("fast", weight=10_000), 1)]
    (assigned,) = assign([group], {group.id: choice})
    assert assigned.sites["holds"] >= 49  # the first one goes by lot, before that


def test_the_first_user_job_goes_where_glideins_start():
    groups = [group_of(number, 1) for number in range(40)]
    choice = [
        Candidate(offer_of("never-reported", standing=Standing.NEW), 1),
        Candidate(offer_of("reports", weight=10_000), 1),
        Candidate(offer_of("starts", weight=1, standing=Standing.STARTS), 1),
    ]
    assigned = assign(groups, {group.id: choice for group in groups})
    assert all(group.sites == {"starts": 1} for group in assigned)


def test_when_room_is_short_every_group_gets_one_and_the_rest_by_size():
    groups = [group_of(1, 1000), group_of(2, 100), group_of(3, 1)]
    choice = [Candidate(offer_of("north", room=36), 1)]
    large, middle, small = assign(groups, {group.id: choice for group in groups})
    assert (large.sites["north"], middle.sites["north"], small.sites["north"]) == (31, 4, 1)


def test_of_more_groups_than_places_those_that_wait_longest_get_them():
    groups = [group_of(number, 10, age=number) for number in range(6)]
    choice = [Candidate(offer_of("north", room=2), 1)]
    assigned = assign(groups, {group.id: choice for group in groups})
    assert [bool(group.sites) for group in assigned] == [False] * 4 + [True] * 2


def test_a_group_that_can_go_elsewhere_leaves_the_only_place_of_another():
    picky, easy = group_of(1, 1), group_of(2, 1, age=9)
    only, other = Candidate(offer_of("only", room=1, weight=10_000), 1), Candidate(offer_of("other", weight=1), 1)
    assigned = assign([picky, easy], {picky.id: [only], easy.id: [only, other]})
    assert [group.sites for group in assigned] == [{"only": 1}, {"other": 1}]


def test_groups_fill_one_glidein_together():
    groups = [group_of(1, 1), group_of(2, 2)]
    offer = offer_of("north", room=1)
    assigned = assign(groups, {groups[0].id: [Candidate(offer, 2)], groups[1].id: [Candidate(offer, 4)]})
    assert [group.sites for group in assigned] == [{"north": 1}, {"north": 2}]


def test_the_room_of_a_site_bounds_all_its_shapes_together():
    group, site = group_of(1, 90), Site("north", room=7)
    choice = [Candidate(offer_of(site, shape=shape, room=5), 2) for shape in "ab"]
    (assigned,) = assign([group], {group.id: choice})
    assert assigned.sites == {"north": 14}


def test_a_site_that_may_have_a_part_gets_that_part_and_the_others_the_rest():
    group = group_of(1, 50)
    choice = [Candidate(offer_of(Site("bounded", max_share=10), weight=9999), 1), Candidate(offer_of("free"), 1)]
    (assigned,) = assign([group], {group.id: choice})
    assert assigned.sites == {"bounded": 5, "free": 45}


def test_what_free_slots_take_needs_no_glidein():
    group = group_of(1, 50)
    choice = {group.id: [Candidate(offer_of("north"), 1)]}
    assert assign([group], choice, covered={group.id: 20})[0].sites == {"north": 30}
    assert assign([group], choice, covered={group.id: 50})[0].sites == {}


def test_overcommit_asks_for_more_than_is_idle():
    group = group_of(1, 20)
    (assigned,) = assign([group], {group.id: [Candidate(offer_of("north"), 1)]}, overcommit=3)
    assert assigned.sites == {"north": 60}


def test_without_candidates_nobody_gets_anything():
    assert assign([group_of(1, 8)], {}) == (group_of(1, 8),)
    assert assign([], {}) == ()


def _of(item: Candidate, name: str) -> bool:
    return item.offer.site.name == name


def _has_room(item: Candidate, given, choice, group: Group, overcommit: int) -> bool:
    """Returns whether, with nothing else in the pool, one more user job of the group has room at this shape's site."""
    site = item.offer.site
    mine = [other for other in choice if other.offer.site == site and other.offer.weight]
    if item not in mine:
        return False
    most = sum(other.offer.room * other.capacity for other in mine)
    if site.room is not None:
        most = min(most, site.room * min(other.capacity for other in mine))
    bounds = [most, -(-group.idle_jobs * overcommit * site.max_share // 100)]
    if site.max_jobs is not None:
        bounds.append(site.max_jobs)
    return given.get(site.name, 0) < min(bounds)
