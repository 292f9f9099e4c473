"""The pages in a real browser: nothing breaks the policy, the rules of accessibility, or the width of a phone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import made_up
import pytest
from browser import Files, Tab, find_chromium, open_browser, serve, tab
from documents import NOW
from playwright.sync_api import Browser, expect

from glidepost.infra.aggregator.page import GROUPS, INDEX, pages
from glidepost.infra.demo.testbed import Store, make_passable

POOLS = ("none", "three", "many", "hostile")
ILL = {"three": "site-001", "many": "site-004", "hostile": "north"}


@pytest.fixture(scope="module")
def browser(work: Path) -> Iterator[Browser]:
    with open_browser(find_chromium(work)) as found:
        yield found


@pytest.fixture(scope="module")
def files() -> Iterator[Files]:
    """A server with pools of 0, 3 and 200 sites, and a hostile one."""
    with serve() as found:
        for name, count in (("none", 0), ("three", 3), ("many", 200)):
            sites = made_up.names(count)
            wanted = [ILL[name]] if count else []
            found.put(name, pages(made_up.pool(count), made_up.histories(sites) if count else {}, only=wanted))
        found.put("hostile", pages(made_up.hostile(), made_up.histories(["north", made_up.EVIL])))
        yield found


@pytest.fixture(scope="module")
def screenshots(work: Path) -> Path:
    """Where pictures of the pages are kept, for people to look at."""
    return make_passable(work / "screenshots")


@pytest.fixture
def three(browser: Browser, files: Files) -> Iterator[Tab]:
    """The page of the pool of three sites, as it was when it was made."""
    with tab(browser) as found:
        found.open(f"{files.put('fresh', pages(made_up.pool(3), made_up.histories(made_up.names(3))))}/{INDEX}")
        yield found
        files.failure, files.now = 0, NOW


def keys(pool: str) -> list[str]:
    return [INDEX, GROUPS, *([f"sites/{ILL[pool]}.html"] if pool in ILL else [])]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1920])
@pytest.mark.parametrize("pool", POOLS)
def test_no_page_breaks_the_policy_a_rule_of_accessibility_or_the_width_of_the_screen(
    browser: Browser, files: Files, screenshots: Path, pool: str, width: int, scheme: str
) -> None:
    with tab(browser, width=width, scheme=scheme) as opened:
        for key in keys(pool):
            opened.open(f"{files.address}/{pool}/{key}")
            assert opened.axe() == [], key
            assert not opened.is_too_wide(), key
            name = key.replace("/", "-").removesuffix(".html")
            opened.page.screenshot(path=screenshots / f"{pool}-{width}-{scheme}-{name}.png", full_page=True)
        assert opened.complaints == []


@pytest.mark.parametrize(
    ("width", "seen"), [(360, [".verdict", ".numbers"]), (1280, ["#notices + .list li", "#waits + .list li"])]
)
def test_the_first_screen_answers_what_matters(browser: Browser, files: Files, width: int, seen: list[str]) -> None:
    with tab(browser, width=width) as opened:
        opened.open(f"{files.address}/many/{INDEX}")
        for selector in (".verdict", *seen):
            box = opened.page.locator(selector).first.bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= 800, selector


@pytest.mark.parametrize("width", [360, 1920])
@pytest.mark.parametrize("pool", POOLS)
def test_without_scripts_the_pages_are_whole(
    browser: Browser, files: Files, screenshots: Path, pool: str, width: int
) -> None:
    with tab(browser, width=width, has_script=False) as opened:
        for key in keys(pool):
            opened.open(f"{files.address}/{pool}/{key}")
            assert opened.page.locator("h1").is_visible()
            assert opened.page.locator("#late").is_hidden()
            name = key.replace("/", "-").removesuffix(".html")
            opened.page.screenshot(path=screenshots / f"{pool}-{width}-noscript-{name}.png")
        assert opened.complaints == []


def test_without_scripts_one_can_choose_what_time_the_figures_show(browser: Browser, files: Files) -> None:
    with tab(browser, has_script=False) as opened:
        opened.open(f"{files.address}/three/{INDEX}")
        day, year = (opened.page.locator(f".of-{span} .chart").first for span in ("day", "year"))
        assert (day.is_visible(), year.is_visible()) == (True, False)
        opened.page.get_by_text("52 weeks").first.click()
        assert (day.is_visible(), year.is_visible()) == (False, True)


def test_a_script_inside_a_page_does_not_run_and_is_noticed(browser: Browser, files: Files) -> None:
    body, kind = files.files[f"three/{INDEX}"]
    address = files.put("evil", {"index.html": (body.replace(b"</main>", b"<script>stolen = 1</script></main>"), kind)})
    with tab(browser) as opened:
        opened.page.goto(f"{address}/index.html")
        assert opened.page.evaluate("typeof stolen") == "undefined"
        assert any(complaint.startswith("policy broken: script-src") for complaint in opened.complaints)


def test_what_breaks_a_rule_of_accessibility_is_noticed(three: Tab) -> None:
    three.page.evaluate("document.documentElement.removeAttribute('lang')")
    assert [found.partition(":")[0] for found in three.axe()] == ["html-has-lang"]


def test_hostile_names_are_seen_as_they_are(browser: Browser, files: Files) -> None:
    with tab(browser) as opened:
        opened.open(f"{files.address}/hostile/sites/north.html")
        expect(opened.page.locator(".errors").first).to_contain_text("<script>alert(1)</script><img src=x")
        assert opened.page.locator("img, iframe, main script").count() == 0


def test_whoever_uses_the_keyboard_sees_where_they_are_and_reaches_everything(three: Tab) -> None:
    seen = []
    while len(seen) < 60:
        three.page.keyboard.press("Tab")
        where = three.page.evaluate(
            """() => { const at = document.activeElement; if (at === document.body) return null;
                const shown = at.matches("input") ? at.nextElementSibling : at;
                const style = getComputedStyle(shown);
                return [at.id || at.textContent, style.outlineStyle, parseFloat(style.outlineWidth)]; }"""
        )
        if where is None:
            break
        seen.append(where)
    assert [name for name, style, width in seen if style != "solid" or width < 2] == []
    names = [name for name, _, _ in seen]
    assert names[:3] == ["Overview", "What waits", "Sites"]
    assert {"span-day", "site-001", "Site site-001", "status.json"} <= set(names)
    three.page.locator("#span-day").focus()
    three.page.keyboard.press("ArrowRight")
    assert three.page.locator(".of-quarter .chart").first.is_visible()


def test_the_page_takes_what_is_new_without_loading_again(three: Tab, files: Files) -> None:
    page = three.page
    page.evaluate("window.kept = true")
    page.get_by_text("90 days").first.click()
    page.locator("nav a").nth(1).focus()
    later = replace(made_up.pool(2), generated_at=NOW + timedelta(minutes=1))
    files.put("fresh", pages(later, {}))
    assert page.locator(".sites tbody tr").count() == 4
    page.clock.run_for(61_000)
    expect(page.locator(".sites tbody tr")).to_have_count(3)
    assert page.evaluate("window.kept") is True
    assert page.evaluate("document.activeElement.textContent") == "What waits"
    assert page.locator("#span-quarter").is_checked()
    assert page.locator("#made time").get_attribute("datetime") == "2026-11-22T09:15:05Z"
    assert three.complaints == []


def test_a_new_version_of_the_page_is_loaded_whole(three: Tab, files: Files) -> None:
    three.page.evaluate("window.kept = true")
    body, kind = files.files["fresh/index.html"]
    asset = next(key for key in files.files if key.startswith("fresh/assets/") and key.endswith(".css"))
    files.files["fresh/assets/page.0000000000000000.css"] = files.files[asset]
    new = body.replace(asset.removeprefix("fresh/").encode(), b"assets/page.0000000000000000.css")
    files.files["fresh/index.html"] = (new, kind)
    three.page.clock.run_for(61_000)
    style = three.page.locator("link[rel=stylesheet]")
    expect(style).to_have_attribute("href", "assets/page.0000000000000000.css")
    assert three.page.evaluate("window.kept") is None


def test_ages_grow_by_the_servers_clock_and_a_page_that_stays_old_says_so(three: Tab, files: Files) -> None:
    age = three.page.locator("#site-site-000 .heard .age")
    expect(age).to_have_text("2 min ago")
    expect(three.page.locator("#late")).to_be_empty()
    three.page.clock.run_for(180_000)
    expect(age).to_have_text("2 min ago")
    files.now = NOW + timedelta(minutes=10)
    three.page.clock.run_for(61_000)
    expect(age).to_have_text("12 min ago")
    expect(three.page.locator("#late")).to_contain_text("This page is 10 min old. Whatever makes it has stopped")
    assert three.axe() == []


def test_a_server_that_fails_is_said_and_what_was_known_stays(three: Tab, files: Files) -> None:
    files.failure = 503
    three.page.clock.run_for(61_000)
    expect(three.page.locator("#late")).to_have_text("It could not be loaded again: the server said 503.")
    assert three.page.locator(".sites tbody tr").count() == 4
    files.failure = 0
    three.page.clock.run_for(61_000)
    expect(three.page.locator("#late")).to_be_empty()


def test_the_pages_work_from_a_real_store(browser: Browser, store: Store, screenshots: Path) -> None:
    client = store.client()
    for key, (body, kind) in pages(made_up.pool(3), made_up.histories(made_up.names(3))).items():
        client.put_object(Bucket=store.bucket, Key=key, Body=body, ContentType=kind)
    with tab(browser) as opened:
        opened.open(f"{store.public_url}/{INDEX}")
        assert opened.page.locator(".verdict").evaluate("(box) => getComputedStyle(box).display") == "flex"
        opened.page.screenshot(path=screenshots / "store.png", full_page=True)
        opened.page.locator(".sites a").first.click()
        expect(opened.page.locator("h1")).to_contain_text("Site site-001")
        opened.page.get_by_role("link", name="What waits").first.click()
        expect(opened.page.locator("h1")).to_contain_text("What waits")
        assert opened.complaints == []
