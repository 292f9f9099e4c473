"""Deploying, with an AWS that is played: what is asked for, what is told, and what is left behind."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner
from moto import mock_aws
from rich.console import Console

from glidepost.infra.cli import group
from glidepost.infra.cloud import destroy as destroying
from glidepost.infra.cloud import keys
from glidepost.infra.cloud.aws import Account, attempt
from glidepost.infra.cloud.changes import Change, table
from glidepost.infra.cloud.deploy import Wishes, store_toml
from glidepost.infra.cloud.policy import policy_of, union
from glidepost.infra.cloud.stack import Plan, Stack
from glidepost.schema.errors import ConfigError, GlidepostError

OUTPUTS = {"BucketName": "gp-bucket-1", "PublicUrl": "https://d1.cloudfront.net"}
NOW = datetime(2026, 11, 22, tzinfo=timezone.utc)


def refusal(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message or code}}, "Operation")


class Pages:
    def __init__(self, pages):
        self.pages = pages

    def paginate(self, **_):
        return self.pages


class CloudFormation:
    """Plays CloudFormation: `statuses` are what a stack is at each look, None is not there."""

    def __init__(self, *statuses, changes=(), reason=""):
        self.statuses, self.changes, self.reason = list(statuses), list(changes), reason
        self.asked, self.events = [], []

    def describe_stacks(self, **_):
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status is None:
            raise refusal("ValidationError", "Stack with id gp does not exist")
        known = [{"ParameterKey": "Pool", "ParameterValue": "demo"}, {"ParameterKey": "LogDays", "ParameterValue": "7"}]
        return {"Stacks": [{"StackStatus": status, "Parameters": known}]}

    def describe_change_set(self, **_):
        if self.reason:
            return {"Status": "FAILED", "StatusReason": self.reason}
        return {"Status": "CREATE_COMPLETE", "Changes": self.changes}

    def get_paginator(self, _):
        return Pages([{"StackEvents": list(reversed(self.events))}])

    def __getattr__(self, name):
        return lambda **asked: self.asked.append((name, asked)) or {}


class Played:
    def __init__(self, cloudformation):
        self.cloudformation, self.region = cloudformation, "eu-central-1"


def stack(*statuses, **more):
    played = CloudFormation(*statuses, **more)
    return Stack(Played(played), "gp", sleep=lambda _: None), played


def change(action, name, kind, replacement=None, *targets):
    said = {"Action": action, "LogicalResourceId": name, "ResourceType": kind}
    said.update({"Replacement": replacement} if replacement else {})
    return {"ResourceChange": {**said, "Details": [{"Target": {"Name": target}} for target in targets]}}


# --- wishes


def test_only_what_was_wished_is_a_parameter():
    assert Wishes().parameters() == {}
    wished = Wishes(pool="demo", budget_usd=0, log_days=30).parameters()
    assert wished == {"Pool": "demo", "MonthlyBudgetUSD": "0", "LogDays": "30"}


def test_a_domain_needs_its_certificate():
    with pytest.raises(ConfigError, match="go together"):
        Wishes(domain="gp.example.org").parameters()


def test_a_webhook_is_a_secret(tmp_path):
    file = tmp_path / "webhook"
    file.write_text("https://chat.example.org/hook\ntoken\n")
    file.chmod(0o600)
    wished = Wishes(webhook_file=file, webhook_format="matrix").parameters()
    assert wished == {
        "AlertWebhook": "https://chat.example.org/hook",
        "AlertToken": "token",
        "AlertFormat": "matrix",
    }
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="can be read by others"):
        Wishes(webhook_file=file).parameters()
    file.write_text("http://chat.example.org/hook\n")
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="no https address") as caught:
        Wishes(webhook_file=file).parameters()
    assert "chat.example.org" not in str(caught.value)


# --- change sets


def test_the_first_change_set_makes_a_stack():
    made, played = stack(None, changes=[change("Add", "Bucket", "AWS::S3::Bucket")])
    plan = made.plan("template", {"Pool": "demo"})
    assert plan.is_first
    assert plan.changes == (Change("Add", "Bucket", "AWS::S3::Bucket"),)
    (asked,) = [words for name, words in played.asked if name == "create_change_set"]
    assert (asked["ChangeSetType"], asked["Capabilities"]) == ("CREATE", ["CAPABILITY_IAM"])
    assert asked["Parameters"] == [{"ParameterKey": "Pool", "ParameterValue": "demo"}]


def test_a_later_one_keeps_what_is_not_said_again():
    made, played = stack("UPDATE_COMPLETE")
    made.plan("template", {"LogDays": "30"})
    asked = played.asked[0][1]
    assert asked["ChangeSetType"] == "UPDATE"
    assert asked["Parameters"] == [
        {"ParameterKey": "LogDays", "ParameterValue": "30"},
        {"ParameterKey": "Pool", "UsePreviousValue": True},
    ]


@pytest.mark.parametrize(
    "reason", ["The submitted information didn't contain changes.", "No updates are to be performed."]
)
def test_nothing_to_change_is_no_error(reason):
    assert stack("CREATE_COMPLETE", reason=reason)[0].plan("template", {}).changes == ()


def test_a_change_set_that_is_refused_says_why():
    with pytest.raises(GlidepostError, match="refuses the change set: no such role"):
        stack("CREATE_COMPLETE", reason="no such role")[0].plan("template", {})


@pytest.mark.parametrize(
    ("status", "hint"), [("ROLLBACK_COMPLETE", "infra destroy --name gp"), ("UPDATE_IN_PROGRESS", "wait")]
)
def test_a_stack_that_cannot_be_changed_says_what_to_do(status, hint):
    with pytest.raises(GlidepostError, match=status) as caught:
        stack(status)[0].plan("template", {})
    assert hint in caught.value.hint


def test_discarding_the_first_plan_removes_the_empty_stack_too():
    made, played = stack(None)
    made.discard(Plan("c", is_first=True, changes=()))
    assert [name for name, _ in played.asked] == ["delete_change_set", "delete_stack"]
    made, played = stack("CREATE_COMPLETE")
    made.discard(Plan("c", is_first=False, changes=()))
    assert [name for name, _ in played.asked] == ["delete_change_set"]


def event(number, name, status, reason=""):
    said = {"EventId": str(number), "Timestamp": NOW, "LogicalResourceId": name, "ResourceStatus": status}
    return {**said, "ResourceStatusReason": reason} if reason else said


def test_each_event_is_told_once_and_the_first_failure_is_the_error():
    made, played = stack("UPDATE_COMPLETE", "UPDATE_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE")
    played.events = [event(0, "Old", "CREATE_COMPLETE")]
    told = []

    def say(text):
        told.append(text)

    def execute(**_):
        played.events += [
            event(1, "Log", "UPDATE_FAILED", "no such key"),
            event(2, "Aggregator", "UPDATE_FAILED", "cancelled"),
        ]

    played.execute_change_set = execute
    with pytest.raises(GlidepostError, match=r"UPDATE_ROLLBACK_COMPLETE: .*Log: no such key"):
        made.execute(Plan("c", is_first=False, changes=()), say)
    assert [line.split()[3] for line in told] == ["Log:", "Aggregator:"]


def test_what_would_be_lost_stands_first_and_is_grave():
    changes = [
        Change.from_aws(change("Add", "Log", "AWS::Logs::LogGroup")),
        Change.from_aws(change("Modify", "Bucket", "AWS::S3::Bucket", "True", "BucketName")),
        Change.from_aws(change("Modify", "Aggregator", "AWS::Lambda::Function", "Conditional", "Code", "Runtime")),
        Change.from_aws(change("Remove", "Minter", "AWS::IAM::User")),
    ]
    assert [item.is_grave for item in changes] == [False, True, False, True]
    console = Console(width=120)
    with console.capture() as capture:
        console.print(table(changes, "changes"))
    lines = [line.split() for line in capture.get().splitlines()][2:]
    assert [line[:2] for line in lines] == [
        ["remove", "Minter"],
        ["modify", "Aggregator"],
        ["modify", "Bucket"],
        ["add", "Log"],
    ]
    assert "may be replaced: Code, Runtime" in capture.get()
    assert "replaced: BucketName" in capture.get()


# --- keys


@pytest.fixture
def iam(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("iam", region_name="us-east-1")
        client.create_user(UserName="minter")
        yield client


def test_a_key_is_made_once_and_kept_in_a_file_for_its_owner_only(iam, tmp_path):
    file = tmp_path / "forms.ini"
    first = keys.ensure(iam, "minter", file)
    assert (first.is_new, file.stat().st_mode & 0o777) == (True, 0o600)
    text = file.read_text()
    file.chmod(0o644)
    second = keys.ensure(iam, "minter", file)
    assert (second.is_new, file.read_text(), file.stat().st_mode & 0o777) == (False, text, 0o600)


def test_a_lost_file_gets_a_new_key_and_the_old_one_is_named(iam, tmp_path):
    file = tmp_path / "forms.ini"
    keys.ensure(iam, "minter", file)
    old = keys.key_ids(iam, "minter")
    file.write_text("no credentials file")
    kept = keys.ensure(iam, "minter", file)
    assert (kept.is_new, list(kept.others)) == (True, old)
    with pytest.raises(GlidepostError, match="2 access keys already") as caught:
        keys.ensure(iam, "minter", file, renew=True)
    assert "aws iam delete-access-key --user-name minter" in caught.value.hint
    assert keys.remove_all(iam, "minter") == 2


# --- what the publisher gets


def test_the_store_table_names_everything_and_holds_no_secret():
    assert store_toml(OUTPUTS, "eu-central-1") == (
        '[store]\nbucket = "gp-bucket-1"\npublic_url = "https://d1.cloudfront.net"\nregion = "eu-central-1"\n'
        'credentials = "publisher.ini"\nforms_credentials = "forms.ini"\n'
    )
    assert 'endpoint = "https://127.0.0.1:1"' in store_toml(OUTPUTS, "eu-central-1", "https://127.0.0.1:1")


def test_the_header_allows_what_any_page_allows_and_no_frames():
    pages = (
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'self'; img-src 'none'\">",
        "<meta http-equiv='content-security-policy' content=\"default-src 'none'; style-src 'sha256-x'; img-src a:\">",
        "<p>nothing</p>",
    )
    assert union(policy_of(page) for page in pages) == (
        "default-src 'none'; style-src 'self' 'sha256-x'; img-src a:; frame-ancestors 'none'"
    )


# --- errors


def test_what_aws_refuses_comes_with_what_to_do():
    def refuse():
        raise refusal("AccessDenied", "not authorized to perform: iam:CreateUser")

    with pytest.raises(GlidepostError, match=r"AWS: make a user: .*iam:CreateUser") as caught:
        attempt("make a user", refuse)
    named = next(word for word in caught.value.hint.split() if word.endswith(".md"))
    assert (Path(__file__).parents[2] / named).exists()


def test_no_region_and_no_profile_are_errors_of_the_person(monkeypatch, tmp_path):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="no region"):
        Account.open(None, None)
    with pytest.raises(ConfigError, match="nobody"):
        Account.open("eu-central-1", "nobody")


def test_a_stack_that_is_not_there_cannot_be_destroyed():
    with pytest.raises(ConfigError, match="there is no stack gp in eu-central-1"):
        destroying.look(stack(None)[0])


def test_packing_prints_json(tmp_path, monkeypatch):
    from glidepost.infra.cloud import cli  # noqa: PLC0415
    from glidepost.infra.cloud.package import Package  # noqa: PLC0415

    def build(target, output):
        return Package(output, "ab", 7, target)

    monkeypatch.setattr(cli, "build", build)
    said = CliRunner().invoke(group, ["package", "--json", "--output", str(tmp_path / "a.zip")], catch_exceptions=False)
    assert json.loads(said.output) == {
        "path": str(tmp_path / "a.zip"),
        "sha256": "ab",
        "size_bytes": 7,
        "target": {"architecture": "arm64", "python": "3.13"},
    }
