from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import pytest

from glidepost.schema.demand import Demand
from glidepost.schema.heartbeat import Counts
from glidepost.site_puller.explain import REASONS
from glidepost.site_puller.plan import Holding, plan

NOW = datetime(2026, 11, 22, tzinfo=timezone.utc)
NOTHING = Holding(Counts())


@pytest.fixture
def one(make_demand, make_shape):
    """Plans for one shape: one([groups], holding, max_queued=3)."""

    def run(groups, holding: Holding = NOTHING, *, site_max=None, **limits):
        demand = groups if groups is None or isinstance(groups, Demand) else make_demand(*groups)
        (line,) = plan(demand, "north", [make_shape(**limits)], {"cpu": holding}, max_total=site_max)
        assert line.reason in REASONS
        assert line.detail
        return line

    return run


# Every reason code


def test_satisfied_when_all_that_are_missing_are_submitted(one, make_group):
    line = one([make_group(7)], Holding(Counts(idle=2)))
    assert (line.reason, line.wanted, line.submit) == ("satisfied", 7, 5)


def test_covered_when_enough_are_queued(one, make_group):
    line = one([make_group(3)], Holding(Counts(idle=2, held=1)))
    assert (line.reason, line.submit) == ("covered", 0)


def test_no_demand_when_no_user_job_is_idle(one):
    assert one([]).reason == "no-demand"


def test_no_share_when_all_is_assigned_to_others(one, make_group):
    assert one([make_group(3, sites={"south": 3})]).reason == "no-share"


def test_no_fit_says_what_is_too_large(one, make_group):
    line = one([make_group(3, memory_mib=4000)])
    assert line.reason == "no-fit"
    assert "memory" in line.detail


@pytest.mark.parametrize(
    ("limits", "site_max", "counts", "submit"),
    [
        ({"max_queued": 4}, None, Counts(idle=1), 3),
        ({"max_running": 4}, None, Counts(running=2), 2),
        ({"max_total": 4}, None, Counts(running=3), 1),
        ({}, 4, Counts(running=1), 3),
        ({"max_per_cycle": 4}, None, Counts(), 4),
    ],
    ids=["max-queued", "max-running", "max-total", "site-max-total", "max-per-cycle"],
)
def test_each_limit_cuts_and_gives_the_reason(request, one, make_group, limits, site_max, counts, submit):
    line = one(
        [make_group(100)], Holding(counts), site_max=site_max, **{"max_per_cycle": 50, "max_total": 50, **limits}
    )
    assert (line.reason, line.submit) == (request.node.callspec.id, submit)


def test_the_limit_that_cuts_deepest_gives_the_reason(one, make_group):
    limits = {"max_queued": 6, "max_running": 5, "max_total": 4, "max_per_cycle": 2}
    assert one([make_group(50)], site_max=3, **limits).reason == "max-per-cycle"
    assert one([make_group(50)], site_max=3, **{**limits, "max_per_cycle": 9}).reason == "site-max-total"
    assert one([make_group(50)], **{**limits, "max_per_cycle": 9}).reason == "max-total"


def test_of_two_limits_that_cut_alike_the_first_gives_the_reason(one, make_group):
    assert one([make_group(50)], max_queued=3, max_running=3, max_total=3, max_per_cycle=3).reason == "max-queued"


def test_a_limit_that_is_exceeded_already_submits_nothing(one, make_group):
    line = one([make_group(90)], Holding(Counts(idle=50, running=50)))
    assert (line.submit, line.wanted) == (0, 90)


def test_queue_unknown_submits_nothing(one, make_group):
    line = one([make_group(5)], Holding(None))
    assert (line.reason, line.submit, line.wanted) == ("queue-unknown", 0, 0)


def test_demand_unknown_submits_nothing(one):
    line = one(None)
    assert (line.reason, line.submit) == ("demand-unknown", 0)


def test_an_unknown_queue_is_the_reason_even_without_demand(one):
    assert one(None, Holding(None)).reason == "queue-unknown"


