"""A site that lies in its heartbeat, before the aggregator: what it writes is shown as its own, as text.

All that the aggregator writes for people and programs is looked at: pages, status, metrics, tables, feed and badges.
"""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections import Counter
from dataclasses import asdict, replace
from datetime import datetime, timedelta, timezone
from xml.etree import ElementTree as ET

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from glidepost.infra.aggregator.aggregate import MAX_TEXT
from glidepost.infra.aggregator.run import aggregate_once
from glidepost.schema.document import encode
from glidepost.schema.errors import UntrustedDocument
from glidepost.schema.heartbeat import BreakerView, Counts, Heartbeat
from glidepost.schema.status import Status
from glidepost.schema.store_keys import MAX_HEARTBEAT_BYTES

MOST = 10**9
INJECTIONS = {
    "element": "<script>alert(1)</script>",
    "attribute": "\" onmouseover=alert(1) x='",
    "link": "<a href=https://evil.example.org>click</a>",
    "address": "javascript:alert(1)",
    "end of a table": "</td></tr></table></main></body><form action=//evil>",
    "comment": "<!-- --> <![CDATA[ ]]> <?php ?>",
    "style": "</style><style>*{display:none}</style>",
    "template": "{{ 7*7 }}{% for x in y %}{# #}",
    "entity": "&lt;b&gt; &#60;b&#62; &amp",
    "formula": '=HYPERLINK("http://evil","x"),@SUM(1),+1,-1\t|cmd',
    "label": 'x"} 1\nglidepost_up{site="north"} 0\n# HELP',
    "lines": "a\nb\r\nc\u2028d\u2029e\x0bf\x85g",
    "direction": "\u202eevil\u2066\u200f",
    "half a character": "\ud800x",
    "NUL": "a\0b",
}
# Half a character is no text: it makes the whole heartbeat unreadable.
TEXTS = {name: text for name, text in INJECTIONS.items() if name != "half a character"}
PATTERNED = ("name", "backend", "reason")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what spreadsheets take for the begin of one
ATOM = "{http://www.w3.org/2005/Atom}"


def breaker(**changes) -> BreakerView:
    now = datetime(2026, 11, 22, 9, tzinfo=timezone.utc)
    return replace(BreakerView("paused", "never-joined", "", 1, now), **changes)


@pytest.fixture
def render_with(documents, store):
    """Renders all files of a site evil with this text in all fields that take any, beside an honest one."""

    def run(text: str) -> tuple[Status, dict[str, bytes]]:
        here = type(store)()
        shape = documents.shape(
            detail=text,
            advertises=dict.fromkeys(("Arch", "OpSysAndVer", "GLIDEIN_Site", "Whatever"), text[:200]),
            breaker=breaker(detail=text),
        )
        evil = documents.heartbeat("evil", shape, errors=(text, text), version=text[:32], instance_id=text[:64])
        # (not by to_json, which would not write half a character)
        body = json.dumps({"kind": "heartbeat/1", **asdict(evil)}, default=lambda time: f"{time:%Y-%m-%dT%H:%M:%SZ}")
        here.put("v1/heartbeats/evil.json", body.encode(), **WRITTEN)
        here.put("v1/heartbeats/north.json", encode(documents.heartbeat("north").to_json()), **WRITTEN)
        here.put("v1/demand.json", encode(documents.demand(documents.group(sites={"north": 12})).to_json()), **WRITTEN)
        status = aggregate_once(here, documents.now)
        for minutes in (5, 10):  # so that there is a history
            aggregate_once(here, documents.now + timedelta(minutes=minutes))
        return status, here.objects

    return run


def read_pages(objects, read_page):
    """Returns all pages that were written, read strictly, by their keys."""
    return {key: read_page(body.decode()) for key, body in objects.items() if key.endswith(".html")}


WRITTEN = {"content_type": "application/json", "cache_seconds": 0}


