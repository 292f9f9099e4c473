from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glidepost.publisher import census
from glidepost.publisher.census import Answer, Counters, Problem, Row, ScheddAnswer, Slot
from glidepost.schema.demand import Metrics, ShapeView

numbers = st.one_of(st.none(), st.integers(-2, 3), st.integers(-(2**60), 2**60))
rows = st.lists(
    st.builds(
        Row,
        idle_jobs=st.integers(1, 50),
        idle_since=st.integers(0, 2_000_000_000),
        owner=st.sampled_from("abc"),
        accounting_group=st.sampled_from([None, "group_sim", "x" * 400]),
        ad=st.sampled_from(["[Requirements = true]", "[Requirements = Arch == X]"]),
        problem=st.sampled_from([None, None, Problem("RequestMemory", "ImageSize / 0")]),
        cpus=numbers,
        memory_mib=numbers,
        disk_kib=numbers,
        gpus=numbers,
        max_runtime_s=numbers,
    ),
    max_size=20,
)
quick = settings(max_examples=60, deadline=None)


@given(rows, st.randoms(use_true_random=False))
@quick
def test_the_order_of_rows_changes_nothing(given_rows, random):
    shuffled = random.sample(given_rows, len(given_rows))
    assert census.group(shuffled) == census.group(given_rows)


@given(rows)
@quick
def test_every_idle_job_is_in_a_group_or_named_as_unevaluated(given_rows):
    groups, unevaluated = census.group(given_rows)
    counted = sum(item.group.idle_jobs for item in groups) + sum(item.idle_jobs for item in unevaluated)
    assert counted == sum(row.idle_jobs for row in given_rows)


@given(given_rows=rows)
@quick
def test_no_row_can_make_the_document_break_its_schema(make_demand_anywhere, given_rows):
    groups, unevaluated = census.group(given_rows)
    make_demand_anywhere([item.group for item in groups], unevaluated).to_json()


def test_owners_and_times_fold_into_one_group(make_row):
    rows = [make_row(2, owner="ada", idle_since=300), make_row(3, owner="bob", idle_since=200), make_row(4)]
    ((group,), unevaluated) = census.group(rows)
    group = group.group
    assert (group.idle_jobs, group.owner_count, unevaluated) == (9, 2, ())
    assert group.idle_since == datetime.fromtimestamp(200, timezone.utc)


def test_needs_requirements_and_accounting_groups_keep_groups_apart(make_row):
    changes = [{}, {"cpus": 2}, {"ad": "[Requirements = false]"}, {"accounting_group": "sim"}, {"max_runtime_s": 60}]
    groups, _ = census.group(make_row(**change) for change in changes)
    assert len({item.group.id for item in groups}) == len(changes)


def test_a_group_keeps_its_id_while_its_jobs_come_and_go(make_row):
    ((before,), _) = census.group([make_row(1)])
    ((after,), _) = census.group([make_row(7, owner="bob", idle_since=5)])
    assert before.group.id == after.group.id


def test_disk_is_rounded_up_to_whole_mebibytes(make_row):
    ((group,), _) = census.group([make_row(disk_kib=1025)])
    assert group.group.request.disk_mib == 2


def test_requests_that_are_nearly_equal_are_one_group_which_asks_for_the_exact_maximum(make_row):
    rows = [make_row(memory_mib=mib, disk_kib=mib * 1024 - 1) for mib in (257, 300, 511)]
    ((job,), _) = census.group(rows, memory_step_mib=256, disk_step_mib=1024)
    assert (job.group.idle_jobs, job.group.request.memory_mib, job.group.request.disk_mib) == (3, 511, 511)
    assert "RequestMemory = 511; RequestDisk = 523263; " in job.ad


def test_a_step_keeps_what_is_on_its_two_sides_apart(make_row):
    jobs, _ = census.group([make_row(memory_mib=256), make_row(memory_mib=257)], memory_step_mib=256)
    assert len(jobs) == 2


def test_a_group_keeps_its_id_when_its_largest_user_job_leaves(make_row):
    small, large = make_row(memory_mib=300), make_row(memory_mib=500)
    ((both,), _) = census.group([small, large], memory_step_mib=256)
    ((one,), _) = census.group([small], memory_step_mib=256)
    assert both.group.id == one.group.id


