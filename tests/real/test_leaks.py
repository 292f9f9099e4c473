"""A whole run on real parts, and then: is any of its secrets where it does not belong?"""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from buckets import empty
from glideins import Built, remove_user_jobs
from leaks import SEED, Secrets, Watch, bytes_of, files_below

from glidepost.infra.demo import scene
from glidepost.infra.demo.testbed import Pool, Slurm, Store, wait_until
from glidepost.schema.keys import SigningKey
from glidepost.schema.mailbox import Mailbox

PROGRAM = Path(sys.executable).with_name("glidepost")
# What has a secret because it must: keys, what a mailbox brought, and the servers' own. Relative to the folder of all.
HOMES = {
    "the pool's signing keys": r"site/pool\.key[^/]*",
    "a site's key": r"site/(north|south)/site\.key",
    "token and log form": r"site/(north|south)/state/\.?(token|log-form)(\.[a-z0-9_]{8})?",
    "a glidein's copy": r"site/(north|south)/scratch/glidepost-[^/]+/(tokens|keys)\.d/[^/]+",
    "HTCondor's key for tokens": r"pool/[^/]*/?passwords\.d/POOL",
    "the publisher's keys for the store": r"store/[a-z-]+\.ini",
    "the store's list of its users": r"store/identities\.json",
}
# A user job that looks for the token wherever it can.
SEARCH = """\
#!/bin/sh
env
cat $(find ../../.. -type f -size -2000k) 2>/dev/null
cat /proc/self/environ /proc/[0-9]*/environ /proc/[0-9]*/cmdline /proc/self/fd/* 2>/dev/null
for folder in {folders}; do
  cat "$folder"/site.key "$folder"/state/token "$folder"/state/log-form
  cat "$folder"/scratch/*/tokens.d/* "$folder"/scratch/*/keys.d/*
  cat $(find "$folder"/state "$folder"/scratch -type f -size -2000k)
done 2>/dev/null
cat /proc/$PPID/root/$PWD/../../../tokens.d/* /proc/$PPID/cwd/../tokens.d/* 2>/dev/null
echo searched
"""
SUBMIT = """\
executable = {script}
should_transfer_files = yes
request_cpus = 1
request_memory = 100MB
request_disk = 10MB
output = {folder}/{site}.out
error = {folder}/{site}.err
log = {folder}/log
requirements = TARGET.GLIDEPOST_Site == "{site}"
"""


