"""What Slurm does when something goes wrong, played by tests/fakes/bin."""

from __future__ import annotations

import json
import subprocess

import pytest

SLEEP = "#!/bin/sh\nexec sleep 60\n"


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
