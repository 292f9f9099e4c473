"""A site without a batch system: a store that is a real HTTP server, and a queue that does what it is told."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Optional

import pytest
import requests
from pool_tokens import ENDLESS

from glidepost.backends.base import BatchJob, GlideinRequest, JobState
from glidepost.schema.demand import Demand
from glidepost.schema.document import encode
from glidepost.schema.errors import Refused
from glidepost.schema.heartbeat import Heartbeat, Limits
from glidepost.schema.keys import SigningKey
from glidepost.schema.mailbox import Form, Letter, Mailbox
from glidepost.schema.puller_config import GlideinOptions, PullerConfig, Shape
from glidepost.schema.resources import Resources
from glidepost.schema.signing import sign
from glidepost.site_puller.cycle import Cycle
from glidepost.site_puller.fetch import open_source
from glidepost.site_puller.heartbeat import Route
from glidepost.site_puller.queue import Answer as QueueAnswer

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Store:
    """What a site sees of an object store. `answers` take the place of objects: answers that no store should give."""

    url: str = ""
    date: Optional[datetime] = None
    objects: dict[str, bytes] = field(default_factory=dict)
    encodings: dict[str, str] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    gets: list[tuple[str, int]] = field(default_factory=list)
    posts: list[tuple[str, bytes]] = field(default_factory=list)
    post_status: int = 204

    def last_heartbeat(self) -> Heartbeat:
        content_type, body = self.posts[-1]
        part = body.split(b"--" + content_type.split("boundary=")[1].encode())[-2]
        return Heartbeat.from_json(json.loads(part.split(b"\r\n\r\n", 1)[1]))


def _handler(store: Store) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None: ...

        def date_time_string(self, timestamp: Optional[float] = None) -> str:
            return format_datetime(store.date, usegmt=True) if store.date else super().date_time_string(timestamp)

        def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content_Length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            key = self.path.lstrip("/")
            if key in store.answers:
                self.close_connection = True
                store.answers[key](self)
                return
            body = store.objects.get(key)
            tag = f'"{hashlib.sha256(body or b"").hexdigest()[:12]}"'
            status = 404 if body is None else 304 if self.headers.get("If-None-Match") == tag else 200
            store.gets.append((key, status))
            encoding = {"Content_Encoding": store.encodings[key]} if key in store.encodings else {}
            self.answer(status, (body or b"") if status == 200 else b"", ETag=tag, **encoding)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            store.posts.append((self.headers["Content-Type"], body))
            self.answer(store.post_status, Location="/login")

        do_PUT = do_POST  # noqa: N815 - as http.server wants it

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Says nothing: readers that hang up early are what some tests are about."""


@pytest.fixture
def web(now):
    """An HTTP server on this host, whose clock shows the tests' time."""
    store = Store(date=now)
    with _Server(("127.0.0.1", 0), _handler(store)) as server:
        store.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield store
        server.shutdown()
        thread.join()


@pytest.fixture
def session():
    with requests.Session() as made:
        made.trust_env = False
        yield made


@pytest.fixture
def make_shape():
    """Makes a shape of one core: make_shape("small", max_total=5, cpus=2)."""

    def make(name: str = "cpu", **changes) -> Shape:
        resources = {"cpus": 1, "memory_mib": 2048, "disk_mib": 10_000, "walltime_s": 3600, "gpus": 0}
        limits = {"max_total": 10, "max_queued": 10, "max_running": 10, "max_per_cycle": 10}
        for values in (resources, limits):
            values.update({key: changes.pop(key) for key in list(changes) if key in values})
        return Shape(
            **{
                "name": name,
                "backend": "local",
                "resources": Resources(**resources),
                "limits": Limits(**limits),
                "options": {},
                **changes,
            }
        )

    return make


@pytest.fixture
def make_config(tmp_path, web, make_shape, pool_key, site_key):
    """Makes the configuration of site north."""
    key = tmp_path / "site.key"
    site_key.save(key)

    def make(*shapes: Shape, **changes) -> PullerConfig:
        values = {
            "site": "north",
            "glidein_site": "North",
            "key": key,
            "state": tmp_path / "state",
            "url": web.url,
            "public_key": pool_key.public,
            "shapes": shapes or (make_shape(),),
            "glidein": GlideinOptions(),
            "timeout_s": 5,
        }
        return PullerConfig(**{**values, **changes})

    return make


