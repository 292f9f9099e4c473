"""The whole template in an AWS account that MiniStack plays: deployed, used with the keys it gave, taken down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from aws import REGION, Aws, get_boto3
from botocore.exceptions import ClientError
from counting_proxy import counting
from deployed import Deployed, last_log, post_heartbeat

from glidepost.infra.cloud.policy import page_policy
from glidepost.infra.demo import scene
from glidepost.infra.demo.ministack import get_ministack
from glidepost.infra.demo.testbed import Account, Pool, wait_until
from glidepost.schema.keys import SigningKey
from glidepost.schema.publisher_config import PublisherConfig

WRITTEN = ("v1/keys.json", "v1/sites/a.json", "v1/glidein/x.tar.gz", "v1/status.json", "index.html")
WRITTEN += ("v1/heartbeats/a.json", "v1/logs/a/b.tar.gz", "v1/history/x", "sites/a.html", "v1/aggregator/kept.json")
WRITTEN += ("v1/aggregator/problems.json",)
WHERE = ("--name", "gp", "--region", REGION)
PULLER = """\
[site]
name = "{site}"
key = "site.key"
state = "state"
[pool]
url = "{url}"
public_key = "{key}"
[shapes.tiny]
backend = "local"
cpus = 1
memory = "512MiB"
disk = "1GiB"
walltime = "1h"
max_total = 1
scratch = "scratch"
"""


@pytest.fixture(scope="module")
def aws(account: Account, work: Path, session_folder: Path) -> Iterator[Aws]:
    python = get_ministack(work)
    aws = Aws(account, python, get_boto3(work, python), session_folder / "aws")
    try:
        aws.start()
        yield aws
    finally:
        aws.stop()


def deploy(aws: Aws, folder: Path, *more: str) -> tuple[int, str]:
    """Deploys the code that was packed once."""
    target = ("--arch", aws.architecture, "--python", aws.python_version)
    packed = aws.folder / "code.zip"
    if not packed.exists():
        code, said = aws.glidepost("infra", "package", *target, "--output", packed)
        assert code == 0, said
    return aws.glidepost("infra", "deploy", *WHERE, *target, "--zip", packed, "--output", folder, *more)


@pytest.fixture(scope="module")
def deployed(aws: Aws, session_folder: Path) -> Iterator[Deployed]:
    folder = session_folder / "deployed"
    wishes = ("--pool", "demo", "--mail", "admins@example.org", "--budget", "0")
    code, said = deploy(aws, folder, *wishes, "--yes")
    assert code == 0, said
    stack = aws.client("cloudformation").describe_stacks(StackName="gp")["Stacks"][0]
    domain = next(item["OutputValue"] for item in stack["Outputs"] if item["OutputKey"] == "DistributionDomain")
    with counting(aws.endpoint, host=domain, trust=aws.trust) as site:
        yield Deployed(aws, folder, said, site)


def stacks_of(aws: Aws, name: str) -> list[str]:
    found = aws.client("cloudformation").list_stacks()["StackSummaries"]
    states = [item["StackStatus"] for item in found if item["StackName"] == name]
    return [state for state in states if state != "DELETE_COMPLETE"]


def test_a_dry_run_shows_every_resource_and_leaves_nothing(aws: Aws, tmp_path: Path) -> None:
    code, said = aws.glidepost(
        "infra", "deploy", "--name", "dry", "--region", REGION, "--dry-run", "--output", tmp_path / "out"
    )
    assert code == 0, said
    assert "a new stack: dry" in said
    for line in ("add Bucket", "add Distribution", "add Aggregator", "add EachMinute", "add Minter"):
        assert line.split() in [words.split()[:2] for words in said.splitlines()], said
    assert "nothing was changed" in said
    assert not (tmp_path / "out").exists()
    assert stacks_of(aws, "dry") == []


def test_saying_no_changes_nothing(aws: Aws) -> None:
    code, said = aws.glidepost("infra", "deploy", "--name", "no", "--region", REGION, answer="n\n")
    assert code == 130, said
    assert stacks_of(aws, "no") == []


def test_a_deployment_ends_with_what_the_publisher_needs(deployed: Deployed) -> None:
    assert "create complete" in deployed.said
    text = (deployed.folder / "store.toml").read_text()
    assert text in deployed.said
    assert f'bucket = "{deployed.bucket}"' in text
    assert f'public_url = "{deployed.outputs["PublicUrl"]}"' in text
    for name in ("publisher.ini", "forms.ini"):
        file = deployed.folder / name
        assert file.stat().st_mode & 0o777 == 0o600
        secret = file.read_text().splitlines()[2].split(" = ")[1]
        assert secret not in deployed.said
        assert secret not in json.dumps(deployed.outputs)


def test_each_key_may_do_what_it_must_and_nothing_else(deployed: Deployed) -> None:
    put = {"Body": b"{}"}
    deployed.s3("publisher").put_object(Bucket=deployed.bucket, Key="v1/check/probe.json", **put)
    assert {key: deployed.code("publisher", "put_object", Key=key, **put) for key in WRITTEN} == {
        "v1/keys.json": "ok",
        "v1/sites/a.json": "ok",
        "v1/glidein/x.tar.gz": "ok",
        "v1/status.json": "AccessDenied",
        "index.html": "AccessDenied",
        "v1/heartbeats/a.json": "AccessDenied",
        "v1/logs/a/b.tar.gz": "AccessDenied",
        "v1/history/x": "AccessDenied",
        "sites/a.html": "AccessDenied",
        "v1/aggregator/kept.json": "AccessDenied",
        "v1/aggregator/problems.json": "ok",
    }
    assert {
        key: deployed.code("forms", "put_object", Key=key, **put)
        for key in ("v1/heartbeats/a.json", "v1/logs/a/b.tar.gz", "v1/demand.json", "v1/sites/a.json", "index.html")
    } == {
        "v1/heartbeats/a.json": "ok",
        "v1/logs/a/b.tar.gz": "ok",
        "v1/demand.json": "AccessDenied",
        "v1/sites/a.json": "AccessDenied",
        "index.html": "AccessDenied",
    }
    assert deployed.code("publisher", "list_objects_v2", Prefix="v1/") == "ok"
    assert deployed.code("publisher", "get_object", Key="v1/heartbeats/a.json") == "ok"
    assert deployed.code("publisher", "get_object", Key="v1/not/there") == "NoSuchKey"
    assert deployed.code("forms", "list_objects_v2") == "AccessDenied"
    assert deployed.code("forms", "get_object", Key="v1/heartbeats/a.json") == "AccessDenied"
    assert deployed.code("publisher", "delete_object", Key="v1/demand.json") == "AccessDenied"
    for key in ("v1/sites/a.json", "v1/check/probe.json"):
        assert deployed.code("publisher", "delete_object", Key=key) == "ok"
    assert deployed.code("forms", "delete_object", Key="v1/heartbeats/a.json") == "AccessDenied"
    for key in (item["Key"] for item in deployed.s3().list_objects_v2(Bucket=deployed.bucket)["Contents"]):
        deployed.s3().delete_object(Bucket=deployed.bucket, Key=key)


@pytest.mark.timeout(600)  # the schedule is AWS's, of a minute
def test_a_demand_a_form_and_the_schedule_make_the_page(deployed: Deployed, pool: Pool) -> None:
    config = publisher(deployed, pool)
    puller = enrolled(deployed, config, "north")
    run(deployed, "publisher", "run", "--config", config)
    run(deployed, "puller", "run", "--config", puller)  # (its form is of the minter's key)
    (sent,) = deployed.s3().list_objects_v2(Bucket=deployed.bucket, Prefix="v1/heartbeats/")["Contents"]
    assert sent["Key"] == "v1/heartbeats/north.json"
    assert requests.get(f"{deployed.site.url}/v1/demand.json", timeout=60).json()["pool"] == "demo"
    assert post_heartbeat(deployed, "north", body=b"x" * 70_000).status_code == 400
    assert post_heartbeat(deployed, "north", key="v1/heartbeats/south.json").status_code == 403

    def shows_the_site() -> bool:
        page = requests.get(f"{deployed.site.url}/sites/north.html", timeout=60)
        return page.status_code == 200 and "Last heard" in page.text

    # Nobody runs the aggregator but the schedule.
    assert wait_until(shows_the_site, 150, step_s=2), last_log(deployed)
    status = requests.get(f"{deployed.site.url}/v1/status.json", timeout=60).json()
    # (if it ran while the test above was at work, it remembers the mailbox of another site)
    assert (status["pool"], {site["site"]: site["state"] for site in status["sites"]}["north"]) == ("demo", "ok")
    private = {
        key: requests.get(f"{deployed.site.url}/{key}", timeout=60).status_code
        for key in ("v1/heartbeats/north.json", "v1/logs/a", "v1/aggregator/kept.json", "")
    }
    assert private.pop("") == 200
    assert set(private.values()) <= {403, 404}, private


def run(deployed: Deployed, *words: object) -> str:
    """Returns what a command says that must succeed."""
    code, said = deployed.aws.glidepost(*words)
    assert code == 0, said
    return said


def enrolled(deployed: Deployed, config: Path, site: str) -> Path:
    """Returns the configuration of a site, enrolled, whose glideins are too small for any user job."""
    pool_key, key = deployed.folder / "pool.key", deployed.folder / "site.key"
    run(deployed, "keys", "generate", pool_key)
    run(deployed, "keys", "generate", key, "--site", site)
    line = f"glidepost-site {site} {SigningKey.load(key).public}"
    run(deployed, "publisher", "enroll", line, "--config", config)
    puller = deployed.folder / "puller.toml"
    (deployed.folder / "scratch").mkdir()
    puller.write_text(PULLER.format(site=site, url=deployed.site.url, key=SigningKey.load(pool_key).public))
    return puller


def publisher(deployed: Deployed, pool: Pool) -> Path:
    """Returns the file of a publisher with the deployed [store], and nothing else of the store's."""

    class Nowhere:
        endpoint = bucket = credentials = forms_credentials = public_url = "x"

    text = scene.publisher_toml(pool, Nowhere(), Path("none"))  # type: ignore[arg-type]
    before = text.partition("[store]")[0]
    config = deployed.folder / "publisher.toml"
    config.write_text(before + (deployed.folder / "store.toml").read_text())
    loaded = PublisherConfig.load(config)
    assert loaded.store.forms_credentials == str(deployed.folder / "forms.ini")
    return config


