"""Our matching against the real thing: real startds of real shapes, real user jobs, the real negotiator."""

from __future__ import annotations

import platform
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from glidepost.glidein import build as builder
from glidepost.infra.demo.testbed import Account, Condor, Pool, wait_until
from glidepost.publisher import census, classads, clauses, slot_ad
from glidepost.publisher.match import Matcher
from glidepost.publisher.pool import Pool as AskedPool
from glidepost.schema.demand import Demand, GlideinRelease, Tarball
from glidepost.schema.heartbeat import Counts, Limits, ShapeReport
from glidepost.schema.keys import SigningKey
from glidepost.schema.publisher_config import (
    CensusSettings,
    DemandSettings,
    PoolSettings,
    PublisherConfig,
    StoreSettings,
)
from glidepost.schema.puller_config import GlideinOptions, PullerConfig, Shape
from glidepost.schema.resources import Resources
from glidepost.site_puller.advertise import advertises
from glidepost.site_puller.script import render

SITE = "oracle"
LIMITS = Limits(1, 1, 1, 1)
GLIDEIN = ["READ", "ADVERTISE_STARTD", "ADVERTISE_MASTER"]
LIFE_S = 900


def this_os() -> str:
    """Returns OpSysAndVer of this machine, where the glideins run."""
    words = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    name, version = words["ID"].strip('"'), words.get("VERSION_ID", "").strip('"').partition(".")[0]
    return {"debian": "Debian", "ubuntu": "Ubuntu", "almalinux": "AlmaLinux", "rocky": "Rocky"}[name] + version


OS = this_os()


def shape(name: str, cpus: int, memory_mib: int, disk_mib: int, gpus: int = 0, **words: Any) -> Shape:
    resources = Resources(cpus, memory_mib, disk_mib, LIFE_S, gpus)
    arch = platform.machine().replace("x86_64", "X86_64")
    return Shape(name, "local", resources, LIMITS, {}, arch=arch, os=OS, **words)


A100 = {"gpu_name": "A100-SXM4-40GB", "gpu_memory_mib": 47661, "gpu_capability": "8.0"}
SHAPES = (
    shape("small", 1, 512, 512),
    shape("odd", 3, 1000, 1500, cvmfs=("a.example.org",)),
    shape("wide", 8, 2048, 1024, cvmfs=("a.example.org", "b-c.example.org")),
    shape("tall", 2, 8192, 4096, accept=("group_sim",)),
    shape("closed", 4, 4096, 4096, deny=("group_sim.prod", "group_ana")),
    shape("gpu", 4, 4096, 4096, 2, **A100),
    shape("gpus", 8, 2048, 4096, 4, accept=("group_ana", "group_sim.test"), **A100),
    shape("blank", 2, 2048, 2048, gpus=1),  # says nothing of its GPU
)
# Attributes that no user job should ask a glidein for: they change with time, or are about this node.
UNSEEN = frozenset(
    """
    ActivationRequests AddressV1 AssignedGPUs AuthenticatedIdentity AuthenticationMethod AvailableGPUs
    COLLECTOR_HOST_STRING CanHibernate ClaimRequests ClockDay ClockMin CondorLoadAvg CondorPlatform CondorScratchDir
    ConsoleIdle CpuBusy CpuCacheSize CpuFamily CpuModelNumber CurrentRank DetectedCpus DetectedDisk DetectedGPUs
    DetectedMemory GPU_NAMES GLIDEPOST_CVMFS GLIDEPOST_CollectorsReached GLIDEPOST_FailedChecks GLIDEPOST_Healthy
    GLIDEPOST_Logs GLIDEPOST_MemoryFreeMiB GLIDEPOST_TokenHidden GLIDEPOST_Wrapped LastUpdate PYGLIDEIN_PARROT
    PYGLIDEIN_RESOURCE_CVMFS PYGLIDEIN_RESOURCE_GPU PYGLIDEIN_RESOURCE_GRIDFTP
    ClassAdLifetime
    EnteredCurrentActivity EnteredCurrentState ExecuteVolume GLIDEPOST_BatchJob GLIDEPOST_Glidein
    GLIDEPOST_Pool HardwareAddress HasRotationalScratch HasSshd HasStartDaemonAd HasUserNamespaces HibernationLevel
    HibernationState HibernationSupportedStates IsWakeAble IsWakeOnLanEnabled IsWakeOnLanSupported JobPreemptions
    JobRankPreemptions JobStarts JobUserPrioPreemptions KeyboardIdle LastBenchmark LastFetchWorkCompleted
    LastFetchWorkSpawned LastHeardFrom LoadAvg Machine MachineMaxVacateTime MachineResources MappingMethod
    MaxJobRetirementTime Microarch MyAddress MyCurrentTime Name NewDSlotNotMatch NextFetchWorkDelay NumDynamicSlotsTime
    NumPids OpSysLegacy OpSysLongName OpSysName OpSysShortName OpSysVer PrivateNetworkName
    PslotRollupInformation RetirementTimeRemaining SlotWeight StartdIpAddr StarterAbilityList SubnetMask TimeToLive
    TotalCondorLoadAvg TotalLoadAvg TotalTimeOwnerIdle TotalTimeUnclaimedIdle TotalVirtualMemory Unhibernate
    UpdateSequenceNumber UpdatesHistory UpdatesLost UpdatesSequenced UpdatesTotal VirtualMemory WakeOnLanEnabledFlags
    WakeOnLanSupportedFlags
    """.lower().split()
)
UNSEEN_BEGINNINGS = (
    *("child", "daemon", "expected", "glidepost_check", "glidepost_scratch", "gpus_", "has_", "monitorself", "recent"),
    "utsname",
)
# These say when it was or will be, or differ in their text alone.
IN_OTHER_WORDS = frozenset(
    {"availablegpus", "condorversion", "glidein_max_walltime", "glidein_todie", "glidein_toretire", "glidepost_start"}
    | {"pyglidein_time_to_live", "start"}
)
# Conditions in START that hold for one that has just come, or that the publisher counts by itself (max_runtime_s).
OF_THE_MOMENT = re.compile(r"GLIDEPOST_Healthy|LastHeardFrom|AllowedJobDuration")

