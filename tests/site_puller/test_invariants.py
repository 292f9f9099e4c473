"""The puller against a batch system, a disk and a clock that fail in every way they can, and killed at every step.

Whatever happens, the batch jobs that live stay within every limit. What is assumed of the world is written here:

* a batch system lists what it has accepted within `LISTED_WITHIN`;
* it lies (an empty answer, or a part of one, that looks whole) at most `LIES` times in a row;
* the host's clock is set wrong at most once in ten minutes, and the store's clock tells when it is more than five
  minutes off, as it does with every answer over HTTPS.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Optional

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from pool_tokens import ENDLESS

from glidepost.backends.base import BatchJob, GlideinRequest, JobState
from glidepost.schema.demand import Demand, GlideinRelease, Group
from glidepost.schema.errors import CommandFailed, GlidepostError, Refused, StoreError, UnreadableOutput
from glidepost.schema.heartbeat import Limits
from glidepost.schema.keys import SigningKey
from glidepost.schema.mailbox import Form, Letter
from glidepost.schema.puller_config import Caps, Fit, GlideinOptions, PullerConfig, Shape, SiteLimits
from glidepost.schema.resources import Request, Resources
from glidepost.site_puller import fetch
from glidepost.site_puller.cycle import Cycle, Done
from glidepost.site_puller.documents import Documents
from glidepost.site_puller.fetch import KnownDemand
from glidepost.site_puller.heartbeat import Route
from glidepost.site_puller.ledger import name_prefix
from glidepost.site_puller.observe import MISSING_CYCLES
from glidepost.site_puller.queue import Answer, LostAnswer
from glidepost.site_puller.trust import Believed

START = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)
LISTED_WITHIN = timedelta(minutes=4)
LIES = MISSING_CYCLES - 1
POOL = SigningKey(bytes(range(32)))
SMALL, LARGE = Resources(1, 2048, 1000, 36000), Resources(8, 8192, 1000, 36000)
SHAPES = (
    Shape("a", "local", SMALL, Limits(6, 3, 5, 2), {}, caps=Caps(max_per_hour=7)),
    Shape("b", "local", LARGE, Limits(9, 4, 5, 4), {}, caps=Caps(max_cpus=27, max_memory_mib=5 * 8192)),
    Shape("c", "local", LARGE, Limits(6, 6, 6, 3), {}, fit=Fit(), caps=Caps(max_cpus=11)),
)
OF_PREFIX = {name_prefix("north", shape.name): shape.name for shape in SHAPES}
SITE = SiteLimits(max_total=10, max_queued=8, caps=Caps(max_cpus=40, max_per_hour=14), excess_grace_s=300)


class Killed(BaseException):
    """What kill -9 looks like from inside of a test: nothing that the process does has an effect any more."""


@dataclass
class Saboteur:
    """Looks on at every step of a process towards its files, by Python's audit events, and strikes at one of them.

    After a kill each further step fails too, those of `finally` and `except` among them: the disk stays as it was.
    """

    kill_at: int = -1
    full_at: int = -1
    steps: int = 0
    is_active: bool = False
    is_dead: bool = False

    EVENTS = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "os.chmod", "os.rmdir", "glidepost.batch"})

    def __call__(self, event: str, args: tuple[object, ...]) -> None:
        if not self.is_active or event not in self.EVENTS:
            return
        if self.is_dead:
            raise Killed
        self.steps += 1
        if self.steps == self.kill_at:
            self.is_dead = True
            raise Killed
        if self.full_at >= 0 and self.steps >= self.full_at and event == "open" and "w" in str(args[1] or "w"):
            raise OSError(28, "No space left on device")

    @contextmanager
    def at_work(self, *, kill_at: int, full_at: int) -> Iterator[None]:
        self.kill_at, self.full_at, self.steps, self.is_dead, self.is_active = kill_at, full_at, 0, False, True
        try:
            yield
        finally:
            self.is_active = False


SABOTEUR = Saboteur()


@pytest.fixture(scope="module", autouse=True)
def saboteur() -> None:
    """Audit hooks cannot be taken away again: this one does nothing unless a cycle of this file runs."""
    sys.addaudithook(SABOTEUR)


@dataclass
class Scheduler:
    """The truth about batch jobs, and what it says of it."""

    identity: tuple[str, ...]
    now: datetime = START
    live: dict[str, BatchJob] = field(default_factory=dict)
    requests: dict[str, GlideinRequest] = field(default_factory=dict)
    listed_from: dict[str, datetime] = field(default_factory=dict)
    last_answer: tuple[BatchJob, ...] = ()
    mood: str = "well"
    submit_mood: str = "well"
    lies: int = 0
    delay: timedelta = timedelta(0)
    submissions: int = 0

    def count(self) -> Answer:
        sys.audit("glidepost.batch", "count")
        listed = [job for key, job in self.live.items() if self.listed_from[key] <= self.now]
        half = tuple(listed[: len(listed) // 2])
        if self.mood == "hangs":
            return Answer((), CommandFailed("squeue: no answer within 60 s", hint="wait"))
        if self.mood == "breaks off":
            return Answer(half, UnreadableOutput("squeue: cut", hint="report it"))
        lie = {"says nothing": (), "says half": half, "says the old": self.last_answer}.get(self.mood)
        if lie is not None and self.lies < LIES:
            self.lies += 1
            return Answer(lie)
        self.lies, self.last_answer = 0, tuple(listed)
        return Answer(self.last_answer)

    def submit(self, request: GlideinRequest) -> str:
        sys.audit("glidepost.batch", "submit")
        if self.submit_mood in {"refuses", "is full", "is down", "times out without it"}:
            raise {
                "refuses": Refused("sbatch: invalid account", hint="ask", is_limit=False),
                "is full": Refused("sbatch: QOSMaxSubmitJobPerUserLimit", hint="wait", is_limit=True),
                "is down": CommandFailed("sbatch: cannot contact the controller", hint="wait"),
                "times out without it": LostAnswer("sbatch: timed out", hint="wait"),
            }[self.submit_mood]
        if self.submit_mood == "takes few" and (request.count > 2 or len(self.live) >= 6):
            raise Refused("sbatch: AssocMaxSubmitJobLimit", hint="wait", is_limit=True, is_size=True)
        self.submissions += 1
        for member in range(request.count):
            key = f"{self.submissions}_{member}"
            self.live[key] = BatchJob(key, request.name, JobState.IDLE)
            self.requests[key] = request
            self.listed_from[key] = self.now + self.delay * ((self.submissions + member) % 2)
        sys.audit("glidepost.batch", "submitted")
        if self.submit_mood == "loses its answer":
            raise LostAnswer("sbatch: timed out", hint="wait")
        return str(self.submissions)

    def remove(self, batch_ids) -> None:
        sys.audit("glidepost.batch", "remove")
        if self.submit_mood == "is down":
            raise CommandFailed("scancel: cannot contact the controller", hint="wait")
        for key in batch_ids:
            if key in self.live and self.live[key].state is JobState.IDLE:
                del self.live[key]
        sys.audit("glidepost.batch", "removed")

    def become(self, state: JobState, count: int, *, of: tuple[JobState, ...]) -> list[GlideinRequest]:
        changed = [key for key, job in self.live.items() if job.state in of][:count]
        for key in changed:
            if state is JobState.GONE:
                del self.live[key]
            else:
                self.live[key] = replace(self.live[key], state=state)
        return [self.requests[key] for key in changed]


class Session:
    """A store that takes heartbeats, or none."""

    def __init__(self, *, is_up: bool) -> None:
        self.status = 204 if is_up else 503

    @contextmanager
    def request(self, *_: object, **__: object) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(
            status_code=self.status, request=SimpleNamespace(method="POST"), close=lambda: None, headers={}
        )


class Visit(Cycle):
    """A cycle whose documents are at hand: what is wrong with documents is tested elsewhere."""

    found: Documents = Documents()
    reports: bool = False

    def documents(self, errors: list[GlidepostError]) -> Documents:
        if self.found.known is None:
            errors.append(StoreError("not there", hint="wait"))
        return self.found

    def _report(self, done: Done) -> tuple[GlidepostError, ...]:
        """Holding heartbeats against their schema takes most of a cycle's time: that is left out now and then."""
        return super()._report(done) if self.reports else ()


