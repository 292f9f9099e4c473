"""PBS Pro and OpenPBS: what is asked for, how strange lists are read, refusals and limits."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
from case_pbs import HEAD
from hypothesis import given
from hypothesis import strategies as st

from glidepost.backends.base import BatchJob, GlideinRequest, JobState, QueueLimits, Refusal
from glidepost.backends.pbs import PbsBackend
from glidepost.backends.pbs_alike import mebibytes, seconds
from glidepost.schema.errors import ConfigError
from glidepost.schema.resources import Resources

IDLE, RUNNING, HELD, UNKNOWN = JobState.IDLE, JobState.RUNNING, JobState.HELD, JobState.UNKNOWN


def asked(request, **options) -> list[str]:
    """Returns what stands behind each -l."""
    words = PbsBackend(options).submission(request).argv
    return [value for option, value in zip(words, words[1:]) if option == "-l"]


def listed(jobs: dict, account="glide") -> list[BatchJob]:
    return list(PbsBackend({}).parse_query(f"{account}\n{json.dumps({**HEAD, 'Jobs': jobs}, indent=4)}\n"))


def job(state="Q", owner="glide@vm", **more) -> dict[str, str]:
    return {"Job_Name": "gp-1a2b3c", "Job_Owner": owner, "job_state": state, **more}


# --- what is asked for


def test_one_glidein_is_no_array_and_is_never_run_again(make_request):
    words = PbsBackend({}).submission(make_request(count=1)).argv
    assert "-J" not in words
    assert words[words.index("-r") + 1] == "n"


def test_an_array_counts_from_one_and_may_be_run_again_because_no_other_is_taken(make_request):
    words = PbsBackend({}).submission(make_request(count=12)).argv
    assert words[words.index("-J") + 1] == "1-12"
    assert words[words.index("-r") + 1] == "y"


def test_mem_and_vmem_stand_in_the_chunk_and_the_others_beside_it(make_request):
    request = make_request(cpus=3, memory_mib=700)
    limits = asked(request, memory_limits=("mem", "vmem", "pmem", "pvmem"))
    assert limits == ["select=1:ncpus=3:mem=700mb:vmem=700mb", "pmem=700mb", "pvmem=700mb", "walltime=86400"]


def test_no_memory_limit_at_all_can_be_asked_for(make_request):
    assert asked(make_request(), memory_limits=())[0] == "select=1:ncpus=2"


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"exclusive": True}, "place=exclhost"),
        ({"exclusive": True, "place": "scatter"}, "place=scatter:exclhost"),
        ({"exclusive": True, "place": "pack:excl"}, "place=pack:excl"),
        ({"place": "free:shared"}, "place=free:shared"),
    ],
)
def test_whole_hosts_go_together_with_a_place(make_request, options, place):
    assert asked(make_request(), **options)[1] == place


def test_no_gpus_are_asked_for_where_the_site_wants_none_asked(make_request):
    assert asked(make_request(gpus=2), gpus="")[0] == "select=1:ncpus=2:mem=4096mb"


def test_disk_is_asked_for_only_by_the_name_that_the_site_gave(make_request):
    assert asked(make_request(disk_mib=5000))[0] == "select=1:ncpus=2:mem=4096mb"
    assert asked(make_request(disk_mib=5000), disk_resource="scratch")[0].endswith(":scratch=5000mb")


@given(walltime_s=st.integers(1, 10**9), memory_mib=st.integers(1, 10**9), disk_mib=st.integers(1, 10**9))
def test_no_second_and_no_mebibyte_is_lost(walltime_s, memory_mib, disk_mib):
    request = GlideinRequest("gp-1", Resources(3, memory_mib, disk_mib, walltime_s, 0), 1, "#!/bin/sh\n")
    options = {"memory_limits": ("mem", "vmem", "pmem", "pvmem"), "disk_resource": "scratch"}
    values = dict(part.split("=") for limit in asked(request, **options) for part in limit.split(":")[-4:])
    assert {mebibytes(values[key]) for key in options["memory_limits"]} == {memory_mib}
    assert (mebibytes(values["scratch"]), seconds(values["walltime"])) == (disk_mib, walltime_s)


def test_extra_comes_after_ours_and_extra_before_before_ours(make_request):
    words = PbsBackend({"extra": ("-q late",), "extra_before": ("-q early",), "queue": "ours"}).submission(
        make_request()
    )
    assert [value for option, value in zip(words.argv, words.argv[1:]) if option == "-q"] == ["early", "ours", "late"]


@pytest.mark.parametrize("extra", ["-J 1-5", "-N mine", "-I", "-V", "-z", "-J1-5", "-zI", "--version", "-lwalltime=9"])
@pytest.mark.parametrize("key", ["extra", "extra_before"])
def test_what_would_change_how_glideins_are_counted_or_named_is_refused(key, extra):
    with pytest.raises(ConfigError) as caught:
        PbsBackend({key: (extra,)})
    assert caught.value.hint


def test_logs_of_an_array_lie_beside_each_other(make_request):
    words = PbsBackend({}).submission(make_request(count=2, log_folder="/srv/logs")).argv
    assert "/srv/logs/gp-1a2b3c-^array_index^.out" in words
    assert "/dev/null" in PbsBackend({}).submission(make_request(count=2)).argv


# --- what is listed


def test_only_batch_jobs_of_the_account_are_ours():
    jobs = {"1.vm": job(owner="glide@login02"), "2.vm": job(owner="glider@vm"), "3.vm": job(owner="glide@x@vm")}
    assert [found.batch_id for found in listed(jobs)] == ["1.vm"]


def test_an_empty_queue_has_no_key_for_batch_jobs(recorded):
    assert list(PbsBackend({}).parse_query(recorded("pbs-23.06-qstat-empty.txt"))) == []


def test_an_array_is_counted_by_its_members_and_not_itself():
    jobs = {"1[].vm": job("B"), "1[1].vm": job("R"), "1[2].vm": job("X"), "1[3].vm": job("Q")}
    assert [(found.batch_id, found.state) for found in listed(jobs)] == [
        ("1[1].vm", RUNNING),
        ("1[2].vm", JobState.GONE),
        ("1[3].vm", IDLE),
    ]


def test_an_array_whose_members_are_not_listed_still_counts():
    counts = "Queued:2 Running:1 Exiting:1 Expired:7"
    found = listed({"1[].vm": job("B", array_state_count=counts), "2[].vm": job("Q"), "2[1].vm": job("Q")})
    assert [one.state for one in found] == [UNKNOWN, UNKNOWN, RUNNING, RUNNING, IDLE]
    assert len({one.batch_id for one in found}) == 5


@pytest.mark.parametrize(
    "more", [{}, {"array_state_count": ""}, {"array_state_count": "Queued:"}, {"array_state_count": "Queued:99999999"}]
)
def test_an_array_of_nobody_knows_how_many_is_no_answer(more):
    with pytest.raises(ValueError, match="without its members"):
        listed({"1[].vm": job("B", **more)})


def test_queued_members_of_a_held_array_are_held():
    jobs = {"1[].vm": job("H", Hold_Types="u"), "1[1].vm": job("Q"), "1[2].vm": job("R")}
    assert [(found.state, found.reason) for found in listed(jobs)] == [(HELD, "Hold_Types = u"), (RUNNING, "")]


def test_why_it_waits_is_its_comment_and_one_that_runs_does_not_wait():
    jobs = {"1.vm": job(comment="Can Never Run:\n x"), "2.vm": job("R", comment="Job run at Sun Nov 22 at 09:01")}
    assert [found.reason for found in listed(jobs)] == ["Can Never Run: x", ""]


@pytest.mark.parametrize(
    "line",
    [
        '"FOO":.5,',
        '"FOO":00,',
        '"FOO":123.,',
        '"FOO":inf,',
        '"FOO":-00.5,',
        '"FOO":"end\\",',
        '"FOO":""begin",',
        '"FOO":"a \\d b",',
        '"FOO":"in "the" middle",',
        '"FOO":"tab\there",',
        f'"FOO":{"9" * 5000},',
    ],
)
def test_what_somebody_elses_variables_do_to_the_document_is_no_harm(recorded, line):
    text = recorded("pbs-23.06-qstat-mixed.txt")
    spoilt = text.replace('"FOO":"005",', line, 1)
    assert spoilt != text
    backend = PbsBackend({})
    assert list(backend.parse_query(spoilt)) == list(backend.parse_query(text))


def test_a_variable_cannot_hide_our_batch_jobs_by_writing_them_again(recorded):
    text = recorded("pbs-23.06-qstat-mixed.txt")
    forged = '"FOO":"x"}},"12.vm":{"Job_Name":"y","Job_Owner":"glide@vm","job_state":"F","Variable_List":{"A":"b",'
    backend = PbsBackend({})
    assert list(backend.parse_query(text.replace('"FOO":"005",', forged))) == list(backend.parse_query(text))


def test_one_batch_job_twice_is_no_answer():
    twice = ",".join(['"1.vm": {"Job_Name": "gp", "Job_Owner": "glide@vm", "job_state": "R"}'] * 2)
    with pytest.raises(ValueError, match="twice"):
        list(PbsBackend({}).parse_query(f'glide\n{{"pbs_version": "23.06", "Jobs": {{{twice}}}}}'))


@pytest.mark.parametrize("lacking", ["Job_Owner", "job_state"])
def test_a_batch_job_without_owner_or_state_is_no_answer(lacking):
    one = job()
    del one[lacking]
    with pytest.raises(ValueError, match="without owner or state"):
        listed({"1.vm": one})


def test_a_line_of_endless_blanks_takes_no_time():
    text = json.dumps({**HEAD, "Jobs": {"1.vm": job(comment="x" + " " * 200_000 + "y")}}, indent=4)
    begin = time.monotonic()
    assert len(list(PbsBackend({}).parse_query(f"glide\n{text}\n"))) == 1
    assert time.monotonic() - begin < 10


# --- refusals


@pytest.mark.parametrize(
    ("case", "code", "text"),
    [
        ("bad-queue", 170, "Unknown queue"),
        ("closed-queue", 173, "Queue is not enabled"),
        ("too-long", 188, "Job violates queue and/or server resource limits"),
        ("bad-resource", 187, "Unknown resource: x"),
        ("bad-walltime", 166, "Illegal attribute or resource value Resource_List.walltime"),
        ("bad-group", 197, "Bad GID for job execution"),
        ("select-and-nodes", 6, "Cannot be used with select or place: nodes"),
        ("select-and-mem", 5, '"-lresource=" cannot be used with "select" or "place", resource is: mem'),
        ("gpus-in-nodes", 241, "node(s) specification error"),
        ("array-of-one", 2, "usage: qsub [-a date_time] [-A account_string] [-c interval]"),
        ("array-not-rerunable", 2, "cannot submit non-rerunable Array Job"),
        ("bad-option", 2, "invalid option -- 'y'"),
    ],
)
def test_what_a_person_must_change_is_permanent_and_said_in_one_line(recorded, case, code, text):
    assert PbsBackend({}).refusal(code, recorded(f"pbs-23.06-qsub-{case}.stderr.txt")) == Refusal(text, is_limit=False)


def test_an_array_that_is_too_long_may_be_taken_in_parts(recorded):
    refused = PbsBackend({}).refusal(3, recorded("pbs-23.06-qsub-array-too-big.stderr.txt"))
    assert refused == Refusal("Array job exceeds server or queue size limit", is_limit=False, is_size=True)


def test_too_many_of_one_user_pass_by_themselves(recorded):
    refused = PbsBackend({}).refusal(38, recorded("pbs-23.06-qsub-user-limit.stderr.txt"))
    assert refused == Refusal("would exceed queue workq's per-user limit", is_limit=True, is_size=True)


@pytest.mark.parametrize(
    "text", ["qsub: Bad UID for job execution\n", "qsub: Request not allowed: Server shutting down\n"]
)
def test_what_may_be_a_bad_moment_is_no_refusal(recorded, text):
    assert PbsBackend({}).refusal(1, text) is None
    assert PbsBackend({}).refusal(162, recorded("pbs-23.06-qsub-down.stderr.txt")) is None


# --- limits


def test_limits_are_those_of_the_default_queue_or_of_the_one_that_is_named(recorded):
    text = recorded("pbs-23.06-limits.txt")
    workq = QueueLimits("workq", is_open=True, walltime_s=168 * 3600, cpus=4, memory_mib=16384, array_size=500)
    # Once for each kind of host; the vnodes of one are summed up.
    assert PbsBackend({}).parse_limits(text) == (replace(workq, cpus=2, memory_mib=8192), workq)
    closed = QueueLimits("closed", is_open=False, walltime_s=3600, cpus=64, memory_mib=1 << 19, array_size=10000)
    assert PbsBackend({"queue": "closed@vm"}).parse_limits(text)[1:] == (closed,)
    assert PbsBackend({"queue": "nosuch"}).parse_limits(text) == ()


@pytest.mark.parametrize("text", ["", "Queue: workq\n", "<html>\n", "Server: vm\n", "vm\nnonsense\nNodes:\n"])
def test_half_an_answer_about_limits_is_none(text):
    with pytest.raises(ValueError, match="qstat"):
        PbsBackend({}).parse_limits(text)


def test_who_may_not_see_the_nodes_knows_the_limits_of_the_queue(recorded):
    text = recorded("pbs-23.06-limits.txt").partition("node01")[0]
    workq = QueueLimits("workq", is_open=True, walltime_s=168 * 3600, cpus=4, memory_mib=16384, array_size=500)
    assert PbsBackend({}).parse_limits(text) == (workq,)


@pytest.mark.parametrize(
    ("text", "size"), [("16gb", 16384), ("1048576", 1), ("2gw", 16384), ("1tb", 1 << 20), ("1000kb", 0), ("much", None)]
)
def test_sizes_are_read_in_every_unit(text, size):
    assert mebibytes(text) == size


@pytest.mark.parametrize(
    ("text", "expected"), [("90:00", 5400), ("01:00:00", 3600), ("300", 300), ("1:00:00:00", 86400), ("", None)]
)
def test_times_are_read_as_pbs_means_them(text, expected):
    assert seconds(text) == expected
