"""What a site admin would see in a year of the puller at a real Slurm, in a minute: too few, too many, orders, faults.

The pool is played by two signed documents in a folder; its glideins do nothing but sleep.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from pool_tokens import ENDLESS

from glidepost.backends.base import JobState
from glidepost.backends.slurm import SlurmBackend
from glidepost.infra.demo.testbed import Slurm, wait_until
from glidepost.schema.demand import Demand, Group
from glidepost.schema.document import encode
from glidepost.schema.heartbeat import Heartbeat, ShapeReport
from glidepost.schema.keys import SigningKey
from glidepost.schema.mailbox import Form, Letter, Mailbox
from glidepost.schema.signing import sign

PROGRAM = Path(sys.executable).with_name("glidepost")

# Each glidein takes a whole node of the two.
CONFIG = """
[site]
name = "north"
key = "site.key"
state = "state"

[pool]
url = "file:pool"
public_key = "{key}"

[limits]
excess_grace = "1s"

[shapes.cpu]
backend = "slurm"
command_prefix = {prefix}
cpus = 4
memory = "2GiB"
disk = "2GiB"
walltime = "30m"
max_total = 6
max_per_cycle = 3
scratch = {scratch}
setup = ["sleep 240"]
"""
# Before every command of Slurm. While the first file is there, squeue asks a controller that is not; while the second
# one is, sbatch's answer does not come through.
PREFIX = """
test "$1" != squeue || test ! -e {deaf} || SLURM_CONF={deaf}
test "$1" != sbatch || test ! -e {lossy} || {{ "$@" >/dev/null; echo "Socket timed out" >&2; exit 1; }}
exec "$@"
"""


@dataclass
class Site:
    """A site whose pool is a folder."""

    slurm: Slurm
    folder: Path
    pool_key: SigningKey
    site_key: SigningKey
    make_demand: Callable[..., Demand]
    make_group: Callable[..., Group]
    sequence: int = 0

    @property
    def deaf(self) -> Path:
        return self.folder / "slurm.conf"

    @property
    def lossy(self) -> Path:
        return self.folder / "lossy"

    def lose_controller(self) -> None:
        """Lets squeue ask at a port where nobody listens, and give up soon."""
        text = Path(self.slurm.env()["SLURM_CONF"]).read_text()
        text = re.sub(r"SlurmctldPort=\d+", "SlurmctldPort=1", text)
        self.deaf.write_text(f"{text}\nMessageTimeout=1\nTCPTimeout=1\n")

    def configure(self) -> None:
        variables = [f"{name}={self.slurm.env()[name]}" for name in ("PATH", "SLURM_CONF", "MUNGE_SOCKET")]
        prefix = [
            *self.slurm.account.prefix,
            "env",
            *variables,
            "sh",
            "-c",
            PREFIX.format(deaf=self.deaf, lossy=self.lossy),
            "sh",
        ]
        self.site_key.save(self.folder / "site.key")
        scratch = self.slurm.account.make_folder(self.folder / "scratch")
        self.config.write_text(
            CONFIG.format(key=self.pool_key.public, prefix=json.dumps(prefix), scratch=json.dumps(str(scratch)))
        )
        (self.folder / "pool" / "v1" / "sites").mkdir(parents=True)
        now = datetime.now(timezone.utc).replace(microsecond=0)
        letter = Letter("north", now, now + timedelta(hours=48), Form("http://127.0.0.1:1/", {"key": "x"}), ENDLESS)
        self._put("v1/sites/north.json", Mailbox.pack(letter, self.site_key.public).to_json())

    @property
    def config(self) -> Path:
        return self.folder / "puller.toml"

    def want(self, user_jobs: int) -> None:
        """Publishes a demand of so many user jobs, of which a glidein runs one."""
        self.sequence += 1
        now = datetime.now(timezone.utc).replace(microsecond=0)
        groups = [self.make_group(user_jobs, cpus=4)] if user_jobs else []
        demand = self.make_demand(
            *groups, sequence=self.sequence, generated_at=now, expires_at=now + timedelta(minutes=30)
        )
        self._put("v1/demand.json", demand.to_json())

    def _put(self, key: str, data: dict[str, object]) -> None:
        (self.folder / "pool" / key).write_bytes(encode(sign(data, self.pool_key)))

    def glidepost(self, *words: str, expect: int = 0) -> str:
        command = [str(PROGRAM), "puller", *words, "--config", str(self.config)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == expect, f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def cycle(self, expect: int = 0) -> ShapeReport:
        """Returns what a cycle reported; one that has nothing new to say leaves the last report as it is."""
        self.glidepost("run", expect=expect)
        report = Heartbeat.from_json(json.loads((self.folder / "pool" / "outbox" / "heartbeat.json").read_bytes()))
        return report.shapes[0]

    def glideins(self, state: JobState) -> list[str]:
        """Returns the batch ids of those in a state, the oldest first."""
        backend = SlurmBackend({})
        jobs = backend.parse_query(self.slurm.run(backend.query().argv))
        found = [job.batch_id for job in jobs if job.name.startswith("gp-") and job.state is state]
        return sorted(found, key=lambda batch_id: [int(number) for number in batch_id.split("_")])

    def queued(self) -> list[str]:
        return self.glideins(JobState.IDLE)

    def running(self) -> list[str]:
        return self.glideins(JobState.RUNNING)


@pytest.fixture
def idle_site(slurm: Slurm, account_folder: Path, pool_key, site_key, make_demand, make_group) -> Iterator[Site]:
    """A site for whose glideins six user jobs wait."""
    site = Site(slurm, account_folder, pool_key, site_key, make_demand, make_group)
    site.configure()
    site.want(6)
    yield site
    slurm.run(["scancel", f"--user={slurm.account.name}"])
    assert wait_until(lambda: not site.queued() + site.running(), 60)


@pytest.fixture
def site(idle_site: Site) -> Site:
    """A site with six glideins, of two submissions: two run, and there is no room for the other four."""
    assert [idle_site.cycle().submitted for _ in range(3)] == [3, 3, 0]
    assert wait_until(lambda: len(idle_site.running()) == 2, 60), idle_site.slurm.run(["squeue"])
    assert len(idle_site.queued()) == 4
    return idle_site


def test_what_nothing_waits_for_is_removed_the_youngest_first_and_what_runs_is_left_alone(site: Site) -> None:
    running, queued = site.running(), site.queued()
    site.want(4)
    assert site.cycle().removed == 0, "the grace has begun only now"
    time.sleep(1.5)  # by whole seconds
    report = site.cycle()
    assert (report.reason, report.removed) == ("excess-removed", 2)
    assert site.queued() == queued[:2]
    site.want(0)
    assert site.cycle().removed == 2
    assert site.cycle().removed == 0
    assert (site.queued(), site.running()) == ([], running)


def test_a_site_is_drained_and_goes_on_as_ordered(site: Site) -> None:
    running = site.running()
    site.glidepost("drain", "cpu")
    report = site.cycle()
    assert (report.reason, report.removed, report.submitted) == ("drained", 4, 0)
    assert (site.queued(), site.running()) == ([], running)
    assert site.cycle().submitted == 0
    site.glidepost("resume", "cpu")
    assert site.cycle().submitted == 3
    assert (len(site.queued()), site.running()) == (3, running)


def test_what_squeue_does_not_list_is_neither_submitted_again_nor_removed(site: Site) -> None:
    before = site.queued(), site.running()
    site.want(50)
    site.lose_controller()
    assert site.cycle(expect=1).reason == "queue-unknown"
    site.want(0)
    assert site.cycle(expect=1).removed == 0
    site.glidepost("drain")
    assert site.cycle(expect=1).removed == 0
    assert (site.queued(), site.running()) == before
    site.glidepost("resume")
    site.want(50)
    site.deaf.unlink()
    assert site.cycle().submitted == 0
    assert (site.queued(), site.running()) == before


def test_glideins_whose_submission_was_not_answered_are_found_again_and_counted(idle_site: Site) -> None:
    idle_site.lossy.touch()
    assert idle_site.cycle(expect=1).reason == "submit-failed"
    idle_site.lossy.unlink()
    report = idle_site.cycle()
    assert report.submitted == 3
    assert report.counts is not None
    assert report.counts.total == 3
    assert idle_site.cycle().submitted == 0
    # (one that starts between the two is in both)
    assert wait_until(lambda: len(idle_site.queued() + idle_site.running()) == 6, 60)
