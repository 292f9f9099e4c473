"""What the pool's daemons say, each asked in a process of its own: the only import of HTCondor's bindings.

``python -m glidepost.publisher.schedd < request.json > answer.json``. The bindings hold the interpreter's lock for as
long as a query lasts and know no time-out, so the publisher (pool.py) runs this as a child and ends it when it takes
too long. Requests and their answers (`Located`, `Counted`, `Seen`, `Daemons` and `Granted` in pool.py):

    {"ask": "collector", "schedds": "all" | "local" | [names]}       which schedds there are, and their counters
    {"ask": "schedd", "location": ClassAd, "min_idle_s": seconds}    the idle user jobs of one schedd
    {"ask": "slots", "names": [attributes]}                          the slots of glideins, and free ones of others
    {"ask": "daemons"}                                               whom a glidein's token could ask something
    {"ask": "granted", "token": text, "daemons": [...]}              what these let the holder of a token do
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final

import classad2
import htcondor2

from . import ads

# Every attribute that a constraint names must be in the projection: the schedd holds the constraint against the job
# and against the grouped ad, and gives no groups at all otherwise (JobAggregationResults::next in HTCondor's
# autocluster.cpp). What the expressions of these attributes refer to comes along by itself.
_NEEDS: Final = [
    "JobStatus",
    "JobUniverse",
    "EnteredCurrentStatus",
    "Owner",
    "User",
    "AcctGroup",
    "Requirements",
    "RequireGPUs",
    *ads.REQUESTS,
    ads.EXECUTE_LIMIT,
]
# An evicted user job is idle since its eviction, and one released since its release.
_IDLE: Final = "JobStatus == 1 && JobUniverse == 5 && time() - EnteredCurrentStatus >= {min_idle_s}"
# User jobs that the schedd has yet to make of a cluster's ad ("late materialization").
# https://htcondor.readthedocs.io/en/latest/users-manual/submitting-a-job.html, max_idle and max_materialize
_FACTORY: Final = [
    "ProcId",
    "JobFactoryTotalProcs",
    "TotalSubmitProcs",
    "JobMaterializeLimit",
    "JobMaterializeNextProcId",
    "JobMaterializePaused",
    "JobsPresent",
]
_UNMADE: Final = "JobMaterializeNextProcId isnt undefined && ProcId is undefined && (JobMaterializePaused ?: 0) == 0"
_LOCATION: Final = ["Name", "Machine", "MyAddress", "AddressV1", "CondorVersion", "CondorPlatform"]
_COUNTERS: Final = {"started": "JobsStarted", "wait_s": "JobsAccumTimeToStart", "running": "TotalRunningJobs"}
_WHOLE: Final = 'SlotType isnt "Dynamic" && Offline isnt true'
_FREE: Final = 'State is "Unclaimed" && Cpus > 0'


def main() -> None:
    """Answers one request on standard input."""
    request = json.load(sys.stdin)
    if request["ask"] == "schedd":
        answer = _count(classad2.ClassAd(request["location"]), int(request["min_idle_s"]))
    elif request["ask"] == "slots":
        answer = _see(htcondor2.Collector(), request["names"])
    elif request["ask"] == "daemons":
        answer = _daemons(htcondor2.Collector())
    elif request["ask"] == "granted":
        answer = _granted(request["token"], request["daemons"])
    else:
        answer = _locate(htcondor2.Collector(), request["schedds"])
    json.dump(answer, sys.stdout)


def _locate(collector: htcondor2.Collector, schedds: Any) -> dict[str, Any]:
    """Returns where the schedds are that are to be asked; one that is named and not there is left out."""
    known = collector.query(htcondor2.AdType.Schedd, projection=[*_LOCATION, *_COUNTERS.values()])
    if schedds == "local":
        local = collector.locate(htcondor2.DaemonType.Schedd)
        chosen = [ad for ad in known if ad["Name"] == local["Name"]] or [local]
    else:
        chosen = [ad for ad in known if schedds == "all" or ad["Name"] in schedds]
    return {"schedds": [_location(ad) for ad in chosen]}


def _location(ad: classad2.ClassAd) -> dict[str, Any]:
    counters = {name: ads.number(ad, attribute, None) for name, attribute in _COUNTERS.items()}
    place = classad2.ClassAd({name: ad[name] for name in _LOCATION if ads.has(ad, name)})
    return {"name": ad["Name"], "ad": repr(place), **counters}


def _count(location: classad2.ClassAd, min_idle_s: int) -> dict[str, Any]:
    """Returns one schedd's idle user jobs, one row for each distinct combination of what they ask for."""
    schedd = htcondor2.Schedd(location)
    idle = _IDLE.format(min_idle_s=min_idle_s)
    jobs = schedd.query(idle, projection=_NEEDS, opts=htcondor2.QueryOpt.GroupBy)
    # Here GroupBy would be ignored: there is one ad for each cluster.
    clusters = schedd.query(
        f"{idle} && {_UNMADE}", projection=[*_NEEDS, *_FACTORY], opts=htcondor2.QueryOpt.IncludeClusterAd
    )
    rows, names = ads.rows([*jobs, *filter(_set_unmade, clusters)])
    return {"rows": rows, "names": names}


