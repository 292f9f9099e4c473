"""Which questions the census asks of daemons that are fakes. Real ones are asked in tests/real."""

from __future__ import annotations

import classad2
import htcondor2
import pytest

from glidepost.publisher import schedd

JOB = 'Owner="ada"; RequestCpus=1; RequestMemory=100; RequestDisk=1024; Requirements=TARGET.HasFoo; JobStatus=1'
CLUSTER = f"[{JOB}; EnteredCurrentStatus=5; JobMaterializeNextProcId=10; JobsPresent=10; "


class Collector:
    """Knows these schedds and slots, and the attributes that it was asked for."""

    def __init__(self, schedds=(), taken=(), free=()) -> None:
        self.schedds, self.taken, self.free = schedds, taken, free
        self.asked = []

    def query(self, kind, constraint="", projection=()):
        self.asked.append((constraint, projection))
        if kind == htcondor2.AdType.Schedd:
            return [classad2.ClassAd(text) for text in self.schedds]
        assert kind == htcondor2.AdType.Startd
        return [classad2.ClassAd(text) for text in (self.taken if projection else self.free)]

    def locate(self, kind):
        assert kind == htcondor2.DaemonType.Schedd
        return classad2.ClassAd('[Name="ap2"; MyAddress="<b>"; CondorVersion="1"]')


@pytest.fixture
def count(monkeypatch):
    """Counts a schedd's idle user jobs, given its answers to the two queries."""

    def run(jobs=(), clusters=()):
        asked = []

        class Schedd:
            def __init__(self, location) -> None:
                assert location["MyAddress"] == "<a>"

            def query(self, constraint, projection, opts):
                asked.append((constraint, projection))
                given = jobs if opts == htcondor2.QueryOpt.GroupBy else clusters
                return [classad2.ClassAd(text) for text in given]

        monkeypatch.setattr(htcondor2, "Schedd", Schedd)
        return schedd._count(classad2.ClassAd('[MyAddress="<a>"]'), 7), asked

    return run


def test_every_attribute_of_a_constraint_is_in_its_projection(count):
    _, asked = count()
    for constraint, projection in asked:
        assert set(classad2.ClassAd().externalRefs(classad2.ExprTree(constraint))) <= set(projection)
        assert ">= 7" in constraint


def test_rows_and_the_slots_attributes_are_given(count):
    answer, _ = count([f"[{JOB}; JobCount=3; EnteredCurrentStatus=5]"])
    assert [(row["idle_jobs"], row["owner"]) for row in answer["rows"]] == [(3, "ada")]
    assert answer["names"] == ["HasFoo"]


@pytest.mark.parametrize(
    ("attributes", "unmade"),
    [
        ("JobMaterializeLimit=100; JobFactoryTotalProcs=100", 90),
        ("JobMaterializeLimit=15; JobFactoryTotalProcs=100", 5),
        ("JobMaterializeLimit=100; TotalSubmitProcs=40", 30),
        ("JobMaterializeLimit=30", 20),
        ("JobFactoryTotalProcs=12", 2),
        ("JobMaterializeLimit=10; JobFactoryTotalProcs=100", 0),
        ("JobMaterializeLimit=100; JobFactoryTotalProcs=10", 0),
        ("JobMaterializeLimit=foo; JobFactoryTotalProcs=foo", 0),
    ],
)
def test_user_jobs_that_are_still_to_be_made_of_a_cluster_are_demand_as_far_as_they_may_be(count, attributes, unmade):
    answer, _ = count(clusters=[f"{CLUSTER}{attributes}]"])
    assert sum(row["idle_jobs"] for row in answer["rows"]) == unmade


def test_made_and_unmade_user_jobs_of_a_cluster_are_one_row(count):
    answer, _ = count([f"[{JOB}; JobCount=3; EnteredCurrentStatus=5]"], [f"{CLUSTER}JobFactoryTotalProcs=12]"])
    assert [row["idle_jobs"] for row in answer["rows"]] == [5]


TWO = ('[Name="ap1"; MyAddress="<a>"; JobsStarted=4]', '[Name="ap2"; MyAddress="<b>"; TotalRunningJobs=2]')


@pytest.mark.parametrize(
    ("wanted", "found"), [("all", ["ap1", "ap2"]), ("local", ["ap2"]), (["ap1"], ["ap1"]), (["ap3"], [])]
)
def test_the_schedds_that_are_wanted_are_located(wanted, found):
    located = schedd._locate(Collector(TWO), wanted)["schedds"]
    assert [place["name"] for place in located] == found


def test_a_local_schedd_that_is_not_in_the_collector_is_located():
    (place,) = schedd._locate(Collector(), "local")["schedds"]
    assert place["name"] == "ap2"
    assert classad2.ClassAd(place["ad"])["MyAddress"] == "<b>"


def test_a_schedds_counters_come_with_its_place():
    one, two = schedd._locate(Collector(TWO), "all")["schedds"]
    assert (one["started"], one["wait_s"], one["running"]) == (4, None, None)
    assert two["running"] == 2
    assert "JobsStarted" not in one["ad"]


def test_slots_of_glideins_and_free_ones_of_others_are_seen_and_running_user_jobs_counted():
    glidein = 'GLIDEPOST_Site="north"; SlotType="Partitionable"'
    collector = Collector(
        taken=[f"[{glidein}; NumDynamicSlots=4; TotalSlotCpus=4]"],
        free=[
            f'[{glidein}; NumDynamicSlots=1; State="Unclaimed"; Cpus=3; HasFoo=true]',
            '[SlotType="Partitionable"; NumDynamicSlots=9; State="Unclaimed"; Cpus=1]',
        ],
    )
    answer = schedd._see(collector, ["HasFoo"])
    assert [(slot["site"], slot["cpus_free"]) for slot in answer["slots"]] == [("north", 0), ("north", 3), ("", 1)]
    assert answer["running_inside"] == 5
    assert "HasFoo" in answer["slots"][1]["ad"]


def test_a_startd_of_any_bytes_does_not_stop_the_census():
    answer = schedd._see(Collector(free=[r'[GLIDEPOST_Site="\377"; State="Unclaimed"; Cpus=1; Start="\377"]']), [])
    assert answer["slots"][0]["site"] == ""
