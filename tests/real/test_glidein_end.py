"""How real glideins end, and what they leave: nothing but the record, and the logs where the site wants them."""

from __future__ import annotations

import os
import signal
import tarfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from glideins import Site

from glidepost.infra.demo.testbed import Store, wait_until

NAME = "gp-1a2b3-abcde"  # as site_puller gives them; others have no leases


def logs_of(site: Site) -> dict[str, str]:
    """Returns the texts in the one file of logs, by name, and removes it; it belongs to its owner alone."""
    (file,) = (site.folder / "logs").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    with tarfile.open(file) as tar:
        names = [member.name for member in tar if member.isfile()]
        assert {name.split("/")[0] for name in names} == {file.name.removesuffix(".tar.gz")}
        found = {name.split("/")[-1]: tar.extractfile(name).read().decode() for name in names}  # type: ignore[union-attr]
    file.unlink()
    return found


# Kills


def test_what_a_kill_without_warning_leaves_the_next_glidein_removes(site: Site) -> None:
    started = site.folder / "jobs" / "started"
    # (the neighbour runs it again: HTCondor, which lives on, is told to give it back)
    site.submit(f"if test -e {started}; then exit; fi; touch {started}; sleep 300")
    killed = site.start(NAME=NAME)
    site.wait_for_start(started)
    (scratch,) = (site.folder / "scratch").iterdir()
    # The shell of the glidein alone: HTCondor and the user job do not notice.
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    left = site.processes(killed)
    assert len(left) > 3
    neighbour = site.start(NAME=NAME)
    assert wait_until(lambda: not scratch.exists(), 60)
    assert wait_until(lambda: not set(site.processes(killed)) & set(left), 60)
    record = site.end(neighbour)
    assert "removing what a dead glidein left" in record["output"]
    killed.communicate()


def test_after_a_kill_of_all_processes_the_next_glidein_leaves_nothing(site: Site) -> None:
    started = site.folder / "jobs" / "started"
    site.submit(f"touch {started}; sleep 300")
    killed = site.start(NAME=NAME)
    site.wait_for_start(started)
    site.kill_all(killed)
    assert len(list((site.folder / "scratch").iterdir())) == 1
    record = site.end(site.start(NAME=NAME))
    assert "is gone" in record["output"]


def test_neighbours_that_live_are_left_alone(site: Site) -> None:
    first = site.start(NAME=NAME, IDLE_S="30")
    assert wait_until(lambda: len(site.slots()) == 1, 60)
    second = site.start(NAME=NAME, IDLE_S="30")
    assert wait_until(lambda: len(site.slots()) == 2, 60)
    assert len(list((site.folder / "scratch").iterdir())) == 2
    for process in (first, second):
        process.send_signal(signal.SIGTERM)
    outputs = [process.communicate(timeout=120)[0] for process in (first, second)]
    assert not any("removing" in output for output in outputs)


# Lifetime


def test_a_user_job_that_cannot_end_is_not_started_and_a_short_one_is(site: Site) -> None:
    long = site.submit("sleep 1", extra="allowed_job_duration = 570\n")
    longer = site.submit("sleep 1", extra="allowed_execute_duration = 570\n")
    short = site.submit("sleep 1", extra="allowed_execute_duration = 60\n")
    process = site.start()  # 600 s, of which 90 are for leaving
    assert wait_until(lambda: site.states(short) == [], 60)
    record = site.end(process)
    assert record["outcome"] == "idle-shutdown"
    assert record["user_jobs"] == 1
    assert (site.states(long), site.states(longer)) == ([1], [1])


def test_while_the_drain_file_is_there_user_jobs_end_and_none_starts(site: Site) -> None:
    drain, go = (site.folder / "jobs" / name for name in ("drain", "go"))
    first = site.submit(f"until [ -e {go} ]; do sleep 0.2; done")
    process = site.start(DRAIN_FILE="$MINE/jobs/drain", IDLE_S="300")
    site.wait_for_running(first)
    drain.touch()
    (log,) = (site.folder / "scratch").glob("*/log/StartLog")
    assert wait_until(lambda: "Got SIGTERM" in log.read_text(), 60), "the startd does not hear of it"
    second = site.submit("sleep 1")
    time.sleep(6)  # more than one negotiation
    go.touch()
    assert wait_until(lambda: site.states(first) == [], 60)
    record = site.end(process)
    assert (record["code"], record["outcome"]) == (0, "drained"), record["output"]
    # (the schedd may have taken it for running, until it asked for its start)
    assert wait_until(lambda: site.states(second) == [1], 60)
    log = (site.folder / "jobs" / "log").read_text()
    assert "evicted" not in log
    assert log.count("Job executing") == 1


