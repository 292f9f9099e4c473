from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from glidepost.publisher.pool import Pool
from glidepost.schema.demand import Metrics
from glidepost.schema.errors import ConfigError, PoolError
from glidepost.schema.publisher_config import PublisherConfig

# A census that is a Python program: what it answers to each request, or what it does instead.
ROW = {
    "idle_jobs": 3,
    "idle_since": 5,
    "owner": "ada",
    "accounting_group": None,
    "problem": None,
    "cpus": 1,
    "memory_mib": 100,
    "disk_kib": 100,
    "gpus": 0,
    "max_runtime_s": 0,
    "ad": "[]",
}
SLOT = {"site": "north", "shape": "cpu", "cpus": 4, "cpus_free": 2, "gpus": 0, "gpus_free": 0}
COLLECTOR = {"schedds": [{"name": "ap1", "ad": "[a = 1]", "started": 7, "wait_s": 70, "running": 5}]}
SCHEDD = {"rows": [ROW], "names": ["HasFoo"]}
SLOTS = {"slots": [SLOT], "running_inside": 2}
PROGRAM = """
import json, os, sys, time
request = json.load(sys.stdin)
answer = {answers}[request["ask"]]
{extra}
print(answer if isinstance(answer, str) else json.dumps(answer))
"""


@pytest.fixture
def ask(config):
    """Asks a pool: ask(slots=..., extra="a statement of the child")."""

    def run(*, settings: PublisherConfig = config, extra: str = "", timeout_s: float = 30, **changes):
        answers = {"collector": COLLECTOR, "schedd": SCHEDD, "slots": SLOTS, **changes}
        settings = replace(settings, census=replace(settings.census, timeout_s=timeout_s, min_idle_s=7))
        program = PROGRAM.format(answers=repr(answers), extra=extra)
        return Pool(settings, census_command=(sys.executable, "-c", program)).ask()

    return run


def several(*names: str) -> dict:
    return {"schedds": [{"name": name, "ad": f'[Name = "{name}"]'} for name in names]}


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


def test_the_answers_of_the_census_are_read(ask):
    answer = ask()
    assert (answer.schedds[0].name, answer.schedds[0].idle_jobs, answer.slots[0].site) == ("ap1", 3, "north")


def test_the_pool_is_measured_by_what_its_daemons_count(ask):
    assert ask().metrics == Metrics(2, 3, 7, 70, {"north": 4})


def test_a_schedd_is_asked_at_its_place_for_what_is_idle_long_enough(ask):
    ask(extra="assert request['ask'] != 'schedd' or (request['location'], request['min_idle_s']) == ('[a = 1]', 7)")


def test_slots_are_asked_for_what_user_jobs_look_at(ask):
    ask(extra="assert request['ask'] != 'slots' or request['names'] == ['HasFoo']")


@pytest.mark.parametrize("wanted", ["all", "local", ("ap1",)])
def test_the_collector_is_asked_for_the_schedds_that_are_configured(ask, config, wanted):
    settings = replace(config, census=replace(config.census, schedds=wanted))
    said = json.dumps(wanted)
    ask(settings=settings, extra=f"assert request['ask'] != 'collector' or json.dumps(request['schedds']) == {said!r}")


def test_the_census_sees_the_configured_pool_and_its_token(ask, config):
    settings = replace(
        config,
        pool=replace(config.pool, condor_config="/pool/condor_config"),
        census=replace(config.census, token_directory="/tokens"),
    )
    expected = "assert os.environ['CONDOR_CONFIG'] == '/pool/condor_config'"
    ask(settings=settings, extra=f"{expected} and os.environ['_CONDOR_SEC_TOKEN_DIRECTORY'] == '/tokens'")


def test_schedds_are_asked_side_by_side(ask, tmp_path):
    meet = f"""
if request["ask"] == "schedd":
    open(f"{tmp_path}/{{os.getpid()}}", "w").close()
    while len(os.listdir("{tmp_path}")) < 6:
        time.sleep(0.01)
"""
    answer = ask(collector=several(*"abcdef"), extra=meet)
    assert [schedd.error for schedd in answer.schedds] == [None] * 6


def test_a_schedd_that_takes_too_long_does_not_keep_the_others_from_answering(ask):
    hang = "time.sleep(60 * ('ap2' in request.get('location', '')))"
    one, two, three = ask(collector=several("ap1", "ap2", "ap3"), extra=hang, timeout_s=10).schedds
    assert (one.idle_jobs, two.idle_jobs, three.idle_jobs) == (3, 0, 3)
    assert (one.error, two.error) == (None, "census: no answer within 10 s")


def test_a_schedd_that_fails_is_named_with_its_last_line(ask):
    fail = "if 'ap2' in request.get('location', ''): sys.exit('Traceback\\nFailed to connect to schedd')"
    one, two = ask(collector=several("ap1", "ap2"), extra=fail).schedds
    assert (one.error, two.error) == (None, "census: Failed to connect to schedd")


def test_a_schedd_that_is_configured_and_not_in_the_collector_is_an_error_of_its_own(ask, config):
    settings = replace(config, census=replace(config.census, schedds=("ap0", "ap1")))
    zero, one = ask(settings=settings).schedds
    assert (zero.name, zero.error, one.error) == ("ap0", "it is not in the collector", None)


def test_a_collector_that_takes_too_long_is_an_error(ask):
    with pytest.raises(PoolError, match=r"no answer within 0\.3 s") as caught:
        ask(extra="time.sleep(60)", timeout_s=0.3)
    assert "timeout" in caught.value.hint


def test_slots_that_cannot_be_seen_are_an_error_and_not_an_empty_pool(ask):
    with pytest.raises(PoolError, match="census: collector is down"):
        ask(extra="if request['ask'] == 'slots': sys.exit('collector is down')")


def test_a_census_that_fails_says_its_last_line(ask):
    with pytest.raises(PoolError, match="census: HTCondorLocateError: collector is down"):
        ask(extra="sys.exit('Traceback\\nHTCondorLocateError: collector is down')")


def test_a_census_that_fails_silently_says_so(ask):
    with pytest.raises(PoolError, match="said nothing"):
        ask(extra="raise SystemExit(3)")


@pytest.mark.parametrize("output", ["", "{}", "[]", '{"schedds": [{"name": 3}]}', '{"schedds": [{"name'])
def test_an_answer_that_is_none_is_an_error_and_not_an_empty_pool(ask, output):
    with pytest.raises(PoolError, match="census: "):
        ask(collector=output)


@pytest.mark.parametrize("output", ["", "{}", "[]", '{"rows": [{}], "names": []}', '{"rows": [], "na'])
def test_an_answer_of_a_schedd_that_is_none_is_its_error_and_not_an_empty_queue(ask, output):
    (schedd,) = ask(schedd=output).schedds
    assert schedd.error.startswith("census: ")


def test_a_collector_that_knows_no_schedd_is_an_error_and_not_an_empty_pool(ask):
    with pytest.raises(PoolError, match="knows no schedd"):
        ask(collector={"schedds": []})


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
