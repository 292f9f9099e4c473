"""The puller against a batch system that fails in every way it can, for as long as hypothesis likes.

Whatever happens, the batch jobs that live stay within the site's limits. What is assumed of a batch system is only that
it lists within `REPORT_GRACE` what it has accepted.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from glidepost.backends.base import BatchJob, GlideinRequest, JobState
from glidepost.schema.demand import Demand, GlideinRelease, Group
from glidepost.schema.document import encode
from glidepost.schema.errors import CommandFailed
from glidepost.schema.heartbeat import Limits
from glidepost.schema.keys import SigningKey
from glidepost.schema.mailbox import Form, Letter, Mailbox
from glidepost.schema.puller_config import GlideinOptions, PullerConfig, Shape
from glidepost.schema.resources import Request, Resources
from glidepost.schema.signing import sign
from glidepost.site_puller.cycle import Cycle
from glidepost.site_puller.ledger import REPORT_GRACE
from glidepost.site_puller.queue import LostAnswer

START = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)
POOL, SITE = SigningKey(bytes(range(32))), SigningKey(bytes(range(32, 64)))
SHAPES = (
    Shape("a", "local", Resources(1, 2048, 1000, 3600), Limits(6, 3, 5, 2), {}),
    Shape("b", "local", Resources(8, 8192, 1000, 3600), Limits(5, 4, 5, 4), {}),
)
MAX_TOTAL = 6
MOODS = ("well", "well", "mute", "refuses", "loses answers", "crashes before", "crashes after")


class Crash(Exception):  # noqa: N818 - it is no error of ours
    """The puller's host dies."""


@dataclass
class Scheduler:
    """The truth about batch jobs, and what it says of it. `delay` is how long it hides half of what it accepted."""

    identity: tuple[str, ...]
    now: datetime = START
    live: dict[str, BatchJob] = field(default_factory=dict)
    listed_from: dict[str, datetime] = field(default_factory=dict)
    mood: str = "well"
    delay: timedelta = timedelta(0)
    submissions: int = 0

    def jobs(self) -> list[BatchJob]:
        if self.mood == "mute":
            raise CommandFailed("squeue: timed out", hint="wait")
        return [job for key, job in self.live.items() if self.listed_from[key] <= self.now]

    def submit(self, request: GlideinRequest) -> str:
        if self.mood == "refuses":
            raise CommandFailed("sbatch: no", hint="ask")
        if self.mood == "crashes before":
            raise Crash
        self.submissions += 1
        for member in range(request.count):
            key = f"{self.submissions}_{member}"
            self.live[key] = BatchJob(key, request.name, JobState.IDLE)
            self.listed_from[key] = self.now + self.delay * ((self.submissions + member) % 2)
        if self.mood == "crashes after":
            raise Crash
        if self.mood == "loses answers":
            raise LostAnswer("sbatch: timed out", hint="wait")
        return str(self.submissions)

    def become(self, state: JobState, count: int, *, of: tuple[JobState, ...]) -> None:
        for key in [key for key, job in self.live.items() if job.state in of][:count]:
            if state is JobState.GONE:
                del self.live[key]
            else:
                self.live[key] = replace(self.live[key], state=state)