# What user jobs ask for beside resources. Each is held against every shape.
ASKED = (
    "true",
    'TARGET.GLIDEIN_Site == "North"',
    'GLIDEIN_Site =?= "South" || HAS_CVMFS_a_example_org',
    "TARGET.HAS_CVMFS_a_example_org =?= true && HAS_CVMFS_b_c_example_org =?= true",
    "HAS_CVMFS_b_c_example_org =!= true",
    "isUndefined(TARGET.HAS_CVMFS_b_c_example_org) ? TotalSlotMemory > 4000 : TotalCpus > 4",
    f'OpSysAndVer == "{OS}" && TARGET.OpSysMajorVer > 1',
    f'TARGET.OpSysAndVer =!= "{OS}"',
    'regexp("^(small|odd|gpu)", TARGET.GLIDEPOST_Shape)',
    'stringListMember(TARGET.GLIDEPOST_Shape, "wide,tall,gpus")',
    'TARGET.GLIDEPOST_Shape =!= "a && b" && TotalSlotCpus >= 3',
    "TARGET.GLIDEIN_ToDie - time() > 600",
    "GLIDEIN_ToDie > CurrentTime + 2000",
    "TARGET.TotalSlotDisk > 2000000 || TARGET.TotalMemory * 2 >= 4096",
    "(TotalSlotCpus > 2 && TotalSlotMemory > 1000) || TotalSlotGPUs > 3",
    "TARGET.NoSuchThing > 3",
    "TARGET.NoSuchThing =!= 3 && PartitionableSlot",
    'versionGE(split(TARGET.CondorVersion)[1], "8.0") && TARGET.HasFileTransfer',
    'stringListIMember("https", TARGET.HasFileTransferPluginMethods)',
    "GPUs_Capability >= 7.5",
    'TARGET.GPUs_DeviceName =?= "A100-SXM4-40GB" || RequestGPUs =?= undefined',
    "MY.PairJob % 2 == 0",
    "!(TARGET.TotalSlotCpus == 2)",  # (Cpus is what others have left of them, and changes by the minute)
)
ACCOUNTS = (None, None, None, "group_sim", "group_sim.prod", "group_SIM.test", "group_ana", "group_simulation")
GPU_WORDS = (
    "",
    "gpus_minimum_capability = 7.5\n",
    "gpus_minimum_capability = 9.0\n",
    "gpus_minimum_memory = 40GB\n",
    "gpus_minimum_memory = 60GB\n",
    'require_gpus = DeviceName == "A100-SXM4-40GB" && Capability < 9\n',
)
# Where we say no and the negotiator says yes: it does not ask whether a user job can end before the glidein does, and
# it sees the GPU of the shape that says nothing of it.
IS_EXPLAINED = re.compile(r"^may run |the site does not say (Capability|DeviceName|GlobalMemoryMb|GPUs_)")
JOBS, SEED, QUIET_S = 40, 20261122, 8


