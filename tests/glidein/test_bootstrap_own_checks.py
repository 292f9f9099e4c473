"""Glidepost's own checks: all at the same time, advertised, believed only where the site says so, and run again."""

from __future__ import annotations

import re
import signal
import time

import pytest
from own_checks import NAMES, all_checks, as_variables

KEEP = "cp $CONDOR_CONFIG $MADE"
# What the startd would run again and again; the first time it says nothing, for all has been checked just before.
AGAIN = "cd $SCRATCH; sh checks/run again >$MADE/first; sh checks/run again >$MADE/again; ls tmp >$MADE/tmp"
GOOD, BAD, UNSURE = "echo HAS_A = 1; true", "echo HAS_B = false; echo no luck; exit 1", "echo hm; exit 2"


def run(node, master: str = KEEP, *, texts: dict[str, str], **request: str):
    return node.run_master(master, 60, **as_variables(texts), **{"FAIL_PAUSE_S": "0", **request})


def config_of(node) -> str:
    return (node.made / "condor_config").read_text()


def said_again(node) -> dict[str, str]:
    *lines, last = (node.made / "again").read_text().splitlines()
    assert last == "-", "so HTCondor knows where the ad ends"
    return dict(line.split(" = ") for line in lines)


def test_all_of_ours_run_on_this_node(node):
    # (a busy disk may be too slow, and a small host be full)
    checks = {name: text.replace(" conv=fsync", "") for name, text in all_checks().items()}
    small = {"DISK_MIB": "64", "MEMORY_MIB": "64"}
    ended = node.run_master(f"{KEEP}; {AGAIN}", 120, **checks, **small, CVMFS="nowhere.example.org")
    for name in NAMES:
        assert re.search(f" check {name}: (ok|failed|unknown)", ended.output)
    config = config_of(node)
    for line in ("GLIDEPOST_CHECK_scratch = true", "GLIDEPOST_CHECK_memory = true", "PYGLIDEIN_RESOURCE_CVMFS = false"):
        assert f"{line}\n" in config
    said = said_again(node)
    assert (said["GLIDEPOST_CHECK_scratch"], said["GLIDEPOST_CHECK_memory"]) == ("true", "true")
    assert said["GLIDEPOST_Healthy"] == "true", "none is required"
    assert not {"GLIDEPOST_CHECK_clock", "GLIDEPOST_CHECK_network"} & set(said), "no server is asked again"
    assert (node.made / "tmp").read_text() == ""


def test_one_that_fails_is_advertised_and_no_more(node):
    ended = run(node, texts={"good": GOOD, "bad-luck": BAD, "unsure": UNSURE, "broken": "exit 127"})
    assert "check bad-luck: failed: it ended with 1: no luck" in ended.output
    assert "check unsure: unknown: it ended with 2: hm" in ended.output
    config = config_of(node)
    for line in ("HAS_A = 1", "HAS_B = false", "GLIDEPOST_CHECK_good = true", "GLIDEPOST_CHECK_bad_luck = false"):
        assert f"{line}\n" in config
    assert 'GLIDEPOST_FailedChecks = "bad-luck"' in config
    assert "GLIDEPOST_CHECK_unsure" not in config
    assert "GLIDEPOST_CHECK_broken" not in config


def test_one_that_is_required_and_fails_ends_the_glidein_before_the_sites_run(node):
    site = f"touch {node.made}/site"
    ended = run(node, texts={"good": GOOD, "bad": BAD}, REQUIRE="good bad", CHECKS="one", CHECK_1=site)
    assert (ended.code, ended.outcome, ended.detail) == (1, "check-failed:bad", "it ended with 1: no luck")
    assert list(node.made.iterdir()) == []


def test_one_that_is_required_and_cannot_tell_lets_the_glidein_go_on(dash_node):
    run(dash_node, texts={"unsure": UNSURE}, REQUIRE="unsure")
    assert (dash_node.made / "condor_config").exists()


def test_they_run_at_the_same_time_and_one_that_hangs_costs_its_time_only(node):
    hang = "setsid sleep 78 & sleep 78"
    started = time.monotonic()
    ended = run(node, texts={**dict.fromkeys("abcefghi", hang), "d": "sleep 1"}, CHECK_S="6", REQUIRE="d")
    assert time.monotonic() - started < 8 * 6
    assert "check a: failed: it took longer than 6 s, or was killed" in ended.output
    assert "GLIDEPOST_CHECK_d = true" in config_of(node)


def test_a_signal_ends_the_checks_at_once(node):
    texts = {"slow": f"touch {node.made}/ready; setsid sleep 77 & sleep 77"}
    process = node.start(node.script(node.line(node.pack(KEEP)), as_variables(texts)))
    while not (node.made / "ready").exists():
        time.sleep(0.05)
    killed = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert node.end(process).outcome == "killed"
    assert time.monotonic() - killed < 40


@pytest.mark.parametrize("request_", [{"REQUIRE": "nonsense"}, {"CHECK_EVERY_S": "soon"}, {"OWN_CHECKS": "../x"}])
def test_a_request_that_makes_no_sense_is_refused(dash_node, request_):
    ended = dash_node.run_master(KEEP, **request_)
    assert (ended.code, ended.outcome) == (2, "bad-request")


