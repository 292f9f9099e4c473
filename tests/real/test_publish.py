"""Publishing, and `glidepost publisher check`, on a real S3 server and a real pool."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Optional

import pytest
import requests
from buckets import empty

from glidepost.infra.demo import scene
from glidepost.infra.demo.store import public_policy
from glidepost.infra.demo.testbed import Pool, Store, wait_until
from glidepost.publisher import publish
from glidepost.publisher.check_forms import PROBES
from glidepost.publisher.check_store import StoreCheck
from glidepost.publisher.store import S3Store
from glidepost.schema.demand import Demand, GlideinRelease, Group
from glidepost.schema.keys import SigningKey
from glidepost.schema.publisher_config import PublisherConfig
from glidepost.schema.resources import Request
from glidepost.site_puller.web import WebSource

PROGRAM = Path(sys.executable).with_name("glidepost")
NOW = datetime.now(timezone.utc).replace(microsecond=0)


@pytest.fixture
def bucket(store: Store) -> Iterator[Store]:
    """The store with an empty bucket of its own, whose policy a test may spoil."""
    bucket = dataclasses.replace(store, bucket="publishing")
    bucket.make_bucket()
    yield bucket
    empty(bucket)


@pytest.fixture(scope="module")
def tarball(pool: Pool, session_folder: Path) -> Path:
    path = session_folder / "glidein-for-check.tar.gz"
    subprocess.run([PROGRAM, "glidein", "build", "--from", pool.condor.release, "--output", path], check=True)
    return path


@pytest.fixture
def publisher(pool: Pool, bucket: Store, tarball: Path, account_folder: Path) -> Path:
    """The configuration of a publisher with one enrolled site."""
    config = account_folder / "publisher.toml"
    root_key = glidepost("keys", "generate", account_folder / "root.key")[1].strip()
    text = scene.publisher_toml(pool, bucket, tarball)
    config.write_text(text.replace("[demand]\n", f'[demand]\nroot_key = "{root_key}"\n'))
    glidepost("keys", "generate", account_folder / "pool.key")
    line = glidepost("keys", "generate", account_folder / "north.key", "--site", "north")[1].strip()
    glidepost("publisher", "enroll", line, "--config", config)
    return config


def glidepost(*words: object) -> tuple[int, str]:
    command = [str(PROGRAM), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout + done.stderr


def check(config: Path) -> tuple[int, dict[str, dict[str, str]]]:
    code, said = glidepost("publisher", "check", "--config", config, "--json")
    return code, {finding["name"]: finding for finding in json.loads(said)}


def failures(config: Path) -> dict[str, str]:
    code, findings = check(config)
    failed = {name: item for name, item in findings.items() if item["state"] == "failed"}
    assert code == (1 if failed else 0)
    assert all(item["remedy"] for item in failed.values())
    return {name: item["text"] for name, item in failed.items()}


def set_policy(bucket: Store, policy: object) -> None:
    bucket.client().put_bucket_policy(Bucket=bucket.bucket, Policy=json.dumps(policy))


def spoil(config: Path, old: str, new: str) -> None:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


def allow(bucket: Store, action: str, resource: str) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": "*", "Action": [action], "Resource": [resource]}
    return {"Version": "2012-10-17", "Statement": [*public_policy(bucket.bucket)["Statement"], statement]}


def demand(groups: int, **changes: Any) -> Demand:
    made = tuple(Group(f"g{n:08x}", n + 1, NOW, 1, Request(1, 1000, 100)) for n in range(groups))
    whole = Demand(
        pool="demo",
        sequence=1,
        generated_at=NOW,
        expires_at=NOW + timedelta(minutes=30),
        collectors=("127.0.0.1:1",),
        complete=True,
        schedds=(),
        groups=made,
        glidein=GlideinRelease("stable", ()),
    )
    return dataclasses.replace(whole, **changes)


def s3(config: Path) -> S3Store:
    return S3Store.from_settings(PublisherConfig.load(config).store)


def write(config: Path, what: Demand, key: Optional[SigningKey] = None) -> None:
    settings = PublisherConfig.load(config)
    key = key or SigningKey.load(Path(settings.demand.signing_key))
    publish.write(s3(config), what, key, Path(settings.demand.state) / "publisher.sequence")


def test_a_small_demand_is_readable_for_any_client(publisher: Path, bucket: Store) -> None:
    write(publisher, demand(20))
    url = f"{bucket.public_url}/v1/demand.json"
    with urllib.request.urlopen(url) as plain:  # accepts no encoding
        assert plain.headers["Content-Encoding"] is None
        assert plain.headers["Cache-Control"] == "max-age=15"
        assert len(json.load(plain)["groups"]) == 20
    if curl := shutil.which("curl"):
        said = subprocess.run([curl, "-sS", url], capture_output=True, check=True).stdout
        assert json.loads(said)["sequence"] == 1


def test_a_large_demand_is_sent_compressed_and_said_to_be(publisher: Path, bucket: Store, tmp_path: Path) -> None:
    write(publisher, demand(2000))
    url = f"{bucket.public_url}/v1/demand.json"
    with urllib.request.urlopen(url) as plain:  # a store gives what was stored, whatever is accepted
        assert plain.headers["Content-Encoding"] == "gzip"
        assert plain.read(2) == b"\x1f\x8b"
    assert len(requests.get(url, timeout=60).json()["groups"]) == 2000
    if curl := shutil.which("curl"):
        said = subprocess.run([curl, "-sS", "--compressed", url], capture_output=True, check=True).stdout
        assert len(json.loads(said)["groups"]) == 2000
    source = WebSource(bucket.public_url, tmp_path, timeout_s=60)
    first = source.get("v1/demand.json", now=NOW)
    source.keep("v1/demand.json", first)
    second = source.get("v1/demand.json", now=NOW)
    assert (first.is_new, second.is_new) == (True, False)
    assert len(json.loads(second.body)["groups"]) == 2000
    assert publish.read(publish.current(s3(publisher))) == demand(2000)


def test_numbers_grow_though_the_bucket_was_restored(publisher: Path, bucket: Store) -> None:
    def published() -> int:
        return requests.get(f"{bucket.public_url}/v1/demand.json", timeout=60).json()["sequence"]

    client, where = bucket.client(), {"Bucket": bucket.bucket, "Key": "v1/demand.json"}
    assert glidepost("publisher", "run", "--config", publisher)[0] == 0
    backup = client.get_object(**where)["Body"].read()
    write(publisher, demand(1, sequence=40))
    client.put_object(**where, Body=backup)
    assert glidepost("publisher", "run", "--config", publisher)[0] == 0
    assert published() == 41
    (publisher.parent / "publisher.sequence").unlink()
    client.delete_object(**where)
    assert glidepost("publisher", "run", "--config", publisher)[0] == 0
    assert published() == 1, "with both memories gone, and no site that remembers, it begins again"


def test_show_and_a_dry_run_print_the_same_demand(publisher: Path) -> None:
    dry = glidepost("publisher", "run", "--config", publisher, "--dry-run", "--json")[1]
    assert glidepost("publisher", "run", "--config", publisher)[0] == 0
    shown = glidepost("publisher", "show", "--config", publisher, "--json")[1]
    volatile = {"generated_at", "expires_at", "signatures", "metrics"}
    before, after = ({k: v for k, v in json.loads(text).items() if k not in volatile} for text in (dry, shown))
    assert before == after
    assert "demand 1 of demo, " in glidepost("publisher", "show", "--config", publisher)[1]


# check


def test_a_publisher_that_works_passes_every_check(publisher: Path, bucket: Store, pool: Pool) -> None:
    code, before = check(publisher)
    assert (code, {name for name, item in before.items() if item["state"] == "skipped"}) == (
        0,
        {"keys of the pool", "published demand", "public: demand", "public: tarballs"},
    )
    assert glidepost("publisher", "run", "--config", publisher)[0] == 0
    code, after = check(publisher)
    assert (code, {item["state"] for item in after.values()}) == (0, {"ok"})
    assert {f"collector {pool.collector}", f"schedd ap@{pool.trust_domain}", "pool token"} <= set(after)
    assert "glidein-check@pool.test, good for" in after["pool token"]["text"]
    left = bucket.client().list_objects_v2(Bucket=bucket.bucket)["Contents"]
    assert not set(PROBES) & {item["Key"] for item in left}
    said = glidepost("publisher", "check", "--config", publisher)[1]
    assert [line.split()[0] for line in said.splitlines()] == ["ok"] * len(after)


@pytest.fixture
def told(pool: Pool) -> Iterator[Callable[[str], None]]:
    """Tells the pool's HTCondor something, as an admin does, until the test is over."""
    file = pool.folder / "config.d" / "91-told.conf"

    def tell(lines: str) -> None:
        file.write_text(lines)
        file.chmod(0o644)
        pool.run(["condor_reconfig"])

    yield tell
    file.unlink()
    pool.run(["condor_reconfig"])


