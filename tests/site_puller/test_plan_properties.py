from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

from hypothesis import given, settings
from hypothesis import strategies as st

from glidepost.schema.demand import Demand, GlideinRelease, Group
from glidepost.schema.heartbeat import Counts, Limits
from glidepost.schema.puller_config import Shape
from glidepost.schema.resources import Request, Resources
from glidepost.site_puller.explain import REASONS
from glidepost.site_puller.plan import Holding, plan

NOW = datetime(2026, 11, 22, tzinfo=timezone.utc)
NOTHING = Holding(Counts())


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
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda shape: shape.name,
)
counts = st.builds(Counts, idle=small, running=small, held=small, unknown=small)
holding = st.builds(
    lambda counts, unreported, fresh: Holding(counts, unreported, min(fresh, counts.running if counts else 0)),
    st.one_of(counts, counts, st.none()),
    small,
    small,
)
holdings_ = st.fixed_dictionaries(dict.fromkeys("abc", holding))
site_max = st.one_of(st.none(), st.integers(0, 30))
some = settings(max_examples=80, deadline=None)


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


@given(groups, shapes_, holdings_, site_max)
@some
def test_no_limit_is_ever_exceeded(given_groups, shapes, holdings, limit_of_site):
    lines = plan(demand_of(given_groups), "north", shapes, holdings, max_total=limit_of_site)
    for shape, line in zip(shapes, lines):
        held, limits = holdings[shape.name], shape.limits
        assert line.submit >= 0
        assert line.wanted >= 0
        assert line.reason in REASONS
        if line.submit:
            waiting = held.counts.idle + held.counts.held + held.counts.unknown + held.unreported
            assert waiting + line.submit <= limits.max_queued
            assert held.counts.running + line.submit <= limits.max_running
            assert held.total + line.submit <= limits.max_total
            assert line.submit <= limits.max_per_cycle
            assert line.submit <= line.wanted
    if limit_of_site is not None and any(line.submit for line in lines):
        total = sum(holdings[shape.name].total + line.submit for shape, line in zip(shapes, lines))
        assert total <= limit_of_site


@given(groups, shapes_, holdings_, site_max)
@some
def test_what_is_unknown_submits_nothing(given_groups, shapes, holdings, limit_of_site):
    lines = plan(demand_of(given_groups), "north", shapes, holdings, max_total=limit_of_site)
    assert all(not line.submit for line in lines if holdings[line.name].counts is None)
    assert not any(line.submit for line in plan(None, "north", shapes, holdings, max_total=limit_of_site))


@given(groups, shapes_, holdings_, site_max, st.randoms(use_true_random=False))
@some
def test_the_order_of_groups_changes_nothing(given_groups, shapes, holdings, limit_of_site, random):
    shuffled = random.sample(given_groups, len(given_groups))
    lines = plan(demand_of(given_groups), "north", shapes, holdings, max_total=limit_of_site)
    assert plan(demand_of(shuffled), "north", shapes, holdings, max_total=limit_of_site) == lines


@given(groups, shapes_, holdings_, site_max, counts, small)
@some
def test_to_hold_more_never_submits_more(given_groups, shapes, holdings, limit_of_site, extra, unreported):
    demand, name = demand_of(given_groups), shapes[-1].name
    held = holdings[name]
    if held.counts is not None:
        more = Counts(*(getattr(held.counts, key) + getattr(extra, key) for key in vars(extra)))
        held = replace(held, counts=more)
    held = replace(held, unreported=held.unreported + unreported)
    before = plan(demand, "north", shapes, holdings, max_total=limit_of_site)[-1]
    after = plan(demand, "north", shapes, {**holdings, name: held}, max_total=limit_of_site)[-1]
    assert after.submit <= before.submit


@given(groups, shapes_, holdings_)
@some
def test_no_user_job_is_served_by_two_shapes(given_groups, shapes, holdings):
    """All shapes together submit no more than the site would if each user job had a glidein of its own."""
    demand = demand_of(given_groups)
    lines = plan(demand, "north", shapes, holdings)
    runnable = sum(
        group.sites.get("north", 0)
        for group in demand.groups
        if any(group.capacity(shape.resources) for shape in shapes)
    )
    assert sum(line.submit for line in lines) <= runnable


@given(groups, shapes_)
@some
def test_a_shape_that_has_just_submitted_all_it_wanted_wants_no_more(given_groups, shapes):
    """Two cycles on one demand are one: what was submitted is held, and nothing is added."""
    demand, free = demand_of(given_groups), Limits(10**6, 10**6, 10**6, 10**6)
    shapes = [replace(shape, limits=free) for shape in shapes]
    first = plan(demand, "north", shapes, dict.fromkeys("abc", NOTHING))
    held = {**dict.fromkeys("abc", NOTHING), **{line.name: Holding(Counts(idle=line.submit)) for line in first}}
    assert not any(line.submit for line in plan(demand, "north", shapes, held))
