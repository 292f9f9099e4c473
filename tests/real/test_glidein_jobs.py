"""What user jobs see in a real glidein: their environment, not the token, the image they asked for, CVMFS.

Apptainer is the real one, of Debian; the images are folders, and the programs in them the node's own. cvmfsexec is a
fake (tests/fakes/glidein).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from glideins import Site, wait_for_execution

from glidepost.infra.demo.condor import fetch
from glidepost.infra.demo.testbed import wait_until
from glidepost.schema.errors import PoolError

FAKES = Path(__file__).parents[1] / "fakes" / "glidein"
# Programs of the node in an image that has none.
BINDS = "/bin\n/lib\n/lib64\n/usr"
# The batch job's environment at its worst: what a shell, a loader, HTCondor and Apptainer would listen to.
POISON = {
    "LD_PRELOAD": "/nonexistent/evil.so",
    "LD_LIBRARY_PATH": "/nonexistent",
    "BASH_ENV": "/nonexistent/env",
    "ENV": "/nonexistent/env",
    "PYTHONPATH": "/nonexistent",
    "_CONDOR_START": "false",
    "CONDOR_CONFIG": "/nonexistent",
    "APPTAINER_BIND": "/nonexistent",
    "APPTAINERENV_SECRET": "secret-of-the-batch-job",
    "SINGULARITY_BIND": "/nonexistent",
    "IFS": "/",
    "SLURM_JOB_ID": "17",
    "CDPATH": "/tmp",
    "container": "secret-of-the-batch-job",
}


@pytest.fixture(scope="session")
def apptainer(work: Path) -> Path:
    """The installed Apptainer, or the unpacked one."""
    installed = shutil.which("apptainer")
    if installed:
        return Path(installed)
    fetch("get_apptainer.sh", work / "apptainer", work / "debs", PoolError)
    return work / "apptainer" / "bin" / "apptainer"


@pytest.fixture
def image(site: Site) -> Path:
    """An image that is a folder."""
    folder = site.folder / "image"
    for name in ("bin", "lib", "lib64", "usr", "etc", "tmp", "proc", "dev", "sys", "var/tmp", "home", ".singularity.d"):
        (folder / name).mkdir(parents=True)
    (folder / "etc" / "image").write_text("the image\n")
    (folder / "etc" / "os-release").write_text("ID=inside\nVERSION_ID=1\n")
    # (HTCondor runs an image's own test before a user job, and Apptainer fails where a folder has none)
    (folder / ".singularity.d" / "test").write_text("#!/bin/sh\nexit 0\n")
    (folder / ".singularity.d" / "test").chmod(0o755)
    return folder


def run(site: Site, shell: str, extra: str = "", **request: str) -> str:
    """Returns what a user job prints, run in a glidein of its own."""
    cluster = site.submit(shell, extra=f"error = {site.folder}/jobs/err\n{extra}")
    site.run_again(cluster, **request)
    return (site.folder / "jobs" / "out.0").read_text(errors="replace")


def pslot(site: Site) -> dict[str, object]:
    assert wait_until(lambda: any(slot["SlotType"] == "Partitionable" for slot in site.slots()), 60)
    slot = next(slot for slot in site.slots() if slot["SlotType"] == "Partitionable")
    return {name: slot[name] for name in slot}


def test_a_poisoned_batch_environment_reaches_neither_htcondor_nor_user_jobs(site: Site) -> None:
    site.env.update(POISON)
    seen = run(site, "env")
    for name in POISON:
        assert not re.search(f"^{name}=", seen, re.MULTILINE), seen
    assert "nonexistent/" not in seen
    assert "secret" not in seen


def test_a_user_job_cannot_read_the_token(site: Site) -> None:
    token = site.token.read_text().strip()
    form, key = site.folder / "log-form", site.folder / "site.key"
    for file in (form, key):
        file.write_text("url=http://127.0.0.1:1/ secret-of-the-site\n")
        site.pool.account.give(file, 0o600)
    find = (
        # all that its own paths lead to: its folder and those above it, the processes it comes from, the open files
        "cat $(find ../../.. -type f) 2>/dev/null; cat /proc/self/environ /proc/[0-9]*/environ 2>/dev/null; "
        f"cat {form} {key} {site.token} 2>/dev/null; "
        f"cat {site.folder}/scratch/*/tokens.d/* {site.folder}/scratch/*/keys.d/* 2>/dev/null; "
        "cat /proc/$PPID/root/$PWD/../../../tokens.d/* /proc/$PPID/cwd/../tokens.d/* 2>/dev/null; cat /proc/self/fd/* "
        "2>/dev/null; umount ../../../tokens.d; unshare -rm umount $PWD/../../../tokens.d; cat ../../../tokens.d/*; "
        "ls -A ../../../tokens.d ../../../keys.d; id -u; echo whole"
    )
    seen = run(site, find, LOG_FORM=str(form), KEY_FILE=str(key))
    assert token not in seen
    assert "secret-of-the-site" not in seen
    assert token.rpartition(".")[2] not in seen
    assert seen.endswith(f"{site.pool.account.uid}\nwhole\n"), seen[-500:]
    assert "eyJ" not in (site.folder / "jobs" / "err").read_text()
    assert site.token.read_text().strip() == token


def test_a_node_where_the_token_cannot_be_hidden_says_so(site: Site) -> None:
    cluster = site.submit("cat ../../../tokens.d/*")
    process = site.start(HIDE_TOKEN="no", IDLE_S="30")
    assert pslot(site)["GLIDEPOST_TokenHidden"] is False
    assert wait_until(lambda: site.states(cluster) == [], 60)
    process.terminate()
    site.end(process)
    # This is what the wall is for.
    assert (site.folder / "jobs" / "out.0").read_text().strip() == site.token.read_text().strip()


def test_the_sites_lines_run_before_each_user_job_in_its_shell(site: Site) -> None:
    lines = 'export FROM_SITE="it\'s"\nexport PATH=/opt/site:$PATH\necho noise\ncd /\nset -- a b\nset -eu\numask 027'
    seen = run(
        site, "echo $0 $# $FROM_SITE $PATH; umask; [ $PWD = $_CONDOR_SCRATCH_DIR ] && echo home", JOB_SETUP=lines
    )
    first, *rest = seen.splitlines()
    assert first.startswith("/bin/sh 0 it's /opt/site:")
    assert rest == ["0027", "home"]
    assert (site.folder / "jobs" / "err").read_text() == "noise\n"


def test_htcondor_hears_how_a_user_job_ended(site: Site) -> None:
    clusters = [site.submit(shell) for shell in ("exit 3", "kill -s USR1 $$", "exit 147")]
    process = site.start(IDLE_S="30")
    assert wait_until(lambda: all(site.states(cluster) == [] for cluster in clusters), 60)
    process.terminate()
    site.end(process)
    log = (site.folder / "jobs" / "log").read_text()
    assert {line.strip() for line in log.splitlines() if " termination (" in line} == {
        "(1) Normal termination (return value 3)",
        "(0) Abnormal termination (signal 10)",
        "(1) Normal termination (return value 147)",
    }


@pytest.mark.parametrize("lines", ["exit 0", "set -e\nfalse"])
def test_a_wrapper_that_fails_sends_the_user_job_back_instead_of_failing_it(site: Site, lines: str) -> None:
    cluster = site.submit("echo ran")
    process = site.start(JOB_SETUP=lines)
    log = site.folder / "jobs" / "log"
    # (the wrapper waits for a while first, so that the next user job is not eaten up at once)
    assert wait_until(lambda: "evicted" in log.read_text(), 60)
    assert site.states(cluster) in ([1], [2])
    assert "a line of job_setup called exit" in log.read_text()
    process.terminate()
    site.end(process)


def test_a_user_job_runs_in_the_image_that_it_names(site: Site, apptainer: Path, image: Path) -> None:
    site.env.update(POISON)
    tokens = "$_CONDOR_SCRATCH_DIR_OUTSIDE_CONTAINER/../../../tokens.d"
    shell = f"cat /etc/image; env; pwd; cat {tokens}/*; ls -d /proc/[0-9]* | wc -l"
    seen = run(
        site,
        shell,
        f'+SingularityImage = "{image}"\n+SingularityBind = "{site.folder}"\n',
        APPTAINER=str(apptainer),
        BINDS=BINDS,
        JOB_SETUP="export FROM_SITE=yes",
    )
    assert seen.startswith("the image\n")
    assert "\nFROM_SITE=yes\n" in seen
    assert "\n_CONDOR_SCRATCH_DIR=/srv/scratch\n" in seen
    assert "secret" not in seen
    assert "eyJ" not in seen
    assert "\n/srv/scratch\n" in seen
    assert int(seen.split()[-1]) < 10, "it has processes of its own"


def test_a_user_job_of_the_container_universe_finds_the_node(site: Site, apptainer: Path, image: Path) -> None:
    extra = f"universe = container\ncontainer_image = {image}\n"
    assert run(site, "cat /etc/image", extra, APPTAINER=str(apptainer), BINDS=BINDS) == "the image\n"


def test_a_user_job_that_names_no_image_gets_the_sites(site: Site, apptainer: Path, image: Path) -> None:
    request = {"APPTAINER": str(apptainer), "BINDS": BINDS, "USER_IMAGE": str(image)}
    assert run(site, "cat /etc/image", **request) == "the image\n"


def test_what_works_is_advertised(site: Site, apptainer: Path) -> None:
    process = site.start(APPTAINER=str(apptainer), IDLE_S="30")
    slot = pslot(site)
    for name in ("HAS_SINGULARITY", "HAS_APPTAINER", "HasSingularity", "HasSandboxImage", "GLIDEPOST_Wrapped"):
        assert slot[name] is True
    assert slot["GLIDEPOST_TokenHidden"] is True
    assert "apptainer" in str(slot["SingularityVersion"])
    process.terminate()
    site.end(process)


def test_htcondor_itself_runs_in_the_sites_image(site: Site, apptainer: Path, image: Path) -> None:
    cluster = site.submit("cat /etc/image; sleep 2")
    process = site.start(APPTAINER=str(apptainer), BINDS=BINDS, GLIDEIN_IMAGE=str(image), IDLE_S="60")
    assert wait_until(lambda: site.states(cluster) == [], 60)
    assert (site.folder / "jobs" / "out.0").read_text() == "the image\n"
    # a kill reaches HTCondor in there, and the user job goes back
    cluster = site.submit("sleep 300")
    wait_for_execution(site.folder / "jobs" / "log", 2)
    process.send_signal(signal.SIGTERM)
    record = site.end(process)
    assert (record["outcome"], record["condor_exit"]) == ("killed", 0)
    assert wait_until(lambda: site.states(cluster) == [1], 60)


def test_user_jobs_see_cvmfs_by_cvmfsexec(site: Site) -> None:
    shared = site.folder / "shared"
    network = site.pool.account.make_folder(shared / "dist" / "network" / "a.example.org").parent
    (shared / "dist" / "etc" / "cvmfs").mkdir(parents=True)
    (network / "a.example.org" / "file").write_text("from CVMFS\n")
    shutil.copy(FAKES / "cvmfsexec", shared)
    shutil.copy(FAKES / "with_cvmfs", shared / "mountrepo")
    (shared / "umountrepo").touch()
    site.pool.account.give(network, 0o755)
    extra = "requirements = HAS_CVMFS_a_example_org\n"
    cvmfs = {"CVMFS": "a.example.org", "CVMFSEXEC": str(shared)}
    seen = run(site, "cat /cvmfs/a.example.org/file; env; cat ../../../tokens.d/*", extra, **cvmfs)
    assert seen.startswith("from CVMFS\n")
    assert "CVMFS" not in seen.partition("\n")[2]
    assert "eyJ" not in seen


def test_a_hung_repository_next_to_a_good_one_does_not_stop_the_glidein(site: Site) -> None:
    folder = site.folder / "cvmfs"
    for name in ("good.example.org", "hung.example.org"):
        (folder / name).mkdir(parents=True)
    (folder / "good.example.org" / "file").write_text("x")
    os.mkfifo(folder / "hung.example.org" / "file")
    site.env["CVMFS_MOUNT_DIR"] = str(folder)
    seen = run(
        site, "echo ran", "requirements = HAS_CVMFS_good_example_org\n", CVMFS="hung.example.org good.example.org"
    )
    assert seen == "ran\n"
