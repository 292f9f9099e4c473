"""How a glidein ends, and that it always cleans up."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pytest

from glidepost.infra.demo.testbed import wait_until

JOINED = "echo '01/01/26 00:00:00 CCBListener: registered with CCB server x' >>$SCRATCH/log/StartLog"
IDLE = "echo '01/01/26 00:00:01 No resources have been claimed for 60 seconds' >>$SCRATCH/log/StartLog"
USER_JOB = "echo 'slot1_1: Got activate_claim request from shadow (10.0.0.1)' >>$SCRATCH/log/StartLog"
# The real one leaves at once when it gets SIGQUIT; `sleep` in the foreground would delay the trap.
STAY = "trap 'kill $!; exit 0' QUIT; echo $$ >$MADE/ready; sleep 300 & wait"
# What condor_master ends with then: by TERM when that came before our script knew that HTCondor runs.
FAST = {0, 128 + signal.SIGTERM}


def test_a_glidein_that_ran_user_jobs_leaves_when_there_are_no_more(node):
    ended = node.run_master(f"{JOINED}\n{USER_JOB}\n{USER_JOB}\n{IDLE}")
    assert (ended.code, ended.outcome) == (0, "idle-shutdown")
    assert "2 user jobs" in ended.detail
    (record,) = ended.records
    assert record["kind"] == "outcome/1"
    assert record["name"] == "gp-north-1"
    assert record["shape"] == "small"
    assert record["condor_exit"] == 0
    assert record["started_at"] <= record["ended_at"]
    assert "MasterLog" not in ended.output


def test_a_glidein_that_no_user_job_came_to_says_so(node):
    ended = node.run_master(f"{JOINED}\n{IDLE}")
    assert (ended.code, ended.outcome) == (0, "never-claimed")


def test_a_glidein_that_the_pool_refused_is_told_apart_though_htcondor_exits_with_0(node):
    error = '01/01/26 00:00:00 ERROR: SECMAN:2010:Received "DENIED" from server for user glidein@pool'
    ended = node.run_master(f"echo '{error}' >>$SCRATCH/log/StartLog\n{IDLE}")
    assert (ended.code, ended.outcome) == (1, "never-joined")
    assert 'Received "DENIED"' in ended.detail
    assert "the end of StartLog" in ended.output


def test_a_glidein_near_the_end_of_its_walltime_ends_with_deadline(node):
    master = f"{JOINED}\nsleep 2\nexit 99"
    ended = node.run_master(master, WALLTIME_S="10", RETIRE_S="9")
    assert (ended.code, ended.outcome) == (0, "deadline")


def test_an_htcondor_that_hangs_is_ended_before_the_batch_system_does(node):
    ended = node.run_master(STAY, WALLTIME_S="4", RETIRE_S="1")
    assert (ended.code, ended.outcome) == (0, "deadline")


def test_an_htcondor_that_breaks_shows_its_logs(node):
    ended = node.run_master("echo 'no such library' >&2; exit 127")
    assert (ended.code, ended.outcome) == (1, "startd-failed")
    assert "no such library" in ended.output
    assert ended.records[0]["condor_exit"] == 127


def test_a_startd_that_does_not_stay_up_is_a_failure(node):
    ended = node.run_master(f"{JOINED}\nexit 99")
    assert (ended.code, ended.outcome) == (1, "startd-failed")


def test_the_pool_may_end_a_glidein(node):
    ended = node.run_master(JOINED)
    assert (ended.code, ended.outcome) == (0, "killed")
    assert "told by the pool" in ended.detail


def test_a_kill_while_user_jobs_run_is_a_fast_end(node, kill_when_ready):
    process = node.start(node.script(node.line(node.pack(f"{JOINED}\n{USER_JOB}\n{STAY}")), {}))
    kill_when_ready(node, process)
    ended = node.end(process)
    assert (ended.code, ended.outcome) == (0, "killed")
    assert ended.records[0]["condor_exit"] in FAST
    assert "SIGTERM; 1 user jobs" in ended.detail


@pytest.mark.parametrize("name", ["INT", "HUP", "XCPU", "USR1", "USR2"])
def test_every_signal_by_which_batch_systems_announce_the_end_is_heard(dash_node, kill_when_ready, name):
    process = dash_node.start(dash_node.script(dash_node.line(dash_node.pack(STAY)), {}))
    kill_when_ready(dash_node, process, signal.Signals[f"SIG{name}"])
    ended = dash_node.end(process)
    assert (ended.code, ended.outcome) == (0, "killed")
    assert f"SIG{name}" in ended.detail


def test_a_second_signal_does_not_disturb_the_cleaning(node, kill_when_ready):
    slow = "trap 'sleep 1; exit 0' QUIT; echo $$ >$MADE/ready; sleep 300 & wait"
    process = node.start(node.script(node.line(node.pack(slow)), {}))
    kill_when_ready(node, process)
    for _ in range(3):
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
    ended = node.end(process)
    assert (ended.code, ended.outcome) == (0, "killed")


def test_an_htcondor_that_does_not_leave_when_killed_is_ended_the_hard_way(dash_node, kill_when_ready):
    process = dash_node.start(dash_node.script(dash_node.line(dash_node.pack(f"trap '' QUIT TERM\n{STAY[30:]}")), {}))
    kill_when_ready(dash_node, process)
    ended = dash_node.end(process)
    assert (ended.outcome, ended.records[0]["condor_exit"]) == ("killed", 128 + signal.SIGKILL)


def test_a_kill_during_the_download_is_heard_at_once(node):
    manifest = node.pack("touch $MADE/ran")
    script = node.script(node.line(manifest, url="https://127.0.0.1:1/nobody-listens"), {})
    process = node.start(script)
    assert wait_until(lambda: any(node.scratch.iterdir()), 60)
    time.sleep(1)  # it is waiting for its second try
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    ended = node.end(process)
    assert time.monotonic() - started < 30
    assert (ended.code, ended.outcome) == (0, "killed")


def test_what_a_user_job_leaves_behind_is_ended_and_removed(node):
    leave = (
        "(setsid sleep 300 >/dev/null 2>&1 & echo $! >$MADE/orphan)\n"
        "mkdir -p $SCRATCH/execute/dir_1/locked/deep && touch $SCRATCH/execute/dir_1/locked/deep/file\n"
        "ln -s $MADE $SCRATCH/execute/link\n"
        "chmod 500 $SCRATCH/execute/dir_1/locked/deep; chmod 0 $SCRATCH/execute/dir_1/locked"
    )
    ended = node.run_master(f"{JOINED}\n{USER_JOB}\n{leave}\n{IDLE}")
    assert ended.outcome == "idle-shutdown"
    assert (node.made / "orphan").exists(), "the link was followed"


def test_nothing_of_the_batch_job_reaches_user_jobs_but_the_list(node):
    node.env.update(SECRET="x", SLURM_JOB_ID="42", LD_LIBRARY_PATH="/x", https_proxy="http://proxy:3128", HOME="/h")
    node.env.update(CUDA_VISIBLE_DEVICES="0", GLIDEPOST_SECRET="x")
    node.run_master("env >$MADE/env; cat /proc/self/status >$MADE/status; cat >$MADE/stdin")
    seen = dict(line.split("=", 1) for line in (node.made / "env").read_text().splitlines())
    assert set(seen) - {"PWD", "_", "OLDPWD", "SHLVL"} == {"CONDOR_CONFIG", "TMPDIR", "PATH", "LANG", "https_proxy"}
    assert seen["TMPDIR"].startswith(str(node.scratch))
    assert (node.made / "stdin").read_text() == ""
    ignored = next(line for line in (node.made / "status").read_text().splitlines() if line.startswith("SigIgn"))
    # (32 and 33 belong to the C library, and whoever runs the tests may have ignored them)
    assert int(ignored.split()[1], 16) & 0x7FFFFFFF == 0


def test_the_configuration_says_what_the_request_says(node):
    node.env["SLURM_JOB_ID"] = "42"
    node.run_master(
        "cp $CONDOR_CONFIG $MADE; ls -l $SCRATCH/tokens.d $SCRATCH/keys.d >$MADE/modes",
        START='Owner == "alice"',
        NETWORK_INTERFACE="10.0.0.1",
    )
    config = dict(
        line.split(" = ", 1) for line in (node.made / "condor_config").read_text().splitlines() if " = " in line
    )
    assert config["COLLECTOR_HOST"] == "127.0.0.1:9618,cm2.example.org:9618"
    assert config["CONDOR_HOST"] == "127.0.0.1"
    assert config["NO_DNS"] == "false"  # a collector has a name
    assert config["NUM_CPUS"] == "2"
    assert config["MEMORY"] == "2048"
    assert config["DISK"] == str(1024 * 1024)
    assert config["START"].startswith('(Owner == "alice") && (time() < GLIDEIN_ToRetire) && ')
    fits = "time() + (TARGET.AllowedJobDuration ?: TARGET.AllowedExecuteDuration ?: 0) <= GLIDEIN_ToDie - 30"
    assert f" && ({fits})" in (node.made / "condor_config").read_text()
    assert config["GLIDEPOST_BatchJob"] == '"42"'
    assert config["GLIDEIN_Site"] == '"North"'
    start = int(config["GLIDEPOST_Start"])
    assert int(config["GLIDEIN_ToRetire"]) == start + 3600 - 600
    assert int(config["GLIDEIN_ToDie"]) == start + 3600 - 60
    assert config["NETWORK_INTERFACE"] == "10.0.0.1"
    assert "MACHINE_RESOURCE_INVENTORY_GPUS" not in config
    assert (node.made / "modes").read_text().count("-rw------- ") == 2
    assert "HAS_CVMFS" not in (node.made / "condor_config").read_text()


def test_the_sites_rank_and_group_and_what_user_jobs_of_pyglidein_look_for_are_in_the_configuration(dash_node):
    master = "cp $CONDOR_CONFIG $MADE"
    dash_node.run_master(master, RANK="TARGET.RequestMemory / 1024.0", GROUP="icecube")
    config = (dash_node.made / "condor_config").read_text().replace("\\\n", "")
    group = 'TARGET.Affiliation =?= "icecube" || TARGET.AcctGroup =?= "icecube"'
    assert f"\nRANK = (TARGET.RequestMemory / 1024.0) + ifThenElse({group}, 1000000000, 0)\n" in config
    for line in ('GLIDEIN_SiteResource = "small"', "GLIDEIN_Max_Walltime = 3600", "PYGLIDEIN_PARROT = false"):
        assert f"\n{line}\n" in config
    assert "\nPYGLIDEIN_TIME_TO_LIVE = GLIDEIN_ToDie - time()\n" in config
    names = re.search(r"^STARTD_ATTRS = (.*)$", config, re.MULTILINE)[1]
    assert {"GLIDEIN_SiteResource", "GLIDEIN_Max_Walltime", "PYGLIDEIN_TIME_TO_LIVE"} <= set(re.split(r"[ ,]+", names))


def test_without_a_rank_all_user_jobs_are_alike(dash_node):
    dash_node.run_master("cp $CONDOR_CONFIG $MADE")
    assert "\nRANK = (0)\n" in (dash_node.made / "condor_config").read_text()


@pytest.mark.parametrize("request_", [{"RANK": "1\nSTART = false"}, {"RANK": "1 \\"}, {"GROUP": 'x" || true'}])
def test_a_rank_or_group_that_would_break_out_of_its_line_is_refused(dash_node, request_):
    ended = dash_node.run_master("touch $MADE/ran", **request_)
    assert (ended.code, ended.outcome) == (2, "bad-request")
    assert not (dash_node.made / "ran").exists()


@pytest.mark.parametrize(
    ("env", "batch_job"),
    [
        ({"SLURM_JOB_ID": "12"}, "12"),
        ({"SLURM_JOB_ID": "14", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3"}, "12_3"),
        ({"PBS_JOBID": "12[3].server", "PBS_ARRAY_INDEX": "3"}, "12[3].server"),
        ({"LSB_JOBID": "12", "LSB_JOBINDEX": "0"}, "12"),
        ({"LSB_JOBID": "12", "LSB_JOBINDEX": "3"}, "12[3]"),
        ({"JOB_ID": "12", "SGE_TASK_ID": "undefined"}, "12"),
        ({"JOB_ID": "12", "SGE_TASK_ID": "3"}, "12.3"),
        ({"PBS_JOBID": '1"2\\3'}, '1"2\\3'),
        ({"GLIDEPOST_BATCH_JOB": "1790000000-7.1", "SLURM_JOB_ID": "12"}, "1790000000-7.1"),
    ],
)
def test_the_batch_job_is_named_as_its_batch_system_does(dash_node, env, batch_job):
    dash_node.env.update(env)
    ended = dash_node.run_master("exit 0")
    assert ended.records[0]["batch_job"] == batch_job
    assert ended.records[0]["glidein"].startswith("gp-north-1-")


def test_two_glideins_of_one_batch_job_have_different_names(dash_node):
    dash_node.env["SLURM_JOB_ID"] = "12"
    dash_node.run_master("exit 0")
    ended = dash_node.run_master("exit 0")
    assert len({record["glidein"] for record in ended.records}) == 2
    assert {record["batch_job"] for record in ended.records} == {"12"}


def test_the_scratch_folder_says_whose_it_is_and_until_when(node):
    node.env["SLURM_JOB_ID"] = "12"
    before = int(time.time())
    ended = node.run_master("cp -p $SCRATCH/.lease $MADE/lease; cat /proc/$PPID/stat >$MADE/stat")
    lease = dict(line.split("=", 1) for line in (node.made / "lease").read_text().splitlines())
    pid, _, rest = (node.made / "stat").read_text().partition(" ")
    assert (node.made / "lease").stat().st_mode & 0o777 == 0o600
    assert before + 3600 <= int(lease.pop("deadline")) <= time.time() + 3600
    assert lease == {
        "kind": "lease/1",
        "glidein": ended.records[0]["glidein"],
        "name": "gp-north-1",
        "batch_job": "12",
        "host": ended.records[0]["host"],
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "pid_namespace": str(Path("/proc/self/ns/pid").readlink()),
        "pid": pid,
        "start": rest.rpartition(") ")[2].split()[19],
    }


def test_the_lease_is_there_before_the_folder_has_its_name_and_until_it_is_empty(node):
    """A kill without warning at any moment leaves nothing of that name that nobody knows the owner of."""
    said = node.call(
        'mv() { ls -A "$2"; command mv "$@"; }; rm() { command rm "$@"; echo "$(ls -A "${scratch}" 2>&1)"; }\n'
        "GLIDEPOST_NAME=gp-1 walltime_s=60 started=1; name_glidein\n"
        f'make_scratch_in /nowhere {node.scratch}; mkdir "${{scratch}}/execute"\n'
        'ls -A "${scratch}"; remove_scratch'
    )
    assert said.splitlines()[:4] == [".lease", ".lease", "execute", ".lease"]
    assert "No such file" in said.splitlines()[4]


def test_a_folder_that_holds_no_lease_is_not_used(node):
    full = "printf() { false; }; "  # as a full disk would do
    said = node.call(
        f"name_glidein; GLIDEPOST_NAME=gp-1 walltime_s=60 started=1; {full}"
        f'make_scratch_in {node.scratch} || echo "none<${{scratch}}>"'
    )
    assert said.strip() == "none<>"
    assert list(node.scratch.iterdir()) == []
