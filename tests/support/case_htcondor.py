"""HTCondor: what condor_submit and condor_q printed, and what it means."""

from __future__ import annotations

import json

from cases import Case

from glidepost.backends.base import BatchJob, Command, JobState
from glidepost.schema.resources import Resources

IDLE, RUNNING, HELD = JobState.IDLE, JobState.RUNNING, JobState.HELD


def _line(batch_id: str, state: str, name: str) -> str:
    """Returns an answer with one batch job in it."""
    cluster, process = map(int, batch_id.split("."))
    status = int(state) if state.isdecimal() else state
    ad = {"ClusterId": cluster, "GlidepostName": name, "JobStatus": status, "ProcId": process}
    return json.dumps([ad], indent=2) + "\n"


def _granted(command: Command) -> Resources:
    (described,) = (word for word in command.argv if word.endswith("\nqueue 1"))
    asked = dict(line.split(" = ", 1) for line in described.splitlines() if " = " in line)
    return Resources(
        cpus=int(asked["request_cpus"]),
        memory_mib=int(asked["request_memory"]),
        disk_mib=int(asked["request_disk"]) // 1024,
        walltime_s=int(asked["+GlidepostWalltimeS"]),
        gpus=int(asked.get("request_gpus", 0)),
    )


CASE = Case(
    options={},
    submitted={"htcondor-25.14.1-submit-many.txt": "35", "htcondor-25.14.1-submit-one.txt": "36"},
    listing="htcondor-25.14.1-q-mixed.txt",
    jobs=[
        BatchJob("35.0", "gp-1a2b3c", RUNNING),
        BatchJob("35.1", "gp-1a2b3c", RUNNING),
        BatchJob("35.2", "gp-1a2b3c", IDLE, "no match found"),
        BatchJob("35.3", "gp-1a2b3c", HELD, "via condor_hold (by user nobody)"),
        BatchJob("35.4", "gp-1a2b3c", IDLE),
        BatchJob("36.0", "gp-4d5e6f", IDLE, "Spooling input data files"),
    ],
    ours="gp-1a2b3c",
    line=_line,
    ids=["35.3", "36.0"],
    granted=_granted,
    empty="[]\n",
)

# Name of the file in golden/: backend, options, and what differs from one glidein of 2 cores, 4 GiB, 24 h.
GOLDEN = {
    "htcondor-one": ("htcondor", {}, {}),
    "htcondor-many": ("htcondor", {}, {"count": 25, "log_folder": "/srv/glidepost/logs"}),
    "htcondor-odd-sizes": ("htcondor", {}, {"memory_mib": 1537, "walltime_s": 61}),
    "htcondor-one-with-odd-log": ("htcondor", {}, {"log_folder": '/srv/100% "logs" $(x)'}),
    "htcondor-gpu": ("htcondor", {"requirements": "TARGET.GPUs_Capability >= 7.0"}, {"gpus": 2}),
    "htcondor-whole-machine": ("htcondor", {"exclusive": True}, {"cpus": 16}),
    "htcondor-another-schedd": (
        "htcondor",
        {"schedd": "ap2.example.org", "pool": "cm.example.org:9618"},
        {"count": 3, "log_folder": "/srv/glidepost/logs"},
    ),
    "htcondor-ce": (
        "htcondor",
        {"grid_resource": "condor ce.example.org ce.example.org:9619", "lines": ('+remote_queue = "pilots"',)},
        {},
    ),
    "htcondor-every-option": (
        "htcondor",
        {
            "schedd": "ap2.example.org",
            "pool": "cm.example.org:9618",
            "requirements": 'TARGET.Machine =!= "login"',
            "accounting_group": "group_physics.pilots",
            "exclusive": False,
            "spool": False,
            "transfer_token": False,
            "lines_before": ('+SingularityImage = "/cvmfs/images/el9"',),
            "lines": ('+ProjectName = "Neutrinos"', "concurrency_limits = pilots"),
        },
        {"gpus": 1},
    ),
}
