"""Stores with one fault each. A real one, without any, is in tests/real."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Optional

import pytest

from glidepost.publisher import publish
from glidepost.publisher.check_forms import HEARTBEAT_KEY, LOG_KEY, PROBE_KEY
from glidepost.publisher.check_store import StoreCheck
from glidepost.schema.checks import FAILED, OK, SKIPPED, Finding
from glidepost.schema.demand import GlideinRelease, Tarball
from glidepost.schema.errors import StoreError
from glidepost.schema.keys import SigningKey
from glidepost.schema.mailbox import Form
from glidepost.schema.store_keys import DEMAND_KEY

TARBALL = "v1/glidein/x.tar.gz"
PUBLIC = ("v1/demand.json", "v1/glidein/")


@dataclass
class FakeStore:
    """A store in memory with an address; `fault` is what is wrong with it."""

    url: str = ""
    fault: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    old: bytes = b""
    skew_s: int = 0
    puts: bool = False

    def refuse(self, fault: str) -> None:
        if self.fault == fault:
            raise StoreError("AccessDenied", hint="in this test")

    def list(self, prefix):
        self.refuse("no list")
        return [key for key in self.objects if key.startswith(prefix)]

    def get(self, key):
        self.refuse("no get")
        return self.objects.get(key)

    def put(self, key, body, *, compress_above=None, **_):
        self.refuse("no put")
        if self.fault == "keeps the first" and key in self.objects:
            return
        self.objects[key] = body if compress_above is None or self.fault != "forgets encodings" else b"\x1f\x8b"

    def delete(self, key):
        self.refuse("no delete")
        if self.fault != "removes nothing":
            self.objects.pop(key, None)

    @property
    def bucket_url(self):
        return f"{self.url}/bucket"

    @property
    def forms(self):
        return self

    def upload(self, key, *, max_bytes, content_type, **_):
        if self.puts:
            return Form(f"{self.url}/bucket/{key}?signed", headers={"Content-Type": content_type})
        return self.form(key, max_bytes, content_type)

    def log(self, site, **_):
        if self.puts:
            return None
        form = self.form(f"v1/logs/{site}/", 10_000, "application/gzip")
        return replace(form, fields={**form.fields, "key": "v1/logs/x/${filename}"})

    def form(self, key, max_bytes, content_type):
        policy = json.dumps([key, max_bytes, content_type])
        return Form(f"{self.url}/bucket/", {"key": key, "policy": policy, "Content-Type": content_type})

    # What anybody sees

    def seen(self, path: str) -> tuple[int, bytes]:
        bucket, _, key = path.lstrip("/").partition("/")
        if key.startswith("?list-type=2"):
            return (200, b"<ListBucketResult>") if self.fault == "anybody lists" else (403, b"")
        if key == "v1/demand.json" and self.fault == "serves an old copy":
            return 200, self.old
        is_public = key.startswith(PUBLIC) if self.fault != "nobody reads" else False
        if bucket == "bucket" and (is_public or self.fault == "anybody reads") and key in self.objects:
            return 200, self.objects[key]
        return 403, b""

    def post(self, body: bytes) -> int:
        def value(name: str) -> bytes:
            part = body.split(b'name="%s"' % name.encode(), 1)[1]
            return part.split(b"\r\n\r\n", 1)[1].split(b"\r\n--", 1)[0]

        wanted, max_bytes, kind = json.loads(value("policy"))
        key, sent, sent_kind = value("key").decode(), value("file"), value("Content-Type").decode()
        if self.fault == "knows no forms":
            return 501
        if key.startswith("v1/check/") and self.fault != "may write all":
            return 403  # the key that signs them may not
        if key.startswith("v1/logs/") and self.fault == "may write no logs":
            return 403
        is_key_good = key.startswith(wanted) if wanted.startswith("v1/logs/") else key == wanted
        is_checked = self.fault != "ignores policies"
        if is_checked and self.fault != "ignores keys" and not is_key_good:
            return 403
        if is_checked and (len(sent) > max_bytes or (sent_kind != kind and self.fault != "ignores types")):
            return 403
        if self.fault != "loses uploads":
            self.objects[key] = sent
        return 204

    def put_there(self, path: str, body: bytes, content_type: Optional[str]) -> int:
        key, _, signature = path.partition("/bucket/")[2].partition("?")
        is_kind = content_type == "application/json" or self.fault == "ignores types"
        is_allowed = key == HEARTBEAT_KEY and is_kind if signature else self.fault == "anybody writes"
        if not is_allowed:
            return 403
        self.objects[key] = body
        return 200


def handler(store: FakeStore) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def date_time_string(self, _timestamp=None) -> str:
            return format_datetime(datetime.now(timezone.utc) + timedelta(seconds=store.skew_s), usegmt=True)

        def answer(self, status: int, body: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_GET(self) -> None:
            self.answer(*store.seen(self.path))

        def do_HEAD(self) -> None:
            self.answer(*store.seen(self.path))

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(store.put_there(self.path, body, self.headers["Content-Type"]))

        def do_POST(self) -> None:
            self.answer(store.post(self.rfile.read(int(self.headers["Content-Length"]))))

    return Handler


@pytest.fixture
def web():
    """A store without a fault, and empty."""
    store = FakeStore()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(store)) as server:
        server.daemon_threads = True
        store.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield store
        server.shutdown()
        thread.join()


@pytest.fixture
def demand(web, group_anywhere, make_demand_anywhere):
    tarball = Tarball("el9", "x86_64", "25.14.1", f"{web.url}/bucket/{TARBALL}", "ab" * 32, 3)
    now = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(minutes=5)
    return replace(
        make_demand_anywhere((group_anywhere,), ()),
        sequence=8,
        generated_at=now,
        expires_at=now + timedelta(minutes=30),
        glidein=GlideinRelease("stable", (tarball,)),
    )


@pytest.fixture
def filled(web, demand, pool_key, tmp_path):
    """The store with a demand and the tarball that it names."""
    web.objects[TARBALL] = b"tar"
    publish.write(web, replace(demand, sequence=7), pool_key, tmp_path / "old")
    web.old = web.objects[DEMAND_KEY]
    publish.write(web, demand, pool_key, tmp_path / "sequence")
    return web


@pytest.fixture
def check(config, web):
    """Returns what is found, by the checks' names."""

    def run(**changes) -> dict[str, Finding]:
        limited = replace(config.store, public_url=f"{web.url}/bucket", forms_credentials="forms.ini")
        public = replace(config, store=replace(limited, **changes))
        findings = list(StoreCheck(public, web, clock=lambda: datetime.now(timezone.utc))())
        assert len({item.name for item in findings}) == len(findings)
        assert all(item.remedy for item in findings if item.state != OK)
        return {item.name: item for item in findings}

    return run


