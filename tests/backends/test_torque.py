"""Torque: what is asked for, how strange lists are read, and what the played server makes of it."""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from case_pbs import torque_answer
from hypothesis import given
from hypothesis import strategies as st
from sites_pbs import FakeTorque

from glidepost.backends.base import Command, GlideinRequest, JobState, QueueLimits, Refusal
from glidepost.backends.pbs_alike import mebibytes, seconds
from glidepost.backends.torque import TorqueBackend
from glidepost.schema.errors import ConfigError
from glidepost.schema.resources import Resources
from glidepost.site_puller.queue import Queue

IDLE, RUNNING, HELD = JobState.IDLE, JobState.RUNNING, JobState.HELD
FAKES = Path(__file__).parents[1] / "fakes" / "torque"


@pytest.fixture
def site(tmp_path):
    site = FakeTorque(tmp_path)
    yield site
    site.clean()


def asked(request, **options) -> list[str]:
    """Returns what stands behind each -l."""
    words = TorqueBackend(options).submission(request).argv
    return [value for option, value in zip(words, words[1:]) if option == "-l"]


def listed(text: str):
    return list(TorqueBackend({}).parse_query(text))


# --- what is asked for


def test_an_array_of_one_is_a_plain_batch_job_and_others_count_from_one(make_request):
    assert "-t" not in TorqueBackend({}).submission(make_request(count=1)).argv
    words = TorqueBackend({}).submission(make_request(count=12)).argv
    assert words[words.index("-t") + 1] == "1-12"
    assert words[words.index("-r") + 1] == "n"


def test_nothing_is_asked_for_in_a_select_that_would_be_ignored(make_request):
    assert not any("select" in word for word in TorqueBackend({}).submission(make_request(gpus=1)).argv)
    assert asked(make_request(gpus=1)) == ["nodes=1:ppn=2:gpus=1", "mem=4096mb", "walltime=86400"]


def test_a_property_and_a_template_of_gpus_are_parts_of_the_nodes(make_request):
    found = asked(make_request(gpus=2), gpus=":gpus={gpus}:shared", node_property="std")
    assert found[0] == "nodes=1:ppn=2:gpus=2:shared:std"
    assert asked(make_request(gpus=2), gpus="")[0] == "nodes=1:ppn=2"


@given(walltime_s=st.integers(1, 10**9), memory_mib=st.integers(1, 10**9), cpus=st.integers(1, 999))
def test_no_second_and_no_mebibyte_is_lost(walltime_s, memory_mib, cpus):
    request = GlideinRequest("gp-1", Resources(cpus, memory_mib, 7, walltime_s, 0), 1, "#!/bin/sh\n")
    options = {"memory_limits": ("mem", "vmem", "pmem", "pvmem"), "disk_resource": "file"}
    values = dict(limit.split("=", 1) for limit in asked(request, **options))
    assert {mebibytes(values[key]) for key in ("mem", "vmem", "pvmem")} == {memory_mib}
    assert memory_mib <= mebibytes(values["pmem"]) * cpus < memory_mib + cpus  # the scheduler multiplies by ppn
    assert (mebibytes(values["file"]), seconds(values["walltime"])) == (7, walltime_s)


@pytest.mark.parametrize("extra", ["-t 1-5", "-N mine", "-I", "-V", "-z", "-P root", "-J 1", "-t1-5", "-zI", "-x"])
@pytest.mark.parametrize("key", ["extra", "extra_before"])
def test_what_would_change_how_glideins_are_counted_or_named_is_refused(key, extra):
    with pytest.raises(ConfigError) as caught:
        TorqueBackend({key: (extra,)})
    assert caught.value.hint


# --- what is listed


def test_the_number_of_a_member_is_no_part_of_its_name():
    (member,) = listed(torque_answer("13[7].vm", "Q", "gp-1a2b3c-7"))
    (single,) = listed(torque_answer("14.vm", "Q", "gp-1a2b3c-7"))
    (other,) = listed(torque_answer("13[8].vm", "Q", "gp-1a2b3c-7"))
    assert [member.name, single.name, other.name] == ["gp-1a2b3c", "gp-1a2b3c-7", "gp-1a2b3c-7"]


def test_an_empty_queue_is_nothing_between_the_account_and_the_end(recorded):
    assert listed(recorded("torque-6.1.3-qstat-empty.txt")) == []


def test_only_batch_jobs_of_the_account_are_ours():
    text = torque_answer("1.vm", "R", "gp-1")
    assert len(listed(text)) == 1
    assert listed(text.replace("glide@vm", "glider@vm")) == []
    assert listed(text.replace("glide@vm", "root@vm")) == []


ONE = torque_answer("1.vm", "R", "gp-1")
DOCUMENT = ONE.splitlines()[1]