@pytest.fixture
def publish(web, make_demand, pool_key, site_key, now):
    """Puts a demand with these groups, and a mailbox for north, into the store."""

    def put(
        *groups, key: SigningKey = pool_key, at: datetime = now, mailbox: bool = True, token: str = ENDLESS, **changes
    ) -> Demand:
        changes = {"generated_at": at, "expires_at": at + timedelta(minutes=30), **changes}
        demand = make_demand(*groups, **changes)
        web.objects["v1/demand.json"] = encode(sign(demand.to_json(), key))
        if mailbox:
            form = Form(f"{web.url}/form", {"key": "v1/heartbeats/north.json", "policy": "s3cret-policy"})
            letter = Letter("north", at, at + timedelta(hours=48), form, token)
            sealed = Mailbox.pack(letter, site_key.public)
            web.objects["v1/sites/north.json"] = encode(sign(sealed.to_json(), pool_key))
        return demand

    return put


@dataclass
class FakeQueue:
    """A batch system in memory.

    Queries end with `error`, after `listed` batch jobs; submissions raise `refusal` or, accepted, `lost`.
    """

    identity: tuple[object, ...] = ("fake",)
    jobs_: list[BatchJob] = field(default_factory=list)
    requests: list[GlideinRequest] = field(default_factory=list)
    error: Optional[Exception] = None
    refusal: Optional[Exception] = None
    most_at_once: int = 10**6
    most_live: int = 10**6
    lost: Optional[Exception] = None
    is_slow_to_list: bool = False
    listed: Optional[int] = None
    asked: int = 0
    removed: list[str] = field(default_factory=list)
    removal_error: Optional[Exception] = None
    hidden: list[BatchJob] = field(default_factory=list)

    def count(self) -> QueueAnswer:
        self.asked += 1
        return QueueAnswer(tuple(self.jobs_[: self.listed]) if self.error is None or self.listed else (), self.error)

    def submit(self, request: GlideinRequest) -> str:
        self.requests.append(request)
        if self.refusal:
            raise self.refusal
        if request.count > self.most_at_once or request.count + len(self.jobs_) > self.most_live:
            raise Refused("sbatch: too many (exit 1)", hint="x", is_limit=self.most_live < 10**6, is_size=True)
        number = str(len(self.requests))
        made = [BatchJob(f"{number}_{member}", request.name, JobState.IDLE) for member in range(request.count)]
        (self.hidden if self.is_slow_to_list else self.jobs_).extend(made)
        if self.lost:
            raise self.lost
        return number

    def remove(self, batch_ids) -> None:
        self.removed += batch_ids
        if self.removal_error:
            raise self.removal_error
        self.jobs_ = [job for job in self.jobs_ if job.batch_id not in batch_ids]

    def become(self, state: JobState, count: int = 10**6) -> None:
        """Changes the first of the listed batch jobs."""
        self.jobs_ = [
            BatchJob(job.batch_id, job.name, state) if index < count else job for index, job in enumerate(self.jobs_)
        ]

    def show(self) -> None:
        """Lists what was hidden so far."""
        self.jobs_ += self.hidden
        self.hidden = []


@pytest.fixture
def queue() -> FakeQueue:
    return FakeQueue()


@pytest.fixture
def make_queue():
    return FakeQueue


@pytest.fixture
def run_cycle(make_config, queue, session, now):
    """Runs a cycle: run_cycle(), run_cycle(config, at=timedelta(minutes=5), queues={"cpu": queue})."""

    def run(config: Optional[PullerConfig] = None, *, at: timedelta = timedelta(0), queues=None):
        config = config or make_config()
        queues = queues or {shape.name: queue for shape in config.shapes}
        source, route = open_source(config, session), Route.of(config, session)
        cycle = Cycle(config, now=now + at, queues=queues, source=source, route=route)
        return cycle.act(cycle.prepare())

    return run


@pytest.fixture
def state(tmp_path) -> Path:
    return tmp_path / "state"
