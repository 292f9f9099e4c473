"""The main job, end to end, by the commands that people use, on real parts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import pytest
import requests
from buckets import empty
from glideins import remove_user_jobs

from glidepost.infra.demo import scene
from glidepost.infra.demo.testbed import Account, Pool, Slurm, Store, wait_until
from glidepost.schema.demand import Demand
from glidepost.schema.heartbeat import Heartbeat
from glidepost.schema.keys import PublicKey
from glidepost.schema.signing import verify
from glidepost.schema.status import Status

PROGRAM = Path(sys.executable).with_name("glidepost")
SHORT = scene.Kind("short", 4, "request_cpus = 1\nrequest_memory = 200MB")
BIG = scene.Kind("big", 1, "request_cpus = 64\nrequest_memory = 200MB", runs=False)


@dataclass(frozen=True)
class Installation:
    """A publisher on the access point and one site, configured as an operator would."""

    pool: Pool
    store: Store
    folder: Path
    site: scene.Site

    @property
    def publisher(self) -> Path:
        return self.folder / "publisher.toml"

    def glidepost(self, *words: object, expect: int = 0) -> str:
        command = [str(PROGRAM), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == expect, f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def publish(self, *options: str) -> str:
        return self.glidepost("publisher", "run", "--config", self.publisher, *options)

    def pull(self) -> str:
        return self.glidepost("puller", "run", "--config", self.site.config)

    def get(self, key: str) -> dict:
        return requests.get(f"{self.store.public_url}/{key}", timeout=60).json()

    def submit(self, kind: scene.Kind, count: Optional[int] = None) -> int:
        output = self.pool.account.make_folder(self.folder / "user-jobs")
        return self.pool.submit(scene.description(kind, output), count or kind.count)

    def is_done(self, cluster: int) -> bool:
        return not self.pool.user_jobs(f"ClusterId == {cluster}")

    def scratch(self) -> list[Path]:
        return list((self.site.folder / "scratch").iterdir())


def install(
    pool: Pool, store: Store, folder: Path, site: scene.Site, tarball: Path, slurm: Optional[Slurm]
) -> Installation:
    made = Installation(pool, store, folder, site)
    made.publisher.write_text(scene.publisher_toml(pool, store, tarball))
    public_key = made.glidepost("keys", "generate", folder / "pool.key").strip()
    pool.account.make_folder(site.folder)
    pool.account.make_folder(site.folder / "scratch")
    line = made.glidepost("keys", "generate", site.folder / "site.key", "--site", site.name).strip()
    made.glidepost("publisher", "enroll", line, "--config", made.publisher)
    text = scene.puller_toml(site, store, public_key, pool.account, slurm)
    site.config.write_text(text.replace(f'idle_shutdown = "{scene.IDLE_SHUTDOWN}"', 'idle_shutdown = "20s"'))
    return made


@pytest.fixture(scope="session")
def tarball(pool: Pool, session_folder: Path) -> Path:
    path = session_folder / "glidein.tar.gz"
    subprocess.run([PROGRAM, "glidein", "build", "--from", pool.condor.release, "--output", path], check=True)
    return path


@pytest.fixture
def empty_pool(pool: Pool, store: Store) -> Iterator[Pool]:
    """The pool with no user job and no glidein, and nothing of an earlier test in the store."""
    empty(store)
    yield pool
    remove_user_jobs(pool)
    assert wait_until(lambda: not pool.slots(), 150, step_s=0.5), "glideins are still in the pool"


def test_user_jobs_are_run_by_glideins_that_the_demand_asked_for(
    empty_pool: Pool, store: Store, tarball: Path, account_folder: Path
) -> None:
    site = scene.Site("north", account_folder / "north", "local")
    made = install(empty_pool, store, account_folder, site, tarball, None)
    cluster, hopeless = made.submit(SHORT), made.submit(BIG)

    made.publish("--aggregate")
    published = made.get("v1/demand.json")
    assert verify(published, [PublicKey.parse(made.glidepost("keys", "show", made.folder / "pool.key").strip())])
    demand = Demand.from_json(published)
    assert [group.idle_jobs for group in demand.groups] == [4, 1]
    assert demand.groups[0].sites == {"north": 4}

    assert "submit " in made.glidepost("puller", "plan", "--config", site.config)
    assert not (site.folder / "state" / "ledger.json").exists(), "a plan does nothing"
    assert "2 missing" in made.pull()
    # While those glideins start, a second cycle must not ask for more on the same demand.
    assert "covered" in made.pull()
    assert wait_until(lambda: made.is_done(cluster), 60, step_s=0.5)

    late = made.submit(SHORT, 2)
    assert wait_until(lambda: made.is_done(late), 60, step_s=0.5), "glideins that run pick up what comes later"

    made.publish()
    assert Demand.from_json(made.get("v1/demand.json")).pool_view["north"]["small"].glideins == 2
    assert wait_until(lambda: not empty_pool.slots() and not made.scratch(), 90, step_s=0.5)

    made.pull()
    made.publish("--aggregate")
    status = Status.from_json(made.get("v1/status.json"))
    assert [(item.site, item.state, item.outcomes) for item in status.sites] == [("north", "ok", {"idle-shutdown": 2})]
    assert [group.blocked for group in status.groups] == [{"north/small": "asks for 64 cpus of 2"}]
    page = requests.get(f"{store.public_url}/index.html", timeout=60)
    assert "asks for 64 cpus of 2" in page.text
    assert "no: asks for 64 cpus of 2" in made.glidepost("puller", "why", "--config", site.config)
    assert not made.is_done(hopeless)
    heartbeat = store.client().get_object(Bucket=store.bucket, Key="v1/heartbeats/north.json")["Body"].read()
    assert Heartbeat.from_json(json.loads(heartbeat)).shapes[0].reason == "no-share"


def test_glideins_of_a_slurm_site_run_user_jobs(
    empty_pool: Pool, store: Store, slurm: Slurm, tarball: Path, account_folder: Path
) -> None:
    site = scene.Site("south", account_folder / "south", "slurm")
    made = install(empty_pool, store, account_folder, site, tarball, slurm)
    cluster = made.submit(SHORT)
    made.publish()
    assert "2 missing" in made.pull()
    assert wait_until(lambda: made.is_done(cluster), 90, step_s=0.5), slurm.run(["squeue"])
    assert wait_until(lambda: not slurm.run(["squeue", "--noheader"]).strip(), 60, step_s=0.5)
    assert made.scratch() == []
    made.pull()
    assert wait_until(lambda: "gp-" not in made.glidepost("puller", "status", "--config", site.config), 60, step_s=1)


def test_a_pool_that_does_not_answer_is_not_a_pool_without_demand(
    empty_pool: Pool, store: Store, tarball: Path, account_folder: Path
) -> None:
    site = scene.Site("north", account_folder / "north", "local")
    made = install(empty_pool, store, account_folder, site, tarball, None)
    made.submit(SHORT)
    made.publish()
    before = made.get("v1/demand.json")
    dead = made.folder / "dead_config"
    dead.write_text(f"include : {empty_pool.admin_config}\nCOLLECTOR_HOST = 127.0.0.1:1\n")
    text = made.publisher.read_text().replace(str(empty_pool.admin_config), str(dead))
    made.publisher.write_text(text)
    assert "error: census:" in made.glidepost("publisher", "run", "--config", made.publisher, expect=1)
    assert made.get("v1/demand.json") == before


def test_a_batch_system_that_does_not_answer_gets_nothing(
    empty_pool: Pool, store: Store, tarball: Path, account_folder: Path, account: Account
) -> None:
    site = scene.Site("south", account_folder / "south", "slurm")
    made = install(empty_pool, store, account_folder, site, tarball, None)
    prefix = json.dumps([*account.prefix, "env", "PATH=/nonexistent"])
    text = site.config.read_text()
    site.config.write_text(text.replace(json.dumps(list(account.prefix)), prefix))
    made.submit(SHORT)
    made.publish()
    said = made.glidepost("puller", "run", "--config", site.config, expect=1)
    assert "queue-unknown" in said
    assert json.loads((site.folder / "state" / "ledger.json").read_text())["entries"] == {}
