from __future__ import annotations

import json

import boto3
import pytest
from click.testing import CliRunner
from moto import mock_aws

from glidepost.infra.cli import group
from glidepost.schema.document import encode
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


def test_alert_sends_what_is_new_by_the_configured_program_and_nothing_twice(config_file, tmp_path, documents):
    program = tmp_path / "sendmail"
    program.write_text(f"#!/bin/sh\ncat >>{tmp_path}/mails\n", encoding="utf-8")
    program.chmod(0o755)
    alerts = f'[alerts]\nmail_to = ["a@example.org"]\nmail_from = "g@example.org"\nsendmail = "{program}"\n'
    config_file.write_text(CONFIG + alerts, encoding="utf-8")
    body = encode(
        documents.heartbeat("north").to_json()
    )  # of 2026, so that it is silent by now, or dated from the future
    old = body.replace(b'"sent_at": "2026-11-22', b'"sent_at": "2020-11-22')
    boto3.client("s3", region_name="us-east-1").put_object(Bucket="glidepost", Key="v1/heartbeats/north.json", Body=old)
    for _ in range(2):
        result = CliRunner().invoke(group, ["alert", "--config", str(config_file)], catch_exceptions=False)
        assert (result.exit_code, result.output) == (0, "")
    mails = (tmp_path / "mails").read_text()
    assert mails.count("Subject: [glidepost demo] 1 silent site") == 1
    assert "http://127.0.0.1:8333/glidepost/index.html" in mails


def test_alert_without_anybody_to_tell_is_an_error(config_file):
    result = CliRunner().invoke(group, ["alert", "--config", str(config_file)])
    assert isinstance(result.exception, ConfigError)
    assert "[alerts]" in str(result.exception)


@pytest.mark.parametrize(
    ("line", "word"),
    [('mail_to = ["-oQ/tmp@x"]', "mail_to"), ('mail_to = ["a b@x"]', "mail_to"), ('webhook = "x"', "webhook_file")],
)
def test_what_cannot_be_told_is_refused_with_the_key(config_file, line, word):
    config_file.write_text(f"{CONFIG}[alerts]\n{line}\n", encoding="utf-8")
    result = CliRunner().invoke(group, ["alert", "--config", str(config_file)])
    assert isinstance(result.exception, ConfigError)
    assert word in f"{result.exception.what} {result.exception.hint}"