def demand_of(now: datetime, sequence: int, parts: tuple[tuple[int, Request], ...], *, complete: bool) -> Demand:
    groups = tuple(
        Group(f"g{number:08x}", jobs, now, 1, request, sites={"north": jobs})
        for number, (jobs, request) in enumerate(parts)
        if jobs
    )
    return Demand(
        pool="demo",
        sequence=sequence,
        generated_at=now,
        expires_at=now + timedelta(minutes=30),
        collectors=("cm:1",),
        complete=complete,
        schedds=(),
        groups=groups,
        glidein=GlideinRelease("stable", ()),
    )


REQUESTS = (Request(1, 1000, 100), Request(3, 3000, 100), Request(8, 8000, 100))
COUNT_MOODS = ("well",) * 6 + ("hangs", "breaks off", "says nothing", "says half", "says the old")
SUBMIT_MOODS = (
    "is full",
    "takes few",
    "refuses",
    "is full",
    "is down",
    "times out without it",
    "loses its answer",
    "loses its answer",
)
FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None


class Site(RuleBasedStateMachine):
    """A site over some hours."""

    histories = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).histories += 1
        self.folder = Path(tempfile.mkdtemp(prefix="glidepost-invariants-", dir=FOLDER))
        POOL.save(self.folder / "site.key")
        self.one, self.two = Scheduler(("one",)), Scheduler(("two",))
        self.queues = {"a": self.one, "b": self.one, "c": self.two}
        self.now, self.offset, self.last_step = START, timedelta(0), START - timedelta(hours=1)
        self.sequence = 0
        self.hour: list[tuple[datetime, str, int]] = []
        self.config = PullerConfig(
            site="north",
            glidein_site="north",
            key=self.folder / "site.key",
            state=self.folder / "state",
            url="http://store.example.org",
            public_key=POOL.public,
            shapes=SHAPES,
            glidein=GlideinOptions(),
            limits=SITE,
        )

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def visit(self, parts, *, is_store_up: bool, complete: bool = True) -> Visit:
        self.sequence += 1
        session = Session(is_up=is_store_up)
        visit = Visit(
            self.config,
            now=self.now + self.offset,
            queues=self.queues,
            source=fetch.open_source(self.config, session),
            route=Route.of(self.config, session),
        )
        letter = Letter(
            "north", self.now, self.now + timedelta(hours=48), Form("http://store.example.org", {}), ENDLESS
        )
        if is_store_up and abs(self.offset) <= timedelta(minutes=5):
            demand = demand_of(self.now, self.sequence, parts, complete=complete)
            visit.found = Documents(Believed.pinned(self.config), KnownDemand(demand, 0, None), letter)
        return visit

    def watched(self, work: Callable[[], object], *, kill_at: int = -1, full_at: int = -1) -> None:
        """Runs something of the puller's, and holds what it submitted against what it may submit at once."""
        counts = {id(scheduler): len(scheduler.requests) for scheduler in (self.one, self.two)}
        with SABOTEUR.at_work(kill_at=kill_at, full_at=full_at), suppress(Killed, OSError, GlidepostError):
            work()
        new = [
            request
            for scheduler in (self.one, self.two)
            for request in list(scheduler.requests.values())[counts[id(scheduler)] :]
        ]
        for shape in SHAPES:
            number = sum(self.shape_of(request) == shape.name for request in new)
            assert number <= shape.limits.max_per_cycle
            self.hour.append((self.now, shape.name, number))

    def shape_of(self, request: GlideinRequest) -> str:
        return OF_PREFIX[request.name[:-5]]

    @rule(
        idle=st.tuples(*[st.sampled_from([90, 9, 1, 0])] * 3),
        minutes=st.integers(1, 6),
        moods=st.tuples(*[st.sampled_from(COUNT_MOODS)] * 2),
        submit_moods=st.tuples(*[st.sampled_from(SUBMIT_MOODS)] * 2),
        delay_s=st.integers(0, int(LISTED_WITHIN.total_seconds())),
        is_store_up=st.sampled_from([True, True, True, True, False]),
        complete=st.booleans(),
        reports=st.sampled_from([True] + [False] * 5),
        kill_at=st.one_of(st.just(-1), st.just(-1), st.integers(1, 60)),
        full_at=st.one_of(st.just(-1), st.just(-1), st.just(-1), st.integers(1, 40)),
    )
    def a_cycle_runs(
        self, idle, minutes, moods, submit_moods, delay_s, *, is_store_up, complete, reports, kill_at, full_at
    ) -> None:
        self.now += timedelta(minutes=minutes)
        for scheduler, mood, submit_mood in zip((self.one, self.two), moods, submit_moods):
            scheduler.now, scheduler.mood, scheduler.submit_mood = self.now, mood, submit_mood
            scheduler.delay = timedelta(seconds=delay_s)
        before = [scheduler.submissions for scheduler in (self.one, self.two)]
        visit = self.visit(tuple(zip(idle, REQUESTS)), is_store_up=is_store_up, complete=complete)
        visit.reports = reports
        self.watched(lambda: visit.act(visit.prepare()), kill_at=kill_at, full_at=full_at)
        for scheduler, count in zip((self.one, self.two), before):
            if scheduler.mood in {"hangs", "breaks off"} or visit.found.known is None:
                assert scheduler.submissions == count

    @rule(minutes=st.integers(1, 6))
    def two_pullers_run_at_once_without_a_lock(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)
        for scheduler in (self.one, self.two):
            scheduler.now, scheduler.mood, scheduler.submit_mood = self.now, "well", "well"
        parts = tuple((90, request) for request in REQUESTS)
        first, second = self.visit(parts, is_store_up=True), self.visit(parts, is_store_up=True)
        late = first.prepare()
        self.watched(lambda: second.act(second.prepare()))
        before = self.one.submissions, self.two.submissions
        with pytest.raises(GlidepostError, match="another puller"):
            first.act(late)
        assert (self.one.submissions, self.two.submissions) == before

    @rule(minutes=st.integers(5, 90))
    def nobody_runs_the_puller(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(offset_s=st.one_of(st.just(0), st.integers(-7200, 7200), st.integers(-250, 250)))
    def the_clock_is_set(self, offset_s: int) -> None:
        if self.now - self.last_step >= timedelta(minutes=10):
            self.last_step, self.offset = self.now, timedelta(seconds=offset_s)

    @rule(keep=st.integers(0, 3000), what=st.sampled_from(["cut", "lost", "zeros"]))
    def the_ledger_is_damaged(self, keep: int, what: str) -> None:
        file = self.config.state / "ledger.json"
        if not file.exists():
            return
        body = file.read_bytes()
        if what == "lost":
            file.unlink()
        elif what == "zeros":
            file.write_bytes(b"\0" * len(body))
        elif keep < len(body.rstrip()):
            file.write_bytes(body[:keep])

    @rule(count=st.integers(1, 5))
    def glideins_start(self, count: int) -> None:
        for scheduler in (self.one, self.two):
            scheduler.become(JobState.RUNNING, count, of=(JobState.IDLE, JobState.UNKNOWN))

    @rule(count=st.integers(1, 5), state=st.sampled_from([JobState.HELD, JobState.UNKNOWN]))
    def glideins_get_stuck(self, count: int, state: JobState) -> None:
        self.one.become(state, count, of=(JobState.IDLE,))

    @rule(count=st.integers(1, 3), outcome=st.sampled_from([None, "idle-shutdown", "killed", "never-joined"]))
    def glideins_end(self, count: int, outcome: Optional[str]) -> None:
        states = (JobState.RUNNING, JobState.HELD, JobState.IDLE) if outcome is None else (JobState.RUNNING,)
        for scheduler in (self.one, self.two):
            keys = list(scheduler.live)
            scheduler.become(JobState.GONE, count, of=states)
            for key in (key for key in keys if key not in scheduler.live and outcome):
                self.leave_record(scheduler.requests[key], key, str(outcome))

    def leave_record(self, request: GlideinRequest, batch_job: str, outcome: str) -> None:
        folder = self.config.outcomes_folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{request.name}-{batch_job}.json").write_text(
            f'{{"kind":"outcome/1","glidein":"{request.name}-{batch_job}","name":"{request.name}",'
            f'"shape":"{self.shape_of(request)}","host":"wn1","batch_job":"{batch_job}",'
            f'"started_at":"2026-11-22T09:00:00Z","ended_at":"2026-11-22T09:10:00Z","outcome":"{outcome}",'
            f'"detail":"","condor_exit":0}}\n'
        )

    @invariant()
    def no_limit_is_exceeded(self) -> None:
        everything: list[tuple[str, Resources, bool]] = [
            (self.shape_of(scheduler.requests[key]), scheduler.requests[key].resources, job.state is JobState.RUNNING)
            for scheduler in (self.one, self.two)
            for key, job in scheduler.live.items()
        ]
        for shape in SHAPES:
            mine = [(size, is_running) for name, size, is_running in everything if name == shape.name]
            assert len(mine) <= min(shape.limits.max_total, shape.limits.max_running)
            assert sum(not is_running for _, is_running in mine) <= shape.limits.max_queued
            self.within(shape.caps, [size for size, _ in mine])
            if shape.caps.max_per_hour:
                assert self.lately(shape.name) <= shape.caps.max_per_hour
        assert len(everything) <= 10
        assert sum(not is_running for _, _, is_running in everything) <= 8
        self.within(SITE.caps, [size for _, size, _ in everything])
        assert self.lately() <= 14

    def within(self, caps: Caps, sizes: list[Resources]) -> None:
        if caps.max_cpus is not None:
            assert sum(size.cpus for size in sizes) <= caps.max_cpus
        if caps.max_memory_mib is not None:
            assert sum(size.memory_mib for size in sizes) <= caps.max_memory_mib

    def lately(self, shape: Optional[str] = None) -> int:
        start = self.now - timedelta(minutes=50)  # five minutes either way are the clock's
        return sum(count for at, name, count in self.hour if at > start and shape in (None, name))


HISTORIES = 2500
PARTS = 4


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_no_limit_is_exceeded_in_ten_thousand_histories(part):
    class Part(Site):
        histories = 0

    profile = settings(
        max_examples=HISTORIES,
        stateful_step_count=10,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(part)(Part), settings=profile)
    assert Part.histories >= HISTORIES