def description(number: int, chance: random.Random) -> str:
    """Returns a submit description of one user job, once for each shape: it may run there alone."""
    gpus = chance.choice((0, 0, 0, 0, 1, 1, 2, 3))
    account = chance.choice(ACCOUNTS)
    asked = ASKED[number % len(ASKED)]
    lines = [
        "executable = /bin/true",
        "transfer_executable = false",
        "should_transfer_files = yes",
        f"request_cpus = {chance.choice((1, 1, 1, 1, 2, 4))}",
        f"request_memory = {chance.choice((100, 100, 500, 512, 1000, 1000, 1001, 2048, 5000))}",
        f"request_disk = {chance.choice((1, 1, 400, 512, 1100, 1500, 3000))}MB",
        f"requirements = ({asked}) && TARGET.GLIDEPOST_Shape == MY.PairShape && MY.PairJob >= 0",
        f"+PairJob = {number}",
        '+PairShape = "$(where)"',
        # Each is a submitter of its own: of one submitter the negotiator gives up after twenty that nothing matches.
        f"accounting_group_user = user{number}",
    ]
    if gpus:
        lines.append(f"request_gpus = {gpus}\n{chance.choice(GPU_WORDS)}")
    if account:
        lines.append(f"accounting_group = {account}")
    if number % 9 == 8:
        lines.append(f"allowed_{chance.choice(('job', 'execute'))}_duration = {chance.choice((300, 2000))}")
    places = " ".join(item.name for item in SHAPES)
    return "\n".join([*lines, f"queue where in ({places})", ""])


@dataclass(frozen=True)
class Oracle:
    """What became of the user jobs, once the negotiator had nothing more to give them.

    `ran` are the pairs of user job and shape that it matched.
    """

    reports: dict[str, ShapeReport]
    tarballs: tuple[Tarball, ...]
    slots: dict[str, Any]
    jobs: dict[tuple[int, str], census.JobGroup]
    ran: frozenset[tuple[int, str]]


def ask_census(pool: Pool) -> dict[tuple[int, str], census.JobGroup]:
    """Returns the groups of idle user jobs, as the census's own child process finds them, by what they are pairs of."""
    config = PublisherConfig(
        PoolSettings("test", (pool.collector,), pool.trust_domain, str(pool.admin_config)),
        DemandSettings("", ""),
        StoreSettings("", ""),
        census=CensusSettings(min_idle_s=0),
    )
    answer = AskedPool(config).ask()
    assert [schedd.error for schedd in answer.schedds] == [None]
    groups, unevaluated = census.group(row for schedd in answer.schedds for row in schedd.rows)
    assert not unevaluated
    found = {}
    for group in groups:
        ad = classads.parse(group.ad)
        if "PairJob" in ad:
            found[ad["PairJob"], ad["PairShape"]] = group
    return found


def waiting(pool: Pool) -> dict[tuple[int, str], int]:
    """Returns the state of each user job in the queue: 1 idle, 2 running."""
    jobs = pool.user_jobs("PairJob isnt undefined")
    return {(int(str(job["PairJob"])), str(job["PairShape"])): int(str(job["JobStatus"])) for job in jobs}