def test_pages_come_with_the_headers_of_the_template(deployed: Deployed) -> None:
    deployed.s3().put_object(Bucket=deployed.bucket, Key="groups.html", Body=b"<p>", ContentType="text/html")
    headers = requests.get(f"{deployed.site.url}/groups.html", timeout=60).headers
    assert headers["Content-Security-Policy"] == page_policy()
    assert "default-src 'none'" in page_policy()
    assert "unsafe" not in page_policy()
    assert "frame-ancestors 'none'" in page_policy()
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Strict-Transport-Security"].startswith("max-age=31536000")


def test_a_second_deployment_changes_nothing_and_keeps_the_keys(deployed: Deployed) -> None:
    before = {name: (deployed.folder / name).read_text() for name in ("publisher.ini", "forms.ini", "store.toml")}
    code, said = deploy(deployed.aws, deployed.folder, "--yes")
    assert code == 0, said
    assert "gp is as it should be" in said
    assert {name: (deployed.folder / name).read_text() for name in before} == before


def test_what_a_person_does_not_say_again_stays(deployed: Deployed) -> None:
    code, said = deploy(deployed.aws, deployed.folder, "--yes", "--log-days", "30")
    assert code == 0, said
    assert ["modify", "Log", "Logs::LogGroup"] in [line.split()[:3] for line in said.splitlines()], said
    stack = deployed.aws.client("cloudformation").describe_stacks(StackName="gp")["Stacks"][0]
    parameters = {item["ParameterKey"]: item["ParameterValue"] for item in stack["Parameters"]}
    assert (parameters["LogDays"], parameters["Pool"], parameters["AlarmMail"]) == ("30", "demo", "admins@example.org")