@dataclass
class Run:
    """A pool, a store and two sites, and all that commands have said."""

    pool: Pool
    store: Store
    slurm: Slurm
    folder: Path
    said: list[str] = field(default_factory=list)

    @property
    def sites(self) -> tuple[scene.Site, scene.Site]:
        return (
            scene.Site("north", self.folder / "north", "local"),
            scene.Site("south", self.folder / "south", "slurm"),
        )

    def glidepost(self, *words: object, expect: int = 0) -> str:
        done = subprocess.run(
            [PROGRAM, "-vv", *map(str, words)], capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == expect, f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        self.said += [done.stdout, done.stderr]
        return done.stdout

    def install(self, tarball: Path) -> None:
        publisher = self.folder / "publisher.toml"
        publisher.write_text(scene.publisher_toml(self.pool, self.store, tarball))
        public_key = self.glidepost("keys", "generate", self.folder / "pool.key").strip()
        for site in self.sites:
            self.pool.account.make_folder(site.folder)
            self.pool.account.make_folder(site.folder / "scratch")
            line = self.glidepost("keys", "generate", site.folder / "site.key", "--site", site.name).strip()
            self.glidepost("publisher", "enroll", line, "--config", publisher)
            slurm = self.slurm if site.backend == "slurm" else None
            text = scene.puller_toml(site, self.store, public_key, self.pool.account, slurm)
            site.config.write_text(f'{text}logs = "always"\n')
            # As at a real site: of the account that user jobs run as too.
            self.pool.account.give(site.folder / "site.key", 0o600)

    def publish(self) -> None:
        self.glidepost("publisher", "run", "--config", self.folder / "publisher.toml", "--aggregate")

    def pull(self) -> None:
        for site in self.sites:
            self.glidepost("puller", "run", "--config", site.config)

    def search(self) -> list[int]:
        """Submits a user job to each site, which looks for secrets."""
        output = self.pool.account.make_folder(self.folder / "user-jobs")
        script = self.folder / "search.sh"
        script.write_text(SEARCH.format(folders=" ".join(str(site.folder) for site in self.sites)))
        script.chmod(0o755)
        return [self.pool.submit(SUBMIT.format(script=script, folder=output, site=site.name)) for site in self.sites]

    def carry_out(self) -> Secrets:
        """Does all that a pool and its sites do in their lives, and returns what of it must be kept."""
        self.publish()
        self.pull()  # the first heartbeats
        self.glidepost("keys", "rotate", "--config", self.folder / "publisher.toml")
        clusters = self.search()
        self.publish()
        self.pull()
        done = wait_until(
            lambda: not any(self.pool.user_jobs(f"ClusterId == {cluster}") for cluster in clusters), 120, step_s=0.5
        )
        assert done, self.slurm.run(["squeue"])
        secrets = self.secrets()
        scratch = [site.folder / "scratch" for site in self.sites]
        self.publish()  # nothing is wanted any more
        assert wait_until(lambda: not any(list(folder.iterdir()) for folder in scratch), 90, step_s=0.5)
        self.pull()
        self.publish()
        for verb in ("check", "why", "status", "plan"):
            for site in self.sites:
                words = [PROGRAM, "-vv", "puller", verb, "--config", site.config]
                ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
                self.said += [ended.stdout, ended.stderr]
        return secrets

    def objects(self) -> dict[str, bytes]:
        """Returns all that is in the bucket."""
        client = self.store.client()
        keys = [item["Key"] for item in client.list_objects_v2(Bucket=self.store.bucket)["Contents"]]
        return {key: client.get_object(Bucket=self.store.bucket, Key=key)["Body"].read() for key in keys}

    def secrets(self) -> Secrets:
        """Returns all that this run has to keep."""
        found = Secrets()
        for path in files_below([self.folder]):
            if bytes_of(path).startswith(SEED.encode()):
                found.add_key(path)
        client = self.store.client()
        for site in self.sites:
            body = client.get_object(Bucket=self.store.bucket, Key=f"v1/sites/{site.name}.json")["Body"].read()
            key = SigningKey.load(site.folder / "site.key")
            found.add_letter(Mailbox.from_json(json.loads(body)).open(key, site=site.name))
        for file in files_below([self.store.folder]):
            if file.suffix == ".ini":
                for match in re.findall(r"aws_secret_access_key *= *(\S+)", file.read_text()):
                    found.add(f"the secret key in {file.name}", match)
        for file in files_below([self.pool.folder, self.pool.admin_config.parent]):
            if file.parent.name == "passwords.d":
                found.add(f"HTCondor's key {file.name}", file.read_text().strip())
        return found


@pytest.fixture
def run(pool: Pool, store: Store, slurm: Slurm, built: Built, account_folder: Path) -> Iterator[Run]:
    empty(store)
    made = Run(pool, store, slurm, account_folder)
    made.install(built.path)
    yield made
    remove_user_jobs(pool)
    assert wait_until(lambda: not pool.slots(), 150, step_s=0.5), "glideins are still in the pool"


def home_of(run: Run, path: Path) -> str:
    """Returns which home of secrets a file is, "" for any other."""
    roots = {
        "site": [run.folder],
        "pool": [run.pool.folder, run.pool.admin_config.parent],
        "store": [run.store.folder],
    }
    places = [
        f"{name}/{path.relative_to(root)}" for name, found in roots.items() for root in found if root in path.parents
    ]
    return next((home for home, pattern in HOMES.items() if any(re.fullmatch(pattern, place) for place in places)), "")


@dataclass
class Found:
    """Where secrets are: out of place, and in their homes."""

    secrets: Secrets
    leaks: dict[str, set[str]] = field(default_factory=dict)
    homes: dict[str, list[Path]] = field(default_factory=dict)

    def look(self, where: str, body: bytes) -> None:
        """Looks at what must not hold any."""
        if found := self.secrets.found_in(body):
            self.leaks.setdefault(where, set()).update(found)

    def look_at_what_was_seen(self, run: Run, watch: Watch) -> None:
        """Looks at what commands said, and at what was there for a moment."""
        for text in run.said:
            self.look(f"said: {text[:80]}", text.encode())
        for body in watch.processes:
            self.look(f"a process: {body[:80]!r}", body)
        for path, bodies in watch.bodies.items():
            if not home_of(run, path):
                self.look(f"while it ran: {path}", b"\n".join(bodies))

    def look_at_file(self, run: Run, path: Path) -> None:
        """Looks at what may be a home."""
        body, home = bytes_of(path), home_of(run, path)
        if not home:
            self.look(str(path), body)
        elif self.secrets.found_in(body):
            self.homes.setdefault(home, []).append(path)


def test_no_secret_of_a_whole_run_is_found_outside_of_its_home(run: Run) -> None:
    with Watch([run.folder, run.slurm.folder]) as watch:
        found = Found(run.carry_out())
    assert len(found.secrets.known) > 30
    found.look_at_what_was_seen(run, watch)
    for path in files_below([run.folder, run.pool.folder, run.pool.admin_config.parent, run.slurm.folder]):
        found.look_at_file(run, path)
    for path in files_below([run.store.folder]):
        if run.store.folder / "data" not in path.parents:  # the server's own; what it gives out is looked at next
            found.look_at_file(run, path)
    objects = run.objects()
    for key, body in objects.items():
        found.look(f"object {key}", body)
    assert found.leaks == {}
    # It was a whole run, and the search does find what is there; and what is there is its owner's alone.
    assert {"v1/demand.json", "v1/keys.json", "v1/sites/north.json", "v1/heartbeats/south.json"} <= set(objects)
    assert any("logs" in key for key in objects), "glideins have uploaded their logs"
    for name in ("north", "south"):
        assert "searched" in (run.folder / "user-jobs" / f"{name}.out").read_text(errors="replace")
    spooled = [body for path, bodies in watch.bodies.items() if run.slurm.folder in path.parents for body in bodies]
    assert any(b"GLIDEPOST_NAME=" in body for body in spooled), "Slurm's copy of a batch script was looked at"
    assert set(found.homes) == set(HOMES) - {"a glidein's copy"}
    for path in (path for paths in found.homes.values() for path in paths):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
