from __future__ import annotations

from dataclasses import replace

import pytest

from glidepost.schema.demand import Demand
from glidepost.schema.heartbeat import Counts
from glidepost.schema.puller_config import Caps, Fit, SiteLimits
from glidepost.schema.reasons import REASONS
from glidepost.site_puller.caps import Occupied
from glidepost.site_puller.gate import Gate
from glidepost.site_puller.holding import Holding
from glidepost.site_puller.plan import ShapePlan, Situation, plan

NOTHING = Holding(Counts())
UNKNOWN = ("queue-unknown", "squeue: down")


def lines_of(demand, shapes, holdings=None, **situation) -> tuple[ShapePlan, ...]:
    holdings = {**{shape.name: NOTHING for shape in shapes}, **(holdings or {})}
    return plan(Situation(demand, "north", shapes, holdings, **{"gates": {}, **situation}))


@pytest.fixture
def one(make_demand, make_shape):
    """Plans for one shape: one([groups], holding, max_queued=3)."""

    def run(groups, holding: Holding = NOTHING, *, site=SiteLimits(), gate=None, drained=False, **limits):
        demand = groups if groups is None or isinstance(groups, Demand) else make_demand(*groups)
        (line,) = lines_of(
            demand,
            [make_shape(**limits)],
            {"cpu": holding},
            limits=site,
            gates={"cpu": gate} if gate else {},
            drained=frozenset({"cpu"} if drained else ()),
        )
        assert line.reason in REASONS
        assert line.detail or drained
        return line

    return run


@pytest.fixture
def holds(make_shape):
    """Makes what is held of a shape as holding.py would: holds(idle=2, unreported=1), holds(running=3, fresh=1)."""

    def make(shape=None, *, unreported=0, missing=0, fresh=0, **values) -> Holding:
        one = (shape or make_shape()).resources
        counts = Counts(**{key: values.pop(key) for key in list(values) if key in Counts.__dataclass_fields__})
        waiting = counts.total - counts.running + unreported
        total = counts.total + unreported + missing
        occupied = Occupied(total, waiting, total * one.cpus, total * one.memory_mib, total * one.gpus)
        return Holding(
            counts,
            unreported,
            missing,
            fresh,
            queued=((one, waiting + fresh),) if waiting + fresh else (),
            occupied=occupied,
            **values,
        )

    return make


# Every reason code


def test_satisfied_when_all_that_are_missing_are_submitted(one, holds, make_group):
    line = one([make_group(7)], holds(idle=2))
    assert (line.reason, line.wanted, line.submit) == ("satisfied", 7, 5)


def test_covered_when_enough_are_queued(one, holds, make_group):
    line = one([make_group(3)], holds(idle=3))
    assert (line.reason, line.submit) == ("covered", 0)


def test_held_when_only_held_ones_keep_others_from_being_submitted(one, holds, make_group):
    line = one([make_group(3)], holds(idle=2, held=1))
    assert (line.reason, line.submit, line.detail) == (
        "held",
        0,
        "1 of 3 queued glideins are held in the batch system",
    )


def test_no_demand_when_no_user_job_is_idle(one):
    assert one([]).reason == "no-demand"


def test_no_share_when_all_is_assigned_to_others(one, make_group):
    assert one([make_group(3, sites={"south": 3})]).reason == "no-share"


def test_no_fit_says_what_is_too_large(one, make_group):
    line = one([make_group(3, memory_mib=4000)])
    assert line.reason == "no-fit"
    assert "memory" in line.detail


