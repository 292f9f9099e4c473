"""What only LSF has: its command line, its units, its answers."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glidepost.backends.base import JobState, QueueLimits
from glidepost.backends.lsf import LsfBackend
from glidepost.schema.errors import ConfigError

HEADER = "JOBID   USER    STAT  QUEUE      FROM_HOST   EXEC_HOST   JOB_NAME   SUBMIT_TIME\n"
END = "-- bjobs -w ended --\n-- bjobs -p ended --\n"


@pytest.fixture
def lsf():
    return LsfBackend({})


def words(backend, request):
    """Returns bsub's own words."""
    return backend.submission(request).argv[7:]


def value(backend, request, option):
    line = words(backend, request)
    assert line.count(option) == 1, line
    return line[line.index(option) + 1]


# --- the command line


def test_no_option_stands_twice_because_openlava_takes_the_first_and_ibm_the_last(make_request):
    options = {"queue": "gpu", "extra_before": ("-n 8", "-q low", "-sp 5"), "extra": ("-W 100", "-M 7", "-x", "-x")}
    line = words(LsfBackend({**options, "exclusive": True, "memory_unit": "MB"}), make_request(cpus=2))
    values = dict(zip(line, line[1:]))
    assert (values["-n"], values["-q"], values["-sp"], values["-W"], values["-M"]) == ("2", "gpu", "5", "100", "7")
    assert all(line.count(option) == 1 for option in ("-n", "-q", "-sp", "-W", "-M", "-R", "-J", "-o"))


def test_what_a_site_requires_goes_into_the_one_requirement_that_openlava_takes(make_request):
    options = {
        "select": "pascal",
        "memory_unit": "MB",
        "extra": ("-R order[ut]", '-R "select[mem>8000] rusage[lic=1,mem=5]"'),
        "extra_before": ("-R rusage[lic=9] same[type]",),
    }
    resources = value(LsfBackend(options), make_request(memory_mib=4096), "-R")
    assert resources == "select[(pascal) && (mem>8000)] span[hosts=1] rusage[lic=1:mem=5] same[type] order[ut]"


def test_bare_words_of_a_requirement_are_what_is_selected(make_request):
    resources = value(LsfBackend({"extra": ("-R pascal",)}), make_request(), "-R")
    assert resources.startswith("select[pascal] span[hosts=1] rusage[mem=")


@pytest.mark.parametrize("text", ["-R 2*{select[a]}+1*{select[b]}", "-R select[a] || select[b]", "-R span[hosts=1"])
def test_a_requirement_that_cannot_be_put_together_is_refused(text):
    with pytest.raises(ConfigError, match="cannot be put together"):
        LsfBackend({"extra": (text,)})


@pytest.mark.parametrize(
    "text",
    [
        "-J mine",
        "-Jmine",
        "-Jd words",
        "-H",
        "-K",
        "-I",
        "-Is",
        "-Ip",
        "-Zs",
        "-V",
        "-h",
        "-pack jobs",
        "script.sh",
        "",
        "-",
    ],
)
@pytest.mark.parametrize("key", ["extra", "extra_before"])
def test_an_extra_option_that_changes_what_is_submitted_is_refused(key, text):
    with pytest.raises(ConfigError, match=key):
        LsfBackend({key: (text,)})


@pytest.mark.parametrize(
    "text", ["-a gpu", "-m host1+2 others", "-u nobody@example.org", "-rn", "-env none", "-sp 50", "-N"]
)
def test_other_extra_options_go_through(make_request, text):
    line = " ".join(words(LsfBackend({"extra": (text,)}), make_request()))
    assert f" {text} " in line


def test_the_name_comes_last_so_that_no_option_swallows_it(make_request):
    assert words(LsfBackend({"extra": ("-a",)}), make_request(count=3))[-2:] == ("-J", "gp-1a2b3c[1-3]")


def test_one_glidein_is_no_array(lsf, make_request):
    assert value(lsf, make_request(count=1), "-J") == "gp-1a2b3c"


def test_without_a_log_folder_nothing_is_kept_and_nothing_is_mailed(lsf, make_request):
    assert value(lsf, make_request(), "-o") == "/dev/null"


def test_each_member_has_a_log_file_of_its_own(lsf, make_request):
    assert value(lsf, make_request(count=2, log_folder="/srv/my logs"), "-o") == "/srv/my logs/gp-1a2b3c-%J.%I.out"


