"""What one user job or one startd may say, as ads without daemons. The queries themselves run in tests/real."""

from __future__ import annotations

import json

import classad2
import msgspec
import pytest

from glidepost.publisher import ads
from glidepost.publisher.census import Row, Slot

GLIDEIN = (
    'GLIDEPOST_Site="north"; GLIDEPOST_Shape="cpu"; SlotType="Partitionable"; State="Unclaimed"; TotalSlotCpus=8;'
    " Cpus=3; Memory=4000; Disk=5000000; Requirements = Start && WithinResourceLimits;"
    ' WithinResourceLimits = TARGET.RequestCpus <= MY.Cpus; Start = true; Arch="X86_64"; HasFoo=true; RemoteOwner="ada"'
)


@pytest.fixture
def make_ad():
    """Makes an idle group as a schedd gives it, with these expressions."""

    def make(**expressions: str) -> classad2.ClassAd:
        ad = classad2.ClassAd({"JobCount": 3, "EnteredCurrentStatus": 1_000_000_000, "Owner": "ada", "RequestCpus": 1})
        for name, value in {
            "RequestMemory": "2000",
            "RequestDisk": "100",
            "Requirements": "true",
            **expressions,
        }.items():
            ad[name] = classad2.ExprTree(value)
        return ad

    return make


def rows_of(*given: classad2.ClassAd) -> list[Row]:
    """As the publisher reads them: through JSON."""
    return msgspec.json.decode(json.dumps(ads.rows(given)[0]), type=list[Row])


def row_of(ad: classad2.ClassAd) -> Row:
    (row,) = rows_of(ad)
    return row


def slot_of(text: str, *names: str) -> Slot:
    return msgspec.json.decode(json.dumps(ads.slot(classad2.ClassAd(f"[{text}]"), names)), type=Slot)


def test_a_row_has_numbers(make_ad):
    row = row_of(make_ad(RequestGPUs="1", AcctGroup='"group_sim"', AllowedJobDuration="3600"))
    assert (row.idle_jobs, row.cpus, row.memory_mib, row.disk_kib, row.gpus) == (3, 1, 2000, 100, 1)
    assert (row.accounting_group, row.max_runtime_s, row.problem) == ("group_sim", 3600, None)


@pytest.mark.parametrize(("job", "execute", "expected"), [(None, "600", 600), ("900", "600", 900), ("900", None, 900)])
def test_the_longest_stay_of_a_user_job_is_said_in_two_ways(make_ad, job, execute, expected):
    said = {"AllowedJobDuration": job, "AllowedExecuteDuration": execute}
    row = row_of(make_ad(**{name: value for name, value in said.items() if value}))
    assert row.max_runtime_s == expected
    assert classad2.ClassAd(row.ad)["AllowedJobDuration"] == expected


def test_expressions_are_evaluated_in_their_ad(make_ad):
    row = row_of(make_ad(RequestMemory="ifThenElse(RequestCpus > 0, 3 * 1000, 1)", RequestDisk="1.5 * 1000 + 0.2"))
    assert (row.memory_mib, row.disk_kib) == (3000, 1501)


@pytest.mark.parametrize(
    "expression",
    ["foo + 1", "undefined", "error", "true", '"2GB"', "{1}", 'real("INF")', 'real("-INF")', 'real("NaN")'],
)
def test_an_expression_without_a_number_is_a_problem_of_its_row_only(make_ad, expression):
    row = row_of(make_ad(RequestMemory=expression))
    assert row.memory_mib is None
    assert row.problem.attribute == "RequestMemory"


@pytest.mark.parametrize("expression", ["1e300", "-1e300", "9223372036854775807"])
def test_a_huge_number_can_be_read_by_the_publisher(make_ad, expression):
    assert abs(row_of(make_ad(RequestMemory=expression)).memory_mib) >= 2**53


@pytest.mark.parametrize("expression", ["undefined", "error", "foo", "7", "{1}", "[a=1]"])
def test_an_accounting_group_that_is_no_text_is_none(make_ad, expression):
    assert row_of(make_ad(AcctGroup=expression)).accounting_group is None


def test_bytes_that_are_not_utf8_do_not_stop_the_census(make_ad):
    row = row_of(make_ad(AcctGroup=r'"x\377"', Requirements=r'"\377"', RequestMemory=r'"\355\240\200"'))
    assert row.accounting_group is None
    assert r'Requirements = "\377"' in row.ad
    assert row.problem.expression == r'"\355\240\200"'


