from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from glidepost.publisher.pool import Pool
from glidepost.schema.errors import ConfigError, PoolError
from glidepost.schema.publisher_config import CensusSettings, PublisherConfig

ROW = (
    '{"idle_jobs": 3, "idle_since": 5, "owner": "ada", "accounting_group": null, "requirements": "true",'
    ' "problem": null, "cpus": 1, "memory_mib": 100, "disk_kib": 100, "gpus": 0, "max_runtime_s": 0}'
)
SLOT = '{"site": "north", "shape": "cpu", "cpus": 4, "cpus_free": 2, "gpus": 0, "gpus_free": 0}'
ANSWER = f'{{"schedds": [{{"name": "ap1", "rows": [{ROW}], "error": null}}], "slots": [{SLOT}]}}'


@pytest.fixture
def ask(config):
    """Asks a pool whose census is a Python program: ask("print(1)")."""

    def run(program: str, *, timeout_s: float = 30, settings: PublisherConfig = config):
        settings = replace(settings, census=CensusSettings(timeout_s=timeout_s, min_idle_s=7))
        return Pool(settings, census_command=(sys.executable, "-c", program)).ask()

    return run


@pytest.fixture
def make_token(config, tmp_path):
    """Makes a token with a condor_token_create that is a shell script."""

    def run(script: str, *, mode: int = 0o755) -> str:
        tool = tmp_path / "bin" / "condor_token_create"
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        tool.chmod(mode)
        pool = replace(config.pool, condor_bin=str(tool.parent), condor_config=str(tmp_path / "condor_config"))
        return Pool(replace(config, pool=pool)).token("north")

    return run


def test_the_answer_of_the_census_is_read(ask):
    answer = ask(f"print({ANSWER!r})")
    assert (answer.schedds[0].name, answer.schedds[0].idle_jobs, answer.slots[0].site) == ("ap1", 3, "north")


def test_the_census_is_asked_with_the_time_that_a_job_must_be_idle(ask):
    ask(f"import json, sys; assert json.load(sys.stdin)['min_idle_s'] == 7; print({ANSWER!r})")


def test_the_census_sees_the_configured_pool(ask, config):
    pool = replace(config.pool, condor_config="/pool/condor_config")
    program = f"import os; assert os.environ['CONDOR_CONFIG'] == '/pool/condor_config'; print({ANSWER!r})"
    ask(program, settings=replace(config, pool=pool))


def test_a_census_that_takes_too_long_is_ended(ask):
    with pytest.raises(PoolError, match=r"no answer within 0\.3 s") as caught:
        ask("import time; time.sleep(60)", timeout_s=0.3)
    assert "timeout" in caught.value.hint


def test_a_census_that_fails_says_its_last_line(ask):
    with pytest.raises(PoolError, match="census: HTCondorLocateError: collector is down"):
        ask("import sys; sys.exit('Traceback\\nHTCondorLocateError: collector is down')")


def test_a_census_that_fails_silently_says_so(ask):
    with pytest.raises(PoolError, match="said nothing"):
        ask("raise SystemExit(3)")


@pytest.mark.parametrize("output", ["", "{}", "[]", ANSWER[:-20], ANSWER.replace("3", '"three"', 1)])
def test_an_answer_that_is_none_is_an_error_and_not_an_empty_pool(ask, output):
    with pytest.raises(PoolError, match="census: "):
        ask(f"print({output!r})")


def test_a_collector_that_knows_no_schedd_is_an_error_and_not_an_empty_pool(ask):
    with pytest.raises(PoolError, match="knows no schedd"):
        ask("""print('{"schedds": [], "slots": []}')""")


def test_a_token_is_made_for_one_site_with_little_rights_and_life(make_token, tmp_path):
    token = make_token('echo "$@" > "$0.log"; echo "$CONDOR_CONFIG" >> "$0.log"; echo aaa.b-b.c_c')
    words, condor_config = (tmp_path / "bin" / "condor_token_create.log").read_text(encoding="utf-8").splitlines()
    assert token == "aaa.b-b.c_c"
    assert words == (
        "-identity glidein-north@pool.test -key POOL -authz READ -authz ADVERTISE_STARTD -authz ADVERTISE_MASTER"
        " -lifetime 259200"
    )
    assert condor_config == str(tmp_path / "condor_config")


def test_a_tool_that_refuses_is_a_pool_error_with_its_words(make_token):
    with pytest.raises(PoolError, match="Failed to find key POOL") as caught:
        make_token("echo Failed to find key POOL >&2; exit 1")
    assert "POOL" in caught.value.hint


@pytest.mark.parametrize("output", ["", "a.b", "a.b.c.d", "a b.c.d", "warning: x\\na.b.c", "a.b.c\\n\\377.d.e"])
def test_what_is_no_token_is_not_sent_to_a_site(make_token, output):
    with pytest.raises(PoolError):
        make_token(f"printf '{output}'")


def test_a_missing_tool_is_a_config_error(config, tmp_path):
    pool = Pool(replace(config, pool=replace(config.pool, condor_bin=str(tmp_path))))
    with pytest.raises(ConfigError, match="condor_token_create cannot be run: No such file") as caught:
        pool.token("north")
    assert "condor_bin" in caught.value.hint


def test_a_tool_that_is_no_program_is_a_config_error(make_token):
    with pytest.raises(ConfigError, match="condor_token_create cannot be run: Permission denied"):
        make_token("echo a.b.c", mode=0o644)


def test_the_token_is_in_no_error(make_token):
    with pytest.raises(PoolError) as caught:
        make_token("echo secret.token.text; echo broken >&2; exit 1")
    assert "secret.token" not in f"{caught.value.what} {caught.value.hint}"


def test_the_real_census_is_a_module_that_ends_with_an_error_when_there_is_no_collector(config, tmp_path):
    file: Path = tmp_path / "condor_config"
    lines = ("COLLECTOR_HOST = 127.0.0.1:1", "SEC_CLIENT_AUTHENTICATION_METHODS = ANONYMOUS", "LOG = $(TILDE)")
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = replace(config, pool=replace(config.pool, condor_config=str(file)))
    with pytest.raises(PoolError, match="census: "):
        Pool(settings).ask()
