"""What the pool's daemons say, asked in a process of its own: the only import of HTCondor's bindings.

``python -m glidepost.publisher.schedd < request.json > answer.json``. The bindings hold the interpreter's lock for as
long as a query lasts and know no time-out, so the publisher (pool.py) runs this as a child and ends it when it takes
too long.

Request: ``{"collector": "host:port" or null, "min_idle_s": seconds}``. Answer: ``{"schedds": [{"name", "rows",
"error"}], "slots": [...]}``; see `Row` and `Slot` in census.py for what one element is.
"""

from __future__ import annotations

import json
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
        "owner": ad["Owner"],
        "accounting_group": ad.get("AcctGroup"),
        "requirements": f"{ad.get('Requirements')} // {ad.get('RequireGPUs')}",
        "problem": None,
    }
    for attribute, (name, default) in _REQUESTS.items():
        value = _number(ad, attribute, default)
        if value is None:
            row["problem"] = {"attribute": attribute, "expression": str(ad.get(attribute))}
        row[name] = value
    return row


def _number(ad: classad2.ClassAd, attribute: str, default: Optional[int]) -> Optional[int]:
    """Returns an attribute as an integer, or None when its expression has no value."""
    if attribute not in ad:
        return default
    value = ad.eval(attribute)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(-(-value // 1))  # a fraction of a MiB is asked for as a whole one


def _slots(collector: htcondor2.Collector) -> list[dict[str, Any]]:
    """Returns the slots of our glideins. A partitionable slot's Cpus are what is left of its TotalSlotCpus."""
    ads = collector.query(htcondor2.AdType.Startd, "GLIDEPOST_Site isnt undefined", _SLOT)
    return [
        {
            "site": str(ad["GLIDEPOST_Site"]),
            "shape": str(ad.get("GLIDEPOST_Shape", "")),
            "cpus": int(ad.get("TotalSlotCpus", 0)),
            "cpus_free": int(ad.get("Cpus", 0)),
            "gpus": int(ad.get("TotalSlotGPUs", 0)),
            "gpus_free": int(ad.get("GPUs", 0)),
        }
        for ad in ads
        if ad.get("SlotType", "Partitionable") == "Partitionable"
    ]


if __name__ == "__main__":
    main()
