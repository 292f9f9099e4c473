from __future__ import annotations

import json

import boto3
import pytest
from click.testing import CliRunner
from moto import mock_aws

from glidepost.infra.cli import group
from glidepost.schema.errors import ConfigError

CONFIG = """
[pool]
name = "demo"
collectors = ["127.0.0.1:9618"]
trust_domain = "pool.test"
[demand]
signing_key = "pool.key"
sites = "sites.toml"
[store]
bucket = "glidepost"
public_url = "http://127.0.0.1:8333/glidepost"
"""


@pytest.fixture
def config_file(tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    path = tmp_path / "publisher.toml"
    path.write_text(CONFIG, encoding="utf-8")
    with mock_aws():
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="glidepost")
        yield path


def test_aggregate_prints_one_line_with_counts(config_file):
    result = CliRunner().invoke(group, ["aggregate", "--config", str(config_file)], catch_exceptions=False)
    assert result.output == (
        "pool demo: No demand published yet; 0 groups, 0 of them without a site;"
        " 0 of 0 sites report, 0 glideins queued, 0 running\n"
    )


def test_aggregate_prints_the_status_as_json(config_file):
    result = CliRunner().invoke(group, ["aggregate", "--json", "--config", str(config_file)], catch_exceptions=False)
    assert json.loads(result.output)["kind"] == "status/1"


def test_a_missing_config_is_an_error_that_says_so(tmp_path):
    result = CliRunner().invoke(group, ["aggregate", "--config", str(tmp_path / "none.toml")])
    assert isinstance(result.exception, ConfigError)
