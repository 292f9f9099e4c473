from __future__ import annotations

import base64
import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from glidepost.publisher.census import ScheddAnswer
from glidepost.publisher.check import check_host, check_pool
from glidepost.publisher.pool import Daemon, Granted
from glidepost.schema.checks import FAILED, OK, SKIPPED, Skipped, attempt
from glidepost.schema.errors import PoolError

COLLECTOR = Daemon("collector", "cm.pool.test", "<127.0.0.1:9618>")
CLAIMS = {"iss": "pool.test", "sub": "glidein-check@pool.test", "exp": 4_000_000_000}


def token(claims: object) -> str:
    return f"a.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.c"


@pytest.fixture
def pool(make_pool, make_row):
    """A pool that makes good tokens and is of version 25.14.1."""
    made = make_pool(make_row(3), make_row(4))
    made.token = lambda _site: token(CLAIMS)
    made.condor_version = lambda: "25.14.1"
    made.granted = lambda _token: Granted(reads=(), joins=(COLLECTOR,))
    return made


@pytest.fixture
def settings(config, make_tarball):
    """A publisher's configuration with a collector that takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        yield replace(
            config,
            pool=replace(config.pool, collectors=(address,)),
            glidein=replace(config.glidein, tarballs=(str(make_tarball()),)),
        )


@pytest.fixture
def found(settings, pool, now):
    """Returns what is found of host and pool, by the checks' names: found(), found(replace(settings, ...))."""

    def run(changed=None):
        config = changed or settings
        findings = [*check_host(config), *check_pool(config, pool, now=now)]
        assert all(item.remedy for item in findings if item.state != OK)
        return {item.name: item for item in findings}

    return run


def failed(findings) -> dict[str, str]:
    return {name: item.text for name, item in findings.items() if item.state == FAILED}


def test_all_is_well(found, settings):
    findings = found()
    assert failed(findings) == {}
    assert findings["schedd ap1"].text == "7 idle user jobs in 2 rows"
    assert findings["pool token"].text.startswith("can be made with key POOL: glidein-check@pool.test, good for")
    assert findings["pool token: joins"].text == "collector cm.pool.test would let a glidein in"
    assert findings["pool token: reads"].state == OK
    assert findings["tarball glidein.tar.gz"].text.startswith("HTCondor 25.14.1 for el9 x86_64")
    assert findings["sites"].text == "1 enrolled: north"
    assert list(Path(settings.demand.state).iterdir()) == []


def test_no_site_yet_is_no_failure(found, settings):
    Path(settings.demand.sites).unlink()
    assert found()["sites"].state == SKIPPED


def test_a_site_for_which_nothing_can_be_sealed_is_named(found, settings):
    bad = "ed25519:" + base64.b64encode(b"\x02" + bytes(31)).decode()
    Path(settings.demand.sites).write_text(f'[south]\npublic_key = "{bad}"\n', encoding="utf-8")
    assert "key of south" in failed(found())["sites"]


def test_a_key_that_others_can_read_fails(found, settings):
    Path(settings.demand.signing_key).chmod(0o640)
    assert set(failed(found())) == {"secret files", "signing key"}


@pytest.mark.parametrize("key", ["credentials", "forms_credentials"])
def test_credentials_that_others_can_read_fail(found, settings, tmp_path, key):
    file = tmp_path / "store.ini"
    file.write_text("[default]\n")
    changed = replace(settings, store=replace(settings.store, **{key: str(file)}))
    file.chmod(0o644)
    finding = found(changed)["secret files"]
    assert (finding.state, finding.exit_code, finding.remedy) == (FAILED, 2, f"chmod 600 {file}")
    file.chmod(0o600)
    assert "secret files" not in failed(found(changed))


