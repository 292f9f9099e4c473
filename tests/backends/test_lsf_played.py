"""LSF's commands, run for real against fakes of both dialects: what only LSF gets wrong."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from sites_lsf import SITES, LsfSite, OpenlavaSite

from glidepost.backends.base import Command, JobState
from glidepost.schema.errors import BatchError, Refused
from glidepost.site_puller.queue import LostAnswer, Queue

pytestmark = pytest.mark.long


@pytest.fixture(params=SITES, ids=lambda site: site.label)
def site(request, tmp_path):
    site = request.param(tmp_path)
    yield site
    site.clean()


@pytest.fixture(params=["dash", "bash"])
def shell(request, site, tmp_path):
    """Makes `sh` this shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sh").symlink_to(shutil.which(request.param))
    fakes = Path(__file__).parents[1] / "fakes" / site.programs
    site.environment["PATH"] = f"{folder}:{fakes}:{os.environ['PATH']}"


def queued(site):
    return json.loads(site.state.read_text())["jobs"]


def calls(site, program):
    return [call[1:] for call in json.loads(site.state.read_text())["calls"] if call[0] == program]


@pytest.mark.usefixtures("shell")
def test_both_shells_submit_list_and_remove(site):
    site.submit(site.request(count=5))
    ids = [job.batch_id for job in site.live()]
    assert ids == [f"1[{index}]" for index in range(1, 6)]
    assert site.run(site.backend().removal([ids[3], ids[0], ids[1]])).returncode == 0
    assert [job.batch_id for job in site.live()] == ["1[3]", "1[5]"]
    assert calls(site, "bkill") == [["1[1-2]", "1[4]"]]


# --- units


@pytest.mark.parametrize(
    ("line", "limit", "reserved"),
    [
        ("", "716800", "700"),
        ("LSF_UNIT_FOR_LIMITS=KB", "716800", "700"),
        ("LSF_UNIT_FOR_LIMITS=MB", "700", "700"),
        ("LSF_UNIT_FOR_LIMITS = mb  # since 2019", "700", "700"),
        ('LSF_UNIT_FOR_LIMITS="GB"', "1", "1"),
        ("#LSF_UNIT_FOR_LIMITS=GB", "716800", "700"),
        ("LSF_UNIT_FOR_LIMITS=MB\nLSF_UNIT_FOR_LIMITS=GB", "1", "1"),
        ("LSF_UNIT_FOR_LIMITS=TB", "1", "1"),
    ],
)
@pytest.mark.usefixtures("shell")
def test_units_are_those_of_the_host_where_bsub_runs(site, line, limit, reserved):
    (site.folder / "lsf.conf").write_text(f"LSF_LOGDIR=/var/log\n{line}\n")
    site.submit(site.request(memory_mib=700))
    (call,) = calls(site, "bsub")
    assert call[call.index("-M") + 1] == limit
    assert call[call.index("-R") + 1] == f"span[hosts=1] rusage[mem={reserved}]"


def test_without_lsf_conf_they_are_the_default(site):
    (site.folder / "lsf.conf").unlink()
    site.submit(site.request(memory_mib=700))
    assert queued(site)[0]["asked"]["limit_kib"] == 700 * 1024


def test_a_unit_that_nobody_knows_submits_nothing(site):
    (site.folder / "lsf.conf").write_text("LSF_UNIT_FOR_LIMITS=furlong\n")
    done = site.run(site.backend().submission(site.request()))
    assert done.returncode == 64
    assert "set memory_unit" in done.stderr
    assert not site.state.exists()


def test_the_site_may_say_the_units(site):
    site.submit(site.request(memory_mib=1500), memory_unit="GB")
    (call,) = calls(site, "bsub")
    assert call[call.index("-M") + 1] == "2"


# --- what else could be understood wrongly


def test_words_with_blanks_and_brackets_arrive_as_they_are(site):
    """Behind ssh a shell reads the words once more; a file whose name matches 1[1] must not take a word's place."""
    (site.folder / "gp-abc1").touch()
    command = site.backend(select="mem>100 && type==any").submission(site.request(count=2, logs="/tmp/100% $HOME"))
    far = Command(("sh", "-c", f"cd {site.folder} && {shlex.join(command.argv)}"), command.stdin)
    assert site.run(far).returncode == 0
    (call,) = calls(site, "bsub")
    assert call[call.index("-J") + 1] == "gp-abc[1-2]"
    assert call[call.index("-o") + 1] == "/tmp/100% $HOME/gp-abc-%J.%I.out"
    assert call[call.index("-R") + 1].startswith("select[mem>100 && type==any] span[hosts=1]")
    (site.folder / "11").touch()
    removal = site.backend().removal(["1[1]"])
    assert site.run(Command(("sh", "-c", f"cd {site.folder} && {shlex.join(removal.argv)}"))).returncode == 0
    assert [job.batch_id for job in site.live()] == ["1[2]"]


