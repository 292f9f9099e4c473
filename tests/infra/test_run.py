from __future__ import annotations

import json
from datetime import timedelta

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from glidepost.infra.aggregator.aggregate import aggregate
from glidepost.infra.aggregator.kept import Heartbeats
from glidepost.infra.aggregator.reading import BATCH, MAX_READ_S, find
from glidepost.infra.aggregator.run import aggregate_once, encode_status, summary
from glidepost.publisher.store import S3Store
from glidepost.schema.document import MAX_DOCUMENT_BYTES, encode
from glidepost.schema.errors import GlidepostError, StoreError, UntrustedDocument
from glidepost.schema.publisher_config import StoreSettings
from glidepost.schema.status import Status
from glidepost.schema.store_keys import MAX_HEARTBEAT_BYTES


def put_json(store, key, document):
    store.put(key, encode(document.to_json()), content_type="application/json", cache_seconds=0)


@pytest.fixture
def filled(documents, store):
    put_json(store, "v1/demand.json", documents.demand(documents.group(sites={"north": 12})))
    put_json(store, "v1/heartbeats/north.json", documents.heartbeat("north"))
    put_json(store, "v1/heartbeats/south.json", documents.heartbeat("south", age_s=5000))
    store.put("v1/sites/east.json", b"sealed", content_type="application/json", cache_seconds=0)
    return store


def states(status):
    return {site.site: site.state for site in status.sites}


def test_one_run_reads_all_and_writes_the_status_and_the_page(filled, documents):
    status = aggregate_once(filled, documents.now, sites=["west"])
    assert states(status) == {"east": "never", "north": "ok", "south": "silent", "west": "never"}
    assert Status.from_json(json.loads(filled.objects["v1/status.json"])) == status
    assert filled.objects["index.html"].startswith(b"<!DOCTYPE html>")
    assert filled.headers["v1/status.json"] == ("application/json", 15)
    assert filled.headers["index.html"] == ("text/html; charset=utf-8", 15)


def test_a_second_run_changes_nothing(filled, documents):
    aggregate_once(filled, documents.now)
    before = dict(filled.objects)
    aggregate_once(filled, documents.now)
    assert filled.objects == before


