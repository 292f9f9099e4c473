"""A site that lies in its heartbeat, before the publisher: it decides about itself, and about nobody else.

What it can do: draw shares that it does not serve, up to `max_share` of each group. What it cannot: bring an expression
into the matching, stop a run, change what another site gets beyond that, or speak for it.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glidepost.publisher import classads, cycle, offers, slot_ad
from glidepost.publisher.census import JobGroup, Slot
from glidepost.publisher.match import Matcher
from glidepost.publisher.shares import assign
from glidepost.schema.demand import Group
from glidepost.schema.document import MAX_DOCUMENT_BYTES, encode
from glidepost.schema.errors import UntrustedDocument
from glidepost.schema.heartbeat import Counts, Heartbeat, Limits, ShapeReport
from glidepost.schema.publisher_config import SiteRules
from glidepost.schema.resources import Request, Resources

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)
MOST = 10**9
HONEST = ShapeReport(
    "cpu", "slurm", Resources(8, 16384, 100_000, 86400), Limits(100, 50, 100, 10), Counts(), 0, 0, "satisfied", ""
)
# Each would mean something in a ClassAd if it were not a literal there.
EXPRESSIONS = (
    'x" || true || "',
    '"; Requirements = true; Start = true; x = "',
    "]; [ Requirements = true",
    "\\",
    '\\"',
    '\\\\"; Start = true; "',
    "x\nRequirements = true",
    "x\r\nStart = true",
    "TARGET.Owner",
    "$(Requirements)",
    "$$([eval(1)])",
    'eval("true")',
    "undefined",
    "{1, 2, error}",
    "/* */ // x",
    "\0",
    "\ud800",
    "\u202etrue",
    "é" * 100,
    '"' * 200,
    "\\" * 200,
    "(" * 200,
)


def job(asked: str = "true", number: int = 0, idle_jobs: int = 50) -> JobGroup:
    return JobGroup(
        Group(f"g{number:08x}", idle_jobs, NOW, 1, Request(1, 1000, 100), "sim"), f"[Requirements = {asked}]"
    )


def heartbeat(site: str, *shapes: ShapeReport, **changes) -> Heartbeat:
    return replace(Heartbeat(site, "i", "0.1.0", 1, NOW - timedelta(minutes=1), shapes), **changes)


def shared(jobs, heartbeats, slots=(), **rules) -> list[dict[str, int]]:
    """Returns what each group's sites get."""
    rules = {name: SiteRules(**rule) for name, rule in rules.items()}
    matcher = Matcher(rules)
    found = offers.read(heartbeats, slots, rules, NOW)
    groups, candidates = offers.match(jobs, found, lambda one, site, shape: matcher.verdict(one, site, shape).fits)
    return [group.sites for group in assign(groups, candidates)]


# ClassAds


@pytest.mark.parametrize("text", EXPRESSIONS)
@pytest.mark.parametrize("name", ["Arch", "OpSysAndVer", "GLIDEIN_Site", "GPUs_DeviceName", "GPUs_Capability"])
def test_an_expression_in_what_a_site_advertises_stays_text_or_is_ignored(name, text):
    shape = replace(HONEST, offers=replace(HONEST.offers, gpus=1), advertises={name: text})
    honest = classads.parse(slot_ad.offline("evil", replace(shape, advertises={}), "25.14.1"))
    hostile = classads.parse(slot_ad.offline("evil", shape, "25.14.1"))
    assert {key.lower() for key in hostile} - {key.lower() for key in honest} <= {name.lower()}
    for key in honest:
        if key not in (name, "AvailableGPUs"):
            assert str(hostile.lookup(key)) == str(honest.lookup(key))
    assert not Matcher().verdict(job("false"), "evil", shape).fits


@pytest.mark.parametrize("name", ["Start", "Requirements", "Rank", "START", "GLIDEIN_ToDie", "MyType", "Name", "State"])
def test_a_site_cannot_advertise_what_decides_a_match(name):
    shape = replace(HONEST, advertises={name: "true", "Cpus": 10**6})
    honest, hostile = (slot_ad.offline("evil", item, "25.14.1") for item in (HONEST, shape))
    assert hostile == honest