def outline(tree) -> Counter:
    """Counts the elements by name, attributes' names, and where they lead."""
    return Counter(
        (tag, tuple(sorted(attrs)), attrs.get("href"), attrs.get("id"), attrs.get("class")) for tag, attrs in tree.tags
    )


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_no_text_of_a_site_makes_an_element_an_attribute_or_a_link_and_all_of_it_is_shown(render_with, read_page, text):
    plain = read_pages(render_with("plain words")[1], read_page)
    status, files = render_with(text)
    trees = read_pages(files, read_page)
    assert set(trees) == set(plain) == {"index.html", "groups.html", "sites/evil.html", "sites/north.html"}
    assert {key: outline(tree) for key, tree in trees.items()} == {key: outline(tree) for key, tree in plain.items()}
    assert on_one_line(text) in trees["sites/evil.html"].text
    assert trees["sites/north.html"].text == plain["sites/north.html"].text
    assert {site.site: site.state for site in status.sites} == {"evil": "ok", "north": "ok"}


def on_one_line(text):
    return " ".join("".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text).split())


def samples(files):
    """Returns (name, labels, value) of all samples, as Prometheus' own parser reads them; a version is left out."""
    return sorted(
        (sample.name, sorted((name, said) for name, said in sample.labels.items() if name != "version"), sample.value)
        for family in text_string_to_metric_families(files["v1/metrics.txt"].decode())
        for sample in family.samples
    )


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_no_text_of_a_site_makes_a_sample_or_a_label_of_the_metrics(render_with, text):
    plain, (status, files) = render_with("plain words")[1], render_with(text)
    assert samples(files) == samples(plain)
    (versions,) = [
        {sample.labels["site"]: sample.labels["version"] for sample in family.samples}
        for family in text_string_to_metric_families(files["v1/metrics.txt"].decode())
        if family.name == "glidepost_site"
    ]
    assert versions == {site.site: site.version for site in status.sites}
    assert len(files["v1/metrics.txt"].decode().splitlines()) == len(plain["v1/metrics.txt"].decode().splitlines())


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_no_text_of_a_site_is_in_a_table_and_no_cell_is_a_formula(render_with, text):
    plain, files = render_with("plain words")[1], render_with(text)[1]
    tables = {key: body for key, body in files.items() if key.endswith(".csv")}
    assert {f"v1/history/{name}-5min.csv" for name in ("pool", "sites")} <= set(tables)
    assert tables == {key: body for key, body in plain.items() if key.endswith(".csv")}
    for body in tables.values():
        head, *rows = csv.reader(io.StringIO(body.decode(), newline=""), strict=True)
        assert {len(row) for row in rows} <= {len(head)}
        assert not [cell for row in rows for cell in row if cell.startswith(FORMULA)]
        named = len(head) > 1 and head[1] == "site"
        slots = [tuple(row[: 2 if named else 1]) for row in rows]
        assert len(slots) == len(set(slots))
        assert {row[1] for row in rows if named} <= {"evil", "north"}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_no_text_of_a_site_makes_an_element_or_a_link_of_the_feed(render_with, text):
    plain, feed = (ET.fromstring(render_with(said)[1]["feed.xml"]) for said in ("plain words", text))
    assert [(each.tag, each.attrib) for each in feed.iter()] == [(each.tag, each.attrib) for each in plain.iter()]
    assert [each.text for each in feed.iter(f"{ATOM}id")] == [each.text for each in plain.iter(f"{ATOM}id")]
    said = [each.text for each in feed.iter(f"{ATOM}title")]
    assert on_one_line(text) in " ".join(" ".join(said).split())
    assert len([title for title in said if title.startswith("shape small of site evil is paused")]) == 1


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_no_text_of_a_site_is_in_a_badge(render_with, text):
    plain, files = render_with("plain words")[1], render_with(text)[1]
    badges = {key: body for key, body in files.items() if key.startswith("badges/")}
    assert set(badges) == {"badges/_pool.svg", "badges/evil.svg", "badges/north.svg"}
    assert badges == {key: body for key, body in plain.items() if key.startswith("badges/")}
    for body in badges.values():
        assert ET.fromstring(body).tag == "{http://www.w3.org/2000/svg}svg"


