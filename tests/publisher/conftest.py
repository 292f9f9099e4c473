"""A publisher without daemons: rows as a schedd gives them, a pool that says what it is told, a store in memory."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from glidepost.publisher.census import Answer, Row, ScheddAnswer
from glidepost.publisher.store import S3Store
from glidepost.schema.demand import Demand, GlideinRelease, Group
from glidepost.schema.errors import PoolError
from glidepost.schema.publisher_config import (
    DemandSettings,
    PoolSettings,
    PublisherConfig,
    StoreSettings,
)
from glidepost.schema.resources import Request

MANIFEST = {"kind": "glidein-manifest/1", "os": "el9", "arch": "x86_64", "condor_version": "25.14.1"}
ROW = Row(
    idle_jobs=1,
    idle_since=1_000_000_000,
    owner="ada",
    accounting_group=None,
    problem=None,
    cpus=1,
    memory_mib=1000,
    disk_kib=100 * 1024,
    gpus=0,
    max_runtime_s=0,
    ad="[Requirements = true]",
)


@pytest.fixture
def make_row():
    """Makes a row: make_row(3, owner="bob", cpus=2)."""

    def make(idle_jobs: int = 1, **changes) -> Row:
        return replace(ROW, idle_jobs=idle_jobs, **changes)

    return make


@dataclass
class FakePool:
    """Says what it is told. `refused` are sites for which it makes no token; `tokens` those it was asked for."""

    answer: Answer
    refused: frozenset[str] = frozenset()
    tokens: list[str] = field(default_factory=list)

    def ask(self) -> Answer:
        return self.answer

    def token(self, site: str) -> str:
        if site in self.refused:
            raise PoolError(f"no token for {site}", hint="in this test")
        self.tokens.append(site)
        return f"aaa.{site}.ccc"


@pytest.fixture
def make_pool():
    """Makes a pool with one schedd that gives these rows."""

    def make(*rows: Row, error=None, refused=(), others=(), slots=()) -> FakePool:
        schedds = (ScheddAnswer("ap1", rows, error), *others)
        return FakePool(Answer(schedds, tuple(slots)), frozenset(refused))

    return make


@pytest.fixture(scope="module")
def memory():
    """S3 in memory. One for a module: to make a client takes longer than a test."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.delenv("AWS_PROFILE", raising=False)
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="glidepost")
        yield client


@pytest.fixture
def aws(memory):
    """S3 in memory, with one empty bucket."""
    for item in memory.list_objects_v2(Bucket="glidepost").get("Contents", ()):
        memory.delete_object(Bucket="glidepost", Key=item["Key"])
    return memory


@pytest.fixture
def store(aws) -> S3Store:
    return S3Store(aws, "glidepost")


@pytest.fixture
def config(tmp_path, pool_key, site_key) -> PublisherConfig:
    """A publisher with one enrolled site, north."""
    pool_key.save(tmp_path / "pool.key")
    (tmp_path / "sites.toml").write_text(f'[north]\npublic_key = "{site_key.public}"\n', encoding="utf-8")
    return PublisherConfig(
        pool=PoolSettings("demo", ("cm.example.org:9618",), "pool.test"),
        demand=DemandSettings(str(tmp_path / "pool.key"), str(tmp_path / "sites.toml"), state=str(tmp_path / "state")),
        store=StoreSettings("glidepost", "https://store.example.org"),
    )


@pytest.fixture
def make_tarball(tmp_path):
    """Makes a tarball whose manifest is this text."""

    def make(manifest=None, *, member: str = "glidein/manifest.json", name: str = "glidein.tar.gz") -> Path:
        text = manifest if isinstance(manifest, str) else json.dumps(manifest or MANIFEST)
        info = tarfile.TarInfo(member)
        info.size = len(text)
        with tarfile.open(tmp_path / name, "w:gz") as archive:
            archive.addfile(info, io.BytesIO(text.encode()))
        return tmp_path / name

    return make


# For hypothesis, which wants fixtures that are made once.


@pytest.fixture(scope="session")
def group_anywhere() -> Group:
    return Group("g00000001", 1, datetime(2026, 11, 22, tzinfo=timezone.utc), 1, Request(1, 1000, 100))


@pytest.fixture(scope="session")
def make_demand_anywhere():
    def make(groups, unevaluated) -> Demand:
        moment = datetime(2026, 11, 22, tzinfo=timezone.utc)
        return Demand(
            pool="demo",
            sequence=1,
            generated_at=moment,
            expires_at=moment,
            collectors=("cm.example.org:9618",),
            complete=True,
            schedds=(),
            groups=groups,
            unevaluated=unevaluated,
            glidein=GlideinRelease("stable", ()),
        )

    return make
