from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from glidepost.schema import start
from glidepost.schema.demand import GlideinRelease, Rules, Tarball
from glidepost.schema.errors import ConfigError
from glidepost.schema.puller_config import GlideinOptions, leave_s
from glidepost.schema.resources import Bounds
from glidepost.site_puller.script import checks, render

PARTS = sorted((Path(__file__).parents[2] / "glidein" / "bootstrap").glob("*.sh"))
BOOTSTRAP = "".join(part.read_text(encoding="utf-8") for part in PARTS)
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
        head, separator, _ = text.partition(f"\n\n{BOOTSTRAP}")
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
        "GLIDEPOST_KEY_FILE": str(tmp_path / "site.key"),
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
    assert facts(shape=make_shape(walltime_s=400, retirement_s=1200))["GLIDEPOST_RETIRE_S"] == "100"
    assert facts(shape=make_shape(walltime_s=86400, retirement_s=1200))["GLIDEPOST_RETIRE_S"] == "1200"


def test_user_jobs_get_what_the_shape_offers_and_the_walltime_stays_what_was_asked_for(facts, make_shape):
    said = facts(shape=make_shape(memory_mib=8192, memory_margin_mib=512, walltime_s=86400, retirement_s=1200))
    assert said["GLIDEPOST_MEMORY_MIB"] == "7680"
    assert said["GLIDEPOST_WALLTIME_S"] == "86400"