@pytest.mark.parametrize(
    ("code", "limits", "site", "held", "submit"),
    [
        ("max-queued", {"max_queued": 4}, {}, {"idle": 1}, 3),
        ("max-running", {"max_running": 4}, {}, {"running": 1, "idle": 1}, 2),
        ("max-total", {"max_total": 4}, {}, {"running": 3}, 1),
        ("max-cpus", {"caps": Caps(max_cpus=9)}, {}, {"running": 3}, 6),
        ("max-memory", {"caps": Caps(max_memory_mib=5 * 2048 + 1)}, {}, {"running": 3}, 2),
        ("max-gpus", {"caps": Caps(max_gpus=5), "gpus": 1}, {}, {}, 5),
        ("site-max-queued", {}, {"max_queued": 4}, {"idle": 1}, 3),
        ("site-max-total", {}, {"max_total": 4}, {"running": 1}, 3),
        ("site-max-cpus", {}, {"caps": Caps(max_cpus=4)}, {"running": 1}, 3),
        ("site-max-memory", {}, {"caps": Caps(max_memory_mib=2048)}, {}, 1),
        ("site-max-gpus", {"gpus": 1}, {"caps": Caps(max_gpus=2)}, {}, 2),
        ("budget", {"caps": Caps(budget_per_day=3.5)}, {}, {}, 3),
        ("budget", {"caps": Caps(budget_per_month=30), "cost_per_hour": 12.0}, {}, {}, 2),
        ("site-budget", {}, {"caps": Caps(budget_per_day=2)}, {}, 2),
        ("max-per-hour", {"caps": Caps(max_per_hour=2)}, {}, {}, 2),
        ("site-max-per-hour", {}, {"caps": Caps(max_per_hour=1)}, {}, 1),
        ("max-per-cycle", {"max_per_cycle": 4}, {}, {}, 4),
    ],
)
def test_each_limit_cuts_and_gives_the_reason(one, holds, make_shape, make_group, code, limits, site, held, submit):
    limits = {"max_per_cycle": 50, "max_total": 50, "max_queued": 50, "max_running": 50, **limits}
    group = make_group(100, gpus=limits.get("gpus", 0))
    line = one([group], holds(make_shape(**limits), **held), site=SiteLimits(**site), **limits)
    assert (line.reason, line.submit) == (code, submit)


def test_what_was_submitted_and_spent_before_counts(one, make_group):
    spent = Holding(Counts(), occupied=Occupied(lately=3, day=7.0, month=40.0))
    assert one([make_group(9)], spent, caps=Caps(max_per_hour=5)).submit == 2
    assert one([make_group(9)], spent, caps=Caps(budget_per_day=9)).submit == 2
    assert one([make_group(9)], spent, caps=Caps(budget_per_month=39)).submit == 0


def test_a_shape_without_gpus_is_not_cut_by_a_limit_of_gpus(one, make_group):
    full = Holding(Counts(), occupied=Occupied(gpus=9))
    assert one([make_group(4)], full, site=SiteLimits(caps=Caps(max_gpus=5))).reason == "satisfied"


def test_the_limit_that_cuts_deepest_gives_the_reason(one, make_group):
    limits = {"max_queued": 6, "max_running": 5, "max_total": 4, "max_per_cycle": 2}
    three = SiteLimits(max_total=3)
    assert one([make_group(50)], site=three, **limits).reason == "max-per-cycle"
    assert one([make_group(50)], site=three, **{**limits, "max_per_cycle": 9}).reason == "site-max-total"
    assert one([make_group(50)], **{**limits, "max_per_cycle": 9}).reason == "max-total"


def test_of_two_limits_that_cut_alike_the_first_gives_the_reason(one, make_group):
    assert one([make_group(50)], max_queued=3, max_running=3, max_total=3, max_per_cycle=3).reason == "max-total"


def test_a_limit_that_is_exceeded_already_submits_nothing(one, holds, make_group):
    line = one([make_group(90)], holds(idle=50, running=50))
    assert (line.submit, line.wanted) == (0, 90)


def test_what_waits_may_run_too_so_that_it_counts_against_the_limit_of_running_ones(one, holds, make_group):
    line = one([make_group(90)], holds(idle=3, running=3), max_running=8, max_total=50, max_queued=50)
    assert (line.submit, line.reason) == (2, "max-running")


