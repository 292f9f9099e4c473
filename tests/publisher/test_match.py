from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepost.publisher import classads, slot_ad
from glidepost.publisher.census import JobGroup, Slot
from glidepost.publisher.match import Matcher
from glidepost.schema.demand import Group, Tarball
from glidepost.schema.heartbeat import Counts, Limits, ShapeReport
from glidepost.schema.publisher_config import SiteRules
from glidepost.schema.resources import Request, Resources

# As condor_submit of HTCondor 25.14 writes them.
SUBMITTED = (
    '(TARGET.Arch == "X86_64") && (TARGET.OpSys == "LINUX")'
    ' && (versionGE(split(TARGET.CondorVersion)[1],"25.12.0") || (TARGET.Disk >= RequestDisk))'
    " && (TARGET.Memory >= RequestMemory)"
    " && ((TARGET.FileSystemDomain == MY.FileSystemDomain) || (TARGET.HasFileTransfer))"
)
GPU_CLAUSE = "countMatches(MY.RequireGPUs,TARGET.AvailableGPUs) >= RequestGPUs"
SAID = {
    "Arch": "X86_64",
    "OpSysAndVer": "AlmaLinux9",
    "OpSysMajorVer": 9,
    "GLIDEIN_Site": "North",
    "HAS_CVMFS_a_b": True,
}
A100 = {"GPUs_DeviceName": "A100", "GPUs_Capability": "8.0", "GPUs_GlobalMemoryMb": 40_000}
SMALL = Request(1, 1000, 100)


def job(asked="true", request=SMALL, *, account=None, max_runtime_s=None, ad="") -> JobGroup:
    group = Group("g1", 5, datetime(2026, 11, 22, tzinfo=timezone.utc), 1, request, account, max_runtime_s)
    return JobGroup(group, f'[FileSystemDomain = "pool"; {ad} Requirements = ({asked}) && {SUBMITTED}]')


def shape(said=None, *, gpus=0, **changes) -> ShapeReport:
    offers = Resources(8, 16384, 100_000, 36_000, gpus)
    advertises = {**SAID, **(A100 if gpus else {})} if said is None else said
    report = ShapeReport("cpu", "slurm", offers, Limits(1, 1, 1, 1), Counts(), 0, 0, "covered", "", advertises)
    return replace(report, **changes)


def reasons(one, other=None, **rules) -> tuple[str, ...]:
    verdict = Matcher({"north": SiteRules(**rules)}).verdict(one, "north", other or shape())
    assert verdict.fits == (not verdict.reasons)
    return verdict.reasons


def test_what_condor_submit_writes_matches():
    assert reasons(job()) == ()


@pytest.mark.parametrize(
    "asked",
    [
        'TARGET.OpSysAndVer == "AlmaLinux9"',
        'opsysandver == "almalinux9"',
        "OpSysMajorVer >= 8 && OpSysMajorVer < 10",
        'GLIDEIN_Site =?= "North"',
        'TARGET.GLIDEPOST_Site == "north" && TARGET.GLIDEPOST_Shape == "cpu"',
        "TARGET.HAS_CVMFS_a_b",
        "TARGET.HAS_CVMFS_c =!= true",
        'regexp("^Alma", OpSysAndVer)',
        'stringListMember(GLIDEIN_Site, "South,North")',
        "TARGET.Cpus >= RequestCpus * 8 && PartitionableSlot",
        "TARGET.GLIDEIN_ToDie - time() > 30000",
        "TARGET.GLIDEIN_ToRetire - CurrentTime > 20000",
        "isUndefined(TARGET.Anything)",
    ],
)
def test_requirements_are_evaluated_not_read(asked):
    assert reasons(job(asked)) == ()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ('OpSysAndVer == "Debian12"', '`OpSysAndVer == "Debian12"` is false: the site has OpSysAndVer = "AlmaLinux9"'),
        ("TARGET.HAS_CVMFS_c", "`TARGET.HAS_CVMFS_c` has no value: the site does not say HAS_CVMFS_c"),
        ("HAS_CVMFS_c is true", "`HAS_CVMFS_c is true` is false: the site does not say HAS_CVMFS_c"),
        ("Wanted == 3", "`Wanted == 3` has no value: the site does not say Wanted"),
        ("1 > 2", "`1 > 2` is false"),
        ('"text"', '`"text"` is false'),
        ("TARGET.GLIDEIN_ToDie - time() > 360000", "`TARGET.GLIDEIN_ToDie - time() > 360000` is false: the site has"),
    ],
)
def test_the_clause_that_is_false_is_named(asked, words):
    (reason,) = reasons(job(f'{asked} && GLIDEIN_Site == "North"'))
    assert reason.startswith(words)


