from __future__ import annotations

import base64
import hashlib
import re
from datetime import timedelta
from importlib import resources

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glidepost.infra.aggregator.aggregate import aggregate
from glidepost.infra.aggregator.page import render
from glidepost.infra.aggregator.view import MAX_GROUPS, MAX_SITES
from glidepost.schema.demand import Metrics, Other, Rules, ScheddView, ShapeView, Unevaluated
from glidepost.schema.heartbeat import Counts

EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}</style><!--"


def pool_of(documents, sites):
    names = [f"s{number}" for number in range(sites)]
    heartbeats = {name: documents.heartbeat(name, documents.shape("a"), documents.shape("b")) for name in names}
    view = {name: {"a": ShapeView(5, 20, 18, 0, 0), "b": ShapeView(1, 0, 0, 0, 0)} for name in names}
    groups = [documents.group(f"g{number:08x}", sites=dict.fromkeys(names, 3)) for number in range(20)]
    return aggregate(documents.demand(*groups, pool_view=view), heartbeats, names, documents.now)


@pytest.fixture
def hostile(documents):
    shape = documents.shape("n" * 64, counts=Counts(*[10**9] * 4), detail=EVIL * 4, reason="z" * 32)
    heartbeats = {
        "north": documents.heartbeat("north", shape, errors=(EVIL,), version=EVIL[:32], outcomes={"q" * 64: 10**9}),
        "south": EVIL,
        EVIL: documents.heartbeat("north"),
    }
    demand = documents.demand(
        documents.group(accounting_group=EVIL, sites={"x" * 32: 10**9}, cpus=100000),
        schedds=(ScheddView(EVIL, 1, EVIL),),
    )
    return aggregate(demand, heartbeats, [EVIL], documents.now)


def test_hostile_names_are_text_and_nothing_else(hostile, read_page):
    tree = read_page(render(hostile))
    assert not {"script", "img", "iframe", "form", "base"}.intersection(tag for tag, _ in tree.tags)
    assert not [name for _, attrs in tree.tags for name in attrs if name.startswith("on") or name == "style"]
    assert "<script>alert(1)</script>" in tree.text
    assert "49" not in tree.text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(text=st.text(min_size=1, max_size=120))
def test_any_text_leaves_the_page_well_formed(documents, read_page, text):
    demand = documents.demand(documents.group(accounting_group=text), schedds=(ScheddView(text, 1, text),))
    heartbeats = {"north": documents.heartbeat("north", documents.shape(detail=text), errors=(text,)), "south": text}
    tree = read_page(render(aggregate(demand, heartbeats, [text], documents.now)))
    assert "script" not in [tag for tag, _ in tree.tags]