@pytest.mark.parametrize("text", EXPRESSIONS)
@pytest.mark.parametrize("list_", ["accept", "deny"])
def test_an_expression_among_the_accounting_groups_is_refused_and_would_be_text(list_, text):
    data = heartbeat("evil", HONEST).to_json()
    data["shapes"][0][list_] = [text]
    if text not in {"TARGET.Owner", "undefined"}:  # these could be names of groups
        with pytest.raises(UntrustedDocument):
            Heartbeat.from_json(data)
    shape = replace(HONEST, **{list_: (text,)})  # as if no schema had looked
    assert Matcher().verdict(job(), "evil", shape).fits == (
        list_ == "deny" and text not in {"\0", "\ud800"}  # these no ClassAd takes: then nothing fits
    )


@pytest.mark.parametrize("field", ["name", "backend", "reason"])
def test_a_line_break_behind_a_name_is_refused(field):
    data = heartbeat("evil", HONEST).to_json()
    data["shapes"][0][field] += "\n"
    with pytest.raises(UntrustedDocument, match=field):
        Heartbeat.from_json(data)


@settings(max_examples=100, deadline=None)
@given(
    said=st.dictionaries(
        st.sampled_from(["Arch", "OpSys", "OpSysAndVer", "GLIDEIN_Site", "GPUs_DeviceName", "GPUs_Capability"]),
        st.one_of(st.text(max_size=40), st.booleans(), st.integers(-MOST, MOST)),
    ),
    accept=st.lists(st.text(min_size=1, max_size=20), max_size=3),
)
def test_no_words_of_a_site_stop_the_matching_or_change_another_sites_verdict(said, accept):
    hostile = replace(HONEST, advertises=said, accept=tuple(accept), offers=replace(HONEST.offers, gpus=2))
    matcher = Matcher()
    matcher.verdict(job(), "evil", hostile)
    assert not matcher.verdict(job("false"), "evil", hostile).fits
    assert matcher.verdict(job(), "good", HONEST).fits
    assert not matcher.verdict(job('TARGET.GLIDEPOST_Site == "good"'), "evil", hostile).fits


def test_a_billion_gpus_cost_no_memory():
    shape = replace(HONEST, offers=replace(HONEST.offers, gpus=MOST), advertises={"GPUs_DeviceName": "x" * 200})
    assert len(slot_ad.offline("evil", shape, "25.14.1")) < 50_000


# Shares


def test_a_site_that_claims_everything_gets_no_more_than_its_share_of_each_group_and_others_the_rest():
    jobs = [job(number=number) for number in range(10)]
    claims = [
        replace(HONEST, name=f"s{number}", offers=Resources(100_000, MOST, MOST, MOST), limits=Limits(*[MOST] * 4))
        for number in range(200)
    ]
    room = replace(HONEST, limits=Limits(1000, 1000, 1000, 1000))
    heartbeats = {"evil": heartbeat("evil", *claims), "good": heartbeat("good", room)}
    bounded = shared(jobs, heartbeats, evil={"max_share": 20})
    assert all(0 < sites["evil"] <= 10 for sites in bounded)
    assert all(sites["good"] == 50 - sites["evil"] for sites in bounded)
    # Without that bound it may draw all of it: what it does not serve then waits until the admin sets one.
    assert sum(sites.get("evil", 0) for sites in shared(jobs, heartbeats)) > 400


def test_what_others_hold_in_their_queues_stays_theirs_whatever_a_site_claims():
    started = [Slot("good", "cpu", 8, 0, 0, 0, start=int(NOW.timestamp()) - 600 - number) for number in range(40)]
    holds = replace(HONEST, counts=Counts(idle=4), limits=Limits(100, 50, 100, 10))
    claims = replace(HONEST, offers=Resources(100_000, MOST, MOST, MOST), limits=Limits(*[MOST] * 4))
    found = shared([job()], {"evil": heartbeat("evil", claims), "good": heartbeat("good", holds)}, started)
    assert found[0]["good"] >= 4 * 8


def test_a_site_with_no_place_in_the_rules_gets_nothing_whatever_it_claims():
    claims = replace(HONEST, limits=Limits(*[MOST] * 4))
    found = shared([job()], {"evil": heartbeat("evil", claims)}, evil={"max_share": 0})
    assert found == [{}]


