from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glidepost.publisher.census import JobGroup, Slot
from glidepost.publisher.supply import covered
from glidepost.schema.demand import Group
from glidepost.schema.resources import Request

NOW = datetime(2026, 11, 22, tzinfo=timezone.utc)
EPOCH = int(NOW.timestamp())
HOUR = 3600


def job_of(name: str, idle_jobs: int, max_runtime_s=None, **request) -> JobGroup:
    wanted = Request(**{"cpus": 1, "memory_mib": 1024, "disk_mib": 10, **request})
    return JobGroup(Group(name, idle_jobs, NOW, 1, wanted, max_runtime_s=max_runtime_s), "[]")


def slot_of(cpus: int = 4, *, gpus: int = 0, memory_mib: int = 65536, **changes) -> Slot:
    return Slot("north", "cpu", cpus, cpus, gpus, gpus, memory_mib, 10_000, **changes)


def anything(_: JobGroup, __: Slot) -> int:
    return 10**6


def test_free_slots_cover_as_many_user_jobs_as_they_hold():
    assert covered([job_of("a", 9)], [slot_of(4), slot_of(2)], anything, NOW) == {"a": 6}
    assert covered([job_of("a", 5)], [slot_of(4), slot_of(2)], anything, NOW) == {"a": 5}


def test_a_slot_is_not_counted_for_two_groups():
    jobs = [job_of("a", 3, memory_mib=2048), job_of("b", 9)]
    assert covered(jobs, [slot_of(4)], anything, NOW) == {"a": 3, "b": 1}


def test_memory_that_one_group_takes_is_gone_for_the_next():
    jobs = [job_of("a", 1, memory_mib=3000), job_of("b", 9, memory_mib=1000)]
    assert covered(jobs, [slot_of(8, memory_mib=4096)], anything, NOW) == {"a": 1, "b": 1}


def test_the_scarcest_kind_is_served_first():
    jobs = [job_of("a", 9), job_of("b", 1, gpus=1), job_of("c", 1, memory_mib=8192)]
    assert covered(jobs, [slot_of(2, gpus=1)], anything, NOW) == {"b": 1, "c": 1}


def test_user_jobs_take_the_smallest_slot_that_holds_them():
    jobs = [job_of("a", 1, memory_mib=2048), job_of("b", 1, cpus=8)]
    assert covered(jobs, [slot_of(8), slot_of(1, memory_mib=2048)], anything, NOW) == {"a": 1, "b": 1}


def test_a_slot_that_does_not_match_covers_nothing():
    def fits(job: JobGroup, slot: Slot) -> int:
        return slot.cpus_free if (job.group.id, slot.ad) == ("a", "[os = 9]") else 0

    slots = [slot_of(4, ad="[os = 9]"), slot_of(4, ad="[os = 7]")]
    assert covered([job_of("a", 9), job_of("b", 9)], slots, fits, NOW) == {"a": 4}


def test_a_slot_with_nothing_free_covers_nothing():
    assert covered([job_of("a", 9)], [Slot("north", "cpu", 4, 0, 0, 0, 999, 999)], anything, NOW) == {}
    assert covered([job_of("a", 9)], [Slot("north", "cpu", 4, 4, 0, 0, -1, -1)], anything, NOW) == {}


@pytest.mark.parametrize(
    ("ends", "counts"),
    [
        ({"to_retire": EPOCH + 60, "to_die": EPOCH + 2 * HOUR}, True),  # it may run on after the retirement
        ({"to_retire": EPOCH, "to_die": EPOCH + 2 * HOUR}, False),
        ({"to_retire": EPOCH + 60, "to_die": EPOCH + HOUR - 1}, False),
        ({"to_retire": EPOCH + HOUR}, True),
        ({"to_retire": EPOCH + HOUR - 1}, False),
        ({"to_die": EPOCH - 1}, False),
        ({}, True),
    ],
)
def test_a_slot_counts_if_such_a_user_job_can_start_and_end_there(ends, counts):
    found = covered([job_of("a", 1, max_runtime_s=HOUR)], [slot_of(**ends)], anything, NOW)
    assert found == ({"a": 1} if counts else {})


def test_a_user_job_without_a_limit_may_start_until_the_retirement():
    assert covered([job_of("a", 1)], [slot_of(to_retire=EPOCH + 1, to_die=EPOCH + 2)], anything, NOW) == {"a": 1}
    assert covered([job_of("a", 1)], [slot_of(to_retire=EPOCH - 1)], anything, NOW) == {}


def test_a_slot_that_cannot_be_divided_takes_one():
    assert covered([job_of("a", 5)], [slot_of(4, is_partitionable=False)] * 2, anything, NOW) == {"a": 2}


jobs_ = st.lists(
    st.builds(
        job_of,
        st.integers(0, 10**8).map(lambda number: f"g{number:08x}"),
        st.integers(0, 30),
        st.sampled_from([None, 60, 2 * HOUR]),
        cpus=st.integers(1, 8),
        memory_mib=st.sampled_from([0, 100, 1000, 5000]),
        gpus=st.sampled_from([0, 0, 1]),
    ),
    max_size=8,
    unique_by=lambda job: job.group.id,
)
slots_ = st.lists(
    st.builds(
        slot_of,
        st.integers(0, 16),
        gpus=st.integers(0, 2),
        memory_mib=st.integers(0, 20_000),
        to_retire=st.sampled_from([None, EPOCH - 5, EPOCH + HOUR]),
        is_partitionable=st.booleans(),
        ad=st.sampled_from(["[a]", "[b]"]),
    ),
    max_size=8,
)


@given(jobs_, slots_, st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_no_more_is_covered_than_is_idle_and_free_and_order_changes_nothing(jobs, slots, random):
    found = covered(jobs, slots, anything, NOW)
    requests = {job.group.id: job.group.request for job in jobs}
    assert all(0 < found[job.group.id] <= job.group.idle_jobs for job in jobs if job.group.id in found)
    alive = [slot for slot in slots if slot.to_retire is None or slot.to_retire > EPOCH]
    assert sum(count * requests[name].cpus for name, count in found.items()) <= sum(slot.cpus for slot in alive)
    assert sum(count * requests[name].gpus for name, count in found.items()) <= sum(slot.gpus for slot in alive)
    asked = sum(count * requests[name].memory_mib for name, count in found.items())
    assert asked <= sum(slot.memory_free_mib for slot in alive)
    assert covered(random.sample(jobs, len(jobs)), random.sample(slots, len(slots)), anything, NOW) == found


def test_five_hundred_groups_and_slots_take_seconds_at_most():
    jobs = [job_of(f"g{number:08x}", 3, memory_mib=number) for number in range(500)]
    found = covered(jobs, [slot_of(2) for _ in range(500)], anything, NOW + timedelta(0))
    assert sum(found.values()) == 1000