@pytest.mark.parametrize(
    "text",
    [
        ONE.replace("<Data>", '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><Data>'),
        ONE.replace("<Data>", "<!-- --><Data>"),
        ONE.replace("gp-1", "gp-<b"),
        ONE.replace("gp-1", "gp-<b>"),
        ONE.replace("</Job>", ""),
        ONE.replace("</Data>", ""),
        ONE.replace("<Job_Owner>glide@vm</Job_Owner>", ""),
        ONE.replace("<job_state>R</job_state>", ""),
        ONE.replace("<job_state>R</job_state>", "<job_state>R</job_state><job_state>C</job_state>"),
        ONE.replace("<Job>", "<Queue>").replace("</Job>", "</Queue>"),
        ONE.replace("glide@vm", "glide"),
        ONE.replace(DOCUMENT, f"{DOCUMENT}{DOCUMENT}"),
        ONE.replace(DOCUMENT, f"{DOCUMENT}\nqstat: warning"),
        ONE.replace("<Data>", "<Data>text"),
        "glide\n",
        "glide\nen",
        "glide\n<Data>",
    ],
)
def test_what_is_not_a_whole_list_is_no_answer(text):
    assert text != ONE
    with pytest.raises(ValueError, match=r"\S"):
        listed(text)


@pytest.mark.parametrize(
    "text",
    [
        ONE.replace("<Data>", '<?xml version="1.0"?>\n<Data>'),
        ONE.replace("<Job>", "<Job><comment/><Walltime />"),
        ONE.replace("<Job>", '<Job kind="array">'),
    ],
)
def test_what_other_versions_may_write_is_understood(text):
    assert listed(text) == listed(ONE)


def test_an_entity_that_is_not_one_of_five_stays_as_it_is():
    (one,) = listed(ONE.replace("gp-1", "a&amp;lt;b&nbsp;&#65;&c;"))
    assert one.name == "a&lt;b&nbsp;&#65;&c;"


def test_no_list_is_cut_without_being_noticed(recorded):
    text = recorded("torque-6.1.3-qstat-mixed.txt")
    for end in range(len(text) - 1):
        with pytest.raises(ValueError, match=r"\S"):
            listed(text[:end])


# --- refusals and limits


@pytest.mark.parametrize(
    ("case", "code", "text"),
    [
        ("bad-queue", 172, "Unknown queue MSG=requested queue not found"),
        ("closed-queue", 175, "Queue is not enabled MSG=queue is disabled: user glide@vm, queue closed"),
        ("too-long", 190, "Job exceeds queue resource limits MSG=cannot satisfy queue max walltime requirement"),
        ("proxy", 159, "Unauthorized Request  MSG=root privileges required for proxy submission"),
    ],
)
def test_what_a_person_must_change_is_permanent_and_said_in_one_line(recorded, case, code, text):
    stderr = recorded(f"torque-6.1.3-qsub-{case}.stderr.txt")
    assert TorqueBackend({}).refusal(code, stderr) == Refusal(text, is_limit=False)


def test_an_option_that_is_not_understood_is_permanent(recorded):
    refused = TorqueBackend({}).refusal(2, recorded("torque-6.1.3-qsub-pbs-array.stderr.txt"))
    assert refused == Refusal("The -J option can only be used in conjunction with -P", is_limit=False)


def test_an_array_that_is_too_long_may_be_taken_in_parts(recorded):
    refused = TorqueBackend({}).refusal(235, recorded("torque-6.1.3-qsub-array-too-big.stderr.txt"))
    assert (refused.is_limit, refused.is_size) == (False, True)


def test_too_many_of_one_user_pass_by_themselves(recorded):
    refused = TorqueBackend({}).refusal(228, recorded("torque-6.1.3-qsub-user-limit.stderr.txt"))
    assert (refused.is_limit, refused.is_size) == (True, True)


def test_a_server_that_is_down_is_no_refusal(recorded):
    assert TorqueBackend({}).refusal(145, recorded("torque-6.1.3-qsub-down.stderr.txt")) is None


def test_limits_are_those_of_the_default_queue_or_of_the_one_that_is_named(recorded):
    text = recorded("torque-6.1.3-limits.txt")
    batch = QueueLimits("batch", is_open=True, walltime_s=86400, cpus=8, memory_mib=16384, array_size=2000)
    # A node that is down says nothing of its memory.
    assert TorqueBackend({}).parse_limits(text) == (batch, replace(batch, memory_mib=None))
    assert not any(stopped.is_open for stopped in TorqueBackend({"queue": "stopped"}).parse_limits(text))
    assert TorqueBackend({"queue": "nosuch"}).parse_limits(text) == ()


# --- with the played server


