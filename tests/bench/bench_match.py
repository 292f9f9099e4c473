"""How long matching takes: 2,000 groups of user jobs against 200 shapes, the caches cold, then warm."""

from __future__ import annotations

import random
import resource
import sys
import time
from datetime import datetime, timezone

import pytest

from glidepost.publisher.census import JobGroup
from glidepost.publisher.match import Matcher
from glidepost.schema.demand import Group
from glidepost.schema.heartbeat import Counts, Limits, ShapeReport
from glidepost.schema.resources import Request, Resources

# As condor_submit of HTCondor 25.14 writes them.
SUBMITTED = (
    '(TARGET.Arch == "X86_64") && (TARGET.OpSys == "LINUX")'
    ' && (versionGE(split(TARGET.CondorVersion)[1],"25.12.0") || (TARGET.Disk >= RequestDisk))'
    " && (TARGET.Memory >= RequestMemory)"
    " && ((TARGET.FileSystemDomain == MY.FileSystemDomain) || (TARGET.HasFileTransfer))"
)
OWN = (
    "",
    'TARGET.OpSysAndVer == "AlmaLinux9"',
    "OpSysMajorVer >= 8 && HAS_CVMFS_icecube_opensciencegrid_org",
    'regexp("^site[0-4]", TARGET.GLIDEIN_Site) || TARGET.HAS_CVMFS_oasis_opensciencegrid_org =?= true',
    'TARGET.GLIDEIN_Site =!= "site7"',
    'TARGET.GPUs_DeviceName =?= "A100"',
)


def job(number: int, requirements: str, request: Request) -> JobGroup:
    group = Group(f"g{number:08x}", 10, datetime.now(timezone.utc), 1, request, f"group_{number % 7}")
    text = f"({requirements}) && {SUBMITTED}" if requirements else SUBMITTED
    return JobGroup(group, f'[FileSystemDomain = "pool"; Requirements = {text}]')


def some_request(chance: random.Random) -> Request:
    memory, disk = 256 * chance.randrange(1, 200), 1024 * chance.randrange(1, 100)
    return Request(chance.choice((1, 1, 2, 4, 8, 16)), memory, disk, chance.choice((0, 0, 0, 1)))


def shape(number: int, chance: random.Random) -> tuple[str, ShapeReport]:
    site, gpus = f"site{number // 2}", chance.choice((0, 0, 1, 4))
    offers = Resources(chance.choice((1, 8, 16, 64)), 1024 * chance.randrange(2, 257), 200_000, 86_400, gpus)
    advertises = {
        "Arch": "X86_64",
        "OpSysAndVer": chance.choice(("AlmaLinux9", "CentOS7", "Debian12")),
        "OpSysMajorVer": chance.choice((7, 9, 12)),
        "GLIDEIN_Site": site,
        "HAS_CVMFS_icecube_opensciencegrid_org": True,
        **({"GPUs_DeviceName": "A100", "GPUs_Capability": "8.0", "GPUs_GlobalMemoryMb": 40_960} if gpus else {}),
    }
    deny = ("group_3",) if number % 5 == 0 else ()
    return site, ShapeReport(
        f"shape{number}", "slurm", offers, Limits(1, 1, 1, 1), Counts(), 0, 0, "covered", "", advertises, deny=deny
    )


@pytest.mark.parametrize("variety", ["a few Requirements", "each group with Requirements of its own"])
@pytest.mark.parametrize(("groups", "shapes"), [(200, 200), (2000, 20), (2000, 200)])
def test_matching(groups: int, shapes: int, variety: str) -> None:
    chance = random.Random(3)
    own = variety.startswith("each")
    texts = [f'{OWN[n % len(OWN)] or "true"} && TARGET.Nodes =!= "n{n}"' if own else OWN[n % 6] for n in range(groups)]
    jobs = [job(number, text, some_request(chance)) for number, text in enumerate(texts)]
    offered = [shape(number, chance) for number in range(shapes)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    matcher, times = Matcher(), []
    for _ in range(2):
        began = time.perf_counter()
        fitting = sum(matcher.verdict(item, *place).fits for item in jobs for place in offered)
        times.append(time.perf_counter() - began)
    pairs = groups * shapes
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    sys.stdout.write(
        f"\n{groups} groups x {shapes} shapes, {variety}: {times[0]:.2f} s, again {times[1]:.2f} s "
        f"({times[0] / pairs * 1e6:.1f} us a pair, {fitting / pairs:.0%} fit, +{grown:.0f} MB)"
    )
