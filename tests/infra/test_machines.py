from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from datetime import timedelta
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from glidepost.infra.aggregator import badges, feed, metrics, tables
from glidepost.infra.aggregator.aggregate import aggregate
from glidepost.infra.aggregator.history import Slot, put
from glidepost.infra.aggregator.machines import files
from glidepost.infra.aggregator.problems import follow
from glidepost.infra.aggregator.words import SITE_STATES
from glidepost.schema.demand import Metrics, ScheddView, ShapeView
from glidepost.schema.heartbeat import BreakerView, Counts

ATOM = "{http://www.w3.org/2005/Atom}"
HOSTILE = ['a"b', "a\\", "a\nb", 'x"} 1\nevil{y="', "{}", "ü 中", "# EOF", "=1+1", "a\\n", "<script>", "]]>", "&amp;"]


@pytest.fixture
def status(documents):
    view = {"north": {"small": ShapeView(5, 20, 16, 2, 1)}}
    demand = documents.demand(
        documents.group(sites={"north": 12}),
        pool_view=view,
        metrics=Metrics(16, 4, 9000, 120_000, {"north": 20}),
        schedds=(ScheddView("ap1", 12), ScheddView("ap2", 0, "timed out")),
    )
    breaker = BreakerView("paused", "never-joined", "3 of 4", 2, documents.now)
    shapes = (documents.shape(counts=Counts(2, 5, 1, 0)), documents.shape("gpu", gpus=1, counts=None, breaker=breaker))
    heartbeats = {"north": documents.heartbeat("north", *shapes), "south": documents.heartbeat("south", age_s=9000)}
    return aggregate(demand, heartbeats, ["east"], documents.now)


def parsed(body):
    return {family.name: family for family in text_string_to_metric_families(body.decode())}


