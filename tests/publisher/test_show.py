from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta

import pytest
from rich.console import Console

from glidepost.publisher.show import show
from glidepost.schema.checks import FAILED, OK, Finding, show_finding
from glidepost.schema.demand import Demand, GlideinRelease, Metrics, Other, ScheddView, ShapeView, Tarball, Unevaluated


@pytest.fixture
def said(make_demand_anywhere, group_anywhere, now):
    """Returns what is shown of a demand with these fields, on lines that do not break."""

    def run(*groups, at=timedelta(minutes=2), **changes) -> str:
        made = replace(make_demand_anywhere(groups or (group_anywhere,), ()), sequence=918, generated_at=now)
        demand: Demand = replace(made, expires_at=now + timedelta(minutes=30), **changes)
        console = Console(file=io.StringIO(), width=200, highlight=False)
        show(demand, now + at, console)
        return console.file.getvalue()

    return run


def test_the_first_line_says_how_good_it_is(said):
    assert said().startswith("demand 918 of demo, 2m old, good for 28m\n1 idle user job in 1 group\n")
    assert "1h30m old, expired 1h ago: sites submit nothing" in said(at=timedelta(minutes=90))


def test_a_group_says_what_it_asks_for_and_who_holds_glideins_for_it(said, group_anywhere):
    group = replace(
        group_anywhere,
        idle_jobs=1200,
        owner_count=3,
        accounting_group="group_sim",
        max_runtime_s=14400,
        sites={"north": 800, "south": 400},
    )
    line = next(line for line in said(group).splitlines() if line.startswith("g00000001"))
    assert " ".join(line.split()) == "g00000001 1200 9h2m 3 1 cpu, 1000MiB, 4h (group_sim) north 800, south 400"


def test_a_group_without_shares_says_where_to_look(said):
    assert "none (glidepost publisher why g00000001)" in said()


def test_a_schedd_says_how_old_its_groups_are(said, now):
    views = (
        ScheddView("ap1", 12),
        ScheddView("ap2", 30, "timed out", now - timedelta(minutes=12)),
        ScheddView("ap3", 0, "[/gone]"),
    )
    text = said(schedds=views, complete=False)
    assert "not complete" in text
    lines = [line.split(None, 2) for line in text.splitlines() if line.startswith("ap")]
    assert [(name, idle, what.strip()) for name, idle, what in lines] == [
        ("ap1", "12", "ok"),
        ("ap2", "30", "14m ago: timed out"),
        ("ap3", "0", "groups missing: [/gone]"),
    ]


def test_what_is_left_out_is_counted(said):
    text = said(
        other=Other(40, 120), unevaluated=(Unevaluated(4, "RequestMemory", 'regexp("[/a]",foo)', owner_count=2),)
    )
    assert "120 idle user jobs in 40 smaller groups have no room in the document, and no share" in text
    assert '4 idle user jobs of 2 owners not counted: RequestMemory = regexp("[/a]",foo)' in text


def test_sites_show_their_share_beside_what_the_pool_sees(said, group_anywhere, now):
    groups = (
        replace(group_anywhere, sites={"north": 8, "south": 4}),
        replace(group_anywhere, id="g00000002", sites={"north": 2}),
    )
    start = now - timedelta(hours=20), now - timedelta(minutes=4)
    view = {"north": {"cpu": ShapeView(12, 96, 90, 0, 0, *start), "gpu": ShapeView(1, 6, 6, 2, 1)}}
    lines = [line.split() for line in said(*groups, pool_view=view).splitlines()]
    assert ["north", "10", "cpu", "12", "90", "of", "96", "20h2m", "6m"] in lines
    assert ["gpu", "1", "6", "of", "6", "1", "of", "2"] in lines
    assert ["south", "4", "0"] in lines


def test_where_user_jobs_run_and_what_glideins_run_is_said(said):
    tarball = Tarball("el9", "x86_64", "25.14.1", "https://store.example.org/x", "ab" * 32, 1)
    text = said(metrics=Metrics(running_inside=126, running_outside=40), glidein=GlideinRelease("stable", (tarball,)))
    assert "running: 126 user jobs in glideins, 40 elsewhere in the pool" in text
    assert "glideins run HTCondor 25.14.1 for el9 x86_64 (stable)" in text


def test_who_takes_the_canary_is_said(said):
    stable = Tarball("any", "x86_64", "25.14.1", "https://store.example.org/x", "ab" * 32, 1)
    canary = Tarball("el9", "x86_64", "25.15.0", "https://store.example.org/y", "cd" * 32, 1, glibc="2.34")
    sites = {"south": "canary", "north": "canary"}
    text = said(glidein=GlideinRelease("stable", (stable,), sites, {"canary": (canary,)}))
    assert "HTCondor 25.14.1 for any x86_64 (stable): abababababab\n" in text
    assert "HTCondor 25.15.0 for el9 x86_64, glibc 2.34 or newer (canary): cdcdcdcdcdcd\n" in text
    assert "channel canary goes to north, south\n" in text


def test_thousands_of_groups_are_cut_and_counted(said, group_anywhere):
    text = said(*(replace(group_anywhere, id=f"g{n:08x}") for n in range(250)))
    assert "and 50 more: --json" in text


def test_a_finding_is_one_line_and_its_remedy_another():
    console = Console(file=io.StringIO(), width=40, highlight=False)
    show_finding(Finding("sites", OK, "2 enrolled: [north], south " + "x" * 80), console)
    show_finding(Finding("store: list", FAILED, "HTTP 403", "do this"), console)
    assert console.file.getvalue() == (
        "ok      sites: 2 enrolled: [north], south " + "x" * 80 + "\n"
        "failed  store: list: HTTP 403\n"
        "        remedy: do this\n"
    )