def wait_for_quiet(pool: Pool) -> None:
    """Returns when no user job has started for some cycles of the negotiator, with all slots free."""
    before, since = waiting(pool), time.monotonic()
    deadline = since + 200
    while time.monotonic() - since < QUIET_S:
        time.sleep(1)
        now = waiting(pool)
        if now != before or 2 in now.values():
            before, since = now, time.monotonic()
        assert time.monotonic() < deadline, "user jobs still run"


def report(config: PullerConfig, item: Shape) -> ShapeReport:
    said = advertises(config, item)
    return ShapeReport(
        item.name, "local", item.offers, LIMITS, Counts(), 0, 0, "covered", "", said, item.accept, item.deny
    )


def site_config(folder: Path) -> PullerConfig:
    return PullerConfig(
        site=SITE,
        glidein_site="North",
        key=folder / "key",
        state=folder / "state",
        url="",
        public_key=SigningKey(bytes(32)).public,
        shapes=SHAPES,
        glidein=GlideinOptions(
            idle_shutdown_s=LIFE_S,
            update_interval_s=5,
            network_interface="127.0.0.1",
            cache=str(folder / "cache"),
        ),
    )


@pytest.fixture(scope="module")
def oracle(pool: Pool, condor: Condor, account: Account, session_folder: Path) -> Iterator[Oracle]:
    """User jobs first, then the census, then the glideins, which take what they may."""
    folder = account.make_folder(session_folder / "oracle")
    for name in ("cache", "state", "scratch", "cvmfs", "cvmfs/a.example.org", "cvmfs/b-c.example.org"):
        account.make_folder(folder / name)
    for name in ("a.example.org", "b-c.example.org"):
        (folder / "cvmfs" / name / "new_repository").write_text("x", encoding="utf-8")
        (folder / "cvmfs" / name / "new_repository").chmod(0o644)
    path = session_folder / "oracle.tar.gz"
    manifest = builder.build(condor.release, path)
    path.chmod(0o644)
    tarball = Tarball(
        "any", platform.machine(), manifest.condor_version, f"file://{path}", manifest.sha256, manifest.size_bytes
    )
    now = datetime.now(timezone.utc)
    release = GlideinRelease("stable", (tarball,))
    until = now + timedelta(hours=1)
    demand = Demand("test", 1, now, until, (pool.collector,), complete=True, schedds=(), groups=(), glidein=release)
    config = site_config(folder)
    config.token_file.write_text(pool.token(f"glidein-{SITE}", LIFE_S, GLIDEIN))
    account.give(config.token_file, 0o600)
    chance = random.Random(SEED)
    glideins: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(JOBS):
            pool.run(["condor_submit", "-terse", "-"], stdin=description(number, chance))
        jobs = ask_census(pool)
        for item in SHAPES:
            glideins.append(start_glidein(config, item, demand, folder, account))
            assert wait_until(lambda: any((folder / "cache").iterdir()), 60)
        ours = f'GLIDEPOST_Site == "{SITE}" && SlotType == "Partitionable"'
        assert wait_until(lambda: len(pool.slots(ours)) == len(SHAPES), 60, step_s=1)
        wait_for_quiet(pool)
        slots = {slot["GLIDEPOST_Shape"]: slot for slot in read_slots(pool, ours)}
        reports = {item.name: report(config, item) for item in SHAPES}
        yield Oracle(reports, (tarball,), slots, jobs, frozenset(jobs.keys() - waiting(pool).keys()))
    finally:
        pool.run(["condor_rm", "-constraint", "PairJob isnt undefined"])
        for glidein in glideins:
            glidein.terminate()
        for glidein in glideins:
            glidein.wait(60)


def start_glidein(
    config: PullerConfig, item: Shape, demand: Demand, folder: Path, account: Account
) -> subprocess.Popen[bytes]:
    """Starts what the puller would submit, with as many simulated GPUs as the shape has."""
    discovery = f"-simulate:4,{item.resources.gpus}" if item.resources.gpus else ""
    simulated = replace(config, glidein=replace(config.glidein, gpu_discovery=discovery))
    script = folder / f"{item.name}.sh"
    script.write_text(render(simulated, item, demand, name=f"gp-{item.name}"))
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(folder / "scratch"), "CVMFS_MOUNT_DIR": str(folder / "cvmfs")}
    with script.open("rb") as stdin, (folder / f"{item.name}.out").open("wb") as output:
        return subprocess.Popen(
            [*account.prefix, "sh"], stdin=stdin, stdout=output, stderr=output, env=environment, cwd="/"
        )