def test_user_jobs_that_differ_only_in_time_are_one_row_with_the_oldest_time(make_ad):
    rows = rows_of(make_ad(EnteredCurrentStatus="300"), make_ad(EnteredCurrentStatus="200"), make_ad(Owner='"bob"'))
    assert [(row.owner, row.idle_jobs, row.idle_since) for row in rows] == [("ada", 6, 200), ("bob", 3, 1_000_000_000)]


def test_an_evicted_user_job_asks_for_what_it_used_and_is_of_the_same_kind(make_ad):
    memory = "ifThenElse(MemoryUsage isnt undefined, MemoryUsage * 3 / 2, 100)"
    fresh, evicted = rows_of(make_ad(RequestMemory=memory), make_ad(RequestMemory=memory, MemoryUsage="1000"))
    assert (fresh.memory_mib, evicted.memory_mib) == (100, 1500)
    assert fresh.ad == evicted.ad


def test_the_ad_of_a_row_has_what_its_requirements_refer_to(make_ad):
    row = row_of(make_ad(Requirements="TARGET.Site == MY.Wanted", Wanted="Best", Best='"north"', Other="7"))
    ad = classad2.ClassAd(row.ad)
    assert set(ad) == {"Requirements", "Wanted", "Best"}
    assert ad["Best"] == "north"


def test_equal_needs_have_equal_ads_in_whatever_order_they_were_written(make_ad):
    one, other = {"Requirements": "A && B", "A": "true", "B": "true"}, {"B": "true", "A": "true"}
    assert row_of(make_ad(**one)).ad == row_of(make_ad(**other, Requirements="A && B")).ad


@pytest.mark.parametrize("name", ["Owner", "User", "Args", "Arguments", "Cmd", "Iwd", "Env", "AccountingGroup", "In"])
def test_private_attributes_are_in_no_ad_though_requirements_name_them(make_ad, name):
    row = row_of(make_ad(Requirements=f'{name} == "x" && MY.{name.upper()} != TARGET.Foo', **{name: '"secret"'}))
    assert "secret" not in row.ad
    assert name not in classad2.ClassAd(row.ad)


def test_an_attribute_of_any_name_can_be_read_back(make_ad):
    ad = make_ad(Requirements="'a b' && MY.c")
    ad["a b"], ad["c"] = "x\"y'\n;", True
    assert classad2.ClassAd(row_of(ad).ad)["a b"] == "x\"y'\n;"


def test_requests_are_in_no_row_s_ad_as_the_group_has_their_maximum(make_ad):
    row = row_of(make_ad(Requirements="TARGET.Memory > RequestMemory && TARGET.Cpus >= RequestCpus"))
    assert set(classad2.ClassAd(row.ad)) == {"Requirements"}


@pytest.mark.parametrize("name", ["Requirements", "RequestMemory", "RequireGPUs", "AllowedJobDuration", "RequestGPUs"])
def test_an_expression_that_refers_to_itself_does_not_stop_the_census(make_ad, name):
    assert row_of(make_ad(**{"RequestGPUs": "1", name: f"{name} && A", "A": "A"})).idle_jobs == 3


def test_circular_requirements_stay_as_nothing_matches_them(make_ad):
    ad = classad2.ClassAd(row_of(make_ad(Requirements="A", A="A", RequireGPUs="RequireGPUs", AcctGroup="AcctGroup")).ad)
    assert set(ad) == {"Requirements"}


def test_the_slots_attributes_that_requirements_name_are_asked_for(make_ad):
    _, names = ads.rows([make_ad(Requirements='TARGET.HasFoo && OpSysAndVer == "x" && MY.Nothing && target.a.b > 1')])
    assert set(names) >= {"HasFoo", "OpSysAndVer", "a"}
    assert not any("." in name for name in names)


def test_bounds_of_gpus_are_read_in_the_ad(make_ad):
    row = row_of(make_ad(RequestGPUs="1", RequireGPUs="Capability >= Least && GlobalMemoryMb >= 8*1024", Least="8.0"))
    assert (row.gpu_capability, row.gpu_memory_mib) == ("8.0", 8192)
    assert "Least = 8" in row.ad


def test_bounds_of_gpus_mean_nothing_without_a_gpu(make_ad):
    row = row_of(make_ad(RequireGPUs="Capability >= 8 && GlobalMemoryMb >= 4000"))
    assert (row.gpu_capability, row.gpu_memory_mib) == (None, None)


def test_a_slot_says_what_is_free():
    slot = slot_of(GLIDEIN + "; GLIDEPOST_Start=5; GLIDEIN_ToRetire=6; GLIDEIN_ToDie=7; GPUs=1; TotalSlotGPUs=2")
    assert (slot.site, slot.shape, slot.is_partitionable) == ("north", "cpu", True)
    assert (slot.cpus, slot.cpus_free, slot.gpus, slot.gpus_free) == (8, 3, 2, 1)
    assert (slot.memory_free_mib, slot.disk_free_mib) == (4000, 4882)
    assert (slot.start, slot.to_retire, slot.to_die) == (5, 6, 7)