def test_a_removal_takes_many_in_ranges_and_a_few_at_once(site):
    site.submit(site.request(count=400))
    doomed = [f"1[{index}]" for index in range(1, 400, 3)]
    assert site.run(site.backend().removal(doomed)).returncode == 0
    assert len(site.live()) == 400 - len(doomed)
    assert [len(call) for call in calls(site, "bkill")] == [50, 50, 33]


def test_an_index_in_the_id_column_is_understood_by_a_removal_too(site):
    site.environment["GLIDEPOST_FAKE_ENHANCED"] = "Y"
    site.submit(site.request(count=3))
    assert site.run(site.backend().removal(["1[2]"])).returncode == 0
    assert [job.batch_id for job in site.live()] == ["1[1]", "1[3]"]


def test_nothing_is_asked_of_bkill_when_all_are_gone(site):
    site.submit(site.request())
    site.run(site.backend().removal(["1"]))
    assert site.run(site.backend().removal(["1"])).returncode == 0
    assert len(calls(site, "bkill")) == 1


def test_those_that_end_between_the_look_and_bkill_are_no_failure(site):
    """A bjobs that still lists what is gone by then."""
    site.submit(site.request(count=2))
    listing = site.run(Command(("bjobs", "-w"))).stdout
    folder = site.folder / "stale"
    folder.mkdir()
    (folder / "bjobs").write_text(f"#!/bin/sh\ncat <<'END'\n{listing}END\n")
    (folder / "bjobs").chmod(0o755)
    site.run(Command(("bkill", "1[1]")))
    fakes = Path(__file__).parents[1] / "fakes" / site.programs
    done = site.run(site.backend().removal(["1[1]", "1[2]"]), PATH=f"{folder}:{fakes}:{os.environ['PATH']}")
    assert (done.returncode, done.stderr) == (0, "")
    assert site.live() == []


@pytest.mark.parametrize("mode", ["down", "broken", "garbage", "cut"])
@pytest.mark.parametrize("what", ["query", "removal"])
def test_a_bjobs_that_fails_is_no_empty_queue_and_removes_nothing(site, mode, what):
    site.submit(site.request(count=3))
    backend = site.backend()
    command = backend.query() if what == "query" else backend.removal(["1[1]"])
    done = site.run(command, GLIDEPOST_FAKE_BJOBS=mode)
    if what == "query" and done.returncode == 0:
        with pytest.raises(ValueError, match="bjobs"):
            list(backend.parse_query(done.stdout))
    if what == "removal" and mode in {"down", "broken"}:
        assert done.returncode != 0
        assert calls(site, "bkill") == []
    assert len(site.live()) >= 2


@pytest.mark.parametrize(("strict", "code"), [({}, 0), ({"GLIDEPOST_FAKE_STRICT": "Y"}, 255)])
def test_an_empty_queue_is_told_by_words_and_not_by_the_exit_code(tmp_path, strict, code):
    site = LsfSite(tmp_path)
    assert site.run(Command(("bjobs", "-w")), **strict).returncode == code
    assert list(site.backend().parse_query(site.run(site.backend().query(), **strict).stdout)) == []


def test_openlava_ends_with_254_when_there_is_nothing(tmp_path):
    done = OpenlavaSite(tmp_path).run(Command(("bjobs", "-w")))
    assert (done.returncode, done.stdout, done.stderr) == (254, "", "No unfinished job found\n")


def test_bsub_does_not_wait_for_room(site):
    done = site.run(site.backend().submission(site.request(count=5)), GLIDEPOST_FAKE_PENDING="4")
    refusal = site.backend().refusal(done.returncode, done.stderr)
    assert refusal.is_limit
    assert refusal.is_size
    assert site.live() == []
    assert site.run(site.backend().submission(site.request(count=4)), GLIDEPOST_FAKE_PENDING="4").returncode == 0


def test_a_trial_that_cannot_be_removed_is_a_failure_that_names_it(site):
    done = site.run(site.backend().trial(site.request("gp-check")), GLIDEPOST_FAKE_BKILL="down")
    assert done.returncode == 1
    assert "Job <1> is submitted" in done.stderr
    assert [(job.name, job.state) for job in site.live()] == [("gp-check", JobState.HELD)]


