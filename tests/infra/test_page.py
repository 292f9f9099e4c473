from __future__ import annotations

import re
from datetime import timedelta
from importlib import resources

import made_up
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glidepost.infra.aggregator.aggregate import aggregate
from glidepost.infra.aggregator.overview import MAX_SITES
from glidepost.infra.aggregator.page import GROUPS, INDEX, MAX_GROUPS, POLICY, pages
from glidepost.infra.aggregator.site_view import site_page
from glidepost.schema.demand import Other, ScheddView

ALLOWED_LINKS = re.compile(
    r"(\.\./)?(v1/(status\.json|demand\.json|metrics\.txt|history/(pool|sites)-(5min|1h|1d)\.csv)|feed\.xml|index\.html(#sites)?|groups\.html(#group-g[0-9a-f]{8})?"
    r"|sites/[a-z0-9-]+\.html|assets/page\.[0-9a-f]{16}\.css)|#[im]-?[a-z0-5]+|data:image/svg\+xml,%3Csvg .*"
)


@pytest.fixture(scope="module")
def hostile():
    return pages(made_up.hostile(), made_up.histories(["north", made_up.EVIL[:40]]))


def html(files):
    return {key: body.decode() for key, (body, kind) in files.items() if kind.startswith("text/html")}


def test_there_is_one_page_for_the_pool_one_for_groups_and_one_for_each_site():
    files = pages(made_up.pool(3), {})
    assert [key for key in files if not key.startswith("assets/")] == [
        INDEX,
        GROUPS,
        *(f"sites/{name}.html" for name in ("new-site", *made_up.names(3))),
    ]
    kinds = [kind for _, kind in files.values()]
    assert kinds[:2] == ["text/css; charset=utf-8", "text/javascript; charset=utf-8"]
    assert set(kinds[2:]) == {"text/html; charset=utf-8"}


def test_only_the_wanted_sites_get_pages_and_links_stay():
    some = pages(made_up.pool(3), {}, only=["site-001"])
    assert [key for key in some if key.startswith("sites/")] == ["sites/site-001.html"]
    assert some[INDEX] == pages(made_up.pool(3), {})[INDEX]


def test_style_and_script_are_files_whose_names_change_with_them(read_page):
    files = pages(made_up.pool(1), {})
    assets = [key for key in files if key.startswith("assets/")]
    for key, text in html(files).items():
        root = "../" if key.startswith("sites/") else ""
        tree = read_page(text)
        linked = [attrs["href"] for tag, attrs in tree.tags if tag == "link" and attrs["rel"] == "stylesheet"]
        assert [*linked, *tree.attributes("src")] == [root + asset for asset in assets]