def test_a_site_may_say_where_the_output_goes(make_request):
    assert value(LsfBackend({"extra": ("-o /scratch/%J",)}), make_request(), "-o") == "/scratch/%J"


def test_nothing_goes_to_openlava_that_it_would_misread(lsf, make_request):
    assert not {"-app", "-env", "-cwd", "-outdir", "-Jd", "-gpu", "-G", "-rn", "-oo"} & set(words(lsf, make_request()))


def test_gpus_are_asked_for_when_the_shape_has_some(lsf, make_request):
    assert value(lsf, make_request(gpus=2), "-gpu") == "num=2"
    assert "-gpu" not in words(LsfBackend({"gpus": "num={gpus}:mode=shared"}), make_request(gpus=0))
    assert "-gpu" not in words(LsfBackend({"gpus": ""}), make_request(gpus=2))


def test_gpus_and_disk_may_be_resources_that_a_site_counts(make_request):
    backend = LsfBackend({"gpu_resource": "ngpus", "disk_resource": "tmp", "memory_unit": "MB"})
    line = words(backend, make_request(gpus=2, disk_mib=500, memory_mib=700))
    assert "-gpu" not in line
    assert "span[hosts=1] rusage[mem=700:tmp=500:ngpus=2]" in line
    assert "span[hosts=1] rusage[mem=700]" in words(backend, make_request(gpus=0, disk_mib=0, memory_mib=700))


@pytest.mark.parametrize(
    ("limits", "has_limit", "has_rusage"),
    [(("rusage", "limit"), True, True), (("limit",), True, False), (("rusage",), False, True), ((), False, False)],
)
def test_memory_is_limited_and_set_aside_as_the_site_says(make_request, limits, has_limit, has_rusage):
    line = words(LsfBackend({"memory_limits": limits}), make_request())
    assert ("-M" in line) is has_limit
    assert ("mem=" in line[line.index("-R") + 1]) is has_rusage


def test_the_walltime_may_be_that_of_a_reference_host(make_request):
    assert value(LsfBackend({"reference_host": "j0001"}), make_request(walltime_s=64800), "-W") == "1080/j0001"


def test_a_walltime_is_never_zero_minutes_which_would_be_no_limit(lsf, make_request):
    assert value(lsf, make_request(walltime_s=0), "-W") == "1"


KIB = {"KB": (1, 1024), "MB": (1024, 1024), "GB": (1024**2, 1024**2)}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    unit=st.sampled_from(sorted(KIB)),
    memory_mib=st.integers(1, 1 << 25),
    cpus=st.integers(1, 512),
    walltime_s=st.integers(0, 90 * 86400),
    is_per_slot=st.booleans(),
)
def test_rounding_loses_no_memory_and_no_time(make_request, unit, memory_mib, cpus, walltime_s, is_per_slot):
    backend = LsfBackend({"memory_unit": unit, "memory_per": "slot" if is_per_slot else "job"})
    asked = make_request(memory_mib=memory_mib, cpus=cpus, walltime_s=walltime_s)
    limit_kib = int(value(backend, asked, "-M")) * KIB[unit][0]
    reserved = int(value(backend, asked, "-R").partition("mem=")[2].rstrip("]"))
    reserved_kib = reserved * KIB[unit][1] * (cpus if is_per_slot else 1)
    kib = memory_mib * 1024
    assert kib <= limit_kib < kib + KIB[unit][0]
    assert kib <= reserved_kib < kib + KIB[unit][1] * cpus
    assert int(value(backend, asked, "-W")) == max(1, math.ceil(walltime_s / 60))


# --- what it printed


def parsed(lsf, *lines):
    return list(lsf.parse_query(HEADER + "".join(f"{line}\n" for line in lines) + END))


def test_no_batch_job_at_all_is_said_in_words(lsf, recorded):
    assert list(lsf.parse_query(recorded("openlava-2.2-bjobs-none.txt"))) == []


@pytest.mark.parametrize(
    "text", ["", "\n", END, HEADER + END, "No unfinished job found\n", f"No unfinished job\n{END}"]
)
def test_silence_is_no_empty_queue(lsf, text):
    with pytest.raises(ValueError, match="bjobs"):
        list(lsf.parse_query(text))


