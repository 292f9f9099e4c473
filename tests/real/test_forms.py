"""Forms, keys and mailboxes at two real S3 servers that have nothing in common but what they speak.

Differences, found by these tests: of SeaweedFS 4.48 and MiniStack 1.5.33 neither answers a stranger who asks for an
object that is not there with 403, as AWS does (pullers take both for "not yet"). SeaweedFS refuses a key with ".." in
it; for MiniStack, as for AWS, that is a name like any other. SeaweedFS takes fields of a form that its policy does not
name, and does nothing with them that a stranger could use. SeaweedFS wants the bucket itself among the resources of
who signs a POST, which elsewhere means nothing (infra/demo/identities.py).
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from store_contract import Server, StoreContract, post

from glidepost.infra.demo import scene
from glidepost.infra.demo.testbed import MiniStack, Pool, Store, wait_until
from glidepost.schema.document import encode
from glidepost.schema.keys import SigningKey
from glidepost.schema.mailbox import Letter, Mailbox
from glidepost.schema.signing import sign

PROGRAM = Path(sys.executable).with_name("glidepost")
SERVERS = ("seaweedfs", "ministack")


def server_of(name: str, request: pytest.FixtureRequest) -> Server:
    if name == "seaweedfs":
        store: Store = request.getfixturevalue("store")
        server = Server(replace(store, bucket="forms"), dotted=400, extra=frozenset({"Cache-Control", "acl"}))
    else:
        other: MiniStack = request.getfixturevalue("ministack")
        server = Server(replace(other, bucket="forms"), dotted=204)
    server.store.make_bucket()
    return server


@pytest.fixture(scope="module")
def seaweedfs_server(request: pytest.FixtureRequest) -> Server:
    return server_of("seaweedfs", request)


@pytest.fixture(scope="module")
def ministack_server(request: pytest.FixtureRequest) -> Server:
    return server_of("ministack", request)


class TestSeaweedFS(StoreContract):
    @pytest.fixture
    def server(self, seaweedfs_server: Server) -> Server:
        return seaweedfs_server


class TestMiniStack(StoreContract):
    @pytest.fixture
    def server(self, ministack_server: Server) -> Server:
        return ministack_server


# --- from the publisher to the puller and back, by the commands that cron runs


class Play:
    """A publisher and its sites, with all their files in one folder."""

    def __init__(self, pool: Pool, server: Server, folder: Path) -> None:
        self.pool, self.server, self.folder = pool, server, folder
        self.publisher = folder / "publisher.toml"
        text = scene.publisher_toml(pool, server.store, folder / "none")
        self.publisher.write_text(text.partition("[glidein]")[0])
        self.public_key = self.call("keys", "generate", folder / "pool.key")[1].strip()

    def call(self, *words: object) -> tuple[int, str]:
        command = [str(PROGRAM), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        return done.returncode, done.stdout + done.stderr

    def publish(self) -> str:
        code, said = self.call("publisher", "run", "--config", self.publisher)
        assert code == 0, said
        return said

    def enroll(self, name: str) -> scene.Site:
        site = scene.Site(name, self.folder / name, "local")
        account = self.pool.account
        account.make_folder(site.folder)
        account.make_folder(site.folder / "scratch")
        _, line = self.call("keys", "generate", site.folder / "site.key", "--site", name)
        self.call("publisher", "enroll", line.strip(), "--config", self.publisher)
        site.config.write_text(scene.puller_toml(site, self.server.store, self.public_key, account, None))
        return site

    def pull(self, site: scene.Site) -> tuple[int, str]:
        return self.call("puller", "run", "--config", site.config)

    def letter(self, site: scene.Site) -> Letter:
        body = json.loads(self.server.body(f"v1/sites/{site.name}.json"))
        return Mailbox.from_json(body).open(SigningKey.load(site.folder / "site.key"), site=site.name)

    def write(self, key: str, body: bytes) -> None:
        self.server.store.client().put_object(Bucket=self.server.store.bucket, Key=key, Body=body)


@pytest.fixture(params=SERVERS)
def play(request: pytest.FixtureRequest, pool: Pool, account_folder: Path) -> Play:
    """A publisher with an empty bucket at each server."""
    server = server_of(request.param, request)
    client = server.store.client()
    for key in server.objects():
        client.delete_object(Bucket=server.store.bucket, Key=key)
    return Play(pool, server, account_folder)


def expired(play: Play, site: scene.Site) -> bytes:
    """Returns a mailbox of seven hours ago whose form the store does not take any more."""
    at = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(hours=7)
    form = play.server.open().forms.heartbeat(site.name, life_s=1)
    assert wait_until(lambda: post(form) == 403, 60, step_s=0.5)
    letter = replace(play.letter(site), issued_at=at, expires_at=at + timedelta(hours=48), heartbeat_form=form)
    key = SigningKey.load(site.folder / "site.key").public
    old = Mailbox.from_json(json.loads(play.server.body(f"v1/sites/{site.name}.json")))
    mailbox = Mailbox.pack(letter, key, settings=old.settings)
    return encode(sign(mailbox.to_json(), SigningKey.load(play.folder / "pool.key")))


def test_an_expired_form_is_refused_and_renewed_by_itself(play: Play) -> None:
    site = play.enroll("north")
    assert "mailboxes renewed: north" in play.publish()
    play.write("v1/sites/north.json", expired(play, site))
    play.server.store.client().delete_object(Bucket=play.server.store.bucket, Key="v1/heartbeats/north.json")
    code, said = play.pull(site)
    assert code == 1
    assert "heartbeat: POST" in said
    assert "HTTP 403" in said
    assert play.server.body("v1/heartbeats/north.json") == b""
    assert "mailboxes renewed: north" in play.publish()
    code, said = play.pull(site)
    assert code == 0, said
    assert json.loads(play.server.body("v1/heartbeats/north.json"))["site"] == "north"
    assert "mailboxes renewed" not in play.publish()


def test_a_box_that_was_copied_to_another_site_is_refused_by_it(play: Play) -> None:
    play.enroll("north")
    south = play.enroll("south")
    play.publish()
    play.write("v1/sites/south.json", play.server.body("v1/sites/north.json"))
    code, said = play.pull(south)
    assert code == 3, said
    assert not (south.folder / "state" / "token").exists()
    assert not (south.folder / "state" / "log-form").exists()
    assert play.server.body("v1/heartbeats/south.json") == b""
    assert "mailboxes renewed: south" in play.publish()
    assert play.pull(south)[0] == 0


def test_a_pool_that_changes_to_puts_gives_its_sites_new_letters_at_once(play: Play) -> None:
    site = play.enroll("north")
    play.publish()
    assert play.pull(site)[0] == 0
    form = site.folder / "state" / "log-form"
    assert form.stat().st_mode & 0o777 == 0o600
    assert "key=v1/logs/north/${filename}\n" in form.read_text()
    text = play.publisher.read_text()
    play.publisher.write_text(text.replace("[store]\n", '[store]\nuploads = "put"\n'))
    assert "mailboxes renewed: north" in play.publish()
    (site.folder / "state" / "heartbeat.json").unlink()  # so that one is due
    play.server.store.client().delete_object(Bucket=play.server.store.bucket, Key="v1/heartbeats/north.json")
    code, said = play.pull(site)
    assert code == 0, said
    assert play.server.body("v1/heartbeats/north.json") != b""
    assert form.read_text() == ""


def test_what_the_publisher_runs_on_is_found_good_by_its_check(play: Play) -> None:
    play.enroll("north")
    play.publish()
    code, said = play.call("publisher", "check", "--config", play.publisher, "--json")
    findings: list[dict[str, Any]] = json.loads(said)
    failed = {item["name"] for item in findings if item["state"] == "failed"}
    assert (code, failed) == (1, {"tarballs"}), "there is nothing to run in this play, and no more is wrong"
    found = {item["name"]: item["text"] for item in findings}
    assert found["store: log form"] == "a site's glideins can write their logs, and nothing else"
    assert found["store: key of the forms"] == "it can write nothing that sites read"