def _set_unmade(cluster: classad2.ClassAd) -> bool:
    """Sets how many user jobs a cluster has yet to make, and returns whether there are any.

    No more than it may have in the queue at a time (max_materialize): more would not become idle at once.
    """
    number = {name: ads.number(cluster, name, None) for name in _FACTORY}
    ads.drop(cluster, _FACTORY)
    limit, made = number["JobMaterializeLimit"], number["JobMaterializeNextProcId"] or 0
    total = number["JobFactoryTotalProcs"] or number["TotalSubmitProcs"] or limit or 0
    unmade = total - made
    if limit is not None:
        unmade = min(unmade, limit - (number["JobsPresent"] or 0))
    cluster["JobCount"] = unmade
    return unmade > 0


def _see(collector: htcondor2.Collector, names: list[str]) -> dict[str, Any]:
    """Returns the slots: all partitionable and static ones of glideins, and of other startds those that are free.

    Only free ones are asked for with all attributes: these are few, and START may refer to any.
    """
    glideins = f"GLIDEPOST_Site isnt undefined && ({_FREE}) isnt true"
    taken = collector.query(htcondor2.AdType.Startd, f"{_WHOLE} && {glideins}", list(ads.SLOT_ATTRIBUTES))
    free = collector.query(htcondor2.AdType.Startd, f"{_WHOLE} && {_FREE}")
    return {
        "slots": [ads.slot(ad, names) for ad in (*taken, *free)],
        "running_inside": sum(ads.running(ad) for ad in (*taken, *free) if ads.has(ad, "GLIDEPOST_Site")),
    }


def _daemons(collector: htcondor2.Collector) -> dict[str, Any]:
    return {
        "daemons": [
            {"kind": kind.lower(), "name": ad["Name"], "address": ad["MyAddress"]}
            for kind in ("Collector", "Negotiator", "Schedd")
            for ad in collector.query(getattr(htcondor2.AdType, kind), projection=["Name", "MyAddress"])
        ]
    }


def _granted(token: str, daemons: list[dict[str, str]]) -> dict[str, Any]:
    """Returns which daemons the holder of a token may read, and to which collectors it may advertise a glidein.

    The bindings offer the token only where the configuration allows no other way to authenticate (IDTOKENS alone).
    """
    return {
        "reads": [daemon for daemon in daemons if _may(token, daemon, "READ")],
        "joins": [
            daemon for daemon in daemons if daemon["kind"] == "collector" and _may(token, daemon, "ADVERTISE_STARTD")
        ],
    }


def _may(token: str, daemon: dict[str, str], level: str) -> bool:
    try:
        said = htcondor2.ping(daemon["address"], level, htcondor2.SecurityContext(token))
    except htcondor2.HTCondorException:
        return False
    return bool(said.get("AuthorizationSucceeded"))


if __name__ == "__main__":
    main()