@pytest.mark.parametrize(
    "name", ["openlava-2.2-bjobs-mixed.txt", "lsf-10.1-bjobs-enhanced.txt", "openlava-2.2-bjobs-none.txt"]
)
def test_an_answer_that_was_cut_anywhere_is_refused(lsf, recorded, name):
    text = recorded(name)
    for end in range(len(text)):
        with pytest.raises(ValueError, match="bjobs"):
            list(lsf.parse_query(text[:end]))


def test_the_index_may_stand_in_the_id_too(lsf, recorded):
    jobs = list(lsf.parse_query(recorded("lsf-10.1-bjobs-enhanced.txt")))
    assert [(job.batch_id, job.name, job.state) for job in jobs] == [
        ("887163[1]", "gp-1a2b3c", JobState.RUNNING),
        ("887163[12]", "gp-1a2b3c", JobState.IDLE),
        ("887170", "gp-4d5e6f", JobState.RUNNING),
    ]
    assert jobs[1].reason == "Job's requirements for reserving resource (ngpus_physical) not satisfied: 4 hosts"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "9       me      PEND  normal     login01                 gp-1       Nov 22 15:07",
            ("9", "gp-1"),
        ),  # no host at all
        ("9       me      PEND  normal     login01        -        gp-1[4]    Nov 22 15:07 2026", ("9[4]", "gp-1")),
        ("9       me      RUN   normal     login01     a:b:c       gp-1       Nov  2 15:07", ("9", "gp-1")),
        ("9       me      RUN   normal     login01        -        a  b - c   Nov  2 15:07", ("9", "a  b - c")),
        (
            "9       me      PEND  normal     login01        -        - x Nov 1 00:00 y Nov 22 15:07",
            ("9", "- x Nov 1 00:00 y"),
        ),
        ("9       me      WAIT  normal     login01     node01      ls x[3]    Nov 22 15:07", ("9", "ls x[3]")),
    ],
)
def test_a_line_is_read_by_what_stands_in_it(lsf, line, expected):
    (job,) = parsed(lsf, line)
    assert (job.batch_id, job.name) == expected


@pytest.mark.parametrize(
    "line",
    [
        "9       me      PEND  normal     login01        -        gp-1",
        "9       me      PEND  normal     login01        -        gp-1       Nov 22 15:",
        "x       me      PEND  normal     login01        -        gp-1       Nov 22 15:07",
        "        me      PEND  normal     login01        -        gp-1       Nov 22 15:07",
        "9       me      RUN",
        "",
        "Job <9> is not found",
        "lsb_readjobinfo: Batch library internal error",
    ],
)
def test_a_line_that_is_not_whole_is_refused(lsf, line):
    with pytest.raises(ValueError, match="bjobs"):
        parsed(lsf, line)


def test_strange_words_about_why_they_wait_do_no_harm(lsf):
    text = (
        f"{HEADER}9       me      PEND  normal     login01        -        gp-1       Nov 22 15:07\n"
        "-- bjobs -w ended --\n???\n reason of nobody;\n"
        "8       me      PEND  normal      login01        other              Nov 22 15:07\n x;\n"
        "9       me      PEND  normal      login01        gp-1               Nov 22 15:07\n because;\n"
        "-- bjobs -p ended --\n"
    )
    (job,) = lsf.parse_query(text)
    assert job.reason == "because"


def test_suspended_ones_that_have_a_host_are_running(lsf):
    lines = (
        f"{n}      me      {state} normal  login01  node01  gp-{n}  Nov 22 15:07"
        for n, state in ((1, "USUSP"), (2, "SSUSP"))
    )
    assert {job.state for job in parsed(lsf, *lines)} == {JobState.RUNNING}


@pytest.mark.parametrize(
    "text",
    ["Job <12> is not found\n", "Job <1> is submitted to queue <q>.\nJob <2> is submitted to queue <q>.\n", "12\n"],
)
def test_no_id_is_read_out_of_other_words(lsf, text):
    with pytest.raises(ValueError, match="no batch id"):
        lsf.parse_submission(text)


def test_a_banner_around_the_id_does_no_harm(lsf):
    text = "Your project has 12 hours left.\nJob <12> is submitted to queue <normal>.\n"
    assert lsf.parse_submission(text) == "12"