def test_new_keys_leave_the_old_ones_until_somebody_removes_them(deployed: Deployed) -> None:
    old = (deployed.folder / "forms.ini").read_text().splitlines()[1].split(" = ")[1]
    code, said = deploy(deployed.aws, deployed.folder, "--yes", "--new-keys")
    assert code == 0, said
    assert f"other key {old} works too" in said
    code, said = deploy(deployed.aws, deployed.folder, "--yes", "--new-keys")
    assert code == 1
    assert "aws iam delete-access-key --user-name" in said


def test_keys_that_may_do_nothing_are_told_what_they_need(deployed: Deployed) -> None:
    (deployed.aws.folder / "forms.ini").write_text((deployed.folder / "forms.ini").read_text())
    code, said = deployed.aws.glidepost("infra", "deploy", *WHERE, "--dry-run", keys="forms")
    assert code == 1
    assert "AccessDenied" in said
    assert "docs/how-to/deploy-on-aws.md" in said


def test_destroying_keeps_the_bucket_unless_told(deployed: Deployed) -> None:
    bucket, user = deployed.bucket, deployed.outputs["MinterUser"]
    assert deployed.aws.glidepost("infra", "destroy", *WHERE, answer="n\n")[0] == 130
    assert deployed.bucket == bucket
    code, said = deployed.aws.glidepost("infra", "destroy", *WHERE, "--yes")
    assert code == 0, said
    assert f"{bucket} stays" in said
    admin = deployed.s3()
    assert [item["Name"] for item in admin.list_buckets()["Buckets"]] == [bucket]
    with pytest.raises(ClientError, match="NoSuchEntity"):
        deployed.aws.client("iam").get_user(UserName=user)
    code, said = deployed.aws.glidepost("infra", "destroy", *WHERE, "--yes")
    assert code == 2
    assert "there is no stack gp" in said
    for item in admin.list_objects_v2(Bucket=bucket).get("Contents", []):
        admin.delete_object(Bucket=bucket, Key=item["Key"])
    admin.delete_bucket(Bucket=bucket)


def test_a_bucket_can_go_too(aws: Aws, tmp_path: Path) -> None:
    assert deploy(aws, tmp_path, "--yes")[0] == 0
    file = tmp_path / "publisher.ini"
    bucket = next(line for line in (tmp_path / "store.toml").read_text().splitlines() if "bucket" in line).split('"')[1]
    aws.client("s3", file).put_object(Bucket=bucket, Key="v1/demand.json", Body=b"{}")
    code, said = aws.glidepost("infra", "destroy", *WHERE, "--yes", "--bucket-too")
    assert code == 0, said
    assert bucket in said
    assert aws.client("s3").list_buckets()["Buckets"] == []