def value(families, name, **labels):
    (sample,) = [
        sample
        for family in families.values()
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    return sample.value


def test_prometheus_own_parser_reads_the_metrics(status, documents):
    found = parsed(metrics.render(status))
    assert value(found, "glidepost_pool_info", pool="demo") == 1
    assert value(found, "glidepost_status_timestamp_seconds") == documents.now.timestamp()
    assert value(found, "glidepost_user_jobs", state="idle") == 12
    assert value(found, "glidepost_user_jobs", state="running-inside") == 16
    assert value(found, "glidepost_user_jobs_started_total") == 9000
    assert value(found, "glidepost_user_jobs_wait_seconds_total") == 120_000
    assert value(found, "glidepost_schedd_up", schedd="ap2") == 0
    assert value(found, "glidepost_glideins", site="north", shape="small", state="held") == 1
    assert value(found, "glidepost_site_state", site="south", glidepost_site_state="silent") == 1
    assert value(found, "glidepost_site_state", site="south", glidepost_site_state="ok") == 0
    assert value(found, "glidepost_sites", state="never") == 1
    assert value(found, "glidepost_shape_paused", site="north", shape="gpu") == 1
    assert value(found, "glidepost_breaker_trips", site="north", shape="gpu") == 2
    assert value(found, "glidepost_pool_cpus_claimed", site="north", shape="small") == 16


def test_every_metric_is_in_the_table_and_every_one_of_the_table_is_written(status):
    found = parsed(metrics.render(status))
    assert set(found) == set(metrics.METRICS)
    for name, metric in metrics.METRICS.items():
        assert (found[name].type, found[name].documentation, found[name].unit) == (
            metric.kind,
            metric.help,
            metric.unit,
        )


def test_what_is_not_known_has_no_line(status, documents):
    found = parsed(metrics.render(status))
    shapes = {sample.labels["shape"] for sample in found["glidepost_glideins"].samples}
    assert shapes == {"small"}
    empty = parsed(metrics.render(aggregate(None, {}, [], documents.now)))
    assert "glidepost_user_jobs" not in empty
    assert value(empty, "glidepost_sites", state="ok") == 0


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_breaks_out_of_its_label(documents, name):
    shape = documents.shape(name, detail=name)
    demand = documents.demand(schedds=(ScheddView(name, 3), ScheddView(name, 4)))
    status = aggregate(demand, {"north": documents.heartbeat("north", shape, shape, version=name)}, [], documents.now)
    found = parsed(metrics.render(status))
    shown = status.sites[0].shapes[0].name
    assert value(found, "glidepost_glideins", site="north", shape=shown, state="running") == 5
    assert not any(name.startswith("evil") for name in found)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(text=st.text(st.characters(exclude_categories=()), max_size=40))
def test_no_text_at_all_breaks_the_metrics_or_the_feed(documents, text):
    breaker = BreakerView("paused", "never-joined", text, 2, documents.now)
    shape = documents.shape(text, breaker=breaker)
    status = aggregate(None, {"north": documents.heartbeat("north", shape, version=text)}, [], documents.now)
    assert "glidepost_glideins" in parsed(metrics.render(status))
    root = ET.fromstring(feed.render("demo", follow({}, status).values()))
    assert len(root.findall(f"{ATOM}entry")) == 1


def entries(body):
    root = ET.fromstring(body)
    return [
        (entry.findtext(f"{ATOM}id"), entry.findtext(f"{ATOM}title"), entry.find(f"{ATOM}link").get("href"))
        for entry in root.findall(f"{ATOM}entry")
    ]


def test_the_feed_says_what_has_happened_the_newest_first(status, documents):
    problems = follow({}, status)
    back = aggregate(
        None, {"south": documents.heartbeat("south", age_s=-600)}, ["north"], documents.now + timedelta(minutes=10)
    )
    found = entries(feed.render("demo", follow(problems, back).values()))
    assert found[0][1] == "site south is back: heard at 2026-11-22 09:24:05 UTC"
    assert {title.split(":")[0] for _, title, _ in found} >= {
        "site south is silent",
        "shape gpu of site north is paused after never-joined",
    }
    assert len({name for name, _, _ in found}) == len(found)
    assert ("sites/south.html") in {link for _, _, link in found}


def test_the_feed_of_the_same_events_is_the_same_file(status):
    problems = follow({}, status)
    later = follow(problems, replace(status, generated_at=status.generated_at + timedelta(minutes=1)))
    assert feed.render("demo", later.values()) == feed.render("demo", problems.values())


def test_the_feed_is_bounded_and_an_empty_one_is_a_feed(documents):
    heartbeats = {f"s{n}": documents.heartbeat(f"s{n}", age_s=9000) for n in range(300)}
    problems = follow({}, aggregate(None, heartbeats, [], documents.now))
    assert len(entries(feed.render("demo", problems.values()))) == feed.MAX_ENTRIES
    root = ET.fromstring(feed.render("demo", ()))
    for name in ("id", "title", "updated"):
        assert root.findtext(f"{ATOM}{name}")


def rows(body):
    return list(csv.DictReader(io.StringIO(body.decode(), newline="")))


@pytest.fixture
def history():
    made = put("5min", None, 1_795_338_000, Slot({"idle": 12, "cpus": 7.5}, {"north": {"running": 5}}))
    return put("5min", made, 1_795_338_600, Slot({"idle": 0}, {"north": {"running": 6}, "south": {"held": 1}}))


def test_a_table_has_a_line_for_each_slot_of_which_something_is_known(history):
    first, second = rows(tables.pool_table(history))
    assert (first["time"], first["idle"], first["cpus"], first["gpus"]) == ("2026-11-22T09:00:00Z", "12", "7.5", "")
    assert (second["time"], second["idle"], second["cpus"]) == ("2026-11-22T09:10:00Z", "0", "")
    sites = rows(tables.sites_table(history))
    assert [(row["time"][11:16], row["site"], row["running"], row["held"]) for row in sites] == [
        ("09:00", "north", "5", ""),
        ("09:10", "north", "6", ""),
        ("09:10", "south", "", "1"),
    ]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(text):
    assert tables.guarded(text) == f"'{text}"
    assert tables.guarded("north-1") == "north-1"


@pytest.mark.parametrize("state", SITE_STATES)
def test_a_badge_says_the_state_in_words_and_by_its_mark(state):
    body = badges.site_badge("north", state)
    root = ET.fromstring(body)
    assert root.get("aria-label") == f"north: {SITE_STATES[state][1]}"
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["north", SITE_STATES[state][1]]
    assert badges.MARKS[SITE_STATES[state][0]][1].encode() in body


def test_levels_differ_by_the_form_of_their_marks_and_not_by_colour_only():
    forms = {re.sub(r"#[0-9a-f]+", "", mark) for mark, _ in badges.MARKS.values()}
    assert len(forms) == 4


def luminance(colour):
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("level", badges.MARKS)
def test_every_mark_can_be_told_from_its_ground(level):
    assert 1.05 / (luminance(badges.MARKS[level][1]) + 0.05) >= 4.5


def test_the_badge_of_a_pool_with_a_hostile_name_is_still_a_picture():
    root = ET.fromstring(badges.draw("<b>&\"'", "served", "ok"))
    assert root.get("aria-label") == "<b>&\"': served"
    assert not list(root.iter("b"))


def test_the_files_are_those_that_are_announced(status, history):
    found = files(status, {"5min": history}, ())
    assert set(found) == {
        "v1/metrics.txt",
        "feed.xml",
        "v1/history/pool-5min.csv",
        "v1/history/sites-5min.csv",
        "badges/_pool.svg",
        "badges/east.svg",
        "badges/north.svg",
        "badges/south.svg",
    }
    assert found["v1/metrics.txt"][1].startswith("application/openmetrics-text; version=1.0.0")
    assert "v1/history/pool-5min.csv" not in files(status, {"5min": history}, (), changed=())
