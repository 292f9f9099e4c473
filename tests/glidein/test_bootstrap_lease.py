"""What glideins left, being killed without warning, the next one on the node removes, and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Optional

import pytest

from glidepost.site_puller.setup import lease as leases
from glidepost.site_puller.setup.cleanup import GRACE_S, Clock, View, judge

NAME = "gp-1a2b3-abcde"
HERE = re.sub(r"[^A-Za-z0-9.-]", "-", os.uname().nodename)
BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
NAMESPACE = str(Path("/proc/self/ns/pid").readlink())
NOBODY = 2**22 + 1  # no process has this number
OTHER_BOOT = "00000000-0000-0000-0000-000000000000"
LONG_AGO = 3 * GRACE_S

Make = Callable[..., Path]


def start_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19])


@pytest.fixture
def make(node) -> Make:
    """Makes the scratch of a glidein whose process is gone: make(1, host="there", age_s=7200)."""

    def make_scratch(number: int = 1, base: Optional[Path] = None, age_s: int = 0, **changes: object) -> Path:
        glidein = f"{NAME}-{number}-0a1b2c3d"
        folder = (base or node.scratch) / f"glidepost-{glidein}"
        values = {"kind": "lease/1", "glidein": glidein, "name": NAME, "batch_job": "7", "host": HERE, "boot": BOOT}
        values |= {"pid_namespace": NAMESPACE, "pid": NOBODY, "start": 5, "deadline": int(time.time()) + 1000}
        text = "".join(f"{key}={value}\n" for key, value in {**values, **changes}.items() if value is not None)
        for part in (folder, folder / "log", folder / "execute", folder / "execute" / "dir_1"):
            node.account.make_folder(part)
        (folder / "log" / "StartLog").write_text("x")
        (folder / "execute" / "dir_1").chmod(0o500)
        (folder / ".lease").write_text(text)
        node.account.give(folder / ".lease", 0o600)
        moment = time.time() - age_s
        for part in (folder, *folder.iterdir(), folder / "log" / "StartLog"):
            os.utime(part, (moment, moment))
        return folder

    return make_scratch


@pytest.fixture
def living() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "300"]) as process:
        yield process
        process.kill()


def verdict(node, folder: Path) -> str:
    """Returns what a glidein on this node thinks of a scratch folder."""
    return node.call(f"name_glidein; uid=$(id -u); is_dead {folder} && echo dead || echo kept").strip()


def verdict_of_cleanup(folder: Path, age_s: int) -> str:
    """Returns what `glidepost puller cleanup` thinks of it when the batch system does not list its batch job."""
    processes = {int(entry.name): 0 for entry in Path("/proc").glob("[0-9]*")}
    now = time.time()
    try:
        lease = leases.parse((folder / ".lease").read_text())
    except ValueError:
        return "kept"
    if folder.name != leases.PREFIX + lease.glidein:
        return "kept"
    if lease.pid in processes:
        processes[lease.pid] = start_of(lease.pid)
    view = View(HERE, BOOT, NAMESPACE, processes, (), now, frozenset(), ("gp-1a2b3-",))
    return "dead" if judge(lease, view, Clock(now, now - age_s))[0] else "kept"


OVER = {"deadline": int(time.time()) - LONG_AGO}


@pytest.mark.parametrize(
    ("changes", "age_s", "expected"),
    [
        ({}, 0, "dead"),
        ({"deadline": 5}, 0, "dead"),
        ({"batch_job": "1[2].server"}, 0, "dead"),
        ({"start": 6, "pid": 1}, 0, "dead"),  # another process has its number
        ({"boot": OTHER_BOOT, **OVER}, LONG_AGO, "dead"),
        ({"boot": OTHER_BOOT}, LONG_AGO, "kept"),  # its walltime is not over: this may be another host of this name
        ({"boot": OTHER_BOOT, "deadline": int(time.time()) - GRACE_S // 2}, LONG_AGO, "kept"),
        ({"boot": OTHER_BOOT, **OVER}, 60, "kept"),  # something writes
        ({"host": "there"}, LONG_AGO, "kept"),
        ({"pid_namespace": "pid:[1]"}, LONG_AGO, "kept"),
        *(({key: None}, 0, "kept") for key in ("kind", "glidein", "name", "host", "boot", "pid", "start", "deadline")),
        *(({key: "x"}, 0, "kept") for key in ("kind", "glidein", "name", "pid", "start", "deadline")),
        ({"name": "gp-1a2b3-abcd"}, 0, "kept"),
        ({"name": "gp-1a2b3-ABCDE"}, 0, "kept"),
        ({"name": "gp-1a2bx-abcde"}, 0, "kept"),
        ({"kind": "lease/2"}, 0, "kept"),
        ({"glidein": f"{NAME}-2-other"}, 0, "kept"),
        ({"pid": "-1"}, 0, "kept"),
    ],
)
def test_a_glidein_and_cleanup_are_of_one_opinion(node, make, changes, age_s, expected):
    folder = make(age_s=age_s, **changes)
    assert verdict(node, folder) == expected
    if changes.get("pid") != "-1":
        assert verdict_of_cleanup(folder, age_s) == expected


@pytest.mark.parametrize(
    "changes", [{"host": "there", **OVER}, {"pid_namespace": "pid:[1]", **OVER}, {"pid_namespace": ""}]
)
def test_what_only_the_batch_system_can_tell_is_left_to_cleanup(node, make, changes):
    folder = make(age_s=LONG_AGO, **changes)
    assert (verdict(node, folder), verdict_of_cleanup(folder, LONG_AGO)) == ("kept", "dead")


def test_a_glidein_whose_process_lives_is_left_alone(node, make, living):
    folder = make(pid=living.pid, start=start_of(living.pid), deadline=5)
    assert verdict(node, folder) == "kept"
    assert verdict_of_cleanup(folder, 0) == "kept"


def test_links_pipes_and_what_belongs_to_others_are_no_scratch(node, make):
    link, lease_link, pipe, others, long = (make(number) for number in range(5))
    link.rename(node.made / "real")
    link.symlink_to(node.made / "real")
    (lease_link / ".lease").rename(node.made / "lease")
    (lease_link / ".lease").symlink_to(node.made / "lease")
    (pipe / ".lease").unlink()
    os.mkfifo(pipe / ".lease")
    if os.geteuid() == 0:
        os.chown(others / ".lease", 4242, 4242)
        (others / ".lease").chmod(0o644)
    else:
        (others / ".lease").unlink()
    with (long / ".lease").open("a") as lease:
        lease.write("x" * 5000)
    assert {verdict(node, folder) for folder in (link, lease_link, pipe, others, long)} == {"kept"}


def test_the_next_glidein_removes_what_is_dead_and_ends_what_still_runs_of_it(node, make, living):
    other = node.folder / "other"
    node.account.make_folder(other)
    node.env["TMPDIR"] = str(other)
    dead, dead_too = make(1), make(2, other)
    alive = make(3, other, pid=living.pid, start=start_of(living.pid))
    there, young = make(4, other, host="there"), make(5, other, boot=OTHER_BOOT)
    shell = [*node.account.prefix, "sh", "-c", "sleep 300 & wait"]
    env = {"X": f"{dead}/condor_config", "PATH": "/bin:/usr/bin"}
    with subprocess.Popen(shell, env=env) as orphan:
        ended = node.run_master("ls $SCRATCH/.. >$MADE/seen")
        assert (node.made / "seen").read_text().split() == [f"glidepost-{ended.records[0]['glidein']}"]
        assert sorted(other.iterdir()) == [alive, there, young]
        assert orphan.wait(60) == -9
    assert living.poll() is None
    for folder in (dead, dead_too):
        assert f"removing what a dead glidein left: {folder}: process {NOBODY} is gone" in ended.output


def test_a_folder_that_somebody_works_in_stays(node, make):
    folder = make()
    shell = [*node.account.prefix, "sleep", "300"]
    with subprocess.Popen(shell, cwd=folder / "log") as worker:
        said = node.call(f"name_glidein; scratch={node.scratch}/glidepost-mine; collect_dead")
        assert folder.exists()
        assert "a process works in it" in said
        assert worker.poll() is None
        worker.kill()
    node.call(f"name_glidein; scratch={node.scratch}/glidepost-mine; collect_dead")
    assert not folder.exists()


def test_two_that_collect_at_once_do_no_harm(node, make):
    for number in range(25):
        make(number)
    collect = "(collect_dead; echo through) &"
    said = node.call(f"name_glidein; scratch={node.scratch}/glidepost-mine; {collect} {collect} wait")
    assert said.splitlines().count("through") == 2
    assert "could not" not in said
    assert list(node.scratch.iterdir()) == []


def test_what_takes_too_long_is_left_to_the_next_one(dash_node, node_folder):
    node = dash_node
    folder = node.scratch / f"glidepost-{NAME}-1-0a1b2c3d"
    node.account.make_folder(folder)
    lease = f"kind=lease/1\nglidein={NAME}-1-0a1b2c3d\nname={NAME}\nhost={HERE}\nboot={BOOT}\n"
    (folder / ".lease").write_text(f"{lease}pid_namespace={NAMESPACE}\npid={NOBODY}\nstart=5\ndeadline=5\n")
    node.account.give(folder / ".lease", 0o600)
    slow = node_folder / "bin"
    slow.mkdir()
    (slow / "rm").write_text("#!/bin/sh\nsleep 60\n")
    (slow / "rm").chmod(0o755)
    began = time.monotonic()
    said = node.call(
        f"COLLECT_S=2; name_glidein; scratch={node.scratch}/glidepost-mine; collect_dead", PATH=f"{slow}:/usr/bin:/bin"
    )
    assert time.monotonic() - began < 50
    assert f"could not remove {folder} in 2 s" in said
    assert (folder / ".lease").exists()