def read_slots(pool: Pool, constraint: str) -> list[Any]:
    """Returns the ads as the collector has them, expressions and all."""
    text = pool.run(["condor_status", "-long:new", "-constraint", constraint])
    return [classads.parse(line) for line in text.splitlines() if line.startswith("[")]


def offline(oracle: Oracle, shape_name: str) -> Any:
    return classads.parse(slot_ad.offline(SITE, oracle.reports[shape_name], oracle.tarballs[0].condor_version))


@pytest.mark.parametrize("name", [item.name for item in SHAPES])
def test_a_glidein_says_what_the_offline_ad_says(oracle: Oracle, name: str) -> None:
    real, ours = oracle.slots[name], offline(oracle, name)
    for attribute in ours:
        if attribute.lower() in IN_OTHER_WORDS:
            continue
        if attribute in ("Requirements", "WithinResourceLimits"):
            assert str(real.lookup(attribute)).lower() == str(ours.lookup(attribute)).lower()
        else:
            assert real.eval(attribute) == ours.eval(attribute), attribute
    if "AvailableGPUs" in ours:
        assert len(real.eval("AvailableGPUs")) == len(ours.eval("AvailableGPUs"))
    assert real["CondorVersion"].split()[:2] == ours["CondorVersion"].split()[:2]
    asked = [set(clauses.split(str(ad.lookup("Start")))) - {"true"} for ad in (real, ours)]
    assert {clause for clause in asked[0] if not OF_THE_MOMENT.search(clause)} == asked[1]
    life, planned = (ad.eval("GLIDEIN_ToDie") - ad.eval("GLIDEPOST_Start") for ad in (real, ours))
    assert life >= planned
    new, planned = (ad.eval("GLIDEIN_ToRetire") - ad.eval("GLIDEPOST_Start") for ad in (real, ours))
    assert new == planned


@pytest.mark.parametrize("name", [item.name for item in SHAPES])
def test_what_a_glidein_says_beyond_the_offline_ad_is_nothing_to_ask_for(oracle: Oracle, name: str) -> None:
    known = {attribute.lower() for attribute in offline(oracle, name)} | UNSEEN
    more = {attribute for attribute in oracle.slots[name] if attribute.lower() not in known}
    assert {attribute for attribute in more if not attribute.lower().startswith(UNSEEN_BEGINNINGS)} == set()


def test_the_verdict_is_that_of_the_real_negotiator(oracle: Oracle) -> None:
    matcher = Matcher(tarballs=oracle.tarballs)
    differ, explained = [], 0
    for (number, name), job in oracle.jobs.items():
        verdict = matcher.verdict(job, SITE, oracle.reports[name])
        ran = (number, name) in oracle.ran
        if ran and not verdict.fits and all(map(IS_EXPLAINED.search, verdict.reasons)):
            explained += 1
        elif verdict.fits != ran:
            differ.append(f"user job {number} and {name}: ran {ran}, {verdict}\n    {job.ad}")
    share = len(oracle.ran) / len(oracle.jobs)
    # (shown by pytest -rP)
    sys.stdout.write(
        f"{len(oracle.jobs)} pairs, {share:.0%} of them matched, {len(differ)} disagreements, {explained} explained\n"
    )
    assert len(oracle.jobs) == JOBS * len(SHAPES)
    assert not differ, "\n".join(differ)
    assert 0.05 < share < 0.6
    assert 0 < explained < len(oracle.ran) / 5


def test_real_slots_hold_what_the_negotiator_gives_them(oracle: Oracle) -> None:
    matcher = Matcher()
    for (number, name), job in oracle.jobs.items():
        ad, offers = oracle.slots[name], oracle.reports[name].offers
        free = (offers.cpus, offers.cpus, offers.gpus, offers.gpus, offers.memory_mib, offers.disk_mib)
        slot = census.Slot(SITE, name, *free, ad=repr(ad))
        assert bool(matcher.fits_slot(job, slot)) == ((number, name) in oracle.ran), (number, name, job.ad)
