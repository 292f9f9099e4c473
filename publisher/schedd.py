"""What the pool's daemons say, asked in a process of its own: the only import of HTCondor's bindings.

``python -m glidepost.publisher.schedd < request.json > answer.json``. The bindings hold the interpreter's lock for as
long as a query lasts and know no time-out, so the publisher (pool.py) runs this as a child and ends it when it takes
too long.

Request: ``{"collector": "host:port" or null, "min_idle_s": seconds}``. Answer: ``{"schedds": [{"name", "rows",
"error"}], "slots": [...]}``; see `Row` and `Slot` in census.py for what one element is.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any, Final, Optional

import classad2
import htcondor2

_REQUESTS: Final = {
    "RequestCpus": ("cpus", 1),
    "RequestMemory": ("memory_mib", None),
    "RequestDisk": ("disk_kib", None),
    "RequestGPUs": ("gpus", 0),
    "AllowedJobDuration": ("max_runtime_s", 0),
}
# Every attribute that the constraint names must be in the projection: the schedd holds the constraint against the job
# and against the grouped ad, and gives no groups at all otherwise (JobAggregationResults::next in HTCondor's
# autocluster.cpp).
_PROJECTION: Final = [
    "JobStatus",
    "JobUniverse",
    "QDate",
    "Owner",
    "AcctGroup",
    "Requirements",
    "RequireGPUs",
    *_REQUESTS,
]
_FAR: Final = 1 << 53  # beyond what any document holds; census.py refuses it
_IDLE_VANILLA: Final = "JobStatus == 1 && JobUniverse == 5"
_SLOT: Final = [
    "Name",
    "GLIDEPOST_Site",
    "GLIDEPOST_Shape",
    "SlotType",
    "TotalSlotCpus",
    "Cpus",
    "TotalSlotGPUs",
    "GPUs",
]


def main() -> None:
    """Answers one request on standard input."""
    request = json.load(sys.stdin)
    collector = htcondor2.Collector(request["collector"]) if request["collector"] else htcondor2.Collector()
    schedds = [_census(ad, int(request["min_idle_s"])) for ad in collector.locateAll(htcondor2.DaemonType.Schedd)]
    json.dump({"schedds": schedds, "slots": _slots(collector)}, sys.stdout)


def _census(location: classad2.ClassAd, min_idle_s: int) -> dict[str, Any]:
    """Returns one schedd's idle user jobs, one row for each distinct combination of what they ask for."""
    constraint = f"{_IDLE_VANILLA} && time() - QDate >= {min_idle_s}"
    try:
        ads = htcondor2.Schedd(location).query(constraint, projection=_PROJECTION, opts=htcondor2.QueryOpt.GroupBy)
        return {"name": location["Name"], "rows": [_row(ad) for ad in ads], "error": None}
    except Exception as error:  # noqa: BLE001 - it is this schedd's answer; the others are still asked
        return {"name": location["Name"], "rows": [], "error": str(error) or type(error).__name__}


def _row(ad: classad2.ClassAd) -> dict[str, Any]:
    """Returns one group of equal user jobs, with its expressions evaluated."""
    row: dict[str, Any] = {
        "idle_jobs": ad["JobCount"],
        "idle_since": ad["QDate"],
        "owner": _text(ad, "Owner") or "",
        "accounting_group": _text(ad, "AcctGroup"),
        "requirements": f"{_expression(ad, 'Requirements')} // {_expression(ad, 'RequireGPUs')}",
        "problem": None,
    }
    for attribute, (name, default) in _REQUESTS.items():
        value = _number(ad, attribute, default)
        if value is None:
            row["problem"] = {"attribute": attribute, "expression": _expression(ad, attribute)}
        row[name] = value
    return row


def _number(ad: classad2.ClassAd, attribute: str, default: Optional[int]) -> Optional[int]:
    """Returns an attribute as an integer, or None when its expression has no value."""
    value = _value(ad, attribute, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return max(-_FAR, min(math.ceil(value), _FAR))  # a fraction of a MiB is asked for as a whole one


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


def _expression(ad: classad2.ClassAd, attribute: str) -> str:
    """Returns an attribute as it was written, "None" when it is not there."""
    try:
        return str(ad.lookup(attribute))
    except KeyError:
        return "None"


def _slots(collector: htcondor2.Collector) -> list[dict[str, Any]]:
    """Returns the slots of our glideins. A partitionable slot's Cpus are what is left of its TotalSlotCpus."""
    ads = collector.query(htcondor2.AdType.Startd, "GLIDEPOST_Site isnt undefined", _SLOT)
    return [
        {
            "site": _text(ad, "GLIDEPOST_Site") or "",
            "shape": _text(ad, "GLIDEPOST_Shape") or "",
            "cpus": _number(ad, "TotalSlotCpus", 0) or 0,
            "cpus_free": _number(ad, "Cpus", 0) or 0,
            "gpus": _number(ad, "TotalSlotGPUs", 0) or 0,
            "gpus_free": _number(ad, "GPUs", 0) or 0,
        }
        for ad in ads
        if ad.get("SlotType", "Partitionable") == "Partitionable"
    ]


if __name__ == "__main__":
    main()
