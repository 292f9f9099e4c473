"""Twenty glideins on one machine at once, real ones, as on a node with many cores."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from glideins import Site

from glidepost.infra.demo.testbed import wait_until

COUNT = 20
# Of one glidein with one user job: pages that no other process has, and its part of those that it shares.
MOST_MIB = 150


def memory_mib(pids: list[int]) -> float:
    """Returns the proportional set size of processes, in MiB."""
    total_kib = 0
    for pid in pids:
        with suppress(OSError):
            for line in (Path("/proc") / str(pid) / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total_kib += int(line.split()[1])
    return total_kib / 1024


@pytest.fixture
def go_on(site: Site) -> Iterator[Path]:
    """A file that user jobs wait for."""
    path = site.folder / "jobs" / "go-on"
    yield path
    path.touch()


def test_twenty_glideins_on_one_node_do_not_meet(site: Site, go_on: Path) -> None:
    cluster = site.submit(f"until test -e {go_on}; do sleep 1; done", COUNT)
    began = time.monotonic()
    glideins = [site.start(CPUS="1", MEMORY_MIB="256", DISK_MIB="64", IDLE_S="30") for _ in range(COUNT)]
    assert wait_until(lambda: site.states(cluster).count(2) == COUNT, 120, step_s=0.5), site.states(cluster)
    running_s = time.monotonic() - began
    used_mib = memory_mib(site.processes(*glideins))
    go_on.touch()
    assert wait_until(lambda: not site.states(cluster), 60, step_s=0.5)
    done = time.monotonic()
    for glidein in glideins:
        glidein.send_signal(signal.SIGTERM)
    outcomes = []
    for glidein in glideins:
        output, _ = glidein.communicate(timeout=120)
        outcomes.append((glidein.returncode, "outcome killed: SIGTERM; 1 user jobs started" in output))
    left_s = time.monotonic() - done
    assert outcomes == [(0, True)] * COUNT
    assert len(list((site.folder / "outcomes").glob("*.json"))) == COUNT
    assert list((site.folder / "scratch").iterdir()) == []
    assert wait_until(lambda: not site.processes(*glideins), 5), site.processes(*glideins)
    assert wait_until(lambda: site.slots() == [], 60)
    # One tarball is in the node's cache, whole, and nothing else.
    assert [path.name for path in (site.folder / "cache").iterdir()] == [f"{site.built.manifest.sha256}.tar.gz"]
    # (shown by pytest -rP)
    sys.stdout.write(f"{COUNT} glideins: the last user job runs {running_s:.1f} s after the start of all; ")
    sys.stdout.write(f"{used_mib:.0f} MiB in use; all are gone {left_s:.1f} s after the last user job\n")
    assert used_mib < COUNT * MOST_MIB