@pytest.fixture
def site(site: Site) -> Site:
    site.env["MINE"] = str(site.folder)
    return site


# Outcome and logs


def test_the_record_says_what_the_glidein_was_used_for(site: Site) -> None:
    cluster = site.submit("sleep 3", 2, "request_cpus = 1\n")
    process = site.start()
    assert wait_until(lambda: site.states(cluster) == [], 60)
    record = site.end(process)
    assert record["user_jobs"] == 2
    began, ended = (datetime.fromisoformat(record[name].rstrip("Z")) for name in ("startd_at", "ended_at"))
    core_s = 2 * (ended - began).total_seconds()
    assert 6 <= record["busy_core_s"] < core_s
    assert core_s - 2 * 10 < record["busy_core_s"] + record["idle_core_s"] <= core_s
    assert record["started_at"] <= record["startd_at"] <= record["claimed_at"] <= record["ended_at"]
    assert record["condor_version"] == site.built.manifest.condor_version


def test_the_logs_of_a_failed_glidein_are_kept_and_hold_no_token(site: Site) -> None:
    folder = site.folder / "logs"
    record = site.end(site.start(NAME=NAME, COLLECTORS="127.0.0.1:1", LOGS="failed", LOGS_FOLDER=str(folder)))
    assert record["outcome"] == "never-joined"
    assert [file.name for file in folder.iterdir()] == [f"{record['glidein']}.tar.gz"]
    texts = logs_of(site)
    assert {"MasterLog", "StartLog"} <= set(texts)
    token = site.token.read_text().strip()
    assert not any(part in text for text in texts.values() for part in (token, token.rpartition(".")[2]))


def test_condor_history_leads_from_a_user_job_to_the_logs_of_its_glidein(site: Site) -> None:
    cluster = site.submit("sleep 5; exit 3", extra="job_machine_attrs = GLIDEPOST_Logs\n")
    process = site.start(LOGS="always", LOGS_FOLDER="$MINE/logs", LOGS_EVERY_S="1")
    assert wait_until(lambda: (site.folder / "logs").is_dir() and site.states(cluster) == [2], 60)
    assert wait_until(lambda: any("StarterLog.slot1_1" in name for name in running_logs(site)), 60)
    assert wait_until(lambda: site.states(cluster) == [], 60)
    record = site.end(process)
    asked = ["condor_history", str(cluster), "-limit", "1", "-af", "LastRemoteHost", "MachineAttrGLIDEPOST_Logs0"]
    host, path = site.pool.run(asked).split()
    assert host.split("@")[1] == record["glidein"]
    assert path == f"{site.folder}/logs/{record['glidein']}.tar.gz"
    assert Path(path).exists()
    texts = logs_of(site)
    assert "status=3" in texts["StarterLog.slot1_1"]
    assert "history" not in texts


def running_logs(site: Site) -> list[str]:
    """Returns the names in the file that is kept while a glidein runs; it is always whole."""
    names = []
    for file in (site.folder / "logs").glob("*.tar.gz"):
        with tarfile.open(file) as tar:
            names += tar.getnames()
    return names


def test_logs_are_uploaded_with_the_form_to_where_the_ad_says(site: Site, store: Store) -> None:
    post: dict[str, Any] = store.client().generate_presigned_post(
        store.bucket,
        "v1/sites/logs/${filename}",
        Fields={"Content-Type": "application/gzip"},
        Conditions=[
            {"Content-Type": "application/gzip"},
            ["starts-with", "$key", "v1/sites/logs/"],
            ["content-length-range", 2, 10_000_000],
        ],
        ExpiresIn=600,
    )
    url = f"{store.public_url}/v1/sites/logs/${{filename}}"
    form = site.folder / "form"
    fields = {"url": post["url"], "get": url, **post["fields"]}
    form.write_text("".join(f"{name}={value}\n" for name, value in fields.items()))
    site.pool.account.give(form, 0o600)
    process = site.start(LOGS="always", LOGS_FOLDER="", LOG_FORM="$MINE/form")
    assert wait_until(lambda: bool(site.slots()), 60)
    slot = site.slots()[0]
    record = site.end(process)
    name = f"{record['glidein']}.tar.gz"
    assert slot["GLIDEPOST_LogsUrl"] == slot["PRESIGNED_GET_URL"] == url.replace("${filename}", name)
    body = requests.get(slot["PRESIGNED_GET_URL"], timeout=60).content
    assert body[:2] == b"\x1f\x8b"
    assert "not kept" not in record["output"]
    assert post["fields"]["policy"] not in record["output"]
