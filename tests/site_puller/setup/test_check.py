"""`glidepost puller check`: whatever can be wrong at a site has a verdict, and what is wrong a remedy."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Optional

import pytest
from pool_tokens import make_token

from glidepost.backends.registry import BACKENDS
from glidepost.schema.checks import FAILED, OK, SKIPPED, Finding, exit_code
from glidepost.schema.document import encode
from glidepost.schema.keys import SigningKey
from glidepost.schema.mailbox import Form, Letter, Mailbox
from glidepost.schema.signing import sign
from glidepost.site_puller.setup.check import Question, check
from glidepost.site_puller.setup.check_secrets import pasted_secrets
from glidepost.site_puller.setup.cli import check as check_command

FAKES = Path(__file__).parents[2] / "fakes" / "bin"
COMMAND = Path("/bin/echo")  # faster than the real one
SHAPE = """
[shapes.cpu]
backend = "local"
cpus = 1
memory = "2GiB"
disk = "1MiB"
walltime = "1h"
max_total = 3
"""


@dataclass
class Site:
    """A site's folder, and what `check` finds in it, by name."""

    folder: Path
    now: datetime
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return self.folder / "puller.toml"

    def edit(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))

    def all(self, *, state: Optional[Path] = None) -> list[Finding]:
        question = Question(self.file, "--config", COMMAND, state, "--state" if state else "")
        found = list(check(question, now=self.now, environment=self.environment))
        assert all(item.remedy for item in found if item.state != OK)
        return found

    def __call__(self) -> dict[str, Finding]:
        return {item.name: item for item in self.all()}


