"""How often each part asks a real S3 server: what `glidepost infra cost` counts with is what the code does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from buckets import empty
from counting_proxy import Proxy, counting
from pool_tokens import make_token

from glidepost.infra import cost
from glidepost.infra.aggregator.files import SITE_PAGE_S
from glidepost.infra.aggregator.run import aggregate_once
from glidepost.infra.demo.testbed import Store
from glidepost.publisher import cycle
from glidepost.publisher.census import Answer, Row, ScheddAnswer
from glidepost.publisher.mailboxes import RENEW_AFTER
from glidepost.publisher.store import S3Store
from glidepost.schema.document import encode
from glidepost.schema.heartbeat import Heartbeat
from glidepost.schema.keys import SigningKey
from glidepost.schema.publisher_config import DemandSettings, PoolSettings, PublisherConfig, StoreSettings
from glidepost.site_puller.heartbeat import EVERY

PROGRAM = Path(sys.executable).with_name("glidepost")
MINUTE = timedelta(minutes=1)
# Its glideins are too small for the user jobs here: none is submitted.
PULLER = """\
[site]
name = "site0"
key = "site0.key"
state = "state"
[pool]
url = "{url}"
public_key = "{key}"
[shapes.none]
backend = "local"
cpus = 1
memory = "512MiB"
disk = "1GiB"
walltime = "1h"
max_total = 1
scratch = "scratch"
"""


class Pool:
    """A pool with ten idle user jobs."""

    def ask(self) -> Answer:
        row = Row(10, 1_000_000_000, "ada", None, None, 1, 1000, 100 * 1024, 0, 0, "[Requirements = true]")
        return Answer((ScheddAnswer("ap1", (row,), None),), ())

    def token(self, site: str) -> str:
        return make_token(datetime.now(timezone.utc), sub=f"glidein-{site}@pool")


@dataclass
class Scene:
    """A publisher and its sites at a bucket of their own; a proxy before the server counts."""

    proxy: Proxy
    folder: Path
    bucket: Store
    sites: int
    minutes: int = 0
    start: datetime = field(default_factory=lambda: datetime.now(timezone.utc).replace(microsecond=0))
    sequence: dict[str, int] = field(default_factory=dict)

    @property
    def config(self) -> PublisherConfig:
        return PublisherConfig(
            pool=PoolSettings("demo", ("127.0.0.1:9618",), "pool.test"),
            demand=DemandSettings(
                str(self.folder / "pool.key"), str(self.folder / "sites.toml"), state=str(self.folder)
            ),
            store=StoreSettings(
                self.bucket.bucket,
                self.public_url,
                self.proxy.url,
                credentials=str(self.bucket.credentials),
                forms_credentials=str(self.bucket.forms_credentials),
            ),
        )

    @property
    def public_url(self) -> str:
        return f"{self.proxy.url}/{self.bucket.bucket}"

    @property
    def store(self) -> S3Store:
        return S3Store.from_settings(self.config.store)

    def enroll(self) -> None:
        SigningKey.generate().save(self.folder / "pool.key")
        lines = []
        for number in range(self.sites):
            key = SigningKey.generate()
            key.save(self.folder / f"site{number}.key")
            lines.append(f'[site{number}]\npublic_key = "{key.public}"\n')
        (self.folder / "sites.toml").write_text("".join(lines))

    def report(self, *sites: int) -> None:
        """Writes heartbeats, past the proxy."""
        for number in sites:
            name = f"site{number}"
            self.sequence[name] = self.sequence.get(name, 0) + 1
            heartbeat = Heartbeat(name, "i", "0.1.0", self.sequence[name], self.now, ())
            key = f"v1/heartbeats/{name}.json"
            self.bucket.client().put_object(Bucket=self.bucket.bucket, Key=key, Body=encode(heartbeat.to_json()))

    @property
    def now(self) -> datetime:
        return self.start + self.minutes * MINUTE

    def counted(self, action: Any) -> tuple[int, int]:
        """Returns the writes and reads of an action, a minute after the one before."""
        self.minutes += 1
        self.proxy.asked.clear()
        action()
        return self.proxy.writes(), self.proxy.reads()

    def publish(self) -> None:
        published = cycle.run(self.config, self.store, Pool(), now=self.now)
        assert not published.failures

    def aggregate(self) -> None:
        aggregate_once(self.store, self.now)


@pytest.fixture(params=[1, 4])
def scene(request: pytest.FixtureRequest, store: Store, tmp_path: Path) -> Iterator[Scene]:
    bucket = replace(store, bucket=f"requests-{request.param}")
    bucket.make_bucket()
    with counting(store.endpoint) as proxy:
        scene = Scene(proxy, tmp_path, bucket, request.param)
        scene.enroll()
        yield scene
    empty(bucket)


def test_a_publisher_lists_and_reads_what_is_new_only(scene: Scene) -> None:
    expected, sites = cost.PUBLISHER, scene.sites
    nothing_new = (expected.writes, expected.reads)
    scene.report(*range(sites))
    first = scene.counted(scene.publish)
    assert first[0] == expected.writes + sites + 2, "a mailbox each, the demand, and the pool's keys"
    scene.counted(scene.publish)  # looks once at each mailbox that the first has written
    for _ in range(2):
        assert scene.counted(scene.publish) == nothing_new
    scene.report(0)
    writes, reads = scene.counted(scene.publish)
    assert reads == expected.reads + cost.READS_PER_HEARTBEAT
    assert writes == expected.writes
    assert scene.counted(scene.publish) == nothing_new


def test_a_publisher_reads_a_mailbox_twice_when_it_renews_it(scene: Scene) -> None:
    for _ in range(2):
        scene.publish()
    scene.minutes += int(RENEW_AFTER / MINUTE)
    runs = [scene.counted(scene.publish) for _ in range(3)]
    reads = sum(run[1] - cost.PUBLISHER.reads for run in runs)
    assert reads == scene.sites * cost.READS_PER_MAILBOX


def test_an_aggregator_writes_and_reads_as_often_as_the_bill_says(scene: Scene) -> None:
    scene.publish()
    scene.report(*range(scene.sites))
    scene.counted(scene.aggregate)
    writes = reads = 0
    runs = int(SITE_PAGE_S / MINUTE.total_seconds())
    for number in range(runs):
        if number == runs // 2:
            scene.report(*range(scene.sites))
        more_writes, more_reads = scene.counted(scene.aggregate)
        writes, reads = writes + more_writes, reads + more_reads
    per_run = cost.AGGREGATOR
    assert writes == pytest.approx(runs * per_run.writes + scene.sites * cost.WRITES_PER_SITE_PAGE, rel=0.06)
    assert reads == pytest.approx(runs * per_run.reads + scene.sites * cost.READS_PER_HEARTBEAT, rel=0.06)


def test_a_site_fetches_three_documents_a_cycle_and_writes_one(scene: Scene) -> None:
    scene.publish()
    (scene.folder / "scratch").mkdir()
    config = scene.folder / "puller.toml"
    config.write_text(PULLER.format(url=scene.public_url, key=SigningKey.load(scene.folder / "pool.key").public))
    asked = []
    for _ in range(2):
        scene.proxy.asked.clear()
        command = [str(PROGRAM), "puller", "run", "--config", str(config)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        asked.append((scene.proxy.writes(), scene.proxy.reads()))
    assert asked == [(1, cost.PULLER_FETCHES), (0, cost.PULLER_FETCHES)], "nothing has changed since"


def test_the_bill_knows_how_often_things_are_renewed() -> None:
    assert timedelta(seconds=cost.HEARTBEAT_S) == EVERY
    assert timedelta(seconds=cost.MAILBOX_S) == RENEW_AFTER
