"""Whatever stands in the files that the puller keeps, or that glideins leave: a cycle ends as it should.

Half of a file after the disk was full, one of a later version, one that somebody edited: a cycle may say so, rebuild
what it had, or wait for a person; it never ends in another exception, and never submits more than it may.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import requests
from fuzzing import fuzz, slow_fuzz
from hostile_stage import POOL, ROOT, SITE, good
from hypothesis import given
from hypothesis import strategies as st
from mutations import changed_bytes, json_bytes

from glidepost.backends.base import BatchJob, GlideinRequest, JobState
from glidepost.publisher import last_good
from glidepost.schema.errors import ConfigError, GlidepostError
from glidepost.schema.heartbeat import Limits
from glidepost.schema.puller_config import GlideinOptions, PullerConfig, Shape
from glidepost.schema.resources import Resources
from glidepost.site_puller import outcomes, record
from glidepost.site_puller.cycle import Cycle
from glidepost.site_puller.fetch import open_source
from glidepost.site_puller.heartbeat import Route
from glidepost.site_puller.queue import Answer

NOW = datetime(2026, 11, 22, 9, tzinfo=timezone.utc)
LIMITS = Limits(max_total=4, max_queued=4, max_running=4, max_per_cycle=4)
OUTCOME = {
    "kind": "outcome/1",
    "glidein": "north-cpu-1",
    "name": "gp-12345-abcde",
    "site": "north",
    "shape": "cpu",
    "host": "node01.example.org",
    "batch_job": "1",
    "outcome": "ok",
    "started_at": "2026-11-22T08:00:00Z",
    "ended_at": "2026-11-22T09:00:00Z",
    "startd_at": "2026-11-22T08:01:00Z",
    "claimed_at": None,
    "user_jobs": 3,
    "busy_core_s": 100,
    "idle_core_s": 20,
    "condor_version": "25.14.1",
    "checks": {"cvmfs": "failed", "gpu": "ok"},
}


@dataclass
class MemoryQueue:
    """A batch system in memory."""

    identity: tuple[object, ...] = ("memory",)
    listed: list[BatchJob] = field(default_factory=list)
    submissions: int = 0

    def count(self) -> Answer:
        return Answer(tuple(self.listed), None)

    def submit(self, request: GlideinRequest) -> str:
        self.submissions += 1
        self.listed += [
            BatchJob(f"{self.submissions}_{number}", request.name, JobState.IDLE) for number in range(request.count)
        ]
        return str(self.submissions)

    def remove(self, batch_ids) -> None:
        self.listed = [job for job in self.listed if job.batch_id not in batch_ids]


@dataclass
class Folder:
    """A site's folder."""

    path: Path

    @property
    def state(self) -> Path:
        return self.path / "state"

    def config(self) -> PullerConfig:
        resources = Resources(cpus=1, memory_mib=2048, disk_mib=10_000, walltime_s=3600, gpus=0)
        shape = Shape(name="cpu", backend="local", resources=resources, limits=LIMITS, options={})
        return PullerConfig(
            site="north",
            glidein_site="North",
            key=self.path / "site.key",
            state=self.state,
            url=f"file://{self.path}/store",
            public_key=POOL.public,
            root_key=ROOT.public,
            shapes=(shape,),
            glidein=GlideinOptions(),
        )

    def cycle(self, queue: MemoryQueue, now: datetime) -> None:
        config = self.config()
        with requests.Session() as session:
            source, route = open_source(config, session), Route.of(config, session)
            cycle = Cycle(config, now=now, queues={"cpu": queue}, source=source, route=route)
            cycle.act(cycle.prepare())


@pytest.fixture(scope="module")
def grown(tmp_path_factory) -> Folder:
    """A site after three cycles, with a record of a glidein that has ended, and all files that there may be."""
    folder = Folder(tmp_path_factory.mktemp("grown"))
    SITE.save(folder.path / "site.key")
    for key, body in good(NOW).objects.items():
        (folder.path / "store" / key).parent.mkdir(parents=True, exist_ok=True)
        (folder.path / "store" / key).write_bytes(body)
    queue = MemoryQueue()
    for minutes in (0, 1):
        folder.cycle(queue, NOW + timedelta(minutes=minutes))
    records = folder.config().outcomes_folder
    records.mkdir(parents=True, exist_ok=True)
    (records / "1.json").write_text(json.dumps({**OUTCOME, "name": queue.listed[0].name}), encoding="utf-8")
    del queue.listed[0]
    folder.cycle(queue, NOW + timedelta(minutes=2))
    (folder.state / "drained.json").write_text('{"shapes": {}, "resumed": {"cpu": "2026-11-22T09:00:00Z"}}')
    (folder.path / "queue.json").write_text(json.dumps([[job.batch_id, job.name] for job in queue.listed]))
    return folder


FILES = (
    "ledger.json",
    "breaker.json",
    "reports.json",
    "drained.json",
    "cycle.json",
    "heartbeat.json",
    "keys.json",
    "demand.sequence",
    "instance",
    "documents/v1-demand.json",
    "documents/v1-demand.etag",
    "documents/v1-sites-north.json",
)


def test_the_files_that_are_fuzzed_are_there(grown):
    assert [name for name in FILES if not (grown.state / name).exists()] == ["documents/v1-demand.etag"]


@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
@slow_fuzz
def test_a_cycle_goes_on_with_any_file_or_says_what_is_wrong(name, data, grown, tmp_path):
    before = (grown.state / name).read_bytes() if (grown.state / name).exists() else b'{"url": "x", "etag": "y"}'
    with suppress(ValueError):
        before_json = json.loads(before)
    examples = [before_json] if name.endswith((".json", ".etag")) else [7]
    body = data.draw(st.one_of(json_bytes(examples), changed_bytes(before)))
    folder = Folder(tmp_path / "north")
    shutil.rmtree(folder.path, ignore_errors=True)
    shutil.copytree(grown.path, folder.path)
    (folder.state / name).write_bytes(body)
    jobs = json.loads((folder.path / "queue.json").read_text())
    queue = MemoryQueue(listed=[BatchJob(batch_id, name, JobState.IDLE) for batch_id, name in jobs])
    for minutes in (3, 20):
        with suppress(GlidepostError):
            folder.cycle(queue, NOW + timedelta(minutes=minutes))
        with suppress(ConfigError):
            record.load(folder.state / "cycle.json")
    assert len(queue.listed) <= LIMITS.max_total


@given(json_bytes([OUTCOME]))
@fuzz
def test_whatever_a_glidein_leaves_is_a_record_or_an_unreadable_one(tmp_path, body):
    folder, reports = tmp_path / "outcomes", tmp_path / "reports.json"
    folder.mkdir(exist_ok=True)
    reports.unlink(missing_ok=True)
    (folder / "x.json").write_bytes(body)
    inbox = outcomes.read(folder, reports)
    assert len(inbox.reports.records) == 1
    assert sum(inbox.reports.pending.values()) == 1
    inbox.save()
    assert outcomes.read(folder, reports, judged=(0,)).reports.records == inbox.reports.records


MEMORY = {"kind": last_good.KIND, "schedds": {"ap1": {"asked_at": "2026-11-22T09:00:00Z", "rows": []}}}


@given(json_bytes([MEMORY]))
@fuzz
def test_the_publishers_memory_of_a_census_is_read_or_forgotten(tmp_path, body):
    file = tmp_path / "census.json"
    file.write_bytes(body)
    assert all(item.asked_at.tzinfo for item in last_good._load(file).values())
