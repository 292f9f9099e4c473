"""Real glideins in a real pool: the bootstrap script, run as by a batch system, with a tarball of the real HTCondor."""

from __future__ import annotations

import http.server
import re
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import pytest
from glideins import GLIDEIN, Built, Site

from glidepost.glidein import build as builder
from glidepost.infra.demo.testbed import Condor, wait_until


def test_a_build_holds_the_execution_side_and_is_reproducible(condor: Condor, built: Built, tmp_path: Path) -> None:
    again = builder.build(condor.release, tmp_path / "again.tar.gz")
    assert (tmp_path / "again.tar.gz").read_bytes() == built.path.read_bytes()
    assert again == built.manifest
    names = {file.path for file in again.files}
    assert set(builder.REQUIRED) <= names
    assert any(re.match(r"lib/.*libcondor_utils", name) for name in names)
    assert not any("shadow" in name or "schedd" in name for name in names)
    assert again.size_bytes < 16_000_000


def test_a_release_that_is_still_packed_gives_the_same_tarball(condor: Condor, built: Built, tmp_path: Path) -> None:
    if condor.release in builder.SYSTEM_PREFIXES:  # no release has this layout, so make one of what was built
        with tarfile.open(built.path) as tar:
            tar.extractall(tmp_path / "release")
    else:
        (tmp_path / "release").mkdir()
        (tmp_path / "release" / "condor-x86_64").symlink_to(condor.release)
    with tarfile.open(tmp_path / "release.tar.gz", "w:gz", compresslevel=1) as tar:
        (top,) = (tmp_path / "release").iterdir()
        tar.add(top.resolve(), "condor-x86_64")
    again = builder.build(tmp_path / "release.tar.gz", tmp_path / "again.tar.gz")
    assert again == built.manifest


def test_user_jobs_run_and_the_glidein_leaves_by_itself(site: Site) -> None:
    go = site.folder / "jobs" / "go"
    cluster = site.submit(f"env; until [ -e {go} ]; do sleep 0.2; done", 2)
    time.sleep(1)
    assert site.states(cluster) == [1, 1]
    started = time.monotonic()
    process = site.start()
    assert wait_until(lambda: bool(site.slots()), 60)
    slot_s = time.monotonic() - started
    site.wait_for_running(cluster, 2)
    running_s = time.monotonic() - started
    slot = next(slot for slot in site.slots() if slot["SlotType"] == "Partitionable")
    assert slot["GLIDEPOST_Shape"] == "small"
    assert slot["GLIDEIN_Site"] == "North"
    assert slot["GLIDEPOST_BatchJob"] == str(process.pid)
    assert slot["GLIDEIN_ToDie"] == slot["GLIDEPOST_Start"] + 600 - 60
    assert slot["TotalSlotCpus"] == 2
    assert slot["TotalSlotMemory"] == 1024
    go.touch()
    assert wait_until(lambda: not site.states(cluster), 60)
    done = time.monotonic()
    record = site.end(process)
    left_s = time.monotonic() - done
    # (shown by pytest -rP)
    sys.stdout.write(f"slot {slot_s:.1f} s and running {running_s:.1f} s after the start, left after {left_s:.1f} s\n")
    assert (record["code"], record["outcome"], record["condor_exit"]) == (0, "idle-shutdown", 0)
    assert "2 user jobs started" in record["detail"]
    assert wait_until(lambda: site.slots() == [], 60)
    environment = (site.folder / "jobs" / "out.0").read_text()
    assert "_CONDOR_SCRATCH_DIR=" in environment
    assert "SECRET_OF_BATCH_JOB" not in environment
    assert "GLIDEPOST_" not in environment


def test_user_jobs_that_come_later_are_taken_too(site: Site) -> None:
    process = site.start()
    for _ in range(2):
        assert wait_until(lambda: bool(site.slots()), 60)
        cluster = site.submit("sleep 1")
        assert wait_until(lambda: not site.states(cluster), 60)  # noqa: B023 - asked at once
    assert site.end(process)["outcome"] == "idle-shutdown"


def test_a_user_job_that_ends_in_the_last_minutes_is_not_disturbed(site: Site) -> None:
    cluster = site.submit("sleep 31")
    # (so it starts in the first 30 s, and ends after them)
    process = site.start(WALLTIME_S="110", RETIRE_S="80", IDLE_S="60")
    assert wait_until(lambda: not site.states(cluster), 60)
    record = site.end(process)
    assert record["outcome"] == "deadline"
    log = (site.folder / "jobs" / "log").read_text()
    assert "evicted" not in log
    assert "Job terminated" in log


def test_no_user_job_starts_in_the_retirement_time(site: Site) -> None:
    process = site.start(WALLTIME_S="60", RETIRE_S="58", IDLE_S="30", UPDATE_S="10")
    time.sleep(3)
    cluster = site.submit("sleep 1")
    record = site.end(process)
    assert record["outcome"] == "deadline"
    assert site.states(cluster) == [1]


def damaged(token: str) -> str:
    head, _, signature = token.rpartition(".")
    return f"{head}.{'A' * len(signature)}"


