from __future__ import annotations

import io
from datetime import datetime, timedelta, timezone

import pytest
from rich.console import Console

from glidepost.publisher.census import JobGroup
from glidepost.publisher.match import Matcher
from glidepost.publisher.why import SiteAnswer, explain, find, show
from glidepost.schema.demand import Group
from glidepost.schema.errors import ConfigError
from glidepost.schema.heartbeat import Counts, Heartbeat, Limits, ShapeReport
from glidepost.schema.resources import Request, Resources

NOW = datetime(2026, 11, 22, tzinfo=timezone.utc)


def job(name="g1234abcd", requirements="true") -> JobGroup:
    group = Group(name, 7, NOW - timedelta(hours=2), 1, Request(1, 1000, 100), "sim")
    return JobGroup(group, f"[Requirements = {requirements}]")


def heartbeat(site, *shapes) -> Heartbeat:
    return Heartbeat(site, "i", "0", 1, NOW, tuple(shapes))


def shape(name, cpus=4, **said) -> ShapeReport:
    offers = Resources(cpus, 4096, 4096, 3600)
    return ShapeReport(name, "local", offers, Limits(1, 1, 1, 1), Counts(), 0, 0, "covered", "", said)


def answers(asked, heartbeats, shares=None, refused=None) -> tuple[SiteAnswer, ...]:
    return explain(asked, shares or {}, heartbeats, refused or {}, Matcher())


def printed(asked, found) -> str:
    console = Console(file=io.StringIO(), width=160)
    show(asked.group, found, NOW, console)
    return console.file.getvalue()


def test_a_group_is_found_by_the_beginning_of_its_id():
    jobs = [job("g1234abcd"), job("g1299abcd"), job("g12")]
    assert find(jobs, "g1234") is jobs[0]
    assert find(jobs, "g12") is jobs[2]


@pytest.mark.parametrize(
    ("prefix", "what", "hint"),
    [
        ("g1", "2 groups begin with g1", "g1234abcd, g1299abcd"),
        ("g1234abce", "no group of idle user jobs is g1234abce", "did you mean g1234abcd"),
        ("zz", "no group of idle user jobs is zz", "did you mean"),
    ],
)
def test_an_unknown_group_names_near_ones(prefix, what, hint):
    with pytest.raises(ConfigError) as caught:
        find([job("g1234abcd"), job("g1299abcd")], prefix)
    assert what in caught.value.what
    assert hint in caught.value.hint


def test_no_group_at_all_is_said():
    with pytest.raises(ConfigError) as caught:
        find([], "g1")
    assert "no user job of the pool is idle" in caught.value.hint


def test_every_shape_of_every_site_is_answered():
    asked = job(requirements='OpSysAndVer == "AlmaLinux9"')
    beats = {
        "north": heartbeat("north", shape("good", OpSysAndVer="AlmaLinux9"), shape("old", OpSysAndVer="CentOS7")),
        "south": heartbeat("south", shape("silent", Requirements="true")),
        "new": None,
    }
    found = answers(asked, beats, {"north": 5}, {"gone": "it is late", "north/old": "it is paused"})
    assert [(site.name, site.share) for site in found] == [("gone", 0), ("new", 0), ("north", 5), ("south", 0)]
    assert [item.fits for item in found[2].shapes] == [True, False]
    text = printed(asked, found)
    for words in (
        "g1234abcd: 7 idle user jobs of sim for 1 cpu, 1000MiB, waiting 2h",
        'the site has OpSysAndVer = "CentOS7"',
        "the site does not say OpSysAndVer",
        "no share: it has not reported yet",
        "no share: it is late",
        "no share: old: it is paused",
        "(ignored: Requirements: not a name that a site may advertise)",
        "fits",
    ):
        assert words in text


def test_a_pool_without_sites_says_so():
    assert "no site is enrolled" in printed(job(), answers(job(), {}))
