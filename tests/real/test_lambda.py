"""The aggregator's zip file under AWS's own runtime, on a real S3 server, with events as AWS sends them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
from lambda_runtime import Function, get_runtime, packed, running

from glidepost.infra.demo.identities import read_keys
from glidepost.infra.demo.store import REGION
from glidepost.infra.demo.testbed import Store
from glidepost.schema.document import encode
from glidepost.schema.heartbeat import Heartbeat

EVENTS = Path(__file__).parents[1] / "infra" / "events"


@pytest.fixture(scope="module")
def bucket(store: Store) -> Store:
    bucket = dataclasses.replace(store, bucket="lambda")
    bucket.make_bucket()
    return bucket


def variables(bucket: Store, name: str) -> dict[str, str]:
    access_key, secret_key = read_keys(bucket.credentials)
    return {
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": bucket.endpoint,
        "GLIDEPOST_BUCKET": name,
        "GLIDEPOST_POOL": "demo",
    }


@pytest.fixture(scope="module")
def task(session_folder: Path) -> Path:
    folder = session_folder / "lambda"
    folder.mkdir()
    return packed(folder)


@pytest.fixture
def function(bucket: Store, task: Path, work: Path, tmp_path: Path) -> Iterator[Function]:
    with running(get_runtime(work), task, tmp_path / "log", variables(bucket, bucket.bucket)) as function:
        yield function


def event(name: str) -> object:
    return json.loads((EVENTS / name).read_text())


def test_each_recorded_event_makes_the_page_and_one_line_of_log(function: Function, bucket: Store) -> None:
    client = bucket.client()
    heartbeat = Heartbeat("north", "i", "0.1.0", 1, datetime.now(timezone.utc), ())
    client.put_object(Bucket=bucket.bucket, Key="v1/heartbeats/north.json", Body=encode(heartbeat.to_json()))
    for number, name in enumerate(("scheduled.json", "uploaded.json", "scheduled.json"), start=1):
        answer = function.invoke(event(name))
        assert (answer["pool"], answer["sites"], answer["sites_reporting"]) == ("demo", 1, 1), answer
        assert answer["request_id"]
        assert [line["event"] for line in function.lines()] == ["aggregated"] * number
    page = client.get_object(Bucket=bucket.bucket, Key="index.html")
    assert b"north" in page["Body"].read()
    assert page["ContentType"] == "text/html; charset=utf-8"
    assert json.loads(client.get_object(Bucket=bucket.bucket, Key="v1/status.json")["Body"].read())["pool"] == "demo"
    assert function.peak_mib() < 256, "what the template gives it"


def test_a_failure_is_an_error_that_lambda_counts_and_the_page_stays(
    bucket: Store, task: Path, work: Path, tmp_path: Path
) -> None:
    with running(get_runtime(work), task, tmp_path / "log", variables(bucket, "no-such-bucket")) as function:
        answer = function.invoke(event("scheduled.json"))
    assert answer["errorType"] == "StoreError"
    assert "no-such-bucket" in answer["errorMessage"]