@pytest.mark.parametrize("kind", ["forged", "read only", "somebody else's"])
def test_a_glidein_whose_token_the_pool_refuses_says_so(site: Site, kind: str) -> None:
    site.put_token(
        {
            "forged": damaged(site.token.read_text().strip()),
            "read only": site.pool.token(f"glidein-{site.name}", 600, ["READ"]),
            "somebody else's": site.pool.token("alice", 600, GLIDEIN),
        }[kind]
    )
    record = site.end(site.start())
    assert (record["code"], record["outcome"], record["condor_exit"]) == (1, "never-joined", 0)
    assert "ERROR" in record["detail"]
    assert "the end of StartLog" in record["output"]
    assert site.slots() == []


def test_a_glidein_that_cannot_find_the_pool_says_so(site: Site) -> None:
    record = site.end(site.start(COLLECTORS="nowhere.invalid:9618"))
    assert (record["code"], record["outcome"]) == (1, "never-joined")


def test_a_collector_may_have_a_name(site: Site) -> None:
    cluster = site.submit("true")
    record = site.end(site.start(COLLECTORS=site.pool.collector.replace("127.0.0.1", "localhost")))
    assert record["outcome"] == "idle-shutdown"
    assert site.states(cluster) == []


def test_a_glidein_that_no_user_job_needs_says_so(site: Site) -> None:
    record = site.end(site.start())
    assert (record["code"], record["outcome"]) == (0, "never-claimed")


def test_gpus_are_shared_out_one_by_one(site: Site) -> None:
    go = site.folder / "jobs" / "go"
    cluster = site.submit(f"env; until [ -e {go} ]; do sleep 0.2; done", 2, "request_gpus = 1\n")
    process = site.start(GPUS="2", GPU_DISCOVERY="-simulate:4,2")
    site.wait_for_running(cluster, 2)
    go.touch()
    record = site.end(process)
    assert record["outcome"] == "idle-shutdown"
    seen: list[Optional[str]] = []
    for number in (0, 1):
        lines = (site.folder / "jobs" / f"out.{number}").read_text().splitlines()
        seen += [line.partition("=")[2] for line in lines if line.startswith("CUDA_VISIBLE_DEVICES=")]
    assert len(set(seen)) == 2
    assert all(value and value.startswith("GPU-") for value in seen)


# One of each that a shell, HTCondor's configuration or its syntax for environments would take for something else.
HOSTILE = """it's "b"  $(LOG) $HOME `id` \\ 100% #x; a=b é """
# What HTCondor itself tells a user job, and what comes with its account.
OF_HTCONDOR = r"_CONDOR_\w+|_CHIRP_\w+|CONDOR_\w+|BATCH_SYSTEM|\w+_(NUM_THREADS|MAX_THREADS|CPU_COUNT|THREAD_LIMIT)"
OF_HTCONDOR += r"|CUBACORES|GOMAXPROCS|TF_\w+|(CUDA|NVIDIA)_VISIBLE_DEVICES|GPU_DEVICE_ORDINAL|\w+_CACHEDIR"
OF_HTCONDOR += r"|TMPDIR|TMP|TEMP|HOME|PWD|OLDPWD|SHLVL|_"


class Proxy(http.server.BaseHTTPRequestHandler):
    """Answers for any host."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"data\n")

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def proxy() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_user_jobs_see_what_the_site_names_and_no_more(site: Site, proxy: str) -> None:
    site.env.update(KEPT=HOSTILE, LD_LIBRARY_PATH="/opt/lib", LINES="a\nb", MINE="the node's", no_proxy="x.example")
    extra = 'environment = "MINE=my-own"\ntransfer_input_files = http://data.example.org/input\n'
    cluster = site.submit("env; cat input", extra=extra)
    process = site.start(
        SETUP="export PATH=/opt/bin:$PATH",
        KEEP="KEPT LD_LIBRARY_PATH PATH MINE LINES NOTHING",
        ENVIRONMENT="WHERE=$KEPT/x\nLOST=$NOTHING/x\nEMPTY=\nKEPT2=twice\nKEPT2=$MINE",
        PROXY=proxy,
    )
    record = site.end(process)
    assert site.states(cluster) == [], record["output"]
    *lines, data = (site.folder / "jobs" / "out.0").read_text().splitlines()
    seen = dict(line.split("=", 1) for line in lines)
    own = {name: value for name, value in seen.items() if not re.fullmatch(OF_HTCONDOR, name)}
    assert own.pop("PATH").startswith("/opt/bin:/")
    assert own == {
        "KEPT": HOSTILE,
        "KEPT2": "the node's",
        "LD_LIBRARY_PATH": "/opt/lib",
        "MINE": "my-own",
        "WHERE": f"{HOSTILE}/x",
        "EMPTY": "",
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), proxy),
    }
    assert data == "data", "input files come through the proxy too"


def test_what_a_check_has_found_out_brings_user_jobs(site: Site) -> None:
    cluster = site.submit(
        "true", extra='requirements = HAS_OPENCL && HAS_RACK == "$(LOG) 3"\n'.replace("$(", "$(DOLLAR)(")
    )
    check = (
        "echo 'HAS_OPENCL = true'; echo 'HAS_RACK = \"$(LOG) 3\"'; echo HAS_RACK = 2; echo 'HAS_RACK = \"$(LOG) 3\"'"
    )
    process = site.start(CHECKS="opencl", CHECK_1=check, IDLE_S="60")
    assert wait_until(lambda: not site.states(cluster), 60)
    slot = next(slot for slot in site.slots() if slot["SlotType"] == "Partitionable")
    assert slot["HAS_OPENCL"] is True
    process.terminate()
    assert site.end(process)["outcome"] == "killed"
