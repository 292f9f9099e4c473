"""What a glidein costs its node and the store: seconds before HTCondor starts and after it ended, and bytes fetched.

Run with `pytest -s tests/bench/bench_glidein.py`. The numbers of one run are for comparing with each other: the same
script with and without the cache, and beside a shell that does nothing. HTCondor is a few lines of sh, but in the last.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from glidepost.glidein import build as builder
from glidepost.glidein import tarball
from glidepost.glidein.tarball import Manifest
from glidepost.infra.demo.testbed import Account, Pool, get_condor, make_passable, wait_until, workfolder

PARTS = Path(__file__).parents[2] / "glidein" / "bootstrap"
ROUNDS = 7
AT_ONCE = 20
TARBALL_BYTES = 11_000_000
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJnbGlkZWluIn0.c2VjcmV0"
# The fake condor_master leaves when it began and ended, in seconds since the boot, which all clocks here agree on.
MASTER = "#!/bin/sh\nread -r up rest </proc/uptime; echo ${up} >>MADE/$$\n"


@dataclass
class Counter:
    url: str = ""
    requests: int = 0
    sent_bytes: int = 0


@pytest.fixture
def folder() -> Iterator[Path]:
    # pytest's own folders are not to be entered by anybody but the caller
    made = Path(tempfile.mkdtemp(prefix="glidepost-bench-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def counter(folder: Path) -> Iterator[Counter]:
    """A server of what is in the folder, which counts what it sends."""
    counted, lock = Counter(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            body = (folder / self.path.lstrip("/")).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            with lock:
                counted.requests += 1
                counted.sent_bytes += len(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        counted.url = f"http://127.0.0.1:{server.server_port}"
        yield counted
        server.shutdown()


@dataclass(frozen=True)
class Node:
    """A worker node: its folders, which the account of glideins owns."""

    account: Account
    folder: Path

    def __post_init__(self) -> None:
        for name in ("scratch", "outcomes", "cache", "made"):
            self.account.make_folder(self.folder / name)

    def pack(self, size_bytes: int) -> Manifest:
        """Makes a tarball of about this size with a fake condor_master."""
        program, ballast = self.folder / "condor_master", self.folder / "ballast"
        program.write_text(MASTER.replace("MADE", str(self.folder / "made")))
        program.chmod(0o755)
        ballast.write_bytes(os.urandom(size_bytes))
        files = {"sbin/condor_master": program, "lib/ballast": ballast}
        return tarball.write(self.folder / "t.tar.gz", files, condor_version="25.0.1", os="any", arch="x86_64")

    def script(self, manifest: Manifest, url: str, **changes: str) -> Path:
        """Returns the file of a batch script."""
        token = self.folder / "token"
        if not token.exists():
            token.write_text(changes.pop("TOKEN", TOKEN) + "\n")
            self.account.give(token, 0o600)
        line = f"any {platform.machine()} {manifest.condor_version} {manifest.sha256} {manifest.size_bytes} {url}"
        request = {
            "NAME": "gp-bench-1",
            "SITE": "bench",
            "GLIDEIN_SITE": "Bench",
            "SHAPE": "small",
            "POOL": "bench",
            "COLLECTORS": "127.0.0.1:9618",
            "CPUS": "1",
            "MEMORY_MIB": "512",
            "DISK_MIB": "512",
            "GPUS": "0",
            "WALLTIME_S": "3600",
            "RETIRE_S": "60",
            "IDLE_S": "60",
            "UPDATE_S": "60",
            "FAIL_PAUSE_S": "0",
            "TOKEN_FILE": str(token),
            "SCRATCH": str(self.folder / "scratch"),
            "OUTCOMES": str(self.folder / "outcomes"),
            "CACHE": str(self.folder / "cache"),
            "TARBALLS": f"{line} {manifest.glibc or '-'} {manifest.unpacked_bytes}",
            **changes,
        }
        header = "".join(f"GLIDEPOST_{name}={shlex.quote(value)}\n" for name, value in request.items())
        path = self.folder / "script"
        path.write_text(f"#!/bin/sh\n{header}{''.join(part.read_text() for part in sorted(PARTS.glob('*.sh')))}")
        return path

    def start(self, script: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.account.prefix, "sh", str(script)],
            env={"PATH": "/usr/bin:/bin"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def masters(self) -> list[float]:
        """Returns when each condor_master began, and forgets them."""
        began = []
        for path in (self.folder / "made").iterdir():
            began.append(float(path.read_text()))
            path.unlink()
        return began

    def empty_cache(self) -> None:
        for path in (self.folder / "cache").iterdir():
            path.unlink()


def boot_clock() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@pytest.mark.timeout(600)
def test_the_bootstraps_own_overhead(folder, counter, write):
    node = Node(Account.current(), folder)
    small, large = node.folder / "small.tar.gz", node.folder / "large.tar.gz"
    manifests = {}
    for path, size_bytes in ((small, 1000), (large, TARBALL_BYTES)):
        manifests[path] = node.pack(size_bytes)
        (folder / "t.tar.gz").rename(path)
    floor = []
    (folder / "nothing").write_text(":\n")
    for _ in range(ROUNDS):
        began = boot_clock()
        node.start(folder / "nothing").communicate(timeout=60)
        floor.append(boot_clock() - began)
    write(
        f"\nthe bootstrap's own time, median of {ROUNDS}, in s (`sh` that does nothing: {statistics.median(floor):.3f})"
    )
    for path, cache, what in (
        (small, True, "a tarball of 1 kB, cached"),
        (large, True, f"a tarball of {TARBALL_BYTES / 1e6:.0f} MB, cached"),
        (large, False, f"a tarball of {TARBALL_BYTES / 1e6:.0f} MB, downloaded"),
    ):
        before, after = [], []
        script = node.script(manifests[path], f"{counter.url}/{path.name}", **({} if cache else {"CACHE": ""}))
        for number in range(ROUNDS + 1):
            began = boot_clock()
            output, _ = node.start(script).communicate(timeout=60)
            ended = boot_clock()
            (master,) = node.masters()
            assert "never-joined" in output, output
            if number:  # the first fills the cache
                before.append(master - began)
                after.append(ended - master)
        total = statistics.median(a + b for a, b in zip(before, after))
        text = f"{statistics.median(before):5.2f} before, {statistics.median(after):5.2f} after, {total:5.2f} together"
        goal = "" if total < 1 else "  (goal: 1)"
        write(f"  {what:32} {text}, {total / statistics.median(floor):5.0f} x sh{goal}")


@pytest.mark.timeout(600)
def test_what_twenty_glideins_of_one_node_fetch(folder, counter, write):
    node = Node(Account.current(), folder)
    manifest = node.pack(TARBALL_BYTES)
    found = {}
    write(f"\n{AT_ONCE} glideins at once on one node, a tarball of {manifest.size_bytes / 1e6:.1f} MB")
    for what, changes in (("no cache", {"CACHE": ""}), ("empty cache", {}), ("filled cache", {})):
        script = node.script(manifest, f"{counter.url}/t.tar.gz", **changes)
        counter.requests = counter.sent_bytes = 0
        began = boot_clock()
        running = [node.start(script) for _ in range(AT_ONCE)]
        outputs = [process.communicate(timeout=300)[0] for process in running]
        masters = node.masters()
        assert len(masters) == AT_ONCE, outputs
        found[what] = counter.sent_bytes / AT_ONCE
        write(
            f"  {what:14} {found[what] / 1e6:6.2f} MB per glidein, {counter.requests:2} requests; the first HTCondor"
            f" after {min(masters) - began:4.1f} s, the last after {max(masters) - began:4.1f} s"
        )
    assert found["filled cache"] == 0
    write(f"  with an empty cache {found['no cache'] / found['empty cache']:.0f} times less than without")


@pytest.mark.timeout(900)
def test_from_the_unpacking_to_a_slot_in_the_pool(folder, counter, write):
    account = Account.current()
    work = workfolder(account)
    condor = get_condor(work)
    run = make_passable(make_passable(work / "bench") / str(os.getpid()))
    pool = Pool(account, condor, run / "pool")
    try:
        pool.start()
        node = Node(account, folder)
        manifest = builder.build(condor.release, folder / "t.tar.gz")
        write(
            f"\nHTCondor {manifest.condor_version}, {manifest.size_bytes / 1e6:.1f} MB, a real pool; s after the start"
        )
        token = pool.token("glidein-bench", 600, ["READ", "ADVERTISE_STARTD", "ADVERTISE_MASTER"])
        more = {"TOKEN": token, "COLLECTORS": pool.collector, "NETWORK_INTERFACE": "127.0.0.1", "UPDATE_S": "2"}
        script = node.script(manifest, f"{counter.url}/t.tar.gz", IDLE_S="5", **more)
        for what in ("empty cache", "filled cache", "filled cache"):
            began = boot_clock()
            process = node.start(script)
            times = []
            for step in (
                lambda: any((folder / "scratch").glob("*/glidein")),
                lambda: any((folder / "scratch").glob("*/log/console")),
                lambda: bool(pool.slots('GLIDEPOST_Site == "bench"')),
            ):
                assert wait_until(step, 60), process.communicate(timeout=120)[0]
                times.append(boot_clock() - began)
            output, _ = process.communicate(timeout=120)
            assert "never-claimed" in output, output
            unpacked, started, slot = times
            write(
                f"  {what:14} unpacks at {unpacked:4.2f}, starts HTCondor at {started:4.2f}, slot at {slot:4.2f}:"
                f" {slot - unpacked:4.2f} from the unpacking to the slot"
            )
    finally:
        pool.stop()
        shutil.rmtree(run)
