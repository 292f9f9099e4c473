"""From the ClassAds of the pool's daemons to plain values: rows of idle user jobs, and slots. No I/O.

A row's ad and a slot's ad are text in ClassAd syntax, with nothing in them but what matching may look at, in one order:
equal needs and equal slots have equal texts. Owners, arguments, files and environments are in neither.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, Optional

import classad2

from .require_gpus import bounds

REQUESTS: Final = {
    "RequestCpus": ("cpus", 1),
    "RequestMemory": ("memory_mib", None),
    "RequestDisk": ("disk_kib", None),
    "RequestGPUs": ("gpus", 0),
    "AllowedJobDuration": ("max_runtime_s", 0),
}
EXECUTE_LIMIT: Final = "AllowedExecuteDuration"  # read in the place of AllowedJobDuration where that is not set
# In each row's ad, whether its Requirements name them or not: a slot's START may.
_KEPT: Final = ("JobUniverse", "AcctGroup", "AllowedJobDuration", "Requirements", "RequireGPUs")
_REFERRING: Final = ("Requirements", "RequireGPUs")
_MAXIMIZED: Final = frozenset({"requestcpus", "requestmemory", "requestdisk", "requestgpus"})
_PRIVATE: Final = re.compile(
    r"(acct|acctgroup|notify|nice|os|remote)?(user|owner)|accountinggroup|args|arguments|cmd|email|env|environment|err"
    r"|globaljobid|in|iwd|jobbatchname|ntdomain|orig.*|out|submit(event.*|iwd|ter.*)|transfer(in|out)put(remaps)?|userlog|x509.*"
    r"|.*claimid.*",
    re.IGNORECASE,
)
# What differs between user jobs that ask for the same.
_VOLATILE: Final = ("EnteredCurrentStatus", "Id", "JobCount", "JobIds", "ServerTime")
_SLOT_NUMBERS: Final = {
    "cpus": "TotalSlotCpus",
    "cpus_free": "Cpus",
    "gpus": "TotalSlotGPUs",
    "gpus_free": "GPUs",
    "memory_free_mib": "Memory",
    "disk_free_mib": "Disk",
}
_SLOT_TIMES: Final = {"start": "GLIDEPOST_Start", "to_retire": "GLIDEIN_ToRetire", "to_die": "GLIDEIN_ToDie"}
# The collector says who has brought an ad, and overwrites what the ad itself says of that.
_IDENTITY: Final = "AuthenticatedIdentity"
_GLIDEINS_IDENTITY: Final = re.compile(r"glidein-([a-z0-9][a-z0-9-]*)@.+", re.DOTALL)
SLOT_ATTRIBUTES: Final = (
    "GLIDEPOST_Site",
    _IDENTITY,
    "GLIDEPOST_Shape",
    "SlotType",
    "State",
    "NumDynamicSlots",
    *_SLOT_NUMBERS.values(),
    *_SLOT_TIMES.values(),
)
_FAR: Final = 1 << 53  # beyond what any document holds; census.py refuses it

Row = dict[str, Any]


def rows(ads: Iterable[classad2.ClassAd]) -> tuple[list[Row], list[str]]:
    """Returns one row for each distinct need, see `Row` in census.py, and the slots' attributes that they refer to.

    Args:
        ads: Each stands for `JobCount` idle user jobs. They are changed.
    """
    read: dict[bytes, Row] = {}
    folded: dict[str, Row] = {}
    names: set[str] = set()
    for ad in ads:
        count, since = ad["JobCount"], number(ad, "EnteredCurrentStatus", 0) or 0
        drop(ad, _VOLATILE)
        # To read an ad takes 100 microseconds, this 20, and thousands of user jobs may differ in their times alone.
        text = hashlib.blake2b(str(ad).encode("utf-8", "replace"), digest_size=16).digest()
        if text not in read:
            names |= _wanted(ad)
            row = _row(ad)
            read[text] = folded.setdefault(repr(row), {**row, "idle_jobs": 0, "idle_since": since})
        row = read[text]
        row["idle_jobs"] += count
        row["idle_since"] = min(row["idle_since"], since)
    return list(folded.values()), sorted(names)


def slot(ad: classad2.ClassAd, names: Iterable[str]) -> dict[str, Any]:
    """Returns one slot, see `Slot` in census.py. Its ad holds what its START, these names and their values refer to."""
    numbers = {name: number(ad, attribute, 0) or 0 for name, attribute in _SLOT_NUMBERS.items()}
    is_free = _text(ad, "State") == "Unclaimed" and numbers["cpus_free"] > 0
    if not is_free:
        numbers.update(dict.fromkeys(("cpus_free", "gpus_free", "memory_free_mib", "disk_free_mib"), 0))
    return {
        **numbers,
        "disk_free_mib": numbers["disk_free_mib"] // 1024,
        **{name: number(ad, attribute, None) for name, attribute in _SLOT_TIMES.items()},
        "site": _site(ad),
        "shape": _text(ad, "GLIDEPOST_Shape") or "",
        "is_partitionable": _text(ad, "SlotType") == "Partitionable",
        "ad": _slot_text(ad, names) if is_free else "[]",
    }


def _site(ad: classad2.ClassAd) -> str:
    """Returns whose glidein a slot is: of the site whose token brought it in, whatever the slot says."""
    known = _GLIDEINS_IDENTITY.fullmatch(_text(ad, _IDENTITY) or "")
    return known.group(1) if known else _text(ad, "GLIDEPOST_Site") or ""


def running(ad: classad2.ClassAd) -> int:
    """Returns how many user jobs run in a slot: a partitionable one has a dynamic slot for each."""
    if _text(ad, "SlotType") == "Partitionable":
        return max(0, number(ad, "NumDynamicSlots", 0) or 0)
    return int(_text(ad, "State") == "Claimed")


def has(ad: classad2.ClassAd, attribute: str) -> bool:
    """Returns whether an ad has an attribute; `in` would read its value, which may be no UTF-8."""
    try:
        ad.lookup(attribute)
    except KeyError:
        return False
    return True


def drop(ad: classad2.ClassAd, attributes: Iterable[str]) -> None:
    """Takes these attributes out of an ad, as far as it has them."""
    for attribute in attributes:
        if has(ad, attribute):
            del ad[attribute]


def number(ad: classad2.ClassAd, attribute: str, default: Optional[int]) -> Optional[int]:
    """Returns an attribute as an integer, rounded up, or None when its expression has no value."""
    value = _value(ad, attribute, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return max(-_FAR, min(math.ceil(value), _FAR))  # a fraction of a MiB is asked for as a whole one


def _row(ad: classad2.ClassAd) -> Row:
    row: Row = {"owner": _text(ad, "Owner") or "", "accounting_group": _text(ad, "AcctGroup"), "problem": None}
    row["domain"] = (_text(ad, "User") or "").rpartition("@")[2].lower()
    # As in the glideins' START: AllowedJobDuration is for the whole stay, with transfers, and counts when both are set.
    if has(ad, EXECUTE_LIMIT) and not has(ad, "AllowedJobDuration"):
        ad["AllowedJobDuration"] = ad.lookup(EXECUTE_LIMIT)
    for attribute, (name, default) in REQUESTS.items():
        value = number(ad, attribute, default)
        if value is None:
            row["problem"] = {"attribute": attribute, "expression": _expression(ad, attribute)}
        row[name] = value
    requirement = _expression(ad, "RequireGPUs") if row["gpus"] else "true"
    row["gpu_capability"], row["gpu_memory_mib"] = bounds(requirement, lambda text: _evaluated(text, ad))
    return {**row, "ad": _job_text(ad, row)}


def _job_text(ad: classad2.ClassAd, row: Row) -> str:
    """Returns a row's ad, without the requests: census.py writes the maximum of them into the ad of the group.

    What only the requests refer to, such as how much memory was used before an eviction, is left out too.
    """
    for attribute, (name, _) in REQUESTS.items():
        if has(ad, attribute):
            ad[attribute] = row[name] or 0
    drop(ad, ["AcctGroup"])
    if row["accounting_group"] is not None:
        ad["AcctGroup"] = row["accounting_group"]
    # No GPU asked for explicitly is not the same as none mentioned.
    left_out = _MAXIMIZED if row["gpus"] else _MAXIMIZED - {"requestgpus"}
    names = set(_KEPT).union(*(_internal(ad, attribute) for attribute in _REFERRING))
    return _written(ad, (name for name in names if name.lower() not in left_out))


def _slot_text(ad: classad2.ClassAd, names: Iterable[str]) -> str:
    if has(ad, "Start"):
        # As it is now: most name a time, and that would make the ads of equal glideins differ.
        with suppress(ValueError):  # it refers to itself, or is no UTF-8
            ad["Start"] = ad.flatten(ad.lookup("Start"))
    kept = {"Arch", "OpSys", "Requirements", "Start", *(name for name in names if has(ad, name))}
    for name in tuple(kept):
        kept |= _internal(ad, name)
    return _written(ad, kept)


def _written(ad: classad2.ClassAd, names: Iterable[str]) -> str:
    """Returns these attributes, as far as the ad has them, and neither private nor circular, as the text of an ad."""
    found = {name.lower(): name for name in names if has(ad, name) and not _PRIVATE.fullmatch(name)}
    for name in tuple(found):
        # Circular ones have no value. Requirements must stay: nothing matches them, and anything would without them.
        if name != "requirements" and _is_circular(ad, name):
            del found[name]
    return f"[{'; '.join(f'{_quoted(name)} = {_expression(ad, name)}' for _, name in sorted(found.items()))}]"


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) else "'" + name.replace("'", "\\'") + "'"


def _internal(ad: classad2.ClassAd, attribute: str) -> set[str]:
    """Returns the ad's own attributes that this one refers to, also by way of others; none when it refers to itself."""
    with suppress(KeyError, ValueError):
        return set(ad.internalRefs(ad.lookup(attribute))) - {""}
    return set()