def test_an_empty_store_gives_an_empty_page(store, documents):
    status = aggregate_once(store, documents.now, pool="demo")
    assert (status.pool, status.demand, status.sites) == ("demo", None, ())
    assert "index.html" in store.objects


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"kind": "heartbeat/1"}',
        b'{"kind": "demand/1"}',
        b" " * (MAX_HEARTBEAT_BYTES + 1),
    ],
    ids=["empty", "cut", "list", "null", "binary", "deep", "bare", "foreign", "oversized"],
)
def test_one_bad_heartbeat_hides_no_other(filled, documents, body):
    filled.objects["v1/heartbeats/bad.json"] = body
    status = aggregate_once(filled, documents.now)
    assert states(status) == {"bad": "unreadable", "east": "never", "north": "ok", "south": "silent"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(data=st.data())
def test_no_heartbeat_with_one_value_replaced_stops_a_run(filled, documents, data):
    heartbeat = documents.heartbeat("mad", errors=("e",), outcomes={"killed": 1}).to_json()
    strange = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers()), st.just("\ud800")
    )
    place = data.draw(st.sampled_from([heartbeat, heartbeat["shapes"][0], heartbeat["shapes"][0]["offers"]]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(strange)
    filled.objects["v1/heartbeats/mad.json"] = json.dumps(heartbeat).encode()
    status = aggregate_once(filled, documents.now)
    assert states(status)["north"] == "ok"
    assert "mad" in states(status)


def test_a_site_is_shown_with_errors_since_they_were_first_seen(store, documents):
    def north(minutes, *errors):
        heartbeat = documents.heartbeat("north", errors=errors, sequence=minutes + 1, age_s=-60 * minutes)
        store.objects["v1/heartbeats/north.json"] = encode(heartbeat.to_json())
        (site,) = aggregate_once(store, later(documents, minutes)).sites
        return site.errors_since and (site.errors_since - documents.now) // timedelta(minutes=1)

    assert [north(0), north(1, "a"), north(5, "b", "c"), north(7), north(9, "b")] == [None, 1, 1, None, 9]
    assert "With errors, these or others, since" in store.objects["sites/north.html"].decode()
    store.objects["v1/heartbeats/north.json"] = b"{"
    (site,) = aggregate_once(store, later(documents, 10)).sites
    assert site.errors_since == later(documents, 10), "that it cannot be read is another trouble"
    assert "what does glidepost puller check say?" in store.objects["index.html"].decode()
    assert [north(12, "b"), north(13)] == [12, None]
    assert "With errors" not in store.objects["sites/north.html"].decode(), "what changes shows at once"


def test_a_heartbeat_that_the_store_does_not_give_is_shown_beside_the_others(filled, documents):
    filled.broken = frozenset({"v1/heartbeats/south.json"})
    status = aggregate_once(filled, documents.now)
    assert states(status) == {"east": "never", "north": "ok", "south": "unreadable"}
    assert "503" in next(site for site in status.sites if site.site == "south").errors[0]


def test_a_demand_that_the_store_does_not_give_keeps_the_old_page(filled, documents):
    filled.broken = frozenset({"v1/demand.json"})
    with pytest.raises(StoreError):
        aggregate_once(filled, documents.now)
    assert "index.html" not in filled.objects


def test_a_demand_that_breaks_its_schema_is_said_and_the_sites_are_shown(filled, documents):
    filled.objects["v1/demand.json"] = b'{"kind": "demand/1"}'
    status = aggregate_once(filled, documents.now)
    assert status.demand is None
    assert status.errors[0].startswith("v1/demand.json: not a demand/1 document")
    assert states(status)["north"] == "ok"


def test_other_objects_beside_the_heartbeats_are_left_alone(filled, documents):
    filled.objects["v1/heartbeats/README"] = b"hello"
    assert "README" not in states(aggregate_once(filled, documents.now))


def test_the_summary_counts_what_the_page_shows(filled, documents):
    counts = summary(aggregate_once(filled, documents.now))
    assert counts["pool"] == "demo"
    assert (counts["idle_jobs"], counts["groups"], counts["groups_without_site"]) == (12, 1, 0)
    assert (counts["sites"], counts["sites_reporting"]) == (3, 1)
    assert (counts["glideins_queued"], counts["glideins_running"]) == (2, 5)


@mock_aws
def test_the_s3_store_keeps_type_and_age_of_what_is_written(documents, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="glidepost")
    store = S3Store.from_settings(StoreSettings(bucket="glidepost", public_url="", prefix="demo/"))
    put_json(store, "v1/heartbeats/north.json", documents.heartbeat("north"))
    assert states(aggregate_once(store, documents.now)) == {"north": "ok"}
    page = client.get_object(Bucket="glidepost", Key="demo/index.html")
    assert (page["ContentType"], page["CacheControl"]) == ("text/html; charset=utf-8", "max-age=15")
    status = client.get_object(Bucket="glidepost", Key="demo/v1/status.json")
    assert (status["ContentType"], status["CacheControl"]) == ("application/json", "max-age=15")


@mock_aws
def test_a_large_status_is_compressed_and_a_compressed_demand_is_read(documents, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="glidepost")
    store = S3Store.from_settings(StoreSettings(bucket="glidepost", public_url=""))
    demand = documents.demand(*(documents.group(f"g{n:08x}") for n in range(500)))
    body = encode(demand.to_json())
    store.put("v1/demand.json", body, content_type="application/json", cache_seconds=0, compress_above=1000)
    status = aggregate_once(store, documents.now)
    assert len(status.groups) == 500
    found = client.get_object(Bucket="glidepost", Key="v1/status.json")
    assert found["ContentEncoding"] == "gzip"
    assert Status.from_json(json.loads(store.get("v1/status.json"))) == status


@mock_aws
def test_a_heartbeat_that_unpacks_to_a_bomb_hides_no_other(documents, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="glidepost")
    store = S3Store.from_settings(StoreSettings(bucket="glidepost", public_url=""))
    put_json(store, "v1/heartbeats/north.json", documents.heartbeat("north"))
    bomb = b" " * (MAX_DOCUMENT_BYTES + 1)
    store.put("v1/heartbeats/south.json", bomb, content_type="application/json", cache_seconds=0, compress_above=0)
    status = aggregate_once(store, documents.now)
    assert states(status) == {"north": "ok", "south": "unreadable"}


def later(documents, minutes):
    return documents.now + timedelta(minutes=minutes)


def read_json(store, key):
    return json.loads(store.objects[key])


def test_only_heartbeats_that_changed_are_read_again(filled, documents):
    aggregate_once(filled, documents.now)
    assert filled.count("GET", "v1/heartbeats/") == 2
    put_json(filled, "v1/heartbeats/north.json", documents.heartbeat("north", age_s=0, sequence=8))
    filled.asked.clear()
    status = aggregate_once(filled, later(documents, 1))
    assert [key for verb, key in filled.asked if verb == "GET" and "heartbeats" in key] == ["v1/heartbeats/north.json"]
    assert states(status) == {"east": "never", "north": "ok", "south": "silent"}
    assert next(site for site in status.sites if site.site == "north").heartbeat_at == documents.now


def test_a_site_without_news_becomes_late_and_then_silent(filled, documents):
    for minutes, state in ((1, "ok"), (20, "late"), (60, "silent")):
        assert states(aggregate_once(filled, later(documents, minutes)))["north"] == state
    assert filled.count("GET", "v1/heartbeats/north") == 1


def test_a_run_asks_the_store_for_as_little_as_it_can(filled, documents):
    """The cost model (infra/cost.py) is built on these numbers."""
    for minutes in (0, 1, 2):
        filled.asked.clear()
        aggregate_once(filled, later(documents, minutes))
    assert sorted(key for verb, key in filled.asked if verb == "LIST") == ["v1/heartbeats/"]
    assert sorted(key for verb, key in filled.asked if verb == "GET") == [
        "v1/aggregator/kept.json",
        "v1/aggregator/problems.json",
        "v1/demand.json",
    ] + [f"v1/history/{name}.json" for name in ("1d", "1h", "5min")]
    assert sorted(key for verb, key in filled.asked if verb == "PUT") == [
        "index.html",
        "v1/aggregator/kept.json",
        "v1/metrics.txt",
        "v1/status.json",
    ]


@pytest.mark.parametrize(
    "damage",
    [None, b"", b"{", b"[]", b'{"kind":"kept/2"}', b'{"kind":"kept/1","reports":{"north":{"etag":"x","body":{}}}}'],
)
def test_a_run_whose_state_is_lost_or_damaged_reads_all_again_and_shows_the_same(filled, documents, damage):
    expected = aggregate_once(filled, documents.now)
    filled.asked.clear()
    if damage is None:
        del filled.objects["v1/aggregator/kept.json"]
    else:
        filled.objects["v1/aggregator/kept.json"] = damage
    assert aggregate_once(filled, documents.now) == expected
    assert filled.count("GET", "v1/heartbeats/") == 2
    filled.asked.clear()
    aggregate_once(filled, documents.now)
    assert filled.count("GET", "v1/heartbeats/") == 0


def test_a_heartbeat_that_cannot_be_read_for_once_stays_as_it_was_and_is_tried_again(filled, documents):
    aggregate_once(filled, documents.now)
    put_json(filled, "v1/heartbeats/north.json", documents.heartbeat("north", age_s=0, sequence=8))
    filled.broken = frozenset({"v1/heartbeats/north.json"})
    status = aggregate_once(filled, later(documents, 1))
    assert states(status)["north"] == "ok"
    assert status.errors == ("GET v1/heartbeats/north.json: 503 Slow Down",)
    filled.broken = frozenset()
    status = aggregate_once(filled, later(documents, 2))
    assert status.errors == ()
    assert next(site for site in status.sites if site.site == "north").heartbeat_at == documents.now


def test_a_heartbeat_that_was_removed_is_forgotten(filled, documents):
    aggregate_once(filled, documents.now)
    del filled.objects["v1/heartbeats/south.json"]
    assert states(aggregate_once(filled, later(documents, 1), sites=["south"]))["south"] == "never"


def test_an_oversized_heartbeat_is_not_even_fetched(filled, documents):
    filled.objects["v1/heartbeats/bad.json"] = b" " * (MAX_HEARTBEAT_BYTES + 1)
    assert states(aggregate_once(filled, documents.now))["bad"] == "unreadable"
    assert filled.count("GET", "v1/heartbeats/bad") == 0


def test_the_heartbeat_of_a_name_that_no_site_has_is_not_fetched_and_said(filled, documents):
    filled.objects["v1/heartbeats/../x.json"] = b"{}"
    status = aggregate_once(filled, documents.now)
    assert "not a site's name" in status.errors[0]
    assert filled.count("GET", "v1/heartbeats/..") == 0


def ended(store):
    return sum(value or 0 for value in read_json(store, "v1/history/5min.json")["sites"]["north"].get("ended", ()))


def test_the_outcomes_of_a_heartbeat_are_counted_once(filled, documents):
    aggregate_once(filled, documents.now)
    for minutes, sequence in ((1, 8), (2, 8), (3, 9), (4, 7), (12, 9)):
        heartbeat = documents.heartbeat(
            "north",
            age_s=-60 * minutes,
            sequence=sequence,
            outcomes={"deadline": 2, "killed": 1},
            errors=(f"{minutes}",),
        )
        put_json(filled, "v1/heartbeats/north.json", heartbeat)
        aggregate_once(filled, later(documents, minutes))
        aggregate_once(filled, later(documents, minutes))
    aggregate_once(filled, later(documents, 20))
    assert ended(filled) == 6  # of 8 and 9, once each


def test_a_puller_that_began_anew_is_counted_from_its_first_heartbeat(filled, documents):
    aggregate_once(filled, documents.now)
    heartbeat = documents.heartbeat("north", age_s=-60, sequence=1, instance_id="i2", outcomes={"deadline": 2})
    put_json(filled, "v1/heartbeats/north.json", heartbeat)
    aggregate_once(filled, later(documents, 1))
    aggregate_once(filled, later(documents, 8))
    assert ended(filled) == 2


def test_what_was_counted_before_the_state_was_lost_is_not_counted_again(filled, documents):
    put_json(filled, "v1/heartbeats/north.json", documents.heartbeat("north", outcomes={"deadline": 5}))
    aggregate_once(filled, documents.now)
    aggregate_once(filled, later(documents, 6))
    del filled.objects["v1/aggregator/kept.json"]
    aggregate_once(filled, later(documents, 12))
    aggregate_once(filled, later(documents, 18))
    assert ended(filled) == 0


def test_histories_grow_by_the_slot_and_their_files_are_written_then_only(filled, documents):
    for minutes in range(6):
        aggregate_once(filled, later(documents, minutes))
    ring = read_json(filled, "v1/history/5min.json")
    assert (ring["start"], ring["length"], ring["pool"]["idle"]) == ("2026-11-22T09:10:00Z", 1, [12])
    assert ring["pool"]["glideins_running"] == [5]
    assert ring["sites"]["north"]["running"] == [5]
    assert filled.count("PUT", "v1/history/5min.json") == 1
    assert filled.count("PUT", "v1/history/pool-5min.csv") == 1
    assert "v1/history/1h.json" not in filled.objects
    for minutes in range(6, 60, 5):
        aggregate_once(filled, later(documents, minutes))
    assert read_json(filled, "v1/history/1h.json")["start"] == "2026-11-22T09:00:00Z"
    assert b"2026-11-22T09:10:00Z,12," in filled.objects["v1/history/pool-5min.csv"]


def test_a_status_that_cannot_be_written_keeps_the_page_of_the_run_before(filled, documents):
    aggregate_once(filled, documents.now)
    before = filled.objects["index.html"], filled.objects["v1/status.json"]
    filled.read_only = frozenset({"v1/status.json"})
    with pytest.raises(StoreError):
        aggregate_once(filled, later(documents, 1))
    assert (filled.objects["index.html"], filled.objects["v1/status.json"]) == before


def test_a_file_that_cannot_be_written_is_an_error_and_is_tried_again(filled, documents):
    filled.read_only = frozenset({"feed.xml"})
    with pytest.raises(GlidepostError, match=r"feed\.xml"):
        aggregate_once(filled, documents.now)
    assert "index.html" in filled.objects
    filled.read_only = frozenset()
    aggregate_once(filled, documents.now)
    assert "feed.xml" in filled.objects


def test_a_page_of_a_site_is_written_when_it_changes_and_no_more_often_than_anybody_looks(filled, documents):
    for minutes in range(46):
        aggregate_once(filled, later(documents, minutes))
    assert filled.count("PUT", "sites/north.html") == 2  # at first, and when it became late
    assert filled.count("PUT", "sites/east.html") == 1
    assert filled.count("PUT", "badges/north.svg") == 2
    assert filled.count("PUT", "feed.xml") <= 2
    assert filled.count("PUT", "index.html") == 46


def test_pages_of_a_site_that_is_gone_are_removed(filled, documents):
    aggregate_once(filled, documents.now, sites=["west"])
    assert "sites/west.html" in filled.objects
    aggregate_once(filled, later(documents, 1))
    assert "sites/west.html" not in filled.objects
    assert "badges/west.svg" not in filled.objects
    assert "badges/_pool.svg" in filled.objects


def test_a_file_that_somebody_removed_is_back_after_a_day(filled, documents):
    aggregate_once(filled, documents.now)
    del filled.objects["badges/east.svg"]
    aggregate_once(filled, later(documents, 1))
    assert "badges/east.svg" not in filled.objects
    aggregate_once(filled, later(documents, 26 * 60))
    assert "badges/east.svg" in filled.objects


def test_of_very_many_sites_the_status_is_still_a_status(documents):
    heartbeats = {f"s{n:04d}": documents.heartbeat(f"s{n:04d}") for n in range(600)}
    status = aggregate(documents.demand(documents.group()), heartbeats, [], documents.now)
    body = encode_status(status, frozenset(["s0001"]))
    assert Status.from_json(json.loads(body)) == status


def test_a_prefix_of_runs_in_any_order_ends_in_the_same_page(filled, documents):
    """Doubled and late runs: whoever runs last decides, and nothing of the earlier ones is left."""
    for minutes in (0, 2, 1, 3, 3):
        aggregate_once(filled, later(documents, minutes))
    other = type(filled)({key: body for key, body in filled.objects.items() if "v1/heartbeats" in key or "v1/s" in key})
    other.objects["v1/demand.json"] = filled.objects["v1/demand.json"]
    assert aggregate_once(other, later(documents, 3)) == aggregate_once(filled, later(documents, 3))


def test_a_site_that_got_a_mailbox_is_listed_within_ten_minutes(filled, documents):
    aggregate_once(filled, documents.now)
    filled.objects["v1/sites/new.json"] = b"sealed"
    assert "new" not in states(aggregate_once(filled, later(documents, 9)))
    assert states(aggregate_once(filled, later(documents, 10)))["new"] == "never"


def test_so_many_new_heartbeats_that_they_cannot_be_read_in_time_are_read_by_the_next_runs(store, documents):
    for number in range(2 * BATCH + 1):
        put_json(store, f"v1/heartbeats/s{number:04d}.json", documents.heartbeat(f"s{number:04d}"))
    ticks = iter([0.0, 0.0, MAX_READ_S])  # the second batch is not begun
    found = find(store, {}, clock=lambda: next(ticks))
    assert (len(found.changed), len(found.reports)) == (BATCH, 2 * BATCH + 1)
    status = aggregate(None, Heartbeats(found.reports), found.names, documents.now)
    assert set(list(states(status).values())[BATCH:]) == {"unreadable"}
    assert found.problems == (f"{BATCH + 1} heartbeats not read yet, so many are new: the next run goes on",)
    again = find(store, found.reports)
    assert (len(again.changed), again.problems) == (BATCH + 1, ())
    assert set(states(aggregate(None, Heartbeats(again.reports), again.names, documents.now)).values()) == {"ok"}


@pytest.fixture
def s3(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="glidepost")
        yield S3Store.from_settings(StoreSettings(bucket="glidepost", public_url="", prefix="demo/"))


def test_the_s3_store_tells_what_has_changed_copies_and_refuses_what_is_too_large(s3):
    s3.put("v1/a.json", b"{}", content_type="application/json", cache_seconds=0)
    (before,) = s3.entries("v1/")
    assert (before.key, before.size_bytes) == ("v1/a.json", 2)
    s3.put("v1/a.json", b"[]", content_type="application/json", cache_seconds=0)
    assert s3.entries("v1/")[0].etag != before.etag
    s3.copy("v1/a.json", "v1/b.json")
    assert (s3.list("v1/"), s3.get("v1/b.json")) == (["v1/a.json", "v1/b.json"], b"[]")
    with pytest.raises(UntrustedDocument, match="more than 1"):
        s3.get("v1/b.json", max_bytes=1)


def test_runs_on_an_s3_store_keep_what_they_have_read(s3, documents, monkeypatch):
    put_json(s3, "v1/demand.json", documents.demand(documents.group(sites={"north": 12})))
    for number in range(60):  # so many that what is kept is compressed
        put_json(s3, f"v1/heartbeats/s{number:02d}.json", documents.heartbeat(f"s{number:02d}"))
    aggregate_once(s3, documents.now)
    read = []
    get = s3.get
    monkeypatch.setattr(s3, "get", lambda key, **more: read.append(key) or get(key, **more))
    put_json(s3, "v1/heartbeats/s07.json", documents.heartbeat("s07", age_s=0, sequence=8))
    status = aggregate_once(s3, later(documents, 6))
    assert [key for key in read if "heartbeats" in key] == ["v1/heartbeats/s07.json"]
    assert len(status.sites) == 61
    assert json.loads(s3.get("v1/history/5min.json"))["pool"]["glideins_running"] == [300]
