"""What the record of a glidein says of its use, and how the drain file ends it."""

from __future__ import annotations

import json
import time

from glidepost.infra.demo.testbed import wait_until
from glidepost.site_puller import outcomes

JOINED = "echo '01/01/26 00:00:00 CCBListener: registered with CCB server x' >>$SCRATCH/log/StartLog"
CLAIM = "echo $(date '+%m/%d/%y %H:%M:%S') slot1_1: Got activate_claim request from shadow >>$SCRATCH/log/StartLog"


def job(cpus: int, duration: object) -> str:
    """Returns a line of sh that writes what a startd does when a user job has ended."""
    ad = f'Args = "CpusProvisioned = 900"\\nCpusProvisioned = {cpus}\\nJobDuration = {duration}\\n*** Offset = 0\\n'
    return f"printf '{ad}' >>$SCRATCH/history"


def test_seconds_of_user_jobs_are_counted_with_their_cores(node):
    jobs = [job(2, 1000.25), job(1, 3), job(1, "0.968892"), job(1, "1.5E-05"), job(1, "abc"), job(3, "2.008")]
    ended = node.run_master("\n".join([JOINED, CLAIM, *jobs, "exit 0"]), CPUS="8")
    (record,) = ended.records
    assert record["busy_core_s"] == round(2000.5 + 3 + 0.969 + 6.024)
    assert record["idle_core_s"] == 0
    assert (record["user_jobs"], record["cpus"]) == (1, 8)
    assert record["condor_version"] == "25.0.1"


def test_histories_that_htcondor_has_put_aside_count_too(node):
    ended = node.run_master(f"{job(1, 7)}; mv $SCRATCH/history $SCRATCH/history.20261122T101112; {job(1, 4)}")
    assert ended.records[0]["busy_core_s"] == 11


def test_idle_seconds_are_those_of_all_cores(node):
    ended = node.run_master("sleep 2", CPUS="4")
    (record,) = ended.records
    assert record["busy_core_s"] == 0
    assert record["idle_core_s"] >= 8
    assert record["idle_core_s"] % 4 == 0


def test_times_are_in_their_order_whatever_the_batch_jobs_time_zone(node):
    node.env["TZ"] = "Pacific/Auckland"
    ended = node.run_master(f"unset TZ; {JOINED}; {CLAIM}; exit 0")
    (record,) = ended.records
    times = [record[key] for key in ("started_at", "startd_at", "claimed_at", "ended_at")]
    assert times == sorted(times)
    assert all(len(moment) == len("2026-11-22T16:28:05Z") for moment in times)


def test_a_glidein_that_did_not_come_to_htcondor_says_so(node):
    node.token.write_text("")
    ended = node.run_master("exit 0")
    (record,) = ended.records
    for key in ("startd_at", "claimed_at", "user_jobs", "busy_core_s", "idle_core_s"):
        assert record[key] is None
    assert record["condor_version"] == ""


def test_checks_are_told_by_name(node):
    said = node.call("checks_done='a=ok\nb-c=failed\n'; describe_use")
    assert json.loads(f'{{"x":0,{said.strip()}')["checks"] == {"a": "ok", "b-c": "failed"}
    assert json.loads(f'{{"x":0,{node.call("describe_use").strip()}')["checks"] == {}


def test_the_puller_reads_what_the_bootstrap_wrote(node, tmp_path):
    node.run_master("\n".join([JOINED, CLAIM, job(2, 7), "sleep 1; exit 0"]))
    (record,) = outcomes.read(node.folder / "outcomes", tmp_path / "reports.json").since(0)
    assert (record.outcome, record.user_jobs, record.busy_core_s) == ("killed", 1, 14)
    assert record.idle_core_s is not None
    assert record.condor_version == "25.0.1"
    assert record.claimed_at is not None
    assert record.started_at <= record.startd_at <= record.ended_at


# The drain file


def test_a_drain_file_lets_htcondor_end_its_user_jobs(node):
    master = f"{JOINED}\ntrap 'echo TERM >$MADE/got; sleep 1; exit 0' TERM\ntouch $MADE/ready; sleep 300 & wait"
    request = {"DRAIN_FILE": "$PLACE/drain", "UPDATE_S": "1"}
    node.env["PLACE"] = str(node.made)
    process = node.start(node.script(node.line(node.pack(master)), request))
    assert wait_until((node.made / "ready").exists, 60)
    (node.made / "drain").touch()
    ended = node.end(process)
    assert (ended.code, ended.outcome) == (0, "drained")
    assert (node.made / "got").read_text() == "TERM\n"
    assert f"{node.made}/drain is there" in ended.output


def test_on_a_node_that_is_drained_already_nothing_is_started_and_the_queue_is_not_eaten_up(node):
    (node.made / "drain").touch()
    began = time.monotonic()
    ended = node.run_master("touch $MADE/ran", DRAIN_FILE=f"{node.made}/drain", FAIL_PAUSE_S="2")
    assert time.monotonic() - began >= 2
    assert (ended.code, ended.outcome) == (0, "drained")
    assert not (node.made / "ran").exists()


def test_a_kill_while_it_drains_is_a_fast_end(node):
    stay = "while :; do sleep 300 & wait $!; done"
    master = f"{JOINED}\ntrap : TERM\ntrap 'kill $!; exit 0' QUIT\ntouch $MADE/ready\n{stay}"
    request = {"DRAIN_FILE": f"{node.made}/drain", "UPDATE_S": "1"}
    process = node.start(node.script(node.line(node.pack(master)), request))
    assert wait_until((node.made / "ready").exists, 60)
    (node.made / "drain").touch()
    assert wait_until((node.scratch / next(node.scratch.iterdir()).name / "drain").exists, 60)
    process.terminate()
    ended = node.end(process)
    assert (ended.code, ended.outcome, ended.records[0]["condor_exit"]) == (0, "killed", 0)


def test_a_drain_file_with_a_variable_that_is_not_set_is_passed_over(node):
    ended = node.run_master("exit 0", DRAIN_FILE="$NOWHERE/drain")
    assert "the drain file $NOWHERE/drain has a variable that is not set here" in ended.output
    assert ended.outcome != "drained"