def test_what_the_pool_lets_sites_do_is_tried(publisher: Path, pool: Pool, told: Callable[[str], None]) -> None:
    name = "pool token: reads"
    assert check(publisher)[1][name]["remedy"] == ""
    told("DENY_READ =\n")
    assert wait_until(lambda: check(publisher)[1][name]["remedy"] != "", 60)
    found = check(publisher)[1][name]
    assert found["text"].startswith("every site may read queue and configuration of collector ")
    assert f"schedd ap@{pool.trust_domain}" in found["text"]
    told(f"DENY_ADVERTISE_STARTD = glidein-*@{pool.trust_domain}\n")
    assert wait_until(lambda: set(failures(publisher)) == {"pool token: joins"}, 60)


def test_a_bucket_that_anybody_can_read_or_list_fails(publisher: Path, bucket: Store) -> None:
    arn = f"arn:aws:s3:::{bucket.bucket}"
    for action, resource, name, text in (
        ("s3:GetObject", f"{arn}/*", "private: heartbeats", "anybody can read"),
        ("s3:ListBucket", arn, "private: list", "anybody can list"),
    ):
        set_policy(bucket, allow(bucket, action, resource))
        found = failures(publisher)
        assert set(found) == {name}
        assert text in found[name]


def test_a_bucket_that_nobody_can_read_fails(publisher: Path, bucket: Store) -> None:
    assert glidepost("publisher", "run", "--config", publisher)[0] == 0
    bucket.client().delete_bucket_policy(Bucket=bucket.bucket)
    found = failures(publisher)
    assert set(found) == {"public: demand", "public: tarballs"}
    assert "HTTP 403" in found["public: demand"]


