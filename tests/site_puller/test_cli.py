"""The command as cron runs it, with a store that is a real server and glideins that are real, short processes."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timezone

import pytest

from glidepost.schema.command import main
from glidepost.schema.files import lock
from glidepost.schema.keys import SigningKey

CONFIG = """
[site]
name = "north"
key = "site.key"
state = "state"

[pool]
url = "{url}"
public_key = "{key}"
timeout = "5s"

[shapes.cpu]
backend = "{backend}"
cpus = 1
memory = "2GiB"
disk = "2GiB"
walltime = "1h"
max_total = 3
{more}
"""


@pytest.fixture
def now() -> datetime:
    """Here the command looks at the clock by itself."""
    return datetime.now(timezone.utc).replace(microsecond=0)


@pytest.fixture
def configure(tmp_path, web, pool_key, site_key):
    """Writes puller.toml: configure(more="max_queued = 2")."""
    site_key.save(tmp_path / "site.key")

    def write(**changes: str) -> None:
        values = {"url": web.url, "key": str(pool_key.public), "backend": "slurm", "more": "", **changes}
        (tmp_path / "puller.toml").write_text(CONFIG.format(**values), encoding="utf-8")

    write()
    return write


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Puts commands of this name before those of the host: slurm(squeue="...shell...")."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def put(**scripts: str) -> None:
        for name, script in scripts.items():
            (folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
            (folder / name).chmod(0o755)

    put(squeue="exit 0", sbatch=f"cat > {tmp_path}/submitted; echo 17")
    return put


@pytest.fixture
def glidepost(tmp_path, monkeypatch, capsys, configure, slurm):  # noqa: ARG001 - made before the command runs
    """Runs the command: glidepost("puller", "run") returns exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["glidepost", *words])
        with pytest.raises(SystemExit) as caught:
            main()
        output = capsys.readouterr()
        return int(caught.value.code or 0), output.out, output.err

    return run


def test_a_run_submits_and_says_what(glidepost, publish, make_group, tmp_path):
    publish(make_group(2))
    code, out, err = glidepost("puller", "run")
    assert (code, err) == (0, "")
    assert "north: demand 7" in out
    assert "satisfied" in out
    assert "GLIDEPOST_SHAPE=cpu\n" in (tmp_path / "submitted").read_text(encoding="utf-8")


@pytest.mark.parametrize("words", [("plan",), ("run", "--dry-run")])
def test_a_plan_says_the_same_and_does_nothing(glidepost, publish, make_group, tmp_path, words, web):
    publish(make_group(2))
    code, out, _ = glidepost("puller", *words)
    assert code == 0
    assert "satisfied" in out
    assert not (tmp_path / "submitted").exists()
    assert web.posts == []


def test_json_is_all_that_standard_output_holds(glidepost, publish, make_group):
    publish(make_group(2))
    for verb in ("plan", "run"):
        code, out, _ = glidepost("puller", verb, "--json")
        answer = json.loads(out)
        assert code == 0
        assert (answer["site"], answer["shapes"][0]["submit"], answer["errors"]) == ("north", 2, [])
    _, out, _ = glidepost("puller", "why", "--json")
    assert json.loads(out)["plans"][0]["reason"] == "satisfied"


def test_why_explains_the_last_cycle_and_the_groups(glidepost, publish, make_group):
    code, _, err = glidepost("puller", "why")
    assert code == 2
    assert "glidepost puller run" in err
    publish(make_group(2), make_group(3, name="g00000002", memory_mib=9000))
    glidepost("puller", "run")
    code, out, _ = glidepost("puller", "why")
    assert code == 0
    assert "cpu: 2 submitted of 2 wanted, because of satisfied" in out
    assert "g00000002" in out
    assert "memory" in out


def test_status_lists_our_own_glideins(glidepost, slurm):
    slurm(squeue="printf '17@R@None@gp-abcde-12345@\\n18@PD@None@simulation@\\n'")
    code, out, err = glidepost("puller", "status")
    assert (code, err) == (0, "1 glidein\n")
    assert out.splitlines()[1].split() == ["17", "gp-abcde-12345", "(no", "longer", "configured)", "running"]
    assert len(out.splitlines()) == 2
    code, out, _ = glidepost("puller", "status", "--json")
    assert [item["batch_id"] for item in json.loads(out)] == ["17"]


