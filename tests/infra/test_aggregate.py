from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepost.infra.aggregator.aggregate import MAX_BLOCKED, MAX_TEXT, aggregate, clean
from glidepost.schema.demand import Metrics, Other, ScheddView, ShapeView, Unevaluated
from glidepost.schema.document import encode
from glidepost.schema.heartbeat import Heartbeat
from glidepost.schema.status import Status


def site_of(status, name="north"):
    return next(site for site in status.sites if site.site == name)


@pytest.mark.parametrize(
    ("age_s", "state"),
    [(0, "ok"), (1200, "ok"), (1201, "late"), (3600, "late"), (3601, "silent"), (86400 * 400, "silent")],
)
def test_a_site_becomes_late_after_20_minutes_and_silent_after_60(documents, age_s, state):
    status = aggregate(None, {"north": documents.heartbeat("north", age_s=age_s)}, [], documents.now)
    assert site_of(status).state == state


def test_an_enrolled_site_that_never_reported_is_listed(documents):
    status = aggregate(None, {}, ["north"], documents.now)
    assert (site_of(status).state, site_of(status).heartbeat_at) == ("never", None)


def test_sites_of_the_collector_and_of_shares_are_listed_too(documents):
    view = {"seen": {"small": ShapeView(1, 4, 4, 0, 0)}}
    demand = documents.demand(documents.group(sites={"shared": 3}), pool_view=view)
    status = aggregate(demand, {}, [], documents.now)
    assert [site.site for site in status.sites] == ["seen", "shared"]
    assert site_of(status, "seen").pool_view == view["seen"]


def test_a_heartbeat_under_another_sites_name_is_unreadable_and_shows_nothing_of_it(documents):
    heartbeats = {"north": documents.heartbeat("south"), "south": documents.heartbeat("south")}
    status = aggregate(None, heartbeats, [], documents.now)
    north = site_of(status)
    assert (north.state, north.shapes, north.version) == ("unreadable", (), None)
    assert "south" in north.errors[0]
    assert site_of(status, "south").state == "ok"


def test_a_heartbeat_that_could_not_be_read_keeps_its_error_and_leaves_the_others(documents):
    status = aggregate(None, {"bad": "not JSON", "good": documents.heartbeat("good")}, [], documents.now)
    assert site_of(status, "bad").errors == ("not JSON",)
    assert site_of(status, "bad").state == "unreadable"
    assert site_of(status, "good").state == "ok"


def test_when_the_token_of_a_site_ends_is_kept(documents):
    end = documents.now + timedelta(hours=41)
    heartbeats = {"north": documents.heartbeat("north", token_expires_at=end), "south": documents.heartbeat("south")}
    status = aggregate(None, heartbeats, [], documents.now)
    assert [site_of(status, name).token_expires_at for name in ("north", "south")] == [end, None]
    assert Status.from_json(status.to_json()) == status


def test_a_clock_some_minutes_ahead_is_forgiven(documents):
    status = aggregate(None, {"north": documents.heartbeat("north", age_s=-240)}, [], documents.now)
    assert site_of(status).state == "ok"


def test_a_heartbeat_from_the_future_never_counts_as_fresh(documents):
    status = aggregate(None, {"north": documents.heartbeat("north", age_s=-7200)}, [], documents.now)
    assert site_of(status).state == "unreadable"
    assert "clock" in site_of(status).errors[0]


def test_a_name_that_no_site_can_have_becomes_an_error_of_the_pool(documents):
    status = aggregate(None, {"../x": documents.heartbeat("north")}, ["UPPER", "fine"], documents.now)
    assert [site.site for site in status.sites] == ["fine"]
    assert len(status.errors) == 2


