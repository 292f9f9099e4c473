from __future__ import annotations

import json

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from glidepost.infra.aggregator.run import MAX_HEARTBEAT_BYTES, aggregate_once, summary
from glidepost.publisher.store import S3Store
from glidepost.schema.document import MAX_DOCUMENT_BYTES, encode
from glidepost.schema.errors import StoreError
from glidepost.schema.publisher_config import StoreSettings
from glidepost.schema.status import Status


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