# --- what the site puller makes of it


@pytest.fixture
def lsf_queue(site, monkeypatch):
    fakes = Path(__file__).parents[1] / "fakes" / site.programs
    monkeypatch.setenv("PATH", f"{fakes}:{os.environ['PATH']}")
    monkeypatch.setenv("GLIDEPOST_FAKE_STATE", str(site.state))
    monkeypatch.setenv("LSF_ENVDIR", str(site.folder))
    return lambda timeout_s=30: Queue(site.backend(), timeout_s=timeout_s)


def clients_of(site) -> list[str]:
    """Returns the command lines of processes that play this site."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if f"GLIDEPOST_FAKE_STATE={site.state}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append((entry / "cmdline").read_bytes().decode())
    return found


def test_a_client_that_hangs_ends_with_the_time_out(site, lsf_queue, monkeypatch):
    site.submit(site.request(count=2))
    monkeypatch.setenv("GLIDEPOST_FAKE_LSF", "hang")
    answer = lsf_queue(timeout_s=1).count()
    assert answer.jobs == ()
    assert "no answer within 1 s" in str(answer.error)
    deadline = time.monotonic() + 60
    while clients_of(site) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert clients_of(site) == []


def test_a_submission_that_hangs_may_have_been_accepted(site, lsf_queue, monkeypatch):
    monkeypatch.setenv("GLIDEPOST_FAKE_BSUB", "hang")
    with pytest.raises(LostAnswer):
        lsf_queue(timeout_s=1).submit(site.request())


def test_daemons_that_are_down_are_an_error_before_the_time_out(site, lsf_queue, monkeypatch):
    monkeypatch.setenv("GLIDEPOST_FAKE_LSF", "down")
    answer = lsf_queue().count()
    assert answer.jobs == ()
    assert "LIM is down" in str(answer.error)
    with pytest.raises(BatchError, match="LIM is down") as caught:
        lsf_queue().submit(site.request())
    assert not isinstance(caught.value, (LostAnswer, Refused))


def test_a_refusal_reaches_the_operator_in_one_line(site, lsf_queue):
    with pytest.raises(Refused, match="Job array index too large") as caught:
        lsf_queue().submit(site.request(count=1001))
    assert "Job array index too large (exit 1)" in caught.value.what
    assert caught.value.is_size


# --- the fakes themselves: what openlava 2.2 was seen to do


def openlava(folder, *argv, stdin="#!/bin/sh\nexit\n") -> subprocess.CompletedProcess[str]:
    return OpenlavaSite(folder).run(Command(argv, stdin))


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("-gpu", "num=1"), "Illegal option"),
        (("-G", "physics"), "Illegal option"),
        (("-g", "/x"), "Illegal option"),
        (("-rn",), "Illegal option"),
        (("-cwd", "/tmp"), "wd: Bad CPULIMIT specification"),
        (("-M", "700MB"), "MEMLIMT value"),
        (("-R", "rusage[mem=1,gpu=1]"), "Bad resource requirement syntax"),
        (("-R", "span[hosts=1]", "-R", "rusage[mem=1]"), "more than once"),
        (("-J", "a[1-1001]"), "Job array index too large"),
    ],
)
def test_the_fake_refuses_what_openlava_refuses(tmp_path, argv, words):
    done = openlava(tmp_path, "bsub", *argv)
    assert done.returncode == 255
    assert words in done.stderr


@pytest.mark.parametrize(("argv", "command"), [(("-app", "x"), "x"), (("-env", "none"), "none")])
def test_the_fake_misreads_what_openlava_misreads_and_runs_something_else(tmp_path, argv, command):
    assert openlava(tmp_path, "bsub", *argv).returncode == 0
    state = json.loads((tmp_path / "lsf.json").read_text())
    assert state["scripts"] == {"1": command}


@pytest.mark.parametrize("option", ["-noheader", "-json", "-o"])
def test_the_fakes_bjobs_knows_no_option_of_later_ones(tmp_path, option):
    assert openlava(tmp_path, "bjobs", option, "jobid").returncode == 255


def test_the_fake_cuts_names_as_openlava_does_unless_it_has_room(tmp_path):
    openlava(tmp_path, "bsub", "-J", "gp-1a2b3c4d[1-2]")
    assert "*2b3c4d[1] Nov" in openlava(tmp_path, "bjobs").stdout
    assert "gp-1a2b3c4d[1] Nov" in openlava(tmp_path, "bjobs", "-w").stdout