def test_a_group_says_per_shape_why_it_cannot_run_and_counts_those_that_can(documents):
    demand = documents.demand(documents.group(cpus=8, sites={"north": 12}))
    heartbeats = {"north": documents.heartbeat("north", documents.shape("small"), documents.shape("large", cpus=16))}
    (group,) = aggregate(demand, heartbeats, [], documents.now).groups
    assert group.blocked == {"north/small": "asks for 8 cpus of 4"}
    assert group.matching_shapes == 1


def test_a_user_job_that_runs_longer_than_the_walltime_is_blocked(documents):
    demand = documents.demand(documents.group(max_runtime_s=172801))
    (group,) = aggregate(demand, {"north": documents.heartbeat("north")}, [], documents.now).groups
    assert "may run" in group.blocked["north/small"]


def test_a_silent_site_blocks_what_it_could_run(documents):
    demand = documents.demand(documents.group())
    (group,) = aggregate(demand, {"north": documents.heartbeat("north", age_s=7200)}, [], documents.now).groups
    assert group.matching_shapes == 0
    assert "silent" in group.blocked["north/small"]


def test_reasons_are_bounded_and_matching_shapes_are_still_counted(documents):
    heartbeats = {f"s{n}": documents.heartbeat(f"s{n}", documents.shape(cpus=1 + n % 2)) for n in range(400)}
    (group,) = aggregate(documents.demand(documents.group(cpus=2)), heartbeats, [], documents.now).groups
    assert len(group.blocked) == MAX_BLOCKED
    assert group.matching_shapes == 200


def test_user_jobs_that_could_not_be_evaluated_are_named(documents):
    demand = documents.demand(unevaluated=(Unevaluated(4, "RequestMemory", "undefined", owner_count=2),))
    (error,) = aggregate(demand, {}, [], documents.now).errors
    assert error == "4 idle user jobs of 2 owners left out of the demand: RequestMemory: undefined"


def test_an_unreadable_demand_is_an_error_and_not_an_empty_pool(documents):
    status = aggregate("v1/demand.json: not JSON", {}, [], documents.now, pool="demo")
    assert (status.demand, status.pool) == (None, "demo")
    assert status.errors == ("v1/demand.json: not JSON",)


def test_a_status_with_everything_follows_its_schema_and_comes_back_the_same(documents):
    demand = documents.demand(
        documents.group(sites={"north": 3}, accounting_group="group_sim"),
        pool_view={"north": {"small": ShapeView(1, 4, 4, 0, 0)}},
        sequence=2**53 - 1,
    )
    heartbeats = {
        "north": documents.heartbeat("north", errors=("one",), outcomes={"killed": 1}),
        "south": documents.heartbeat("south", documents.shape(counts=None)),
        "west": "broken",
    }
    status = aggregate(demand, heartbeats, ["east"], documents.now + timedelta(microseconds=7))
    assert Status.from_json(json.loads(encode(status.to_json()))) == status


def test_the_same_input_in_another_order_gives_the_same_status(documents):
    heartbeats = {name: documents.heartbeat(name) for name in ("b", "a", "c")}
    demand = documents.demand(documents.group(cpus=9))
    backwards = dict(reversed(heartbeats.items()))
    assert aggregate(demand, heartbeats, ["d", "e"], documents.now) == aggregate(
        demand, backwards, ["e", "d"], documents.now
    )


@given(st.text(alphabet=st.characters(), max_size=3000))
def test_cleaned_text_is_one_short_line_that_can_be_written(text):
    cleaned = clean(text)
    assert len(cleaned) <= MAX_TEXT
    assert len(cleaned.splitlines()) <= 1
    assert cleaned.encode().decode() == cleaned
    assert clean(cleaned) == cleaned


def test_a_direction_override_cannot_turn_the_line_around():
    assert clean("a\u202eexe.txt\x1b[31m\ud800") == "a exe.txt [31m"


