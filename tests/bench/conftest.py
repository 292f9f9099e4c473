"""A site, its store and its demand, for what measures the puller: commands that are timed whole, as processes."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pool_tokens import ENDLESS

from glidepost.schema.demand import Demand, GlideinRelease, Group, ScheddView, ShapeView, Tarball
from glidepost.schema.document import encode
from glidepost.schema.keys import SigningKey
from glidepost.schema.mailbox import Form, Letter, Mailbox
from glidepost.schema.puller_config import PullerConfig
from glidepost.schema.resources import Request
from glidepost.schema.signing import sign

PROGRAM = str(Path(sys.executable).with_name("glidepost"))
POOL_KEY, SITE_KEY = SigningKey(bytes(range(32))), SigningKey(bytes(range(32, 64)))

CONFIG = """
[site]
name = "site00"
key = "site.key"
state = "state"

[pool]
url = "{url}"
public_key = "{key}"
"""
SHAPE = """
[shapes.{name}]
backend = "slurm"
cpus = {cpus}
gpus = {gpus}
memory = "{memory}GiB"
disk = "20GiB"
walltime = "24h"
max_total = {most}
max_per_cycle = {most}
{more}
"""
KINDS = (
    {"name": "one", "cpus": 1, "gpus": 0, "memory": 4, "more": ""},
    {"name": "four", "cpus": 4, "gpus": 0, "memory": 16, "more": ""},
    {"name": "whole", "cpus": 64, "gpus": 0, "memory": 250, "more": ""},
    {"name": "gpu", "cpus": 2, "gpus": 1, "memory": 12, "more": ""},
    {"name": "cut", "cpus": 32, "gpus": 0, "memory": 128, "more": "fit = true"},
)


@dataclass(frozen=True)
class Cost:
    cpu_s: float
    wall_s: float


@dataclass
class Store:
    """What a site sees of an object store: real HTTP, with ETags."""

    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)
    sequence: int = 0

    def publish(self, demand: Demand) -> None:
        """Puts this demand in, younger than the one before."""
        self.sequence += 1
        self.objects["/v1/demand.json"] = encode(sign(replace(demand, sequence=self.sequence).to_json(), POOL_KEY))

    def enrol(self, at: datetime) -> None:
        form = Form(f"{self.url}/form", {"key": "v1/heartbeats/site00.json", "policy": "a policy"})
        letter = Letter("site00", at, at + timedelta(hours=48), form, ENDLESS)
        sealed = Mailbox.pack(letter, SITE_KEY.public)
        self.objects["/v1/sites/site00.json"] = encode(sign(sealed.to_json(), POOL_KEY))


def handler(store: Store) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None: ...

        def answer(self, status: int, body: bytes = b"", tag: str = "") -> None:
            store.statuses.append(status)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", tag)
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            body = store.objects[self.path]
            tag = f'"{hashlib.sha256(body).hexdigest()[:12]}"'
            self.answer(*((304, b"", tag) if self.headers.get("If-None-Match") == tag else (200, body, tag)))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(204)

    return Handler


@dataclass(frozen=True)
class Site:
    """A site whose batch commands are in `folder`/bin."""

    folder: Path
    store: Store

    def configure(self, shapes: Sequence[Mapping[str, Any]], most: int = 1) -> PullerConfig:
        text = CONFIG.format(url=self.store.url, key=POOL_KEY.public)
        path = self.folder / "puller.toml"
        path.write_text(text + "".join(SHAPE.format(**shape, most=most) for shape in shapes))
        shutil.rmtree(self.folder / "state", ignore_errors=True)
        return PullerConfig.load(path)

    def command(self, name: str, *lines: str) -> None:
        path = self.folder / "bin" / name
        path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        path.chmod(0o755)

    def cost(self, argv: Sequence[str]) -> Cost:
        """Runs a command to its end, which must be a good one."""
        environment = {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}
        environment["GLIDEPOST_FAKE_STATE"] = str(self.folder / "queue.json")
        with (self.folder / "output").open("w") as output:
            began = time.perf_counter()
            child = subprocess.Popen(
                argv, env=environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
            _, status, usage = os.wait4(child.pid, 0)
            wall_s = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0, self.output()
        return Cost(usage.ru_utime + usage.ru_stime, wall_s)

    def output(self) -> str:
        return (self.folder / "output").read_text()

    def run(self) -> Cost:
        return self.cost([PROGRAM, "puller", "run"])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    store = Store()
    (tmp_path / "bin").mkdir()
    SITE_KEY.save(tmp_path / "site.key")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(store)) as server:
        store.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        store.enrol(now())
        yield Site(tmp_path, store)
        server.shutdown()
        thread.join()


def now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)


def some_group(number: int, chance: random.Random, share: int) -> Group:
    """Returns a group that ten of thirty sites have a share of, ours too if it is not 0."""
    cpus, gpus = chance.choice((1, 1, 1, 2, 4, 8)), chance.choice((0, 0, 0, 0, 1))
    sites = {f"site{chance.randrange(1, 30):02d}": chance.randrange(1, 50) for _ in range(10)}
    sites.update({"site00": share} if share else {})
    return Group(
        f"g{number:08x}",
        sum(sites.values()),
        now() - timedelta(minutes=chance.randrange(600)),
        chance.randrange(1, 5),
        Request(cpus, 256 * chance.randrange(1, 64), 256 * chance.randrange(1, 40), gpus),
        f"group_{number % 7}",
        3600 * chance.randrange(1, 20),
        sites,
        {name: ("one", "four", "gpu") for name in chance.sample(sorted(sites), 3) if name != "site00"},
    )


def made(groups: int, share: int = 0) -> Demand:
    chance = random.Random(groups)
    listed = tuple(some_group(number, chance, share) for number in range(groups))
    seen = {name: ShapeView(100, 400, 390, 0, 0) for name in ("one", "four", "whole")}
    return Demand(
        pool="bench",
        sequence=1,
        generated_at=now(),
        expires_at=now() + timedelta(hours=6),
        collectors=("cm.example.org:9618",),
        complete=True,
        schedds=(ScheddView("ap1", sum(group.idle_jobs for group in listed)),),
        groups=listed,
        glidein=GlideinRelease(
            "stable", (Tarball("any", "x86_64", "25.14.1", "https://x.example.org/t.tar.gz", "ab" * 32, 9),)
        ),
        pool_view={f"site{number:02d}": seen for number in range(30)},
    )


@pytest.fixture
def demand_of():
    """Makes a demand of so many groups: demand_of(500, share=20) has user jobs for our site in each."""
    return made


@pytest.fixture
def kinds():
    """The shapes of the site; the last one is cut to the user jobs."""
    return KINDS


@pytest.fixture
def timed():
    """Measures a function in this process: timed(function, 5) is the best of five."""

    def measure(function: Callable[[], Any], times: int) -> Cost:
        costs = []
        for _ in range(times):
            cpu, wall = time.process_time(), time.perf_counter()
            function()
            costs.append(Cost(time.process_time() - cpu, time.perf_counter() - wall))
        return Cost(min(cost.cpu_s for cost in costs), min(cost.wall_s for cost in costs))

    return measure


@pytest.fixture
def write():
    """Prints one line, whatever pytest does with the rest."""

    def line(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    return line
