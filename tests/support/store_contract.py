"""What Glidepost relies on at a store, tried at each: whose forms write what, who reads what, who lists.

A module of tests makes `class TestNAME(StoreContract)` with a fixture `server`. Where servers differ, and both is
right, a `Server` says what its own does.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Union

import pytest
import requests

from glidepost.infra.demo.testbed import PUBLIC_KEYS, REGION, MiniStack, Store, wait_until
from glidepost.publisher.check_forms import FormCheck
from glidepost.publisher.forms import MAX_LOG_BYTES
from glidepost.publisher.store import S3Store
from glidepost.schema.checks import OK, SKIPPED
from glidepost.schema.errors import StoreError
from glidepost.schema.heartbeat import Heartbeat
from glidepost.schema.mailbox import FILENAME, Form, Letter
from glidepost.schema.publisher_config import StoreSettings
from glidepost.schema.store_keys import MAX_HEARTBEAT_BYTES
from glidepost.site_puller import heartbeat, log_form, outbox
from glidepost.site_puller.web import Session

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NOW = datetime.now(timezone.utc).replace(microsecond=0)
REPORT = Heartbeat("north", "instance", "0.1.0", 1, NOW, ())
KEY = "v1/heartbeats/north.json"
PARTS = Path(__file__).parents[2] / "glidein" / "bootstrap"
PUBLISHED = [key.replace("*", "probe") for key in PUBLIC_KEYS]


@dataclass(frozen=True)
class Server:
    """A store, and where it differs from others.

    `extra` are fields of a form that it takes though the policy does not name them; they change nothing that matters.
    `dotted` is its answer to the key "v1/logs/north/../x": 400 for a name that it does not like, 204 where names mean
    nothing, as at AWS: then the object has this very name. `missing` is that to a stranger who asks for what is not
    there, below a public prefix: 403 at AWS, for one who may not list.
    """

    store: Union[Store, MiniStack]
    dotted: int
    missing: int = 404
    extra: frozenset[str] = frozenset()

    @cached_property
    def client(self) -> S3Client:
        """The administrator's."""
        return self.store.client()

    @lru_cache(maxsize=16)  # noqa: B019 - there are two of these, for the whole run
    def open(self, **changes: object) -> S3Store:
        """Returns the store as a publisher has it, with its two keys."""
        store = self.store
        settings = StoreSettings(
            bucket=store.bucket,
            public_url=store.public_url,
            endpoint=store.endpoint,
            region=REGION,
            credentials=str(store.credentials),
            forms_credentials=str(store.forms_credentials),
        )
        return S3Store.from_settings(replace(settings, **changes))  # type: ignore[arg-type]

    def body(self, key: str) -> bytes:
        """Returns what is in the bucket, b"" if nothing is, asked by an administrator."""
        if key not in self.objects():
            return b""
        return self.client.get_object(Bucket=self.store.bucket, Key=key)["Body"].read()

    def objects(self) -> set[str]:
        """Returns what is in the bucket."""
        listed = self.client.list_objects_v2(Bucket=self.store.bucket)
        return {item["Key"] for item in listed.get("Contents", [])}


def post(form: Form, body: bytes = b"{}", **changes: str) -> int:
    """Returns the answer to a form, some of whose fields are changed; None takes one away."""
    fields = {**form.fields, **changes}
    return requests.post(form.url, data=fields, files={"file": ("any", body)}, timeout=60).status_code