@pytest.mark.parametrize("count", [0, 3, 30])
def test_the_policy_names_no_foreign_place_and_nothing_inline(read_page, count):
    for text in html(pages(made_up.pool(count), made_up.histories(made_up.names(count)))).values():
        tree = read_page(text)
        policies = [attrs["content"] for _, attrs in tree.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
        assert policies == [POLICY]
        assert not {"style", "iframe", "form", "base", "img"}.intersection(tag for tag, _ in tree.tags)
        assert not [name for _, attrs in tree.tags for name in attrs if name == "style" or name.startswith("on")]
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none'; ")


def test_hostile_names_are_text_and_nothing_else(hostile, read_page):
    for key, text in html(hostile).items():
        tree = read_page(text)
        assert [tag for tag, _ in tree.tags].count("script") == 1, key
        assert not {"img", "iframe", "form", "base", "style"}.intersection(tag for tag, _ in tree.tags)
        assert not [name for _, attrs in tree.tags for name in attrs if name.startswith("on") or name == "style"]
        assert "62773913" not in tree.text
        assert "\u202e" not in text, "a site could turn the rest of the line round"
    assert "<script>alert(1)</script>" in read_page(html(hostile)["sites/north.html"]).text


def test_hostile_names_make_no_keys_and_no_links(hostile, read_page):
    assert {key for key in hostile if key.startswith("sites/")} == {
        "sites/north.html",
        "sites/south.html",
        f"sites/{'x' * 32}.html",
    }
    for text in html(hostile).values():
        assert [link for link in read_page(text).attributes("href") if not ALLOWED_LINKS.fullmatch(link)] == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
@given(text=st.text(min_size=1, max_size=120))
def test_any_text_leaves_the_pages_well_formed(documents, read_page, text):
    demand = documents.demand(documents.group(accounting_group=text), schedds=(ScheddView(text, 1, text),))
    shape = documents.shape(detail=text, accept=(text,))
    heartbeats = {"north": documents.heartbeat("north", shape, errors=(text,), outcomes={text: 1}), "south": text}
    files = pages(aggregate(demand, heartbeats, [text], documents.now), made_up.histories([text], part=0.01))
    for page in html(files).values():
        assert [tag for tag, _ in read_page(page).tags].count("script") == 1


@pytest.mark.parametrize("count", [0, 3, 30, 310])
def test_ids_are_unique_and_every_reference_leads_somewhere(read_page, count):
    trees = {key: read_page(text) for key, text in html(pages(made_up.pool(count), made_up.histories([]))).items()}
    for key, tree in trees.items():
        ids = tree.attributes("id")
        assert len(ids) == len(set(ids)), key
        for name in ("aria-labelledby", "for"):
            assert set(tree.attributes(name)) <= set(ids)
        for link in tree.attributes("href"):
            target, _, anchor = link.removeprefix("../").partition("#")
            if anchor:
                assert anchor in trees[target or key].attributes("id"), (key, link)
            elif target.endswith(".html"):
                assert target in trees, (key, link)


def test_tables_have_captions_headers_with_scope_and_pages_one_main_heading(read_page):
    for key, text in html(pages(made_up.pool(3), {})).items():
        tree = read_page(text)
        tags = [tag for tag, _ in tree.tags]
        assert (tags.count("h1"), tags.count("main")) == (1, 1), key
        assert tags.count("table") == tags.count("caption") == (0 if key.startswith("sites/") else 1)
        assert all("scope" in attrs for tag, attrs in tree.tags if tag == "th")
        assert ("html", {"lang": "en"}) in tree.tags


def test_without_scripts_the_page_loads_itself_again_and_shows_all(read_page):
    text = html(pages(made_up.pool(3), {}))[INDEX]
    assert '<noscript><meta http-equiv="refresh" content="60"></noscript>' in text
    assert "hidden" not in dict(item for _, attrs in read_page(text).tags for item in attrs.items())


def test_the_page_answers_what_waits_and_why(documents, read_page):
    demand = documents.demand(
        documents.group(sites={"north": 8, "south": 4}),
        documents.group("g00000002", idle_jobs=1, cpus=64, memory_mib=2**21),
    )
    heartbeats = {name: documents.heartbeat(name) for name in ("north", "south")}
    files = html(pages(aggregate(demand, heartbeats, [], documents.now), {}))
    text = read_page(files[INDEX]).text
    assert "Partly served: 1 of 13 idle user jobs fits no site" in text
    assert "demand 918: 2 min old, good for 28 min" in text
    assert "shares: north 8 , south 4" in text
    assert "No site can run this now : asks for 64 cpus of 4; asks for 2TiB of 8GiB memory" in text
    groups = read_page(files[GROUPS]).text
    assert "north 8 , south 4 can run on north/small, south/small every shape can" in groups
    assert groups.index("64 cpus, 2TiB memory") < groups.index("1 cpu, 1GiB memory")
    assert "share of this site: 8" in read_page(files["sites/north.html"]).text
    assert "not here: asks for 64 cpus of 4; asks for 2TiB of 8GiB memory" in read_page(files["sites/north.html"]).text


def test_the_page_answers_which_site_is_ill_since_when_and_who_must_act(documents, read_page):
    heartbeats = {
        "fine": documents.heartbeat("fine"),
        "gone": documents.heartbeat("gone", age_s=7500),
        "odd": documents.heartbeat("odd", documents.shape(counts=None), errors=("sinfo: no route",)),
    }
    files = html(pages(aggregate(documents.demand(), heartbeats, ["new"], documents.now), {}))
    text = read_page(files[INDEX]).text
    assert "Site gone is silent The site's admin : is glidepost puller run still in cron?" in text
    assert "since 2026-11-22 07:09:05 UTC ( 2 h 5 min ago )" in text
    assert "sinfo: no route" in text
    assert "Site new has never reported" in text
    rows = text[text.rindex("Last cycle") :]
    assert rows.index("gone") < rows.index("odd") < rows.index("fine")
    assert "odd reports trouble ? ? ?" in rows
    assert "What follows is of 2026-11-22 07:09:05 UTC" in read_page(files["sites/gone.html"]).text


def test_a_sites_page_shows_its_view_beside_the_pools(read_page):
    text = read_page(html(pages(made_up.pool(7), {}))["sites/site-005.html"]).text
    assert (
        "The site says Queued 1 of 5 Running 4 of 15 Held 3 The pool sees 10 glideins started 6 min to 20 h ago" in text
    )
    assert "33 of 40 cpus busy" in text
    assert "the pool sees 6 glideins more than run in the batch system" in text
    assert "2 glideins not listed any more" in text
    assert "Last cycle: queued glideins are held by the batch system" in text
    assert "12 idle-shutdown ran user jobs until there were none" in text


def test_a_sites_page_shows_its_breaker_its_clock_and_its_version(read_page):
    files = html(pages(made_up.pool(7), {}))
    text = read_page(files["sites/site-004.html"]).text
    assert "Paused (pause 2 in a row), for its glideins end so: did not get into the pool: wn-12: connection" in text
    assert "since 2026-11-22 07:14:05 UTC ( 2 h ago ), until 2026-11-22 09:49:05 UTC ( in 35 min )" in text
    assert "Glidepost 0.1.0 Clock right beside the store's Demand acted on 918 1 min old when it was read" in text
    assert "Clock 1 min behind" in read_page(files["sites/site-002.html"]).text


@pytest.mark.parametrize(
    ("left", "value", "level"),
    [
        (timedelta(hours=41), "good for 41 h", ""),
        (timedelta(hours=6), "good for 6 h", ""),
        (timedelta(hours=6, seconds=-1), "good for 5 h 59 min", "warn"),
        (timedelta(0), "expired", "warn"),
        (timedelta(days=-400), "expired", "warn"),
    ],
)
def test_a_sites_page_says_how_long_its_pool_token_is_good(documents, read_page, left, value, level):
    heartbeat = documents.heartbeat("north", token_expires_at=documents.now + left)
    status = aggregate(None, {"north": heartbeat}, [], documents.now)
    (fact,) = (fact for fact in site_page(status.sites[0], status).facts if fact.name == "Pool token")
    assert (fact.value, fact.level) == (value, level)
    assert f"Pool token {value}" in read_page(html(pages(status, {}))["sites/north.html"]).text


def test_a_site_that_does_not_say_when_its_token_ends_is_not_asked(documents):
    status = aggregate(None, {"north": documents.heartbeat("north")}, [], documents.now)
    assert "Pool token" not in {fact.name for fact in site_page(status.sites[0], status).facts}


def test_the_figures_are_said_in_words_too(read_page):
    tree = read_page(html(pages(made_up.pool(3), made_up.histories(made_up.names(3))))[INDEX])
    labels = [attrs["aria-label"] for tag, attrs in tree.tags if tag == "svg" and attrs.get("role") == "img"]
    assert len(labels) == 12
    assert re.fullmatch(
        r"What glideins have run, 24 hours\. [\d,]+\sh in 24 hours\.( site-00\d: [\d,]+\sh, \d+\s%\.){3}", labels[0]
    )


def test_the_page_says_what_the_demand_leaves_out(documents, read_page):
    asked_at = documents.now - timedelta(minutes=14)
    schedds = (ScheddView("ap1", 12), ScheddView("ap2", 30, "timed out", asked_at), ScheddView("ap3", 0, "gone"))
    demand = documents.demand(documents.group(), other=Other(3, 1234), schedds=schedds, complete=False)
    text = read_page(html(pages(aggregate(demand, {}, [], documents.now), {}))[INDEX]).text
    assert "3 smaller groups with 1,234 idle user jobs: no room in the demand document" in text
    assert "ap2 could not be asked, 30 idle user jobs of 14 min ago are counted in their place: timed out" in text
    assert "ap3 could not be asked, its idle user jobs are not counted: gone" in text


def test_empty_states_say_what_to_do(documents, read_page):
    nothing = read_page(html(pages(aggregate(None, {}, [], documents.now, pool="demo"), {}))[INDEX]).text
    assert "glidepost publisher run --config publisher.toml" in nothing
    assert "glidepost publisher enroll 'LINE' --config publisher.toml" in nothing
    files = html(pages(aggregate(documents.demand(), {}, ["new"], documents.now), {}))
    assert "Nothing waits" in read_page(files[INDEX]).text
    assert "No user job is idle" in read_page(files[GROUPS]).text
    assert "put glidepost puller run --config puller.toml into cron" in read_page(files["sites/new.html"]).text


def test_what_does_not_fit_on_the_page_is_counted(documents, read_page):
    groups = [documents.group(f"g{number:08x}", idle_jobs=2) for number in range(MAX_GROUPS + 3)]
    sites = [f"s{number}" for number in range(MAX_SITES + 7)]
    files = html(pages(aggregate(documents.demand(*groups), {}, sites, documents.now), {}))
    assert "and 3 more groups with 6 idle user jobs" in read_page(files[GROUPS]).text
    assert "and 7 more sites" in read_page(files[INDEX]).text
    assert sum(key.startswith("sites/") for key in files) == MAX_SITES


def test_a_page_of_50_sites_weighs_less_than_150_kb_with_its_style_and_script():
    files = pages(made_up.pool(50), made_up.histories(made_up.names(50)))
    assert sum(len(body) for key, (body, _) in files.items() if key == INDEX or key.startswith("assets/")) < 150_000
    assert max(len(body) for key, (body, _) in files.items() if key.startswith("sites/")) < 60_000


def test_the_same_status_gives_the_same_pages():
    rings = made_up.histories(made_up.names(3))
    assert pages(made_up.pool(3), rings) == pages(made_up.pool(3), rings)


def luminance(colour):
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_colour_has_the_contrast_of_wcag_aa(scheme):
    style = resources.files("glidepost.infra.aggregator").joinpath("page.css").read_text(encoding="utf-8")
    colours = dict(
        re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", re.findall(r":root \{(.*?)\}", style, re.DOTALL)[scheme])
    )
    papers = [name for name in colours if name in {"page", "card"} or name.endswith("-tint")]
    for ink in ("text", "quiet", "link", "ok", "warn", "bad", "none"):
        for paper in papers:
            if paper.endswith("-tint") and ink not in {"text", paper[: -len("-tint")]}:
                continue
            assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)
    for line in ("l0", "l1", "l2", "l3", "l4", "l5"):
        assert contrast(colours[line], colours["card"]) >= 3, line


def test_a_site_that_is_shut_out_is_shown_as_such_and_not_believed(documents):
    demand = documents.demand(revoked=("north",))
    heartbeats = {"north": documents.heartbeat("north", errors=("believe me",)), "south": documents.heartbeat("south")}
    made = pages(aggregate(demand, heartbeats, (), documents.now), {})
    texts = {key: body.decode() for key, (body, _) in made.items()}
    assert "shut out" in texts["index.html"]
    assert "1 of 1" in texts["index.html"]
    assert "shut out" in texts["sites/north.html"]
    assert not any("believe me" in text for text in texts.values())
