"""Grid Engine's words: what is asked for, what is said of it, and what an answer that is none is worth."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepost.backends.base import GlideinRequest, JobState, QueueLimits, Refusal
from glidepost.backends.gridengine import GridEngineBackend
from glidepost.schema.errors import ConfigError
from glidepost.schema.resources import Resources


def submission(count: int = 1, logs: str = "", *, options=None, **asked: int) -> list[str]:
    sizes = {"cpus": 1, "memory_mib": 4096, "disk_mib": 0, "walltime_s": 600, "gpus": 0, **asked}
    request = GlideinRequest("gp-abc", Resources(**sizes), count, "#!/bin/sh\n", logs)
    return list(GridEngineBackend(options or {}).submission(request).argv)


def asked_for(argv: list[str]) -> dict[str, str]:
    return dict(item.split("=", 1) for item in argv[argv.index("-l") + 1].split(","))


def listing(state: str, tasks: str = "") -> str:
    return (
        f"<job_info><job_list><JB_job_number>7</JB_job_number><JB_name>gp-abc</JB_name><state>{state}</state>"
        f"{tasks and f'<tasks>{tasks}</tasks>'}</job_list></job_info>"
    )


# --- submissions


@given(
    cpus=st.integers(1, 512),
    memory_mib=st.integers(1, 1 << 25),
    disk_mib=st.integers(1, 1 << 30),
    per_job=st.booleans(),
)
def test_what_is_asked_for_each_slot_is_never_less_in_all(cpus, memory_mib, disk_mib, per_job):
    options = {
        "memory_resource": "mem_free, h_vmem",
        "disk_resource": "tmpfree",
        "memory_per": "job" if per_job else "slot",
    }
    found = asked_for(submission(options=options, cpus=cpus, memory_mib=memory_mib, disk_mib=disk_mib))
    slots = 1 if per_job else cpus
    assert found["mem_free"] == found["h_vmem"]
    for name, amount in (("mem_free", memory_mib), ("tmpfree", disk_mib)):
        assert found[name].endswith("M")
        assert amount <= int(found[name][:-1]) * slots < amount + slots


def test_no_resource_is_made_up():
    assert asked_for(submission(disk_mib=1000)) == {"h_rt": "600"}


def test_one_core_needs_no_parallel_environment_and_more_need_one():
    assert "-pe" not in submission(options={"parallel_environment": "multicore"})
    argv = submission(cpus=4, options={"parallel_environment": "multicore"})
    assert argv[argv.index("-pe") :][:3] == ["-pe", "multicore", "4"]


def test_one_glidein_is_no_array_and_two_count_from_one():
    assert "-t" not in submission(1)
    argv = submission(2)
    assert argv[argv.index("-t") + 1] == "1-2"


@pytest.mark.parametrize(
    ("options", "gpus", "word"),
    [
        ({}, 2, "gpu=2"),
        ({"gpus": "gpu={gpus},gpu_type=a100"}, 2, "gpu=2,gpu_type=a100"),
        ({"gpus": ""}, 2, None),
        ({}, 0, None),
    ],
)
def test_gpus_are_asked_for_as_the_site_spells_it(options, gpus, word):
    argv = submission(options=options, gpus=gpus)
    assert argv[argv.index("-l") + 1] == ",".join(filter(None, ["h_rt=600", word]))


@pytest.mark.parametrize(
    ("folder", "path"),
    [
        ("/srv/logs", "/srv/logs/$JOB_NAME-$JOB_ID.out"),
        ("/srv/a:b", ":/srv/a:b/$JOB_NAME-$JOB_ID.out"),  # else /srv/a would be a host
        ("/srv/a,b", "/dev/null"),  # a list of two
        ("", "/dev/null"),
    ],
)
def test_logs_go_to_a_path_as_qsub_writes_one(folder, path):
    argv = submission(logs=folder)
    assert argv[argv.index("-o") + 1] == path


def test_what_a_site_adds_stands_where_it_wins_or_loses():
    argv = submission(options={"extra_before": ("-clear", "-p -10"), "extra": ("-l os=sl7", "-w n")})
    assert argv[:4] == ["qsub", "-clear", "-p", "-10"]
    assert argv.index("os=sl7") > argv.index("h_rt=600")
    assert [value for word, value in zip(argv, argv[1:]) if word == "-w"] == ["n"]


@pytest.mark.parametrize(
    ("key", "item"),
    [
        *(("extra", item) for item in ("-t 1-5", "-N other", "-V", "-b y", "-sync y", "-@ file", "-clear", "-C #")),
        *(("extra", item) for item in ("-l s_rt=60", "-l mem=1G,s_rt=60", "qos=open", "-")),
        *(("extra_before", item) for item in ("-t 1-5", "-V", "-l s_rt=60")),
    ],
)
def test_what_would_make_another_submission_of_it_cannot_be_added(key, item):
    with pytest.raises(ConfigError):
        GridEngineBackend({key: (item,)})


def test_the_soft_limit_of_the_walltime_is_no_walltime():
    with pytest.raises(ConfigError, match="s_rt"):
        GridEngineBackend({"walltime_resource": "s_rt"})


def test_warnings_beside_the_id_are_skipped():
    text = 'qsub: warning: "-w" option has already been set, overriding previous setting\n12.1-25:1\n'
    assert GridEngineBackend({}).parse_submission(text) == "12"


def test_a_trial_never_submits_whatever_the_site_adds():
    request = GlideinRequest("gp-abc", Resources(1, 100, 0, 600), 2, "#!/bin/sh\n")
    plain = GridEngineBackend({}).trial(request)
    assert plain is not None
    assert [value for word, value in zip(plain.argv, plain.argv[1:]) if word == "-w"] == ["v"]
    unverified = GridEngineBackend({"extra": ("-w n",)}).trial(request)
    assert unverified is not None
    assert unverified.argv[:2] == ("sh", "-c")
    assert unverified.argv[-1] == "-h"
    assert "qdel" in unverified.argv[2]


# --- listings


@pytest.mark.parametrize("name", ["mixed", "compressed", "full"])
def test_however_qstat_lists_them_they_are_the_same(recorded, name):
    plain = {
        job.batch_id: job for job in GridEngineBackend({}).parse_query(recorded("gridengine-8.1.9-qstat-mixed.txt"))
    }
    found = list(GridEngineBackend({}).parse_query(recorded(f"gridengine-8.1.9-qstat-{name}.txt")))
    assert {job.batch_id: job for job in found} == plain
    assert len(found) == len(plain)


def test_an_empty_queue_is_a_document_without_batch_jobs(recorded):
    assert list(GridEngineBackend({}).parse_query(recorded("gridengine-8.1.9-qstat-empty.txt"))) == []


def test_an_answer_that_is_cut_anywhere_is_refused(recorded):
    text = recorded("gridengine-8.1.9-qstat-mixed.txt").rstrip()
    for end in range(1, len(text)):
        with pytest.raises(ValueError, match=r"\S"):
            list(GridEngineBackend({}).parse_query(text[:end]))


@pytest.mark.parametrize(
    ("tasks", "ids"),
    [
        ("4", ["7.4"]),
        ("9-12:1", ["7.9", "7.10", "7.11", "7.12"]),
        ("1-7:3,9,11-12:1", ["7.1", "7.4", "7.7", "7.9", "7.11", "7.12"]),
        ("5-6", ["7.5", "7.6"]),
    ],
)
def test_a_range_of_tasks_is_as_many_batch_jobs(tasks, ids):
    assert [job.batch_id for job in GridEngineBackend({}).parse_query(listing("qw", tasks))] == ids


@pytest.mark.parametrize("tasks", ["1-999999999:1", "5-1", "1-5:0", "x", "1,,2", "-3"])
def test_tasks_that_cannot_be_are_refused(tasks):
    with pytest.raises(ValueError, match="tasks"):
        list(GridEngineBackend({}).parse_query(listing("qw", tasks)))


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("qw", JobState.IDLE),
        ("Rqw", JobState.IDLE),
        ("hqw", JobState.HELD),
        ("Eqw", JobState.HELD),
        ("Ehqw", JobState.HELD),
        ("hr", JobState.RUNNING),
        ("tS", JobState.RUNNING),
        ("RtT", JobState.RUNNING),
        ("dr", JobState.GONE),
        ("dRT", JobState.GONE),
        ("", JobState.UNKNOWN),
        ("R", JobState.UNKNOWN),
        ("qx", JobState.UNKNOWN),
        ("rr", JobState.UNKNOWN),
    ],
)
def test_a_state_is_what_its_letters_say_together(word, state):
    (job,) = GridEngineBackend({}).parse_query(listing(word))
    assert job.state is state


def test_letters_in_another_order_say_the_same():
    backend = GridEngineBackend({})
    for word, state in backend.states.items():
        (job,) = backend.parse_query(listing(word[::-1]))
        assert job.state is state


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE x [<!ENTITY a "aaaa">]><job_info></job_info>',
        "<job_info><!-- x --></job_info>",
        "<detailed_job_info></detailed_job_info>",
        "<job_info></job_info>\nerror: commlib error",
        "<job_info><job_list></job_list></job_info>",
        "<job_info></job_list></job_info>",
        "<job_info><job_list><JB_job_number>x</JB_job_number><JB_name/><state>r</state></job_list></job_info>",
        "usage: qstat [options]",
    ],
)
def test_what_is_not_that_document_is_refused(text):
    with pytest.raises(ValueError, match=r"\S"):
        list(GridEngineBackend({}).parse_query(text))


def test_an_entity_is_one_letter_and_no_more():
    (job,) = GridEngineBackend({}).parse_query(listing("qw").replace("gp-abc", "&#65;&#x42;%lt;&amp;lt;&big;&#xD800;"))
    assert job.name == "AB<&lt;&big;\N{REPLACEMENT CHARACTER}"


def test_the_document_of_open_cluster_scheduler_is_understood():
    text = """<?xml version='1.0'?>
