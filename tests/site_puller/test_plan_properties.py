from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

from hypothesis import given, settings
from hypothesis import strategies as st

from glidepost.schema.demand import Demand, GlideinRelease, Group
from glidepost.schema.heartbeat import Counts, Limits
from glidepost.schema.puller_config import Caps, Fit, Shape, SiteLimits
from glidepost.schema.reasons import REASONS
from glidepost.schema.resources import Request, Resources
from glidepost.site_puller.caps import Occupied, occupied_by
from glidepost.site_puller.gate import Gate
from glidepost.site_puller.holding import Holding
from glidepost.site_puller.plan import ShapePlan, Situation, plan

NOW = datetime(2026, 11, 22, tzinfo=timezone.utc)
NOTHING = Holding(Counts())
UNKNOWN = ("queue-unknown", "squeue: down")


groups = st.lists(
    st.builds(
        Group,
        id=st.integers(0, 2**32 - 1).map(lambda number: f"g{number:08x}"),
        idle_jobs=st.integers(0, 60),
        idle_since=st.just(NOW),
        owner_count=st.just(1),
        request=st.builds(
            Request,
            cpus=st.sampled_from([1, 2, 8]),
            memory_mib=st.sampled_from([0, 100, 1000, 9000]),
            disk_mib=st.sampled_from([0, 10]),
            gpus=st.sampled_from([0, 0, 1]),
        ),
        max_runtime_s=st.sampled_from([None, 60, 10**6]),
        sites=st.dictionaries(st.sampled_from(["north", "south"]), st.integers(0, 60)),
    ),
    max_size=6,
    unique_by=lambda group: group.id,
)
limit = st.integers(0, 12)
small = st.integers(0, 8)
maybe = st.one_of(st.none(), st.integers(0, 40))
caps = st.builds(
    Caps,
    max_cpus=maybe,
    max_memory_mib=st.one_of(st.none(), st.integers(0, 100_000)),
    max_gpus=maybe,
    max_per_hour=maybe,
    budget_per_day=st.one_of(st.none(), st.floats(0, 50)),
    budget_per_month=st.one_of(st.none(), st.floats(0, 50)),
)
shapes_ = st.lists(
    st.builds(
        Shape,
        name=st.sampled_from(["a", "b", "c"]),
        backend=st.just("local"),
        resources=st.builds(
            Resources,
            cpus=st.sampled_from([1, 4, 8]),
            memory_mib=st.sampled_from([1024, 16384]),
            disk_mib=st.just(1000),
            walltime_s=st.just(3600),
            gpus=st.sampled_from([0, 0, 2]),
        ),
        limits=st.builds(Limits, max_total=limit, max_queued=limit, max_running=limit, max_per_cycle=limit),
        options=st.just({}),
        caps=st.one_of(st.just(Caps()), caps),
        fit=st.one_of(st.none(), st.just(Fit())),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda shape: shape.name,
)


def holding(resources: Resources, counts, unreported: int, fresh: int, missing: int, trouble: object) -> Holding:
    """Returns what holding.py would make of such numbers."""
    waiting = counts.idle + counts.held + counts.unknown + unreported
    total = counts.total + unreported + missing
    queued = waiting + min(fresh, counts.running)
    return Holding(
        None if trouble else counts,
        unreported,
        missing,
        fresh,
        queued=((resources, queued),) if queued else (),
        occupied=Occupied(
            total, waiting, total * resources.cpus, total * resources.memory_mib, total * resources.gpus, lately=total
        ),
        removable=tuple(str(number) for number in range(counts.idle)),
        excess_for_s=10**6,
        trouble=UNKNOWN if trouble else None,
    )


counts_ = st.builds(Counts, idle=small, running=small, held=small, unknown=small)
numbers = st.tuples(counts_, small, small, small, st.sampled_from([False, False, False, True]))
numbers_ = st.fixed_dictionaries(dict.fromkeys("abc", numbers))
site_limits = st.builds(SiteLimits, max_total=maybe, max_queued=maybe, caps=caps)
gates_ = st.dictionaries(
    st.sampled_from("abc"), st.sampled_from([Gate("paused", "x", 0), Gate("canary", "x", 1)]), max_size=2
)
some = settings(max_examples=150, deadline=None)


def demand_of(given_groups) -> Demand:
    return Demand(
        pool="demo",
        sequence=1,
        generated_at=NOW,
        expires_at=NOW,
        collectors=("cm:1",),
        complete=True,
        schedds=(),
        groups=tuple(given_groups),
        glidein=GlideinRelease("stable", ()),
    )


def situation_of(given_groups, shapes, held, limits=SiteLimits(), gates=()) -> Situation:
    by_name = {shape.name: shape for shape in shapes}
    holdings = {name: holding(by_name[name].resources, *held[name]) for name in by_name}
    return Situation(demand_of(given_groups), "north", shapes, holdings, dict(gates), limits)


def taken_after(situation: Situation, lines: tuple[ShapePlan, ...]) -> Occupied:
    everything = Occupied()
    for shape, line in zip(situation.shapes, lines):
        everything = everything.plus(line.holding.occupied).plus(occupied_by(shape, line.sizes))
    return everything


def within(value: float, most) -> bool:
    return most is None or value <= most + 1e-6


@given(groups, shapes_, numbers_, site_limits, gates_)
@some
def test_no_limit_is_ever_exceeded(given_groups, shapes, held, limits, gates):
    situation = situation_of(given_groups, shapes, held, limits, gates)
    lines = plan(situation)
    for shape, line in zip(shapes, lines):
        assert line.reason in REASONS
        assert line.detail
        assert line.wanted >= 0
        if not line.submit:
            continue
        after = line.holding.occupied.plus(occupied_by(shape, line.sizes))
        own = shape.limits
        assert line.holding.trouble is None
        assert after.waiting <= own.max_queued
        assert after.total <= min(own.max_running, own.max_total)
        assert line.submit <= min(own.max_per_cycle, line.wanted)
        assert within(after.cpus, shape.caps.max_cpus)
        assert within(after.memory_mib, shape.caps.max_memory_mib)
        assert (
            not shape.resources.gpus
            or within(after.gpus, shape.caps.max_gpus)
            or after.gpus == situation.holdings[shape.name].occupied.gpus
        )
        assert within(after.lately, shape.caps.max_per_hour)
        assert within(after.day, shape.caps.budget_per_day)
        assert within(after.month, shape.caps.budget_per_month)
        if shape.name in gates:
            assert line.submit <= gates[shape.name].most
        assert line.submit == sum(count for _, count in line.sizes)
        assert not line.remove
    everything = taken_after(situation, lines)
    if any(line.submit for line in lines):
        assert within(everything.total, limits.max_total)
        assert within(everything.waiting, limits.max_queued)
        assert within(everything.cpus, limits.caps.max_cpus)
        assert within(everything.memory_mib, limits.caps.max_memory_mib)
        assert within(everything.lately, limits.caps.max_per_hour)


@given(groups, shapes_, numbers_, site_limits)
@some
def test_what_is_unknown_neither_submits_nor_removes(given_groups, shapes, held, limits):
    situation = situation_of(given_groups, shapes, held, limits)
    assert not any(line.submit or line.remove for line in plan(situation) if line.holding.trouble)
    assert not any(line.submit or line.remove for line in plan(replace(situation, demand=None)))


@given(groups, shapes_, numbers_, site_limits, st.randoms(use_true_random=False))
@some
def test_the_order_of_groups_changes_nothing(given_groups, shapes, held, limits, random):
    shuffled = random.sample(given_groups, len(given_groups))
    lines = plan(situation_of(given_groups, shapes, held, limits))
    assert plan(situation_of(shuffled, shapes, held, limits)) == lines


@given(groups, shapes_, numbers_, site_limits, counts_, small)
@some
def test_to_hold_more_never_submits_more(given_groups, shapes, held, limits, extra, unreported):
    shapes = [replace(shape, fit=None) for shape in shapes]
    name = shapes[-1].name
    counts, before_unreported, *rest = held[name]
    more = Counts(*(getattr(counts, key) + getattr(extra, key) for key in vars(extra)))
    before = plan(situation_of(given_groups, shapes, held, limits))[-1]
    after = plan(
        situation_of(given_groups, shapes, {**held, name: (more, before_unreported + unreported, *rest)}, limits)
    )[-1]
    assert after.submit <= before.submit


@given(groups, shapes_, numbers_)
@some
def test_no_user_job_is_served_by_two_shapes(given_groups, shapes, held):
    """All shapes together submit no more than the site would if each user job had a glidein of its own."""
    situation = situation_of(given_groups, shapes, held)
    runnable = sum(
        group.sites.get("north", 0) for group in given_groups if any(group.capacity(shape.offers) for shape in shapes)
    )
    assert sum(line.submit for line in plan(situation)) <= runnable


@given(groups, shapes_)
@some
def test_a_shape_that_has_just_submitted_all_it_wanted_wants_no_more(given_groups, shapes):
    """Two cycles on one demand are one: what was submitted is held, and nothing is added or removed."""
    free = Limits(10**6, 10**6, 10**6, 10**6)
    shapes = [replace(shape, limits=free, caps=Caps()) for shape in shapes]
    nothing = {shape.name: NOTHING for shape in shapes}
    situation = Situation(demand_of(given_groups), "north", shapes, nothing, {})
    first = plan(situation)
    held = {
        line.name: Holding(Counts(idle=line.submit), queued=line.sizes, removable=("1",) * 99, excess_for_s=10**6)
        for line in first
    }
    again = plan(replace(situation, holdings=held))
    assert not any(line.submit or line.remove for line in again)


@given(groups, shapes_, numbers_, site_limits)
@some
def test_only_idle_ones_and_only_those_too_many_are_removed(given_groups, shapes, held, limits):
    for line in plan(situation_of(given_groups, shapes, held, limits)):
        queued = sum(count for _, count in line.holding.queued)
        assert len(line.remove) <= max(0, queued - line.wanted)
        assert set(line.remove) <= set(line.holding.removable)
        if line.remove:
            assert line.reason == "excess-removed"
            assert not line.submit
            assert line.remove == line.holding.removable[: len(line.remove)]
