from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from glidepost.schema.errors import CommandFailed, Refused
from glidepost.schema.heartbeat import Counts, Heartbeat, Limits, ShapeReport
from glidepost.schema.resources import Resources
from glidepost.site_puller.breaker import Breakers
from glidepost.site_puller.circuit import LONGEST, pause
from glidepost.site_puller.evidence import Evidence, Place, Sighting
from glidepost.site_puller.queue import LostAnswer
from glidepost.site_puller.verdict import RECORD_GRACE

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
NOTHING = Evidence()
BAD = Evidence(ended={"never-joined": 3}, bad_hosts=frozenset({"n1", "n2"}))
PERMANENT = Refused("sbatch: Invalid account", hint="change it", is_limit=False)
LIMIT = Refused("sbatch: AssocMaxSubmitJobLimit", hint="wait", is_limit=True)
DOWN = CommandFailed("sbatch: controller is down", hint="run it by hand")
LOST = LostAnswer("sbatch: no answer within 60 s", hint="the next cycles look for it")


class Site:
    """The breaker of one shape, cycle after cycle, five minutes each."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now
        self.breakers = Breakers("north")

    def cycle(self, evidence: Evidence = NOTHING, *, minutes: float = 5) -> None:
        self.now += minutes * MINUTE
        self.breakers = self.breakers.judged({"cpu": evidence}, self.now)

    def cycles(self, *evidence: Evidence) -> None:
        for item in evidence:
            self.cycle(item)

    def fail(self, error: CommandFailed) -> None:
        self.breakers = self.breakers.after_refusal("cpu", error, self.now)

    def submit(self, name: str = "gp-canary") -> None:
        self.breakers = self.breakers.after_submission("cpu", name)

    def accept(self) -> None:
        self.breakers = self.breakers.after_acceptance("cpu")

    def wait(self) -> None:
        """Lets the pause end."""
        view = self.breakers.view("cpu", self.now)
        assert view is not None
        assert view.until is not None
        self.now = view.until

    @property
    def code(self):
        view = self.breakers.view("cpu", self.now)
        return view.code if view else None

    @property
    def gate(self):
        gate = self.breakers.gate("cpu", self.now)
        return (gate.code, gate.most) if gate else None


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def tried() -> Site:
    """One that tripped and whose canary is out."""
    site = Site()
    site.cycle(BAD)
    site.wait()
    site.submit()
    site.accept()
    return site


def ended(**counts: int) -> Evidence:
    codes = {code.replace("_", "-"): count for code, count in counts.items()}
    return Evidence(ended=codes, bad_hosts=frozenset({"n1", "n2"}))


def pooled(number: int, sequence: int, *, ripe: int = 0, **more) -> Evidence:
    return Evidence(in_pool=number, sequence=sequence, ripe=ripe, **more)


def sighted(place: Place, *, at: datetime = NOW, **more) -> Evidence:
    changes = {key: more.pop(key) for key in ("in_pool", "sequence", "newest_start", "ended") if key in more}
    started = at if place is Place.RUNNING else None
    return Evidence(canary=Sighting(place, started, **more), **changes)


# --- tripping


def test_a_new_shape_is_not_held_back(site):
    site.cycle()
    assert (site.gate, site.code) == (None, None)


@pytest.mark.parametrize(
    "code",
    [
        *("never-joined", "startd-failed", "tarball-untrusted", "tarball-unavailable", "token-unreadable"),
        *("no-scratch", "bad-request", "check-failed", "check-failed:cvmfs"),
    ],
)
def test_three_failures_in_one_cycle_pause_the_shape(site, code):
    site.cycle(Evidence(ended={code: 3}, bad_hosts=frozenset({"n1", "n2"})))
    assert (site.gate, site.code) == (("paused", 0), code)


def test_three_failures_over_three_cycles_pause_the_shape_too(site):
    site.cycles(ended(never_joined=1), NOTHING, ended(no_scratch=1), NOTHING)
    assert site.gate is None
    site.cycle(ended(never_joined=1))
    assert site.code == "never-joined"
    view = site.breakers.view("cpu", site.now)
    assert view.detail == "3 of 3 glideins failed: never-joined 2, no-scratch 1 (on n1, n2)"


@pytest.mark.parametrize("code", ["idle-shutdown", "never-claimed", "deadline"])
def test_a_success_between_begins_anew(site, code):
    site.cycles(ended(never_joined=2), Evidence(ended={code: 1}), ended(never_joined=2))
    assert site.gate is None


def test_glideins_that_come_into_the_pool_are_successes(site):
    site.cycles(pooled(0, 1), ended(never_joined=2), pooled(1, 2), ended(never_joined=2))
    assert site.gate is None


def test_a_younger_glidein_in_the_pool_is_a_success_although_there_are_no_more_of_them(site):
    site.cycles(pooled(5, 1, newest_start=NOW), ended(never_joined=2), pooled(5, 2, newest_start=NOW + MINUTE))
    site.cycle(ended(never_joined=2))
    assert site.gate is None


def test_the_same_demand_seen_again_is_no_success(site):
    site.cycles(pooled(5, 1), ended(never_joined=2), pooled(5, 1), pooled(5, 2), ended(never_joined=1))
    assert site.code == "never-joined"


def test_what_was_in_the_pool_before_the_first_look_is_no_success(site):
    site.cycles(ended(never_joined=2), pooled(50, 1), ended(never_joined=1))
    assert site.code == "never-joined"


@pytest.mark.parametrize("code", ["killed", "drained", "unreadable-record", "other", "of-a-later-version"])
def test_pre_emption_and_unknown_words_are_neither_failures_nor_successes(site, code):
    site.cycles(*[Evidence(ended={code: 500})] * 5)
    assert site.gate is None
    site.cycles(ended(never_joined=2), Evidence(ended={code: 500}), ended(never_joined=1))
    assert site.code == "never-joined"


def test_a_minority_of_failures_does_not_pause_the_shape(site):
    site.cycles(*[ended(no_scratch=40, deadline=41)] * 10)
    assert site.gate is None


def test_half_of_them_failing_does(site):
    site.cycle(ended(no_scratch=3, deadline=3))
    assert site.code == "no-scratch"


def test_one_bad_host_among_good_ones_does_not_pause_the_shape(site):
    site.cycle(Evidence(ended={"deadline": 1}, good_hosts=frozenset({"n2"}), in_pool=49, sequence=1))
    black_hole = Evidence(ended={"no-scratch": 10}, bad_hosts=frozenset({"n1"}), in_pool=49)
    for sequence in range(2, 20):
        site.cycle(Evidence(**{**black_hole.__dict__, "sequence": sequence}))
    assert site.gate is None


def test_it_does_when_the_pool_sees_no_glidein_any_more(site):
    site.cycle(Evidence(ended={"deadline": 1}, good_hosts=frozenset({"n2"}), in_pool=49, sequence=1))
    site.cycle(Evidence(ended={"no-scratch": 10}, bad_hosts=frozenset({"n1"}), in_pool=0, sequence=2))
    assert site.code == "no-scratch"


def test_one_bad_host_is_all_there_is_as_long_as_no_other_is_known_to_be_good(site):
    site.cycle(pooled(4, 1))
    site.cycle(Evidence(ended={"never-joined": 3}, bad_hosts=frozenset({"n1"}), in_pool=4, sequence=2))
    assert site.code == "never-joined"


def test_failures_on_several_hosts_pause_the_shape_although_older_glideins_are_well(site):
    site.cycle(Evidence(ended={"deadline": 1}, good_hosts=frozenset({"n7"}), in_pool=200, sequence=1))
    site.cycle(Evidence(ended={"never-joined": 3}, bad_hosts=frozenset({"n1", "n2"}), in_pool=200, sequence=2))
    assert site.code == "never-joined"


def test_glideins_that_are_over_too_soon_pause_the_shape(site):
    site.cycles(Evidence(short=1), Evidence(short=2))
    assert (site.gate, site.code) == (("paused", 0), "short-lived")


def test_glideins_that_run_and_are_not_in_the_pool_pause_the_shape_at_the_second_demand(site):
    site.cycle(pooled(0, 7, ripe=4))
    assert site.gate is None
    site.cycle(pooled(0, 7, ripe=4))  # the same demand proves nothing more
    assert site.gate is None
    site.cycle(pooled(0, 8, ripe=4))
    assert site.code == "not-in-pool"


@pytest.mark.parametrize("between", [pooled(1, 8, ripe=4), pooled(0, 8)])
def test_they_do_not_when_they_were_seen_between_or_there_were_none(site, between):
    site.cycles(pooled(0, 7, ripe=4), between, pooled(0, 9, ripe=4))
    assert site.gate is None


def test_a_cycle_that_does_not_know_the_demand_says_nothing(site):
    site.cycles(pooled(0, 7, ripe=4), Evidence(ripe=4), Evidence(ripe=4))
    assert site.gate is None
    site.cycle(pooled(0, 8, ripe=4))
    assert site.code == "not-in-pool"


# --- pausing


def test_pauses_double_up_to_six_hours_give_or_take_a_fifth():
    for trips in range(1, 40):
        usual = min(10 * MINUTE * 2 ** min(trips - 1, 20), LONGEST)
        assert 0.8 * usual <= pause("never-joined", trips, "north/cpu") + timedelta(seconds=1)
        assert pause("never-joined", trips, "north/cpu") <= 1.2 * usual


def test_a_refused_shape_pauses_half_an_hour_first():
    assert 24 * MINUTE <= pause("refused", 1, "north/cpu") <= 36 * MINUTE
    assert pause("refused", 30, "north/cpu") <= 1.2 * LONGEST


def test_sites_that_were_paused_together_come_back_one_after_the_other():
    ends = {pause("never-joined", 5, f"site{number}/cpu") for number in range(100)}
    assert len(ends) > 95
    assert max(ends) - min(ends) > 0.3 * 160 * MINUTE


def test_a_pause_is_the_same_whenever_one_asks():
    assert pause("never-joined", 3, "north/cpu") == pause("never-joined", 3, "north/cpu")


def test_after_the_pause_one_glidein_may_try(site):
    site.cycle(BAD)
    site.wait()
    site.cycle(minutes=0)
    assert site.gate == ("canary", 1)
    site.submit()
    assert site.gate == ("canary-out", 0)


def test_what_older_glideins_do_meanwhile_changes_nothing(site):
    site.cycle(BAD)
    until = site.breakers.view("cpu", site.now).until
    site.cycles(BAD, ended(idle_shutdown=5), ended(deadline=5, never_joined=5))
    view = site.breakers.view("cpu", NOW + 5 * MINUTE)
    assert (view.until, view.trips) == (until, 1)


def test_a_pause_for_not_being_in_the_pool_ends_as_soon_as_the_pool_sees_one(site):
    site.cycles(pooled(0, 7, ripe=4), pooled(0, 8, ripe=4), pooled(3, 9, ripe=4))
    assert site.gate is None


def test_other_pauses_do_not(site):
    site.cycles(BAD, pooled(3, 9, ripe=4))
    assert site.gate == ("paused", 0)


def test_a_clock_that_was_wrong_by_a_year_pauses_no_longer_than_any_trip(site):
    site.now += timedelta(days=366)
    site.cycle(BAD)
    site.now = NOW
    site.cycle()
    assert site.gate == ("paused", 0)
    assert site.breakers.view("cpu", site.now).since <= site.now
    site.now += 1.2 * LONGEST
    site.cycle()
    assert site.gate == ("canary", 1)


def test_a_clock_that_jumps_ahead_costs_one_canary(site):
    site.cycle(BAD)
    site.now += timedelta(days=366)
    site.cycle()
    assert site.gate == ("canary", 1)


# --- the canary


@pytest.mark.parametrize("code", ["idle-shutdown", "never-claimed", "deadline"])
def test_a_canary_whose_record_is_good_closes_the_breaker(tried, code):
    tried.cycle(sighted(Place.GONE, outcome=code))
    assert tried.gate is None


def test_a_canary_that_failed_pauses_for_twice_as_long(tried):
    tried.cycle(sighted(Place.GONE, outcome="no-scratch"))
    assert (tried.gate, tried.code) == (("paused", 0), "no-scratch")
    view = tried.breakers.view("cpu", tried.now)
    assert (view.trips, view.until - view.since) == (2, pause("no-scratch", 2, "north/cpu"))


def test_a_canary_that_was_pre_empted_is_followed_by_another(tried):
    tried.cycle(sighted(Place.GONE, outcome="killed"))
    assert tried.gate == ("canary", 1)


def test_a_canary_that_we_removed_ourselves_is_followed_by_another(tried):
    tried.cycle(sighted(Place.REMOVED))
    assert tried.gate == ("canary", 1)


def test_a_canary_that_waits_in_the_queue_for_a_week_is_waited_for(tried):
    for _ in range(7 * 24):
        tried.cycle(sighted(Place.QUEUED), minutes=60)
    assert tried.gate == ("canary-out", 0)


def test_a_canary_that_nobody_could_ask_for_is_waited_for(tried):
    for _ in range(100):
        tried.cycle(sighted(Place.UNKNOWN), minutes=60)
    assert tried.gate == ("canary-out", 0)


def test_a_canary_that_runs_while_the_pool_sees_a_new_glidein_closes_the_breaker_after_ten_minutes(tried):
    start = tried.now
    tried.cycle(sighted(Place.RUNNING, at=start, in_pool=1, sequence=9, newest_start=start))
    assert tried.gate == ("canary-out", 0)
    tried.cycle(sighted(Place.RUNNING, at=start))
    assert tried.gate is None


def test_glideins_from_before_the_trip_do_not_speak_for_the_canary(tried):
    start = tried.now
    seen = {"in_pool": 50, "sequence": 9, "newest_start": NOW - MINUTE}
    tried.cycles(*[sighted(Place.RUNNING, at=start, **seen)] * 5)
    assert tried.gate == ("canary-out", 0)


def test_a_canary_that_the_pool_should_see_and_does_not_has_failed(tried):
    for sequence in (9, 9):
        tried.cycle(sighted(Place.RUNNING, is_ripe=True, in_pool=0, sequence=sequence))
        assert tried.gate == ("canary-out", 0)
    tried.cycle(sighted(Place.RUNNING, is_ripe=True, in_pool=0, sequence=10))
    assert (tried.gate, tried.code) == (("paused", 0), "not-in-pool")


def test_a_canary_that_outlives_an_unclaimed_one_closes_the_breaker_although_nobody_asked_the_pool(tried):
    tried.cycle(sighted(Place.RUNNING, has_outlived=True))
    assert tried.gate is None


def test_it_does_not_when_the_pool_says_that_there_is_none(tried):
    tried.cycle(sighted(Place.RUNNING, has_outlived=True, in_pool=0, sequence=9))
    assert tried.gate == ("canary-out", 0)


def test_a_canary_gone_without_a_trace_has_failed_once_its_record_had_time_to_come(tried):
    tried.cycle(sighted(Place.GONE))
    tried.cycle(sighted(Place.GONE))
    assert tried.gate == ("canary-out", 0)
    tried.cycle(sighted(Place.GONE))
    assert (tried.gate, tried.code) == (("paused", 0), "no-trace")


def test_a_record_that_comes_late_still_counts(tried):
    tried.cycle(sighted(Place.GONE))
    tried.cycle(sighted(Place.GONE, outcome="idle-shutdown"))
    assert tried.gate is None


def test_a_canary_that_is_listed_again_was_never_gone(tried):
    tried.cycles(sighted(Place.GONE), sighted(Place.RUNNING, at=tried.now), sighted(Place.GONE), sighted(Place.GONE))
    assert tried.gate == ("canary-out", 0)


def test_a_canary_that_ran_for_hours_and_left_no_trace_is_followed_by_another(tried):
    start = tried.now
    for _ in range(13):
        tried.cycle(sighted(Place.RUNNING, at=start))
    tried.cycles(sighted(Place.GONE), sighted(Place.GONE), sighted(Place.GONE))
    assert tried.gate == ("canary", 1)


def test_a_canary_that_the_pool_saw_needs_no_record(tried):
    start = tried.now
    tried.cycle(sighted(Place.RUNNING, at=start, in_pool=1, sequence=9, newest_start=start))
    tried.cycle(sighted(Place.GONE), minutes=12)
    tried.cycle(sighted(Place.GONE), minutes=12)
    assert tried.gate is None


def test_a_canary_whose_submission_left_no_answer_and_that_nobody_lists_is_followed_by_another(site):
    site.cycle(BAD)
    site.wait()
    site.submit()
    site.fail(LOST)
    assert site.gate == ("canary-out", 0)
    site.cycles(sighted(Place.UNSEEN), sighted(Place.GONE), sighted(Place.GONE))
    assert site.gate == ("canary-out", 0)
    site.cycle(sighted(Place.GONE))
    assert site.gate == ("canary", 1)


def test_one_that_is_found_by_its_name_is_the_canary(site):
    site.cycle(BAD)
    site.wait()
    site.submit()
    site.fail(LOST)
    site.cycles(sighted(Place.UNSEEN), sighted(Place.QUEUED))
    assert site.gate == ("canary-out", 0)
    assert site.breakers.canary("cpu") == "gp-canary"


def test_a_crash_before_the_batch_command_leaves_no_canary_behind(site):
    site.cycle(BAD)
    site.wait()
    site.submit()
    for _ in range(1 + RECORD_GRACE // (5 * MINUTE)):
        site.cycle(sighted(Place.GONE))
    assert site.gate == ("canary", 1)


def test_a_second_canary_is_a_bug_and_not_a_submission(tried):
    with pytest.raises(ValueError, match="second canary"):
        tried.submit("gp-other")


def test_while_it_is_closed_a_submission_is_no_canary(site):
    site.cycle()
    before = site.breakers
    site.submit()
    site.submit("gp-other")
    assert site.breakers is before
    assert site.breakers.canary("cpu") is None


def test_other_failures_do_not_decide_about_the_canary(tried):
    tried.cycle(sighted(Place.QUEUED, ended={"never-joined": 9}))
    assert tried.gate == ("canary-out", 0)


# --- submissions


def test_a_permanent_refusal_pauses_at_once_and_says_what_was_said(site):
    site.fail(PERMANENT)
    assert (site.gate, site.code) == (("refused", 0), "refused")
    assert site.breakers.view("cpu", site.now).detail == "sbatch: Invalid account"


def test_after_it_one_submission_tries_again_and_its_acceptance_is_enough(site):
    site.fail(PERMANENT)
    site.wait()
    assert site.gate == ("canary", 1)
    site.submit()
    site.accept()
    assert site.gate is None


def test_when_it_is_refused_again_the_pause_doubles(site):
    site.fail(PERMANENT)
    for trips in range(2, 12):
        site.wait()
        site.submit()
        site.fail(PERMANENT)
        view = site.breakers.view("cpu", site.now)
        assert (view.trips, view.until - site.now) == (trips, pause("refused", trips, "north/cpu"))


def test_an_acceptance_that_was_not_written_down_shows_in_the_queue(site):
    site.fail(PERMANENT)
    site.wait()
    site.submit()
    site.cycle(sighted(Place.UNSEEN))
    assert site.gate == ("canary-out", 0)
    site.cycle(sighted(Place.QUEUED))
    assert site.gate is None


def test_one_whose_answer_was_lost_and_that_never_came_is_tried_again(site):
    site.fail(PERMANENT)
    site.wait()
    site.submit()
    site.fail(LOST)
    site.cycle(sighted(Place.GONE))
    assert site.gate == ("canary", 1)


def test_a_limit_does_not_pause(site):
    for _ in range(20):
        site.fail(LIMIT)
    assert site.gate is None


def test_a_limit_leaves_the_canary_for_the_next_cycle(site):
    site.cycle(BAD)
    site.wait()
    site.submit()
    site.fail(LIMIT)
    assert site.gate == ("canary", 1)


@pytest.mark.parametrize("error", [DOWN, LOST])
def test_three_failures_to_submit_in_a_row_pause_for_ten_minutes(site, error):
    site.fail(error)
    site.fail(error)
    assert site.gate is None
    site.fail(error)
    assert (site.gate, site.code) == (("submit-failed", 0), "submit-failed")
    assert site.breakers.view("cpu", site.now).until - site.now <= 12 * MINUTE


def test_they_never_pause_for_longer(site):
    for _ in range(10):
        for _ in range(3):
            site.fail(DOWN)
        assert site.breakers.view("cpu", site.now).until - site.now <= 12 * MINUTE
        site.wait()
    site.fail(PERMANENT)
    assert site.breakers.view("cpu", site.now).until - site.now <= 36 * MINUTE


@pytest.mark.parametrize("between", [LIMIT, None])
def test_an_answer_between_begins_anew(site, between):
    site.fail(DOWN)
    site.fail(DOWN)
    if between:
        site.fail(between)
    else:
        site.submit()
        site.accept()
    site.fail(DOWN)
    site.fail(DOWN)
    assert site.gate is None


def test_a_refused_canary_does_not_make_the_glideins_well(site):
    site.cycle(BAD)
    site.wait()
    site.submit()
    site.fail(PERMANENT)
    assert site.code == "never-joined"
    assert "not accepted: sbatch: Invalid account" in site.breakers.view("cpu", site.now).detail
    site.wait()
    site.submit()
    site.accept()
    assert site.gate == ("canary-out", 0)


# --- orders, file, heartbeat


def test_a_shape_that_was_resumed_after_its_trip_goes_on(site):
    site.cycle(BAD)
    resumed = site.breakers.resumed({"cpu": site.now + MINUTE}, site.now + 5 * MINUTE)
    assert resumed.gate("cpu", site.now + 5 * MINUTE) is None


@pytest.mark.parametrize("minutes", [-1, 600])
def test_an_order_from_before_the_trip_or_from_a_clock_that_was_wrong_changes_nothing(site, minutes):
    site.cycle(BAD)
    assert site.breakers.resumed({"cpu": site.now + minutes * MINUTE}, site.now + 5 * MINUTE) == site.breakers


def test_breakers_come_back_as_they_were_saved(tmp_path, tried):
    file = tmp_path / "breaker.json"
    tried.cycle(sighted(Place.RUNNING, at=NOW, in_pool=3, sequence=9, newest_start=NOW))
    tried.breakers.save(file)
    assert Breakers.load(file, "north") == tried.breakers


def test_what_has_not_changed_is_not_written_again(tmp_path, tried):
    file = tmp_path / "breaker.json"
    tried.breakers.save(file)
    before = file.stat().st_ino
    Breakers.load(file, "north").save(file)
    assert file.stat().st_ino == before


def test_without_a_file_all_are_closed(tmp_path):
    assert Breakers.load(tmp_path / "breaker.json", "north").gate("cpu", NOW) is None


BROKEN = [
    *(b"", b"{", b"[]", b"\xff", b"[" * 9999, b'{"shapes": 7}', b'{"shapes": {"cpu": {"trips": "x"}}}'),
    b'{"shapes": {"cpu": {"since": "2026-11-22T09:00:00"}}}',  # a time of no zone cannot be compared
]


@pytest.mark.parametrize("body", BROKEN)
def test_a_file_that_cannot_be_understood_lets_one_glidein_try_and_is_moved_aside(tmp_path, body):
    file = tmp_path / "breaker.json"
    file.write_bytes(body)
    lost = Breakers.load(file, "north")
    assert file.read_bytes() == body
    assert lost.gate("cpu", NOW).code == "canary"
    judged = lost.judged({"cpu": NOTHING, "gpu": pooled(3, 1)}, NOW)
    assert judged.gate("cpu", NOW).most == 1
    assert judged.view("cpu", NOW).code == "state-lost"
    assert judged.gate("gpu", NOW) is None
    judged.save(file)
    after = judged.after_submission("cpu", "gp-canary")
    after.save(file)
    assert (tmp_path / "breaker.json.broken").read_bytes() == body
    assert Breakers.load(file, "north").gate("cpu", NOW).code == "canary-out"


def test_a_folder_in_its_place_is_moved_aside_too(tmp_path):
    file = tmp_path / "breaker.json"
    file.mkdir()
    Breakers.load(file, "north").judged({"cpu": NOTHING}, NOW).save(file)
    assert Breakers.load(file, "north").view("cpu", NOW).code == "state-lost"


def test_a_shape_that_left_the_configuration_is_forgotten(site):
    site.breakers = site.breakers.judged({"cpu": BAD, "gpu": BAD}, NOW)
    site.cycle()
    assert set(site.breakers.shapes) == {"cpu"}


def test_breakers_remember_up_to_which_record_they_have_judged(tmp_path):
    file = tmp_path / "breaker.json"
    Breakers("north").judged({"cpu": NOTHING}, NOW, serial=17).save(file)
    again = Breakers.load(file, "north")
    assert again.serial == 17
    assert again.judged({"cpu": NOTHING}, NOW).serial == 17


def test_what_the_heartbeat_says_of_a_breaker_keeps_to_its_schema(tried):
    site = Site()
    site.fail(Refused("x" * 5000, hint="h", is_limit=False))
    for one in (tried, site):
        report = ShapeReport(
            name="cpu",
            backend="slurm",
            offers=Resources(1, 1, 1, 1),
            limits=Limits(1, 1, 1, 1),
            counts=Counts(),
            submitted=0,
            removed=0,
            reason=one.breakers.gate("cpu", one.now).code,
            detail=one.breakers.gate("cpu", one.now).detail,
            breaker=one.breakers.view("cpu", one.now),
        )
        Heartbeat("north", "i", "0", 1, NOW, (report,)).to_json()