<job_info  xmlns:xsd="https://github.com/hpc-gridware/clusterscheduler/raw/master/source/dist/util/qstat.xsd">
  <queue_info>
    <job_list state="running">
      <JB_job_number>12</JB_job_number>
      <JAT_prio>0.55500</JAT_prio>
      <JB_name>gp-abc</JB_name>
      <JB_owner>glidein</JB_owner>
      <state>r</state>
      <JAT_start_time>2026-11-22T15:28:04.123456</JAT_start_time>
      <queue_name>all.q@node1</queue_name>
      <jclass_name/>
      <slots>1</slots>
      <tasks>3</tasks>
    </job_list>
  </queue_info>
  <job_info>
    <job_list state="pending">
      <JB_job_number>12</JB_job_number>
      <JB_name>gp-abc</JB_name>
      <state>qw</state>
      <JAT_submission_time>2026-11-22T15:28:04.123456</JAT_submission_time>
      <tasks>4-5:1</tasks>
    </job_list>
  </job_info>
</job_info>
"""
    found = [(job.batch_id, job.state) for job in GridEngineBackend({}).parse_query(text)]
    assert found == [("12.3", JobState.RUNNING), ("12.4", JobState.IDLE), ("12.5", JobState.IDLE)]


# --- refusals


def refusal(recorded, case: str, exit_code: int = 1):
    return GridEngineBackend({}).refusal(exit_code, recorded(f"gridengine-8.1.9-qsub-{case}.stderr.txt"))


@pytest.mark.parametrize(
    ("case", "exit_code", "text"),
    [
        ("bad-queue", 1, 'job requests unknown queue "nosuch.q"'),
        ("too-long", 1, "no suitable queues"),
        ("bad-environment", 1, 'the requested parallel environment "nosuch" does not exist'),
        ("bad-resource", 1, 'unknown resource "nosuch"'),
        ("bad-project", 1, 'the requested project "nosuch" does not exist'),
        ("bad-time", 1, 'attribute "h_rt" is not a time value'),
        ("bad-account", 1, "Slash ('/') not allowed in objectname"),
        ("bad-name", 1, '"1abc" is not a valid object name (cannot start with a digit)'),
        ("bad-option", 2, 'invalid option argument "-no-such-option"'),
        ("no-value", 2, "-q option must have queue list argument"),
        ("bad-verify", 7, 'invalid option argument "-w x"'),
        ("colon", 1, 'can\'t resolve hostname "/srv/a"'),
    ],
)
def test_what_a_person_must_change_is_permanent_and_said_in_one_line(recorded, case, exit_code, text):
    assert refusal(recorded, case, exit_code) == Refusal(text, is_limit=False)


def test_a_trial_says_which_queue_and_why(recorded):
    refused = refusal(recorded, "verify-too-long")
    assert refused is not None
    assert refused.text.startswith(
        'Job 14 (-l h_rt=7200) cannot run in queue "main.q" because of cluster queue; Job 14'
    )
    assert not refused.is_limit


def test_an_array_that_is_too_large_may_be_taken_in_parts(recorded):
    refused = refusal(recorded, "array-too-big")
    assert refused == Refusal("you tried to submit a job with more than 1000 tasks", is_limit=False, is_size=True)


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("user-full", "only 1 jobs are allowed per user (current job count: 1)"),
        ("cluster-full", "only 1 jobs are allowed per cluster"),
    ],
)
def test_a_limit_of_how_many_passes_and_a_smaller_array_would_not_help(recorded, case, text):
    assert refusal(recorded, case, 25) == Refusal(text, is_limit=True)


@pytest.mark.parametrize("case", ["down", "verifier", "verifier-later"])
def test_what_may_be_a_bad_moment_is_no_refusal(recorded, case):
    assert refusal(recorded, case) is None


@pytest.mark.parametrize(
    "stderr",
    [
        "",
        "no suitable queues\n",  # somebody else says so
        "qsub: command not found\n",
        "Unable to run job: Error reading answer list from qmaster\nExiting.\n",
        "Unable to initialize environment because of error: Please set the environment variable SGE_ROOT.\nExiting.\n",
    ],
)
def test_other_words_are_no_refusal(stderr):
    assert GridEngineBackend({}).refusal(1, stderr) is None


def test_a_full_stop_at_the_end_is_no_other_refusal():
    stderr = 'Unable to run job: Job was rejected because job requests unknown queue "nosuch.q".\nExiting.\n'
    assert GridEngineBackend({}).refusal(1, stderr) == Refusal('job requests unknown queue "nosuch.q".', is_limit=False)


# --- limits and removals


def test_limits_are_those_of_each_queue(recorded):
    found = GridEngineBackend({}).parse_limits(recorded("gridengine-8.1.9-limits.txt"))
    assert [(limits.queue, limits.is_open) for limits in found] == [("closed.q", False), ("main.q", True)]
    assert {(limits.walltime_s, limits.cpus, limits.array_size) for limits in found} == {(3600, 8, 1000)}
    assert all(20_000 < (limits.memory_mib or 0) < 30_000 for limits in found)


def test_a_queue_that_is_missing_has_no_limits(recorded):
    backend = GridEngineBackend({"queue": "nosuch.q"})
    assert backend.parse_limits(recorded("gridengine-8.1.9-limits-no-queue.txt")) == ()


def test_half_an_answer_tells_no_limits(recorded):
    text = recorded("gridengine-8.1.9-limits.txt")
    for end in (0, 10, text.index("</Queue-List>"), text.index("max_aj_tasks")):
        with pytest.raises(ValueError, match=r"\S"):
            GridEngineBackend({}).parse_limits(text[:end])


@pytest.mark.parametrize(
    ("walltime", "seconds"),
    [("48:00:00", 172800), ("2:00:00:00", 172800), ("3600", 3600), ("INFINITY", None), ("", None)],
)
def test_a_time_is_read_as_grid_engine_writes_it(walltime, seconds):
    text = (
        "<job_info><queue_info><Queue-List><name>long.q@a</name><slots_total>4</slots_total><state>a</state>"
        f"<resource name='h_rt' type='qf'>{walltime}</resource></Queue-List></queue_info></job_info>max_aj_tasks 0\n"
    )
    assert GridEngineBackend({}).parse_limits(text) == (
        QueueLimits("long.q", is_open=True, walltime_s=seconds, cpus=4),
    )


def test_a_removal_looks_again_at_what_is_queued_and_names_no_queue_or_account():
    command = GridEngineBackend({}).removal(["7.3", "8"])
    assert command.argv == ("sh", "-s", "7.3", "8")
    assert re.search(r"qstat -u \"\$account\" -s p", command.stdin)


@pytest.mark.parametrize("batch_ids", [[], ["7.3-5"], ["-u"], ["*"], ["7,8"], ["gp-abc"], ["7.3\n"], ["7 8"]])
def test_only_ids_of_single_batch_jobs_can_be_removed(batch_ids):
    with pytest.raises(ValueError, match="ids"):
        GridEngineBackend({}).removal(batch_ids)


PENDING = """<?xml version='1.0'?>
<job_info><queue_info></queue_info><job_info>
<job_list><JB_job_number>7</JB_job_number><JB_name>gp-a</JB_name><state>hqw</state><tasks>3</tasks></job_list>
<job_list>
  <JB_job_number>7</JB_job_number>
  <JB_name>x&gt;JB_job_number&gt;8</JB_name>
  <state>hqw</state>
  <tasks>12</tasks>
