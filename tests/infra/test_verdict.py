from __future__ import annotations

from datetime import timedelta

import pytest

from glidepost.infra.aggregator.aggregate import aggregate
from glidepost.infra.aggregator.verdict import Glideins, notices, verdict
from glidepost.infra.aggregator.words import moment
from glidepost.schema.demand import ScheddView, ShapeView
from glidepost.schema.heartbeat import BreakerView, Counts


def judge(documents, demand, heartbeats, sites=()):
    found = verdict(aggregate(demand, heartbeats, sites, documents.now))
    return found.level, found.text


def test_without_demand_there_is_nothing_to_judge(documents):
    assert judge(documents, None, {}) == ("none", "No demand published yet")


def test_an_unreadable_demand_is_bad(documents):
    assert judge(documents, "not JSON", {})[0] == "bad"


def test_an_expired_demand_is_bad_even_when_sites_report(documents):
    demand = documents.demand(documents.group(), age_s=3600, life_s=1800)
    level, text = judge(documents, demand, {"north": documents.heartbeat("north")})
    assert (level, text) == ("bad", "Not served: the demand expired 30 min ago")


def test_nothing_waits_is_good_only_when_all_schedds_were_asked(documents):
    assert judge(documents, documents.demand(), {})[0] == "ok"
    assert judge(documents, documents.demand(complete=False), {})[0] == "warn"


def test_no_site_that_reports_is_bad(documents):
    demand = documents.demand(documents.group())
    assert judge(documents, demand, {"north": documents.heartbeat("north", age_s=9999)})[0] == "bad"


def test_sites_that_have_never_reported_are_not_yet_a_failure(documents):
    demand = documents.demand(documents.group())
    assert judge(documents, demand, {}) == ("warn", "Not served yet: no site has reported, 12 idle user jobs")


def test_user_jobs_that_no_site_can_run_are_counted(documents):
    demand = documents.demand(documents.group(), documents.group("g00000002", idle_jobs=3, cpus=99))
    heartbeats = {"north": documents.heartbeat("north")}
    assert judge(documents, demand, heartbeats) == ("warn", "Partly served: 3 of 15 idle user jobs fit no site")
    only = documents.demand(documents.group(idle_jobs=1, cpus=99))
    assert judge(documents, only, heartbeats) == ("bad", "Not served: 1 idle user job fits no site")


def test_sites_without_a_glidein_do_not_serve_yet(documents):
    demand = documents.demand(documents.group())
    empty = {"north": documents.heartbeat("north", documents.shape(counts=Counts()))}
    assert judge(documents, demand, empty)[0] == "warn"
    assert judge(documents, demand, {"north": documents.heartbeat("north")}) == (
        "ok",
        "Being served: 12 idle user jobs",
    )


def test_counts_of_silent_sites_and_of_unasked_queues_are_not_summed(documents):
    heartbeats = {
        "here": documents.heartbeat("here", documents.shape("a"), documents.shape("b", counts=None)),
        "gone": documents.heartbeat("gone", age_s=9999),
    }
    assert Glideins.of(aggregate(None, heartbeats, [], documents.now)) == Glideins(queued=2, running=5, held=0)


def test_notices_come_worst_first_and_name_who_is_ill_since_when(documents):
    heartbeats = {
        "a": documents.heartbeat("a", errors=("squeue failed",)),
        "b": documents.heartbeat("b", age_s=1500),
        "c": documents.heartbeat("c", age_s=7200),
        "d": "not JSON",
        "f": documents.heartbeat("f", documents.shape(counts=Counts(held=2))),
        "g": documents.heartbeat("g", documents.shape(counts=None)),
    }
    demand = documents.demand(documents.group(cpus=99), schedds=(ScheddView("ap2", 0, "timed out"),))
    found = notices(aggregate(demand, heartbeats, ["e"], documents.now))
    assert [notice.subject.split()[-1] for notice in found] == ["c", "d", "ap2", "g00000001", "a", "b", "f", "g", "e"]
    assert (found[0].text, found[0].who) == ("is silent", "The site's admin")
    assert found[0].since == moment(documents.now - timedelta(hours=2), documents.now)
    assert [notice.level for notice in found] == ["bad"] * 2 + ["warn"] * 6 + ["none"]


def test_a_group_that_only_a_silent_site_could_run_is_that_sites_notice(documents):
    heartbeats = {"tiny": documents.heartbeat("tiny")}
    heartbeats["gone"] = documents.heartbeat("gone", documents.shape(cpus=64), age_s=7200)
    status = aggregate(documents.demand(documents.group(cpus=32)), heartbeats, [], documents.now)
    assert [notice.subject for notice in notices(status)] == ["Site gone"]


def test_a_pool_in_order_has_no_notices(documents):
    demand = documents.demand(documents.group(sites={"north": 12}))
    assert notices(aggregate(demand, {"north": documents.heartbeat("north")}, ["north"], documents.now)) == []


def test_a_site_that_is_shut_out_is_no_notice_unless_its_glideins_are_in_the_pool(documents):
    def said(**changes):
        demand = documents.demand(revoked=("north",), **changes)
        return notices(aggregate(demand, {"north": documents.heartbeat("north", age_s=99999)}, [], documents.now))

    assert said() == []
    (notice,) = said(pool_view={"north": {"small": ShapeView(2, 8, 4, 0, 0), "large": ShapeView(1, 8, 4, 0, 0)}})
    assert (notice.level, notice.subject) == ("bad", "Site north")
    assert "3 glideins of it are in the pool" in notice.text
    assert "publisher revoke" in notice.action


def test_a_pool_whose_only_site_is_shut_out_is_not_served(documents):
    demand = documents.demand(documents.group(), revoked=("north",))
    assert judge(documents, demand, {"north": documents.heartbeat("north")})[0] == "warn"


def test_a_shape_that_is_paused_says_why_since_when_and_who_must_act(documents):
    since = documents.now - timedelta(hours=3)
    breaker = BreakerView("paused", "not-in-pool", "", 1, since)
    heartbeats = {"a": documents.heartbeat("a", documents.shape(breaker=breaker, paused=True))}
    found = notices(aggregate(documents.demand(), heartbeats, [], documents.now))
    assert [(notice.subject, notice.text, notice.action) for notice in found] == [
        ("Site a", "small is paused: its glideins run and the pool does not see them", "glidepost puller why")
    ]
    assert found[0].since.iso == "2026-11-22T06:14:05Z"


@pytest.mark.parametrize(
    ("skew_s", "words"), [(95, ["its clock is 1 min behind"]), (-3600, ["its clock is 1 h ahead"]), (5, [])]
)
def test_a_clock_that_is_wrong_is_for_the_sites_admin(documents, skew_s, words):
    status = aggregate(documents.demand(), {"a": documents.heartbeat("a", clock_skew_s=skew_s)}, [], documents.now)
    assert [notice.text for notice in notices(status)] == words