@pytest.mark.parametrize("walltime_s", [10, 300, 599, 600, 7200, 86400])
@pytest.mark.parametrize("retirement_s", [0, 30, 1200])
def test_the_glidein_and_the_plan_count_the_same_end(make_shape, walltime_s, retirement_s):
    """The publisher and the puller promise user jobs this time; the glidein must keep it."""
    shape = make_shape(walltime_s=walltime_s, retirement_s=retirement_s)
    functions = BOOTSTRAP.rpartition("\nmain </dev/null")[0]
    program = f"""{functions}
GLIDEPOST_WALLTIME_S={walltime_s} GLIDEPOST_RETIRE_S={shape.retire_s} started=1000
take_deadline; plan_end; echo "$((to_retire - started)) ${{margin}}" """
    done = subprocess.run(["sh"], input=program, capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout.split() == [str(shape.offers.walltime_s), str(leave_s(walltime_s))]


def test_the_glidein_keeps_its_gpus_by_itself_unless_the_shape_lets_others_in(facts, make_shape):
    kept = facts(shape=make_shape(gpus=1), glidein=GlideinOptions(start="a || b"))
    assert (kept["GLIDEPOST_START"], kept["GLIDEPOST_BACKFILL"]) == ("(a || b)", "")
    shared = facts(shape=replace(make_shape(gpus=1), gpu_backfill=True))
    assert (shared["GLIDEPOST_START"], shared["GLIDEPOST_BACKFILL"]) == ("", "yes")


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
    config.log_form_file.write_text("policy=s3cret", encoding="utf-8")
    text = render(config, make_shape(), make_demand(), name="gp-1")
    assert PARTS
    assert text.startswith("#!/bin/sh\n")
    assert text.endswith(BOOTSTRAP)
    assert "tok.en" not in text
    assert "s3cret" not in text
    assert f"GLIDEPOST_LOG_FORM={config.log_form_file}\n" in text
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


def test_bounds_on_what_user_jobs_ask_for_are_in_start(facts, make_shape):
    bounds = Bounds(max_cpus=4, min_memory_mib=512)
    said = facts(shape=make_shape(jobs=bounds), glidein=GlideinOptions(start="x"))
    assert said["GLIDEPOST_START"] == " && ".join(f"({clause})" for clause in (*bounds.clauses(), "x"))


def test_setup_proxy_and_environment_reach_the_glidein_as_written(facts, make_shape):
    said = facts(
        shape=make_shape(setup=("module load cuda", HOSTILE)),
        glidein=GlideinOptions(
            keep=("A", "LD_LIBRARY_PATH"), environment={"X": "$HOME/it's", "Y": ""}, proxy="http://p:3128"
        ),
    )
    assert said["GLIDEPOST_SETUP"] == f"module load cuda\n{HOSTILE}"
    assert said["GLIDEPOST_KEEP"] == "A LD_LIBRARY_PATH"
    assert said["GLIDEPOST_ENVIRONMENT"] == "X=$HOME/it's\nY="
    assert said["GLIDEPOST_PROXY"] == "http://p:3128"


@pytest.mark.parametrize("name", ["CONDOR_CONFIG", "_condor_START", "TMPDIR", "GLIDEPOST_SITE"])
@pytest.mark.parametrize("key", ["keep", "environment"])
def test_variables_that_are_not_the_sites_are_refused(facts, name, key):
    options = GlideinOptions(keep=(name,)) if key == "keep" else GlideinOptions(environment={name: "x"})
    with pytest.raises(ConfigError, match=rf"{key}: {name} is HTCondor's"):
        facts(glidein=options)


@pytest.fixture
def write_check(tmp_path):
    def write(name: str, body: bytes = b"true\n") -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(body)
        return str(path)

    return write


def test_the_text_of_checks_goes_along_whatever_it_is(facts, write_check):
    text = f"{HOSTILE}\n\n'''\nLINES\n\ttab \N{SNOWMAN}"
    paths = write_check("a/Open_CL.v2.sh", text.encode()), write_check("b/disk")
    said = facts(glidein=GlideinOptions(checks=paths))
    assert said["GLIDEPOST_CHECKS"] == "open-cl-v2 disk"
    assert said["GLIDEPOST_CHECK_1"] == text
    assert said["GLIDEPOST_CHECK_2"] == "true\n"


@pytest.mark.parametrize(
    ("name", "body", "complaint"),
    [
        ("big.sh", b"x" * 65537, r"big\.sh they are more than 64 KiB"),
        ("program", b"\x7fELF\0", "program is no text"),
        ("latin.sh", b"\xe9", r"latin\.sh is no text"),
        ("---.sh", b"", r"---\.sh: there is no name in it"),
    ],
)
def test_a_check_that_cannot_go_along_is_a_configuration_error(write_check, name, body, complaint):
    with pytest.raises(ConfigError, match=complaint):
        checks(GlideinOptions(checks=(write_check(name, body),)))


def test_checks_share_one_bound_and_no_name(write_check):
    half = (write_check("a.sh", b"x" * 40000), write_check("b.sh", b"x" * 40000))
    with pytest.raises(ConfigError, match=r"b\.sh they are more than 64 KiB"):
        checks(GlideinOptions(checks=half))
    with pytest.raises(ConfigError, match="another check has it: 'a'"):
        checks(GlideinOptions(checks=(half[0], write_check("A.bash"))))


def test_a_check_that_is_missing_or_no_file_is_named(tmp_path):
    for path in (tmp_path / "gone.sh", tmp_path):
        with pytest.raises(ConfigError, match=f"there is no file {path}"):
            checks(GlideinOptions(checks=(str(path),)))


def test_the_pools_checks_come_before_the_sites(facts, write_check, make_demand):
    demand = make_demand()
    demand = replace(demand, glidein=replace(demand.glidein, checks={"opencl": "exit 3\n"}))
    said = facts(glidein=GlideinOptions(checks=(write_check("disk.sh", b"exit 0\n"),)), demand=demand)
    assert said["GLIDEPOST_CHECKS"] == "pool-opencl disk"
    assert (said["GLIDEPOST_CHECK_1"], said["GLIDEPOST_CHECK_2"]) == ("exit 3\n", "exit 0\n")


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_our_own_checks_go_along_word_by_word(facts, shell):
    said = facts(shell, glidein=GlideinOptions(require=("cvmfs", "gpu"), check_every_s=90))
    folder = PARTS[0].parents[1] / "checks"
    names = said["GLIDEPOST_OWN_CHECKS"].split()
    assert names == sorted(path.stem for path in folder.glob("*.sh"))
    for number, name in enumerate(names, 1):
        assert said[f"GLIDEPOST_OWN_CHECK_{number}"] == (folder / f"{name}.sh").read_text()
    assert (said["GLIDEPOST_REQUIRE"], said["GLIDEPOST_CHECK_EVERY_S"]) == ("cvmfs gpu", "90")
