"""The aggregator on a real S3 server, with the publisher's key: what it keeps there, and makes of that when damaged."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from glidepost.infra.aggregator.run import aggregate_once
from glidepost.infra.demo.identities import read_keys, s3_client
from glidepost.publisher.store import S3Store
from glidepost.schema import status

START = datetime(2026, 11, 22, 9, 1, 20, tzinfo=timezone.utc)
EXAMPLE = json.loads((Path(status.__file__).parent / "heartbeat-1.example.json").read_text(encoding="utf-8"))


class Counted(S3Store):
    """A store that remembers what was read of it. `any_key` is the same with the administrator's key."""

    read: list[str]
    any_key: S3Store

    def get(self, key, **more):
        self.read.append(key)
        return super().get(key, **more)


@pytest.fixture
def bucket(store):
    own = replace(store, bucket="aggregator")
    own.make_bucket()
    made = Counted(s3_client(own.endpoint, read_keys(own.credentials)), own.bucket, "")
    made.read = []
    made.any_key = S3Store(own.client(), own.bucket, "")
    yield made
    for key in made.list(""):
        made.any_key.delete(key)


def report(bucket, site, minute, sequence=1):
    at = START + timedelta(minutes=minute)
    body = json.dumps({**EXAMPLE, "site": site, "sequence": sequence, "sent_at": f"{at:%Y-%m-%dT%H:%M:%SZ}"}).encode()
    bucket.any_key.put(f"v1/heartbeats/{site}.json", body, content_type="application/json", cache_seconds=0)


def heartbeats_read(bucket):
    found = [key for key in bucket.read if "heartbeats" in key]
    bucket.read.clear()
    return found


def test_only_what_has_changed_is_read_and_what_is_damaged_heals(bucket):
    sites = [f"s{number:02d}" for number in range(40)]
    for site in sites:
        report(bucket, site, 0)
    aggregate_once(bucket, START)
    assert len(heartbeats_read(bucket)) == 40
    report(bucket, "s07", 1, 2)
    aggregate_once(bucket, START + timedelta(minutes=1))
    assert heartbeats_read(bucket) == ["v1/heartbeats/s07.json"]
    aggregate_once(bucket, START + timedelta(minutes=5))
    assert heartbeats_read(bucket) == []
    assert json.loads(bucket.get("v1/history/5min.json"))["length"] == 1

    bucket.put("v1/aggregator/kept.json", b"{", content_type="application/json", cache_seconds=0)
    bucket.put("v1/history/5min.json", b'{"kind": "history/1", "cu', content_type="application/json", cache_seconds=0)
    found = aggregate_once(bucket, START + timedelta(minutes=6))
    assert len(heartbeats_read(bucket)) == 40
    assert {site.state for site in found.sites} == {"ok"}
    assert bucket.get("v1/history/damaged/5min-20261122T090720Z.json") == b'{"kind": "history/1", "cu'
    for minute in (7, 11):
        aggregate_once(bucket, START + timedelta(minutes=minute))
    assert heartbeats_read(bucket) == []
    assert json.loads(bucket.get("v1/history/5min.json"))["start"] == "2026-11-22T09:05:00Z"


def test_the_page_of_a_site_that_is_gone_is_removed(bucket):
    report(bucket, "north", 0)
    aggregate_once(bucket, START)
    assert "sites/north.html" in bucket.list("sites/")
    assert "badges/north.svg" in bucket.list("badges/")
    bucket.any_key.delete("v1/heartbeats/north.json")
    aggregate_once(bucket, START + timedelta(minutes=1))
    assert (bucket.list("sites/"), bucket.list("badges/")) == ([], ["badges/_pool.svg"])
