"""OpenPBS as tests/fakes/pbs plays it: what goes through its commands, and what it refuses as the real one does."""

from __future__ import annotations

import json
import re

import pytest
from sites_pbs import FakePbs

from glidepost.backends.base import Command, JobState

pytestmark = pytest.mark.long

IDLE, HELD = JobState.IDLE, JobState.HELD


@pytest.fixture
def site(tmp_path):
    site = FakePbs(tmp_path)
    yield site
    site.clean()


def test_one_that_waits_for_a_free_node_says_so(site):
    for index in range(site.slots + 1):
        site.submit(site.request(f"gp-{index}"))
    site.release()
    (waiting,) = (found for found in site.live() if found.state is IDLE)
    assert waiting.reason.startswith("Not Running: Insufficient amount of resource: ncpus")


def test_members_of_arrays_and_whole_batch_jobs_are_never_in_one_qdel(site):
    site.submit(site.request("gp-one"))
    site.submit(site.request("gp-two", 3))
    ids = [found.batch_id for found in site.live()]
    assert site.run(site.backend().removal(ids)).returncode == 0
    assert site.live() == []
    calls = json.loads(site.state.read_text())["calls"]
    assert [words[1:] for words in calls if words[0] == "qdel"] == [ids[1:], ids[:1]]


def test_the_played_server_crashes_over_both_in_one_qdel(site):
    site.submit(site.request("gp-one"))
    site.submit(site.request("gp-two", 2))
    assert site.run(Command(("qdel", "1.vm", "2[1].vm"))).returncode == 162
    assert site.run(site.backend().query()).returncode != 0
    with pytest.raises(AssertionError, match="qdel had members"):
        site.clean()


def test_a_held_glidein_is_held_and_can_be_removed(site):
    for name in ("gp-one", "gp-two"):
        site.submit(site.request(name))
    site.hold("1.vm")
    assert [(found.state, found.reason) for found in site.live()] == [(HELD, "Hold_Types = u"), (IDLE, "")]
    assert site.run(site.backend().removal(["1.vm"])).returncode == 0
    assert [found.batch_id for found in site.live()] == ["2.vm"]


def test_a_held_array_is_held_with_all_its_members(site):
    site.submit(site.request(count=3))
    site.hold("1[].vm")
    assert {found.state for found in site.live()} == {HELD}
    assert site.run(site.backend().removal(["1[2].vm"])).returncode == 0
    assert [found.batch_id for found in site.live()] == ["1[1].vm", "1[3].vm"]


def test_every_option_is_taken_together(site):
    options = {"queue": "short", "account": "a", "project": "p", "chunk": "model=bro", "disk_resource": "scratch"}
    options |= {"memory_limits": ("mem", "vmem", "pmem", "pvmem"), "place": "pack", "exclusive": True}
    options |= {"extra": ("-m a", "-v NAME=value"), "extra_before": ("-p -100",)}
    site.submit(site.request(count=2, gpus=1, disk_mib=10), **options)
    assert len(site.live()) == 2


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("-J", "1-1"), 2, "illegal -J"),
        (("-r", "n", "-J", "1-2"), 2, "non-rerunable"),
        (("-l", "select=1:ncpus=1", "-l", "nodes=1"), 6, "nodes"),
        (("-l", "select=1:ncpus=1", "-l", "mem=1mb"), 5, "mem"),
        (("-l", "nodes=1:ppn=2:gpus=1"), 241, "specification error"),
        (("-v", 'A="b"'), 1, "environment"),
        (("-N", "with blank"), 2, "illegal -N"),
        (("-W", "group_list=wheel"), 197, "Bad GID"),
    ],
)
def test_the_played_qsub_refuses_what_the_real_one_refuses(site, words, code, says):
    done = site.run(Command(("qsub", *words), "#!/bin/sh\n"))
    assert done.returncode == code
    assert says in done.stderr


def test_a_server_that_is_down_prints_an_empty_list_and_fails(site):
    done = site.run(site.backend().query(), GLIDEPOST_FAKE_QSTAT="down")
    assert done.returncode == 255
    assert list(site.backend().parse_query(done.stdout)) == []  # so the exit code is all there is


@pytest.mark.parametrize("mode", ["cut", "garbage"])
def test_an_answer_that_is_not_whole_is_no_answer(site, mode):
    site.submit(site.request(count=3))
    done = site.run(site.backend().query(), GLIDEPOST_FAKE_QSTAT=mode)
    assert done.returncode == 0
    with pytest.raises(ValueError, match=r"\S"):
        list(site.backend().parse_query(done.stdout))


def test_an_account_without_a_name_gets_no_answer(site, tmp_path):
    (tmp_path / "id").write_text("#!/bin/sh\necho 'id: cannot find name for user ID 4711' >&2\necho 4711\nexit 1\n")
    (tmp_path / "id").chmod(0o755)
    command = site.backend().query()
    path = f'PATH="{tmp_path}:$PATH" exec "$0" "$@"'
    assert site.run(Command(("sh", "-c", path, *command.argv))).returncode == 1


def test_a_removal_finds_no_server_and_removes_nothing(site):
    site.submit(site.request(count=2))
    done = site.run(site.backend().removal(["1[1].vm"]), GLIDEPOST_FAKE_QSELECT="down")
    assert done.returncode == 162
    assert len(site.live()) == 2


@pytest.mark.parametrize("mode", ["down", "lost"])
def test_a_trial_ends_as_its_submission_does(site, mode):
    trial = site.backend().trial(site.request())
    done = site.run(trial, GLIDEPOST_FAKE_QSUB=mode)
    assert (done.returncode, "cannot connect" in done.stderr) == ({"down": 162, "lost": 167}[mode], True)


def test_a_trial_hands_its_script_to_qsub(site):
    done = site.run(site.backend().trial(site.request("gp-check", script="#!/bin/sh\necho the whole script\n")))
    assert done.returncode == 0, done.stderr
    calls = json.loads(site.state.read_text())["calls"]
    assert [words[0] for words in calls] == ["qsub", "qdel"]
    assert re.fullmatch(r"\d+\.vm", calls[1][1])


def test_a_long_list_is_removed_in_parts(site):
    site.submit(site.request(count=250))
    assert site.run(site.backend().removal([found.batch_id for found in site.live()])).returncode == 0
    calls = json.loads(site.state.read_text())["calls"]
    assert [len(words) - 1 for words in calls if words[0] == "qdel"] == [100, 100, 50]
