"""The contract of every batch system that Glidepost speaks: the same cases over each `Site` (sites.py), real or played.

A module of tests makes `class TestNAME(Contract)` with a fixture `site`. What each case found goes into the table that
the run prints at its end (tests/conftest.py).
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sites import SLEEP, Ask, Site

from glidepost.backends.base import Command, JobState
from glidepost.schema.checks import FAILED, Finding
from glidepost.schema.heartbeat import Limits
from glidepost.schema.keys import SigningKey
from glidepost.schema.puller_config import GlideinOptions, PullerConfig, Shape
from glidepost.schema.resources import Resources
from glidepost.site_puller.queue import Queue
from glidepost.site_puller.setup.check_batch import check_batch

BOOTSTRAP = Path(__file__).parents[2] / "glidein" / "bootstrap"
IDLE, RUNNING, HELD = JobState.IDLE, JobState.RUNNING, JobState.HELD
ASKS = ("bad queue", "closed queue", "too long", "impossible", "bad account", "bad option", "too many")


def _names_itself() -> str:
    """Returns a script that says which batch job it is, as a glidein finds out."""
    parts = [(BOOTSTRAP / name).read_text(encoding="utf-8") for name in ("1-words.sh", "5-names.sh")]
    return "\n".join(["#!/bin/sh", *parts, "find_batch_job", 'echo "batch job ${batch_job}"', ""])


class Contract:
    """What the site puller relies on, tried out."""

    @pytest.fixture(autouse=True)
    def _entry(self, request: pytest.FixtureRequest, site: Site, record_property) -> None:
        """Names the row and the column of the coverage table; a case that a system lacks passes by, and says why."""
        case = request.node.originalname.removeprefix("test_").replace("_", " ")
        ask = getattr(request.node, "callspec", None) and request.node.callspec.params.get("ask")
        self.case = ask if isinstance(ask, str) else case
        ask = self.case.removeprefix("check finds: ")
        self.lacking = site.lacks.get(self.case) or site.lacks.get(ask, "")
        record_property("contract", (self.case, site.label, self.lacking))

    def test_nothing_submitted_is_an_empty_queue(self, site: Site) -> None:
        assert site.live() == []

    @pytest.mark.parametrize("count", [1, 2, 25])
    def test_as_many_are_listed_as_were_submitted(self, site: Site, count: int) -> None:
        site.submit(site.request(count=count))
        assert site.wait(lambda: len(site.live()) == count)
        jobs = site.live()
        assert [job.name for job in jobs] == ["gp-abc"] * count
        assert len({job.batch_id for job in jobs}) == count

    def test_two_submissions_are_told_apart(self, site: Site) -> None:
        first = site.submit(site.request("gp-one", 2))
        second = site.submit(site.request("gp-two", 3))
        assert first != second
        assert site.wait(lambda: len(site.live()) == 5)
        assert Counter(job.name for job in site.live()) == {"gp-one": 2, "gp-two": 3}

    def test_running_and_queued_ones_are_counted_apart(self, site: Site) -> None:
        if self.lacking or site.slots is None:
            return
        site.submit(site.request(count=site.slots + 3))
        site.release()
        assert site.wait(lambda: site.states() == {RUNNING: site.slots, IDLE: 3}), site.states()

    def test_a_removal_takes_the_queued_ones_that_it_names(self, site: Site) -> None:
        if site.slots is None:
            site.submit(site.request(count=4))
            assert site.wait(lambda: site.states() == {RUNNING: 4})
        else:
            site.submit(site.request(count=site.slots + 6))
            site.release()
            assert site.wait(lambda: site.states() == {RUNNING: site.slots, IDLE: 6}), site.states()
        before = site.live()
        queued = [job.batch_id for job in before if job.state is (RUNNING if site.slots is None else IDLE)]
        # Not in a row, and neither the first nor the last.
        doomed = {queued[1], queued[2], queued[-2]}
        assert site.run(site.backend().removal(sorted(doomed))).returncode == 0
        left = {job.batch_id for job in before} - doomed
        assert site.wait(lambda: {job.batch_id for job in site.live()} == left), site.live()

    def test_one_that_has_started_meanwhile_is_not_removed(self, site: Site) -> None:
        if self.lacking:
            return
        assert site.slots is not None
        site.submit(site.request(count=site.slots + 1))
        site.release()
        assert site.wait(lambda: site.states() == {RUNNING: site.slots, IDLE: 1}), site.states()
        site.run(site.backend().removal([job.batch_id for job in site.live()]))
        assert site.wait(lambda: site.states() == {RUNNING: site.slots}), site.states()

    def test_what_is_gone_by_now_does_not_keep_the_others(self, site: Site) -> None:
        count = 3 + (site.slots or 0)
        site.submit(site.request(count=count))
        site.release()
        expected = {RUNNING: 3} if site.slots is None else {RUNNING: site.slots, IDLE: 3}
        assert site.wait(lambda: site.states() == expected), site.states()
        state = RUNNING if site.slots is None else IDLE
        first, second, third = (job.batch_id for job in site.live() if job.state is state)
        site.run(site.backend().removal([second]))
        assert site.wait(lambda: len(site.live()) == count - 1)
        site.run(site.backend().removal([first, second, third]))
        assert site.wait(lambda: len(site.live()) == count - 3), site.live()

    def test_a_held_one_is_held_and_can_be_removed(self, site: Site) -> None:
        if self.lacking:
            return
        assert site.slots is not None
        site.submit(site.request(count=site.slots + 2))
        site.release()
        assert site.wait(lambda: site.states() == {RUNNING: site.slots, IDLE: 2}), site.states()
        queued = next(job.batch_id for job in site.live() if job.state is IDLE)
        site.hold(queued)
        assert site.wait(lambda: site.states() == {RUNNING: site.slots, IDLE: 1, HELD: 1}), site.states()
        (held,) = (job.batch_id for job in site.live() if job.state is HELD)
        assert held == queued
        assert site.run(site.backend().removal([held])).returncode == 0
        assert site.wait(lambda: site.states() == {RUNNING: site.slots, IDLE: 1}), site.states()

    def test_one_in_an_error_state_is_held(self, site: Site) -> None:
        if self.lacking:
            return
        batch_id = site.fail()
        assert site.wait(lambda: any(job.state is HELD for job in site.jobs())), site.jobs()
        (job,) = (job for job in site.jobs() if job.state is HELD)
        assert job.batch_id == batch_id
        assert site.run(site.backend().removal([batch_id])).returncode == 0
        assert site.wait(lambda: site.live() == []), site.live()

    @pytest.mark.parametrize("ask", ASKS)
    def test_what_it_does_not_want(self, site: Site, ask: str) -> None:
        if self.lacking:
            return
        asked = site.asks[ask]
        backend = site.backend(**asked.options)
        done = site.run(backend.submission(site.request(count=asked.count, **asked.resources)))
        if asked.waits:
            assert done.returncode == 0, done.stderr
            assert site.wait(lambda: any(asked.words in job.reason for job in site.live())), site.live()
            assert all(job.state in {IDLE, HELD} for job in site.live())
            return
        assert done.returncode != 0, done.stdout
        refused = backend.refusal(done.returncode, done.stderr)
        assert refused is not None, done.stderr
        assert asked.words in refused.text
        assert "\n" not in refused.text
        assert refused.is_limit == asked.is_limit
        assert refused.is_size == (ask == "too many")
        assert site.live() == []

    def test_why_one_waits(self, site: Site) -> None:
        if self.lacking or site.slots is None:
            return
        site.submit(site.request(count=site.slots + 1))
        site.release()
        assert site.wait(lambda: any(job.reason for job in site.live() if job.state is IDLE)), site.live()

    def test_a_server_that_is_down_is_no_empty_queue(self, site: Site) -> None:
        if self.lacking:
            return
        site.submit(site.request(count=3))
        assert site.wait(lambda: len(site.live()) == 3)
        with site.down():
            try:
                done = site.run(site.backend().query())
            except subprocess.TimeoutExpired:  # it hangs, and its caller's time-out ends it
                done = None
            if done is not None and done.returncode == 0:
                with pytest.raises(ValueError, match=r"\S"):
                    list(site.backend().parse_query(done.stdout))
        assert site.wait(lambda: len(site.live()) == 3), site.live()

    def test_five_hundred_are_listed(self, site: Site) -> None:
        if self.lacking:
            return
        site.submit(site.request(count=500))
        assert site.wait(lambda: len(site.live()) == 500), len(site.live())
        jobs = site.live()
        assert len({job.batch_id for job in jobs}) == 500
        queued = [job.batch_id for job in jobs if job.state is IDLE][-250:]
        if site.slots is not None:
            assert site.run(site.backend().removal(queued)).returncode == 0
            assert site.wait(lambda: len(site.live()) <= 250), len(site.live())

    @pytest.mark.parametrize("count", [1, 2])
    def test_a_glidein_knows_which_batch_job_it_is(self, site: Site, log_folder: Path, count: int) -> None:
        if self.lacking:
            return
        script = f"{_names_itself()}sleep 600\n"
        site.submit(site.request(count=count, script=script, logs=str(log_folder)))
        site.release()
        assert site.wait(lambda: site.states() == {RUNNING: count}), site.states()

        def said() -> list[str]:
            texts = [path.read_text(errors="replace") for path in sorted(log_folder.iterdir())]
            return [found for text in texts for found in re.findall(r"^batch job (.*)$", text, re.MULTILINE)]

        assert site.wait(lambda: len(said()) == count), list(log_folder.iterdir())
        assert sorted(said()) == sorted(job.batch_id for job in site.live())
        assert all(path.name.startswith("gp-abc") for path in log_folder.iterdir())

    def test_a_script_arrives_as_it_was(self, site: Site, log_folder: Path) -> None:
        if self.lacking:
            return
        odd = "tab\there 'single' \"double\" $HOME `date` \\n \\\\ %i @x@ {gpus} é ✓ !bang"
        script = f"#!/bin/sh\nset -f\ncat <<'END'\n{odd}\nEND\n: {'x' * 70_000}\necho whole\n"
        site.submit(site.request(script=script, logs=str(log_folder)))
        site.release()

        def said() -> str:
            return "".join(path.read_text(encoding="utf-8", errors="replace") for path in log_folder.iterdir())

        assert site.wait(lambda: "whole" in said()), said()
        assert odd in said()

    def test_ones_that_have_ended_are_gone(self, site: Site) -> None:
        if self.lacking:
            return
        site.submit(site.request(count=2, script="#!/bin/sh\nexit 0\n"))
        site.release()
        assert site.wait(lambda: site.live() == []), site.live()

    def test_variables_of_the_caller_change_nothing(self, site: Site) -> None:
        done = site.run(site.backend().submission(site.request(count=2)), **site.foreign())
        assert done.returncode == 0, done.stderr
        site.backend().parse_submission(done.stdout)
        assert site.wait(lambda: len(site.live()) == 2)
        listed = site.run(site.backend().query(), **site.foreign())
        assert [job.name for job in site.backend().parse_query(listed.stdout)] == ["gp-abc"] * 2

    def test_an_order_to_remove_nothing_is_refused(self, site: Site) -> None:
        for batch_ids in ([], [""], ["--all"], ["*"], ["1; true"]):
            with pytest.raises(ValueError, match="ids"):
                site.backend().removal(batch_ids)

    def test_a_trial_leaves_nothing(self, site: Site) -> None:
        trial = site.backend().trial(site.request("gp-check", 2))
        if trial is None:
            assert "a trial leaves nothing" in site.lacks
            return
        done = site.run(trial)
        assert done.returncode == 0, done.stderr
        assert site.wait(lambda: site.live() == []), site.live()

    def test_a_trial_finds_what_it_would_refuse(self, site: Site) -> None:
        if self.lacking:
            return
        for ask, asked in site.asks.items():
            if asked.waits or asked.is_limit:
                continue
            backend = site.backend(**asked.options)
            trial = backend.trial(site.request("gp-check", asked.count, **asked.resources))
            assert trial is not None
            assert site.run(trial).returncode != 0, ask
        assert site.wait(lambda: site.live() == [])

    def test_its_limits_are_known(self, site: Site) -> None:
        if self.lacking:
            return
        backend = site.backend()
        command = backend.limits()
        assert command is not None
        done = site.run(command)
        assert done.returncode == 0, done.stderr
        found = backend.parse_limits(done.stdout)
        assert found
        assert any(limits.is_open for limits in found)
        missing = site.backend(**site.asks["bad queue"].options)
        done = site.run(missing.limits())
        if done.returncode == 0:
            assert missing.parse_limits(done.stdout) == ()

    @pytest.fixture
    def state(self) -> Iterator[Path]:
        """A state folder with a token, which the account can read wherever it is."""
        folder = Path(tempfile.mkdtemp(prefix="glidepost-test-"))
        folder.chmod(0o755)
        (folder / "token").write_text("a.b.c\n", encoding="utf-8")
        (folder / "token").chmod(0o644)
        (folder / "logs").mkdir()
        (folder / "logs").chmod(0o777)
        yield folder
        shutil.rmtree(folder)

    def _check(self, site: Site, ask: Ask, state: Path) -> dict[str, Finding]:
        """Returns what `glidepost puller check` finds of a shape, by its name."""
        sizes = {"cpus": 1, "memory_mib": 100, "disk_mib": 0, "walltime_s": 1800, "gpus": 0, **ask.resources}
        options = {**site.options, **ask.options}
        most = Limits(ask.count, ask.count, ask.count, ask.count)
        shape = Shape("cpu", site.backend_name, Resources(**sizes), most, options, ("env",), scratch="/somewhere")
        config = PullerConfig(
            site="north",
            glidein_site="north",
            key=state / "site.key",
            state=state,
            url="https://example.org",
            public_key=SigningKey(bytes(32)).public,
            shapes=(shape,),
            glidein=GlideinOptions(),
        )

        def run(argv, *, stdin, **_):
            return site.run(Command(tuple(argv), stdin))

        found = check_batch(config, opens=lambda _: Queue(site.backend(**options), ("env",), run=run))
        return {finding.name.removeprefix("cpu: "): finding for finding in found}

    def test_check_likes_what_is_right(self, site: Site, state: Path) -> None:
        found = self._check(site, Ask(""), state)
        assert {name for name, finding in found.items() if finding.state == FAILED} <= {"scratch"}, found
        assert site.live() == []

    @pytest.mark.parametrize("ask", [f"check finds: {ask}" for ask in ASKS])
    def test_check_finds(self, site: Site, ask: str, state: Path) -> None:
        if self.lacking:
            return
        found = self._check(site, site.asks[ask.removeprefix("check finds: ")], state)
        wrong = [finding for name, finding in found.items() if finding.state == FAILED and name != "scratch"]
        assert wrong, found
        assert all(finding.remedy for finding in wrong)
        assert site.live() == []

    def test_check_finds_a_server_that_is_down(self, site: Site, state: Path) -> None:
        if self.lacking:
            return
        with site.down():
            assert self._check(site, Ask(""), state)["queue"].state == FAILED

    def test_words_survive_a_shell_in_between(self, site: Site) -> None:
        """A site may reach its batch system through `ssh login01`, whose far end is a shell."""

        def far(command: Command) -> Command:
            return Command(("sh", "-c", shlex.join(command.argv)), command.stdin)

        backend = site.backend()
        done = site.run(far(backend.submission(site.request(count=3, script=SLEEP))))
        assert done.returncode == 0, done.stderr
        backend.parse_submission(done.stdout)
        assert site.wait(lambda: len(site.live()) == 3)
        listed = list(backend.parse_query(site.run(far(backend.query())).stdout))
        assert len(listed) == 3
        site.run(far(backend.removal([job.batch_id for job in listed])))
