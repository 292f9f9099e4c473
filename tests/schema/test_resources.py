from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepost.schema.resources import Request, Resources, capacity, shortfalls

OFFER = Resources(cpus=8, memory_mib=16384, disk_mib=10000, walltime_s=3600)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cpus": 9}, "9 cpus of 8"),
        ({"memory_mib": 16385}, "of 16GiB memory"),
        ({"disk_mib": 10001}, "of 10000MiB disk"),
        ({"gpus": 1}, "1 gpus of 0"),
    ],
)
def test_every_resource_that_does_not_fit_is_named(change, words):
    found = shortfalls(replace(Request(1, 1000, 100), **change), OFFER)
    assert len(found) == 1
    assert words in found[0]


@pytest.mark.parametrize(("memory_mib", "holds"), [(999, 0), (1000, 1), (2023, 1), (2024, 2), (3048, 3)])
def test_memory_is_rounded_up_as_the_startd_does_but_for_the_last_that_fits(memory_mib, holds):
    assert capacity(Request(1, 1000, 1), replace(OFFER, memory_mib=memory_mib)) == holds


def test_a_user_job_that_may_outlive_the_glidein_does_not_fit():
    assert shortfalls(Request(1, 1000, 100), OFFER, max_runtime_s=3601)
    assert not shortfalls(Request(1, 1000, 100), OFFER, max_runtime_s=3600)


def test_backfill_leaves_a_core_to_each_gpu():
    offer = replace(OFFER, gpus=2)
    assert capacity(Request(1, 1000, 100), offer, backfill=True) == 6
    assert capacity(Request(4, 1000, 100), offer, backfill=True) == 1
    assert capacity(Request(7, 1000, 100), offer, backfill=True) == 0
    assert "keeps one for each gpu" in shortfalls(Request(7, 1000, 100), offer, backfill=True)[0]
    assert capacity(Request(4, 1000, 100, gpus=1), offer, backfill=True) == 2


def test_user_jobs_without_gpus_stay_off_a_gpu_glidein():
    assert capacity(Request(1, 1000, 100), replace(OFFER, gpus=2)) == 0
    assert capacity(Request(1, 1000, 100, gpus=1), replace(OFFER, gpus=2)) == 2


def test_the_scarcest_resource_bounds_the_capacity():
    assert capacity(Request(1, 4096, 100), OFFER) == 4
    assert capacity(Request(3, 100, 100), OFFER) == 2


requests = st.builds(Request, st.integers(1, 64), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 8))
offers = st.builds(
    Resources,
    cpus=st.integers(1, 64),
    memory_mib=st.integers(0, 10**6),
    disk_mib=st.integers(0, 10**6),
    walltime_s=st.integers(1, 10**6),
    gpus=st.integers(0, 8),
)


@given(requests, offers, st.booleans())
def test_capacity_is_zero_exactly_when_something_falls_short(request_, offer, backfill):
    places = capacity(request_, offer, backfill=backfill)
    assert (places == 0) == bool(shortfalls(request_, offer, backfill=backfill))
    assert places * request_.cpus <= offer.cpus
    assert places * request_.memory_mib <= offer.memory_mib
    assert places * request_.disk_mib <= offer.disk_mib
    assert places * request_.gpus <= offer.gpus
