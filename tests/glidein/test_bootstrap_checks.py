"""The site's own checks of a node: run before anything of HTCondor, bounded, and believed."""

from __future__ import annotations

import re
import signal
import time

import pytest

RAN = "touch $MADE/ran; cp $CONDOR_CONFIG $MADE"


def run(node, *texts: str, **request: str):
    """Runs a glidein with these checks, named one, two, ..."""
    names = ("one", "two", "three")[: len(texts)]
    said = {f"CHECK_{number}": text for number, text in enumerate(texts, 1)}
    return node.run_master(RAN, CHECKS=" ".join(names), **{"FAIL_PAUSE_S": "0", **said, **request})


def config_of(node) -> list[str]:
    return (node.made / "condor_config").read_text().splitlines()


def test_a_check_that_likes_the_node_lets_htcondor_start(node):
    ended = run(node, "echo fine\necho 'and this' >&2", "exit 0")
    assert (node.made / "ran").exists()
    assert "check one ended with 0\nfine\nand this\n" in ended.output
    assert "check two ended with 0" in ended.output


def test_a_check_that_fails_ends_the_glidein_before_htcondor_and_the_others(node):
    ended = run(node, "true", "echo 'no /dev/nvidia0'; exit 4", f"touch {node.made}/three")
    assert (ended.code, ended.outcome) == (1, "check-failed:two")
    assert ended.detail == "it ended with 4: no /dev/nvidia0"
    assert list(node.made.iterdir()) == []


def test_a_check_that_hangs_is_killed_with_what_it_has_started(node):
    hang = "setsid sleep 78 & sleep 78 & sleep 78"
    started = time.monotonic()
    ended = run(node, hang, CHECK_S="1")
    assert time.monotonic() - started < 50
    assert (ended.code, ended.outcome) == (1, "check-failed:one")
    assert "longer than 1 s" in ended.detail


def test_what_a_check_leaves_running_is_ended_though_it_liked_the_node(node):
    lines = f"setsid sleep 79 >/dev/null 2>&1 & echo $! >{node.made}/pid"
    # (what is killed takes a moment to end, and a zombie has no command line)
    is_there = f'n=$((n+1)); grep -qs . "/proc/$(cat {node.made}/pid)/cmdline"'
    alive = f"n=0; while {is_there}; do [ $n -lt 30 ] || {{ touch {node.made}/alive; exit 0; }}; sleep 1; done; exit 0"
    run(node, lines, alive)
    assert (node.made / "pid").exists()
    assert not (node.made / "alive").exists()


def test_a_bad_node_does_not_take_the_next_batch_job_at_once(node):
    script = node.script(node.line(node.pack(RAN)), {"CHECKS": "one", "CHECK_1": f"touch {node.made}/failed; exit 1"})
    process = node.start(script)
    while not (node.made / "failed").exists():
        time.sleep(0.02)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    killed = time.monotonic()
    ended = node.end(process)
    assert time.monotonic() - killed < 100
    assert (ended.code, ended.outcome) == (1, "check-failed:one")
    assert "holding the batch job for 300 s" in ended.output


def test_the_pause_ends_before_the_walltime_does(dash_node):
    ended = run(dash_node, "false", WALLTIME_S="4", RETIRE_S="1", FAIL_PAUSE_S="300")
    assert ended.outcome == "check-failed:one"
    assert re.search(r"holding the batch job for (-\d+|[0-3]) s", ended.output), ended.output


