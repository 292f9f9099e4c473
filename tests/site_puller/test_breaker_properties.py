"""What holds for any history: canaries that wait, die, vanish, are refused or lost, crashes, clocks that step."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from glidepost.schema.errors import CommandFailed, Refused
from glidepost.site_puller.breaker import Breakers
from glidepost.site_puller.circuit import LONGEST
from glidepost.site_puller.evidence import SUCCESSES, Evidence, Place, Sighting, is_failure
from glidepost.site_puller.queue import LostAnswer

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
GOOD = sorted(SUCCESSES)
NEUTRAL = ["killed", "unreadable-record", "other"]
FAILED = ["never-joined", "no-scratch", "check-failed:cvmfs"]
ERRORS = {
    "permanent": Refused("sbatch: Invalid account", hint="h", is_limit=False),
    "limit": Refused("sbatch: AssocMaxSubmitJobLimit", hint="h", is_limit=True),
    "down": CommandFailed("sbatch: controller is down", hint="h"),
}
codes = st.sampled_from([*GOOD, *NEUTRAL, *FAILED])
hosts = st.frozensets(st.sampled_from(["n1", "n2", "n3", "?"]), max_size=3)
few = st.integers(0, 3)
pools = st.one_of(st.none(), st.integers(0, 5))
starts = st.one_of(st.none(), st.integers(-600, 600).map(lambda minutes: NOW + minutes * MINUTE))


@st.composite
def evidences(draw, *, ends=codes, short=few, pool=pools) -> Evidence:
    """Anything that a cycle may learn of glideins that are not the canary."""
    in_pool = draw(pool)
    return Evidence(
        ended=draw(st.dictionaries(ends, st.integers(1, 9), max_size=3)),
        bad_hosts=draw(hosts),
        good_hosts=draw(hosts) - {"?"},
        short=draw(short),
        in_pool=in_pool,
        newest_start=draw(starts) if in_pool else None,
        sequence=None if in_pool is None else draw(st.integers(1, 9)),
        ripe=draw(st.integers(0, 3)),
    )


class OneShape(RuleBasedStateMachine):
    """A shape whose cycle does what the breaker lets it, in the order that breaker.py asks for.

    `live` are canaries that the batch system holds. A cycle sees them as they are, or not at all.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.breakers = Breakers("north")
        self.live: dict[str, Place] = {}
        self.records: dict[str, str] = {}
        self.number = 0

    @initialize(trips=st.integers(0, 12), error=st.sampled_from(sorted(ERRORS)))
    def has_a_past(self, trips, error):
        for _ in range(trips):
            self.breakers = self.breakers.after_refusal("cpu", ERRORS[error], self.now)

    @property
    def canary(self):
        return self.breakers.canary("cpu")

    @property
    def is_open(self) -> bool:
        return self.breakers.view("cpu", self.now) is not None

    def sighting(self, *, is_counted: bool, is_ripe: bool, has_outlived: bool) -> Sighting:
        name = self.canary
        if name is None:
            return Sighting()
        outcome = self.records.pop(name, None)
        if not is_counted:
            return Sighting(Place.UNKNOWN, outcome=outcome)
        place = self.live.get(name, Place.GONE)
        is_running = place is Place.RUNNING
        started = self.now - 5 * MINUTE if is_running else None
        return Sighting(place, started, outcome, is_running and is_ripe, is_running and has_outlived)

    @rule(
        minutes=st.one_of(st.integers(-600, 600), st.just(-600_000)),
        evidence=evidences(),
        is_counted=st.booleans(),
        is_ripe=st.booleans(),
        has_outlived=st.booleans(),
    )
    def cycle(self, minutes, evidence, is_counted, is_ripe, has_outlived):
        self.now += minutes * MINUTE
        before = self.canary
        sight = self.sighting(is_counted=is_counted, is_ripe=is_ripe, has_outlived=has_outlived)
        self.breakers = self.breakers.judged({"cpu": Evidence(**{**vars(evidence), "canary": sight})}, self.now)
        if before and sight.outcome in SUCCESSES:
            assert not self.is_open, "a canary that was well closes the breaker"
        if before and sight.outcome and is_failure(sight.outcome) and self.is_open:
            assert self.canary is None
        if not self.is_open:
            self.live.clear()  # they are glideins like all others now
            self.records.clear()

    @precondition(lambda self: self.breakers.gate("cpu", self.now) and self.breakers.gate("cpu", self.now).most)
    @rule(answer=st.sampled_from(["accepted", "lost", "lost and taken", "crash", "crash after", *ERRORS]))
    def submit(self, answer):
        assert self.breakers.gate("cpu", self.now).most == 1
        self.number += 1
        name = f"gp-{self.number}"
        self.breakers = self.breakers.after_submission("cpu", name)
        if answer in ("accepted", "lost and taken", "crash after"):
            self.live[name] = Place.UNSEEN
        if answer == "accepted":
            self.breakers = self.breakers.after_acceptance("cpu")
        elif answer.startswith("lost"):
            error = LostAnswer("sbatch: no answer", hint="h")
            self.breakers = self.breakers.after_refusal("cpu", error, self.now)
        elif answer in ERRORS:
            self.breakers = self.breakers.after_refusal("cpu", ERRORS[answer], self.now)
        if not self.is_open:
            self.live.clear()

    @precondition(lambda self: not self.is_open)
    @rule(answer=st.sampled_from(["accepted", "lost", *ERRORS]))
    def submit_freely(self, answer):
        self.breakers = self.breakers.after_submission("cpu", "gp-many")
        assert self.canary is None
        error = ERRORS.get(answer) or LostAnswer("sbatch: no answer", hint="h")
        if answer == "accepted":
            self.breakers = self.breakers.after_acceptance("cpu")
        else:
            self.breakers = self.breakers.after_refusal("cpu", error, self.now)

    @precondition(lambda self: self.live)
    @rule(place=st.sampled_from([Place.QUEUED, Place.RUNNING]))
    def go_on(self, place):
        name = next(iter(self.live))
        self.live[name] = place

    @precondition(lambda self: self.live)
    @rule(outcome=st.one_of(st.none(), codes))
    def end(self, outcome):
        name = next(iter(self.live))
        del self.live[name]
        if outcome:
            self.records[name] = outcome

    @rule(minutes=st.integers(-600, 600))
    def resume(self, minutes):
        self.breakers = self.breakers.resumed({"cpu": self.now + minutes * MINUTE}, self.now)
        if not self.is_open:
            self.live.clear()
            self.records.clear()

    @invariant()
    def there_is_never_a_second_canary(self):
        assert len(self.live) <= 1

    @invariant()
    def while_a_canary_is_out_nothing_goes_out(self):
        if self.is_open and self.live:
            assert self.breakers.gate("cpu", self.now).most == 0

    @invariant()
    def an_open_breaker_lets_at_most_one_through(self):
        gate = self.breakers.gate("cpu", self.now)
        assert (gate is None) is not self.is_open
        assert gate is None or gate.most <= 1

    @invariant()
    def no_pause_is_longer_than_six_hours_and_a_fifth(self):
        view = self.breakers.view("cpu", self.now)
        if view and view.until:
            assert view.until - self.now <= 1.2 * LONGEST


