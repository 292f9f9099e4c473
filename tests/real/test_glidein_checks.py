"""Checks in real glideins: what they say is in the slot's ad, and one that fails stops user jobs."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from glideins import Site
from own_checks import NAMES, all_checks, as_variables

from glidepost.infra.demo.testbed import wait_until

EVERY = {"CHECK_EVERY_S": "2", "IDLE_S": "30"}


def slot(site: Site) -> dict[str, Any]:
    """Returns the partitionable slot's ad, or nothing."""
    return next((dict(ad) for ad in site.slots() if ad["SlotType"] == "Partitionable"), {})


def says(site: Site, **expected: object) -> bool:
    ad = slot(site)
    return bool(ad) and all(str(ad.get(name)).lower() == str(value).lower() for name, value in expected.items())


@pytest.fixture
def answer(site: Site) -> Path:
    """A file whose lines a check prints, and ends with 1 where one of them is "bad"."""
    path = site.folder / "answer"
    path.write_text("HAS_THING = 1\n")
    path.chmod(0o644)
    return path


def check_of(answer: Path) -> str:
    return f"cat {answer}; ! grep -q bad {answer}"


def test_all_of_our_own_are_advertised_and_cost_little_time(site: Site) -> None:
    process = site.start(**all_checks(), CVMFS="nowhere.example.org", CHECK_EVERY_S="5", IDLE_S="60")
    # (the first look may find a busy disk too slow, or little memory free; the next ones ask for less)
    well = dict.fromkeys(("GLIDEPOST_Healthy", "GLIDEPOST_CHECK_memory", "GLIDEPOST_CHECK_scratch"), "True")
    assert wait_until(lambda: says(site, **well), 60)
    first = slot(site)
    assert first["GLIDEPOST_CHECK_network"] is True
    assert first["GLIDEPOST_CollectorsReached"] == 1
    assert first["GLIDEPOST_ScratchFreeMiB"] > 1024
    assert first["GLIDEPOST_CHECK_cvmfs"] is False
    assert "HAS_CVMFS_nowhere_example_org" not in first
    assert "cvmfs" in first["GLIDEPOST_FailedChecks"].split()
    process.terminate()
    record = site.end(process)
    assert record["outcome"] == "killed"
    for name in NAMES:
        assert f" check {name}: " in record["output"]
    sys.stdout.write("\n".join(line for line in record["output"].splitlines() if "check " in line))


def test_an_attribute_changes_with_the_checks_answer(site: Site, answer: Path) -> None:
    process = site.start(CHECKS="thing", CHECK_1=check_of(answer), **EVERY)
    assert wait_until(lambda: says(site, HAS_THING=1, GLIDEPOST_Healthy="True"), 60)
    answer.write_text("HAS_THING = 2\nHAS_OTHER = true\nMemory = 5\nSTART = false\n")
    assert wait_until(lambda: says(site, HAS_THING=2, HAS_OTHER="True"), 60)
    ad = slot(site)
    assert ad["Memory"] > 5
    answer.write_text("")
    # (what was advertised at the start is undefined then, and what came later is gone)
    assert wait_until(lambda: slot(site).get("HAS_THING") != 2 and "HAS_OTHER" not in slot(site), 60)
    assert not isinstance(slot(site).get("HAS_THING"), int)
    process.terminate()
    assert site.end(process)["outcome"] == "killed"


def test_a_required_check_that_fails_later_stops_user_jobs_until_it_is_well_again(site: Site, answer: Path) -> None:
    go = site.folder / "jobs" / "go"
    running = site.submit(f"until [ -e {go} ]; do sleep 0.2; done")
    checks = as_variables({"thing": check_of(answer)})
    process = site.start(**checks, REQUIRE="thing", CPUS="1", **EVERY)
    site.wait_for_running(running)
    answer.write_text("HAS_THING = 1\nbad\n")
    assert wait_until(
        lambda: says(site, GLIDEPOST_Healthy="False", GLIDEPOST_CHECK_thing="False", GLIDEPOST_FailedChecks="thing"), 60
    )
    waiting = site.submit("sleep 1")
    go.touch()
    assert wait_until(lambda: not site.states(running), 60), "it ends as it would"
    assert "evicted" not in (site.folder / "jobs" / "log").read_text()
    # (the schedd may take it for running, until the startd refuses it)
    assert wait_until(lambda: site.states(waiting) == [1], 60)
    time.sleep(8)
    assert site.states(waiting) == [1]
    assert (site.folder / "jobs" / "log").read_text().count("Job executing") == 1
    answer.write_text("HAS_THING = 1\n")
    assert wait_until(lambda: not site.states(waiting), 60)
    assert site.end(process)["outcome"] == "idle-shutdown"


def test_a_glidein_whose_required_check_stays_bad_leaves_by_itself(site: Site, answer: Path) -> None:
    process = site.start(CHECKS="thing", CHECK_1=check_of(answer), CHECK_EVERY_S="1", IDLE_S="20")
    assert wait_until(lambda: bool(slot(site)), 60)
    answer.write_text("bad\n")
    assert wait_until(lambda: says(site, GLIDEPOST_Healthy="False"), 60)
    waiting = site.submit("true")
    assert site.end(process)["outcome"] == "never-claimed"
    assert site.states(waiting) == [1]


def test_a_check_that_hangs_is_killed_and_the_startd_lives_on(site: Site, answer: Path) -> None:
    hang = f"""cat {answer}; if grep -q hang {answer}; then setsid sleep 4321 & setsid sleep 4321; fi"""
    checks = as_variables({"thing": hang})
    process = site.start(**checks, CHECK_S="2", **EVERY)
    assert wait_until(lambda: says(site, HAS_THING=1), 60)
    answer.write_text("hang\n")
    assert wait_until(lambda: says(site, GLIDEPOST_CHECK_thing="False", GLIDEPOST_Healthy="True"), 60)
    answer.write_text("HAS_THING = 3\n")
    assert wait_until(lambda: says(site, GLIDEPOST_CHECK_thing="True", HAS_THING=3), 60)
    assert sum("4321" in command for command in commands_of(site)) == 0
    cluster = site.submit("true")
    assert wait_until(lambda: not site.states(cluster), 60)
    answer.write_text("hang\n")
    assert wait_until(lambda: any("4321" in command for command in commands_of(site)), 60)
    process.terminate()
    assert site.end(process)["outcome"] == "killed"
    assert commands_of(site) == []


def commands_of(site: Site) -> list[str]:
    """Returns the command lines of this site's processes."""
    found = []
    for pid in site.processes():
        with suppress(OSError):  # gone meanwhile
            found.append(Path(f"/proc/{pid}/cmdline").read_text())
    return found