def test_all_reasons_are_given():
    found = reasons(job("Wanted && Needed", Request(9, 20_000, 100), max_runtime_s=40_000))
    assert [reason.split()[0] for reason in found] == ["asks", "asks", "may", "`Wanted`", "`Needed`"]


def test_a_shortfall_is_said_once_in_words():
    assert reasons(job(request=Request(1, 16_385, 100))) == ("asks for 16385MiB of 16GiB memory",)
    assert reasons(job(request=Request(1, 1000, 100_001))) == ("asks for 100001MiB of 100000MiB disk",)


def test_a_site_that_says_nothing_matches_only_what_asks_nothing():
    assert reasons(job(), shape({})) == ()
    assert "does not say OpSysAndVer" in reasons(job('OpSysAndVer == "AlmaLinux9"'), shape({}))[0]
    assert reasons(job("true"), shape({"Arch": "aarch64"}))


@pytest.mark.parametrize(
    ("required", "fits"),
    [
        ("Capability >= 7.5", True),
        ("Capability >= GPUsMinCapability", False),
        ('GlobalMemoryMb >= 40000 && DeviceName == "A100"', True),
        ("GlobalMemoryMb > 40000", False),
        ("DriverVersion > 1", False),
    ],
)
def test_gpu_requirements_are_held_against_each_gpu(required, fits):
    asking = job(GPU_CLAUSE, replace(SMALL, gpus=2), ad=f"RequireGPUs = {required}; GPUsMinCapability = 9.0;")
    assert (reasons(asking, shape(gpus=2)) == ()) == fits
    assert reasons(asking, shape(gpus=1))


def test_what_a_site_does_not_say_of_its_gpus_is_named():
    asking = job(GPU_CLAUSE, replace(SMALL, gpus=1), ad="RequireGPUs = Capability >= 7.5;")
    (reason,) = reasons(asking, shape(SAID, gpus=1))
    assert reason.endswith("the site does not say Capability")


def test_gpus_are_kept_for_those_that_ask_for_them():
    assert reasons(job(), shape(gpus=1)) == ("asks for no gpu, and this glidein keeps its gpus for those that do",)


def test_both_sides_may_refuse_an_accounting_group():
    prod = job(account="sim.prod")
    assert reasons(prod, accept=("sim",)) == ()
    assert reasons(prod, deny=("sim",)) == ("accounting group sim.prod is denied by the pool's rules for this site",)
    assert reasons(prod, shape(accept=("ana",))) == ("accounting group sim.prod is not accepted by the site",)
    assert len(reasons(prod, shape(deny=("sim",)), accept=("ana",))) == 2
    assert reasons(job(), shape(accept=("ana",))) == (
        "user jobs without an accounting group are not accepted by the site",
    )


HOSTILE = (
    {"Start": "true", "Requirements": "true"},
    {"OpSysAndVer": 'x"; Requirements = true; y = "'},
    {"GLIDEIN_Site": "\\"},
    {"GLIDEIN_Site": 'North" || true || "'},
    {"GPUs_Capability": "9.0; Requirements = true"},
    {"GLIDEPOST_Site": "south", "GLIDEPOST_Shape": "better"},
)


@pytest.mark.parametrize("said", HOSTILE)
def test_the_words_of_a_site_stay_data(said):
    honest, hostile = (
        classads.parse(slot_ad.offline("north", shape(words, gpus=1), "25.14.1")) for words in ({}, {**said})
    )
    for name in ("Start", "Requirements", "WithinResourceLimits", "GLIDEPOST_Site", "GLIDEPOST_Shape"):
        assert str(hostile.lookup(name)) == str(honest.lookup(name))
    assert reasons(job('GLIDEIN_Site == "North"'), shape(said))


@pytest.mark.parametrize(
    ("os", "version"),
    [("AlmaLinux9", "25.9"), ("Rocky9", "25.9"), ("Debian12", "25.12"), ("Ubuntu24", "25.1"), (None, "25.1")],
)
def test_the_version_of_htcondor_is_that_of_the_tarball(os, version):
    made = [("el9", "25.9"), ("any", "25.1"), ("debian12", "25.12")]
    tarballs = [Tarball(name, "x86_64", number, "https://x", "ab" * 32, 1) for name, number in made]
    assert slot_ad.condor_version(shape({"OpSysAndVer": os} if os else {}), tarballs) == version
    assert slot_ad.condor_version(shape({"Arch": "aarch64"}), tarballs) is None


def test_an_older_htcondor_is_seen_as_one():
    old = Tarball("any", "x86_64", "23.9.6", "https://x", "ab" * 32, 1)
    newer = job('versionGE(split(TARGET.CondorVersion)[1], "24.0.0")')
    assert Matcher(tarballs=[old]).verdict(newer, "north", shape()).reasons
    assert Matcher().verdict(newer, "north", shape()).fits


