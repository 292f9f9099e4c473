from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from glidepost.infra.aggregator.handler import handle, handler, open_s3
from glidepost.schema.errors import ConfigError


@dataclass
class Context:
    aws_request_id: str = "r-1"


def test_the_store_is_named_by_the_environment(store, documents):
    opened = []

    def open_store(*where):
        opened.append(where)
        return store

    environment = {
        "GLIDEPOST_BUCKET": "b",
        "GLIDEPOST_PREFIX": "p/",
        "AWS_REGION": "eu-west-1",
        "GLIDEPOST_POOL": "demo",
    }
    assert handle(environment, open_store, documents.now)["pool"] == "demo"
    assert opened == [("b", "p/", "eu-west-1")]
    assert "index.html" in store.objects


def test_a_missing_bucket_names_the_variable(store, documents):
    with pytest.raises(ConfigError, match="GLIDEPOST_BUCKET"):
        handle({}, lambda *_: store, documents.now)


@mock_aws
def test_a_scheduled_event_makes_the_page_and_one_json_line(monkeypatch, capsys):
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
        "GLIDEPOST_BUCKET": "glidepost",
        "GLIDEPOST_PREFIX": "demo/",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="glidepost")
    event = json.loads((Path(__file__).parent / "events" / "scheduled.json").read_text(encoding="utf-8"))
    open_s3.cache_clear()
    result = handler(event, Context())
    open_s3.cache_clear()
    assert result["sites"] == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["event"], line["request_id"], line["verdict"]) == ("aggregated", "r-1", "No demand published yet")
    assert client.head_object(Bucket="glidepost", Key="demo/index.html")["ContentType"] == "text/html; charset=utf-8"