def test_half_a_character_makes_one_site_unreadable_and_all_files_are_whole(render_with, read_page):
    status, files = render_with(INJECTIONS["half a character"])
    assert {site.site: site.state for site in status.sites} == {"evil": "unreadable", "north": "ok"}
    assert set(read_pages(files, read_page)) >= {"index.html", "sites/evil.html", "sites/north.html"}
    assert samples(files)
    for key in ("feed.xml", "badges/evil.svg"):
        ET.fromstring(files[key])


@pytest.mark.parametrize("text", INJECTIONS.values(), ids=INJECTIONS)
def test_each_text_of_a_site_is_one_line_in_the_status_that_can_be_written(render_with, text):
    status, _ = render_with(text)
    (evil,) = [site for site in status.sites if site.site == "evil"]
    said = [evil.version or "", *evil.errors, *(shape.detail for shape in evil.shapes)]
    said += [value for shape in evil.shapes for value in shape.advertises.values()]
    for line in said:
        assert isinstance(line, str)
        assert not [char for char in line if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]
        assert len(line) <= MAX_TEXT
        line.encode()
    Status.from_json(status.to_json())


@pytest.mark.parametrize("text", INJECTIONS.values(), ids=INJECTIONS)
@pytest.mark.parametrize("field", PATTERNED)
def test_a_name_that_is_no_name_makes_the_heartbeat_unreadable(documents, field, text):
    data = documents.heartbeat("evil").to_json()
    data["shapes"][0][field] = text
    with pytest.raises(UntrustedDocument):
        Heartbeat.from_json(data)


@pytest.mark.parametrize("text", [*INJECTIONS.values(), "ok\n", "", "Ok", "x" * 65, "é", "../x", "%2e%2e"])
@pytest.mark.parametrize("place", ["outcomes", "advertises"])
def test_a_code_or_attribute_that_is_no_name_makes_the_heartbeat_unreadable(documents, place, text):
    data = documents.heartbeat("evil").to_json()
    if place == "outcomes":
        data["outcomes"] = {text: 1}
    else:
        data["shapes"][0]["advertises"] = {text.replace("Ok", "").replace("x" * 65, ""): 1}
    with pytest.raises(UntrustedDocument):
        Heartbeat.from_json(data)


@pytest.mark.parametrize("number", [-1, MOST + 1, 10**400, 1e300, float("nan"), float("inf"), True, "1", [1]])
@pytest.mark.parametrize(
    "place", [("counts", "idle"), ("limits", "max_total"), ("offers", "cpus"), (None, "submitted")]
)
def test_numbers_out_of_bounds_make_one_site_unreadable_and_hide_no_other(documents, store, place, number):
    data = documents.heartbeat("evil").to_json()
    table, key = place
    (data["shapes"][0][table] if table else data["shapes"][0])[key] = number
    store.put("v1/heartbeats/evil.json", json.dumps(data).encode(), **WRITTEN)
    store.put("v1/heartbeats/north.json", encode(documents.heartbeat("north").to_json()), **WRITTEN)
    status = aggregate_once(store, documents.now)
    assert {site.site: site.state for site in status.sites} == {"evil": "unreadable", "north": "ok"}


def test_a_site_that_speaks_as_another_shows_nothing_and_changes_nothing_of_the_other(documents, store):
    honest = documents.heartbeat("north")
    liar = replace(honest, errors=("the north is down",), shapes=(documents.shape("large", cpus=1000),))
    store.put("v1/heartbeats/north.json", encode(honest.to_json()), **WRITTEN)
    alone = aggregate_once(store, documents.now)
    store.put("v1/heartbeats/evil.json", encode(liar.to_json()), **WRITTEN)
    status = aggregate_once(store, documents.now)
    evil, north = status.sites
    assert (evil.site, evil.state, evil.shapes) == ("evil", "unreadable", ())
    assert north == alone.sites[0]
    shown = {key for key in store.objects if not key.startswith(("v1/heartbeats/", "v1/aggregator/"))}
    assert {"index.html", "sites/evil.html", "sites/north.html", "v1/metrics.txt", "feed.xml"} <= shown
    assert {key for key in shown if b"the north is down" in store.objects[key]} == set()


