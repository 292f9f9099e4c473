"""The template: valid, and nobody in it may do more than he must."""

from __future__ import annotations

import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from cfnlint.decode import cfn_yaml

from glidepost.infra.aggregator.run import aggregate_once
from glidepost.infra.cloud.deploy import TEMPLATE

TEXT = TEMPLATE.read_text(encoding="utf-8")
TREE = cfn_yaml.load(str(TEMPLATE))
RESOURCES = TREE["Resources"]
ALL_OF_THE_BUCKET = ["Bucket.Arn"]
PRIVATE = ("v1/heartbeats/north.json", "v1/logs/north/a.tar.gz", "v1/aggregator/kept.json", "v1/check/probe.json")
PUBLIC = ("index.html", "groups.html", "sites/north.html", "v1/demand.json", "v1/keys.json", "v1/sites/north.json")
PUBLIC += ("v1/glidein/0a.tar.gz", "v1/status.json", "v1/metrics.txt", "v1/history/5min.csv", "feed.xml")
PUBLIC += ("badges/north.svg", "assets/page.0a.css")


def as_list(value):
    return list(value) if isinstance(value, list) else [value]


def statements(name):
    """Returns the statements of a user's or role's only policy; what a condition leaves out is in it too."""
    (policy,) = RESOURCES[name]["Properties"]["Policies"]
    found = policy["PolicyDocument"]["Statement"]
    return [item["Fn::If"][1] if "Fn::If" in item else item for item in found]


def patterns(statement):
    """Returns a statement's keys in the bucket."""
    resources = [item.get("Fn::Sub", "") for item in as_list(statement["Resource"]) if "Fn::Sub" in item]
    return [item.split("/", 1)[1] for item in resources]


def may(name, action, key):
    return any(
        action in as_list(item["Action"]) and any(fnmatchcase(key, pattern) for pattern in patterns(item))
        for item in statements(name)
    )


def public_patterns():
    policy = RESOURCES["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    return patterns(policy[0])


def test_cfn_lint_finds_nothing():
    command = [str(Path(sys.executable).with_name("cfn-lint")), "-r", "us-east-1", "eu-central-1", "--", str(TEMPLATE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_template_fits_into_one_request():
    assert len(TEXT.encode()) < 51_200, "CloudFormation takes no more without a bucket of its own"


def test_nothing_is_named_so_that_two_stacks_cannot_stand_in_one_account():
    names = re.findall(r"(?:BucketName|UserName|RoleName|FunctionName|TopicName|LogGroupName): \"?[a-z]", TEXT)
    assert names == []


@pytest.mark.parametrize("name", ["Publisher", "Minter", "AggregatorRole"])
def test_no_one_may_do_everything(name):
    for statement in statements(name):
        assert statement["Effect"] == "Allow"
        assert not [action for action in as_list(statement["Action"]) if "*" in action]
        assert "*" not in as_list(statement["Resource"])
        assert "*" not in patterns(statement)


def test_the_publisher_writes_documents_and_nothing_else():
    written = {"v1/demand.json", "v1/keys.json", "v1/glidein/0a.tar.gz", "v1/sites/north.json", "v1/check/probe.json"}
    written.add("v1/aggregator/problems.json")  # what its alerts have told
    for key in (*PUBLIC, *PRIVATE, "v1/aggregator/problems.json"):
        assert may("Publisher", "s3:PutObject", key) == (key in written), key
    assert may("Publisher", "s3:GetObject", "v1/heartbeats/north.json")
    assert may("Publisher", "s3:GetObject", "v1/logs/north/a.tar.gz")


def test_what_the_publisher_removes_is_made_anew_or_was_a_probe():
    removed = [
        pattern for item in statements("Publisher") if "s3:DeleteObject" in item["Action"] for pattern in patterns(item)
    ]
    assert removed == ["v1/sites/*", "v1/check/*", "v1/heartbeats/check", "v1/logs/_check/*"]


def test_the_key_that_signs_forms_can_write_what_sites_upload_and_read_nothing():
    (only,) = statements("Minter")
    assert as_list(only["Action"]) == ["s3:PutObject"]
    assert patterns(only) == ["v1/heartbeats/*", "v1/logs/*"]


def test_the_aggregator_cannot_change_what_sites_believe():
    for key in ("v1/demand.json", "v1/keys.json", "v1/sites/north.json", "v1/glidein/0a.tar.gz", *PRIVATE[:2]):
        assert not may("AggregatorRole", "s3:PutObject", key), key
    removed = [item for item in statements("AggregatorRole") if "s3:DeleteObject" in as_list(item["Action"])]
    assert [patterns(item) for item in removed] == [["sites/*", "badges/*"]]


def test_the_aggregator_may_read_and_write_all_that_its_code_does(store, documents):
    store.objects["v1/sites/north.json"] = b"{}"
    asked = []
    read = store.get
    store.get = lambda key, **more: asked.append(key) or read(key, **more)
    for name in ("north", "south"):
        from glidepost.schema.document import encode  # noqa: PLC0415

        store.objects[f"v1/heartbeats/{name}.json"] = encode(documents.heartbeat(name).to_json())
    before = set(store.objects)
    for _ in range(2):
        aggregate_once(store, documents.now)
    written = set(store.objects) - before
    assert {"index.html", "v1/status.json"} <= written
    assert {key for key in written if not may("AggregatorRole", "s3:PutObject", key)} == set()
    assert {key for key in asked if not may("AggregatorRole", "s3:GetObject", key)} == set()
    for key in written:
        is_public = any(fnmatchcase(key, pattern) for pattern in public_patterns())
        assert is_public != key.startswith("v1/aggregator/"), key


def test_anybody_reads_what_is_public_through_cloudfront_only():
    for key in PUBLIC:
        assert any(fnmatchcase(key, pattern) for pattern in public_patterns()), key
    for key in PRIVATE:
        assert not any(fnmatchcase(key, pattern) for pattern in public_patterns()), key
    statement = RESOURCES["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"][0]
    assert statement["Principal"] == {"Service": "cloudfront.amazonaws.com"}
    assert "AWS:SourceArn" in statement["Condition"]["StringEquals"]
    block = RESOURCES["Bucket"]["Properties"]["PublicAccessBlockConfiguration"]
    assert list(block.values()) == [True] * 4


def test_without_tls_nobody_does_anything():
    policy = RESOURCES["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    denied = {item["Sid"]: item for item in policy if item["Effect"] == "Deny"}
    assert set(denied) == {"TlsOnly", "RecentTlsOnly"}
    assert all((item["Principal"], item["Action"]) == ("*", "s3:*") for item in denied.values())
    behaviour = RESOURCES["Distribution"]["Properties"]["DistributionConfig"]["DefaultCacheBehavior"]
    assert behaviour["ViewerProtocolPolicy"] == "https-only"


def test_no_secret_is_an_output_or_made_by_the_stack():
    assert "AWS::IAM::AccessKey" not in TEXT
    assert not [name for name in TREE["Outputs"] if "ey" in name]


def test_nothing_ends_by_itself_but_logs_and_probes():
    rules = RESOURCES["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    expired = [rule["Prefix"] for rule in rules if "ExpirationInDays" in rule]
    assert expired == ["v1/logs/", "v1/check/"]


def test_every_suppression_of_the_policy_linter_is_explained():
    skipped = [
        item
        for resource in RESOURCES.values()
        for item in resource.get("Metadata", {}).get("checkov", {}).get("skip", ())
    ]
    assert skipped
    assert all(len(item["comment"].split()) > 6 for item in skipped)
