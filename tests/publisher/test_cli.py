"""The command as cron runs it: the census is a real child process, in which HTCondor's bindings are a fake."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from glidepost.publisher.store import S3Store
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
    assert store.list("v1/") == ["v1/demand.json", "v1/sites/north.json"]


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
    assert store.list("v1/") == ["v1/demand.json", "v1/status.json"]


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
    assert {finding["state"] for finding in json.loads(out)} == {"ok", "failed"}


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