@pytest.mark.parametrize(
    "key",
    [
        *("../demand", "..%2fdemand", "%2e%2e", "north/..", "nörth", "north\u200b", "NORTH", "n" * 33, "-x", "north\n"),
        *("=1+1", "@SUM(1)", 'x"} 1', "<b>", "_pool"),
    ],
)
def test_an_object_whose_name_is_no_sites_is_named_and_not_shown_as_one(documents, store, key):
    store.put(f"v1/heartbeats/{key}.json", encode(documents.heartbeat("north").to_json()), **WRITTEN)
    status = aggregate_once(store, documents.now)
    assert status.sites == ()
    assert "not a site's name" in status.errors[0]
    aggregate_once(store, documents.now + timedelta(minutes=10))
    of_sites = [name for name in store.objects if name.startswith(("sites/", "badges/"))]
    assert of_sites == ["badges/_pool.svg"]
    assert store.objects["v1/history/sites-5min.csv"].count(b"\n") == 1, "its head"
    assert not [line for line in store.objects["v1/metrics.txt"].splitlines() if b'site="' in line]


@pytest.mark.parametrize("year", [1, 1970, 2025, 2100, 9999])
def test_a_clock_that_lies_makes_a_site_silent_or_unreadable_and_never_fresh(documents, store, year):
    liar = replace(documents.heartbeat("evil"), sent_at=datetime(year, 1, 1, tzinfo=timezone.utc))
    store.put("v1/heartbeats/evil.json", encode(liar.to_json()), **WRITTEN)
    (site,) = aggregate_once(store, documents.now).sites
    assert site.state == ("silent" if year < 2026 else "unreadable")


def test_a_heartbeat_with_everything_at_its_bound_is_shown_and_one_byte_more_is_not(documents, store, read_page):
    shape = documents.shape(counts=Counts(*[MOST] * 4), detail="<" * 500, reason="z" * 32)
    body = b""
    for count in range(1, 200):
        shapes = [replace(shape, name=f"s{number}{'x' * 58}") for number in range(count)]
        outcomes = {f"c{number}{'z' * 60}": MOST for number in range(64)}
        made = encode(documents.heartbeat("evil", *shapes, errors=("&" * 500,) * 20, outcomes=outcomes).to_json())
        if len(made) > MAX_HEARTBEAT_BYTES:
            break
        body = made
    full = body + b" " * (MAX_HEARTBEAT_BYTES - len(body))
    store.put("v1/heartbeats/evil.json", full, **WRITTEN)
    status = aggregate_once(store, documents.now)
    assert (status.sites[0].state, len(status.sites[0].shapes) > 20) == ("ok", True)
    read_pages(store.objects, read_page)
    for key in ("index.html", "groups.html", "sites/evil.html", "v1/metrics.txt", "feed.xml"):
        assert len(store.objects[key]) < 16 * MAX_HEARTBEAT_BYTES, key
    assert samples(store.objects)
    store.put("v1/heartbeats/evil.json", full + b" ", **WRITTEN)
    assert aggregate_once(store, documents.now).sites[0].state == "unreadable"


BODIES = {
    "deep": b"[" * 60_000,
    "deep and whole": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "twice": b'{"kind": "heartbeat/1", "site": "evil", "site": "north"}',
    "a million digits": b'{"sequence": ' + b"9" * 60_000 + b"}",
    "gzip that is none": b"\x1f\x8b" + b"\0" * 1000,
    "another kind": b'{"kind": "status/1"}',
    "not text": bytes(range(256)),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_heartbeat_that_is_none_is_shown_as_such_beside_the_others(documents, store, body, read_page):
    store.put("v1/heartbeats/evil.json", body, **WRITTEN)
    store.put("v1/heartbeats/north.json", encode(documents.heartbeat("north").to_json()), **WRITTEN)
    status = aggregate_once(store, documents.now)
    assert {site.site: site.state for site in status.sites} == {"evil": "unreadable", "north": "ok"}
    assert len(status.sites[0].errors[0]) <= MAX_TEXT
    assert set(read_pages(store.objects, read_page)) >= {"index.html", "groups.html", "sites/evil.html"}