@given(given_rows=rows, step=st.integers(1, 5000))
@quick
def test_no_member_asks_for_more_than_its_group(given_rows, step):
    jobs, _ = census.group(given_rows, memory_step_mib=step, disk_step_mib=step)
    exact, _ = census.group(given_rows)
    assert sum(job.group.idle_jobs for job in jobs) == sum(job.group.idle_jobs for job in exact)
    assert max((job.group.request.memory_mib for job in jobs), default=0) == max(
        (job.group.request.memory_mib for job in exact), default=0
    )


def test_the_ad_of_a_group_has_its_requests(make_row):
    ((job,), _) = census.group([make_row(cpus=2, memory_mib=3, disk_kib=4, gpus=1, ad="[Requirements = A; A = true]")])
    assert job.ad == (
        "[RequestCpus = 2; RequestMemory = 3; RequestDisk = 4; RequestGPUs = 1; Requirements = A; A = true]"
    )


def test_what_is_asked_of_gpus_keeps_groups_apart(make_row):
    rows = [make_row(gpus=1, gpu_capability="8.0", gpu_memory_mib=mib) for mib in (None, 4000, 8000)]
    jobs, _ = census.group(rows)
    assert {(job.group.request.gpu_capability, job.group.request.gpu_memory_mib) for job in jobs} == {
        ("8.0", None),
        ("8.0", 4000),
        ("8.0", 8000),
    }


def test_the_largest_group_comes_first(make_row):
    groups, _ = census.group([make_row(1), make_row(5, cpus=2), make_row(3, cpus=3)])
    assert [item.group.idle_jobs for item in groups] == [5, 3, 1]


def test_what_could_not_be_evaluated_is_counted_under_its_expression(make_row):
    broken = make_row(2, memory_mib=None, problem=Problem("RequestMemory", "foo + 1"))
    groups, (first,) = census.group([broken, replace(broken, owner="bob", idle_jobs=3)])
    assert groups == ()
    assert (first.idle_jobs, first.attribute, first.problem) == (5, "RequestMemory", "foo + 1")
    assert first.owner_count == 2


def test_texts_in_an_expression_that_is_published_are_not(make_row):
    expression = r'ifThenElse(Owner == "ada \"the\" first", /* */ 1, "a" + foo("b"))'
    _, (entry,) = census.group([make_row(problem=Problem("RequestCpus", expression))])
    assert entry.problem == 'ifThenElse(Owner == "…", /* */ 1, "…" + foo("…"))'


def test_a_very_long_expression_is_cut(make_row):
    _, (entry,) = census.group([make_row(problem=Problem("RequestCpus", "1 + " * 1000))])
    assert len(entry.problem) == 300


def test_more_groups_than_a_document_holds_are_counted_together(make_row):
    extra = 3
    many = [make_row(2 if index else 1, ad=f"[Requirements = {index}]") for index in range(census.MAX_GROUPS + extra)]
    groups, (rest,) = census.group(many)
    assert len(groups) == census.MAX_GROUPS
    assert rest.idle_jobs == extra * 2 - 1


def test_more_problems_than_a_document_holds_are_counted_together(make_row):
    many = [make_row(problem=Problem("RequestCpus", str(index))) for index in range(census.MAX_PROBLEMS + 5)]
    _, unevaluated = census.group(many)
    assert len(unevaluated) == census.MAX_PROBLEMS + 1
    assert sum(entry.idle_jobs for entry in unevaluated) == len(many)


def test_the_view_adds_up_the_slots_of_each_shape():
    slots = [Slot("north", "cpu", 8, 2, 0, 0), Slot("north", "cpu", 8, 8, 0, 0), Slot("north", "gpu", 4, 0, 1, 0)]
    assert census.pool_view(slots, {"north"}) == {
        "north": {"cpu": ShapeView(2, 16, 6, 0, 0), "gpu": ShapeView(1, 4, 4, 1, 1)}
    }


def test_the_view_knows_the_oldest_and_the_newest_glidein(now):
    epoch = int(now.timestamp())
    slots = [Slot("north", "cpu", 1, 1, 0, 0, start=start) for start in (epoch + 5, None, epoch, epoch + 9)]
    seen = census.pool_view(slots, {"north"})["north"]["cpu"]
    assert (seen.glideins, seen.oldest_start, seen.newest_start) == (4, now, now + timedelta(seconds=9))