def test_a_bucket_whose_policy_forgets_the_keys_fails(publisher: Path, bucket: Store) -> None:
    assert glidepost("publisher", "run", "--config", publisher)[0] == 0
    set_policy(bucket, json.loads(json.dumps(public_policy(bucket.bucket)).replace("/v1/keys.json", "/v1/none")))
    found = failures(publisher)
    assert set(found) == {"public: demand"}
    assert "cannot follow a change of keys" in found["public: demand"]


def test_an_address_that_is_not_the_buckets_fails(publisher: Path, bucket: Store, store: Store) -> None:
    assert glidepost("publisher", "run", "--config", publisher)[0] == 0
    spoil(publisher, f'public_url = "{bucket.public_url}"', f'public_url = "{store.endpoint}/nowhere"')
    assert "public: demand" in failures(publisher)


def test_keys_that_the_store_does_not_know_fail_at_each_step(publisher: Path, bucket: Store) -> None:
    wrong = publisher.parent / "wrong.ini"
    wrong.touch(mode=0o600)
    wrong.write_text("[default]\naws_access_key_id = nobody\naws_secret_access_key = nothing\n")
    spoil(publisher, str(bucket.credentials), str(wrong))
    assert set(failures(publisher)) == {
        "store: list",
        "store: write and read",
        "published demand",
        "public: demand",
    } | {"public: tarballs"}
    wrong.chmod(0o644)
    assert set(failures(publisher)) == {"secret files", "store: credentials"}