class Session:
    """An HTTP session whose store always has a fresh demand; unless it has not."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    @contextmanager
    def get(self, url: str, **_: object) -> Iterator[SimpleNamespace]:
        body = self.objects.get(url.split("/", 3)[3])
        raw = SimpleNamespace(stream=lambda _, **__: [body] if body else [])
        yield SimpleNamespace(status_code=404 if body is None else 200, headers={}, raw=raw)

    def post(self, _: str, **__: object) -> SimpleNamespace:
        return SimpleNamespace(status_code=204, request=SimpleNamespace(method="POST"))


class Site(RuleBasedStateMachine):
    """A site over some hours."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="glidepost-invariants-"))
        SITE.save(self.folder / "site.key")
        self.a, self.b, self.session = Scheduler(("a",)), Scheduler(("b",)), Session()
        self.now = START
        self.sequence = 0
        self.config = PullerConfig(
            site="north",
            glidein_site="north",
            key=self.folder / "site.key",
            state=self.folder / "state",
            url="http://store.example.org",
            public_key=POOL.public,
            shapes=SHAPES,
            glidein=GlideinOptions(),
            max_total=MAX_TOTAL,
        )

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def publish(self, idle_jobs: int, *, is_store_up: bool) -> None:
        now, self.sequence = self.now, self.sequence + 1
        request = Request(1, 1000, 100)
        group = Group("g00000001", idle_jobs, now, 1, request, sites={"north": idle_jobs})
        demand = Demand(
            pool="demo",
            sequence=self.sequence,
            generated_at=now,
            expires_at=now + timedelta(minutes=30),
            collectors=("cm:1",),
            complete=True,
            schedds=(),
            groups=(group,),
            glidein=GlideinRelease("stable", ()),
        )
        letter = Letter("north", now, now + timedelta(hours=48), Form("http://store.example.org", {}), "a.b.c")
        documents = {
            "v1/demand.json": encode(sign(demand.to_json(), POOL)),
            "v1/sites/north.json": encode(sign(Mailbox.pack(letter, SITE.public).to_json(), POOL)),
        }
        self.session.objects = documents if is_store_up else {}

    @rule(
        idle_jobs=st.sampled_from([90, 90, 9, 0]),
        minutes=st.integers(1, 4),
        moods=st.tuples(st.sampled_from(MOODS), st.sampled_from(MOODS)),
        delay_s=st.integers(0, int(REPORT_GRACE.total_seconds())),
        is_store_up=st.sampled_from([True, True, True, False]),
    )
    def a_cycle_runs(
        self, idle_jobs: int, minutes: int, moods: tuple[str, str], delay_s: int, *, is_store_up: bool
    ) -> None:
        self.now += timedelta(minutes=minutes)
        self.publish(idle_jobs, is_store_up=is_store_up)
        before = {}
        for scheduler, mood in zip((self.a, self.b), moods):
            scheduler.now, scheduler.mood, scheduler.delay = self.now, mood, timedelta(seconds=delay_s)
            before[scheduler.identity] = scheduler.submissions
        cycle = Cycle(self.config, now=self.now, queues={"a": self.a, "b": self.b}, session=self.session)
        try:
            cycle.act(cycle.prepare())
        except Crash:
            return
        for scheduler in (self.a, self.b):
            if scheduler.mood == "mute" or not is_store_up:
                assert scheduler.submissions == before[scheduler.identity]

    @rule(minutes=st.integers(5, 25))
    def nobody_runs_the_puller(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(count=st.integers(1, 5))
    def glideins_start(self, count: int) -> None:
        for scheduler in (self.a, self.b):
            scheduler.become(JobState.RUNNING, count, of=(JobState.IDLE, JobState.UNKNOWN))

    @rule(count=st.integers(1, 5), state=st.sampled_from([JobState.HELD, JobState.UNKNOWN]))
    def glideins_get_stuck(self, count: int, state: JobState) -> None:
        self.a.become(state, count, of=(JobState.IDLE,))

    @rule(count=st.integers(1, 3))
    def glideins_end(self, count: int) -> None:
        for scheduler in (self.a, self.b):
            scheduler.become(JobState.GONE, count, of=(JobState.RUNNING, JobState.HELD, JobState.IDLE))

    @invariant()
    def no_limit_is_exceeded(self) -> None:
        assert len(self.a.live) + len(self.b.live) <= MAX_TOTAL
        for shape, scheduler in zip(SHAPES, (self.a, self.b)):
            states = [job.state for job in scheduler.live.values()]
            assert len(states) <= shape.limits.max_total
            assert len(states) - states.count(JobState.RUNNING) <= shape.limits.max_queued


TestSite = Site.TestCase
TestSite.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