@pytest.fixture
def site(tmp_path, web, pool_key, site_key, publish, make_group, write_letter, now, monkeypatch) -> Site:
    """A site at which all is well, with glideins as processes of this host."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    folder = tmp_path / "site"
    folder.mkdir(mode=0o700)
    site_key.save(folder / "site.key")
    head = f'[site]\nname = "north"\nkey = "site.key"\n[pool]\nurl = "{web.url}"\npublic_key = "{pool_key.public}"\n'
    (folder / "puller.toml").write_text(f'{head}timeout = "5s"\n{SHAPE}')
    (folder / "puller.toml").chmod(0o644)
    publish(make_group())
    write_letter(make_token(now))
    return Site(folder, now)


@pytest.fixture
def slurm(site, tmp_path, monkeypatch) -> Site:
    """The same site with the Slurm of tests/fakes."""
    monkeypatch.setenv("PATH", f"{FAKES}:{os.environ['PATH']}")
    monkeypatch.setenv("GLIDEPOST_FAKE_STATE", str(tmp_path / "slurm.json"))
    site.edit('"local"', '"slurm"')
    return site


@pytest.fixture
def write_letter(web, site_key, pool_key, now) -> Callable[..., None]:
    """Puts a mailbox for north into the store: write_letter(token, form="https://...")."""

    def write(text: str, *, form: str = "https://bucket.example.org/", key: SigningKey = site_key) -> None:
        letter = Letter("north", now, now + timedelta(hours=48), Form(form, {}), text)
        web.objects["v1/sites/north.json"] = encode(sign(Mailbox.pack(letter, key.public).to_json(), pool_key))

    return write


def failed(found: dict[str, Finding]) -> set[str]:
    return {name for name, item in found.items() if item.state == FAILED}


def test_where_all_is_well_nothing_fails_and_nothing_is_left(slurm, web):
    found = slurm()
    assert failed(found) == set()
    assert exit_code(found.values()) == 0
    assert {path.name for path in (slurm.folder / "state").iterdir()} == {"logs"}
    assert web.posts == []
    calls = json.loads((slurm.folder.parent / "slurm.json").read_text())["calls"]
    assert [call[0] for call in calls] == ["squeue"], "nothing was submitted"


def test_each_verdict_comes_as_soon_as_it_is_known(site):
    found = check(Question(site.file, "--config", COMMAND), now=site.now, environment={})
    assert next(found).name == "secrets in puller.toml"
    assert not (site.folder / "state").exists()
    found.close()


# Configuration


def test_it_says_which_file_and_state_folder_and_who_named_them(site, tmp_path):
    text = site()["configuration"].text
    assert text.startswith(f"{site.file} (from --config)")
    moved = {item.name: item for item in site.all(state=tmp_path / "elsewhere")}
    assert f"state folder {tmp_path / 'elsewhere'} (from --state, not from [site] state)" in moved["configuration"].text
    assert moved["state folder"].text.startswith(str(tmp_path / "elsewhere"))


def test_a_configuration_that_cannot_be_read_is_exit_code_2_and_the_end(site):
    site.edit("cpus = 1", 'cpus = "one"')
    found = site.all()
    assert (found[-1].name, found[-1].state) == ("configuration", FAILED)
    assert exit_code(found) == 2


def test_a_file_that_is_not_there_is_named(site):
    site.file.unlink()
    assert str(site.file) in site()["configuration"].text


@pytest.mark.parametrize("backend", sorted(set(BACKENDS) - {"local"}))
def test_a_client_that_is_not_installed_is_named(site, backend, tmp_path, monkeypatch):
    site.edit('"local"', f'"{backend}"')
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    finding = site()["cpu: commands"]
    assert finding.state == FAILED
    assert "not on the PATH: " in finding.text
    assert "command_prefix" in finding.remedy


def test_settings_that_do_nothing_are_named(site):
    site.edit("max_total = 3", 'max_total = 3\nmax_queued = 9\ngpu_name = "A100"\ncost_per_hour = 2.5')
    text = site()["settings"].text
    assert "max_queued above max_total" in text
    assert "gpu_name: without gpus" in text
    assert "cost_per_hour: without a budget" in text


# Secrets

SECRETS = {
    "a token": make_token(datetime(2026, 1, 1)),  # noqa: DTZ001 - any
    "an AWS access key": "AKIA" + "A2B3" * 4,
    "a private key": "-----BEGIN OPENSSH PRIVATE KEY-----",
}


@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_in_the_configuration_is_found_and_not_repeated(site, kind):
    site.file.write_text(f"{site.file.read_text()}\n# {SECRETS[kind]}\n")
    finding = site()["secrets in puller.toml"]
    assert finding.state == FAILED
    assert f"{kind} in line 17" in finding.text
    assert SECRETS[kind][:12] not in finding.text + finding.remedy


def test_a_secret_is_found_in_a_file_that_is_wrong_otherwise(site):
    site.file.write_text(f'{site.file.read_text()}\ntoken = "{SECRETS["a token"]}"\n')
    assert failed(site()) == {"secrets in puller.toml", "configuration"}


def test_what_is_no_secret_is_not_taken_for_one():
    assert pasted_secrets('public_key = "ed25519:A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="\nx = "eyJx.y.z"') == ()


def test_a_secret_in_a_check_of_the_site_is_found(site):
    (site.folder / "opencl.sh").write_text(f"curl -H 'Authorization: {SECRETS['a token']}'\n")
    site.file.write_text(f'{site.file.read_text()}\n[glidein]\nchecks = ["opencl.sh", "missing.sh"]\n')
    assert failed(site()) >= {"check opencl.sh", "check missing.sh"}


@pytest.mark.parametrize("line", ['keep = ["CONDOR_CONFIG"]', 'checks = ["missing.sh"]', 'checks = ["a.sh", "x/A.sh"]'])
def test_what_no_glidein_could_be_made_of_fails(site, line):
    for name in ("a.sh", "x/A.sh"):
        (site.folder / name).parent.mkdir(exist_ok=True)
        (site.folder / name).write_text("true\n")
    assert site()["glidein's script"].state == OK
    site.file.write_text(f"{site.file.read_text()}\n[glidein]\n{line}\n")
    assert site()["glidein's script"].state == FAILED


def test_a_key_that_others_can_read_fails(site):
    (site.folder / "site.key").chmod(0o640)
    finding = site()["site key"]
    assert finding.state == FAILED
    assert finding.remedy.startswith("chmod 600")


def test_a_token_that_others_can_read_fails(site):
    (site.folder / "state").mkdir()
    file = site.folder / "state" / "token"
    file.write_text("x")
    file.chmod(0o644)
    finding = site()["token and forms"]
    assert (finding.state, finding.exit_code, finding.remedy) == (FAILED, 2, f"chmod 600 {file}")
    file.chmod(0o600)
    assert site()["token and forms"].state == OK


@pytest.mark.parametrize("place", ["puller.toml", "state", "."])
def test_what_anybody_may_write_fails(site, place):
    (site.folder / "state").mkdir()
    (site.folder / place).chmod(0o777)
    finding = site()["who may write"]
    assert finding.state == FAILED
    assert finding.remedy.startswith("chmod o-w")


def test_what_a_group_may_write_is_said(site):
    site.file.chmod(0o664)
    finding = site()["who may write"]
    assert finding.state == OK
    assert "chmod g-w" in finding.remedy


# Pool


def test_a_store_that_does_not_answer_fails_once(site, web):
    site.edit(web.url, "http://127.0.0.1:9")
    found = site()
    assert failed(found) == {"store"}
    assert "demand" not in found


def test_a_store_without_a_demand_fails(site, web):
    del web.objects["v1/demand.json"]
    assert failed(site()) == {"store"}


@pytest.mark.parametrize(
    ("skew_s", "state", "has_remedy"), [(5, OK, False), (-100, OK, True), (400, FAILED, True), (-400, FAILED, True)]
)
def test_a_wrong_clock_is_told(site, web, now, skew_s, state, has_remedy):
    web.date = now + timedelta(seconds=skew_s)
    finding = site()["clock"]
    assert (finding.state, bool(finding.remedy)) == (state, has_remedy)


def test_a_demand_by_another_key_is_exit_code_3(site, publish, site_key):
    publish(key=site_key, mailbox=False)
    found = site()
    assert failed(found) == {"demand"}
    assert exit_code(found.values()) == 3


def test_an_old_demand_fails(site, publish, now):
    publish(at=now - timedelta(days=1), mailbox=False)
    assert "expired" in site()["demand"].text


def test_a_demand_of_a_lower_sequence_fails(site):
    (site.folder / "state").mkdir()
    (site.folder / "state" / "demand.sequence").write_text("9\n")
    assert "sequence 7" in site()["demand"].text


def test_another_pool_fails(site):
    site.edit("[pool]", '[pool]\nname = "other"')
    assert "pool demo" in site()["demand"].text


def test_the_demand_says_what_there_is_for_this_site(site):
    assert "1 of 1 group for north" in site()["demand"].text


def test_a_mailbox_for_another_key_fails(site, write_letter, pool_key, now):
    write_letter(make_token(now), key=pool_key)
    found = site()
    assert failed(found) == {"mailbox"}
    assert "pool token" not in found


def test_a_site_that_is_not_enrolled_gets_the_line_to_send(site, web):
    del web.objects["v1/sites/north.json"]
    assert "glidepost keys show" in site()["mailbox"].remedy


def test_a_token_that_ends_before_a_glidein_would_fails(site, write_letter, now):
    write_letter(make_token(now, timedelta(minutes=30)))
    assert "cpu (1h)" in site()["pool token"].text


def test_an_expired_token_fails(site, write_letter, now):
    write_letter(make_token(now, timedelta(hours=-2)))
    assert site()["pool token"].text.startswith("expired 2h ago")


def test_a_token_without_an_end_is_said(site, write_letter, now):
    write_letter(make_token(now, exp=None))
    assert site()["pool token"].state == SKIPPED


def test_a_token_that_is_none_is_untrusted(site, write_letter):
    write_letter("tok")
    assert site()["pool token"].exit_code == 3


def test_a_form_without_tls_is_said(site, write_letter, now):
    write_letter(make_token(now), form="http://bucket.example.org/")
    assert "without TLS" in site()["upload form"].text


def test_a_proxy_that_does_not_answer_fails(site):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        site.edit("[pool]", f'[pool]\nproxy = "http://user:pw@127.0.0.1:{deaf.getsockname()[1]}"')
        finding = site()["proxy"]
    assert finding.state == FAILED
    assert "pw" not in finding.text + finding.remedy


def test_a_store_that_only_this_shells_proxy_reaches_fails_for_cron(site, web, monkeypatch):
    monkeypatch.setenv("http_proxy", web.url)
    monkeypatch.setenv("no_proxy", "")
    site.edit(web.url, "http://store.invalid")
    finding = site()["proxy"]
    assert finding.state == FAILED
    assert "[pool] proxy = " in finding.remedy


def test_a_proxy_of_this_shell_that_is_not_needed_is_said(site, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    assert "without it too" in site()["proxy"].text


# Host


def test_a_state_folder_that_cannot_be_made_fails(site):
    (site.folder / "state").write_text("a file")
    found = site()
    assert "state folder" in failed(found)
    assert "state folder: locks" not in found


def test_a_command_that_does_not_start_in_crons_environment_fails(site, tmp_path):
    command = tmp_path / "glidepost"
    command.write_text('#!/bin/sh\n[ -n "$LD_LIBRARY_PATH" ] || { echo "libpython.so: not found" >&2; exit 127; }\n')
    command.chmod(0o755)
    found = list(check(Question(site.file, "--config", command), now=site.now, environment={}))
    finding = next(item for item in found if item.name == "cron")
    assert finding.state == FAILED
    assert "not found" in finding.text
    assert f"env -i PATH=/usr/bin:/bin SHELL=/bin/sh {command} --version" in finding.remedy


def test_the_real_command_starts_in_crons_environment(site):
    command = Path(sys.executable).with_name("glidepost")
    found = list(check(Question(site.file, "--config", command), now=site.now, environment={}))
    assert "glidepost, version" in next(item for item in found if item.name == "cron").text


def test_variables_that_cron_lacks_are_named(site):
    site.environment = {"SLURM_CONF": "/x/slurm.conf", "GLIDEPOST_PULLER_CONFIG": "/x"}
    assert "GLIDEPOST_PULLER_CONFIG, SLURM_CONF" in site()["environment"].text


# Batch system


def test_commands_that_only_the_login_shells_path_has_are_said(slurm):
    finding = slurm()["cpu: commands"]
    assert finding.state == OK
    if shutil.which("sbatch", path="/usr/bin:/bin") is None:
        assert "schedule" in finding.remedy


def test_commands_that_are_not_there_fail_and_nothing_is_asked(slurm, monkeypatch, tmp_path):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    found = slurm()
    assert "cpu: commands" in failed(found)
    assert "cpu: queue" not in found


def test_a_batch_system_that_is_down_fails_once(slurm, monkeypatch):
    monkeypatch.setenv("GLIDEPOST_FAKE_SQUEUE", "down")
    found = slurm()
    assert failed(found) == {"cpu: queue"}
    assert exit_code(found.values()) == 1


def test_limits_that_cannot_be_read_fail(slurm, monkeypatch):
    monkeypatch.setenv("GLIDEPOST_FAKE_SINFO", "garbage")
    assert failed(slurm()) == {"cpu: limits"}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('walltime = "1h"', 'walltime = "2h"', "walltime 2h of at most 1h"),
        ("cpus = 1", "cpus = 5", "5 cpus of 4 on a node"),
        ('memory = "2GiB"', 'memory = "8GiB"', "memory 8GiB of 8000MiB on a node"),
        ("max_total = 3", 'max_total = 3\noptions = { partition = "nosuch" }', "no queue nosuch"),
        ("max_total = 3", 'max_total = 3\noptions = { partition = "hidden" }', "is not open"),
        ("max_total = 3", "max_total = 2000\nmax_per_cycle = 2000", "takes 1001"),
    ],
)
def test_a_shape_that_its_queue_does_not_take_fails(slurm, old, new, words):
    slurm.edit(old, new)
    finding = slurm()["cpu: limits"]
    assert finding.state == FAILED
    assert words in finding.text


def test_one_kind_of_nodes_must_take_all_of_a_glidein(slurm):
    slurm.edit("max_total = 3", 'max_total = 3\noptions = { partition = "gpu" }')
    slurm.edit("cpus = 1", "cpus = 16")
    assert "gpu lets 1d6h, 64 cpus, 250GiB" in slurm()["cpu: limits"].text


def test_a_submission_that_would_be_refused_fails(slurm):
    slurm.edit("max_total = 3", 'max_total = 3\noptions = { account = "nobody" }')
    found = slurm()
    assert failed(found) == {"cpu: submission"}
    assert "Invalid account" in found["cpu: submission"].text


def test_processes_of_this_host_need_no_batch_system(site, tmp_path):
    site.edit("max_total = 3", f'max_total = 3\nscratch = "{tmp_path}"')
    found = site()
    assert failed(found) == set()
    assert found["cpu: limits"].state == SKIPPED
    assert "left" in found["cpu: scratch"].text


def test_scratch_without_room_fails(site, tmp_path):
    site.edit('disk = "1MiB"', f'disk = "9000TiB"\nscratch = "{tmp_path}"')
    assert failed(site()) == {"cpu: scratch"}


def test_each_shape_has_its_own_verdicts(slurm):
    big = slurm.file.read_text().partition("[shapes.cpu]")[2].replace("cpus = 1", "cpus = 9")
    slurm.file.write_text(f"{slurm.file.read_text()}\n[shapes.big]{big}")
    assert failed(slurm()) == {"big: limits"}


# The command


def test_the_command_prints_each_verdict_and_its_remedy(site, monkeypatch, capsys):
    # The command looks at the clock by itself, so the demand of the tests is too old or from the future.
    monkeypatch.setenv("COLUMNS", "80")
    code = check_command.main(["--config", str(site.file)], standalone_mode=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ok      secrets in puller.toml: none"
    remarks = [line for line in lines if line.startswith("        ")]
    assert all(re.match(r" {8}(remedy|advice): ", line) for line in remarks)
    assert code in {0, 3}


def test_the_command_prints_json(site, capsys):
    check_command.main(["--config", str(site.file), "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert set(found[0]) == {"name", "state", "text", "remedy", "exit_code"}


def test_the_gravest_failure_is_the_exit_code():
    def finding(code: int) -> Finding:
        return Finding("x", FAILED, "", "do", code)

    assert exit_code([finding(1), finding(3), finding(2), Finding("y", OK, "")]) == 3
    assert exit_code([replace(finding(1), exit_code=0)]) == 1
    assert exit_code([]) == 0