@pytest.mark.parametrize("code", ["queue-unknown", "queue-partial", "queue-implausible", "ledger-rebuilt"])
def test_what_is_not_known_for_sure_submits_nothing(one, make_group, code):
    line = one([make_group(5)], Holding(None, trouble=(code, "words")))
    assert (line.reason, line.detail, line.submit, line.wanted) == (code, "words", 0, 0)


def test_demand_unknown_submits_nothing(one):
    line = one(None)
    assert (line.reason, line.submit) == ("demand-unknown", 0)


def test_an_unknown_queue_is_the_reason_even_without_demand(one):
    assert one(None, Holding(None, trouble=UNKNOWN)).reason == "queue-unknown"


def test_a_shape_that_the_pool_says_does_not_match_is_no_fit_though_it_is_large_enough(one, make_group):
    line = one([replace(make_group(3), shapes={"north": ()})])
    assert (line.reason, line.submit) == ("no-fit", 0)
    assert "does not match" in line.detail


# Breakers and orders


def test_a_closed_gate_lets_nothing_through(one, make_group):
    line = one([make_group(5)], gate=Gate("paused", "until noon", 0))
    assert (line.reason, line.detail, line.submit, line.wanted) == ("paused", "until noon", 0, 5)


def test_a_canary_goes_alone(one, make_group):
    line = one([make_group(5)], gate=Gate("canary", "after 3 failures", 1))
    assert (line.reason, line.submit) == ("canary", 1)
    assert one([make_group(1)], gate=Gate("canary", "after 3 failures", 1)).reason == "satisfied"


def test_a_drained_shape_gives_back_what_it_queues_at_once(one, make_group):
    line = one([make_group(5)], Holding(Counts(idle=2, running=1), removable=("7_1", "7_0")), drained=True)
    assert (line.reason, line.submit, line.remove) == ("drained", 0, ("7_1", "7_0"))


def test_an_unknown_queue_is_not_drained_on_a_guess(one):
    line = one([], Holding(None, trouble=UNKNOWN, removable=("7",)), drained=True)
    assert (line.reason, line.remove) == ("queue-unknown", ())


# Too many


def test_excess_is_removed_after_its_grace_and_the_youngest_first(one, holds, make_group):
    ids = ("9_1", "9_0", "8_1", "8_0")
    for excess_for_s, remove in ((None, ()), (0, ()), (1799, ()), (1800, ("9_1", "9_0", "8_1"))):
        line = one([make_group(1)], holds(idle=4, removable=ids, excess_for_s=excess_for_s))
        assert (line.excess, line.remove, line.submit) == (3, remove, 0)
        assert line.reason == ("excess-removed" if remove else "covered")


def test_excess_says_when_it_will_be_removed(one, holds, make_group):
    line = one([make_group(1)], holds(idle=2, removable=("1", "2"), excess_for_s=1500))
    assert line.detail.endswith("1 too many, removed in 5m if that stays so")


def test_nothing_is_removed_on_the_word_of_an_incomplete_demand(one, holds, make_demand):
    held = holds(idle=4, removable=("1",), excess_for_s=9999)
    assert one(make_demand(), held).remove == ("1",)
    assert one(make_demand(complete=False), held).remove == ()
    assert one(None, held).remove == ()


def test_what_is_queued_beyond_the_limits_is_not_excess(one, holds, make_group):
    """Limits keep from submitting; what waits for user jobs is never removed."""
    assert one([make_group(9)], holds(idle=9, removable=("1",), excess_for_s=9999), max_total=3).remove == ()


# What is counted


@pytest.mark.parametrize(
    "held",
    [{"idle": 3}, {"held": 3}, {"unknown": 3}, {"unreported": 3}, {"running": 3, "fresh": 3}],
    ids=["idle", "held", "unknown", "unreported", "fresh"],
)
def test_what_will_still_take_user_jobs_is_not_submitted_again(one, holds, make_group, held):
    assert one([make_group(5)], holds(**held)).submit == 2


