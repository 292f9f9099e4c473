"""A site without a way out: its puller is refused every socket, and another host carries, as docs/how-to says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from glidepost.schema.document import encode
from glidepost.schema.heartbeat import Heartbeat
from glidepost.schema.keychain import first
from glidepost.schema.keys import SigningKey

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "site-without-a-way-out.md"
DEMAND, MAILBOX = "v1/demand.json", "v1/sites/north.json"

CONFIG = """
[site]
name = "north"
key = "site.key"
state = "state"
[pool]
url = "{url}"
public_key = "{key}"
[shapes.cpu]
backend = "slurm"
cpus = 1
memory = "2GiB"
disk = "2GiB"
walltime = "1h"
max_total = 3
"""

# Every way to open a connection, to look up a name or to send a packet goes past Python's audit hooks.
WITHOUT_A_WAY_OUT = """
import sys
def refuse(event, arguments):
    if event.startswith("socket.") and event not in ("socket.gethostname",):
        raise OSError(101, f"Network is unreachable ({event})")
sys.addaudithook(refuse)
from glidepost.schema.command import main
main()
"""


@dataclass
class Site:
    """A login node: its home, and its puller."""

    home: Path

    def puller(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-c", WITHOUT_A_WAY_OUT, "puller", *words],
            input=stdin,
            cwd=self.home,
            env={"PATH": f"{self.home}/bin:/usr/bin:/bin", "HOME": str(self.home)},
            capture_output=True,
            check=False,
        )

    def submitted(self) -> bool:
        return (self.home / "submitted").exists()

    def outbox(self, folder: str = "outbox") -> Heartbeat:
        return Heartbeat.from_json(json.loads((self.home / folder / "heartbeat.json").read_bytes()))


@pytest.fixture
def now() -> datetime:
    """Here the command looks at the clock by itself."""
    return datetime.now(timezone.utc).replace(microsecond=0)


@pytest.fixture
def site(tmp_path, pool_key, site_key) -> Site:
    home = tmp_path / "home"
    home.mkdir()
    site_key.save(home / "site.key")
    (home / "puller.toml").write_text(CONFIG.format(url="file:pool", key=pool_key.public), encoding="utf-8")
    (home / "bin").mkdir()
    for name, script in {"squeue": "exit 0", "sbatch": f"cat >{home}/submitted; echo 17"}.items():
        (home / "bin" / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (home / "bin" / name).chmod(0o755)
    return Site(home)


@pytest.fixture
def carry_in(site, web):
    """Copies what the store has into the folder of the site."""

    def carry() -> None:
        for key, body in web.objects.items():
            file = site.home / "pool" / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(body)

    return carry


# By folder


def test_a_site_that_reaches_nothing_submits_what_was_carried_in(site, carry_in, publish, make_group):
    publish(make_group(2))
    carry_in()
    done = site.puller("run")
    assert (done.returncode, done.stderr) == (0, b"")
    assert site.submitted()
    report = site.outbox("pool/outbox")
    assert (report.site, report.shapes[0].submitted, report.clock_skew_s) == ("north", 2, None)
    assert report.demand_sequence == 7


def test_the_test_would_notice_a_request(site, publish, web, make_group, pool_key):
    publish(make_group(2))
    (site.home / "puller.toml").write_text(CONFIG.format(url=web.url, key=pool_key.public), encoding="utf-8")
    done = site.puller("run")
    assert done.returncode == 1
    assert b"Network is unreachable" in done.stderr
    assert not site.submitted()
    assert web.gets == []


def test_what_nobody_carried_is_an_error_and_nothing_is_submitted(site):
    done = site.puller("run")
    assert done.returncode == 1
    assert b"pool/v1/demand.json: not there" in done.stderr
    assert not site.submitted()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"key": SigningKey.generate()}, b"not signed by a key we trust"),
        ({"at": datetime.now(timezone.utc) - timedelta(hours=1)}, b"the demand expired"),
        ({"at": datetime.now(timezone.utc) + timedelta(hours=1)}, b"from the future"),
        ({"sequence": 6}, b"sequence 6, and 7 was seen"),
    ],
    ids=["forged", "expired", "future", "rolled back"],
)
def test_what_is_refused_over_https_is_refused_here(site, carry_in, publish, make_group, changes, why):
    publish()
    carry_in()
    assert site.puller("run").returncode == 0
    publish(make_group(2), **changes)
    carry_in()
    done = site.puller("run")
    assert done.returncode == 3
    assert why in done.stderr
    assert not site.submitted()


def test_the_demand_of_another_pool_is_refused_here_too(site, carry_in, publish, make_group):
    config = (site.home / "puller.toml").read_text(encoding="utf-8").replace("[pool]", '[pool]\nname = "other"')
    (site.home / "puller.toml").write_text(config, encoding="utf-8")
    publish(make_group(2))
    carry_in()
    done = site.puller("run")
    assert (done.returncode, b"is of pool demo, not other" in done.stderr, site.submitted()) == (3, True, False)


# By stream


def test_documents_come_by_standard_input_and_the_heartbeat_is_left_in_a_folder(site, publish, web, make_group):
    publish(make_group(2))
    stream = web.objects[DEMAND] + web.objects[MAILBOX]
    done = site.puller("run", "--documents", "-", "--heartbeat", "outbox", stdin=stream)
    assert (done.returncode, done.stderr) == (0, b"")
    assert site.submitted()
    assert site.outbox().shapes[0].submitted == 2


def test_or_in_one_file(site, publish, web, make_group):
    publish(make_group(2))
    (site.home / "documents").write_bytes(web.objects[MAILBOX] + web.objects[DEMAND])
    assert site.puller("run", "--documents", "documents", "--heartbeat", "outbox").returncode == 0
    assert site.submitted()


def test_a_plan_reads_the_stream_and_leaves_nothing(site, publish, web, make_group):
    publish(make_group(2))
    done = site.puller("run", "--dry-run", "--documents", "-", stdin=web.objects[DEMAND] + web.objects[MAILBOX])
    assert (done.returncode, b"satisfied" in done.stdout, site.submitted()) == (0, True, False)


def test_a_mailbox_that_was_seen_before_need_not_come_again(site, publish, web, make_group):
    publish()
    first = web.objects[DEMAND] + web.objects[MAILBOX]
    assert site.puller("run", "--documents", "-", stdin=first).returncode == 0
    publish(make_group(2), sequence=8)
    done = site.puller("run", "--documents", "-", stdin=web.objects[DEMAND])
    assert (done.returncode, site.submitted()) == (0, True)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"",
        lambda stream: stream[:-20],
        lambda _: b"<html>please log in</html>",
        lambda stream: stream + b"curl: (28) timed out",
        lambda stream: stream + stream,
    ],
    ids=["empty", "cut", "portal", "noise", "twice"],
)
def test_a_stream_that_is_anything_else_ends_with_1_and_nothing_is_submitted(site, publish, web, make_group, spoil):
    publish()
    assert site.puller("run", "--documents", "-", stdin=web.objects[DEMAND] + web.objects[MAILBOX]).returncode == 0
    publish(make_group(2), sequence=8)
    stream = spoil(web.objects[DEMAND] + web.objects[MAILBOX])
    done = site.puller("run", "--documents", "-", stdin=stream)
    assert done.returncode == 1
    assert b"standard input: " in done.stderr
    assert b"--compressed" in done.stderr
    assert not site.submitted()


def test_a_stream_that_was_closed_is_an_error(site):
    code = WITHOUT_A_WAY_OUT.replace('"', "'")
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-c", code, "puller", "run", "--documents", "-"],
        cwd=site.home,
        env={"PATH": f"{site.home}/bin:/usr/bin:/bin", "HOME": str(site.home)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert b"standard input: nothing came" in done.stderr
    assert b"Traceback" not in done.stderr


# The recipe


@pytest.fixture
def carrier(tmp_path, site, web, pool_key, now):
    """Runs carry.sh of the page on a host that reaches both: the store by curl, the site by an ssh that is a shell."""
    web.objects["v1/keys.json"] = encode(first("demo", pool_key, None, now).to_json())
    host = tmp_path / "carrier"
    (host / "bin").mkdir(parents=True)
    (site.home / "venv" / "bin").mkdir(parents=True)
    program = site.home / "venv" / "bin" / "glidepost"
    code = WITHOUT_A_WAY_OUT.replace("'", '"')
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{code}' \"$@\"\n", encoding="utf-8")
    program.chmod(0o755)
    ssh = f'#!/bin/sh\n[ "$1" = -o ] && shift 2\nshift\ncd {site.home} && HOME={site.home} PATH={site.home}/bin:$PATH\n'
    (host / "bin" / "ssh").write_text(f'{ssh}export HOME PATH\nexec sh -c "$*"\n', encoding="utf-8")
    (host / "bin" / "ssh").chmod(0o755)
    script = re.search(r"```sh\n(.*?)```", HOW_TO.read_text(encoding="utf-8"), re.DOTALL)[1]
    (host / "carry.sh").write_text(script.replace("https://bucket.example.org", web.url), encoding="utf-8")

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", host / "carry.sh"],
            env={"PATH": f"{host}/bin:{os.environ['PATH']}", "HOME": str(host)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


# What follows runs the recipe, which is curl's; test_outbox.py reads what curl is told without it.
HAS_CURL = shutil.which("curl") is not None


def test_the_recipe_carries_demand_in_and_heartbeat_out(carrier, site, publish, web, make_group):
    if not HAS_CURL:
        return
    publish(make_group(2))
    done = carrier()
    assert (done.returncode, done.stderr) == (0, "")
    assert site.submitted()
    assert web.last_heartbeat().shapes[0].submitted == 2
    assert [item.name for item in (site.home / "outbox").iterdir()] == ["heartbeat.curl"]


def test_outcomes_wait_until_the_store_has_taken_them(carrier, site, publish, web):
    if not HAS_CURL:
        return
    publish()
    web.post_status = 503
    ended = site.home / "state" / "outcomes"
    ended.mkdir(parents=True)
    (ended / "gp-00000-aaaaa-1.json").write_text('{"kind": "outcome/1", "outcome": "deadline"}', encoding="utf-8")
    assert carrier().returncode == 1
    (ended / "gp-00000-aaaaa-2.json").write_text('{"kind": "outcome/1", "outcome": "deadline"}', encoding="utf-8")
    assert carrier().returncode == 1
    assert site.outbox().outcomes == {"deadline": 2}
    web.post_status = 204
    assert carrier().returncode == 0
    assert web.last_heartbeat().outcomes == {"deadline": 2}
    assert not (site.home / "outbox" / "heartbeat.json").exists()


def test_a_store_that_cannot_be_reached_from_there_starts_no_cycle(carrier, site, web):
    if not HAS_CURL:
        return
    done = carrier()
    assert done.returncode != 0
    assert "404" in done.stderr
    assert not (site.home / "state").exists()
    assert web.posts == []
