"""Real glideins in a real Grid Engine, for real user jobs: publisher, puller, qsub, pool."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from buckets import empty

from glidepost.infra.demo import scene
from glidepost.infra.demo.testbed import GridEngine, Pool, Store, wait_until

PROGRAM = Path(sys.executable).with_name("glidepost")
KIND = scene.Kind("short", 4, "request_cpus = 1\nrequest_memory = 200MB")


def glidepost(*words: object) -> str:
    done = subprocess.run([str(PROGRAM), *map(str, words)], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def tarball(pool: Pool, account_folder: Path) -> Path:
    path = account_folder.parent / "gridengine-glidein.tar.gz"
    glidepost("glidein", "build", "--from", pool.condor.release, "--output", path)
    return path


@pytest.fixture
def config(pool: Pool, store: Store, gridengine: GridEngine, tarball: Path, account_folder: Path) -> Path:
    """The configuration of a site whose batch system is Grid Engine, enrolled in the pool."""
    empty(store)
    site = scene.Site("south", account_folder / "south", "gridengine")
    publisher = account_folder / "publisher.toml"
    publisher.write_text(scene.publisher_toml(pool, store, tarball))
    public_key = glidepost("keys", "generate", account_folder / "pool.key").strip()
    pool.account.make_folder(site.folder)
    pool.account.make_folder(site.folder / "scratch")
    line = glidepost("keys", "generate", site.folder / "site.key", "--site", site.name).strip()
    glidepost("publisher", "enroll", line, "--config", publisher)
    prefix = [*pool.account.prefix, "env", *(f"{name}={value}" for name, value in gridengine.env().items())]
    text = scene.puller_toml(site, store, public_key, pool.account, None)
    text = text.replace(f'idle_shutdown = "{scene.IDLE_SHUTDOWN}"', 'idle_shutdown = "20s"')
    options = 'options = {memory_resource = "h_vmem", disk_resource = "tmpfree", parallel_environment = "smp"}'
    plain = f"command_prefix = {json.dumps(list(pool.account.prefix))}\n"
    assert plain in text
    site.config.write_text(text.replace(plain, f"command_prefix = {json.dumps(prefix)}\n{options}\n"))
    return site.config


def test_glideins_in_grid_engine_run_user_jobs(
    pool: Pool, gridengine: GridEngine, config: Path, account_folder: Path
) -> None:
    publisher = account_folder / "publisher.toml"
    output = pool.account.make_folder(account_folder / "user-jobs")
    cluster = pool.submit(scene.description(KIND, output), KIND.count)
    glidepost("publisher", "run", "--config", publisher)
    assert "2 missing" in glidepost("puller", "run", "--config", config)
    account = ["-u", gridengine.account.name]
    assert wait_until(lambda: not pool.user_jobs(f"ClusterId == {cluster}"), 90, step_s=0.5), gridengine.run(["qstat"])
    # Each knows in its name which batch job it is, and ends when there is nothing more to do.
    assert wait_until(lambda: not gridengine.run(["qstat", *account]), 60, step_s=0.5)
    assert list((config.parent / "scratch").iterdir()) == []
    logs = [path.read_text(errors="replace") for path in (config.parent / "state").rglob("*.out")]
    assert len(logs) == 2
    assert wait_until(lambda: not pool.slots('GLIDEPOST_Site == "south"'), 150, step_s=0.5)
    glidepost("puller", "run", "--config", config)
    assert wait_until(lambda: "gp-" not in glidepost("puller", "status", "--config", config), 60, step_s=1)