def test_running_glideins_that_the_demand_knows_take_nothing_from_it(one, holds, make_group):
    assert one([make_group(5)], holds(running=3)).submit == 5


def test_groups_share_a_glidein(make_demand, make_group, make_shape):
    groups = [make_group(2, name="g00000001"), make_group(1, name="g00000002", cpus=2)]
    (line,) = lines_of(make_demand(*groups), [make_shape(cpus=4, memory_mib=65536)])
    assert line.wanted == 1


def test_a_group_served_by_one_shape_is_not_served_by_the_next(make_demand, make_group, make_shape):
    shapes = [make_shape("first", max_queued=3), make_shape("second")]
    first, second = lines_of(make_demand(make_group(5)), shapes)
    assert (first.submit, second.submit) == (3, 2)
    first, second = lines_of(make_demand(make_group(3)), shapes)
    assert (first.submit, second.submit, second.reason) == (3, 0, "covered")


def test_a_group_that_only_the_second_shape_fits_is_left_to_it(make_demand, make_group, make_shape):
    gpu, cpu = lines_of(make_demand(make_group(3)), [make_shape("gpu", gpus=1), make_shape("cpu")])
    assert (gpu.reason, cpu.submit) == ("no-fit", 3)


def test_a_group_is_held_by_the_shapes_that_the_pool_names(make_demand, make_group, make_shape):
    group = replace(make_group(5), shapes={"north": ("new-os",)})
    old, new = lines_of(make_demand(group), [make_shape("old-os"), make_shape("new-os")])
    assert (old.reason, old.submit, new.submit) == ("no-fit", 0, 5)


def test_what_the_pool_names_for_another_site_restricts_nothing_here(one, make_group):
    assert one([replace(make_group(5), shapes={"south": ()})]).submit == 5


def test_what_a_silent_batch_system_was_last_seen_to_hold_counts_and_serves(make_demand, make_group, make_shape, holds):
    shapes = [make_shape("silent"), make_shape("other")]
    silent = replace(holds(idle=6), counts=None, trouble=UNKNOWN)
    first, second = lines_of(make_demand(make_group(9)), shapes, {"silent": silent}, limits=SiteLimits(max_total=8))
    assert (first.submit, second.submit, second.reason) == (0, 2, "site-max-total")
    first, second = lines_of(make_demand(make_group(9)), shapes, {"silent": silent})
    assert (first.submit, second.submit, second.reason) == (0, 3, "satisfied")


def test_glideins_of_a_shape_that_is_no_longer_configured_count_against_the_site(make_demand, make_group, make_shape):
    (line,) = lines_of(
        make_demand(make_group(9)), [make_shape()], limits=SiteLimits(max_total=8), others=Occupied(total=5)
    )
    assert (line.submit, line.reason) == (3, "site-max-total")


def test_the_groups_that_the_site_prefers_are_served_first(make_demand, make_group, make_shape):
    groups = [make_group(3, name="g00000001", memory_mib=2000), make_group(3, name="g00000002", memory_mib=500)]
    shape = make_shape(fit=Fit(min_memory_mib=500, memory_step_mib=100), max_total=4, max_running=4)
    for prefer, sizes in ((("memory",), [(2000, 3), (500, 1)]), (("-memory",), [(500, 3), (2000, 1)])):
        (line,) = lines_of(make_demand(*groups), [shape], prefer=prefer)
        assert [(resources.memory_mib, count) for resources, count in line.sizes] == sizes


def test_a_site_unknown_to_the_pool_takes_the_unassigned_share(one, make_demand, make_group):
    demand = make_demand(make_group(8, sites={"south": 8}))
    assert one(demand).submit == 0
    assert one(replace(demand, unassigned_share=25)).submit == 2


def test_a_site_that_the_pool_knows_takes_no_unassigned_share(one, make_demand, make_group):
    groups = (make_group(8, sites={"south": 8}), make_group(1, name="g00000002", memory_mib=9999))
    assert one(make_demand(*groups, unassigned_share=100)).submit == 0
