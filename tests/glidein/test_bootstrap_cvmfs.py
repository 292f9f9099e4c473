"""How user jobs get to CVMFS: the ladder native, cvmfsexec, Parrot, none.

Neither cvmfsexec nor Parrot nor CVMFS is here. The first two are small programs that behave as their documentation
says (tests/fakes/glidein); they do mount a /cvmfs, in a namespace. A mount that hangs is a pipe that nobody writes to.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from glidepost.infra.demo.testbed import wait_until

FAKES = Path(__file__).parents[1] / "fakes" / "glidein"
# A condor_master that tells what it sees and is in no pool: waits for the end.
TELL = "cp $CONDOR_CONFIG $MADE; ls /cvmfs >$MADE/seen 2>&1; env >$MADE/env; "


def native(node: Any, *names: str) -> Path:
    folder = node.folder / "cvmfs"
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "new_repository").write_text("x")
    folder.mkdir(exist_ok=True)
    node.env["CVMFS_MOUNT_DIR"] = str(folder)
    return folder


def cvmfsexec(node: Any, *names: str) -> Path:
    """A shared folder with cvmfsexec whose network has these repositories."""
    folder = node.folder / "shared" / "cvmfsexec"
    (folder / "dist" / "etc" / "cvmfs").mkdir(parents=True)
    (folder / "dist" / "var" / "lib" / "cvmfs").mkdir(parents=True)
    (folder / "dist" / "network").mkdir()
    shutil.copy(FAKES / "cvmfsexec", folder)
    shutil.copy(FAKES / "with_cvmfs", folder / "mountrepo")
    (folder / "umountrepo").touch()
    for name in names:
        (folder / "dist" / "network" / name).mkdir()
        (folder / "dist" / "network" / name / "file").write_text("x")
    node.account.give(folder / "dist" / "network", 0o755)
    return folder


def parrot(node: Any, *names: str) -> Path:
    folder = node.account.make_folder(node.folder / "parrot")
    for name in ("parrot_run", "with_cvmfs"):
        shutil.copy(FAKES / name, folder)
    for name in names:
        (folder / "network" / name).mkdir(parents=True)
        (folder / "network" / name / "file").write_text("x")
    return folder / "parrot_run"


def config(node: Any) -> str:
    return (node.made / "condor_config").read_text()


def attributes(node: Any) -> dict[str, str]:
    return dict(
        re.findall(
            r"^((?:HAS_|OASIS_|ICECUBE_|PYGLIDEIN_PARROT|GLIDEPOST_CVMFS)\w*) = (.*)$", config(node), re.MULTILINE
        )
    )


def test_a_mounted_repository_is_advertised_under_all_its_names(node: Any) -> None:
    native(node, "oasis.opensciencegrid.org", "icecube.opensciencegrid.org", "a-b.example.org")
    node.run_master(TELL, CVMFS="oasis.opensciencegrid.org icecube.opensciencegrid.org a-b.example.org")
    assert attributes(node) == {
        "GLIDEPOST_CVMFS": '"native"',
        "HAS_CVMFS_oasis_opensciencegrid_org": "true",
        "OASIS_CVMFS_Exists": "true",
        "HAS_CVMFS_icecube_opensciencegrid_org": "true",
        "ICECUBE_CVMFS_Exists": "true",
        "HAS_CVMFS_a_b_example_org": "true",
        "PYGLIDEIN_PARROT": "false",
    }
    names = re.search(r"^STARTD_ATTRS = ((?:.*\\\n)*.*)", config(node), re.MULTILINE)
    assert names
    assert set(attributes(node)) <= set(re.findall(r"\w+", names[1]))


def test_a_folder_where_nothing_is_mounted_is_no_repository(node: Any) -> None:
    (native(node, "a.example.org") / "empty.example.org").mkdir()
    ended = node.run_master(TELL, CVMFS="a.example.org empty.example.org")
    assert "this node does not have the CVMFS repository empty.example.org" in ended.output
    assert [name for name in attributes(node) if name.startswith("HAS_")] == ["HAS_CVMFS_a_example_org"]


def test_a_repository_that_hangs_does_not_take_another_along(node: Any) -> None:
    folder = native(node, "good.example.org")
    (folder / "hung.example.org").mkdir()
    os.mkfifo(folder / "hung.example.org" / "file")
    request = {"CVMFS": "hung.example.org good.example.org"}
    ended = node.end(node.start(node.script(node.line(node.pack(TELL)), request, LOOK_S=10)))
    assert [name for name in attributes(node) if name.startswith("HAS_")] == ["HAS_CVMFS_good_example_org"]
    assert "this node does not have the CVMFS repository hung.example.org" in ended.output


def test_a_kill_while_a_repository_hangs_is_acted_on_at_once(node: Any) -> None:
    folder = native(node)
    (folder / "hung.example.org").mkdir()
    os.mkfifo(folder / "hung.example.org" / "file")
    process = node.start(node.script(node.line(node.pack("")), {"CVMFS": "hung.example.org"}, LOOK_S=300))
    assert wait_until(lambda: any(node.scratch.iterdir()), 60)
    time.sleep(2)
    process.send_signal(signal.SIGTERM)
    killed = time.monotonic()
    assert node.end(process).outcome == "killed"
    assert time.monotonic() - killed < 60


def test_a_node_without_cvmfs_says_so(node: Any) -> None:
    native(node)
    node.run_master(TELL, CVMFS="a.example.org", CVMFSEXEC=str(node.folder / "nowhere"), PARROT="/nowhere/parrot_run")
    assert attributes(node) == {"GLIDEPOST_CVMFS": '"none"', "PYGLIDEIN_PARROT": "false"}


def test_the_next_way_is_not_tried_where_all_is_mounted(node: Any) -> None:
    native(node, "a.example.org")
    shared = cvmfsexec(node, "a.example.org")
    node.run_master(TELL, CVMFS="a.example.org", CVMFSEXEC=str(shared))
    assert attributes(node)["GLIDEPOST_CVMFS"] == '"native"'
    assert not (shared / "dist" / "network" / ".calls").exists()


def test_htcondor_runs_inside_of_a_cvmfsexec_of_its_own(node: Any) -> None:
    native(node)
    shared = cvmfsexec(node, "a.example.org", "b.example.org")
    node.env["SHARED"] = str(shared)
    ended = node.run_master(
        f"{TELL} ls -l /proc/self/fd >$MADE/fds",
        CVMFS="a.example.org b.example.org",
        CVMFSEXEC="$SHARED/",
        PROXY="http://squid.example.org:3128",
        DISK_MIB="2000",
    )
    assert attributes(node)["GLIDEPOST_CVMFS"] == '"cvmfsexec"', ended.output
    assert attributes(node)["HAS_CVMFS_b_example_org"] == "true"
    assert (node.made / "seen").read_text().split() == ["a.example.org", "b.example.org"]
    # nothing but the cache's size and the proxy was set, and nothing was written into the shared folder
    assert sorted((shared / "dist" / "network" / ".settings").read_text().split()) == [
        "CVMFS_HTTP_PROXY='http://squid.example.org:3128'",
        "CVMFS_QUOTA_LIMIT=500",
    ]
    assert {path.name for path in shared.iterdir()} == {"cvmfsexec", "mountrepo", "umountrepo", "dist"}
    assert list((shared / "dist" / "etc" / "cvmfs").iterdir()) == []
    environment = (node.made / "env").read_text()
    assert "CVMFSEXEC" not in environment
    assert "CVMFSMOUNT" not in environment
    assert "/commands" not in (node.made / "fds").read_text()


def test_one_repository_that_cannot_be_mounted_does_not_cost_the_others(node: Any) -> None:
    native(node)
    shared = cvmfsexec(node, "a.example.org", "c.example.org")
    node.run_master(TELL, CVMFS="a.example.org gone.example.org c.example.org", CVMFSEXEC=str(shared))
    assert (node.made / "seen").read_text().split() == ["a.example.org", "c.example.org"]
    assert {"HAS_CVMFS_a_example_org", "HAS_CVMFS_c_example_org"} < set(attributes(node))
    assert "HAS_CVMFS_gone_example_org" not in attributes(node)


def test_the_way_with_the_most_repositories_is_taken(node: Any) -> None:
    native(node, "a.example.org", "b.example.org")
    shared = cvmfsexec(node, "c.example.org")
    node.run_master(TELL, CVMFS="a.example.org b.example.org c.example.org", CVMFSEXEC=str(shared))
    assert attributes(node)["GLIDEPOST_CVMFS"] == '"native"'
    assert "HAS_CVMFS_c_example_org" not in attributes(node)


def test_a_kill_reaches_htcondor_inside_of_cvmfsexec(node: Any, kill_when_ready: Any) -> None:
    native(node)
    shared = cvmfsexec(node, "a.example.org")
    master = "trap 'touch $MADE/quit; exit 0' QUIT; touch $MADE/ready; while :; do sleep 0.1; done"
    # (HTCondor's name is how it is found)
    manifest = node.pack(f"cp $CONDOR_CONFIG $MADE; printf condor_master >/proc/self/comm; {master}")
    process = node.start(node.script(node.line(manifest), {"CVMFS": "a.example.org", "CVMFSEXEC": str(shared)}))
    kill_when_ready(node, process)
    assert node.end(process).outcome == "killed"
    assert attributes(node)["GLIDEPOST_CVMFS"] == '"cvmfsexec"'
    assert (node.made / "quit").exists()


def test_parrot_is_the_last_way_and_wraps_user_jobs(node: Any) -> None:
    native(node)
    program = parrot(node, "a.example.org", "b.example.org")
    ended = node.run_master(
        f"{TELL} cp $SCRATCH/parrot $MADE; mkdir $SCRATCH/tmp/job; cd $SCRATCH/tmp/job; "
        "env -i PATH=$PATH _CONDOR_SCRATCH_DIR=$PWD $SCRATCH/wrapper /bin/sh -c 'ls /cvmfs; id -u' >$MADE/job 2>&1",
        CVMFS="a.example.org b.example.org",
        PARROT=str(program),
    )
    assert attributes(node)["GLIDEPOST_CVMFS"] == '"parrot"', ended.output
    assert attributes(node)["PYGLIDEIN_PARROT"] == "true"
    assert (node.made / "job").read_text().split() == ["a.example.org", "b.example.org", str(node.account.uid)]
    # the cache is the glidein's, and gone with it
    cache = Path((program.parent / "cache").read_text().strip())
    assert cache.is_relative_to(node.scratch)
    # HTCondor itself does not run in it
    assert "No such file" in (node.made / "seen").read_text()


@pytest.mark.parametrize("name", ["CVMFSEXEC", "PARROT"])
@pytest.mark.parametrize("value", ["relative/path", "/a\nb"])
def test_a_malformed_path_is_refused(dash_node: Any, name: str, value: str) -> None:
    ended = dash_node.run_master("", **{name: value})
    assert (ended.code, ended.outcome) == (2, "bad-request")