def test_a_check_sees_what_user_jobs_will_and_what_the_glidein_is_to_be(node):
    node.env.update(SECRET="x", KEPT="it's", LD_LIBRARY_PATH="/opt/lib", CUDA_VISIBLE_DEVICES="3")
    lines = f"env >{node.made}/saw; cat >>{node.made}/saw; pwd >{node.made}/pwd; ls tokens.d >{node.made}/tokens"
    run(node, lines, KEEP="KEPT LD_LIBRARY_PATH", ENVIRONMENT="A=1", GPUS="1")
    saw = dict(line.split("=", 1) for line in (node.made / "saw").read_text().splitlines())
    assert set(saw) - {"PWD", "_", "OLDPWD", "SHLVL"} == {
        *("PATH", "TMPDIR", "LANG", "KEPT", "LD_LIBRARY_PATH", "A", "CUDA_VISIBLE_DEVICES"),
        *(f"GLIDEPOST_{name}" for name in ("SITE", "SHAPE", "CPUS", "MEMORY_MIB", "DISK_MIB", "GPUS")),
    }
    assert (saw["KEPT"], saw["GLIDEPOST_SHAPE"]) == ("it's", "small")
    assert (node.made / "pwd").read_text().startswith(f"{node.scratch}/glidepost-")
    assert (node.made / "tokens").read_text() == "", "there is no token yet"


def test_what_a_check_finds_out_is_advertised(node):
    found = ("HAS_OPENCL = true", "HAS_CUDA=false", "GLIDEPOST_Driver = 550", 'HAS_RACK = "a $(LOG) b"')
    run(node, "".join(f"echo '{line}'\n" for line in found), "echo HAS_DISK = -5")
    config = config_of(node)
    (names,) = (line for line in config if "GLIDEIN_ToRetire, " in line)
    assert "HAS_OPENCL, HAS_CUDA, GLIDEPOST_Driver, HAS_RACK, HAS_DISK" in names
    for line in (
        "HAS_OPENCL = true",
        "HAS_CUDA=false",
        "GLIDEPOST_Driver = 550",
        'HAS_RACK = "a $(DOLLAR)(LOG) b"',
        "HAS_DISK = -5",
    ):
        assert line in config


@pytest.mark.parametrize(
    "line",
    [
        "START = true",
        "Memory = 999999",
        "GLIDEPOST_Site = true",
        "glidepost_site = true",
        "GLIDEPOST_SITE = true",
        "HAS_ = true",
        "GLIDEPOST_Healthy = true",
        "GLIDEPOST_CHECK_cvmfs = true",
        "PYGLIDEIN_RESOURCE_X = true",
    ],
)
def test_an_attribute_that_is_not_the_sites_to_say_is_ignored_with_a_word(dash_node, line):
    before = run(dash_node, "true")
    config = config_of(dash_node)
    ended = run(dash_node, f"echo '{line}'")
    assert len(config_of(dash_node)) == len(config)
    assert f"{line.split()[0]} is not advertised" in ended.output
    assert "is not advertised" not in before.output


def test_what_gridftp_users_look_for_is_undefined_unless_a_check_knows(dash_node):
    run(dash_node, "true")
    assert "PYGLIDEIN_RESOURCE_GRIDFTP = undefined" in config_of(dash_node)
    run(dash_node, "echo PYGLIDEIN_RESOURCE_GRIDFTP = true")
    config = config_of(dash_node)
    assert "PYGLIDEIN_RESOURCE_GRIDFTP = true" in config
    assert "PYGLIDEIN_RESOURCE_GRIDFTP = undefined" not in config


@pytest.mark.parametrize(
    "line",
    ["HAS_X = 1 + 1", "HAS_X = TRUE", 'HAS_X = "a\\b"', "HAS_X", "HAS X = 1", "HAS_X = 0x10", "HAS_X = 010"],
)
def test_an_expression_is_not_advertised(dash_node, line):
    run(dash_node, f"cat <<'END'\n{line}\nEND")
    assert "HAS_X" not in (dash_node.made / "condor_config").read_text()


def test_a_talkative_check_fills_neither_the_log_nor_the_ad(node):
    ended = run(node, "i=0; while [ $i -lt 5000 ]; do i=$((i+1)); echo HAS_A$i = true; done")
    assert len(ended.output) < 20_000
    assert (node.made / "condor_config").read_text().count("HAS_A") == 128


def test_any_text_of_a_check_survives(node):
    run(node, f"cat >{node.made}/text <<'LINES'\nit's \"$HOME\" \\ `id` \\\\n %s\n\n\ttab\nLINES\n\n")
    assert (node.made / "text").read_text() == 'it\'s "$HOME" \\ `id` \\\\n %s\n\n\ttab\n'