@pytest.mark.parametrize("batch_ids", [["7_3"], ["7[1-3]"], ["7[]"], ["0 7"], ["7.login01"], ["7[3]", "-r"]])
def test_ids_of_others_are_refused(lsf, batch_ids):
    with pytest.raises(ValueError, match="ids"):
        lsf.removal(batch_ids)


# --- refusals


@pytest.mark.parametrize(
    ("name", "text", "is_limit", "is_size"),
    [
        ("openlava-2.2-bsub-bad-queue", "nosuch: No such queue", False, False),
        ("openlava-2.2-bsub-closed-queue", "closed: Queue has been closed", False, False),
        ("openlava-2.2-bsub-bad-account", "admins: User cannot use the queue", False, False),
        ("openlava-2.2-bsub-too-long", "RUNLIMIT: Cannot exceed queue's hard limit(s)", False, False),
        ("openlava-2.2-bsub-too-many-cpus", "Too many processors requested", False, False),
        ("openlava-2.2-bsub-bad-requirement", "Bad resource requirement syntax", False, False),
        ("openlava-2.2-bsub-bad-memory", "700MB: MEMLIMT value should be a positive integer", False, False),
        (
            "openlava-2.2-bsub-two-requirements",
            "Invalid syntax; the -R option was used more than once",
            False,
            False,
        ),
        ("openlava-2.2-bsub-array-too-big", "Job array index too large", False, True),
        ("lsf-10.1-bsub-bad-group", "Bad user group name", False, False),
        ("lsf-10.1-bsub-esub", "You must give a project with -P; Request aborted by esub", False, False),
        ("lsf-10.1-bsub-full", "User <user1>: Pending job threshold reached", True, True),
    ],
)
def test_what_bsub_refuses_has_a_kind_and_its_own_words(lsf, recorded, name, text, is_limit, is_size):
    refusal = lsf.refusal(255, recorded(f"{name}.stderr.txt"))
    assert (refusal.text, refusal.is_limit, refusal.is_size) == (text, is_limit, is_size)


@pytest.mark.parametrize(
    "text",
    [
        "Failed in an LSF library call: LIM is down; try later. Job not submitted.\n",
        "Contacting batch daemon: Communication timeout. Job not submitted.\n",
        "Connection refused by server. Job not submitted.\n",
        "LSF daemon (LIM) not responding ... still trying\n",
        "System call failed: Bad file descriptor. Job not submitted.\n",
        "sh: 1: bsub: not found\n",
        "Job not submitted.\n",
        "",
    ],
)
def test_a_failure_of_another_kind_is_no_refusal(lsf, text):
    assert lsf.refusal(1, text) is None


def test_daemons_that_are_down_refuse_nothing(lsf, recorded):
    assert lsf.refusal(1, recorded("openlava-2.2-bsub-down.stderr.txt")) is None


# --- limits


def test_the_limits_of_the_default_queue_are_read(lsf, recorded):
    found = lsf.parse_limits(recorded("openlava-2.2-limits.txt"))
    assert found == (
        QueueLimits("normal", is_open=True, walltime_s=480 * 60, cpus=4, memory_mib=4882, array_size=1000),
    )


def test_a_queue_that_starts_nothing_is_not_open(recorded):
    found = LsfBackend({"queue": "drained"}).parse_limits(recorded("openlava-2.2-limits.txt"))
    assert found == (QueueLimits("drained", is_open=False, array_size=1000),)


def test_several_queues_may_be_the_default_and_a_run_window_opens_by_itself(lsf, recorded):
    found = lsf.parse_limits(recorded("lsf-10.1-limits.txt"))
    assert found == (
        QueueLimits("gpu", is_open=True, walltime_s=2880 * 60, cpus=32, memory_mib=64000),
        QueueLimits("windowed", is_open=True),
    )


def test_a_queue_that_is_missing_has_no_limits(recorded):
    assert LsfBackend({"queue": "nosuch"}).parse_limits(recorded("lsf-10.1-limits.txt")) == ()


@pytest.mark.parametrize(
    "text", ["", "LSF is down. Please wait ...\n", "QUEUE: normal\n  -- cut here. This is the default queue.\n"]
)
def test_limits_that_cannot_be_read_are_refused(lsf, text):
    with pytest.raises(ValueError, match="queue"):
        lsf.parse_limits(text)
