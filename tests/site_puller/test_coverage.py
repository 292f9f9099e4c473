"""Which glideins hold which user jobs: what will be advertised counts, not what the batch system is asked for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glidepost.schema.heartbeat import Limits
from glidepost.schema.puller_config import Fit, Shape
from glidepost.schema.resources import Bounds, Request, Resources
from glidepost.site_puller.coverage import MAX_SIZES, assigned, fitted, need, obstacles, serve


def sizes_of(found) -> dict[tuple[int, int], int]:
    return {(resources.cpus, resources.memory_mib): count for resources, count in found.missing}


# What a glidein will advertise


def test_pyglideins_cedar_case_submits_nothing(make_demand, make_group, make_shape):
    """There it matched user jobs of 7600 MB, asked for 7600 MB, advertised 3800 MB, and submitted for ever."""
    single_gpu = make_shape("single-gpu", gpus=1, memory_mib=7600, memory_margin_mib=3800)
    demand = make_demand(make_group(5, gpus=1, memory_mib=7600))
    waiting = assigned(demand, "north")
    assert need(waiting, single_gpu, ()).missing == ()
    assert obstacles(demand.groups[0], "north", single_gpu) == ("asks for 7600MiB of 3800MiB memory",)
    small = make_demand(make_group(5, gpus=1, memory_mib=3800))
    assert need(assigned(small, "north"), single_gpu, ()).wanted == 5


def test_the_margin_of_memory_is_not_for_user_jobs(make_demand, make_group, make_shape):
    waiting = assigned(make_demand(make_group(4, memory_mib=1000)), "north")
    assert need(waiting, make_shape(cpus=2, memory_mib=2048), ()).wanted == 2
    assert need(waiting, make_shape(cpus=2, memory_mib=2048, memory_margin_mib=200), ()).wanted == 4


@pytest.mark.parametrize(("max_runtime_s", "wanted"), [(3600 - 900, 1), (3600 - 899, 0)])
def test_a_user_job_must_end_before_the_glidein_retires(make_demand, make_group, make_shape, max_runtime_s, wanted):
    waiting = assigned(make_demand(make_group(1, max_runtime_s=max_runtime_s)), "north")
    assert need(waiting, make_shape(walltime_s=3600, retirement_s=1200), ()).wanted == wanted


def test_user_jobs_outside_of_the_sites_bounds_are_left_alone(make_demand, make_group, make_shape):
    shape = make_shape(cpus=4, memory_mib=8192, jobs=Bounds(min_memory_mib=2300, max_cpus=2))
    small, large, wide = make_group(1, memory_mib=2299), make_group(1, memory_mib=2300), make_group(1, cpus=3)
    assert obstacles(small, "north", shape) == ("asks for 2299 MiB of memory, the site wants at least 2300",)
    assert obstacles(large, "north", shape) == ()
    assert "asks for 3 cpus, the site allows 2" in obstacles(wide, "north", shape)
    assert need(assigned(make_demand(small), "north"), shape, ()).wanted == 0


# Glideins cut to their user jobs


@pytest.fixture
def flexible(make_shape):
    return make_shape(
        "flexible",
        cpus=8,
        memory_mib=32768,
        disk_mib=50_000,
        memory_margin_mib=256,
        fit=Fit(min_cpus=2, min_memory_mib=2048, min_disk_mib=1024),
    )


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        ({"cpus": 1, "memory_mib": 100}, (2, 2048, 1024)),
        ({"cpus": 3, "memory_mib": 4000}, (3, 5120, 1024)),
        ({"cpus": 8, "memory_mib": 32512, "disk_mib": 49_999}, (8, 32768, 50_000)),
    ],
)
def test_a_fitted_glidein_is_the_smallest_that_holds_the_user_job(flexible, make_group, asked, got):
    resources = fitted(flexible, make_group(1, **asked).request)
    assert (resources.cpus, resources.memory_mib, resources.disk_mib) == got


def test_each_group_gets_glideins_of_its_size(make_demand, make_group, flexible):
    groups = (make_group(3, name="g00000001", cpus=4, memory_mib=9000), make_group(2, name="g00000002", cpus=2))
    found = need(assigned(make_demand(*groups), "north"), flexible, ())
    assert sizes_of(found) == {(4, 10240): 3, (2, 2048): 2}
    assert (found.wanted, found.excess) == (5, 0)


def test_what_is_too_large_for_the_largest_is_left_alone(make_demand, make_group, flexible):
    assert need(assigned(make_demand(make_group(1, memory_mib=32513)), "north"), flexible, ()).missing == ()


def test_fitted_glideins_that_wait_are_not_submitted_again(make_demand, make_group, flexible):
    groups = (make_group(3, name="g00000001", cpus=4), make_group(2, name="g00000002", cpus=2))
    waiting = assigned(make_demand(*groups), "north")
    first = need(waiting, flexible, ())
    again = need(waiting, flexible, first.missing)
    assert (again.wanted, again.missing, again.excess) == (first.wanted, (), 0)


def test_fitted_glideins_of_a_size_that_nobody_wants_any_more_are_excess(make_demand, make_group, flexible):
    large = replace(flexible.resources, cpus=2, memory_mib=2048)
    found = need(assigned(make_demand(make_group(2, cpus=8)), "north"), flexible, ((large, 4),))
    assert (found.excess, sum(count for _, count in found.missing)) == (4, 2)


def test_only_so_many_sizes_are_submitted_at_once(make_demand, make_group, make_shape):
    shape = make_shape(cpus=99, memory_mib=10**6, fit=Fit())
    groups = [make_group(1, name=f"g{number:08x}", cpus=number) for number in range(1, 40)]
    found = need(assigned(make_demand(*groups), "north", ["cpus"]), shape, ())
    assert len(found.missing) == MAX_SIZES
    assert found.missing[0][0].cpus == 39


# The order of groups


def test_groups_are_in_the_order_of_the_sites_preference(make_demand, make_group, now):
    groups = (
        replace(make_group(1, name="g00000001", gpus=1), idle_since=now - timedelta(days=2)),
        make_group(1, name="g00000002", memory_mib=9000),
        make_group(1, name="g00000003", cpus=4, disk_mib=5000),
    )

    def order(*prefer: str) -> list[int]:
        return [int(item.group.id[1:]) for item in assigned(make_demand(*groups), "north", prefer)]

    assert order("gpus", "memory") == [1, 2, 3]
    assert order("cpus") == [3, 1, 2]
    assert order("-gpus", "-disk") == [2, 3, 1]
    assert order("age")[0] == 1
    assert order("-age")[-1] == 1


# For any demand

# (the fixtures are functions that keep nothing)
some = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
requests = st.builds(
    Request,
    cpus=st.integers(1, 6),
    memory_mib=st.integers(0, 6000),
    disk_mib=st.integers(0, 3000),
    gpus=st.sampled_from([0, 0, 1]),
)
fits = st.builds(
    Fit,
    min_cpus=st.integers(1, 3),
    min_memory_mib=st.integers(1, 3000),
    min_disk_mib=st.integers(1, 2000),
    cpu_step=st.integers(1, 3),
    memory_step_mib=st.integers(1, 2000),
    disk_step_mib=st.integers(1, 2000),
)


@given(requests, fits, st.integers(0, 500))
@some
def test_a_fitted_glidein_holds_what_the_largest_holds_and_is_never_larger(make_group, request_, fit, margin):
    most = Resources(4, 4000, 2000, 3600, 1)
    shape = Shape("fit", "local", most, Limits(9, 9, 9, 9), {}, fit=fit, memory_margin_mib=margin)
    group = replace(make_group(1), request=request_)
    resources = fitted(shape, request_)
    for key in ("cpus", "memory_mib", "disk_mib", "gpus"):
        assert getattr(resources, key) <= max(getattr(most, key), 1)
    one = replace(shape, resources=resources, fit=None)
    if not obstacles(group, "north", shape):
        assert obstacles(group, "north", one) == ()


@given(st.lists(st.tuples(requests, st.integers(1, 20)), max_size=5), fits)
@some
def test_what_is_missing_of_a_shape_with_fit_serves_all_that_fits(make_demand, make_group, parts, fit):
    shape = Shape("fit", "local", Resources(4, 4000, 2000, 3600, 1), Limits(9, 9, 9, 9), {}, fit=fit)
    groups = [
        replace(make_group(jobs, name=f"g{number:08x}"), request=request_)
        for number, (request_, jobs) in enumerate(parts)
    ]
    waiting = assigned(make_demand(*groups), "north")
    serve(waiting, shape, need(waiting, shape, ()).missing)
    assert all(item.jobs == 0 or not item.capacity(shape) for item in waiting)
