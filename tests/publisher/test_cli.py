"""The command as cron runs it: the census is a real child process, in which HTCondor's bindings are a fake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from glidepost.publisher.store import S3Store
from glidepost.schema import publisher_config
from glidepost.schema.command import main
from glidepost.schema.files import lock
from glidepost.schema.sites import load_sites

CONFIG = """
[pool]
name = "demo"
collectors = ["127.0.0.1:9618"]
trust_domain = "pool.test"
condor_bin = "bin"
[demand]
signing_key = "pool.key"
sites = "sites.toml"
state = "state"
[store]
bucket = "glidepost"
public_url = "http://127.0.0.1:8333/glidepost"
"""

HTCONDOR = """
import os, classad2

class DaemonType: Schedd = "schedd"
class AdType: Startd, Schedd = "startd", "schedd"
class QueryOpt: GroupBy, IncludeClusterAd = "groupby", "clusters"

class Collector:
    def __init__(self, address=None): pass
    def query(self, kind, constraint="", projection=()):
        return [classad2.ClassAd('[Name="ap1"]')] if kind == "schedd" else []

class Schedd:
    def __init__(self, ad): pass
    def query(self, constraint, projection, opts):
        if os.environ.get("FAKE_SCHEDD") == "down":
            raise OSError("Failed to connect to schedd")
        if opts == "clusters":
            return []
        return [classad2.ClassAd(os.environ["FAKE_SCHEDD"])]