@pytest.mark.parametrize("start", [-(2**60), 2**60])
def test_an_absurd_start_does_not_stop_the_publisher(start):
    census.pool_view([Slot("north", "cpu", 1, 1, 0, 0, start=start)], {"north"})


def test_slots_of_strangers_and_of_nameless_shapes_are_not_repeated():
    slots = [Slot("not enrolled!", "cpu", 8, 2, 0, 0), Slot("north", "", 8, 2, 0, 0), Slot("north", "$x", 8, 2, 0, 0)]
    assert census.pool_view(slots, {"north"}) == {}


def test_a_slot_with_more_free_than_it_has_claims_nothing():
    assert census.pool_view([Slot("north", "cpu", 0, 4, 0, 0)], {"north"})["north"]["cpu"].cpus_claimed == 0


@given(
    st.lists(
        st.builds(
            Slot,
            site=st.sampled_from(["north", "south", "east"]),
            shape=st.sampled_from(["cpu", "gpu"]),
            cpus=st.integers(0, 9),
            cpus_free=st.integers(0, 9),
            gpus=st.integers(0, 2),
            gpus_free=st.integers(0, 2),
        )
    ),
    st.randoms(use_true_random=False),
)
@quick
def test_the_order_of_slots_changes_nothing(slots, random):
    sites = {"north", "south"}
    view = census.pool_view(slots, sites)
    assert census.pool_view(random.sample(slots, len(slots)), sites) == view
    assert sum(seen.glideins for shapes in view.values() for seen in shapes.values()) == sum(
        slot.site in sites for slot in slots
    )


def test_a_schedd_that_failed_is_shown_with_its_error_cut_short(make_row):
    answer = Answer((ScheddAnswer("ap1", (make_row(3),), None), ScheddAnswer("ap2", (), "x" * 999)), ())
    good, bad = census.schedd_views(answer)
    assert (good.idle_jobs, good.error, bad.idle_jobs, len(bad.error)) == (3, None, 0, 300)


def test_a_group_waits_since_its_oldest_job(make_row, now):
    ((group,), _) = census.group([make_row(idle_since=int(now.timestamp()))])
    assert now - group.group.idle_since == timedelta(0)


def test_rows_of_an_earlier_time_are_shown_with_it(make_row, now):
    (view,) = census.schedd_views(Answer((ScheddAnswer("ap1", (make_row(3),), "timed out", now),), ()))
    assert (view.idle_jobs, view.error, view.asked_at) == (3, "timed out", now)


def test_metrics_add_up_what_the_schedds_and_slots_say():
    slots = [Slot(site, "cpu", cpus, 0, 0, 0) for site, cpus in (("south", 4), ("north", 8), ("north", 2), ("", 64))]
    found = census.metrics([Counters(3, 30, 10), Counters(4, None, 5)], slots, running_inside=6)
    assert found == Metrics(6, 9, 7, 30, {"north": 10, "south": 4})


def test_metrics_of_strangers_are_not_repeated():
    counted = Metrics(1, 2, 3, 4, {"north": 8, "stranger": 9})
    assert census.of_sites(counted, {"north"}) == Metrics(1, 2, 3, 4, {"north": 8})
    assert census.of_sites(None, {"north"}) is None


def test_metrics_that_nobody_counts_are_unknown():
    assert census.metrics([Counters()], [], running_inside=0) == Metrics(0, None, None, None, {})


def test_more_running_inside_than_the_schedds_know_of_yet_leaves_none_outside():
    assert census.metrics([Counters(running=2)], [], running_inside=3).running_outside == 0


def test_metrics_of_any_daemon_fit_into_the_document(make_demand_anywhere):
    slots = [Slot(site, "", 2**60, 0, 0, 0) for site in ("north", "NOT a site", "x" * 99)] + [
        Slot("south", "", -5, 0, 0, 0)
    ]
    found = census.metrics([Counters(2**60, -(2**60), 2**60)] * 3, slots, running_inside=2**50)
    replace(make_demand_anywhere((), ()), metrics=found).to_json()
