"""What is HTCondor's own in the words of the backend. The real one is in tests/real/test_htcondor_site.py."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from glidepost.backends.base import GlideinRequest, JobState, QueueLimits
from glidepost.backends.htcondor import HTCondorBackend
from glidepost.schema.errors import ConfigError


def described(request: GlideinRequest, **options) -> list[str]:
    """Returns the lines of the submit description."""
    argv = HTCondorBackend(options).submission(request).argv
    (text,) = (word for word in argv if "\nqueue " in word and not word.startswith("#"))
    return text.splitlines()


def value(lines: list[str], command: str) -> str:
    """Returns what the last line for a submit command says, as condor_submit reads it."""
    return [line.partition(" = ")[2] for line in lines if line.partition(" = ")[0] == command][-1]


# --- the submit description


def test_several_glideins_are_one_cluster(make_request):
    assert described(make_request(count=25))[-1] == "queue 25"


def test_each_glidein_is_told_which_batch_job_it_is(make_request):
    assert value(described(make_request()), "environment") == '"GLIDEPOST_BATCH_JOB=$(ClusterId).$(ProcId)"'


def test_gpus_are_asked_for_when_the_shape_has_any(make_request):
    assert value(described(make_request(gpus=2)), "request_gpus") == "2"
    assert not [line for line in described(make_request()) if "gpu" in line]


def test_disk_is_asked_for_in_kib(make_request):
    assert value(described(make_request(disk_mib=10)), "request_disk") == "10240"


def test_a_glidein_that_has_run_is_not_run_again(make_request):
    lines = described(make_request(), requirements='TARGET.Arch == "X86_64" || true')
    wanted = value(lines, "requirements")
    assert wanted == '(TARGET.Arch == "X86_64" || true) && (MY.NumJobStarts > 0) =!= true && GlidepostReady'
    assert "JobStatus == 1 && (NumJobStarts > 0 ||" in value(lines, "periodic_remove")


def test_lines_of_the_site_win_over_ours_and_lines_before_do_not(make_request):
    lines = described(make_request(), lines=("request_memory = 1",), lines_before=("request_cpus = 7",))
    assert value(lines, "request_memory") == "1"
    assert value(lines, "request_cpus") == "2"


def test_whole_machines_are_all_cores_of_a_slot(make_request):
    assert (
        value(described(make_request(cpus=8), exclusive=True), "request_cpus") == "max({8, TARGET.TotalSlotCpus ?: 0})"
    )


def test_an_htcondor_ce_is_asked_through_the_grid_universe(make_request):
    lines = described(make_request(walltime_s=3601), grid_resource="condor ce.example.org ce.example.org:9619")
    assert value(lines, "universe") == "grid"
    assert value(lines, "grid_resource") == "condor ce.example.org ce.example.org:9619"
    assert value(lines, "+maxWallTime") == "61"


def test_the_accounting_group_is_named(make_request):
    assert value(described(make_request(), accounting_group="group_a.b"), "accounting_group") == "group_a.b"


def test_the_token_goes_along_unless_the_site_says_no(make_request):
    request = replace(make_request(), files=("/srv/$x/token",))
    assert value(described(request, spool=True), "transfer_input_files") == "/srv/$(DOLLAR)x/token"
    assert HTCondorBackend({}).submission(request).argv[-2:] == ('"/srv/$x/token"', "/srv/$x/token")
    refused = {"transfer_token": False, "spool": True}
    assert not [line for line in described(request, **refused) if line.startswith("transfer_input")]
    assert "/srv/$x/token" not in HTCondorBackend(refused).submission(request).argv


@pytest.mark.parametrize("options", [{"schedd": "ap2"}, {"spool": True}, {"grid_resource": "condor ce ce:9619"}])
def test_what_needs_no_file_of_this_host_is_ready_at_once(make_request, options):
    text = "\n".join(described(make_request(log_folder="/srv/logs"), **options))
    assert "+GlidepostReady" not in text
    assert "&& GlidepostReady" not in text
    assert "elsewhere" in HTCondorBackend(options).submission(make_request()).argv


def test_a_schedd_that_sees_the_files_of_this_host_may_have_another_name(make_request):
    assert "here" in HTCondorBackend({"schedd": "ap2", "spool": False}).submission(make_request()).argv


@pytest.mark.parametrize("path", ["/srv/a,b", "/srv/a b", "/srv/a\nqueue 100", '/srv/"', "/srv/a\\"])
def test_a_token_whose_path_would_be_something_else_is_refused(make_request, path):
    with pytest.raises(ConfigError, match="cannot be told this path"):
        HTCondorBackend({}).submission(replace(make_request(), files=(path,)))


@pytest.mark.parametrize("key", ["schedd", "pool", "requirements", "accounting_group", "grid_resource"])
@pytest.mark.parametrize("text", ["x\nqueue 1000", "x\rqueue 1000", "x\0", "x \\"])
def test_no_option_reaches_into_the_next_line(key, text):
    with pytest.raises(ConfigError, match="not one line"):
        HTCondorBackend({"schedd": "ap", key: text})


@pytest.mark.parametrize("text", ["+A = 1\nqueue 1000", "+A = 1 \\"])
@pytest.mark.parametrize("key", ["lines", "lines_before"])
def test_no_line_is_two(key, text):
    with pytest.raises(ConfigError, match="not one line"):
        HTCondorBackend({key: (text,)})


@pytest.mark.parametrize(
    "line",
    [
        "queue 100",
        "Queue",
        " queue",
        "queue(3)",
        "iterate 3",
        "executable=/bin/sh",
        'Environment = "A=1"',
        "env = A=1",
        "batch_name = x",
        '+JobBatchName = "x"',
        'MY.GlidepostName = "x"',
        "+glidepostuid = 0",
        "transfer_input_files = /etc/passwd",
        "leave_in_queue = true",
        "include : /etc/passwd",
        "max_idle = 3",
        "Requirements = true",
        "should_transfer_files = NO",
    ],
)
@pytest.mark.parametrize("key", ["lines", "lines_before"])
def test_lines_that_would_make_glideins_something_else_are_refused(key, line):
    with pytest.raises(ConfigError, match="cannot be given"):
        HTCondorBackend({key: (line,)})


@pytest.mark.parametrize(
    "line", ['+ProjectName = "x"', '+queue = "long"', "environment_x = 1", "MY.queue_name = 1", "rank = Memory"]
)
def test_other_lines_are_taken_as_they_are(make_request, line):
    assert line in described(make_request(), lines=(line,))


def test_lines_must_be_a_list():
    with pytest.raises(ConfigError, match="not a list"):
        HTCondorBackend({"lines": "+A = 1"})


def test_a_pool_without_schedd_is_refused():
    with pytest.raises(ConfigError, match="pool without schedd"):
        HTCondorBackend({"pool": "cm.example.org"})


# --- what the clients print


def test_a_range_of_several_clusters_is_no_id():
    with pytest.raises(ValueError, match="no range"):
        HTCondorBackend({}).parse_submission("3.0 - 3.4\n4.0 - 4.0\n")


def test_an_empty_queue_of_older_versions_is_one_too():
    assert list(HTCondorBackend({}).parse_query("[\n]\n")) == []


@pytest.mark.parametrize(
    "ad",
    [
        {"ClusterId": 3, "ProcId": 0, "JobStatus": 1},
        {"ClusterId": 3, "ProcId": 0, "GlidepostName": "gp-1"},
        {"ClusterId": "3", "ProcId": 0, "JobStatus": 1, "GlidepostName": "gp-1"},
        {"ClusterId": 3, "ProcId": 0, "JobStatus": None, "GlidepostName": "gp-1"},
        [],
        3,
    ],
)
def test_an_ad_that_lacks_something_is_no_answer(ad):
    with pytest.raises(ValueError, match="condor_q"):
        list(HTCondorBackend({}).parse_query(json.dumps([ad])))


def test_deep_nesting_is_no_answer():
    with pytest.raises(ValueError, match=r"\S"):
        list(HTCondorBackend({}).parse_query("[" * 100_000))


def test_one_whose_files_are_on_their_way_is_queued_and_one_that_is_held_says_why():
    ads = [
        {"ClusterId": 3, "ProcId": 0, "JobStatus": 5, "HoldReasonCode": 16, "HoldReason": "S", "GlidepostName": "gp-1"},
        {
            "ClusterId": 3,
            "ProcId": 1,
            "JobStatus": 5,
            "HoldReasonCode": 13,
            "HoldReason": "T\nU",
            "GlidepostName": "gp-1",
        },
    ]
    first, second = HTCondorBackend({}).parse_query(json.dumps(ads))
    assert (first.state, first.reason) == (JobState.IDLE, "S")
    assert (second.state, second.reason) == (JobState.HELD, "T U")


# --- limits


def test_each_kind_of_slot_is_a_limit(recorded):
    limits = HTCondorBackend({}).parse_limits(recorded("htcondor-25.14.1-limits.txt"))
    assert limits == (QueueLimits("the pool", is_open=True, cpus=2, memory_mib=2048, array_size=500),)


def test_a_pool_without_slots_is_closed():
    (limits,) = HTCondorBackend({}).parse_limits("jobs Not defined\n")
    assert not limits.is_open
    assert limits.array_size is None


@pytest.mark.parametrize("text", ["", "slot 2 2048\n", "garbage\n"])
def test_an_answer_without_its_end_tells_no_limits(text):
    with pytest.raises(ValueError, match=r"htcondor\.sh"):
        HTCondorBackend({}).parse_limits(text)


def test_an_htcondor_ce_tells_no_limits():
    assert HTCondorBackend({"grid_resource": "condor ce ce:9619"}).limits() is None
