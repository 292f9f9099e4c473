"""One run of the aggregator over 10, 100, 1000 and 10,000 heartbeats: time and memory, and what reading only what has
changed saves.

Each size has a process of its own, so that its memory is its own, with a store on the disk that answers at once: the
network's time comes on top (some milliseconds for each request, ten at a time). Measured are a first run, which reads
all and writes all; a run in which one heartbeat in fifteen has changed; the same when a slot of the histories is over;
and the same without what the runs before have kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Optional

import msgspec
import pytest

from glidepost.infra.aggregator.run import aggregate_once
from glidepost.publisher.store import COMPRESS_ABOVE, Listed
from glidepost.schema import compression
from glidepost.schema.demand import Demand, GlideinRelease, Group, ScheddView, ShapeView
from glidepost.schema.document import MAX_DOCUMENT_BYTES
from glidepost.schema.heartbeat import Counts, Heartbeat, Limits, ShapeReport
from glidepost.schema.resources import Request, Resources

SIZES = (10, 100, 1000, 10_000)
# A function of AWS Lambda that issue and template promise to be enough for 10,000 sites.
MOST_MIB = 256
MOST_S = 60
CHANGED = 15  # one heartbeat in so many changes between two runs: a report each quarter of an hour
START = datetime(2026, 11, 22, 9, 0, 20, tzinfo=timezone.utc)
SHAPES = (("cpu", 8, 0), ("gpu", 16, 2))


@dataclass
class Disk:
    """A store whose objects are files, so that they are no memory of the run; packed as the S3 store packs them."""

    folder: Path
    listed: dict[str, Listed] = field(default_factory=dict)
    reads: int = 0

    def path(self, key: str) -> Path:
        return self.folder / key.replace("/", "%")

    def get(self, key: str, *, max_bytes: int = MAX_DOCUMENT_BYTES) -> Optional[bytes]:
        if key not in self.listed:
            return None
        self.reads += 1
        body = self.path(key).read_bytes()
        return compression.unpack(body, max_bytes=max_bytes) if body[:2] == b"\x1f\x8b" else body

    def put(self, key: str, body: bytes, *, compress_above: Optional[int] = None, **_: object) -> None:
        packed = compression.pack(body) if compress_above and len(body) > compress_above else body
        self.path(key).write_bytes(packed)
        self.listed[key] = Listed(key, hashlib.sha256(packed).hexdigest(), len(packed))

    def copy(self, key: str, target: str) -> None:
        raise AssertionError(f"{key} is damaged: {target}")

    def delete(self, key: str) -> None:
        del self.listed[key]

    def entries(self, prefix: str) -> list[Listed]:
        return [listed for key, listed in sorted(self.listed.items()) if key.startswith(prefix)]


def heartbeat(number: int, sequence: int, at: datetime) -> bytes:
    def shape(name: str, cpus: int, gpus: int) -> ShapeReport:
        return ShapeReport(
            name,
            "slurm",
            Resources(cpus, 4096 * cpus, 20480 + number % 100, 172_800, gpus),
            Limits(200, 20, 180, 10),
            Counts(number % 7, number % 50),
            submitted=3,
            removed=0,
            reason="max-queued",
            detail=f"{number} missing, 2 of 10 queued",
            advertises={"GLIDEPOST_HasCvmfs": True, "GLIDEPOST_Os": "linux"},
        )

    shapes = tuple(shape(*item) for item in SHAPES)
    name, ended = f"site{number:05d}", {"idle-shutdown": 2, "never-joined": 1}
    made = Heartbeat(name, "i-1234567890", "0.1.0", sequence, at, shapes, 918, 40, 1, (), ended)
    # Not by to_json: that each one follows its schema is what the run finds out.
    return json.dumps({"kind": made.kind, **msgspec.to_builtins(made)}, indent=1).encode()


def demand(sites: int) -> bytes:
    names = [f"site{number:05d}" for number in range(min(sites, 2000))]

    def group(number: int) -> Group:
        request = Request(1 + number % 12, 2048 * (1 + number % 9), 1024, number % 3 // 2)
        shares = {names[(number * 7 + more) % len(names)]: 5 for more in range(min(10, len(names)))}
        return Group(f"g{number:08x}", 100 + number, START, 2, request, sites=shares)

    made = Demand(
        pool="bench",
        sequence=918,
        generated_at=START,
        expires_at=START + timedelta(hours=2),
        collectors=("cm.example.org:9618",),
        complete=True,
        schedds=(ScheddView("ap1", 12_000),),
        groups=tuple(group(number) for number in range(100)),
        glidein=GlideinRelease("stable", ()),
        pool_view={name: {"cpu": ShapeView(20, 160, 150, 0, 0), "gpu": ShapeView(2, 32, 30, 4, 3)} for name in names},
    )
    return json.dumps({"kind": made.kind, **msgspec.to_builtins(made)}).encode()


@dataclass
class Trial:
    """A pool of so many sites, and what its runs have cost: (seconds, seconds of cpu, reads)."""

    store: Disk
    sites: int
    costs: dict[str, tuple[float, float, int]] = field(default_factory=dict)

    def run(self, name: str, minute: int) -> None:
        self.store.reads = 0
        wall, cpu = time.perf_counter(), time.process_time()
        aggregate_once(self.store, START + timedelta(minutes=minute))
        self.costs[name] = (time.perf_counter() - wall, time.process_time() - cpu, self.store.reads)

    def report(self, minute: int, *, every: int) -> None:
        for number in range(0, self.sites, every):
            at = START + timedelta(minutes=minute, seconds=-(number % 60))
            self.store.put(f"v1/heartbeats/site{number:05d}.json", heartbeat(number, minute, at))


def measure(sites: int, folder: Path) -> None:
    """Prints what the runs have cost, and the most memory in MiB; in a process of its own."""
    trial = Trial(Disk(folder), sites)
    trial.store.put("v1/demand.json", demand(sites), compress_above=COMPRESS_ABOVE)
    trial.report(0, every=1)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    trial.run("first run: reads and writes all", 0)
    for minute in range(1, 5):  # each writes some of what the first one left to them
        trial.run("nothing has changed", minute)
    trial.report(5, every=CHANGED)
    trial.run("1 in 15 has changed, a slot is over", 5)
    trial.report(6, every=CHANGED)
    trial.run("1 in 15 has changed", 6)
    trial.report(7, every=CHANGED)
    trial.store.delete("v1/aggregator/kept.json")
    trial.run("the same, nothing was kept", 7)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sizes = {key: trial.store.listed[f"v1/{key}"].size_bytes for key in ("status.json", "aggregator/kept.json")}
    sys.stdout.write(json.dumps({"base": base, "peak": peak, "costs": trial.costs, "sizes": sizes}))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("sites", SIZES)
def test_a_run_over_many_heartbeats(sites, tmp_path, write):
    argv = [sys.executable, __file__, str(sites), str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    costs, sizes = found["costs"], found["sizes"]
    write(f"\n{sites} heartbeats, two shapes each, 100 groups: {found['peak']:.0f} MiB ({found['base']:.0f} before)")
    for name, (wall, cpu, reads) in costs.items():
        write(f"  {name:38} {wall:6.2f} s  {cpu:6.2f} s of cpu {reads:6} reads")
    (_, some_cpu, some_reads), (_, all_cpu, all_reads) = list(costs.values())[-2:]
    write(f"  only what has changed: reads / {all_reads / some_reads:.1f}, cpu / {all_cpu / some_cpu:.1f}")
    write(f"  packed: status {sizes['status.json'] // 1024} KiB, kept {sizes['aggregator/kept.json'] // 1024} KiB")
    assert found["peak"] < MOST_MIB
    assert max(wall for wall, _, _ in costs.values()) < MOST_S


if __name__ == "__main__":
    measure(int(sys.argv[1]), Path(sys.argv[2]))
