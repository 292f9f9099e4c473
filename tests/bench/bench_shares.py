"""Over-provisioning and waiting in a closed loop: our shares against pyglidein's rule that every site sees everything.

What the publisher and the puller decide is decided by their own code (`offers`, `supply`, `shares`, `plan`); the batch
systems are simulated, minute by minute. pyglidein's rule runs through the same puller. The sites differ in how long a
glidein waits in their queue, in how many they start a minute, and in how many they run. No glidein is ever removed.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Optional

import pytest

from glidepost.publisher import offers, shares, supply
from glidepost.publisher.census import JobGroup, Slot
from glidepost.schema.demand import Demand, GlideinRelease, Group
from glidepost.schema.heartbeat import Counts, Heartbeat, Limits, ShapeReport
from glidepost.schema.puller_config import Shape
from glidepost.schema.resources import Request, Resources
from glidepost.site_puller.plan import Holding, plan

START = datetime(2026, 11, 22, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
RESOURCES = Resources(1, 2048, 10_000, 24 * 3600)
REQUEST = Request(1, 1000, 100)
GRACE = 2  # minutes for which the puller takes a running glidein for queued
CYCLE = 5  # minutes between the runs of a puller; the publisher runs each minute
RUNTIME = 60  # minutes of one user job
IDLE = 20  # minutes until a glidein without a user job leaves
LONGEST = 24 * 60
JOBS = 1000
SEEDS = range(4)


@dataclass
class Glidein:
    """One batch job of a simulated site; times in minutes."""

    submitted: int
    ready: int
    started: int = -1
    busy_until: int = -1
    idle_since: int = -1


@dataclass
class Site:
    """A simulated site: a queue that starts glideins after a wait, so many a minute, so many at a time."""

    name: str
    wait: int
    rate: int
    slots: int
    max_queued: int
    offset: int
    queued: list[Glidein] = field(default_factory=list)
    running: list[Glidein] = field(default_factory=list)
    submitted: int = 0
    wasted: int = 0
    heartbeat: Optional[Heartbeat] = None

    def shape(self) -> Shape:
        limits = Limits(self.slots + self.max_queued, self.max_queued, self.slots + self.max_queued, self.max_queued)
        return Shape("cpu", "local", RESOURCES, limits, {})


def sites_of(count: int, seed: int) -> list[Site]:
    dice = random.Random(seed)
    return [
        Site(
            f"site{number:02d}",
            wait=int(dice.lognormvariate(2.3, 1.2)),
            rate=dice.choice([2, 5, 20, 50]),
            slots=dice.choice([50, 100, 300, 1000] if count > 10 else [300, 1000]),
            max_queued=dice.choice([50, 100, 300]),
            offset=dice.randrange(CYCLE),
        )
        for number in range(count)
    ]


@dataclass
class World:
    """The pool and its sites, minute by minute. `is_ours` says whose rule divides the demand."""

    sites: list[Site]
    idle: int
    is_ours: bool
    minute: int = 0
    demand: Optional[Demand] = None

    def run(self, jobs: int) -> tuple[int, int, int]:
        """Returns glideins submitted, glideins that left without a user job, and minutes until all user jobs ran."""
        submitted, wasted, begin = self.total("submitted"), self.total("wasted"), self.minute
        self.idle = jobs
        done = None
        while self.minute < begin + LONGEST:
            self.step()
            if done is None and not self.idle:
                done = self.minute - begin
            if done is not None and not any(site.queued for site in self.sites):
                break
        for _ in range(IDLE + RUNTIME):
            self.step()
        return self.total("submitted") - submitted, self.total("wasted") - wasted, done or LONGEST

    def total(self, what: str) -> int:
        return sum(getattr(site, what) for site in self.sites)

    @property
    def now(self) -> datetime:
        return START + self.minute * MINUTE

    def step(self) -> None:
        self.minute += 1
        for site in self.sites:
            self.batch_system(site)
        self.negotiate()
        self.publish()
        for site in self.sites:
            if self.minute % CYCLE == site.offset:
                self.pull(site)

    def batch_system(self, site: Site) -> None:
        ready = [glidein for glidein in site.queued if glidein.ready <= self.minute]
        for glidein in ready[: min(site.rate, site.slots - len(site.running))]:
            glidein.started = glidein.idle_since = self.minute
            site.queued.remove(glidein)
            site.running.append(glidein)

    def negotiate(self) -> None:
        for site in self.sites:
            for glidein in list(site.running):
                if 0 <= glidein.busy_until <= self.minute:
                    glidein.busy_until, glidein.idle_since = -1, self.minute
                if glidein.busy_until < 0 and self.idle:
                    self.idle -= 1
                    glidein.busy_until = self.minute + RUNTIME
                elif glidein.busy_until < 0 and self.minute - glidein.idle_since >= IDLE:
                    site.running.remove(glidein)
                    site.wasted += glidein.started == glidein.idle_since

    def publish(self) -> None:
        group = Group("g00000001", self.idle, self.now, 1, REQUEST)
        groups: tuple[Group, ...] = (replace(group, sites={site.name: self.idle for site in self.sites}),)
        if self.is_ours:
            jobs = [JobGroup(group, "[]")]
            slots = list(self.slots())
            offered = offers.read({site.name: site.heartbeat for site in self.sites}, slots, {}, self.now)
            matched, candidates = offers.match(jobs, offered, lambda *_: True)
            covered = supply.covered(jobs, slots, lambda _, slot: slot.cpus_free, self.now)
            groups = shares.assign(matched, candidates, covered=covered)
        self.demand = Demand(
            pool="sim",
            sequence=self.minute,
            generated_at=self.now,
            expires_at=self.now,
            collectors=(),
            complete=True,
            schedds=(),
            groups=tuple(item for item in groups if item.idle_jobs),
            glidein=GlideinRelease("stable", ()),
        )

    def slots(self) -> Iterator[Slot]:
        for site in self.sites:
            for glidein in site.running:
                free = int(glidein.busy_until < 0)
                start = int((START + glidein.started * MINUTE).timestamp())
                yield Slot(site.name, "cpu", 1, free, 0, 0, free * 2048, free * 10_000, start)

    def pull(self, site: Site) -> None:
        fresh = sum(glidein.started > self.minute - GRACE for glidein in site.running)
        counts = Counts(idle=len(site.queued), running=len(site.running))
        shape = site.shape()
        (line,) = plan(self.demand, site.name, [shape], {"cpu": Holding(counts, 0, fresh)})
        site.queued += [Glidein(self.minute, self.minute + site.wait) for _ in range(line.submit)]
        site.submitted += line.submit
        report = ShapeReport("cpu", "local", RESOURCES, shape.limits, counts, line.submit, 0, line.reason, line.detail)
        site.heartbeat = Heartbeat(site.name, "i", "0.1.0", self.minute, self.now, (report,))


@pytest.mark.parametrize("count", [5, 30])
def test_shares_against_every_site_sees_everything(count):
    """Each seed is another set of sites. The second burst comes when the publisher knows which sites start glideins."""
    means = {}
    for is_ours in (False, True):
        worlds = [World(sites_of(count, seed), 0, is_ours) for seed in SEEDS]
        for burst in ("first", "second"):
            ends = [world.run(JOBS) for world in worlds]
            means[is_ours, burst] = [statistics.mean(column) for column in zip(*ends)]
    lines = [f"\n{count} sites, {JOBS} user jobs of {RUNTIME} min each, mean of {len(SEEDS)} sets of sites"]
    for burst in ("first", "second"):
        for is_ours, rule in ((False, "every site sees everything"), (True, "shares")):
            submitted, wasted, minutes = means[is_ours, burst]
            lines.append(
                f"  {burst:6} burst, {rule:26} {submitted:5.0f} glideins ({submitted / JOBS:.2f} per user job),"
                f" {wasted:5.0f} ran nothing, {minutes:3.0f} min until all had started"
            )
        theirs, ours = means[False, burst], means[True, burst]
        lines.append(f"  {burst:6} burst: waste / {theirs[1] / max(1, ours[1]):.1f}, time x {ours[2] / theirs[2]:.1f}")
        assert ours[1] < theirs[1]
        assert ours[2] < LONGEST
    sys.stdout.write("\n".join(lines) + "\n")
