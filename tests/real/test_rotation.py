"""A pool that changes its keys, and sites that slept meanwhile, by the commands of people, on a real S3 server."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from buckets import empty
from glideins import Built

from glidepost.infra.demo import scene
from glidepost.infra.demo.testbed import Pool, Store
from glidepost.schema.document import encode
from glidepost.schema.keychain import KEYS_KEY
from glidepost.schema.keys import SigningKey
from glidepost.schema.signing import sign

PROGRAM = Path(sys.executable).with_name("glidepost")
DEMAND_KEY = "v1/demand.json"
ONE_CORE = scene.Kind("one core", 20, "request_cpus = 1\nrequest_memory = 200MB")


def glidepost(*words: object, expect: int = 0, stdin: str = "") -> str:
    command = [str(PROGRAM), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, input=stdin, check=False, timeout=120)
    assert done.returncode == expect, f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@dataclass(frozen=True)
class Scene:
    """A pool with a root key, a site that pinned it (north), and one that did not (south)."""

    pool: Pool
    bucket: Store
    folder: Path

    @property
    def publisher(self) -> Path:
        return self.folder / "publisher.toml"

    @property
    def root(self) -> Path:
        return self.folder / "offline" / "root.key"

    def puller(self, site: str) -> Path:
        return self.folder / site / "puller.toml"

    def publish(self) -> None:
        glidepost("publisher", "run", "--config", self.publisher)

    def keys(self, verb: str, *words: object) -> str:
        return glidepost("keys", verb, *words, "--config", self.publisher)

    def planned(self, site: str) -> int:
        """Returns how many glideins a run would submit now."""
        said = glidepost("puller", "plan", "--config", self.puller(site), "--json")
        return sum(shape["submit"] for shape in json.loads(said)["shapes"])

    def get(self, key: str) -> bytes:
        return self.bucket.client().get_object(Bucket=self.bucket.bucket, Key=key)["Body"].read()

    def put(self, key: str, body: bytes) -> None:
        self.bucket.client().put_object(Bucket=self.bucket.bucket, Key=key, Body=body)

    def edit(self, file: Path, old: str, new: str) -> None:
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))


@pytest.fixture
def bucket(store: Store) -> Iterator[Store]:
    """The store with an empty bucket of its own."""
    bucket = dataclasses.replace(store, bucket="rotation")
    bucket.make_bucket()
    yield bucket
    empty(bucket)


@pytest.fixture
def played(pool: Pool, bucket: Store, built: Built, account_folder: Path) -> Iterator[Scene]:
    made = Scene(pool, bucket, account_folder)
    public_key = glidepost("keys", "generate", account_folder / "pool.key").strip()
    root_key = glidepost("keys", "generate", made.root).strip()
    made.publisher.write_text(scene.publisher_toml(pool, bucket, built.path))
    made.edit(made.publisher, "[demand]\n", f'[demand]\nroot_key = "{root_key}"\n')
    for name in ("north", "south"):
        site = scene.Site(name, account_folder / name, "local")
        pool.account.make_folder(site.folder)
        pool.account.make_folder(site.folder / "scratch")
        line = glidepost("keys", "generate", site.folder / "site.key", "--site", name).strip()
        glidepost("publisher", "enroll", line, "--config", made.publisher)
        site.config.write_text(scene.puller_toml(site, bucket, public_key, pool.account, None))
    made.edit(made.puller("north"), "public_key", f'root_key = "{root_key}"\npublic_key')
    yield made
    if pool.user_jobs():
        pool.run(["condor_rm", "-all"])


def test_sites_that_slept_follow_rotations_and_a_revocation(played: Scene) -> None:
    stolen = SigningKey.load(played.folder / "pool.key")
    played.publish()
    for site in ("north", "south"):
        glidepost("puller", "run", "--config", played.puller(site))
    old_keys = played.get(KEYS_KEY)

    for _ in range(3):
        assert "the next publisher run publishes it" in played.keys("rotate")
        played.publish()
    played.pool.submit(
        scene.description(ONE_CORE, played.pool.account.make_folder(played.folder / "user-jobs")), ONE_CORE.count
    )
    played.publish()
    assert played.planned("south") > 0

    request = played.folder / "offline" / "request.json"
    played.keys("revoke", "--request", request)
    assert "epoch    1" in glidepost("keys", "endorse", request, "--root", played.root, stdin="y\n")
    assert "(epoch 1)" in played.keys("revoke", "--endorsed", request)
    played.publish()

    assert played.planned("north") > 0, "it slept through all of that"
    said = glidepost("puller", "plan", "--config", played.puller("south"), expect=3)
    assert "replaced with its root key, which this site did not pin" in said
    assert "ask the pool's admin for the new public key" in said
    answer = json.loads(played.keys("list", "--json"))
    assert (answer["epoch"], answer["links"]) == (1, 5)
    played.edit(played.puller("south"), str(stolen.public), answer["current"])
    assert played.planned("south") > 0

    # The thief writes to the store: what the stolen key signs is refused, with the old list of keys too.
    played.pool.run(["condor_rm", "-all"])
    played.publish()
    for site in ("north", "south"):
        glidepost("puller", "run", "--config", played.puller(site))
    forged = json.loads(played.get(DEMAND_KEY))
    played.put(DEMAND_KEY, encode(sign({**forged, "sequence": 2**50}, stolen)))
    for keys in (played.get(KEYS_KEY), old_keys):
        played.put(KEYS_KEY, keys)
        for site in ("north", "south"):
            said = glidepost("puller", "run", "--config", played.puller(site), expect=3)
            assert "not signed by a key we trust" in said
            assert json.loads((played.folder / site / "state" / "ledger.json").read_text())["entries"] == {}

    played.publish()
    for site in ("north", "south"):
        glidepost("puller", "run", "--config", played.puller(site))
    found = {item["name"]: item for item in _check(played.puller("north"))}
    assert (found["pool's keys"]["state"], found["demand"]["state"]) == ("ok", "ok")
    assert answer["current"] in found["pool's keys"]["remedy"], "the pinned key signs no more"


def _check(config: Path) -> list[dict[str, str]]:
    command = [str(PROGRAM), "puller", "check", "--config", str(config), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return json.loads(done.stdout)