def test_a_shape_that_the_pool_says_does_not_match_is_no_fit_though_it_is_large_enough(one, make_group):
    line = one([replace(make_group(3), shapes={"north": ()})])
    assert (line.reason, line.submit) == ("no-fit", 0)
    assert "does not match" in line.detail


# What is counted


@pytest.mark.parametrize(
    "holding",
    [
        Holding(Counts(idle=3)),
        Holding(Counts(held=3)),
        Holding(Counts(unknown=3)),
        Holding(Counts(), unreported=3),
        Holding(Counts(running=3), fresh=3),
    ],
    ids=["idle", "held", "unknown", "unreported", "fresh"],
)
def test_what_will_still_take_user_jobs_is_not_submitted_again(one, make_group, holding):
    assert one([make_group(5)], holding).submit == 2


def test_running_glideins_that_the_demand_knows_take_nothing_from_it(one, make_group):
    assert one([make_group(5)], Holding(Counts(running=3))).submit == 5


def test_groups_share_a_glidein(make_demand, make_group, make_shape):
    groups = [make_group(2, name="g00000001"), make_group(1, name="g00000002", cpus=2)]
    (line,) = plan(make_demand(*groups), "north", [make_shape(cpus=4, memory_mib=65536)], {"cpu": NOTHING})
    assert line.wanted == 1


def test_a_group_served_by_one_shape_is_not_served_by_the_next(make_demand, make_group, make_shape):
    shapes = [make_shape("first", max_queued=3), make_shape("second")]
    holdings = {"first": NOTHING, "second": NOTHING}
    first, second = plan(make_demand(make_group(5)), "north", shapes, holdings)
    assert (first.submit, second.submit) == (3, 2)
    first, second = plan(make_demand(make_group(3)), "north", shapes, holdings)
    assert (first.submit, second.submit, second.reason) == (3, 0, "covered")


def test_a_group_that_only_the_second_shape_fits_is_left_to_it(make_demand, make_group, make_shape):
    shapes = [make_shape("gpu", gpus=1), make_shape("cpu")]
    gpu, cpu = plan(make_demand(make_group(3)), "north", shapes, {"gpu": NOTHING, "cpu": NOTHING})
    assert (gpu.reason, cpu.submit) == ("no-fit", 3)


def test_a_group_is_held_by_the_shapes_that_the_pool_names(make_demand, make_group, make_shape):
    shapes = [make_shape("old-os"), make_shape("new-os")]
    holdings = {"old-os": NOTHING, "new-os": NOTHING}
    group = replace(make_group(5), shapes={"north": ("new-os",)})
    old, new = plan(make_demand(group), "north", shapes, holdings)
    assert (old.reason, old.submit, new.submit) == ("no-fit", 0, 5)


def test_what_the_pool_names_for_another_site_restricts_nothing_here(one, make_group):
    assert one([replace(make_group(5), shapes={"south": ()})]).submit == 5


def test_the_limit_over_all_shapes_counts_what_a_silent_batch_system_may_hold(make_demand, make_group, make_shape):
    shapes = [make_shape("silent", max_total=6), make_shape("other")]
    holdings = {"silent": Holding(None), "other": NOTHING}
    silent, other = plan(make_demand(make_group(9)), "north", shapes, holdings, max_total=8)
    assert (silent.submit, other.submit, other.reason) == (0, 2, "site-max-total")


def test_a_site_unknown_to_the_pool_takes_the_unassigned_share(one, make_demand, make_group):
    demand = make_demand(make_group(8, sites={"south": 8}))
    assert one(demand).submit == 0
    assert one(replace(demand, unassigned_share=25)).submit == 2


def test_a_site_that_the_pool_knows_takes_no_unassigned_share(one, make_demand, make_group):
    groups = (make_group(8, sites={"south": 8}), make_group(1, name="g00000002", memory_mib=9999))
    assert one(make_demand(*groups, unassigned_share=100)).submit == 0