def test_a_bucket_that_is_not_there_fails(publisher: Path, bucket: Store) -> None:
    assert glidepost("publisher", "run", "--config", publisher)[0] == 0
    spoil(publisher, f'bucket = "{bucket.bucket}"', 'bucket = "no-such-bucket"')
    assert "no-such-bucket/v1/: " in failures(publisher)["store: list"]  # (whose key may not even ask for it)


def test_a_demand_that_sites_refuse_fails(publisher: Path) -> None:
    write(publisher, demand(1, generated_at=NOW - timedelta(hours=2), expires_at=NOW - timedelta(hours=1)))
    assert "expired" in failures(publisher)["published demand"]
    write(publisher, demand(1), SigningKey.generate())
    assert "not signed by a key we trust" in failures(publisher)["published demand"]
    write(publisher, demand(1, pool="other"))
    assert failures(publisher)["published demand"] == "it is of pool other"


@pytest.mark.parametrize("seconds", [-90, 90])
def test_a_clock_that_is_wrong_fails(publisher: Path, seconds: int) -> None:
    def clock() -> datetime:
        return datetime.now(timezone.utc) + timedelta(seconds=seconds)

    settings = PublisherConfig.load(publisher)
    findings = {item.name: item for item in StoreCheck(settings, s3(publisher), clock=clock)()}
    assert findings["store: clock"].state == "failed"
    assert "chronyc" in findings["store: clock"].remedy


def test_a_pool_that_is_not_there_fails(publisher: Path, pool: Pool) -> None:
    dead = publisher.parent / "dead_config"
    dead.write_text(f"include : {pool.admin_config}\nCOLLECTOR_HOST = 127.0.0.1:1\n")
    spoil(publisher, str(pool.admin_config), str(dead))
    spoil(publisher, f'collectors = ["{pool.collector}"]', 'collectors = ["127.0.0.1:1"]')
    assert set(failures(publisher)) == {"collector 127.0.0.1:1", "census", "pool token: joins", "pool's version"}


def test_a_schedd_that_does_not_answer_is_named(publisher: Path, pool: Pool) -> None:
    spoil(publisher, 'min_idle = "0s"', f'min_idle = "0s"\nschedds = ["ap@{pool.trust_domain}", "gone@example.org"]')
    assert set(failures(publisher)) == {"schedd gone@example.org"}


def test_a_token_of_another_domain_or_key_fails(publisher: Path, pool: Pool) -> None:
    spoil(publisher, f'trust_domain = "{pool.trust_domain}"', 'trust_domain = "other.example.org"')
    assert "issues for 'pool.test'" in failures(publisher)["pool token"]
    spoil(publisher, 'trust_domain = "other.example.org"', 'trust_domain = "pool.test"\ntoken_key = "NONE"')
    assert set(failures(publisher)) == {"pool token"}


def test_files_that_are_missing_or_open_to_others_fail(publisher: Path) -> None:
    folder = publisher.parent
    (folder / "pool.key").chmod(0o644)
    (folder / "sites.toml").write_text("[north]\n")
    spoil(publisher, "tarballs = [", 'tarballs = ["none.tar.gz", ')
    assert set(failures(publisher)) == {"secret files", "signing key", "sites", "tarball none.tar.gz"}
    publisher.write_text(publisher.read_text().replace("[pool]", "[poool]"))
    assert set(failures(publisher)) == {"configuration"}
