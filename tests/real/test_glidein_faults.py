"""What may happen to a glidein, on real daemons: it says how it ended, leaves nothing, and costs nobody a user job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from glideins import GLIDEIN, Built, Site, open_site
from namespaces import WAIT, Host, held

from glidepost.infra.demo.testbed import Account, Pool, Slurm, wait_until

# An access point waits so long for a user job whose node says nothing any more; by default 40 minutes.
LEASE = "job_lease_duration = 20\n"
# A mount that never answers: a file system of which nobody serves what the kernel asks.
HUNG = """
import ctypes, os, sys
try:
    fuse = os.open("/dev/fuse", os.O_RDWR)
except OSError as error:
    sys.exit(str(error))
options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"hung", os.fsencode(sys.argv[1]), b"fuse", 0, options) != 0:
    sys.exit("mount: " + os.strerror(ctypes.get_errno()))
print("held", flush=True)
sys.stdin.read()
"""


def once(site: Site) -> tuple[str, Path]:
    """Returns a user job that takes long, but not the second time, and the file that is there once it has started."""
    started = site.folder / "jobs" / "started"
    return f"if test -e {started}; then echo again; exit; fi; touch {started}; sleep 300", started


def submit_once(site: Site, extra: str = "") -> tuple[int, Path]:
    shell, started = once(site)
    return site.submit(shell, extra=extra), started


def ran_again(site: Site) -> bool:
    return (site.folder / "jobs" / "out.0").read_text() == "again\n"


def test_a_kill_gives_the_user_job_back_within_seconds(site: Site) -> None:
    cluster, started = submit_once(site)
    process = site.start()
    site.wait_for_start(started)
    process.send_signal(signal.SIGTERM)
    record = site.end(process)
    assert wait_until(lambda: site.states(cluster) == [1], 60)
    assert (record["code"], record["outcome"], record["condor_exit"]) == (0, "killed", 0)
    site.run_again(cluster)
    assert ran_again(site)


def test_a_user_job_that_dies_of_what_ends_the_batch_job_runs_again(site: Site) -> None:
    # Batch systems send TERM to all processes at once: here the user job is dead before HTCondor knows anything.
    shell, _ = once(site)
    (site.folder / "jobs" / "dies").write_text(f"kill -s TERM $(cat {site.folder}/pid); exit 143")
    cluster = site.submit(shell.replace("sleep 300", f". {site.folder}/jobs/dies"))
    process = site.start()
    (site.folder / "pid").write_text(str(process.pid))
    record = site.end(process)
    assert record["outcome"] == "killed", record["output"]
    assert wait_until(lambda: site.states(cluster) == [1], 60), site.states(cluster)
    site.run_again(cluster)
    assert ran_again(site)


@pytest.fixture
def two_sites(pool: Pool, built: Built, account_folder: Path, account: Account) -> Iterator[tuple[Site, Site]]:
    folders = [account.make_folder(account_folder / name) for name in ("alone", "group")]
    with open_site(pool, built, folders[0], "alone") as alone, open_site(pool, built, folders[1], "group") as group:
        yield alone, group


def test_what_a_kill_without_warning_leaves_goes_with_the_next_glidein(two_sites: tuple[Site, Site]) -> None:
    # (the first one's user job has the lease of 40 minutes that HTCondor gives: its glidein's HTCondor still lives)
    submitted = [submit_once(two_sites[0]), submit_once(two_sites[1], LEASE)]
    killed = [site.start() for site in two_sites]
    for site, (_, started) in zip(two_sites, submitted):
        site.wait_for_start(started)
    left = [list((site.folder / "scratch").iterdir()) for site in two_sites]
    # The shell alone, as an impatient person does it, and all of it at once, as batch systems do.
    killed[0].kill()
    os.killpg(killed[1].pid, signal.SIGKILL)
    following = [site.start(IDLE_S="120") for site in two_sites]
    for site, ended, folders in zip(two_sites, killed, left):
        ended.communicate(timeout=120)
        (folder,) = folders
        assert wait_until(lambda: not folder.exists(), 60)  # noqa: B023 - asked at once
        # (a shell ends when its sleep was ended)
        assert wait_until(lambda: not set(site.processes(ended)) - set(site.processes()), 60)  # noqa: B023
    for site, (cluster, _), process in zip(two_sites, submitted, following):
        assert wait_until(lambda: site.states(cluster) == [], 90), site.states(cluster)  # noqa: B023
        process.terminate()
        assert site.end(process)["outcome"] == "killed"
        assert ran_again(site)


def test_the_slots_of_a_glidein_that_was_killed_without_warning_leave_the_pool(site: Site) -> None:
    process = site.start()
    assert wait_until(lambda: len(site.slots()) == 1, 60)
    site.kill_all(process)
    assert len(site.slots()) == 1
    # (ten updates without a word; by default the collector forgets nothing for a quarter of an hour)
    assert wait_until(lambda: site.slots() == [], 120)
    site.end(site.start())


def submit_glidein(site: Site, slurm: Slurm) -> str:
    """Returns the batch job's number. Its limit is a minute, though ten are what the glidein was asked for.

    (Its user job is evicted some seconds before the end, and in these it must not leave for having nothing to do.)
    """
    output = site.folder / "jobs" / "slurm.out"
    argv = ["sbatch", "--parsable", f"--output={output}", "--job-name=gp-fault", "--time=1", "--chdir=/"]
    return slurm.run(argv, stdin=site.script(IDLE_S="60")).strip()


def test_a_batch_job_that_slurm_ends_gives_its_user_job_back(two_sites: tuple[Site, Site], slurm: Slurm) -> None:
    submitted = [submit_once(site, LEASE) for site in two_sites]
    batch_jobs = [submit_glidein(site, slurm) for site in two_sites]
    for site, (_, started) in zip(two_sites, submitted):
        site.wait_for_start(started)
    slurm.run(["scancel", batch_jobs[0]])  # the other one comes to its limit
    for site, batch_job, (cluster, _), outcome in zip(two_sites, batch_jobs, submitted, ("killed", "deadline")):
        alive = ["squeue", "--noheader", f"--jobs={batch_job}", "--states=running,completing"]
        assert wait_until(lambda: slurm.run(alive) == "", 90, step_s=0.5)  # noqa: B023 - asked at once
        (record,) = (site.folder / "outcomes").glob("*.json")
        assert json.loads(record.read_text())["outcome"] == outcome
        assert wait_until(lambda: site.states(cluster) == [1], 60), site.states(cluster)  # noqa: B023
        assert list((site.folder / "scratch").iterdir()) == []
        assert wait_until(lambda: not site.processes(), 5), site.processes()  # noqa: B023
        site.run_again(cluster)
        assert ran_again(site)


def check_nothing_lost(site: Site, record: dict[str, object], cluster: int, outcome: str) -> None:
    """The glidein ended so, in vain: its user job waits, and runs in the next one."""
    assert record["outcome"] == outcome, record["output"]
    assert record["code"] == 1
    assert site.slots() == []
    assert site.states(cluster) == [1]
    site.run_again(cluster)


def test_an_expired_token_costs_no_user_job(site: Site) -> None:
    cluster = site.submit("true")
    good = site.token.read_text().strip()
    site.put_token(site.pool.token(f"glidein-{site.name}", 1, GLIDEIN))
    time.sleep(2)
    record = site.end(site.start())
    assert "ERROR" in record["detail"]
    site.put_token(good)
    check_nothing_lost(site, record, cluster, "never-joined")


def test_a_dead_collector_costs_no_user_job(site: Site) -> None:
    cluster = site.submit("true")
    check_nothing_lost(site, site.end(site.start(COLLECTORS="127.0.0.1:1")), cluster, "never-joined")


def test_of_a_corrupted_tarball_nothing_runs(site: Site) -> None:
    cluster = site.submit("true")
    wrong = site.folder / "wrong.tar.gz"
    content = bytearray(site.built.path.read_bytes())
    content[len(content) // 2] ^= 1
    wrong.write_bytes(content)
    wrong.chmod(0o644)
    tarballs = site.request()["TARBALLS"].replace(str(site.built.path), str(wrong))
    record = site.end(site.start(TARBALLS=tarballs))
    assert "starting HTCondor" not in record["output"]
    check_nothing_lost(site, record, cluster, "tarball-untrusted")


def test_a_node_without_the_variable_that_the_scratch_names_says_so(site: Site) -> None:
    cluster = site.submit("true")
    record = site.end(site.start(SCRATCH="$NODE_SCRATCH"))
    assert "$NODE_SCRATCH" in record["detail"]
    check_nothing_lost(site, record, cluster, "no-scratch")


@pytest.fixture
def small_disk(account: Account, account_folder: Path) -> Iterator[tuple[Host, Path]]:
    """A host that has 24 MiB in one folder."""
    folder = account.make_folder(account_folder / "small")
    mount = f"mount -t tmpfs -o size=24m,mode=777 small {folder} && {WAIT}"
    with held("a small disk", "mount", account, ("sh", "-c", mount)) as host:
        yield host, folder


def test_a_full_scratch_costs_no_user_job(site: Site, small_disk: tuple[Host, Path]) -> None:
    host, folder = small_disk
    cluster = site.submit("true")
    normal, site.prefix = site.prefix, host.account.prefix
    record = site.end(site.start(SCRATCH=str(folder), FAIL_PAUSE_S="1"))
    assert host.run("ls", "-A", str(folder)) == ""
    site.prefix = normal
    check_nothing_lost(site, record, cluster, "no-scratch")


@pytest.fixture
def hung_cvmfs(account: Account, account_folder: Path) -> Iterator[tuple[Host, Path]]:
    """A host with a CVMFS repository that never answers."""
    folder = account.make_folder(account_folder / "cvmfs" / "hung.example.org")
    with held("a hung mount", "mount", account, (sys.executable, "-c", HUNG, str(folder))) as host:
        yield host, folder


def test_a_hung_cvmfs_holds_up_no_user_job(site: Site, hung_cvmfs: tuple[Host, Path]) -> None:
    host, folder = hung_cvmfs
    site.prefix = host.account.prefix
    site.env["CVMFS_MOUNT_DIR"] = str(folder.parent)
    look = subprocess.run([*site.prefix, "timeout", "-s", "KILL", "1", "ls", str(folder)], check=False)
    assert look.returncode == -signal.SIGKILL, "it hangs"
    wants = site.submit("true", extra="requirements = HAS_CVMFS_hung_example_org\n")
    cluster = site.submit("true")
    process = site.start(CVMFS=folder.name)
    assert wait_until(lambda: site.states(cluster) == [], 120)
    process.terminate()
    assert site.end(process)["outcome"] == "killed"
    assert site.states(wants) == [1]
