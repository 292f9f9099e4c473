"""The ad of a slot that is not there yet: what a glidein of a shape will say of itself in the pool. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Optional

from glidepost.schema import advertised, start
from glidepost.schema.demand import Tarball
from glidepost.schema.heartbeat import ShapeReport
from glidepost.schema.publisher_config import SiteRules
from glidepost.schema.start import quoted

DEFAULT_ARCH: Final = "X86_64"  # of a site that says nothing, as in puller.toml

# What the starter of HTCondor 25.14 can do on any Linux node, and what our condor_config fixes. What depends on the
# node (HasSshd, HasUserNamespaces, Microarch, containers) is left out: unknown until somebody says it. tests/real holds
# this against the ads of real glideins.
_ABILITIES: Final[Mapping[str, advertised.Literal]] = {
    "AcceptedWhileDraining": False,
    "FileSystemDomain": "glidein.invalid",
    "HasCommonFilesTransfer": 2,
    "HasFileTransfer": True,
    "HasFileTransferPluginMethods": "dav,davs,file,ftp,http,https,s3,gs",
    "HasIOProxy": True,
    "HasJICLocalConfig": True,
    "HasJICLocalStdin": True,
    "HasJobDeferral": True,
    "HasJobNetworking": True,
    "HasJobTransferPlugins": True,
    "HasOsUser": True,
    "HasPerFileEncryption": True,
    "HasReconnect": True,
    "HasSelfCheckpointTransfers": True,
    "HasTDP": True,
    "HasTransferInputRemaps": True,
    "HasVM": False,
    "IsLocalStartd": False,
    "MyType": "Machine",
    "NumDynamicSlots": 0,
    "PartitionableSlot": True,
    "SlotID": 1,
    "SlotType": "Partitionable",
    "SlotTypeID": 1,
    "State": "Unclaimed",
    "Activity": "Idle",
    "TargetType": "Job",
    "TotalSlots": 1,
    "UidDomain": "glidein.invalid",
}
# In the startd's own words, and our condor_config's (glidein/bootstrap).
_EXPRESSIONS: Final = {
    "Rank": "0",
    "Requirements": "Start && WithinResourceLimits",
    "WithinResourceLimits": (
        "MY.Cpus > 0 && TARGET.RequestCpus <= MY.Cpus && MY.Memory > 0 && TARGET.RequestMemory <= MY.Memory"
        " && MY.Disk > 0 && (TARGET.RequestDisk - 0) <= MY.Disk"
        " && (TARGET.RequestGPUs =?= undefined || MY.GPUs >= TARGET.RequestGPUs)"
    ),
    "GLIDEPOST_Start": "time()",
    "PYGLIDEIN_TIME_TO_LIVE": "GLIDEIN_ToDie - time()",
}
_NO_RULES: Final = SiteRules()
# So many GPUs of a glidein are listed one by one: more than a node has, and no more than a lie should cost.
MOST_GPUS: Final = 64
# The words of /etc/os-release that the glidein chooses its tarball by, as HTCondor's OpSysAndVer begins.
_OS_WORDS: Final = {
    "almalinux": "el",
    "centos": "el",
    "oraclelinux": "el",
    "redhat": "el",
    "rocky": "el",
    "scientificlinux": "el",
}


def offline(site: str, shape: ShapeReport, condor_version: str, rules: SiteRules = _NO_RULES) -> str:
    """Returns the text of the slot's ClassAd.

    Nothing of it is code of the site: its words become literals, and only names in schema/advertised.py are taken.

    Args:
        site: The enrolled name, which the shape's report cannot change.
        shape: From the site's heartbeat.
        condor_version: Of the glidein's HTCondor, "25.14.1".
        rules: Of the pool for this site; its glideins have them in their START too.
    """
    said, _ = advertised.known(shape.advertises)
    offers = shape.offers
    literals: dict[str, advertised.Literal] = {
        **_ABILITIES,
        "OpSys": "LINUX",
        "Arch": DEFAULT_ARCH,
        **{name: value for name, value in said.items() if not name.startswith("GPUs_")},
        "GLIDEPOST_Site": site,
        "GLIDEPOST_Shape": shape.name,
        "GLIDEIN_SiteResource": shape.name,
        "GLIDEIN_Max_Walltime": offers.walltime_s,  # (the glidein says more: what user jobs may use, and its end)
        "CondorVersion": f"$CondorVersion: {condor_version} $",
    }
    resources = {"Cpus": offers.cpus, "Memory": offers.memory_mib, "Disk": offers.disk_mib * 1024, "GPUs": offers.gpus}
    for name, value in resources.items():
        literals.update({name: value, f"Total{name}": value, f"TotalSlot{name}": value})
    texts = {name: _literal(value) for name, value in literals.items()}
    texts.update(_gpus(offers.gpus, said))
    texts.update(_EXPRESSIONS, **_times(offers.walltime_s))
    clauses = start.clauses(gpus=offers.gpus, backfill=shape.gpu_backfill, accept=shape.accept, deny=shape.deny)
    clauses += shape.jobs.clauses()
    clauses += start.clauses(gpus=0, accept=rules.accept, deny=rules.deny)
    texts["Start"] = " && ".join([*(f"({clause})" for clause in clauses), "(time() < GLIDEIN_ToRetire)"])
    return "[" + "; ".join(f"{name} = {text}" for name, text in texts.items()) + "]"


def condor_version(shape: ShapeReport, tarballs: Iterable[Tarball]) -> Optional[str]:
    """Returns the version of the tarball that glideins of a shape take, None when there is none for its architecture.

    The one for the shape's operating system, else the one for any, as glidein/bootstrap chooses; without a word about
    its operating system the oldest there is.
    """
    arch = str(shape.advertises.get("Arch", DEFAULT_ARCH)).lower()
    mine = [item for item in tarballs if item.arch.lower() == arch]
    word = _os_word(str(shape.advertises.get("OpSysAndVer", "")))
    for os in (word, "any") if word else ():
        for item in mine:
            if item.os == os:
                return item.condor_version
    return min((item.condor_version for item in mine), key=_numbers, default=None)


def _numbers(version: str) -> list[int]:
    return [int(part) if part.isdecimal() else 0 for part in version.split(".")]


def _os_word(name_and_version: str) -> str:
    name = name_and_version.rstrip("0123456789").lower()
    return _OS_WORDS.get(name, name) + name_and_version[len(name) :] if name else ""


def _times(walltime_s: int) -> dict[str, str]:
    """Returns when the glidein ends, as its bootstrap plans it, if it were to start now.

    The walltime that a site offers is the time in which user jobs may start; how much is left for them after that, only
    the site knows.
    """
    end = f"time() + {walltime_s}"
    return {"GLIDEIN_ToDie": end, "GLIDEIN_ToRetire": end}


def _gpus(count: int, said: dict[str, advertised.Literal]) -> dict[str, str]:
    """Returns the properties, which all GPUs of a glidein share, for the slot and once more for each GPU."""
    if not count:
        return {}
    properties = {name: value for name, value in said.items() if name.startswith("GPUs_")}
    texts = {
        name: str(value) if advertised.NAMES[name] == advertised.DECIMAL else _literal(value)
        for name, value in properties.items()
    }
    one = "[" + "; ".join(f"{name[len('GPUs_') :]} = {text}" for name, text in texts.items()) + "]"
    return {**texts, "AvailableGPUs": "{" + ", ".join([one] * min(count, MOST_GPUS)) + "}"}


def _literal(value: advertised.Literal) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else quoted(value)