@given(errors=st.lists(st.text(max_size=500), max_size=50), detail=st.text(max_size=500), version=st.text(max_size=32))
def test_no_text_of_a_site_breaks_the_status(errors, detail, version):
    heartbeat = {
        "kind": "heartbeat/1",
        "site": "north",
        "instance_id": "i",
        "version": version,
        "sequence": 1,
        "sent_at": "2126-11-22T09:00:00Z",
        "errors": errors,
        "shapes": [],
    }
    shape = {
        "name": "s",
        "backend": "b",
        "submitted": 0,
        "removed": 0,
        "reason": "covered",
        "detail": detail,
        "offers": {"cpus": 1, "memory_mib": 0, "disk_mib": 0, "walltime_s": 0},
        "counts": None,
        "limits": dict.fromkeys(("max_total", "max_queued", "max_running", "max_per_cycle"), 10**9),
    }
    site = Heartbeat.from_json({**heartbeat, "shapes": [shape]})
    status = aggregate(None, {"north": site}, [], site.sent_at - timedelta(days=30000))
    assert encode(status.to_json())


def test_lone_surrogates_of_a_site_do_not_break_the_status(documents):
    site = documents.heartbeat("north", documents.shape(detail="\ud800"), version="\udfff", errors=("\ud83d",))
    assert encode(aggregate(None, {"north": site}, [], documents.now).to_json())


def test_a_shape_that_the_pool_does_not_name_is_blocked_though_it_has_enough(documents):
    group = documents.group(shapes={"north": ("small",), "south": ()})
    heartbeats = {
        "north": documents.heartbeat("north", documents.shape("small"), documents.shape("other")),
        "south": documents.heartbeat("south"),
        "west": documents.heartbeat("west"),
    }
    (found,) = aggregate(documents.demand(group), heartbeats, [], documents.now).groups
    assert set(found.blocked) == {"north/other", "south/small"}
    assert found.blocked["south/small"] == "does not match; clause by clause: glidepost publisher why g00000001"
    assert found.matching_shapes == 2


def test_what_the_demand_leaves_out_and_what_runs_is_in_the_status(documents):
    demand = documents.demand(other=Other(3, 40), metrics=Metrics(7, 5, 100, 2000, {"north": 12}))
    status = aggregate(demand, {}, [], documents.now)
    assert (status.demand.other, status.demand.metrics) == (demand.other, demand.metrics)
    assert Status.from_json(json.loads(encode(status.to_json()))) == status


def test_a_schedd_whose_groups_are_old_keeps_their_time(documents):
    asked_at = documents.now - timedelta(minutes=14)
    demand = documents.demand(schedds=(ScheddView("ap2\n", 30, "timed\nout", asked_at),), complete=False)
    assert aggregate(demand, {}, [], documents.now).demand.schedds == (ScheddView("ap2", 30, "timed out", asked_at),)


def test_what_a_site_says_of_its_shapes_is_cleaned(documents):
    shape = documents.shape(advertises={"OpSys": "a\u202eb", "Count": 3}, accept=("x\ny",), deny=("\u202e",))
    (site,) = aggregate(None, {"north": documents.heartbeat("north", shape)}, [], documents.now).sites
    assert site.shapes[0].advertises == {"OpSys": "a b", "Count": 3}
    assert (site.shapes[0].accept, site.shapes[0].deny) == (("x y",), ("?",))


def test_of_a_site_that_is_shut_out_nothing_is_read(documents):
    view = {"north": {"small": ShapeView(2, 8, 4, 0, 0)}}
    demand = documents.demand(documents.group(), revoked=("north", "gone"), pool_view=view)
    heartbeats = {"north": documents.heartbeat("north", errors=("<b>believe me</b>",)), "gone": "not JSON"}
    status = aggregate(demand, heartbeats, [], documents.now)
    north = site_of(status)
    assert (north.state, north.shapes, north.errors, north.heartbeat_at) == ("revoked", (), (), None)
    assert north.pool_view == view["north"]
    assert site_of(status, "gone").state == "revoked"
    assert status.groups[0].matching_shapes == 0
    assert Status.from_json(status.to_json()) == status
