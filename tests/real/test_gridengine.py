"""What only Grid Engine has, against a real one: the rest is in test_contract_gridengine.py."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sites import SLEEP
from sites_gridengine import RealGridEngine

from glidepost.backends.base import JobState
from glidepost.infra.demo.testbed import GridEngine, daemons_of

IDLE, RUNNING, HELD = JobState.IDLE, JobState.RUNNING, JobState.HELD


@pytest.fixture
def site(gridengine: GridEngine) -> Iterator[RealGridEngine]:
    site = RealGridEngine(gridengine)
    yield site
    site.clean()


@pytest.fixture
def logs(gridengine: GridEngine, account_folder: Path) -> Path:
    return gridengine.account.make_folder(account_folder / "logs")


@contextmanager
def defaults(cell: GridEngine, name: str, text: str) -> Iterator[None]:
    """Gives the cell a file of defaults, sge_request or sge_qstat, for a time."""
    path = cell.folder / "default" / "common" / name
    path.write_text(f"{text}\n")
    path.chmod(0o644)
    try:
        yield
    finally:
        path.unlink()


def printed(site: RealGridEngine, logs: Path, script: str, options: Mapping[str, str], **asked: int) -> str:
    """Returns what a glidein of this script prints."""
    site.submit(site.request(script=f"#!/bin/sh\n{script}\n", logs=str(logs), **asked), **options)
    assert site.wait(lambda: "job_list" not in site.listing()), site.listing()
    return "".join(path.read_text() for path in logs.iterdir())


def detail(site: RealGridEngine, batch_id: str) -> str:
    return site.cell.run(["qstat", "-j", batch_id])


# --- the testbed


def test_a_cell_that_ends_takes_everything_with_it(gridengine, account_folder):
    cell = replace(gridengine, folder=account_folder / "cell")
    cell.start()
    try:
        site = RealGridEngine(cell)
        site.submit(site.request(script="#!/bin/sh\nsetsid sleep 600 &\nexec sleep 600\n", count=2))
        assert site.wait(lambda: site.states() == {RUNNING: 2})
        # qmaster and execd, and of each a shepherd, its script and what that has let go of
        assert site.wait(lambda: len(daemons_of(cell.folder)) >= 8)
        pid = (cell.folder / "spool" / "qmaster.pid").read_text()
        cell.start()
        assert (cell.folder / "spool" / "qmaster.pid").read_text() == pid, "one that runs is left as it is"
    finally:
        cell.stop()
    assert daemons_of(cell.folder) == []
    cell.stop()


# --- removals


def test_queued_tasks_that_the_queue_shows_as_one_are_removed_one_by_one(site):
    batch_id = site.submit(site.request(count=20, script=SLEEP), queue="closed.q")
    doomed = [f"{batch_id}.{index}" for index in (2, 3, 4, 9, 15, 20)]
    assert site.run(site.backend().removal(doomed)).returncode == 0
    compressed = site.cell.run(["qstat", "-u", site.cell.account.name])
    assert "1,5-8:1,10-14:1,16-19:1" in compressed.replace(" ", "")[-40:]
    assert {job.batch_id for job in site.live()} == {f"{batch_id}.{index}" for index in range(1, 21)} - set(doomed)


def test_a_removal_leaves_those_that_run_as_they_were(site):
    batch_id = site.submit(site.request(count=10))
    assert site.wait(lambda: site.states() == {RUNNING: 8, IDLE: 2}), site.states()
    assert site.run(site.backend().removal([f"{batch_id}.{index}" for index in range(1, 10)])).returncode == 0
    assert "hr" not in site.listing(), "a hold is taken back"
    assert {job.state for job in site.jobs() if job.batch_id != f"{batch_id}.10"} == {RUNNING}
    assert f"{batch_id}.9" not in {job.batch_id for job in site.jobs()}


def test_a_removal_does_not_touch_what_it_does_not_name(site):
    others = site.submit(site.request("gp-other", 3), queue="closed.q")
    batch_id = site.submit(site.request(), queue="closed.q")
    assert site.run(site.backend().removal([batch_id, f"{others}.2", "999999", "999999.3"])).returncode == 0
    assert {job.batch_id for job in site.live()} == {f"{others}.1", f"{others}.3"}


def test_a_removal_by_somebody_else_removes_nothing(site):
    batch_id = site.submit(site.request(), queue="closed.q")
    command = site.backend().removal([batch_id])
    if os.geteuid() == 0:  # root is no manager of this cell
        stranger = replace(site.cell.account, name="root", prefix=())
        stranger.run(command.argv, env=site.cell.env(), stdin=command.stdin)
        assert [job.batch_id for job in site.live()] == [batch_id]
        assert [job.state for job in site.live()] == [IDLE]
    assert site.run(command).returncode == 0
    assert site.live() == []


def test_a_removal_without_a_qmaster_fails(site):
    batch_id = site.submit(site.request(), queue="closed.q")
    with site.down():
        done = site.run(site.backend().removal([batch_id]))
    assert done.returncode != 0
    assert "unable to send message to qmaster" in done.stderr


# --- submissions


def test_a_glidein_that_could_never_run_is_refused_because_of_w_e(site):
    command = site.backend().submission(site.request(walltime_s=7200))
    assert site.run(command).returncode == 1
    unverified = replace(command, argv=tuple("n" if word == "e" else word for word in command.argv))
    assert site.run(unverified).returncode == 0, "without it, it waits for ever"
    assert site.states() == {IDLE: 1}


def test_a_load_value_that_w_e_does_not_know_is_asked_for_without_it(site):
    options = {"memory_resource": "mem_free"}
    done = site.run(site.backend(**options).submission(site.request()))
    assert "no suitable queues" in done.stderr
    done = site.run(site.backend(**options).trial(site.request()))
    assert "job requests unknown resource (mem_free)" in done.stderr
    options["extra"] = ("-w n",)
    for count in (1, 3):
        assert site.run(site.backend(**options).trial(site.request(count=count))).returncode == 0
        assert site.live() == []
    assert site.run(site.backend(**options, project="nosuch").trial(site.request())).returncode == 1
    site.submit(site.request(), **options)
    assert site.wait(lambda: site.states() == {RUNNING: 1})


def test_an_error_state_is_held_and_says_where_the_reason_is(site):
    batch_id = site.fail()
    assert site.wait(lambda: site.states() == {HELD: 1})
    (job,) = site.live()
    assert job.reason == f"error state: qstat -j {batch_id} says why"
    assert "/nonexistent" in detail(site, batch_id)


def test_memory_is_a_limit_of_each_slot(site, logs):
    text = printed(site, logs, "ulimit -v; echo $NSLOTS", {}, cpus=4, memory_mib=1001)
    assert text.split() == [str(251 * 4 * 1024), "4"]


def test_several_resources_are_asked_for_together(site):
    options = {"memory_resource": "h_vmem,mem_total", "disk_resource": "tmpfree", "queue": "closed.q"}
    asked = {"cpus": 2, "memory_mib": 1000, "disk_mib": 3000, "gpus": 2}
    batch_id = site.submit(site.request(**asked), **options, gpus="gpu=1", project="physics", account="pool-a")
    text = detail(site, batch_id)
    for part in ("h_rt=1800", "h_vmem=500M", "mem_total=500M", "tmpfree=1500M", "gpu=1"):
        assert part in text
    words = {line.partition(":")[0]: line.partition(":")[2].strip() for line in text.splitlines()}
    assert words["project"] == "physics"
    assert words["account"] == "pool-a"
    assert words["parallel environment"] == "smp range: 2"
    assert words["hard_queue_list"] == "closed.q"
    assert words["notify"] == "TRUE"
    assert words["restart"] == "n"
    assert words["sge_o_workdir"]


def test_a_glidein_is_told_before_it_is_killed(site, logs):
    script = "trap 'echo told; exit 0' USR2\necho ready\nwhile :; do sleep 1; done"
    batch_id = site.submit(site.request(script=f"#!/bin/sh\n{script}\n", logs=str(logs)))

    def said() -> str:
        return "".join(path.read_text() for path in logs.iterdir())

    assert site.wait(lambda: "ready" in said())
    site.cell.run(["qdel", batch_id])
    assert site.wait(lambda: "told" in said())


def test_a_glidein_that_is_being_deleted_is_not_counted(site, logs):
    script = "#!/bin/sh\ntrap '' USR2\necho ready\nsleep 600\n"
    batch_id = site.submit(site.request(script=script, logs=str(logs)))
    assert site.wait(lambda: any("ready" in path.read_text() for path in logs.iterdir()))
    assert site.states() == {RUNNING: 1}
    site.cell.run(["qdel", batch_id])
    assert re.search(">d[rt]<", site.listing())
    assert site.live() == []


def test_a_glidein_is_at_the_root_in_a_bare_environment(site, logs):
    command = site.backend().submission(site.request(script="#!/bin/sh\npwd\nenv\n", logs=str(logs)))
    assert site.run(command, SECRET_OF_THE_PULLER="hunter2").returncode == 0
    assert site.wait(lambda: "job_list" not in site.listing())
    (log,) = logs.iterdir()
    text = log.read_text()
    assert text.startswith("/\n")
    assert "hunter2" not in text


def test_lines_of_the_script_are_no_options(site):
    site.submit(site.request(script="#!/bin/sh\n#$ -N hacked\n#$ -t 1-5\nsleep 600\n"))
    assert [job.name for job in site.live()] == ["gp-abc"]


def test_what_the_site_wants_for_all_is_kept_and_what_is_ours_wins(site):
    text = "-P physics -N other -o /nonexistent -cwd -w n -r y -b y -l h_rt=60 -q main.q"
    with defaults(site.cell, "sge_request", text):
        batch_id = site.submit(site.request(), queue="closed.q")
    assert [job.name for job in site.live()] == ["gp-abc"]
    said = detail(site, batch_id)
    assert "physics" in said
    assert "h_rt=1800" in said
    assert "/nonexistent" not in said
    assert "closed.q" in said


def test_a_site_can_forget_the_defaults(site):
    with defaults(site.cell, "sge_request", "-P nosuch"):
        command = site.backend().submission(site.request())
        assert site.run(command).returncode == 1
        site.submit(site.request(), extra_before=("-clear",))
    assert len(site.live()) == 1


def test_an_added_option_that_is_ours_too_wins(site):
    batch_id = site.submit(site.request(), queue="closed.q", extra=("-l h_rt=77", "-w n", "-p -5"))
    assert "h_rt=77" in detail(site, batch_id)
    assert site.states() == {IDLE: 1}


# --- listings


@pytest.mark.parametrize(
    "text", ["-u root", "-u *", "-s r", "-s z", "-f", "-f -ne", "-ext -pri", "-g c", "-F h_rt", "-r"]
)
def test_defaults_of_qstat_change_nothing(site, text):
    site.submit(site.request(count=10))
    held = site.submit(site.request("gp-held"), extra=("-h",))
    expected = {RUNNING: 8, IDLE: 2, HELD: 1}
    assert site.wait(lambda: site.states() == expected), site.states()
    with defaults(site.cell, "sge_qstat", text):
        assert site.states() == expected
        assert site.run(site.backend().removal([held])).returncode == 0
    assert site.states() == {RUNNING: 8, IDLE: 2}


@pytest.mark.parametrize("text", ["-j 1", "-help", "-nosuch"])
def test_defaults_of_qstat_that_spoil_the_answer_are_noticed(site, text):
    site.submit(site.request())
    with defaults(site.cell, "sge_qstat", text):
        done = site.run(site.backend().query())
        if done.returncode == 0:
            with pytest.raises(ValueError, match=r"\S"):
                list(site.backend().parse_query(done.stdout))


def test_other_batch_jobs_of_the_account_may_have_any_name(site):
    names = ["a&b<c>\"d'", "]]>", "%lt", "&amp;", "x" * 200]
    for name in names:
        site.cell.run(["qsub", "-h", "-o", "/dev/null", "-N", name], stdin=SLEEP)
    site.submit(site.request(), queue="closed.q")
    assert sorted(job.name for job in site.live()) == sorted([*names, "gp-abc"])


def test_an_array_of_one_that_somebody_else_made_has_a_task(site):
    batch_id = site.cell.run(["qsub", "-terse", "-o", "/dev/null", "-t", "7-7", "-h"], stdin=SLEEP).split(".")[0]
    assert [job.batch_id for job in site.live()] == [f"{batch_id}.7"]
    assert site.run(site.backend().removal([f"{batch_id}.7"])).returncode == 0
    assert site.live() == []


# --- limits


def test_no_more_submissions_of_one_user_is_a_limit_that_counts_an_array_as_one(site):
    site.cell.configure(max_u_jobs="2")
    try:
        site.submit(site.request(count=300), queue="closed.q")
        site.submit(site.request(), queue="closed.q")
        done = site.run(site.backend().submission(site.request()))
    finally:
        site.cell.configure(max_u_jobs="0")
    assert done.returncode == 25
    refused = site.backend().refusal(done.returncode, done.stderr)
    assert refused is not None
    assert refused.text.startswith("only 2 jobs are allowed per user")
    assert (refused.is_limit, refused.is_size) == (True, False)


def test_a_trial_says_why(site):
    trial = site.backend().trial(site.request(walltime_s=7200))
    done = site.run(trial)
    refused = site.backend().refusal(done.returncode, done.stderr)
    assert refused is not None
    assert 'cannot run in queue "main.q" because of cluster queue' in refused.text


@pytest.mark.parametrize(
    ("queue", "found"),
    [
        ("", Counter({("main.q", True): 1, ("closed.q", False): 1})),
        ("main.q", Counter({("main.q", True): 1})),
        ("closed.q", Counter({("closed.q", False): 1})),
        ("nosuch.q,main.q", Counter({("main.q", True): 1})),
        ("nosuch.q", Counter()),
    ],
)
def test_limits_are_those_of_the_queue(site, queue, found):
    backend = site.backend(**({"queue": queue} if queue else {}))
    limits = backend.parse_limits(site.run(backend.limits()).stdout)
    assert Counter((limit.queue, limit.is_open) for limit in limits) == found
    assert all((limit.walltime_s, limit.cpus, limit.array_size) == (3600, 8, 1000) for limit in limits)


def test_limits_without_a_qmaster_are_no_limits(site):
    with site.down():
        assert site.run(site.backend().limits()).returncode != 0