@pytest.mark.parametrize("sites", [0, 2, 30])
def test_the_policy_allows_this_style_block_and_nothing_to_run(documents, read_page, sites):
    tree = read_page(render(pool_of(documents, sites)))
    policy = next(attrs["content"] for tag, attrs in tree.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(tree.style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "script-src" not in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("sites", [0, 2, 30, 320])
def test_ids_are_unique_and_every_reference_leads_somewhere(documents, read_page, sites):
    tree = read_page(render(pool_of(documents, sites)))
    ids = tree.attributes("id")
    assert len(ids) == len(set(ids))
    targets = [value[1:] for value in tree.attributes("href") if value.startswith("#")]
    assert set(targets + tree.attributes("aria-labelledby")) <= set(ids)


def test_tables_have_captions_headers_with_scope_and_one_main_heading(documents, read_page):
    tree = read_page(render(pool_of(documents, 2)))
    tags = [tag for tag, _ in tree.tags]
    assert (tags.count("table"), tags.count("caption"), tags.count("h1"), tags.count("main")) == (2, 2, 1, 1)
    assert all("scope" in attrs for tag, attrs in tree.tags if tag == "th")
    assert ("html", {"lang": "en"}) in tree.tags


def test_the_page_answers_what_waits_and_why(documents, read_page):
    demand = documents.demand(
        documents.group(sites={"north": 8, "south": 4}),
        documents.group("g00000002", idle_jobs=1, cpus=64, memory_mib=2**21),
    )
    heartbeats = {name: documents.heartbeat(name) for name in ("north", "south")}
    text = read_page(render(aggregate(demand, heartbeats, [], documents.now))).text
    assert "Partly served: 1 of 13 idle user jobs fits no site" in text
    assert "demand 918: 2 min old, good for 28 min" in text
    assert "north 8 south 4" in text
    assert (
        "No site can run this now: asks for 64 cpus of 4; asks for 2TiB of 8GiB memory north/small, south/small" in text
    )
    assert text.index("64 cpus, 2TiB memory") < text.index("1 cpu, 1GiB memory")


def test_the_page_answers_which_site_is_ill_and_since_when(documents, read_page):
    heartbeats = {
        "fine": documents.heartbeat("fine"),
        "gone": documents.heartbeat("gone", age_s=7500),
        "odd": documents.heartbeat(
            "odd", documents.shape(counts=None, reason="queue-unknown"), errors=("sinfo: no route",)
        ),
    }
    text = read_page(render(aggregate(documents.demand(), heartbeats, ["new"], documents.now))).text
    assert "Site gone silent: last heard 2 h 5 min ago, at 2026-11-22 07:09:05 UTC" in text
    assert "sinfo: no route" in text
    assert "the batch system could not be asked" in text
    assert "Site new has never reported" in text
    rows = text[text.rindex("Last cycle") :]
    assert rows.index("gone") < rows.index("fine")


def test_a_site_shows_counts_of_limits_and_the_pools_view_beside_them(documents, read_page):
    view = {"north": {"small": ShapeView(5, 20, 18, 2, 1), "old": ShapeView(1, 4, 4, 0, 0)}}
    heartbeats = {"north": documents.heartbeat("north", outcomes={"killed": 2, "idle-shutdown": 3})}
    text = read_page(render(aggregate(documents.demand(pool_view=view), heartbeats, [], documents.now))).text
    assert "slurm: 4 cpus, 8GiB, 2d; at most 20" in text
    assert "2 of 5 5 of 15 0 18 of 20 cpus, 1 of 2 gpus, 5 glideins" in text
    assert "old seen in the pool, not in the site's report" in text
    assert "glideins ended: 3 idle-shutdown, 2 killed" in text
    assert "22 of 24" in text


def test_the_page_says_what_the_demand_leaves_out(documents, read_page):
    asked_at = documents.now - timedelta(minutes=14)
    demand = documents.demand(
        documents.group(),
        other=Other(3, 1234),
        unevaluated=(Unevaluated(4, "RequestMemory", "MemoryUsage * 2", 2),),
        schedds=(ScheddView("ap1", 12), ScheddView("ap2", 30, "timed out", asked_at), ScheddView("ap3", 0, "gone")),
        complete=False,
    )
    text = read_page(render(aggregate(demand, {}, [], documents.now))).text
    assert "3 smaller groups with 1,234 idle user jobs: no room in the demand document" in text
    assert "4 idle user jobs of 2 owners left out of the demand: RequestMemory: MemoryUsage * 2" in text
    assert "ap2 could not be asked, 30 idle user jobs of 14 min ago are counted in their place: timed out" in text
    assert "ap3 could not be asked, its idle user jobs are not counted: gone" in text


def test_a_demand_that_has_no_room_for_any_group_does_not_look_like_an_empty_queue(documents, read_page):
    text = read_page(render(aggregate(documents.demand(other=Other(1, 9)), {}, [], documents.now))).text
    assert "1 smaller group with 9 idle user jobs" in text
    assert "No user job is idle. Submit one" not in text


def test_the_page_says_where_user_jobs_run_and_since_when_glideins_do(documents, read_page):
    start = documents.now - timedelta(hours=20), documents.now - timedelta(minutes=6)
    view = {"north": {"small": ShapeView(2, 8, 7, 0, 0, *start), "one": ShapeView(1, 4, 4, 0, 0, start[1], start[1])}}
    demand = documents.demand(pool_view=view, metrics=Metrics(running_inside=126, running_outside=1040))
    text = read_page(render(aggregate(demand, {}, [], documents.now))).text
    assert "126 user jobs in glideins, 1,040 elsewhere" in text
    assert "started 6 min to 20 h ago" in text
    assert "started 6 min ago" in text
    assert "elsewhere" not in read_page(render(aggregate(documents.demand(), {}, [], documents.now))).text


def test_a_shape_says_for_whom_it_is(documents, read_page):
    shape = documents.shape(accept=("a", "b", "c", "d"), deny=("group_x",), paused=True)
    heartbeats = {"north": documents.heartbeat("north", shape)}
    text = read_page(render(aggregate(documents.demand(), heartbeats, [], documents.now))).text
    assert "at most 20; only for a, b, c and 1 more; not for group_x; paused" in text


def test_empty_states_say_what_to_do(documents, read_page):
    nothing = read_page(render(aggregate(None, {}, [], documents.now, pool="demo"))).text
    assert "glidepost publisher run --config publisher.toml" in nothing
    assert "glidepost publisher enroll 'LINE' --config publisher.toml" in nothing
    idle = read_page(render(aggregate(documents.demand(), {}, ["new"], documents.now))).text
    assert "Nothing waits" in idle
    assert "No user job is idle" in idle


def test_what_does_not_fit_on_the_page_is_counted(documents, read_page):
    groups = [documents.group(f"g{number:08x}", idle_jobs=2) for number in range(MAX_GROUPS + 3)]
    sites = [f"s{number}" for number in range(MAX_SITES + 7)]
    text = read_page(render(aggregate(documents.demand(*groups), {}, sites, documents.now))).text
    assert "and 3 more groups with 6 idle user jobs" in text
    assert "and 7 more sites" in text


def test_a_page_of_50_sites_weighs_less_than_150_kb(documents):
    assert len(render(pool_of(documents, 50)).encode()) < 150_000


def luminance(colour):
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_text_colour_has_the_contrast_of_wcag_aa(scheme):
    style = resources.files("glidepost.infra.aggregator").joinpath("status.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", re.findall(r":root \{(.*?)\}", style, re.DOTALL)[scheme]))
    papers = [name for name in colours if name in {"page", "card"} or name.endswith("-tint")]
    for ink in ("text", "quiet", "link", "ok", "warn", "bad", "none"):
        for paper in papers:
            if paper.endswith("-tint") and ink not in {"text", paper[: -len("-tint")]}:
                continue
            light, dark = sorted((luminance(colours[ink]), luminance(colours[paper])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, paper)


def test_the_pools_rule_for_a_site_is_shown_beside_it(documents):
    demand = documents.demand(rules={"north": Rules(accept=("@icecube.wisc.edu",), deny=("group_test",))})
    text = render(aggregate(demand, {"north": documents.heartbeat("north")}, (), documents.now))
    assert "the pool&#39;s rule: only for @icecube.wisc.edu, not for group_test" in text


def test_a_site_that_is_shut_out_is_shown_as_such(documents):
    demand = documents.demand(revoked=("north",))
    heartbeats = {"north": documents.heartbeat("north", errors=("believe me",)), "south": documents.heartbeat("south")}
    text = render(aggregate(demand, heartbeats, (), documents.now))
    assert "shut out" in text
    assert "believe me" not in text
    assert "1 of 1" in text