def failed(found: dict[str, Finding]) -> dict[str, str]:
    return {name: item.text for name, item in found.items() if item.state == FAILED}


def test_a_store_without_a_fault_passes_and_holds_nothing_new(check, filled):
    before = dict(filled.objects)
    found = check()
    assert {item.state for item in found.values()} == {OK}
    assert filled.objects == before
    assert found["published demand"].text.startswith("demand 8 is signed by our key, and good for 24m")


def test_before_the_first_demand_there_is_less_to_check(check, web):
    found = check()
    skipped = {name for name, item in found.items() if item.state == SKIPPED}
    assert skipped == {"published demand", "public: demand", "public: tarballs"}
    assert failed(found) == {}
    assert web.objects == {}


@pytest.mark.parametrize(
    ("fault", "name", "text"),
    [
        ("no list", "store: list", "AccessDenied"),
        ("no put", "store: write and read", "AccessDenied"),
        ("keeps the first", "store: write and read", "is not what was just written"),
        ("forgets encodings", "store: compressed", "Content-Encoding"),
        ("loses uploads", "store: upload form", "does not arrive"),
        ("ignores types", "store: log form", "lets a site write another kind of object"),
        ("may write no logs", "store: log form", "HTTP 403"),
        ("may write all", "store: key of the forms", "can also write v1/check/probe.json"),
        ("anybody reads", "private: heartbeats", "anybody can read"),
        ("anybody writes", "private: writing", "anybody can write"),
        ("anybody lists", "private: list", "anybody can list"),
        ("no delete", "store: remove", "AccessDenied"),
        ("removes nothing", "store: remove", "is still there"),
        ("serves an old copy", "public: demand", "demand 7, and the store has 8"),
    ],
)
def test_each_fault_is_found_and_named(check, filled, fault, name, text):
    filled.fault = fault
    found = failed(check())
    assert set(found) == {name}
    assert text in found[name]