def test_an_unreachable_batch_system_ends_with_1_and_submits_nothing(glidepost, publish, make_group, slurm, tmp_path):
    publish(make_group(2))
    slurm(squeue="echo slurm_load_jobs error: Unable to contact slurm controller >&2; exit 1")
    code, out, err = glidepost("puller", "run")
    assert code == 1
    assert "queue-unknown" in out
    assert "Unable to contact slurm controller" in err
    assert not (tmp_path / "submitted").exists()
    assert glidepost("puller", "plan")[0] == 1
    assert glidepost("puller", "status")[0] == 1


def test_a_missing_batch_system_ends_with_1(glidepost, publish, make_group, tmp_path, monkeypatch):
    publish(make_group(2))
    (tmp_path / "bin" / "squeue").unlink()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    code, _, err = glidepost("puller", "run")
    assert code == 1
    assert "PATH" in err


def test_an_unreachable_store_ends_with_1_and_submits_nothing(glidepost, configure, tmp_path):
    configure(url="http://127.0.0.1:1")
    code, out, err = glidepost("puller", "run")
    assert code == 1
    assert "demand-unknown" in out
    assert "127.0.0.1" in err
    assert not (tmp_path / "submitted").exists()


def test_a_forged_demand_ends_with_3_and_submits_nothing(glidepost, publish, make_group, tmp_path, web):
    publish(make_group(2), key=SigningKey.generate())
    code, out, err = glidepost("puller", "run")
    assert code == 3
    assert "demand-unknown" in out
    assert "not signed by a key we trust" in err
    assert not (tmp_path / "submitted").exists()
    assert len(web.posts) == 1
    assert glidepost("puller", "plan")[0] == 3


def test_two_runs_at_once_the_second_says_so_and_ends_with_0(glidepost, publish, make_group, tmp_path):
    publish(make_group(2))
    with lock(tmp_path / "state" / "lock"):
        code, out, err = glidepost("puller", "run")
    assert (code, out) == (0, "")
    assert "another puller of this site is running" in err
    assert not (tmp_path / "submitted").exists()


def test_status_says_when_a_batch_system_could_not_be_asked(glidepost, slurm):
    slurm(squeue="echo slurm_load_jobs error: Unable to contact slurm controller >&2; exit 1")
    code, _, err = glidepost("puller", "status")
    assert code == 1
    assert "Unable to contact" in err


def test_a_damaged_ledger_ends_with_1_and_mends_itself(glidepost, publish, make_group, tmp_path):
    publish(make_group(2))
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "ledger.json").write_text("{", encoding="utf-8")
    code, _, err = glidepost("puller", "run")
    assert code == 1
    assert "ledger.json is unreadable" in err
    code, out, err = glidepost("puller", "run")
    assert (code, err) == (0, "")
    assert "ledger-rebuilt" in out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"more": "max_totl = 3"}, "did you mean max_total?"),
        ({"backend": "slrum"}, "slrum"),
        ({"key": "ed25519:AAAA"}, "a public key has 3 bytes"),
    ],
)
def test_a_mistake_in_the_configuration_ends_with_2(glidepost, configure, changes, words):
    configure(**changes)
    code, _, err = glidepost("puller", "run")
    assert code == 2
    assert words in err


def test_a_key_that_others_can_read_ends_with_2(glidepost, tmp_path):
    (tmp_path / "site.key").chmod(0o644)
    code, _, err = glidepost("puller", "run")
    assert code == 2
    assert "chmod 600" in err


def test_a_state_folder_that_anybody_may_write_ends_with_2_and_nothing_is_submitted(
    glidepost, publish, make_group, tmp_path
):
    publish(make_group(2))
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    code, _, err = glidepost("puller", "run")
    assert code == 2
    assert f"chmod o-w {tmp_path / 'state'}" in err
    assert not (tmp_path / "state" / "ledger.json").exists()


@pytest.mark.parametrize("name", ["token", "log-form", "documents/v1-sites-north.json"])
def test_what_a_run_has_left_open_it_closes_itself_and_says_so(glidepost, publish, tmp_path, name, caplog):
    publish()
    file = tmp_path / "state" / name
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    file.chmod(0o644)
    assert glidepost("puller", "run")[0] == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert f"closed what others could read file={file}" in caplog.text


def test_a_link_in_the_place_of_the_token_ends_with_2(glidepost, publish, tmp_path):
    publish()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "token").symlink_to(tmp_path / "site.key")
    code, _, err = glidepost("puller", "run")
    assert code == 2
    assert "is a link" in err


def test_the_real_command_ends_with_2_for_an_unknown_key(configure, tmp_path):
    configure(more="max_totl = 3")
    done = subprocess.run(
        [sys.executable, "-c", "from glidepost.schema.command import main; main()", "puller", "run"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown key max_totl in [shapes.cpu]" in done.stderr
    assert "did you mean max_total?" in done.stderr
