from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from glidepost.schema import start
from glidepost.schema.demand import GlideinRelease, Rules, Tarball
from glidepost.schema.puller_config import GlideinOptions
from glidepost.site_puller.script import render

HOSTILE = """it's "here"; $(touch broken) `id` \\ $HOME
second line"""


@pytest.fixture
def facts(make_config, make_shape, make_demand, tmp_path):
    """Renders a script and returns what a shell makes of its first part: facts("sh", glidein=...)."""

    def run(shell: str = "sh", *, shape=None, demand=None, **changes) -> dict[str, str]:
        config = make_config(**changes)
        text = render(config, shape or make_shape(), demand or make_demand(), name="gp-abcde-12345")
        file = tmp_path / "script.sh"
        file.write_text(text, encoding="utf-8")
        subprocess.run([shell, "-n", str(file)], check=True, timeout=20)
        head, separator, _ = text.partition("\n\n")
        assert separator
        names = [line.split("=")[0] for line in head.splitlines() if line.startswith("GLIDEPOST_")]
        program = head + "".join(f'\nprintf "%s\\0" {name} "${name}"' for name in names)
        done = subprocess.run(
            [shell], input=program, capture_output=True, encoding="utf-8", check=True, cwd=tmp_path, timeout=20
        )
        words = done.stdout.split("\0")[:-1]
        return dict(zip(words[::2], words[1::2]))

    return run


def test_the_shape_and_the_pool_are_in_the_script(facts, make_shape, tmp_path):
    said = facts(shape=make_shape("big", cpus=8, memory_mib=4096, disk_mib=5000, walltime_s=7200, scratch="$TMPDIR"))
    assert said == {
        **said,
        "GLIDEPOST_NAME": "gp-abcde-12345",
        "GLIDEPOST_SITE": "north",
        "GLIDEPOST_GLIDEIN_SITE": "North",
        "GLIDEPOST_SHAPE": "big",
        "GLIDEPOST_POOL": "demo",
        "GLIDEPOST_COLLECTORS": "cm.example.org:9618",
        "GLIDEPOST_CPUS": "8",
        "GLIDEPOST_MEMORY_MIB": "4096",
        "GLIDEPOST_DISK_MIB": "5000",
        "GLIDEPOST_GPUS": "0",
        "GLIDEPOST_WALLTIME_S": "7200",
        "GLIDEPOST_IDLE_S": "1200",
        "GLIDEPOST_UPDATE_S": "60",
        "GLIDEPOST_SCRATCH": "$TMPDIR",
        "GLIDEPOST_TOKEN_FILE": str(tmp_path / "state" / "token"),
        "GLIDEPOST_OUTCOMES": str(tmp_path / "state" / "outcomes"),
        "GLIDEPOST_TARBALLS": f"any x86_64 25.14.1 {'ab' * 32} 9 https://x.example.org/t.tar.gz",
    }


def test_each_tarball_has_a_line(facts, make_demand):
    tarballs = tuple(Tarball(os, "x86_64", "25.1", f"https://x/{os}", "ab" * 32, 9) for os in ("el9", "debian12"))
    said = facts(demand=make_demand(glidein=GlideinRelease("stable", tarballs)))
    assert [line.split()[0] for line in said["GLIDEPOST_TARBALLS"].splitlines()] == ["el9", "debian12"]


@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
def test_whatever_a_site_writes_stays_a_value(facts, make_shape, tmp_path, shell):
    options = GlideinOptions(cache=HOSTILE, network_interface=HOSTILE, start=HOSTILE, gpu_discovery=HOSTILE)
    said = facts(shell, shape=make_shape(scratch=HOSTILE), glidein=options, state=tmp_path / HOSTILE)
    for name in ("CACHE", "NETWORK_INTERFACE", "GPU_DISCOVERY", "SCRATCH"):
        assert said[f"GLIDEPOST_{name}"] == HOSTILE
    assert said["GLIDEPOST_START"] == f"({HOSTILE})"
    assert said["GLIDEPOST_TOKEN_FILE"] == str(tmp_path / HOSTILE / "token")
    assert not (tmp_path / "broken").exists()


def test_most_of_a_short_walltime_is_for_new_user_jobs(facts, make_shape):
    assert facts(shape=make_shape(walltime_s=400))["GLIDEPOST_RETIRE_S"] == "100"
    assert facts(shape=make_shape(walltime_s=86400))["GLIDEPOST_RETIRE_S"] == "1200"


def test_gpus_are_kept_for_those_that_ask_for_them(facts, make_shape):
    assert facts()["GLIDEPOST_START"] == ""
    assert facts(shape=make_shape(gpus=1))["GLIDEPOST_START"] == "((TARGET.RequestGPUs ?: 0) > 0)"
    both = facts(shape=make_shape(gpus=1), glidein=GlideinOptions(start="a || b"))["GLIDEPOST_START"]
    assert both == "((TARGET.RequestGPUs ?: 0) > 0) && (a || b)"


def test_accounting_groups_are_in_start_as_matching_reads_them(facts, make_shape):
    said = facts(shape=replace(make_shape(), accept=("sim",), deny=("sim.prod",), cvmfs=("a.b", "c.d")))
    assert said["GLIDEPOST_START"] == " && ".join(
        f"({clause})" for clause in start.clauses(gpus=0, accept=("sim",), deny=("sim.prod",))
    )
    assert said["GLIDEPOST_CVMFS"] == "a.b c.d"


def test_the_script_is_complete_and_holds_no_secret(make_config, make_shape, make_demand):
    config = make_config()
    config.token_file.parent.mkdir()
    config.token_file.write_text("tok.en.text", encoding="utf-8")
    text = render(config, make_shape(), make_demand(), name="gp-1")
    parts = sorted((Path(__file__).parents[2] / "glidein" / "bootstrap").glob("*.sh"))
    assert parts
    assert text.startswith("#!/bin/sh\n")
    assert text.endswith("".join(part.read_text(encoding="utf-8") for part in parts))
    assert "tok.en" not in text
    assert config.key.read_text(encoding="ascii").strip() not in text


def test_the_same_facts_give_the_same_script(make_config, make_shape, make_demand):
    made = {render(make_config(), make_shape(), make_demand(), name="gp-1") for _ in range(3)}
    assert len(made) == 1
    other = render(replace(make_config(), site="south"), make_shape(), make_demand(), name="gp-1")
    assert other not in made


def test_the_pools_rules_for_this_site_are_in_start_beside_the_shapes(facts, make_shape, make_demand):
    rules = {"north": Rules(accept=("@icecube.wisc.edu",)), "south": Rules(deny=("group_other",))}
    said = facts(shape=make_shape(deny=("group_test",)), demand=make_demand(rules=rules))
    shapes, pools = start.clauses(gpus=0, deny=("group_test",)), start.clauses(gpus=0, accept=("@icecube.wisc.edu",))
    assert said["GLIDEPOST_START"] == f"({shapes[0]}) && ({pools[0]})"