def test_the_startd_is_told_to_run_them_again(dash_node):
    run(dash_node, texts={"good": GOOD}, CHECK_EVERY_S="90")
    config = config_of(dash_node)
    assert "STARTD_CRON_GLIDEPOST_CHECKS_PERIOD = 90s\n" in config
    assert "&& (GLIDEPOST_Healthy =!= false)" in config
    run(dash_node, texts={"good": GOOD}, CHECK_EVERY_S="0")
    assert "GLIDEPOST_CHECKS" not in config_of(dash_node)
    dash_node.run_master(KEEP)
    assert "GLIDEPOST_CHECKS" not in config_of(dash_node), "there is none"


ONCE = 'if [ -n "${GLIDEPOST_AGAIN:-}" ]; then %s; else echo HAS_A = 1; fi'


@pytest.mark.parametrize(
    ("later", "word", "healthy", "attribute"),
    [
        ("echo HAS_A = 2", "true", "true", "2"),
        ("echo HAS_A = 3; exit 1", "false", "false", "3"),
        ("exit 1", "false", "false", "undefined"),
        ("exit 2", "undefined", "true", "undefined"),
        ("sleep 76", "false", "false", "undefined"),
    ],
)
def test_what_a_required_one_says_later_counts(node, later, word, healthy, attribute):
    run(node, AGAIN, texts={"a": ONCE % later, "other": "exit 1"}, REQUIRE="a", CHECK_S="10")
    assert (node.made / "first").read_text() == "GLIDEPOST_Healthy = true\n-\n"
    assert said_again(node) == {
        "HAS_A": attribute,
        "GLIDEPOST_CHECK_a": word,
        "GLIDEPOST_CHECK_other": "false",
        "GLIDEPOST_FailedChecks": '"other"' if word != "false" else '"a other"',
        "GLIDEPOST_Healthy": healthy,
    }


def test_a_check_of_the_sites_counts_later_too_and_may_say_no_more_than_before(node):
    later = "echo START = false; echo Memory = 1; echo GLIDEPOST_Healthy = true; echo HAS_A = $((1)); exit 5"
    run(node, AGAIN, texts={}, CHECKS="mine", CHECK_1=ONCE % later)
    assert said_again(node) == {"HAS_A": "1", "GLIDEPOST_FailedChecks": '"mine"', "GLIDEPOST_Healthy": "false"}


def test_one_that_hangs_later_is_killed_with_what_it_has_started_and_nothing_else(node):
    later = ONCE % "setsid sleep 75 & setsid sleep 75"
    # (what is killed takes a moment to end)
    is_there = "[ $((n+=1)) -lt 30 ] && grep -qs 'slee[p].75' /proc/[0-9]*/cmdline"
    gone = f"n=0; while {is_there}; do sleep 1; done; echo $n >$MADE/n"
    look = "kill -0 $! && touch $MADE/alive; kill $!"
    run(node, f"TMPDIR=$SCRATCH/tmp sleep 74 & {AGAIN}; {gone}; {look}", texts={"a": later}, CHECK_S="2")
    assert int((node.made / "n").read_text()) < 30
    assert (node.made / "alive").exists(), "it could have been a user job's"


def test_a_full_disk_does_not_stop_what_is_said_later(node):
    unwritable = f"chmod -R a-w $SCRATCH/checks $SCRATCH/tmp; {AGAIN}; chmod -R u+w $SCRATCH"
    run(node, f"rm $SCRATCH/checks/fresh; {unwritable}", texts={"a": ONCE % "exit 1"}, REQUIRE="a")
    assert said_again(node)["GLIDEPOST_Healthy"] == "false"


def settle(node, found: str, require: str = "", way: str = "native") -> str:
    """Returns what is advertised, and what will run again, when these of two repositories were found in this way."""
    return node.call(f"""
mkdir checks; found_names='' found_lines='' checks_done='' checks_failed='' checks_required=' {require} '
echo "again=' own-a own-cvmfs '" >checks/settings
to_die=0 GLIDEPOST_FAIL_PAUSE_S=0 GLIDEPOST_OWN_CHECKS='a cvmfs' GLIDEPOST_CVMFS='a.b c.d'
cvmfs_way={way} cvmfs_found='{found}'
(settle_cvmfs; cat checks/settings; printf '%s%s\\n' "${{checks_done}}" "${{found_lines}}"); rm -r checks""")


def test_cvmfs_is_judged_by_what_user_jobs_will_see(node):
    said = settle(node, "a.b c.d", "own-cvmfs")
    for line in ("again=' own-a own-cvmfs '", "cvmfs=ok", "GLIDEPOST_CHECK_cvmfs = true", "HAS_CVMFS_c_d = true"):
        assert f"{line}\n" in said
    assert "PYGLIDEIN_RESOURCE_CVMFS = true" in said
    said = settle(node, "a.b")
    for line in ("cvmfs=failed", "GLIDEPOST_CHECK_cvmfs = false", "PYGLIDEIN_RESOURCE_CVMFS = false"):
        assert f"{line}\n" in said
    assert "HAS_CVMFS_c_d" not in said


def test_mounts_are_not_looked_for_again_where_user_jobs_get_cvmfs_in_another_way(node):
    said = settle(node, "a.b c.d", "own-cvmfs", "cvmfsexec")
    assert "again=' own-a '" in said
    assert "cvmfs=ok" in said


def test_cvmfs_that_is_required_and_not_there_ends_the_glidein(node):
    assert "outcome check-failed:cvmfs: it ended with 1: no way to c.d" in settle(node, "a.b", "own-cvmfs")