"""

AD = '[JobCount=3; EnteredCurrentStatus=1000000000; Owner="ada"; RequestCpus=1; RequestMemory=2000; RequestDisk=100]'


@pytest.fixture
def glidepost(tmp_path, monkeypatch, capsys, pool_key, site_key):
    """Runs the command: glidepost("publisher", "run") returns exit code, standard output, standard error."""
    (tmp_path / "publisher.toml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "sites.toml").write_text(f'[north]\npublic_key = "{site_key.public}"\n', encoding="utf-8")
    pool_key.save(tmp_path / "pool.key")
    tool = tmp_path / "bin" / "condor_token_create"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho a.b.c\n", encoding="utf-8")
    tool.chmod(0o755)
    (tmp_path / "fakes").mkdir()
    (tmp_path / "fakes" / "htcondor2.py").write_text(HTCONDOR, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fakes"), prepend=os.pathsep)
    monkeypatch.setenv("FAKE_SCHEDD", AD)
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["glidepost", *words])
        with pytest.raises(SystemExit) as caught:
            main()
        output = capsys.readouterr()
        return int(caught.value.code or 0), output.out, output.err

    return run


@pytest.mark.usefixtures("aws")
def test_a_run_publishes_and_says_what(glidepost, store):
    code, out, err = glidepost("publisher", "run")
    assert (code, err) == (0, "")
    assert "published demand 1: 3 idle user jobs in 1 group; mailboxes renewed: north" in out
    assert store.list("v1/") == ["v1/demand.json", "v1/keys.json", "v1/sites/north.json"]


@pytest.mark.usefixtures("aws")
def test_a_second_run_says_that_nothing_changed(glidepost):
    glidepost("publisher", "run")
    code, out, _ = glidepost("publisher", "run")
    assert code == 0
    assert "unchanged, not published again: demand 1" in out


@pytest.mark.usefixtures("aws")
def test_a_dry_run_says_what_it_would_do_and_does_nothing(glidepost, store):
    code, out, _ = glidepost("publisher", "run", "--dry-run")
    assert code == 0
    assert "would publish demand 1" in out
    assert store.list("") == []


@pytest.mark.usefixtures("aws")
def test_json_is_all_that_standard_output_holds_also_when_the_page_is_made(glidepost, store):
    code, out, _ = glidepost("publisher", "run", "--json", "--aggregate")
    assert code == 0
    assert json.loads(out)["groups"][0]["idle_jobs"] == 3
    assert "v1/status.json" in store.list("v1/")


@pytest.mark.usefixtures("aws")
def test_why_says_for_each_site_what_is_against_a_group(glidepost, store):
    name = json.loads(glidepost("publisher", "run", "--dry-run", "--json")[1])["groups"][0]["id"]
    code, out, err = glidepost("publisher", "why", name[:4])
    assert (code, err) == (0, "")
    assert "3 idle user jobs" in out
    assert "it has not reported yet" in out
    code, out, _ = glidepost("publisher", "why", name, "--json")
    assert (code, json.loads(out)["sites"][0]["name"]) == (0, "north")
    code, _, err = glidepost("publisher", "why", "nothing")
    assert code == 2
    assert name in err
    assert store.list("") == []


@pytest.mark.usefixtures("aws")
def test_show_prints_what_is_published(glidepost):
    code, _, err = glidepost("publisher", "show")
    assert code == 1
    assert "no demand was published yet" in err
    glidepost("publisher", "run")
    code, out, _ = glidepost("publisher", "show")
    assert code == 0
    assert "demand 1 of demo" in out
    code, out, _ = glidepost("publisher", "show", "--json")
    assert json.loads(out)["signatures"]


@pytest.mark.usefixtures("aws")
def test_an_expression_that_looks_like_markup_is_printed_as_it_is(glidepost, monkeypatch):
    monkeypatch.setenv("FAKE_SCHEDD", AD.replace("RequestMemory=2000", "RequestMemory=foo[bold]"))
    code, out, _ = glidepost("publisher", "run")
    assert code == 0
    assert "RequestMemory = foo[bold]" in out


@pytest.mark.usefixtures("aws")
def test_a_failed_mailbox_ends_with_1_though_the_demand_is_out(glidepost, store, tmp_path):
    (tmp_path / "bin" / "condor_token_create").write_text("#!/bin/sh\necho no key >&2; exit 1\n", encoding="utf-8")
    code, out, err = glidepost("publisher", "run", "--aggregate")
    assert code == 1
    assert "published demand 1" in out
    assert "no key" in err
    assert {"v1/demand.json", "v1/keys.json", "v1/metrics.txt", "v1/status.json"} <= set(store.list("v1/"))
    assert store.list("v1/sites/") == []


@pytest.mark.usefixtures("aws")
def test_a_schedd_that_is_down_ends_with_1_and_publishes_nothing(glidepost, store, monkeypatch):
    monkeypatch.setenv("FAKE_SCHEDD", "down")
    code, _, err = glidepost("publisher", "run")
    assert code == 1
    assert "Failed to connect to schedd" in err
    assert store.list("") == []


@pytest.mark.usefixtures("aws")
def test_garbage_in_the_store_ends_with_1_and_stays(glidepost, store: S3Store):
    store.put("v1/demand.json", b"<html>", content_type="text/html", cache_seconds=0)
    code, _, err = glidepost("publisher", "run")
    assert code == 1
    assert "is not a demand document" in err
    assert store.get("v1/demand.json") == b"<html>"


@pytest.mark.usefixtures("aws")
def test_two_runs_at_once_the_second_says_so_and_ends_with_0(glidepost, store, tmp_path):
    with lock(tmp_path / "state" / "publisher.lock"):
        code, out, err = glidepost("publisher", "run")
    assert (code, out) == (0, "")
    assert "another publisher is running" in err
    assert store.list("") == []


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("name", ["pool.key", "pool.key.next"])
def test_a_secret_that_others_can_read_ends_with_2_before_anything_is_asked_or_written(
    glidepost, store, tmp_path, name
):
    (tmp_path / name).touch()
    (tmp_path / name).chmod(0o644)
    code, _, err = glidepost("publisher", "run")
    assert code == 2
    assert f"hint:  chmod 600 {tmp_path / name}" in err
    assert store.list("") == []


@pytest.mark.usefixtures("aws")
def test_a_state_folder_that_anybody_may_write_ends_with_2(glidepost, store, tmp_path):
    assert glidepost("publisher", "run")[0] == 0
    before = store.get("v1/demand.json")
    folder = next(path.parent for path in tmp_path.rglob("publisher.lock"))
    folder.chmod(0o777)
    code, _, err = glidepost("publisher", "run")
    assert code == 2
    assert f"chmod o-w {folder}" in err
    assert store.get("v1/demand.json") == before


def test_an_unreachable_store_ends_with_1(glidepost, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    file = tmp_path / "publisher.toml"
    file.write_text(f'{CONFIG}endpoint = "http://127.0.0.1:1"\n', encoding="utf-8")
    code, _, err = glidepost("publisher", "run")
    assert code == 1
    assert "127.0.0.1:1" in err


def test_an_unknown_key_ends_with_2_and_the_right_spelling(tmp_path):
    file = tmp_path / "publisher.toml"
    file.write_text(CONFIG.replace("state =", "stat ="), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", "from glidepost.schema.command import main; main()", "publisher", "run"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 2
    assert "unknown key stat in [demand]" in done.stderr
    assert "did you mean state?" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("missing", ["pool.key", "publisher.toml"])
def test_a_missing_file_ends_with_2(glidepost, tmp_path, missing):
    (tmp_path / missing).unlink()
    code, _, err = glidepost("publisher", "run")
    assert code == 2
    assert missing in err


def test_check_says_what_works_what_fails_and_what_to_do(glidepost, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    file = tmp_path / "publisher.toml"
    text = CONFIG.replace("127.0.0.1:9618", "127.0.0.1:1").replace("127.0.0.1:8333", "127.0.0.1:1")
    file.write_text(f'{text}endpoint = "http://127.0.0.1:1"\n', encoding="utf-8")
    code, out, _ = glidepost("publisher", "check", "--config", str(file))
    assert code == 1
    lines = out.splitlines()
    assert lines[0] == f"ok      configuration: {file} (from --config)"
    assert "failed  collector 127.0.0.1:1: no connection: [Errno 111] Connection refused" in lines
    assert "ok      schedd ap1: 3 idle user jobs in 1 row" in lines
    assert any(line.startswith("failed  store: list: ") for line in lines)
    failed = [number for number, line in enumerate(lines) if line.startswith("failed")]
    assert all(lines[number + 1].startswith("        remedy: ") for number in failed)
    monkeypatch.setenv("GLIDEPOST_PUBLISHER_CONFIG", str(file))
    code, out, _ = glidepost("publisher", "check", "--json")
    assert code == 1
    assert json.loads(out)[0]["text"] == f"{file} (from environment)"
    assert {finding["state"] for finding in json.loads(out)} == {"ok", "failed", "skipped"}


def test_check_of_a_wrong_configuration_is_one_failure_and_ends_with_1(glidepost, tmp_path):
    file = tmp_path / "publisher.toml"
    file.write_text(CONFIG.replace("[pool]", "[poool]"), encoding="utf-8")
    code, out, _ = glidepost("publisher", "check")
    assert code == 1
    assert out.count("failed") == 1
    assert "did you mean pool?" in out


def test_enroll_adds_a_site_and_refuses_what_is_none(glidepost, tmp_path, pool_key):
    code, out, _ = glidepost("publisher", "enroll", f"glidepost-site south {pool_key.public}")
    assert code == 0
    assert "south is enrolled" in out
    assert set(load_sites(tmp_path / "sites.toml")) == {"north", "south"}
    code, _, err = glidepost("publisher", "enroll", "hello")
    assert code == 2
    assert "not an enrolment line" in err


def test_enroll_says_what_changed_for_a_known_site(glidepost, site_key, pool_key):
    code, out, _ = glidepost("publisher", "enroll", f"glidepost-site north {site_key.public}", "--groups", "a, @b.org")
    assert code == 0
    assert "with this key already" in out
    code, out, _ = glidepost("publisher", "enroll", f"glidepost-site north {pool_key.public}", "--channel", "canary")
    assert code == 0
    assert f"another key now: {pool_key.public.key_id}, no longer {site_key.public.key_id}" in out
    north = load_sites(Path("sites.toml"))["north"]
    assert (north.groups, north.channel) == (("a", "@b.org"), "canary")


@pytest.mark.parametrize("groups", ["a b", "@", 'x"y', "a;b"])
def test_a_group_that_is_none_is_refused_and_nothing_is_written(glidepost, tmp_path, site_key, groups):
    before = (tmp_path / "sites.toml").read_text(encoding="utf-8")
    code, _, err = glidepost("publisher", "enroll", f"glidepost-site north {site_key.public}", "--groups", groups)
    assert code == 2
    assert "groups" in err
    assert (tmp_path / "sites.toml").read_text(encoding="utf-8") == before


def test_a_group_beside_a_rule_in_publisher_toml_is_refused_and_nothing_is_written(glidepost, tmp_path, site_key):
    before = (tmp_path / "sites.toml").read_text(encoding="utf-8")
    (tmp_path / "publisher.toml").write_text(f'{CONFIG}[rules.north]\naccept = ["b"]\n', encoding="utf-8")
    code, _, err = glidepost("publisher", "enroll", f"glidepost-site north {site_key.public}", "--groups", "a")
    assert code == 2
    assert "[rules.north] accept" in err
    assert (tmp_path / "sites.toml").read_text(encoding="utf-8") == before


def test_revoke_prints_what_htcondor_needs_and_nothing_else_on_standard_output(glidepost):
    code, out, err = glidepost("publisher", "revoke", "north")
    assert code == 0
    assert "DENY_ADVERTISE_STARTD = $(DENY_ADVERTISE_STARTD), glidein-north@pool.test" in out
    assert all(line.startswith("#") or " = " in line for line in out.splitlines())
    assert "condor_reconfig" in err
    assert load_sites(Path("sites.toml"))["north"].is_revoked
    assert glidepost("publisher", "revoke")[1] == out


def test_revoke_writes_the_file_of_all_that_are_shut_out(glidepost, tmp_path, pool_key):
    file = tmp_path / "90-glidepost-revoked.conf"
    glidepost("publisher", "enroll", f"glidepost-site south {pool_key.public}")
    for site in ("south", "north"):
        code, out, _ = glidepost("publisher", "revoke", site, "--write", str(file))
        assert code == 0
        assert "condor_reconfig" in out
    assert "glidein-north@pool.test, glidein-south@pool.test" in file.read_text(encoding="utf-8")
    code, out, _ = glidepost("publisher", "enroll", f"glidepost-site south {pool_key.public}", "--again")
    assert code == 0
    assert "revoke --write FILE" in out
    glidepost("publisher", "revoke", "--write", str(file))
    assert "DENY_READ = $(DENY_READ), glidein-north@pool.test\n" in file.read_text(encoding="utf-8")


def test_a_file_that_cannot_be_written_ends_with_2_and_the_site_is_revoked_all_the_same(glidepost, tmp_path):
    (tmp_path / "taken").mkdir()
    code, _, err = glidepost("publisher", "revoke", "north", "--write", str(tmp_path / "publisher.toml" / "file"))
    assert code == 2
    assert "publisher.toml" in err
    assert load_sites(tmp_path / "sites.toml")["north"].is_revoked


def test_an_unknown_site_cannot_be_revoked(glidepost):
    code, _, err = glidepost("publisher", "revoke", "nroth")
    assert code == 2
    assert "enrolled are: north" in err


@pytest.mark.usefixtures("aws")
def test_sites_shows_who_is_enrolled_and_when_it_was_heard(glidepost, site_key, pool_key):
    glidepost("publisher", "enroll", f"glidepost-site south {pool_key.public}", "--groups", "group_physics")
    glidepost("publisher", "run")
    glidepost("publisher", "revoke", "south")
    code, out, err = glidepost("publisher", "sites", "--json")
    assert (code, err) == (0, "")
    north, south = json.loads(out)
    assert (north["site"], north["state"], north["key_id"]) == ("north", "never", site_key.public.key_id)
    assert north["token_ends_at"] > north["mailbox_at"]
    assert (south["state"], south["groups"]) == ("revoked", ["group_physics"])
    code, out, _ = glidepost("publisher", "sites")
    assert code == 0
    assert "no heartbeat yet" in out
    assert "revoked since" in out


def test_sites_shows_what_is_written_down_when_the_store_is_down(glidepost, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    (tmp_path / "publisher.toml").write_text(f'{CONFIG}endpoint = "http://127.0.0.1:1"\n', encoding="utf-8")
    code, out, err = glidepost("publisher", "sites")
    assert code == 0
    assert "north" in out
    assert "note: what sites report is not known: store: GET glidepost/v1/sites/north.json" in err
    assert json.loads(glidepost("publisher", "sites", "--json")[1])[0]["state"] == "unknown"


def test_check_makes_a_token_with_the_key_file_and_refuses_one_that_others_can_read(glidepost, tmp_path):
    key = tmp_path / "token.key"
    key.write_bytes(bytes(range(1, 65)))
    text = CONFIG.replace('condor_bin = "bin"', 'token_key_file = "token.key"').replace("8333", "1")
    (tmp_path / "publisher.toml").write_text(text, encoding="utf-8")

    def found() -> dict[str, str]:
        findings = json.loads(glidepost("publisher", "check", "--json")[1])
        return next(finding for finding in findings if finding["name"] == "pool token")

    key.chmod(0o600)
    good = found()
    assert good["state"] == "ok"
    assert "glidein-check@pool.test, good for 3d" in good["text"]
    assert good["text"].endswith(f"made by {key}")
    key.chmod(0o640)
    assert found()["remedy"] == f"chmod 600 {key}"


def put_silent_site(store):
    data = json.loads((Path(publisher_config.__file__).parent / "heartbeat-1.example.json").read_text(encoding="utf-8"))
    body = json.dumps({**data, "site": "north", "sent_at": "2020-11-22T09:00:00Z"}).encode()
    store.put("v1/heartbeats/north.json", body, content_type="application/json", cache_seconds=0)


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("words", [(), ("--aggregate",)], ids=["without the page", "with it"])
def test_a_silent_site_is_told_by_the_run_that_sees_it_and_once(glidepost, store: S3Store, tmp_path, words):
    program = tmp_path / "sendmail"
    program.write_text(f"#!/bin/sh\ncat >>{tmp_path}/mails\n", encoding="utf-8")
    program.chmod(0o755)
    alerts = f'[alerts]\nmail_to = ["a@example.org"]\nmail_from = "g@example.org"\nsendmail = "{program}"\n'
    (tmp_path / "publisher.toml").write_text(CONFIG + alerts, encoding="utf-8")
    put_silent_site(store)
    for _ in range(2):
        code, _, err = glidepost("publisher", "run", *words)
        assert (code, err) == (0, "")
    assert (tmp_path / "mails").read_text().count("Subject: [glidepost demo] 1 silent site") == 1
    assert ("index.html" in store.list("")) == bool(words)


@pytest.mark.usefixtures("aws")
def test_a_mail_that_cannot_be_sent_ends_with_1_and_the_demand_is_out(glidepost, store: S3Store, tmp_path):
    alerts = '[alerts]\nmail_to = ["a@example.org"]\nmail_from = "g@example.org"\nsendmail = "/missing"\n'
    (tmp_path / "publisher.toml").write_text(CONFIG + alerts, encoding="utf-8")
    put_silent_site(store)
    code, out, err = glidepost("publisher", "run")
    assert code == 1
    assert "published demand 1" in out
    assert "alert: mail by /missing" in err
