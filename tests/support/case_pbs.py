"""PBS and Torque: what qsub and qstat print, and what it means."""

from __future__ import annotations

import json
import re

from cases import Case

from glidepost.backends.base import BatchJob, Command, JobState
from glidepost.schema.resources import Resources

IDLE, RUNNING, HELD, GONE = JobState.IDLE, JobState.RUNNING, JobState.HELD, JobState.GONE
HEAD = {"timestamp": 1795338781, "pbs_version": "23.06.06", "pbs_server": "vm"}
WAITS = "Not Running: Insufficient amount of resource: ncpus (R: 2 A: 0 T: 4)"
BEGAN = "Job Array Began at Sun Nov 22 at 09:01"
NEVER = "Can Never Run: Insufficient amount of resource: mem (R: 999gb A: 16gb T: 16gb)"


def _values(command: Command) -> dict[str, str]:
    """Returns what stands behind each -l, the parts of chunk or nodes among it."""
    words = command.argv
    limits = [value for option, value in zip(words, words[1:]) if option == "-l"]
    parts = [part for limit in limits for part in re.split(r"select=1:|nodes=1:|[:,]", limit) if "=" in part]
    return dict(part.split("=", 1) for part in parts)


def granted(command: Command) -> Resources:
    """Returns what a submission asks for; both count in mb (MiB) and seconds."""
    values = _values(command)
    assert values["mem"].endswith("mb")
    return Resources(
        cpus=int(values.get("ncpus") or values["ppn"]),
        memory_mib=int(values["mem"][:-2]),
        disk_mib=0,
        walltime_s=int(values["walltime"]),
        gpus=int(values.get("ngpus") or values.get("gpus", "0")),
    )


def pbs_answer(batch_id: str, state: str, name: str) -> str:
    """Returns qstat's JSON with one batch job of the account "glide"."""
    job = {"Job_Name": name, "Job_Owner": "glide@vm", "job_state": state}
    return f"glide\n{json.dumps({**HEAD, 'Jobs': {batch_id: job}}, ensure_ascii=False, indent=4)}\n"


def torque_answer(batch_id: str, state: str, name: str) -> str:
    """Returns qstat's XML with one batch job of the account "glide"."""
    for letter, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&apos;")):
        name = name.replace(letter, escaped)
    parts = f"<Job_Id>{batch_id}</Job_Id><Job_Name>{name}</Job_Name><Job_Owner>glide@vm</Job_Owner>"
    return f"glide\n<Data><Job>{parts}<job_state>{state}</job_state></Job></Data>\nend\n"


CASES = {
    "pbs": Case(
        options={},
        submitted={"pbs-23.06-qsub-array.txt": "13[].vm", "pbs-23.06-qsub-single.txt": "12.vm"},
        listing="pbs-23.06-qstat-mixed.txt",
        jobs=[
            BatchJob("12.vm", "gp-4d5e6f", IDLE, WAITS),
            BatchJob("13[1].vm", "gp-1a2b3c", GONE),
            *(BatchJob(f"13[{index}].vm", "gp-1a2b3c", RUNNING) for index in (2, 3, 4)),
            *(BatchJob(f"13[{index}].vm", "gp-1a2b3c", IDLE, BEGAN) for index in (5, 6)),
            BatchJob("14.vm", "gp-7a8b9c", HELD, "Hold_Types = u"),
            BatchJob("15.vm", "gp-big", IDLE, NEVER),
            BatchJob("18.vm", "1e5", RUNNING),
        ],
        ours="gp-1a2b3c",
        line=pbs_answer,
        ids=["12.vm", "13[5].vm"],
        empty=f"glide\n{json.dumps(HEAD)}\n",
        granted=granted,
    ),
    "torque": Case(
        options={},
        submitted={"torque-6.1.3-qsub-array.txt": "13[].vm", "torque-6.1.3-qsub-single.txt": "12.vm"},
        listing="torque-6.1.3-qstat-mixed.txt",
        jobs=[
            BatchJob("12.vm", "gp-4d5e6f", IDLE, "Not Running: Draining system to allow starving job to run"),
            BatchJob("13[1].vm", "gp-1a2b3c", GONE),
            *(BatchJob(f"13[{index}].vm", "gp-1a2b3c", RUNNING) for index in (2, 3)),
            BatchJob("13[4].vm", "gp-1a2b3c", IDLE),
            BatchJob("14.vm", "gp-7a8b9c", HELD, "Hold_Types = u"),
            BatchJob("17.vm", "gp-7a8b9c", RUNNING),
        ],
        ours="gp-1a2b3c",
        line=torque_answer,
        ids=["12.vm", "13[4].vm"],
        empty="glide\nend\n",
        granted=granted,
    ),
}

# Name of the file in golden/: backend, options, and what differs from one glidein of 2 cores, 4 GiB, 24 h.
GOLDEN = {
    "pbs-one": ("pbs", {}, {}),
    "pbs-array": ("pbs", {}, {"count": 25, "log_folder": "/srv/glidepost/logs"}),
    "pbs-one-with-log": ("pbs", {}, {"log_folder": "/srv/100% logs"}),
    "pbs-gpu": ("pbs", {"queue": "gpu"}, {"gpus": 2}),
    "pbs-gpu-by-type": ("pbs", {"gpus": "ngpus={gpus}:gpu_type=a100"}, {"gpus": 4}),
    "pbs-memory-limits": ("pbs", {"memory_limits": ("mem", "vmem", "pmem", "pvmem")}, {"memory_mib": 1537}),
    "pbs-whole-host": ("pbs", {"exclusive": True, "memory_limits": ()}, {"cpus": 64}),
    "pbs-every-option": (
        "pbs",
        {
            "queue": "long@pbs.example.org",
            "account": "physics",
            "project": "neutrinos",
            "gpus": "ngpus=1",
            "exclusive": True,
            "chunk": "model=bro:scratch_type=ssd",
            "memory_limits": ("mem", "pvmem"),
            "disk_resource": "scratch",
            "place": "scatter",
            "extra": ("-l software=glidein", "-m a", "-M ops@example.org"),
            "extra_before": ("-p -100",),
        },
        {"gpus": 1},
    ),
    "torque-one": ("torque", {}, {}),
    "torque-array": ("torque", {}, {"count": 25, "log_folder": "/srv/glidepost/logs"}),
    "torque-gpu": ("torque", {"queue": "gpu"}, {"gpus": 2}),
    "torque-pmem-and-property": (
        "torque",
        {"memory_limits": ("pmem", "vmem"), "node_property": "std"},
        {"cpus": 3, "memory_mib": 1000},
    ),
    "torque-every-option": (
        "torque",
        {
            "queue": "long",
            "account": "physics",
            "memory_limits": ("mem", "pmem", "vmem", "pvmem"),
            "node_property": "ib",
            "gpus": ":gpus={gpus}:exclusive_process",
            "qos": "open",
            "disk_resource": "file",
            "exclusive": True,
            "extra": ("-m a", "-M ops@example.org", "-W x=PARTITION:north"),
            "extra_before": ("-p -100",),
        },
        {"gpus": 1},
    ),
}
