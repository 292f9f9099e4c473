"""The metrics of the demand against user jobs that really run in glideins."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from buckets import empty
from glideins import remove_user_jobs

from glidepost.infra.demo import scene
from glidepost.infra.demo.testbed import Pool, Store, wait_until
from glidepost.schema.demand import Demand, Metrics

PROGRAM = Path(sys.executable).with_name("glidepost")
LONG = scene.Kind("long", 3, "request_cpus = 1\nrequest_memory = 200MB")


def glidepost(*words: object) -> str:
    done = subprocess.run([str(PROGRAM), *map(str, words)], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def site(pool: Pool, store: Store, account_folder: Path) -> scene.Site:
    """A publisher and a site beside it, configured and enrolled."""
    empty(store)
    tarball = account_folder / "glidein.tar.gz"
    glidepost("glidein", "build", "--from", pool.condor.release, "--output", tarball)
    site = scene.Site("north", account_folder / "north", "local")
    publisher = account_folder / "publisher.toml"
    publisher.write_text(scene.publisher_toml(pool, store, tarball))
    key = glidepost("keys", "generate", account_folder / "pool.key").strip()
    pool.account.make_folder(site.folder)
    pool.account.make_folder(site.folder / "scratch")
    line = glidepost("keys", "generate", site.folder / "site.key", "--site", site.name).strip()
    glidepost("publisher", "enroll", line, "--config", publisher)
    site.config.write_text(scene.puller_toml(site, store, key, pool.account, None))
    return site


def test_metrics_count_user_jobs_in_glideins_and_how_long_they_waited(
    pool: Pool, site: scene.Site, account_folder: Path
) -> None:
    publisher = account_folder / "publisher.toml"

    def metrics() -> Metrics:
        said = glidepost("publisher", "run", "--config", publisher, "--dry-run", "--json")
        found = Demand.from_json(json.loads(said)).metrics
        assert found is not None
        return found

    def becomes(true: Callable[[Metrics], bool]) -> bool:
        return wait_until(lambda: true(metrics()), 60, step_s=1)

    before = metrics()
    assert (before.running_inside, before.running_outside, before.glidein_cpus) == (0, 0, {})
    output = pool.account.make_folder(account_folder / "user-jobs")
    cluster = pool.submit(
        scene.description(LONG, output).replace("sleep 4", f"until test -e {output}/go; do sleep 1; done"), LONG.count
    )
    glidepost("publisher", "run", "--config", publisher)
    glidepost("puller", "run", "--config", site.config)
    try:
        assert becomes(lambda seen: (seen.running_inside, seen.running_outside) == (3, 0))
        assert metrics().glidein_cpus == {"north": 4}
        assert "running: 3 user jobs in glideins, 0 elsewhere" in glidepost(
            "publisher", "run", "--config", publisher, "--dry-run"
        )
        (output / "go").touch()
        assert wait_until(lambda: not pool.user_jobs(f"ClusterId == {cluster}"), 90, step_s=1)
        assert becomes(lambda seen: (seen.started_jobs or 0) - (before.started_jobs or 0) == 3)
        waited = (metrics().wait_s or 0) - (before.wait_s or 0)
        assert 3 <= waited <= 3 * 60, "seconds, of all three together"
    finally:
        remove_user_jobs(pool)
        assert wait_until(lambda: not pool.slots(), 150, step_s=0.5), "glideins are still in the pool"
