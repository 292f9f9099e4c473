"""A site that lies in its heartbeat, before the aggregator and the page: what it writes is shown as its own, as text.

There is no output as CSV or for Prometheus yet; status.json is what such outputs would be made of, and it keeps each
text of a site on one line.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from dataclasses import asdict, replace
from datetime import datetime, timezone

import pytest

from glidepost.infra.aggregator.aggregate import MAX_TEXT
from glidepost.infra.aggregator.page import render
from glidepost.infra.aggregator.run import MAX_HEARTBEAT_BYTES, aggregate_once
from glidepost.schema.document import encode
from glidepost.schema.errors import UntrustedDocument
from glidepost.schema.heartbeat import BreakerView, Counts, Heartbeat
from glidepost.schema.status import Status

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
PATTERNED = ("name", "backend", "reason")


def breaker(**changes) -> BreakerView:
    now = datetime(2026, 11, 22, 9, tzinfo=timezone.utc)
    return replace(BreakerView("paused", "never-joined", "", 1, now), **changes)


@pytest.fixture
def render_with(documents, store):
    """Renders the page of site evil with this text in all fields that take any, beside an honest one."""

    def run(text: str) -> tuple[Status, str]:
        shape = documents.shape(
            detail=text,
            advertises=dict.fromkeys(("Arch", "OpSysAndVer", "GLIDEIN_Site", "Whatever"), text[:200]),
            breaker=breaker(detail=text),
        )
        evil = documents.heartbeat("evil", shape, errors=(text, text), version=text[:32], instance_id=text[:64])
        # (not by to_json, which would not write half a character)
        body = json.dumps({"kind": "heartbeat/1", **asdict(evil)}, default=lambda time: f"{time:%Y-%m-%dT%H:%M:%SZ}")
        store.put("v1/heartbeats/evil.json", body.encode(), **WRITTEN)
        store.put("v1/heartbeats/north.json", encode(documents.heartbeat("north").to_json()), **WRITTEN)
        store.put("v1/demand.json", encode(documents.demand(documents.group(sites={"north": 12})).to_json()), **WRITTEN)
        status = aggregate_once(store, documents.now)
        return status, store.objects["index.html"].decode()

    return run


WRITTEN = {"content_type": "application/json", "cache_seconds": 0}


def outline(tree) -> Counter:
    """Counts the elements by name, attributes' names, and where they lead."""
    return Counter(
        (tag, tuple(sorted(attrs)), attrs.get("href"), attrs.get("id"), attrs.get("class")) for tag, attrs in tree.tags
    )


@pytest.mark.parametrize("text", [text for text in INJECTIONS.values() if "\ud800" not in text])
def test_no_text_of_a_site_makes_an_element_an_attribute_or_a_link_and_all_of_it_is_shown(render_with, read_page, text):
    plain = read_page(render_with("plain words")[1])
    status, page = render_with(text)
    tree = read_page(page)
    assert outline(tree) == outline(plain)
    assert tree.style == plain.style
    shown = " ".join("".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text).split())
    assert shown in tree.text
    assert {site.site: site.state for site in status.sites} == {"evil": "ok", "north": "ok"}


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
    assert "the north is down" not in store.objects["index.html"].decode()


@pytest.mark.parametrize(
    "key",
    ["../demand", "..%2fdemand", "%2e%2e", "north/..", "nörth", "north\u200b", "NORTH", "n" * 33, "-x", "north\n"],
)
def test_an_object_whose_name_is_no_sites_is_named_and_not_shown_as_one(documents, store, key):
    store.put(f"v1/heartbeats/{key}.json", encode(documents.heartbeat("north").to_json()), **WRITTEN)
    status = aggregate_once(store, documents.now)
    assert status.sites == ()
    assert "not a site's name" in status.errors[0]
    assert set(store.objects) == {f"v1/heartbeats/{key}.json", "v1/status.json", "index.html"}


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
    page = store.objects["index.html"].decode()
    read_page(page)
    assert len(page) < 16 * MAX_HEARTBEAT_BYTES
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
    read_page(render(status))
