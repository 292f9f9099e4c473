"""Whole cycles at a site whose glideins fail: how many are wasted, and how it comes back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from glidepost.backends.base import BatchJob, JobState
from glidepost.schema.demand import ShapeView
from glidepost.schema.errors import Refused
from glidepost.site_puller import drain

MINUTE = timedelta(minutes=1)
PERMANENT = Refused("sbatch: Invalid account", hint="change it", is_limit=False)


@dataclass
class World:
    """A site of ten nodes in a pool with plenty of idle user jobs; a cycle every five minutes.

    With `has_records` glideins leave a record of their end. With `is_broken` each ends within a cycle of its start;
    else it runs on, and the pool sees it.
    """

    fixtures: dict[str, Any]
    has_records: bool = True
    is_broken: bool = True
    minutes: int = 0
    reasons: list[str] = field(default_factory=list)
    doomed: list[BatchJob] = field(default_factory=list)

    @property
    def queue(self):
        return self.fixtures["queue"]

    @property
    def submitted(self) -> int:
        return sum(request.count for request in self.queue.requests)

    def cycle(self) -> None:
        fixtures, at = self.fixtures, timedelta(minutes=self.minutes)
        now = fixtures["now"] + at
        fixtures["web"].date = now
        view = {}
        running = [job for job in self.queue.jobs_ if job.state is JobState.RUNNING]
        if running and not self.is_broken:
            view = {"north": {"cpu": ShapeView(len(running), len(running), 0, 0, 0, newest_start=now - 3 * MINUTE)}}
        fixtures["publish"](fixtures["make_group"](100), at=now, sequence=100 + self.minutes, pool_view=view)
        self.reasons.append(fixtures["run_cycle"](at=at).plans[0].reason)
        self.go_on()
        self.minutes += 5

    def go_on(self) -> None:
        """What the batch system and the glideins do until the next cycle."""
        if self.is_broken:
            for job in self.doomed:
                self.queue.jobs_.remove(job)
                self.leave_record(job)
            self.doomed = []
        self.queue.become(JobState.RUNNING)
        if self.is_broken:
            self.doomed = list(self.queue.jobs_)

    def leave_record(self, job: BatchJob) -> None:
        folder: Path = self.fixtures["state"] / "outcomes"
        record = {"kind": "outcome/1", "name": job.name, "shape": "cpu", "batch_job": job.batch_id}
        record |= {"host": f"n{self.minutes % 7}", "outcome": "never-joined"}
        if self.has_records:
            (folder / f"{job.batch_id}.json").write_text(json.dumps(record), encoding="utf-8")


@pytest.fixture
def world(run_cycle, publish, make_group, queue, web, state, now) -> World:
    return World(locals())


@pytest.mark.parametrize("has_records", [True, False])
def test_a_site_whose_glideins_all_fail_wastes_ten_and_then_one_at_a_time(world, has_records):
    world.has_records = has_records
    for _ in range(8 * 12):
        world.cycle()
    # Ten are what the limits of the shape allow before the first has failed.
    assert 10 < world.submitted <= 16
    assert all(request.count == 1 for request in world.queue.requests[1:])
    assert {"paused", "canary", "canary-out"} <= set(world.reasons)


def test_it_comes_back_by_one_canary_when_all_is_well_again(world):
    for _ in range(36):
        world.cycle()
    world.is_broken, world.doomed = False, []
    wasted = world.submitted
    for _ in range(72):
        world.cycle()
        if world.submitted > wasted + 1:
            break
    counts = [request.count for request in world.queue.requests]
    assert counts[-1] > 1
    assert counts[-2] == 1
    assert world.reasons[-1] in ("satisfied", "max-total", "max-queued", "max-running", "max-per-cycle")


def test_a_site_that_lost_its_account_asks_seldom(world):
    world.is_broken = False
    world.queue.refusal = PERMANENT
    for _ in range(8 * 12):
        world.cycle()
    assert len(world.queue.requests) <= 6
    assert set(world.reasons) == {"refused"}
    world.queue.refusal = None
    drain.save(
        world.fixtures["state"] / "drained.json",
        drain.Drained().with_resumed(None, ["cpu"], world.fixtures["now"] + timedelta(minutes=world.minutes)),
    )
    world.cycle()
    assert world.queue.requests[-1].count > 1