</job_list>
<job_list><JB_job_number>8</JB_job_number><JB_name>%lt;tasks>3</JB_name><state>hqw</state></job_list>
<job_list><JB_job_number>9</JB_job_number><JB_name>gp-a</JB_name><state>qw</state></job_list>
</job_info></job_info>
"""


@pytest.fixture(params=["dash", "bash"])
def remove(request, tmp_path):
    """Runs a removal with programs that only write down how they were called, and qstat that says what is in a file."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sh").symlink_to(shutil.which(request.param) or pytest.fail(f"no {request.param} on the PATH"))
    (tmp_path / "listing").write_text(PENDING)
    for name in ("qstat", "qdel", "qhold", "qrls"):
        answer = 'cat "$TOLD/listing" || exit 3' if name == "qstat" else f'[ ! -e "$TOLD/{name}-fails" ]'
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >>"$TOLD/calls"\n{answer}\n')
        (programs / name).chmod(0o755)

    def run(*batch_ids: str) -> tuple[int, list[str]]:
        command = GridEngineBackend({}).removal(batch_ids)
        environment = {"PATH": f"{programs}:{os.environ['PATH']}", "TOLD": str(tmp_path)}
        done = subprocess.run(command.argv, input=command.stdin, env=environment, text=True, timeout=60, check=False)
        calls = Path(tmp_path / "calls").read_text().splitlines()
        return done.returncode, [re.sub(r"-u \S+", "-u me", call) for call in calls]

    return run