@pytest.mark.parametrize(
    "sent_at", [datetime(1970, 1, 1, tzinfo=timezone.utc), NOW + timedelta(hours=1), NOW + timedelta(days=36_500)]
)
def test_a_clock_that_lies_gets_nothing(sent_at):
    heartbeats = {"evil": heartbeat("evil", HONEST, sent_at=sent_at), "good": heartbeat("good", HONEST)}
    assert shared([job()], heartbeats) == [{"good": 50}]


def test_negative_and_huge_counts_are_refused_and_the_largest_do_no_harm():
    counts = replace(HONEST, counts=Counts(*[MOST] * 4), submitted=MOST, removed=MOST)
    assert shared([job()], {"evil": heartbeat("evil", counts), "good": heartbeat("good", HONEST)}) == [{"good": 50}]
    for number in (-1, MOST + 1, 10**30, 1.5, "1", True, None):
        data = heartbeat("evil", HONEST).to_json()
        data["shapes"][0]["submitted"] = number
        with pytest.raises(UntrustedDocument):
            Heartbeat.from_json(data)


# A whole run


HEARTBEATS = {
    "another site's": encode(heartbeat("south", HONEST).to_json()),
    "no JSON": b"\0" * 1000,
    "nothing": b"",
    "deep": b"[" * 60_000,
    "deep and whole": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "two sites": b'{"site": "north", "site": "evil", "kind": "heartbeat/1"}',
    "not a number": json.dumps({**heartbeat("evil", HONEST).to_json(), "sequence": float("nan")}).encode(),
    "too large": encode(heartbeat("evil", HONEST).to_json()) + b" " * 65536,
    "a million digits": b'{"sequence": ' + b"9" * 60_000 + b"}",
    "half a character": b'{"site": "\\ud800"}',
}


@pytest.fixture
def run(config, store, make_pool, make_row, now, site_key):
    """Runs a cycle with sites north, which is honest, and evil, whose heartbeat is this."""
    with open(config.demand.sites, "a", encoding="utf-8") as file:  # noqa: PTH123 - a text in the settings
        file.write(f'[evil]\npublic_key = "{site_key.public}"\n')

    def publish():
        body = encode(replace(heartbeat("north", HONEST), sent_at=now).to_json())
        store.put("v1/heartbeats/north.json", body, content_type="application/json", cache_seconds=0)
        return cycle.run(config, store, make_pool(make_row(10)), now=now)

    return publish


@pytest.mark.parametrize("body", HEARTBEATS.values(), ids=HEARTBEATS)
def test_a_heartbeat_that_is_none_costs_only_its_own_site_its_share(run, store, body):
    store.put("v1/heartbeats/evil.json", body, content_type="application/json", cache_seconds=0)
    published = run()
    assert published.demand.groups[0].sites == {"north": 10}
    assert published.failures == ()


def test_a_heartbeat_that_unpacks_to_a_bomb_costs_only_its_own_site_its_share(run, aws):
    bomb = gzip.compress(b" " * (MAX_DOCUMENT_BYTES + 1))
    assert len(bomb) < 65536
    aws.put_object(Bucket="glidepost", Key="v1/heartbeats/evil.json", Body=bomb, ContentEncoding="gzip")
    assert run().demand.groups[0].sites == {"north": 10}


def test_words_that_no_classad_takes_cost_only_their_own_site_its_share(run, store, now):
    shape = replace(HONEST, advertises={"OpSysAndVer": "\0", "Arch": 'x" || true || "'}, deny=("group",))
    body = encode(replace(heartbeat("evil", shape), sent_at=now).to_json())
    store.put("v1/heartbeats/evil.json", body, content_type="application/json", cache_seconds=0)
    assert run().demand.groups[0].sites["north"] > 0


def test_what_a_site_claims_to_have_seen_does_not_use_up_the_numbers_of_the_demand(run, store, now):
    liar = replace(heartbeat("evil", HONEST), sent_at=now, demand_sequence=2**53 - 1)
    store.put("v1/heartbeats/evil.json", encode(liar.to_json()), content_type="application/json", cache_seconds=0)
    assert run().demand.sequence < 10**9
