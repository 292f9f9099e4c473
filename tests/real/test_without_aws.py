"""docs/how-to/serve-without-aws.md, word for word: SeaweedFS behind nginx with TLS, and the aggregator from cron."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from buckets import empty
from certificates import certify

from glidepost.infra.cloud.policy import page_policy
from glidepost.infra.demo.condor import fetch
from glidepost.infra.demo.identities import read_keys
from glidepost.infra.demo.ports import hold_free_port, is_free
from glidepost.infra.demo.testbed import CLEAN_ENVIRONMENT, Account, Store, wait_until
from glidepost.schema.document import encode
from glidepost.schema.errors import StoreError
from glidepost.schema.heartbeat import Heartbeat

PROGRAM = Path(sys.executable).with_name("glidepost")
PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "serve-without-aws.md").read_text()
MAIN = """\
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/glidepost.conf;
}}
"""


def block(language: str) -> str:
    """Returns the page's block in a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return found


@dataclass(frozen=True)
class Front:
    """nginx before a store, with a bucket of its own."""

    store: Store
    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def certificate(self) -> Path:
        return self.folder / "glidepost.crt"

    def get(self, path: str, **more: Any) -> requests.Response:
        return requests.get(f"{self.url}/{path}", timeout=60, verify=str(self.certificate), **more)

    def client(self, keys: Path) -> Any:
        """Returns a client with the keys in a file that goes through nginx, as the publisher does."""
        access_key, secret_key = read_keys(keys)
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            verify=str(self.certificate),
        )


@pytest.fixture(scope="module")
def front(account: Account, work: Path, store: Store, session_folder: Path) -> Iterator[Front]:
    fetch("get_nginx.sh", work / "nginx", work / "debs", StoreError)
    bucket = replace(store, bucket="glidepost")
    empty(bucket)
    bucket.client().put_bucket_policy(Bucket=bucket.bucket, Policy=json.dumps(json.loads(block("json"))))
    folder = account.make_folder(session_folder / "nginx")
    port = hold_free_port()
    front = Front(bucket, folder, port)
    write_configuration(front, account)
    with running(front, account, work / "nginx" / "sbin" / "nginx"):
        yield front


def write_configuration(front: Front, account: Account) -> None:
    folder = front.folder
    text = block("nginx")
    for old, new in (
        ("127.0.0.1:8333", front.store.endpoint.removeprefix("http://")),
        ("listen 443", f"listen 127.0.0.1:{front.port}"),
        ("/etc/ssl/", f"{folder}/"),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "glidepost.conf").write_text(text)
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder))
    certify(front.certificate, folder / "glidepost.key")
    account.give(folder / "glidepost.key", 0o600)


