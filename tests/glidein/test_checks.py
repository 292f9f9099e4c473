"""Each of Glidepost's own checks by itself, on nodes that have this and lack that."""

from __future__ import annotations

import http.server
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import pytest
from own_checks import CHECKS
from shells import SHELLS, command_of

# What a node has in any case.
TOOLS = (
    *(
        "cat",
        "cut",
        "date",
        "dd",
        "df",
        "env",
        "grep",
        "head",
        "ls",
        "mkdir",
        "rm",
        "sed",
        "sh",
        "sleep",
        "sort",
        "tail",
    ),
    *("timeout", "touch", "tr", "true", "wc"),
)


@dataclass
class Bare:
    """A node with coreutils, grep and sed, and what the test adds."""

    folder: Path
    shell: list[str]

    def __post_init__(self) -> None:
        for name in ("bin", "tmp", "proc", "cvmfs"):
            (self.folder / name).mkdir()
        for tool in TOOLS:
            self.link(tool)

    def link(self, tool: str) -> None:
        found = sys.executable if tool == "python3" else shutil.which(tool)
        assert found
        (self.folder / "bin" / tool).symlink_to(found)

    def add(self, tool: str, lines: str) -> None:
        path = self.folder / "bin" / tool
        path.unlink(missing_ok=True)  # it may be a link to the real one
        path.write_text(f"#!/bin/sh\n{lines}\n")
        path.chmod(0o755)

    def run(self, check: str, cuda: str = "", **facts: object) -> tuple[int, list[str]]:
        """Returns a check's exit code and lines."""
        shell = shutil.which(self.shell[0])
        assert shell
        facts = {"GPUS": 0, "MEMORY_MIB": 64, "DISK_MIB": 1, "PROC": self.folder / "proc", **facts}
        done = subprocess.run(
            [shell, *self.shell[1:], CHECKS / f"{check}.sh"],
            env={
                "PATH": str(self.folder / "bin"),
                "TMPDIR": str(self.folder / "tmp"),
                "CVMFS_MOUNT_DIR": str(self.folder / "cvmfs"),
                "CUDA_VISIBLE_DEVICES": cuda,
                **{f"GLIDEPOST_{name}": str(value) for name, value in facts.items()},
            },
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout.splitlines()


@pytest.fixture(params=SHELLS)
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Bare:
    return Bare(tmp_path, command_of(request.param))


def test_scratch_says_how_much_is_free_and_how_fast_it_is(bare):
    bare.add("dd", f'exec {shutil.which("dd")} "$1" "$2" "$3" "$4"')  # (a busy disk may be too slow for conv=fsync)
    code, lines = bare.run("scratch")
    said = dict(line.split(" = ") for line in lines)
    assert (code, set(said)) == (0, {"GLIDEPOST_ScratchFreeMiB", "GLIDEPOST_ScratchMiBPerSecond"})
    assert int(said["GLIDEPOST_ScratchFreeMiB"]) == pytest.approx(shutil.disk_usage(bare.folder).free / 2**20, rel=0.2)
    assert list((bare.folder / "tmp").iterdir()) == []


def test_scratch_without_the_room_that_is_offered_fails_until_user_jobs_use_it(bare):
    code, lines = bare.run("scratch", DISK_MIB=99_999_999)
    assert code == 1
    assert lines[-1].endswith("MiB are free, 99999999 MiB are offered")
    assert bare.run("scratch", DISK_MIB=99_999_999, AGAIN="yes")[0] == 0


def test_scratch_that_cannot_be_written_fails(bare):
    bare.add("dd", 'echo "dd: error writing: No space left on device" >&2; exit 1')
    for again in ("", "yes"):
        code, lines = bare.run("scratch", AGAIN=again)
        assert (code, lines[-1]) == (1, "dd: error writing: No space left on device")


def test_memory_that_is_not_there_fails_with_numbers(bare):
    meminfo = bare.folder / "proc" / "meminfo"
    meminfo.write_text("MemTotal:       99999999 kB\nMemAvailable:    1024000 kB\n")
    assert bare.run("memory", MEMORY_MIB=1000) == (0, ["GLIDEPOST_MemoryFreeMiB = 1000"])
    assert bare.run("memory", MEMORY_MIB=4000)[1][-1] == "1000 MiB are available, 4000 MiB are offered"
    assert bare.run("memory", MEMORY_MIB=4000)[0] == 1
    assert bare.run("memory", MEMORY_MIB=4000, AGAIN="yes")[0] == 0, "user jobs use it"
    assert bare.run("memory", MEMORY_MIB=40000, AGAIN="yes")[0] == 1
    meminfo.write_text("MemTotal: 1 kB\n")
    assert bare.run("memory")[0] == 2


def test_user_namespaces_are_tried(bare):
    assert bare.run("user-namespaces")[0] == 2, "nothing to try it with"
    bare.add("unshare", '[ "$*" = "-Ur true" ]')
    assert bare.run("user-namespaces") == (0, ["HAS_USER_NAMESPACES = true"])
    bare.add("unshare", "echo 'unshare failed: Operation not permitted' >&2; exit 1")
    code, lines = bare.run("user-namespaces")
    assert (code, lines[0]) == (1, "HAS_USER_NAMESPACES = false")
    assert lines[-1].endswith("Operation not permitted")
    bare.add("unshare", "exit 0")
    limit = bare.folder / "proc" / "sys" / "user" / "max_user_namespaces"
    limit.parent.mkdir(parents=True)
    limit.write_text("0\n")
    assert bare.run("user-namespaces")[0] == 1


def test_each_repository_of_cvmfs_is_asked_by_itself(bare):
    assert bare.run("cvmfs")[0] == 2, "the site names none"
    (bare.folder / "cvmfs" / "a.example.org" / "x").mkdir(parents=True)
    (bare.folder / "cvmfs" / "b.c").mkdir()  # nothing is mounted there
    assert bare.run("cvmfs", CVMFS="a.example.org") == (
        0,
        ["HAS_CVMFS_a_example_org = true", "PYGLIDEIN_RESOURCE_CVMFS = true"],
    )
    both = ["HAS_CVMFS_a_example_org = true", "HAS_CVMFS_b_c = false"]
    code, lines = bare.run("cvmfs", CVMFS="a.example.org b.c")
    assert (code, lines) == (1, [*both, "PYGLIDEIN_RESOURCE_CVMFS = false", "no answer from b.c"])


def test_a_repository_that_hangs_is_given_up_without_the_others(tmp_path):
    bare = Bare(tmp_path, ["dash"])
    (bare.folder / "cvmfs" / "good").mkdir()
    (bare.folder / "cvmfs" / "bad").mkdir()
    bare.add("ls", "case $PWD in *bad) sleep 300 ;; *) echo x ;; esac")
    started = time.monotonic()
    code, lines = bare.run("cvmfs", CVMFS="bad good")
    assert (code, lines[:2]) == (1, ["HAS_CVMFS_bad = false", "HAS_CVMFS_good = true"])
    assert time.monotonic() - started < 50


SMI = "GPU-11111111-aaaa, 0\nGPU-22222222-bbbb, [N/A]\n"


@pytest.mark.parametrize(
    ("tool", "answer", "code", "reason"),
    [
        ("nvidia-smi", SMI, 0, None),
        ("nvidia-smi", SMI.splitlines()[0], 1, "nvidia-smi lists 1 GPUs, 2 are offered"),
        ("nvidia-smi", "GPU-1, 0\nGPU-2, 3\n", 1, "GPU-2 has 3 uncorrected memory errors"),
        ("nvidia-smi", "GPU-1, 0\nGPU-2, ERR!\n", 1, "nvidia-smi: GPU-2, ERR!"),
        ("nvidia-smi", "Unable to determine the device handle for GPU 0000:81:00.0: GPU is lost.", 1, "is lost."),
        ("nvidia-smi", "NVIDIA-SMI has failed\nno driver'; exit 9; echo '", 1, "nvidia-smi ended with 9: no driver"),
        ("rocm-smi", "GPU[0]\t\t: Unique ID: 0x1\nGPU[1]\t\t: Unique ID: 0x2", 0, None),
        ("amd-smi", "GPU: 0\n    BDF: 0000:01:00.0\nGPU: 1\n    BDF: 0000:02:00.0", 0, None),
    ],
)
def test_gpus_must_answer_all_and_without_complaints(bare, tool, answer, code, reason):
    bare.add(tool, f"echo '{answer}'")
    found, lines = bare.run("gpu", GPUS=2)
    assert found == code, lines
    assert lines[0] == f"PYGLIDEIN_RESOURCE_GPU = {'false' if code else 'true'}"
    assert len(lines) == 1 if reason is None else lines[-1].endswith(reason)


def test_only_the_gpus_of_this_glidein_are_asked_where_they_are_named(bare):
    bare.add("nvidia-smi", """[ "$1 $2" = "-i GPU-5" ] || exit 3; echo 'GPU-5, 0'""")
    assert bare.run("gpu", GPUS=1, cuda="GPU-5")[0] == 0
    assert bare.run("gpu", GPUS=1, cuda="0")[0] == 1


def test_gpus_that_nothing_here_can_ask_are_unknown(bare):
    assert bare.run("gpu", GPUS=1)[0] == 2
    assert bare.run("gpu") == (2, ["PYGLIDEIN_RESOURCE_GPU = false", "no GPU is offered"])


def test_a_container_program_must_say_its_version_and_run_the_image_at_hand(bare):
    code, lines = bare.run("apptainer")
    assert (code, len(lines)) == (1, 1)
    program = 'case $1 in --version) echo "singularity version 3.8\\"x" ;; *) [ -e "$2" ] && [ "$3" = true ] ;; esac'
    bare.add("singularity", program)
    good = ['GLIDEPOST_ApptainerVersion = "singularity version 3.8x"']
    assert bare.run("apptainer") == (0, good)
    image = bare.folder / "image.sif"
    image.touch()
    assert bare.run("apptainer", USER_IMAGE=image) == (0, good)
    assert bare.run("apptainer", USER_IMAGE="docker://debian") == (0, good)
    bare.add("mine", "[ $1 = --version ] || { echo 'FATAL: no user namespace' >&2; exit 255; }")
    code, lines = bare.run("apptainer", USER_IMAGE=image, APPTAINER=bare.folder / "bin" / "mine")
    assert code == 1
    assert lines[-1].endswith("ended with 255: FATAL: no user namespace")


def test_the_image_that_htcondor_brings_is_run_once_it_is_there(bare):
    image = bare.folder / "glidein" / "libexec" / "exit_37.sif"
    image.parent.mkdir(parents=True)
    image.touch()
    bare.add("apptainer", '[ "$*" != "exec glidein/libexec/exit_37.sif /exit_37" ] || exit 37')
    assert bare.run("apptainer")[0] == 0
    bare.add("apptainer", "exit 0")
    assert bare.run("apptainer")[0] == 1


@pytest.fixture
def listener() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("tool", ["bash", "python3", "curl"])
def test_one_collector_that_takes_a_connection_is_enough(bare, listener, tool):
    bare.link(tool)
    code, lines = bare.run("network", COLLECTORS=f"127.0.0.1:1 {listener} nowhere.invalid:9618")
    assert (code, lines) == (0, ["GLIDEPOST_CollectorsReached = 1"])
    code, lines = bare.run("network", COLLECTORS="127.0.0.1:1 nowhere.invalid:9618")
    assert (code, lines[0]) == (1, "GLIDEPOST_CollectorsReached = 0")
    assert "refused" in lines[-1].lower() or "connect" in lines[-1].lower()


def test_a_node_with_no_way_to_try_the_network_is_unknown(bare):
    assert bare.run("network", COLLECTORS="127.0.0.1:1")[0] == 2


class Clock(http.server.BaseHTTPRequestHandler):
    """Refuses with a date so many seconds ahead as the path says, and an age of the last part."""

    def do_HEAD(self) -> None:
        _, ahead, age = self.path.split("/")
        self.send_response_only(403)
        self.send_header("Date", formatdate(time.time() + int(ahead), usegmt=True))
        if age:
            self.send_header("Age", age)
        self.end_headers()

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Clock) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("tool", ["curl", "wget"])
def test_the_clock_is_compared_with_a_servers(bare, server, tool):
    bare.link(tool)
    code, lines = bare.run("clock", URL=f"{server}/0/")
    assert code == 0
    assert abs(int(lines[0].rpartition("= ")[2])) < 60
    code, lines = bare.run("clock", URL=f"{server}/4000/")
    assert code == 1
    assert lines[-1].startswith("the clock is -")
    assert bare.run("clock", URL=f"{server}/-4000/4000")[0] == 0, "an answer from a cache"
    assert bare.run("clock", URL=f"{server}/-4000/")[0] == 1
    assert bare.run("clock", URL="http://127.0.0.1:1/")[0] == 2
    assert bare.run("clock", URL="")[0] == 2


def test_without_a_program_to_ask_the_clock_is_unknown(bare, server):
    assert bare.run("clock", URL=f"{server}/4000/")[0] == 2