@pytest.mark.parametrize(
    ("fault", "text"),
    [("knows no forms", "HTTP 501"), ("ignores policies", "lets a site write more than its size")],
)
def test_what_is_wrong_with_all_forms_is_found_with_both(check, filled, fault, text):
    filled.fault = fault
    found = failed(check())
    assert set(found) == {"store: upload form", "store: log form"}
    assert text in found["store: upload form"]


def test_a_store_that_ignores_keys_lets_a_site_write_anything_that_its_key_may(check, filled):
    filled.fault = "ignores keys"
    assert "lets a site write another site's logs" in failed(check())["store: log form"]


def test_without_a_key_of_their_own_forms_are_remarked_upon(check, filled):
    filled.fault = "may write all"
    found = check(forms_credentials=None)["store: key of the forms"]
    assert (found.state, "forms_credentials" in found.remedy) == (OK, True)


def test_a_form_that_puts_has_no_bound_on_its_size_which_is_said(check, filled):
    filled.puts = True
    found = check()
    assert failed(found) == {}
    assert "of any size" in found["store: upload form"].text
    assert found["store: log form"].state == SKIPPED
    filled.fault = "ignores types"
    assert "another kind of object" in failed(check())["store: upload form"]


def test_what_nobody_can_read_is_found(check, filled):
    filled.fault = "nobody reads"
    assert set(failed(check())) == {"public: demand", "public: tarballs"}


def test_a_tarball_that_is_damaged_is_found(check, filled):
    filled.objects[TARBALL] = b"t"
    assert "1 of 3 bytes" in failed(check())["public: tarballs"]


@pytest.mark.parametrize(("skew_s", "is_good"), [(-70, False), (-50, True), (50, True), (70, False)])
def test_a_clock_may_differ_by_a_minute(check, filled, skew_s, is_good):
    filled.skew_s = skew_s
    found = failed(check())
    assert set(found) == (set() if is_good else {"store: clock"})


def test_a_demand_that_sites_refuse_is_found(check, filled, demand, pool_key, tmp_path):
    for changes, key, text in (
        ({"expires_at": demand.generated_at}, pool_key, "demand 8 expired 5m"),
        ({"pool": "other"}, pool_key, "it is of pool other"),
        ({}, SigningKey.generate(), "not signed by a key we trust"),
    ):
        publish.write(filled, replace(demand, **changes), key, tmp_path / "sequence")
        assert text in failed(check())["published demand"]
    filled.objects[DEMAND_KEY] = b"<html>"
    assert "is not a demand document" in failed(check())["published demand"]


def test_a_new_demand_may_reach_sites_some_seconds_late(check, filled, demand, pool_key, tmp_path):
    fresh = replace(demand, generated_at=datetime.now(timezone.utc).replace(microsecond=0))
    publish.write(filled, fresh, pool_key, tmp_path / "sequence")
    filled.fault = "serves an old copy"
    assert failed(check()) == {}


def test_an_address_where_nothing_listens_is_said_with_what_to_try(check, filled):
    filled.url = "http://127.0.0.1:1"
    found = failed(check())
    assert {"store: upload form", "store: clock", "public: demand"} <= set(found)
    assert PROBE_KEY not in filled.objects
    assert HEARTBEAT_KEY not in filled.objects
    assert LOG_KEY not in filled.objects
