"""LSF: what lsf.sh printed, and what it means."""

from __future__ import annotations

from cases import Case

from glidepost.backends.base import BatchJob, Command, JobState
from glidepost.schema.resources import Resources

IDLE, RUNNING, HELD, UNKNOWN = JobState.IDLE, JobState.RUNNING, JobState.HELD, JobState.UNKNOWN
WAITS = "New job is waiting for scheduling"


def granted(command: Command) -> Resources:
    """Returns what bsub is asked for; memory before it has the units of the cluster."""
    _sh, _c, _program, _name, _verb, limit_kib, reserved_kib, *words = command.argv
    values = dict(zip(words, words[1:]))
    assert (limit_kib, values["-M"]) == (reserved_kib, "@limit@")
    assert "rusage[mem=@reserved@]" in values["-R"]
    assert "span[hosts=1]" in values["-R"]
    return Resources(
        cpus=int(values["-n"]),
        memory_mib=int(limit_kib) // 1024,
        disk_mib=0,
        walltime_s=int(values["-W"]) * 60,
        gpus=int(values.get("-gpu", "num=0").removeprefix("num=")),
    )


def answer(batch_id: str, state: str, name: str) -> str:
    """Returns a whole answer with one batch job."""
    number, _, index = batch_id.rstrip("]").partition("[")
    host = "   -    " if state in {"PEND", "PSUSP"} else "node01"
    name = f"{name}[{index}]" if index else name
    return (
        "JOBID   USER    STAT  QUEUE      FROM_HOST   EXEC_HOST   JOB_NAME   SUBMIT_TIME\n"
        f"{number:<7} {'user1':<7} {state:<5} {'normal':<10} {'login01':<11} {host:<11} {name:<10} Nov 22 15:07\n"
        "-- bjobs -w ended --\n-- bjobs -p ended --\n"
    )


CASE = Case(
    options={},
    submitted={"openlava-2.2-bsub-array.txt": "2", "lsf-10.1-bsub-single.txt": "4711"},
    listing="openlava-2.2-bjobs-mixed.txt",
    jobs=[
        BatchJob("2[1]", "gp-1a2b3c", RUNNING),
        BatchJob("2[2]", "gp-1a2b3c", RUNNING),
        BatchJob("1", "sleep 600", RUNNING),
        BatchJob("7", "gp-4d5e6f", UNKNOWN),
        BatchJob(
            "2[3]",
            "gp-1a2b3c",
            IDLE,
            "Job's resource requirements not satisfied: 1 host; Job slot limit reached: 1 host",
        ),
        BatchJob("2[4]", "gp-1a2b3c", IDLE, WAITS),
        BatchJob("2[5]", "gp-1a2b3c", HELD),
        BatchJob("3", "./run me[7] now", IDLE, WAITS),
        BatchJob("5", "gp-5e6f7a", HELD),
    ],
    ours="gp-1a2b3c",
    line=answer,
    ids=["12[1]", "12[40]"],
    granted=granted,
    empty="No unfinished job found\n-- bjobs -w ended --\n-- bjobs -p ended --\n",
    has_odd_names=False,  # blanks at the ends of a name are not to be told from those that fill the column
)

_LOGS = "/srv/glidepost/logs"
GOLDEN = {
    "lsf-one": ("lsf", {}, {}),
    "lsf-array": ("lsf", {}, {"count": 25, "log_folder": _LOGS}),
    "lsf-one-with-log": ("lsf", {"memory_unit": "MB"}, {"log_folder": _LOGS}),
    "lsf-odd-sizes": ("lsf", {"memory_unit": "GB"}, {"memory_mib": 1537, "walltime_s": 61}),
    "lsf-per-slot": ("lsf", {"memory_unit": "KB", "memory_per": "slot"}, {"cpus": 3, "memory_mib": 1000}),
    "lsf-openlava-gpus": (
        "lsf",
        {"gpu_resource": "ngpus_excl_p", "disk_resource": "tmp"},
        {"gpus": 2, "disk_mib": 20480},
    ),
    "lsf-gpus": ("lsf", {"queue": "gpu", "gpus": "num={gpus}:mode=exclusive_process"}, {"gpus": 2}),
    "lsf-reference-host": (
        "lsf",
        {"memory_unit": "KB", "memory_limits": ("limit",), "reference_host": "j0001", "gpus": ""},
        {"count": 3, "walltime_s": 64800, "gpus": 2},
    ),
    "lsf-every-option": (
        "lsf",
        {
            "queue": "gpu",
            "project": "phys3b",
            "group": "icecube",
            "application": "glidein",
            "select": "pascal",
            "exclusive": True,
            "memory_unit": "MB",
            "memory_per": "job",
            "memory_limits": ("rusage", "limit"),
            "reference_host": "c0001",
            "disk_resource": "tmp",
            "gpu_resource": "ngpus_excl_p",
            "gpus": "num={gpus}",
            "extra_before": ("-sp 50", "-R order[ut]"),
            "extra": ("-a gpu", "-R select[hname!='bad1'] rusage[lic=1]", "-W 100"),
        },
        {"gpus": 1},
    ),
}
