"""What only Slurm has."""

from __future__ import annotations

import pytest

from glidepost.backends.base import JobState
from glidepost.backends.slurm import SlurmBackend
from glidepost.schema.errors import ConfigError


@pytest.fixture
def slurm():
    return SlurmBackend({})


def parsed(slurm, text):
    return list(slurm.parse_query(text))


def test_batch_jobs_that_are_over_and_still_listed_are_gone(slurm, recorded):
    jobs = {job.batch_id: job for job in parsed(slurm, recorded("slurm-22.05.8-squeue-finished.txt"))}
    assert {jobs[batch_id].state for batch_id in ("13", "15", "44_2", "53_4")} == {JobState.GONE}
    assert jobs["13"].reason == "TimeLimit"
    assert jobs["54"].state is JobState.IDLE


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        ("JobHeldUser", JobState.HELD),
        ("JobHeldAdmin", JobState.HELD),
        ("JobHoldMaxRequeue", JobState.HELD),
        ("launch_failed_requeued_held", JobState.HELD),
        ("user_env_retrieval_failed_requeued_held", JobState.HELD),
        ("Resources", JobState.IDLE),
        ("QOSUsageThreshold", JobState.IDLE),
        ("ReqNodeNotAvail,_UnavailableNodes:n[1-9]", JobState.IDLE),
        ("PartitionDown", JobState.IDLE),
        ("", JobState.IDLE),
    ],
)
def test_a_pending_batch_job_is_held_when_its_reason_says_so(slurm, reason, state):
    (job,) = parsed(slurm, f"12_3@PD@{reason}@gp-1@\n")
    assert (job.state, job.reason) == (state, reason)


def test_a_running_one_that_was_held_too_late_still_runs_and_waits_for_nothing(slurm):
    (job,) = parsed(slurm, "12_3@R@JobHeldUser@gp-1@\n")
    assert (job.state, job.reason) == (JobState.RUNNING, "")


def test_suspended_and_completing_ones_still_have_their_node(slurm):
    assert {job.state for job in parsed(slurm, "1@S@None@a@\n2@CG@None@b@\n3@CF@None@c@\n")} == {JobState.RUNNING}


def test_a_name_of_several_lines_does_not_make_the_queue_unreadable(slurm):
    jobs = parsed(slurm, "1@R@None@one\ntwo\n\nthree@\n2@R@None@gp-1@\n")
    assert [job.name for job in jobs] == ["one\ntwo\n\nthree", "gp-1"]


@pytest.mark.parametrize(
    "text",
    [
        "1@R@None@forged\n2@R@None@gp-1@\n",  # a line end and a whole record in a name
        "1@R@None@gp-1\n",
        "1@R@None\n",
        "1_[2-9]@PD@None@gp-1@\n",  # members together: --array was not heard
        "@R@None@gp-1@\n",
        "1@@None@gp-1@\n",
        "1|R|None|gp-1|\n",
    ],
)
def test_a_record_that_is_not_whole_is_refused(slurm, text):
    with pytest.raises(ValueError, match=r"\S"):
        parsed(slurm, text)


def test_the_id_of_a_submission_to_a_federation_comes_without_its_cluster(slurm):
    assert slurm.parse_submission("12;north\n") == "12"


def test_a_banner_before_the_id_does_no_harm(slurm):
    assert slurm.parse_submission("Your project has 12 hours left.\n4711\n") == "4711"


def test_an_id_that_came_without_parsable_is_not_taken(slurm):
    with pytest.raises(ValueError, match="Submitted batch job 7"):
        slurm.parse_submission("Submitted batch job 7\n")


def test_a_walltime_is_never_zero_minutes_which_would_be_no_limit(slurm, make_request):
    assert "--time=1" in slurm.submission(make_request(walltime_s=0)).argv


def test_what_identifies_a_glidein_comes_after_the_sites_own_options(make_request):
    argv = SlurmBackend({"extra": ("--job-name=mine", "--mem=0")}).submission(make_request(count=2)).argv
    assert argv.index("--mem=0") > argv.index("--mem=4096M")
    assert argv[-4:] == ("--parsable", "--job-name=gp-1a2b3c", "--output=/dev/null", "--array=0-1")


@pytest.mark.parametrize(
    "word",
    [
        "script.sh",
        "--time-min=1",
        "",
        "-",
        "--",
        "100",
        "--array=0-9",
        "--arr=0-9",
        "-a0-9",
        "--wrap=ls",
        "--wait",
        "-W",
        "-Mx",
    ],
)
def test_an_extra_option_that_changes_what_is_submitted_is_refused(word):
    with pytest.raises(ConfigError, match="extra"):
        SlurmBackend({"extra": (word,)})


def test_extra_options_as_one_text_are_refused():
    with pytest.raises(ConfigError, match="not a list"):
        SlurmBackend({"extra": "--nice=100 --hold"})


@pytest.mark.parametrize("word", ["--nice=100", "--wait-all-nodes=1", "--account=x", "-x", "--cluster-constraint=ib"])
def test_other_extra_options_go_through(word, make_request):
    assert word in SlurmBackend({"extra": (word,)}).submission(make_request()).argv


def test_queries_and_removals_need_no_quotes_behind_ssh(slurm):
    for command in (slurm.query(), slurm.removal(["12_3", "14"])):
        assert not set("".join(command.argv)) & set(" |&;<>()$`\\\"'*?[]#~!{}")


@pytest.mark.parametrize(
    ("options", "asked", "words", "missing"),
    [
        ({}, {"gpus": 2}, ["--mem=4096M", "--gres=gpu:2", "--no-requeue"], ["--tmp", "--gpus-per-node"]),
        ({"gpus_per_node": "a100:{gpus}"}, {"gpus": 4}, ["--gpus-per-node=a100:4"], ["--gres"]),
        ({"gres": ""}, {"gpus": 4}, [], ["--gres", "--gpus"]),
        (
            {"gres": "gpu:h100_1g.10gb:{gpus},scratch:{disk_mib}M"},
            {"gpus": 1, "disk_mib": 7},
            ["--gres=gpu:h100_1g.10gb:1,scratch:7M"],
            [],
        ),
        ({"memory_per": "cpu"}, {"cpus": 3, "memory_mib": 4000}, ["--mem-per-cpu=1334M"], ["--mem="]),
        ({"memory_per": "none"}, {}, [], ["--mem"]),
        ({"disk": True}, {"disk_mib": 12345}, ["--tmp=12345M"], []),
        ({"requeue": True}, {}, ["--requeue"], ["--no-requeue"]),
    ],
)
def test_what_a_site_may_want_to_be_asked_otherwise(make_request, options, asked, words, missing):
    argv = SlurmBackend(options).submission(make_request(**asked)).argv
    assert set(words) <= set(argv)
    assert not [word for word in argv for part in missing if word.startswith(part)]


def test_words_before_ours_lose_against_them_and_words_after_ours_win(make_request):
    options = {"extra_before": ("--mem=1G", "--mail-type=FAIL"), "extra": ("--time=5",)}
    argv = SlurmBackend(options).submission(make_request()).argv
    assert argv[:3] == ("sbatch", "--mem=1G", "--mail-type=FAIL")
    assert argv.index("--mem=1G") < argv.index("--mem=4096M")
    assert argv.index("--time=5") > argv.index("--time=1440")