def test_what_has_ended_is_listed_for_a_while_and_gone(site):
    site.submit(site.request(count=2))
    assert site.run(site.backend().removal(["1[1].vm"])).returncode == 0
    assert [(job.batch_id, job.state) for job in site.jobs()] == [("1[1].vm", JobState.GONE), ("1[2].vm", IDLE)]
    assert site.run(Command(("qdel", "1[1].vm"))).returncode == 170
    assert site.run(site.backend().removal(["1[1].vm", "1[2].vm"])).returncode == 0
    assert site.live() == []


@pytest.mark.parametrize("count", [1, 2])
def test_a_glidein_knows_which_batch_job_it_is(site, tmp_path, count):
    bootstrap = Path(__file__).parents[2] / "glidein" / "bootstrap"
    parts = [(bootstrap / name).read_text(encoding="utf-8") for name in ("1-words.sh", "5-names.sh")]
    script = "\n".join(["#!/bin/sh", *parts, "find_batch_job", 'echo "batch job ${batch_job}"', ""])
    site.submit(site.request(count=count, script=script, logs=str(tmp_path)))
    ids = sorted(job.batch_id for job in site.live())
    site.release()
    assert site.wait(lambda: site.live() == [])
    logs = sorted(tmp_path.glob("gp-abc*"))
    assert [log.name for log in logs] == (["gp-abc.out"] if count == 1 else ["gp-abc.out-1", "gp-abc.out-2"])
    assert [re.findall("batch job (.*)", log.read_text()) for log in logs] == [[batch_id] for batch_id in ids]


def test_every_option_is_taken_together(site):
    options = {"queue": "short", "account": "a", "qos": "open", "node_property": "std", "disk_resource": "file"}
    options |= {"memory_limits": ("mem", "vmem", "pmem", "pvmem"), "exclusive": True}
    options |= {"extra": ("-m a", "-v NAME=value"), "extra_before": ("-p -100",)}
    site.submit(site.request(count=2, gpus=1, disk_mib=10), **options)
    assert len(site.live()) == 2


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("-J", "1-5"), 2, "can only be used in conjunction"),
        (("-P", "root"), 159, "Unauthorized"),
        (("-q", "nosuch"), 172, "MSG=requested queue not found"),
        (("-l", "nosuch=1"), 189, "Unknown resource"),
        (("-N", "with blank"), 2, "illegal -N"),
    ],
)
def test_the_played_qsub_refuses_what_the_real_one_refuses(site, words, code, says):
    done = site.run(Command(("qsub", *words), "#!/bin/sh\n"))
    assert done.returncode == code
    assert says in done.stderr


def test_the_played_qsub_takes_a_select_and_ignores_it_and_an_array_of_one(site):
    done = site.run(Command(("qsub", "-l", "select=1:ncpus=8:mem=1gb", "-t", "1-1"), "#!/bin/sh\n"))
    assert done.stdout == "1[].vm\n"
    (job,) = json.loads(site.state.read_text())["jobs"]
    assert job["ppn"] == "1"


def test_the_played_qstat_knows_no_json(site):
    done = site.run(Command(("qstat", "-f", "-F", "json")))
    assert done.returncode == 2
    assert "invalid option -- 'F'" in done.stderr


@pytest.mark.parametrize("mode", ["cut", "garbage"])
def test_an_answer_that_is_not_whole_is_no_answer(site, mode):
    site.submit(site.request(count=3))
    done = site.run(site.backend().query(), GLIDEPOST_FAKE_QSTAT=mode)
    assert done.returncode == 0
    with pytest.raises(ValueError, match=r"\S"):
        list(site.backend().parse_query(done.stdout))


def test_a_server_that_is_down_is_a_failure_of_every_command(site):
    site.submit(site.request(count=2))
    down = {f"GLIDEPOST_FAKE_{program}": "down" for program in ("QSUB", "QSTAT", "QSELECT", "QDEL")}
    backend = site.backend()
    for command in (backend.query(), backend.removal(["1[1].vm"]), backend.trial(site.request()), backend.limits()):
        assert site.run(command, **down).returncode == 145
    assert len(site.live()) == 2


def test_a_server_that_hangs_is_no_answer_and_leaves_nothing_behind(site):
    marks = [f"GLIDEPOST_FAKE_STATE={site.state}", f"PATH={FAKES}:{os.environ['PATH']}"]
    prefix = ("env", *marks, "GLIDEPOST_FAKE_QSTAT=hang")
    begin = time.monotonic()
    answer = Queue(site.backend(), prefix, timeout_s=2).count()
    assert time.monotonic() - begin < 30
    assert answer.error is not None
    assert "no answer within 2 s" in answer.error.what

    def is_marked(path: Path) -> bool:
        with suppress(OSError):  # it has ended meanwhile
            return marks[0].encode() in path.read_bytes()
        return False

    def left() -> list[str]:
        return [path.parent.name for path in Path("/proc").glob("[0-9]*/environ") if is_marked(path)]

    assert site.wait(lambda: left() == []), left()