@contextmanager
def running(front: Front, account: Account, nginx: Path) -> Iterator[None]:
    """Runs nginx as the account, in the foreground: it writes over its environment, and with it over every mark."""
    command = [*account.prefix, str(nginx), "-p", str(front.folder), "-c", str(front.folder / "nginx.conf")]
    environment = dict(CLEAN_ENVIRONMENT)
    tried = subprocess.run([*command, "-t"], env=environment, capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stderr
    with (front.folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        assert wait_until(lambda: not is_free(front.port), 60), (front.folder / "log").read_text()
        yield
    finally:
        process.terminate()
        process.wait(60)


def put(front: Front, key: str, body: bytes) -> None:
    front.store.client().put_object(Bucket="glidepost", Key=key, Body=body, ContentType="application/json")


def test_cron_makes_a_page_that_anybody_can_read_over_tls(front: Front, tmp_path: Path) -> None:
    heartbeat = Heartbeat("north", "i", "0.1.0", 1, datetime.now(timezone.utc), ())
    form = front.client(front.store.forms_credentials).generate_presigned_post(
        "glidepost",
        "v1/heartbeats/north.json",
        Fields={"Content-Type": "application/json"},
        Conditions=[{"Content-Type": "application/json"}, ["content-length-range", 2, 65536]],
        ExpiresIn=600,
    )
    assert form["url"].startswith(front.url), "the address in a site's form is nginx"
    assert post(front, form, encode(heartbeat.to_json())) == 204
    assert post(front, form, b" " * 70_000) >= 400
    assert post(front, {**form, "fields": {**form["fields"], "key": "index.html"}}, b"{}") == 403
    config = aggregator(front, tmp_path)
    command = [str(PROGRAM), "infra", "aggregate", "--config", str(config)]
    environment = {"AWS_CA_BUNDLE": str(front.certificate), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = front.get("")
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "north" in page.text
    assert front.get("v1/status.json").json()["sites"][0]["site"] == "north"
    for key in set(re.findall(r'(?:href|src)="((?:assets|sites)/[^"#]+)"', page.text)):
        assert front.get(key).status_code == 200, key


def post(front: Front, form: dict[str, Any], body: bytes) -> int:
    files = {"file": ("heartbeat", body, "application/json")}
    answer = requests.post(form["url"], data=form["fields"], files=files, timeout=60, verify=str(front.certificate))
    return answer.status_code


def aggregator(front: Front, folder: Path) -> Path:
    """Returns a configuration with the page's [store], whose address and files are those of here."""
    text = block("toml").replace("https://glidepost.example.org", front.url)
    assert text.count(front.url) == 2
    text = text.replace('"publisher.ini"', json.dumps(str(front.store.credentials)))
    text = text.replace('"forms.ini"', json.dumps(str(front.store.forms_credentials)))
    pool = '[pool]\nname = "demo"\ncollectors = ["127.0.0.1:9618"]\ntrust_domain = "pool.test"\n'
    (folder / "sites.toml").write_text("")
    config = folder / "publisher.toml"
    config.write_text(f'{pool}[demand]\nsigning_key = "pool.key"\nsites = "sites.toml"\n{text}')
    return config


def test_heartbeats_lists_and_the_stores_other_doors_are_shut(front: Front) -> None:
    put(front, "v1/heartbeats/secret.json", b"{}")
    put(front, "v1/aggregator/kept.json", b"{}")
    for path in ("v1/heartbeats/secret.json", "v1/aggregator/kept.json", "v1/logs/north/a", "status", "iam"):
        assert front.get(path).status_code == 404, path
    for path in ("glidepost/?list-type=2", "glidepost/v1/heartbeats/secret.json", "glidepost/v1/aggregator/kept.json"):
        assert front.get(path).status_code in {403, 404}, path
    for method in ("PUT", "POST", "DELETE"):
        for path in ("v1/demand.json", "glidepost/v1/demand.json", "index.html"):
            answer = requests.request(
                method, f"{front.url}/{path}", data=b"{}", timeout=60, verify=str(front.certificate)
            )
            assert answer.status_code >= 400, (method, path)
    create = {"Action": "CreateUser", "UserName": "me", "Version": "2010-05-08"}
    answer = requests.post(f"{front.url}/", data=create, timeout=60, verify=str(front.certificate))
    assert answer.status_code >= 400


def test_a_key_does_not_help_where_only_strangers_are_let_in(front: Front) -> None:
    put(front, "v1/keys.json", b"{}")
    assert front.get("v1/keys.json", headers={"Authorization": "AWS4-HMAC-SHA256 nonsense"}).status_code == 200


def test_pages_come_with_the_headers_that_they_ask_for(front: Front) -> None:
    put(front, "v1/status.json", b"{}")
    headers = front.get("v1/status.json").headers
    assert headers["Content-Security-Policy"] == page_policy()
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Strict-Transport-Security"] == "max-age=31536000"


def test_without_tls_there_is_nothing(front: Front) -> None:
    assert requests.get(f"http://127.0.0.1:{front.port}/", timeout=60).status_code == 400
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{front.url}/", timeout=60)


def test_what_has_not_changed_is_not_sent_again(front: Front) -> None:
    put(front, "v1/demand.json", b'{"a": 1}')
    first = front.get("v1/demand.json")
    second = front.get("v1/demand.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, second.status_code) == (200, 304)