@pytest.mark.parametrize(
    ("identity", "site"),
    [
        ('"glidein-south@pool.test"', "south"),
        ('"condor@pool.test"', "north"),
        ('"glidein-South@pool.test"', "north"),
        ('"x-glidein-south@pool.test"', "north"),
        ('"glidein-south"', "north"),
        ("undefined", "north"),
        ("7", "north"),
    ],
)
def test_a_slot_is_of_the_site_whose_token_brought_it_in(identity, site):
    assert slot_of(f"{GLIDEIN}; AuthenticatedIdentity={identity}").site == site


def test_a_slot_that_does_not_say_that_it_is_a_glidein_is_the_sites_all_the_same():
    hidden = GLIDEIN.replace('GLIDEPOST_Site="north"; ', "") + '; AuthenticatedIdentity="glidein-south@pool.test"'
    assert slot_of(hidden).site == "south"


@pytest.mark.parametrize("state", ['"Claimed"', '"Owner"', '"Drained"', "undefined"])
def test_a_slot_that_takes_no_user_job_has_nothing_free(state):
    slot = slot_of(GLIDEIN.replace('"Unclaimed"', state))
    assert (slot.cpus_free, slot.memory_free_mib, slot.disk_free_mib, slot.ad) == (0, 0, 0, "[]")


def test_the_ad_of_a_slot_has_what_matching_looks_at_and_no_more():
    ad = classad2.ClassAd(slot_of(GLIDEIN, "HasFoo", "HasBar", "RemoteOwner").ad)
    assert set(ad) == {"Arch", "Requirements", "Start", "WithinResourceLimits", "Cpus", "HasFoo"}


def test_the_properties_of_gpus_come_with_the_list_of_them():
    gpus = "; AvailableGPUs = { GPUs_a }; GPUs_a = [ Capability = 8.0 ]; GPUs_b = [ Capability = 1.0 ]"
    ad = classad2.ClassAd(slot_of(GLIDEIN + gpus, "availablegpus").ad)
    assert ad["GPUs_a"]["Capability"] == 8
    assert "GPUs_b" not in ad


def test_equal_glideins_that_retire_at_other_times_have_equal_ads():
    start = 'Start = TARGET.x == "y" && time() < GLIDEIN_ToRetire; GLIDEIN_ToRetire = '
    one, other = (slot_of(GLIDEIN.replace("Start = true", f"{start}{time}")) for time in (4_000_000_000, 4_000_000_001))
    assert one.ad == other.ad
    assert 'Start = (TARGET.x == "y")' in one.ad or 'Start = TARGET.x == "y"' in one.ad


def test_a_glidein_past_its_retirement_starts_nothing():
    retired = GLIDEIN.replace("Start = true", "Start = TARGET.x && time() < GLIDEIN_ToRetire; GLIDEIN_ToRetire = 5")
    assert classad2.ClassAd(slot_of(retired).ad)["Start"] is False


@pytest.mark.parametrize("start", ["undefined", "error", "7", "{1}", "[a=1]", "foo(1)"])
def test_any_start_is_repeated(start):
    assert "Start" in classad2.ClassAd(slot_of(GLIDEIN.replace("Start = true", f"Start = {start}")).ad)


def test_circular_attributes_of_a_slot_are_left_out():
    ad = classad2.ClassAd(slot_of(GLIDEIN.replace("Start = true", "Start = Start") + "; HasBar = HasBar", "HasBar").ad)
    assert set(ad) == {"Arch", "Requirements"}


def test_a_startd_that_advertises_nonsense_does_not_stop_the_census():
    nonsense = 'GLIDEPOST_Site=foo+1; GLIDEPOST_Shape=7; TotalSlotCpus="many"; Cpus=real("INF"); GPUs=error; State=3'
    assert slot_of(nonsense) == Slot("", "", 0, 0, 0, 0, is_partitionable=False)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('SlotType="Partitionable"; NumDynamicSlots=3', 3),
        ('SlotType="Partitionable"', 0),
        ('SlotType="Partitionable"; NumDynamicSlots=-3', 0),
        ('SlotType="Static"; State="Claimed"', 1),
        ('SlotType="Static"; State="Unclaimed"', 0),
    ],
)
def test_a_user_job_runs_in_each_dynamic_or_claimed_static_slot(text, count):
    assert ads.running(classad2.ClassAd(f"[{text}]")) == count