TestOneShape = OneShape.TestCase
TestOneShape.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
some = settings(max_examples=300, deadline=None)


@given(st.lists(st.tuples(st.integers(1, 600), evidences()), max_size=40))
@some
def test_a_canary_that_is_well_always_closes_the_breaker(history):
    now, breakers = NOW, Breakers("north")
    for minutes, evidence in history:
        now += minutes * MINUTE
        breakers = breakers.judged({"cpu": evidence}, now)
    gate = breakers.gate("cpu", now)
    if gate is None:
        return
    now += 1.2 * LONGEST
    breakers = breakers.judged({"cpu": Evidence()}, now)
    assert breakers.gate("cpu", now).code == "canary"
    breakers = breakers.after_submission("cpu", "gp-1").after_acceptance("cpu")
    breakers = breakers.judged({"cpu": Evidence(canary=Sighting(Place.GONE, outcome="idle-shutdown"))}, now)
    assert breakers.gate("cpu", now) is None


@given(
    st.lists(
        evidences(
            ends=st.sampled_from([*GOOD, *NEUTRAL]), short=st.just(0), pool=st.one_of(st.none(), st.integers(1, 5))
        ),
        max_size=40,
    )
)
@some
def test_a_shape_with_successes_and_pre_emptions_only_is_never_paused(history):
    now, breakers = NOW, Breakers("north")
    for evidence in history:
        now += 5 * MINUTE
        breakers = breakers.judged({"cpu": evidence}, now)
        assert breakers.gate("cpu", now) is None


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), max_size=40))
@some
def test_a_shape_of_which_most_glideins_are_well_in_every_cycle_is_never_paused(history):
    now, breakers = NOW, Breakers("north")
    for well, failed in history:
        now += 5 * MINUTE
        evidence = Evidence(ended={"deadline": well + failed, "no-scratch": failed}, bad_hosts=frozenset({"n1", "n2"}))
        breakers = breakers.judged({"cpu": evidence}, now)
        assert breakers.gate("cpu", now) is None


@given(st.integers(1, 3), st.lists(st.integers(0, 3), min_size=12, max_size=40))
@some
def test_a_shape_of_which_all_fail_is_paused_within_three_failures_and_a_cycle(first, history):
    now, breakers, failed = NOW, Breakers("north"), 0
    for count in (first, *history):
        if breakers.gate("cpu", now):
            return
        assert failed < 3
        now += 5 * MINUTE
        failed += count
        evidence = Evidence(ended={"never-joined": count} if count else {}, bad_hosts=frozenset({"n1"}))
        breakers = breakers.judged({"cpu": evidence}, now)


@given(st.lists(evidences(), max_size=20))
@some
def test_any_breaker_survives_its_file(tmp_path_factory, history):
    file = tmp_path_factory.getbasetemp() / "any-breaker.json"
    now, breakers = NOW, Breakers("north")
    for evidence in history:
        now += 30 * MINUTE
        breakers = breakers.judged({"cpu": evidence, "gpu": Evidence()}, now)
        gate = breakers.gate("cpu", now)
        if gate and gate.most:
            breakers = breakers.after_submission("cpu", "gp-1")
    breakers.save(file)
    assert Breakers.load(file, "north") == breakers