def put(form: Form, body: bytes = b"{}", **headers: str) -> int:
    """Returns the answer to a presigned PUT."""
    sent = {**form.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return requests.put(form.url, data=body, headers=sent, timeout=60).status_code


class StoreContract:
    """What must hold at every store."""

    @pytest.fixture(autouse=True)
    def _empty(self, server: Server) -> Iterator[None]:
        """Each test begins with an empty bucket but for a demand, and changes nothing of that one."""
        client = server.client
        for key in server.objects():
            client.delete_object(Bucket=server.store.bucket, Key=key)
        client.put_object(Bucket=server.store.bucket, Key="v1/demand.json", Body=b"the demand")
        yield
        assert server.body("v1/demand.json") == b"the demand"

    @pytest.fixture
    def form(self, server: Server) -> Form:
        return server.open().forms.heartbeat("north", life_s=600)

    @pytest.fixture
    def logs(self, server: Server) -> Form:
        form = server.open().forms.log("north", life_s=600)
        assert form is not None
        return form

    @pytest.fixture
    def put_form(self, server: Server) -> Form:
        return server.open(uploads="put").forms.heartbeat("north", life_s=600)

    # --- heartbeats

    def test_a_heartbeat_arrives_by_its_form_as_it_was_sent(self, server: Server, form: Form) -> None:
        with Session() as session:
            heartbeat.send(REPORT, form, timeout_s=60, session=session)
        stored = server.client.get_object(Bucket=server.store.bucket, Key=KEY)
        assert Heartbeat.from_json(json.loads(stored["Body"].read())) == REPORT
        assert stored["ContentType"] == "application/json"

    @pytest.mark.parametrize(
        "key",
        ["v1/heartbeats/south.json", "v1/heartbeats/north.json2", "v1/demand.json", "v1/logs/north/x", KEY + "/x"],
    )
    def test_a_form_writes_no_other_key(self, server: Server, form: Form, key: str) -> None:
        assert post(form, key=key) == 403
        assert server.objects() == {"v1/demand.json"}

    @pytest.mark.parametrize("size_bytes", [0, 1, MAX_HEARTBEAT_BYTES + 1, 10 * MAX_HEARTBEAT_BYTES])
    def test_a_heartbeat_of_another_size_is_refused(self, server: Server, form: Form, size_bytes: int) -> None:
        assert post(form, b" " * size_bytes) == 400
        assert KEY not in server.objects()
        assert post(form, b" " * MAX_HEARTBEAT_BYTES) == 204

    @pytest.mark.parametrize("kind", ["text/html", "application/json; charset=utf-8", ""])
    def test_another_content_type_is_refused(self, server: Server, form: Form, kind: str) -> None:
        assert post(form, **{"Content-Type": kind}) == 403
        assert KEY not in server.objects()

    @pytest.mark.parametrize("name", ["x-amz-meta-a", "Cache-Control", "acl", "x-amz-acl", "x-amz-storage-class"])
    def test_a_field_that_the_policy_does_not_name_is_refused(self, server: Server, form: Form, name: str) -> None:
        answer = post(form, **{name: "public-read"})
        if name in server.extra:
            assert answer == 204
            assert requests.get(f"{server.store.public_url}/{KEY}", timeout=60).status_code == 403
        else:
            assert answer == 403
            assert KEY not in server.objects()

    def test_a_policy_that_was_changed_is_refused(self, server: Server, form: Form) -> None:
        wider = server.open(bucket="other").forms.heartbeat("north", life_s=600).fields["policy"]
        assert post(form, policy=wider) == 403
        assert post(form, **{"x-amz-signature": "0" * 64}) == 403

    def test_a_form_that_expired_is_refused_and_the_next_one_taken(self, server: Server) -> None:
        short = server.open().forms.heartbeat("north", life_s=1)
        assert wait_until(lambda: post(short) == 403, 60, step_s=0.5)
        before = server.body(KEY)
        with Session() as session, pytest.raises(StoreError, match="HTTP 403"):
            heartbeat.send(REPORT, short, timeout_s=60, session=session)
        assert server.body(KEY) == before
        assert post(server.open().forms.heartbeat("north", life_s=60)) == 204

    def test_a_form_lists_and_reads_nothing(self, server: Server, form: Form, put_form: Form) -> None:
        assert post(form) == 204
        signed = {name: value for name, value in form.fields.items() if name.startswith("x-amz")}
        for query in ({"list-type": "2"}, {"list-type": "2", **signed}):
            assert requests.get(form.url, params=query, timeout=60).status_code in (400, 403)
        assert requests.get(put_form.url, headers=put_form.headers, timeout=60).status_code == 403
        assert requests.delete(put_form.url, headers=put_form.headers, timeout=60).status_code == 403
        assert KEY in server.objects()

    # --- logs

    @pytest.mark.parametrize("name", ["g-1.tar.gz", "a b", "0", "x/y"])
    def test_logs_are_written_under_any_name_below_the_sites_prefix(
        self, server: Server, logs: Form, name: str
    ) -> None:
        key = f"v1/logs/north/{name}"
        assert post(logs, b"packed", key=key) == 204
        assert server.body(key) == b"packed"

    @pytest.mark.parametrize(
        "key", ["v1/logs/south/g-1", "v1/logs/north2/g-1", "v1/logs/north", KEY, "v1/demand.json", "/v1/logs/north/g"]
    )
    def test_logs_are_written_nowhere_else(self, server: Server, logs: Form, key: str) -> None:
        assert post(logs, b"packed", key=key) == 403
        assert server.objects() == {"v1/demand.json"}

    @pytest.mark.parametrize("name", ["../south/g-1", "../../demand.json", "../../heartbeats/south.json", "./../x"])
    def test_dots_lead_nowhere(self, server: Server, logs: Form, name: str) -> None:
        key = f"v1/logs/north/{name}"
        assert post(logs, b"packed", key=key) == server.dotted
        assert server.objects() <= {"v1/demand.json", key}

    @pytest.mark.parametrize("size_bytes", [0, MAX_LOG_BYTES + 1])
    def test_logs_of_another_size_are_refused(self, server: Server, logs: Form, size_bytes: int) -> None:
        assert post(logs, b" " * size_bytes, key="v1/logs/north/g-1") == 400
        assert server.objects() == {"v1/demand.json"}

    def test_logs_of_another_type_are_refused(self, logs: Form) -> None:
        assert post(logs, key="v1/logs/north/g-1", **{"Content-Type": "text/html"}) == 403

    def test_a_glidein_uploads_by_the_file_that_the_puller_writes(
        self, server: Server, logs: Form, tmp_path: Path
    ) -> None:
        url = server.open().forms.log_url("north")
        letter = Letter("north", NOW, NOW, logs, "a.b.c", logs, url)
        log_form.write(letter, tmp_path / "log-form")
        (tmp_path / "keys.d").mkdir()
        (tmp_path / "logs.tar.gz").write_bytes(b"packed")
        parts = [(PARTS / name).read_text() for name in ("0-head.sh", "1-words.sh", "2-logs.sh")]
        script = f"cd {tmp_path}; scratch=$PWD glidein=gp-1; log_form=$PWD/log-form; upload_logs && echo $form_get"
        done = subprocess.run(
            ["sh", "-c", "\n".join([*parts, script])], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.stdout == url.replace(FILENAME, "gp-1.tar.gz") + "\n", done.stderr
        assert server.body("v1/logs/north/gp-1.tar.gz") == b"packed"
        assert list((tmp_path / "keys.d").iterdir()) == []

    # --- strangers

    @pytest.mark.parametrize("key", [KEY, "v1/logs/north/g-1", "v1/check/probe.json", "v1/demand.json.old"])
    def test_a_stranger_reads_nothing_that_is_not_public(self, server: Server, key: str) -> None:
        server.client.put_object(Bucket=server.store.bucket, Key=key, Body=b"secret")
        assert requests.get(f"{server.store.public_url}/{key}", timeout=60).status_code == 403

    def test_a_stranger_reads_what_is_public(self, server: Server) -> None:
        answer = requests.get(f"{server.store.public_url}/v1/demand.json", timeout=60)
        assert (answer.status_code, answer.content) == (200, b"the demand")
        gone = requests.get(f"{server.store.public_url}/v1/sites/nobody.json", timeout=60)
        assert gone.status_code == server.missing

    @pytest.mark.parametrize("query", ["", "?list-type=2", "?list-type=2&prefix=v1/sites/", "?versions", "?policy"])
    def test_a_stranger_lists_nothing(self, server: Server, query: str) -> None:
        assert requests.get(f"{server.store.public_url}{query}", timeout=60).status_code == 403

    @pytest.mark.parametrize("key", ["v1/demand.json", "v1/sites/north.json", KEY])
    def test_a_stranger_writes_and_removes_nothing(self, server: Server, form: Form, key: str) -> None:
        url = f"{server.store.public_url}/{key}"
        assert requests.put(url, data=b"forged", timeout=60).status_code == 403
        assert requests.delete(url, timeout=60).status_code == 403
        unsigned = Form(form.url, {"key": key, "Content-Type": "application/json"})
        assert post(unsigned, b"forged") in (400, 403)
        assert server.objects() == {"v1/demand.json"}

    # --- the two keys

    @pytest.mark.parametrize("key", ["v1/demand.json", "v1/keys.json", "v1/sites/north.json", "index.html", "other"])
    def test_the_key_of_the_forms_writes_nothing_that_sites_read(self, server: Server, key: str) -> None:
        forms = server.open().forms
        with pytest.raises(forms.client.exceptions.ClientError, match=r"AccessDenied|Forbidden"):
            forms.client.put_object(Bucket=server.store.bucket, Key=key, Body=b"forged")
        assert post(forms.upload(key, content_type="text/html", max_bytes=99, life_s=60)) == 403
        putting = server.open(uploads="put").forms
        assert put(putting.upload(key, content_type="text/html", max_bytes=99, life_s=60)) == 403
        assert server.objects() == {"v1/demand.json"}

    def test_the_key_of_the_forms_reads_lists_and_removes_nothing(self, server: Server, form: Form) -> None:
        assert post(form) == 204
        client, where = server.open().forms.client, {"Bucket": server.store.bucket}
        for action in (
            lambda: client.get_object(Key=KEY, **where),
            lambda: client.get_object(Key="v1/heartbeats/south.json", **where),
            lambda: client.delete_object(Key=KEY, **where),
            lambda: client.list_objects_v2(**where),
            lambda: client.put_bucket_policy(Policy="{}", **where),
            lambda: client.delete_bucket(**where),
            lambda: client.create_bucket(Bucket="another"),
        ):
            with pytest.raises(client.exceptions.ClientError, match=r"AccessDenied|Forbidden"):
                action()
        assert KEY in server.objects()

    def test_the_publishers_key_writes_what_is_public(self, server: Server) -> None:
        store = server.open()
        for key in set(PUBLISHED) - {"v1/demand.json"}:
            store.put(key, b"new", content_type="text/plain", cache_seconds=1)
            assert store.get(key) == b"new"
        assert len(store.list("")) == len(PUBLISHED)

    @pytest.mark.parametrize("key", [KEY, "v1/logs/north/g-1", "v1/demand.json.old", "v1/other", "index.html2"])
    def test_the_publishers_key_writes_and_removes_nothing_else(self, server: Server, key: str) -> None:
        server.client.put_object(Bucket=server.store.bucket, Key=key, Body=b"kept")
        store = server.open()
        with pytest.raises(StoreError, match=r"AccessDenied|Forbidden"):
            store.put(key, b"forged", content_type="text/plain", cache_seconds=1)
        with pytest.raises(StoreError, match=r"AccessDenied|Forbidden"):
            store.delete(key)
        assert store.get(key) == b"kept"

    # --- stores without POST policies

    def test_a_heartbeat_arrives_by_a_put(self, server: Server, put_form: Form) -> None:
        with Session() as session:
            heartbeat.send(REPORT, put_form, timeout_s=60, session=session)
        stored = server.client.get_object(Bucket=server.store.bucket, Key=KEY)
        assert Heartbeat.from_json(json.loads(stored["Body"].read())) == REPORT
        assert stored["ContentType"] == "application/json"

    def test_a_put_writes_no_other_key_and_no_other_type(self, server: Server, put_form: Form) -> None:
        assert put(put_form, Content_Type="text/html") == 403
        assert put(replace(put_form, headers={})) == 403
        assert put(replace(put_form, url=put_form.url.replace("north", "south"))) == 403
        assert put(replace(put_form, url=put_form.url.replace(KEY, "v1/demand.json"))) == 403
        assert server.objects() == {"v1/demand.json"}

    def test_a_put_has_no_bound_on_its_size(self, server: Server, put_form: Form) -> None:
        assert put(put_form, b" " * (2 * MAX_HEARTBEAT_BYTES)) == 200
        assert len(server.body(KEY)) == 2 * MAX_HEARTBEAT_BYTES

    def test_a_put_that_expired_is_refused(self, server: Server) -> None:
        short = server.open(uploads="put").forms.heartbeat("north", life_s=1)
        assert wait_until(lambda: put(short) == 403, 60, step_s=0.5)

    @pytest.mark.parametrize(("uploads", "said"), [("post", "204"), ("put", "200")])
    def test_curl_brings_what_lies_in_the_outbox(self, server: Server, tmp_path: Path, uploads: str, said: str) -> None:
        curl = shutil.which("curl")
        assert curl, "the recipe needs curl"
        outbox.put(REPORT, server.open(uploads=uploads).forms.heartbeat("north", life_s=60), tmp_path)
        command = [curl, "--config", "heartbeat.curl"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout == said
        assert Heartbeat.from_json(json.loads(server.body(KEY))) == REPORT

    # --- what `glidepost publisher check` says

    def check(self, server: Server, **changes: object) -> dict[str, tuple[str, str]]:
        store = server.open(**changes)
        settings = StoreSettings(bucket="", public_url="", forms_credentials="forms.ini")
        with requests.Session() as session:
            findings = list(FormCheck(settings, store, session.request, b'{"probe": 1}')())
        return {item.name: (item.state, item.text) for item in findings}

    def test_the_check_finds_no_fault(self, server: Server) -> None:
        assert {state for state, _ in self.check(server).values()} == {OK}
        assert [state for state, _ in self.check(server, uploads="put").values()] == [OK, SKIPPED, OK]

    def test_the_check_finds_a_key_that_may_write_too_much(self, server: Server) -> None:
        everything = str(server.store.credentials.with_name("administrator.ini"))
        found = self.check(server, forms_credentials=everything)
        assert found["store: upload form"][0] == OK
        assert "can also write v1/check/probe.json" in found["store: key of the forms"][1]

    def test_the_check_finds_a_key_that_may_write_no_heartbeats(self, server: Server) -> None:
        found = self.check(server, forms_credentials=str(server.store.credentials))
        assert "HTTP 403" in found["store: upload form"][1]