@pytest.mark.parametrize("ad", ["", "[Requirements", "[Requirements = ]", "no ad"])
def test_an_ad_that_cannot_be_read_fits_nowhere(ad):
    broken = replace(job(), ad=ad)
    assert "cannot be read" in Matcher().verdict(broken, "north", shape()).reasons[0]
    assert Matcher().fits_slot(broken, slot()) == 0


def test_a_verdict_follows_what_a_heartbeat_changed():
    matcher, asking = Matcher(), job("HAS_CVMFS_a_b")
    assert not matcher.verdict(asking, "north", shape({})).fits
    assert matcher.verdict(asking, "north", shape()).fits
    assert not matcher.verdict(job("HAS_CVMFS_c"), "north", shape()).fits


requirements = st.sampled_from(
    [
        'OpSysAndVer == "AlmaLinux9"',
        "HAS_CVMFS_a_b",
        "TARGET.Memory > 2 * RequestMemory",
        "RequestCpus > 1",
        "Cpus < 8",
        "Nix",
    ]
)
requests = st.builds(Request, st.integers(1, 9), st.integers(1, 20_000), st.integers(1, 200_000), st.integers(0, 2))
jobs = st.builds(
    job,
    st.lists(requirements, min_size=1, max_size=3).map(" && ".join),
    requests,
    account=st.sampled_from([None, "sim", "ana"]),
)
shapes = st.builds(
    shape,
    st.sampled_from([None, {}, {"HAS_CVMFS_a_b": True}]),
    gpus=st.integers(0, 2),
    deny=st.sampled_from([(), ("sim",)]),
)


@given(st.lists(jobs, max_size=4), st.lists(shapes, max_size=3))
def test_what_is_remembered_is_what_classads_say_of_the_whole(asking, offered):
    matcher = Matcher()
    for one in asking:
        for other in offered:
            ad = classads.parse(slot_ad.offline("north", other, "25.14.1"))
            whole = classads.parse(one.ad)
            request = one.group.request
            whole["RequestCpus"], whole["RequestMemory"] = request.cpus, request.memory_mib
            whole["RequestDisk"] = request.disk_mib * 1024
            if request.gpus:
                whole["RequestGPUs"] = request.gpus
            if one.group.accounting_group:
                whole["AcctGroup"] = one.group.accounting_group
            assert matcher.verdict(one, "north", other).fits == whole.symmetricMatch(ad)


def slot(start="true", **changes) -> Slot:
    resources = (
        'Cpus = 8; Memory = 4096; Disk = 10240000; GPUs = 0; OpSys = "LINUX"; Arch = "X86_64"; HasFileTransfer = true'
    )
    version = '"$CondorVersion: 25.14.1 $"'
    limits = "TARGET.RequestCpus <= MY.Cpus && TARGET.RequestMemory <= MY.Memory"
    ad = f"[{resources}; CondorVersion = {version}; Start = {start}; WithinResourceLimits = {limits}; "
    made = Slot("north", "cpu", 8, 8, 0, 0, 4096, 10_000, ad=ad + "Requirements = Start && WithinResourceLimits]")
    return replace(made, **changes)


def test_a_slot_holds_as_many_as_its_free_resources():
    matcher = Matcher()
    assert matcher.fits_slot(job(), slot()) == 4
    assert matcher.fits_slot(job(), slot(cpus_free=3)) == 3
    assert matcher.fits_slot(job(), slot(is_partitionable=False)) == 1
    assert matcher.fits_slot(job(), slot(memory_free_mib=999)) == 0
    assert matcher.fits_slot(job(request=replace(SMALL, gpus=1)), slot()) == 0


def test_a_slot_that_does_not_match_holds_none():
    matcher = Matcher()
    assert matcher.fits_slot(job("HAS_CVMFS_a_b"), slot()) == 0
    assert matcher.fits_slot(job(), slot('TARGET.WantSite == "other"')) == 0
    assert matcher.fits_slot(job(ad='WantSite = "other";'), slot('WantSite == "other"')) == 4
    assert matcher.fits_slot(job(), slot(ad="[]")) == 0


def test_a_slot_that_refers_to_itself_in_circles_ends():
    assert Matcher().fits_slot(job(), slot("Start && Requirements")) == 0


def test_a_slot_attribute_that_looks_back_at_the_user_job_is_not_remembered_for_others():
    matcher = Matcher()
    looking = replace(slot(), ad=slot().ad.replace("[", "[Friend = TARGET.Kind == 1; ", 1))
    asked = [job("TARGET.Friend", ad=f"Kind = {kind};") for kind in (1, 2)]
    assert [matcher.fits_slot(one, looking) for one in asked] == [4, 0]