def test_a_folder_that_cannot_be_written_fails(found, settings, tmp_path):
    (tmp_path / "file").write_text("")
    changed = replace(settings, demand=replace(settings.demand, state=str(tmp_path / "file" / "state")))
    assert set(failed(found(changed))) == {"state folder"}


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid:9618", "127.0.0.1:99999", "[::1]:1"])
def test_a_collector_that_takes_no_connection_is_named(found, settings, address):
    changed = replace(settings, pool=replace(settings.pool, collectors=(*settings.pool.collectors, address)))
    assert set(failed(found(changed))) == {f"collector {address}"}


def test_a_schedd_that_fails_is_named_beside_the_others(found, pool):
    pool.answer = replace(pool.answer, schedds=(*pool.answer.schedds, ScheddAnswer("ap2", (), "timed out")))
    findings = found()
    assert failed(findings) == {"schedd ap2": "timed out"}
    assert "condor_q -name ap2" in findings["schedd ap2"].remedy


def test_a_pool_that_does_not_answer_fails_once(found, pool):
    def fail():
        raise PoolError("census: no answer", hint="in this test")

    pool.ask = fail
    assert failed(found()) == {"census": "census: no answer"}


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (token({**CLAIMS, "iss": "other.example.org"}), "issues for 'other.example.org', and [pool] trust_domain"),
        (token({**CLAIMS, "exp": 1}), "expired at birth"),
        (token({"iss": "pool.test"}), "has no end"),
        (token([]), "is no token"),
        ("a.b", "is no token"),
        ("a", "is no token"),
        ("a.!!!.c", "is no token"),
    ],
)
def test_a_token_that_no_collector_would_take_fails(found, pool, made, text):
    pool.token = lambda _site: made
    assert text in failed(found())["pool token"]


def test_a_token_that_lets_no_glidein_in_fails(found, pool):
    pool.granted = lambda _token: Granted(reads=(), joins=())
    findings = found()
    assert set(failed(findings)) == {"pool token: joins"}
    assert "ALLOW_ADVERTISE_STARTD), glidein-*@pool.test" in findings["pool token: joins"].remedy


def test_a_pool_that_sites_may_read_is_told_how_to_close(found, pool):
    pool.granted = lambda _token: Granted(reads=(COLLECTOR,), joins=(COLLECTOR,))
    finding = found()["pool token: reads"]
    assert (finding.state, finding.text) == (
        OK,
        "every site may read queue and configuration of collector cm.pool.test",
    )
    assert "DENY_READ = $(DENY_READ), glidein-*@pool.test " in finding.remedy


def test_a_collector_that_cannot_be_asked_is_one_failure(found, pool):
    def fail(_token):
        raise PoolError("census: no answer", hint="in this test")

    pool.granted = fail
    assert set(failed(found())) == {"pool token: joins"}


@pytest.mark.parametrize(
    ("version", "is_good"), [("25.14.1", True), ("25.14.2", True), ("26.0.0", True), ("25.14.0", False), ("9.0", False)]
)
def test_a_tarball_must_not_be_newer_than_the_pool(found, pool, version, is_good):
    pool.condor_version = lambda: version
    assert set(failed(found())) == (set() if is_good else {"tarball glidein.tar.gz"})


def test_an_unknown_version_of_the_pool_is_one_failure(found, pool):
    def fail():
        raise PoolError("no schedd says its version", hint="in this test")

    pool.condor_version = fail
    assert set(failed(found())) == {"pool's version"}


def test_a_publisher_without_a_tarball_fails(found, settings):
    assert (
        "nothing to run" in failed(found(replace(settings, glidein=replace(settings.glidein, tarballs=()))))["tarballs"]
    )


def test_what_the_system_refuses_is_a_finding():
    def fail():
        raise PermissionError(13, "Permission denied", "/x")

    assert attempt("x", fail).state == FAILED


def test_what_cannot_be_checked_yet_is_no_failure():
    def skip():
        raise Skipped("nothing there", remedy="wait")

    assert attempt("x", skip).state == SKIPPED