def test_a_removal_holds_looks_deletes_what_is_queued_and_lets_the_rest_go(remove):
    status, calls = remove("7.3", "7.4", "8", "7.12", "70", "7")
    assert status == 0
    assert calls == [
        "qhold 7.3 7.4 8 7.12 70 7",
        "qstat -u me -s p -g d -xml",
        "qdel 7.3 7.12 8",
        "qrls 7.3 7.4 8 7.12 70 7",
    ]


def test_a_removal_of_what_is_not_queued_deletes_nothing(remove):
    status, calls = remove("10", "7.4")
    assert status == 0
    assert not [call for call in calls if call.startswith("qdel")]


def test_a_site_where_nobody_may_hold_can_be_told_to_remove(remove, tmp_path):
    (tmp_path / "qhold-fails").touch()
    (tmp_path / "qrls-fails").touch()
    status, calls = remove("8")
    assert status == 0
    assert "qdel 8" in calls


def test_a_removal_without_a_look_at_the_queue_deletes_nothing_and_fails(remove, tmp_path):
    (tmp_path / "listing").unlink()
    status, calls = remove("8")
    assert status == 3
    assert calls[-1] == "qrls 8"
    assert not [call for call in calls if call.startswith("qdel")]


def test_a_deletion_that_fails_fails_the_removal(remove, tmp_path):
    (tmp_path / "qdel-fails").touch()
    assert remove("8")[0] == 1
