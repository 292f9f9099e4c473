"""`glidepost puller cleanup`: what may live stays, whatever it is called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepost.backends.base import BatchJob, JobState
from glidepost.schema.errors import BatchError, CommandFailed
from glidepost.site_puller.ledger import name_prefix
from glidepost.site_puller.setup import cleanup as cleaning
from glidepost.site_puller.setup import lease as leases
from glidepost.site_puller.setup.cleanup import DEAD, FAILED, GRACE_S, KEPT, REMOVED, Clock, View, judge, look, remove
from glidepost.site_puller.setup.cli import cleanup as cleanup_command
from glidepost.site_puller.setup.erase import erase
from glidepost.site_puller.setup.lease import Lease, scratch_here
from glidepost.site_puller.setup.mounts import Mount, parse

PREFIX = name_prefix("north", "cpu")
NAME = f"{PREFIX}abcde"
NOW = 1_800_000_000.0
OLD = Clock(NOW, NOW - 2 * GRACE_S)
LEASE = Lease(f"{NAME}-7-x1y2", NAME, "7", "here", "boot-1", 4711, 99, int(NOW - 2 * GRACE_S), "pid:[1]")
VIEW = View("here", "boot-1", "pid:[1]", {4711: 99}, (), NOW, frozenset(), (PREFIX,))
ELSEWHERE = replace(LEASE, host="there")


@pytest.mark.parametrize(
    ("lease", "changes", "clock"),
    [
        (LEASE, {}, OLD),  # its process is there
        (replace(LEASE, pid_namespace="pid:[2]", pid=1), {"listed": frozenset({NAME})}, OLD),  # in a container
        (replace(LEASE, pid_namespace="", pid=1), {"listed": frozenset({NAME})}, OLD),
        (ELSEWHERE, {"listed": frozenset({NAME})}, OLD),
        (replace(ELSEWHERE, deadline=int(NOW)), {}, OLD),
        (replace(ELSEWHERE, deadline=int(NOW - GRACE_S)), {}, OLD),  # to the second
        (ELSEWHERE, {"now": NOW - 2 * GRACE_S}, OLD),  # this host's clock is behind
        (ELSEWHERE, {}, Clock(NOW - 2 * GRACE_S, NOW - 9 * GRACE_S)),  # the file server's is
        (ELSEWHERE, {}, Clock(NOW, NOW - 60)),  # something writes
        (ELSEWHERE, {}, None),
        (ELSEWHERE, {"prefixes": ("gp-00000-",)}, OLD),  # of another site
        (replace(LEASE, boot="boot-0"), {"listed": frozenset({NAME})}, OLD),  # requeued after a reboot
    ],
)
def test_what_may_live_is_kept(lease, changes, clock):
    is_dead, why = judge(lease, replace(VIEW, **changes), clock)
    assert not is_dead
    assert why


@pytest.mark.parametrize(
    ("lease", "changes", "clock"),
    [
        (LEASE, {"processes": {}}, None),
        (LEASE, {"processes": {4711: 100}}, None),  # its number was given to another
        (LEASE, {"processes": {}, "listed": frozenset({NAME})}, None),  # other members of its array live
        (replace(LEASE, pid_namespace=""), {"processes": {}}, None),
        (ELSEWHERE, {}, OLD),
        (replace(LEASE, boot="boot-0"), {}, OLD),
    ],
)
def test_what_is_dead_for_certain_is_dead(lease, changes, clock):
    assert judge(lease, replace(VIEW, **changes), clock)[0]


@given(
    host=st.sampled_from(["here", "there"]),
    boot=st.sampled_from(["boot-1", "boot-2"]),
    namespace=st.sampled_from(["", "pid:[1]", "pid:[2]"]),
    late_s=st.integers(-GRACE_S, 3 * GRACE_S),
    written_s=st.integers(0, 3 * GRACE_S),
    is_there=st.booleans(),
    is_listed=st.booleans(),
)
def test_dead_means_that_nothing_speaks_for_life(host, boot, namespace, late_s, written_s, is_there, is_listed):
    lease = replace(LEASE, host=host, boot=boot, pid_namespace=namespace, deadline=int(NOW) - late_s)
    view = replace(VIEW, processes={4711: 99} if is_there else {}, listed=frozenset({NAME} if is_listed else ()))
    is_dead, _ = judge(lease, view, Clock(NOW, NOW - written_s))
    if is_dead:
        is_here = host == "here" and boot == "boot-1"
        assert not (is_here and is_there)
        assert not is_listed or (is_here and namespace == "pid:[1]")
        assert is_here or (late_s > GRACE_S and written_s > GRACE_S)


# Leases


@pytest.fixture
def make_scratch(tmp_path) -> Callable[..., Path]:
    """Makes the scratch of a glidein: make_scratch(pid=1, host="there"); its process was here and is gone."""
    base = tmp_path / "scratch"
    base.mkdir()

    def make(number: int = 1, **changes: object) -> Path:
        glidein = f"{NAME}-{number}-x1y2"
        folder = base / f"glidepost-{glidein}"
        (folder / "log").mkdir(parents=True)
        (folder / "execute/dir_1/deep").mkdir(parents=True)
        (folder / "execute/dir_1/deep/file").write_text("x")
        (folder / "execute/dir_1/deep").chmod(0)
        values = {"kind": "lease/1", "glidein": glidein, "name": NAME, "batch_job": "7", "host": os.uname().nodename}
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        values |= {"boot": boot, "pid": 2**22 + 1, "start": 5, "deadline": int(time.time()) + 1000} | changes
        text = "".join(f"{key}={value}\n" for key, value in values.items() if value is not None)
        (folder / ".lease").write_text(text)
        return folder

    return make


@pytest.fixture
def view(make_config) -> View:
    return cleaning.view_of(make_config(), frozenset(), time.time())


def cases(folder: Path, view: View, mounted: tuple[Mount, ...] = ()) -> dict[str, str]:
    return {Path(case.folder).name: case.verdict for case in look(folder, view, mounted)}


def test_the_scratch_of_a_process_that_is_gone_is_removed(make_scratch, view):
    folder = make_scratch()
    (case,) = look(folder.parent, view, ())
    assert case.verdict == DEAD
    assert remove(case).verdict == REMOVED
    assert not folder.exists()


def test_a_live_glideins_scratch_stays(make_scratch, view):
    start = int(Path("/proc/self/stat").read_text().rpartition(") ")[2].split()[19])
    folder = make_scratch(pid=os.getpid(), start=start)
    assert cases(folder.parent, view) == {folder.name: KEPT}


def test_a_folder_in_which_a_process_of_ours_works_stays(make_scratch, make_config):
    folder = make_scratch()
    with subprocess.Popen(["sleep", "60"], cwd=folder / "log") as left:
        view = cleaning.view_of(make_config(), frozenset(), time.time())
        left.kill()
    assert cases(folder.parent, view) == {folder.name: KEPT}


def test_the_lease_that_the_bootstrap_writes_is_understood(tmp_path):
    """The part of the script that writes it, run as it is."""
    part = (Path(__file__).parents[3] / "glidein" / "bootstrap" / "6-scratch.sh").read_text()
    values = f"glidein={NAME}-7-x1 GLIDEPOST_NAME={NAME} batch_job=7 host=here started=1000 walltime_s=60"
    folder = tmp_path / f"glidepost-{NAME}-7-x1"
    folder.mkdir()
    start = "read -r stat </proc/$$/stat; printf '%s' \"$stat\""
    done = subprocess.run(
        ["/bin/sh", "-c", f"{part}\n{values}\nwrite_lease {folder}\n{start}"],
        capture_output=True,
        text=True,
        check=True,
    )
    lease = leases.read(folder)
    fields = done.stdout.rpartition(") ")[2].split()
    assert (lease.start, lease.deadline) == (int(fields[19]), 1060)
    assert lease.boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "lease/2"},
        {"kind": None},
        {"boot": None},
        {"pid": "x"},
        {"deadline": ""},
        {"name": "somebody"},
        {"name": f"{PREFIX}zzzzz"},
        {"glidein": f"{NAME}-2-other"},
    ],
)
def test_a_lease_that_is_wrong_says_nothing(make_scratch, view, changes):
    folder = make_scratch(**changes)
    assert cases(folder.parent, view) == {folder.name: KEPT}


def test_without_a_lease_the_name_says_nothing(make_scratch, view):
    folder = make_scratch()
    (folder / ".lease").unlink()
    assert cases(folder.parent, view) == {folder.name: KEPT}


def test_links_and_files_are_no_scratch(make_scratch, view, tmp_path):
    folder = make_scratch()
    base = tmp_path / "other"
    base.mkdir()
    (base / folder.name).symlink_to(folder)
    (base / "glidepost-file").write_text("x")
    assert set(cases(base, view).values()) == {KEPT}
    lease = folder / ".lease"
    lease.rename(tmp_path / "lease")
    lease.symlink_to(tmp_path / "lease")
    assert cases(folder.parent, view) == {folder.name: KEPT}


def test_a_pipe_for_a_lease_keeps_nobody_waiting(make_scratch, view):
    folder = make_scratch()
    (folder / ".lease").unlink()
    os.mkfifo(folder / ".lease")
    assert cases(folder.parent, view) == {folder.name: KEPT}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_somebody_else_stays(make_scratch, view):
    folder = make_scratch()
    os.chown(folder, 4242, -1)
    assert cases(folder.parent, view) == {folder.name: KEPT}
    os.chown(folder, 0, -1)
    os.chown(folder / ".lease", 4242, -1)
    assert cases(folder.parent, view) == {folder.name: KEPT}


def test_a_folder_with_a_mount_in_it_stays(make_scratch, view):
    folder = make_scratch()
    mounted = (Mount(Path("/"), "ext4"), Mount(folder / "execute" / "home", "nfs4"))
    assert cases(folder.parent, view, mounted) == {folder.name: KEPT}


def test_mounts_are_read_with_blanks_in_their_names():
    text = r"36 35 98:0 / /mnt/two\040words rw,noatime master:1 - ext3 /dev/root rw" + "\nnonsense\n"
    assert parse(text) == (Mount(Path("/mnt/two words"), "ext3"),)


# Removing


def test_links_are_removed_and_not_followed(make_scratch, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    folder = make_scratch()
    (folder / "link").symlink_to(precious)
    (folder / "execute" / "link").symlink_to(precious / "file")
    erase(folder)
    assert not folder.exists()
    assert (precious / "file").read_text() == "x"


def test_a_link_in_place_of_the_folder_is_not_entered(make_scratch, tmp_path):
    folder = make_scratch()
    link = tmp_path / "link"
    link.symlink_to(folder)
    with pytest.raises(OSError, match="directory"):
        erase(link)
    assert (folder / ".lease").exists()


def test_folders_that_even_their_owner_cannot_enter_are_removed(make_scratch):
    folder = make_scratch()
    (folder / "execute" / "dir_1").chmod(0o500)
    (folder / "execute").chmod(0)
    folder.chmod(0o300)
    if os.geteuid() == 0:
        erase(folder)
    else:
        folder.chmod(0o700)
        erase(folder)
    assert not folder.exists()


def test_what_cannot_be_removed_keeps_the_lease(make_scratch, view):
    folder = make_scratch()
    deep = folder / "log"
    for _ in range(405):
        deep /= "d"
        deep.mkdir()
    (case,) = look(folder.parent, view, ())
    failed = remove(case)
    assert failed.verdict == FAILED
    assert "400 folders" in failed.why
    assert [path.name for path in sorted(folder.iterdir())] == [".lease", "log"]
    for path in sorted(folder.rglob("d"), key=lambda path: -len(path.parts)):
        path.rmdir()
    assert remove(case).verdict == REMOVED


# Batch systems


def test_all_batch_systems_are_asked_once_and_completely(make_queue):
    job = BatchJob("1", NAME, JobState.IDLE)
    first = make_queue(identity=("a",), jobs_=[job, BatchJob("2", "gp-gone", JobState.GONE)])
    second = make_queue(identity=("b",), jobs_=[BatchJob("3", "gp-odd", JobState.UNKNOWN)])
    assert cleaning.listed_names([first, first, second]) == {NAME, "gp-odd"}
    assert (first.asked, second.asked) == (1, 1)
    second.error = CommandFailed("squeue: down", hint="wait")
    with pytest.raises(BatchError):
        cleaning.listed_names([first, second])


@pytest.mark.parametrize(
    ("scratch", "backend", "folder"),
    [
        ("/scratch", "slurm", "/scratch"),
        ("/scratch/$USER", "slurm", "/scratch/me"),
        ("~/scratch", "slurm", None),
        ("$TMPDIR", "slurm", None),
        ("/local/${SLURM_JOB_ID}/x", "slurm", None),
        ("/scratch/$LOGNAME", "slurm", None),  # not set here
        ("", "slurm", None),
        ("", "local", "/tmp"),
        ("relative", "slurm", None),
    ],
)
def test_scratch_is_looked_for_where_it_is_the_same_here(make_shape, scratch, backend, folder):
    found = scratch_here(make_shape(scratch=scratch, backend=backend), {"USER": "me", "TMPDIR": "/x"})
    if scratch.startswith("~"):
        assert found == Path("~/scratch").expanduser()
    else:
        assert found == (folder and Path(folder))


# The command

CONFIG = """
[site]
name = "north"
key = "site.key"
[pool]
url = "https://bucket.example.org"
public_key = "{key}"
[shapes.cpu]
backend = "{backend}"
cpus = 1
memory = "2GiB"
disk = "2GiB"
walltime = "1h"
scratch = "{scratch}"
"""


@pytest.fixture
def configure(tmp_path, pool_key):
    def write(backend: str = "local", scratch: str = str(tmp_path / "scratch")) -> list[str]:
        file = tmp_path / "puller.toml"
        file.write_text(CONFIG.format(key=pool_key.public, backend=backend, scratch=scratch))
        return ["--config", str(file)]

    return write


def test_a_dry_run_shows_and_removes_nothing(make_scratch, configure, capsys):
    folder = make_scratch()
    assert cleanup_command.main([*configure(), "--dry-run"], standalone_mode=False) == 0
    said = capsys.readouterr().out
    assert "1 dead" in said
    assert "is gone" in said
    assert folder.exists()


def test_the_command_removes_what_is_dead(make_scratch, configure, capsys):
    dead, kept = make_scratch(), make_scratch(2, host="there")
    cleanup_command.main([*configure(), "--json"], standalone_mode=False)
    found = {Path(item["folder"]): item["verdict"] for item in json.loads(capsys.readouterr().out)}
    assert found == {dead: REMOVED, kept: KEPT}
    assert (dead.exists(), kept.exists()) == (False, True)


def test_when_the_batch_system_cannot_be_asked_nothing_is_removed(make_scratch, configure, monkeypatch, tmp_path):
    folder = make_scratch()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BatchError):
        cleanup_command.main(configure("slurm"), standalone_mode=False)
    assert folder.exists()


def test_when_no_folder_can_be_told_it_asks_for_one(configure):
    done = subprocess.run(
        [Path(sys.executable).with_name("python"), "-c", _CALL, *configure("slurm", "$TMPDIR")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "FOLDER" in done.stderr


_CALL = """
import sys
from glidepost.schema.command import complain
from glidepost.schema.errors import GlidepostError
from glidepost.site_puller.setup.cli import cleanup
try:
    cleanup.main(sys.argv[1:], standalone_mode=False)
except GlidepostError as error:
    complain(error.what, error.hint)
    sys.exit(error.exit_code)
"""
