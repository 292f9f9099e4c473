from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from glidepost.publisher import shares
from glidepost.schema.demand import Group
from glidepost.schema.resources import Request, Resources

SMALL = Resources(cpus=2, memory_mib=2048, disk_mib=1000, walltime_s=3600)
LARGE = Resources(cpus=16, memory_mib=65536, disk_mib=100_000, walltime_s=86400)
GPU = Resources(cpus=8, memory_mib=32768, disk_mib=100_000, walltime_s=86400, gpus=1)

offers = st.dictionaries(
    st.sampled_from(["north", "south", "east", "west"]),
    st.one_of(st.none(), st.lists(st.sampled_from([SMALL, LARGE, GPU]), max_size=3)),
)
requests = st.builds(
    Request, cpus=st.sampled_from([1, 4, 64]), memory_mib=st.sampled_from([500, 4000]), disk_mib=st.just(10)
)
quick = settings(max_examples=80, deadline=None)


@given(
    idle_jobs=st.integers(0, 500),
    request_=requests,
    given_offers=offers,
    overcommit=st.integers(1, 3),
    random=st.randoms(use_true_random=False),
)
@quick
def test_the_shares_add_up_and_the_order_of_sites_changes_nothing(
    group_anywhere, idle_jobs, request_, given_offers, overcommit, random
):
    group = replace(group_anywhere, idle_jobs=idle_jobs, request=request_)
    (assigned,) = shares.assign([group], given_offers, overcommit=overcommit)
    able = {
        site
        for site, shapes in given_offers.items()
        if shapes is None or any(group.capacity(shape) for shape in shapes)
    }
    assert sum(assigned.sites.values()) == (idle_jobs * overcommit if able else 0)
    assert set(assigned.sites) <= able
    assert all(share > 0 for share in assigned.sites.values())
    shuffled = dict(random.sample(list(given_offers.items()), len(given_offers)))
    assert shares.assign([group], shuffled, overcommit=overcommit) == (assigned,)
    assert replace(assigned, sites={}) == group


def test_sites_share_equally_but_for_the_rest(make_group):
    (group,) = shares.assign([make_group(10, sites={})], {"a": [LARGE], "b": [LARGE], "c": [LARGE]})
    assert sorted(group.sites.values()) == [3, 3, 4]


def test_the_rest_goes_to_different_sites_for_different_groups(make_group):
    groups: list[Group] = [make_group(1, name=f"g{index:08x}", sites={}) for index in range(30)]
    assigned = shares.assign(groups, {"a": [LARGE], "b": [LARGE], "c": [LARGE]})
    assert {site for group in assigned for site in group.sites} == {"a", "b", "c"}


def test_a_new_site_gets_tried(make_group):
    (group,) = shares.assign([make_group(8, cpus=64, sites={})], {"new": None, "old": [SMALL]})
    assert group.sites == {"new": 8}


def test_a_site_whose_shapes_cannot_run_the_group_gets_nothing(make_group):
    (group,) = shares.assign([make_group(8, memory_mib=4000, sites={})], {"small": [SMALL], "large": [SMALL, LARGE]})
    assert group.sites == {"large": 8}


def test_gpus_are_kept_for_those_that_ask_for_them(make_group):
    plain, wants_gpu = make_group(4, sites={}), make_group(4, name="g00000002", gpus=1, sites={})
    assigned = shares.assign([plain, wants_gpu], {"gpu": [GPU], "cpu": [LARGE]})
    assert [group.sites for group in assigned] == [{"cpu": 4}, {"gpu": 4}]


def test_a_site_without_shapes_gets_nothing(make_group):
    (group,) = shares.assign([make_group(8, sites={})], {"unreadable": ()})
    assert group.sites == {}


def test_without_sites_nobody_gets_anything(make_group):
    (group,) = shares.assign([make_group(8)], {})
    assert group.sites == {}