def _is_circular(ad: classad2.ClassAd, attribute: str) -> bool:
    try:
        ad.internalRefs(ad.lookup(attribute))
    except ValueError:
        return True
    return False


def _wanted(ad: classad2.ClassAd) -> set[str]:
    """Returns the attributes of a slot that a user job's Requirements refer to."""
    references: list[str] = []
    with suppress(KeyError, ValueError):
        references = ad.externalRefs(ad.lookup("Requirements"))
    return {re.sub(r"^TARGET\.", "", name, flags=re.IGNORECASE).split(".")[0] for name in references} - {""}


def _text(ad: classad2.ClassAd, attribute: str) -> Optional[str]:
    """Returns an attribute as text, or None: one user job's `+AcctGroup = undefined` must not end the census."""
    value = _value(ad, attribute)
    return value if isinstance(value, str) else None


def _value(ad: classad2.ClassAd, attribute: str, default: Optional[int] = None) -> object:
    """Returns what an expression gives, `default` when there is none, None when it has no value."""
    try:
        value = ad.eval(attribute)
    except KeyError:
        return default
    except UnicodeDecodeError:  # a string of other bytes than UTF-8
        return None
    return None if isinstance(value, classad2.Value) else value  # undefined and error are the integers 2 and 1


def _evaluated(text: str, ad: classad2.ClassAd) -> object:
    """Returns what an expression gives in an ad, None when it has no value or is none."""
    try:
        value = classad2.ExprTree(text).eval(ad)
    except (classad2.ClassAdException, UnicodeDecodeError):
        return None
    return None if isinstance(value, classad2.Value) else value


def _expression(ad: classad2.ClassAd, attribute: str) -> str:
    """Returns an attribute as it was written, "None" when it is not there."""
    try:
        return str(ad.lookup(attribute)).strip()
    except KeyError:
        return "None"
