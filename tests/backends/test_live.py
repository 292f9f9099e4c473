"""The contract over real command lines: `local` with real processes, Slurm played by tests/fakes/bin."""

from __future__ import annotations

import json
import subprocess
from collections import Counter

import pytest

SLEEP = "#!/bin/sh\nexec sleep 60\n"


def test_nothing_submitted_is_an_empty_queue(live):
    assert live.jobs() == []


@pytest.mark.parametrize("count", [1, 2, 12])
def test_as_many_are_listed_as_were_submitted_under_their_name_and_id(live, make_request, count):
    batch_id = live.submit(make_request(name="gp-abc", count=count, script=SLEEP))
    jobs = live.jobs()
    assert [job.name for job in jobs] == ["gp-abc"] * count
    assert len({job.batch_id for job in jobs}) == count
    assert all(job.batch_id.startswith(batch_id) for job in jobs)


def test_two_submissions_are_told_apart(live, make_request):
    first = live.submit(make_request(name="gp-1", count=2, script=SLEEP))
    second = live.submit(make_request(name="gp-2", count=3, script=SLEEP))
    assert first != second
    assert Counter(job.name for job in live.jobs()) == {"gp-1": 2, "gp-2": 3}


def test_a_removal_takes_those_and_no_other(live, make_request):
    live.submit(make_request(count=4, script=SLEEP))
    # Several of an array at once, and one that nothing had set apart before: the trap of Slurm's --state.
    before = live.jobs_when(lambda jobs: len({job.state for job in jobs}) == 1)
    doomed = [before[1].batch_id, before[2].batch_id]
    assert live.run(live.backend.removal(doomed)).returncode == 0
    after = live.jobs_when(lambda jobs: len(jobs) == 2)
    assert sorted(job.batch_id for job in after) == sorted(job.batch_id for job in before if job.batch_id not in doomed)


def test_a_removal_of_what_is_gone_by_now_still_takes_the_others(live, make_request):
    live.submit(make_request(count=2, script=SLEEP))
    first, second = (job.batch_id for job in live.jobs())
    live.run(live.backend.removal([first]))
    live.jobs_when(lambda jobs: len(jobs) == 1)
    live.run(live.backend.removal([first, second]))
    assert live.jobs_when(lambda jobs: not jobs) == []


def test_slurm_receives_the_script_and_nothing_of_the_environment_is_asked_for(fake_slurm, make_request, tmp_path):
    fake_slurm.submit(make_request(script=SLEEP))
    (job,) = json.loads((tmp_path / "slurm.json").read_text())["jobs"]
    assert job["script"] == SLEEP
    assert "--export=NONE" in job["argv"]


def test_a_started_one_is_not_removed_from_slurm(fake_slurm, make_request, tmp_path):
    fake_slurm.submit(make_request(count=2))
    state = json.loads((tmp_path / "slurm.json").read_text())
    state["jobs"][0].update(state="R", reason="None")
    (tmp_path / "slurm.json").write_text(json.dumps(state))
    fake_slurm.run(fake_slurm.backend.removal(["1_0", "1_1"]))
    assert [job.batch_id for job in fake_slurm.jobs()] == ["1_0"]


@pytest.mark.parametrize("mode", ["garbage", "cut"])
def test_an_answer_of_slurm_that_is_not_whole_is_no_answer(fake_slurm, make_request, mode):
    fake_slurm.submit(make_request(count=3))
    answer = fake_slurm.run(fake_slurm.backend.query(), GLIDEPOST_FAKE_SQUEUE=mode)
    assert answer.returncode == 0
    with pytest.raises(ValueError, match=r"\S"):
        list(fake_slurm.backend.parse_query(answer.stdout))


def test_a_slurm_that_is_down_says_so(fake_slurm):
    answer = fake_slurm.run(fake_slurm.backend.query(), GLIDEPOST_FAKE_SQUEUE="down")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert "Unable to contact slurm controller" in answer.stderr


def test_a_submission_whose_answer_was_lost_is_found_again_by_its_name(fake_slurm, make_request):
    answer = fake_slurm.run(fake_slurm.backend.submission(make_request(name="gp-lost")), GLIDEPOST_FAKE_SBATCH="lost")
    assert answer.returncode == 1
    assert [job.name for job in fake_slurm.jobs()] == ["gp-lost"]


def test_a_slurm_that_hangs_is_left_to_the_time_out_of_the_caller(fake_slurm):
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(
            fake_slurm.backend.query().argv,
            env={"GLIDEPOST_FAKE_SQUEUE": "hang", **fake_slurm.environment},
            timeout=1,
            check=False,
        )


def test_an_option_that_sbatch_does_not_know_is_refused(fake_slurm, make_request):
    command = fake_slurm.backend.submission(make_request())
    answer = fake_slurm.run(type(command)((*command.argv, "--no-such-option"), command.stdin))
    assert answer.returncode == 255
    assert "unrecognized option '--no-such-option'" in answer.stderr
