"""Grid Engine: what qsub and qstat printed, and what it means."""

from __future__ import annotations

import html

from cases import Case

from glidepost.backends.base import BatchJob, Command, JobState
from glidepost.schema.resources import Resources

IDLE, RUNNING, HELD, GONE = JobState.IDLE, JobState.RUNNING, JobState.HELD, JobState.GONE
ERROR = "error state: qstat -j 1 says why"


def _grant(command: Command) -> Resources:
    words = dict(zip(command.argv, command.argv[1:]))
    asked = dict(item.split("=", 1) for item in words["-l"].split(","))
    cpus = int(command.argv[command.argv.index("-pe") + 2]) if "-pe" in words else 1
    assert asked["m_mem_free"].endswith("M")
    return Resources(
        cpus=cpus,
        memory_mib=int(asked["m_mem_free"][:-1]) * cpus,
        disk_mib=0,
        walltime_s=int(asked["h_rt"]),
        gpus=int(asked.get("gpu", 0)),
    )


def _line(batch_id: str, state: str, name: str) -> str:
    number, _, task = batch_id.partition(".")
    tasks = f"<tasks>{task}</tasks>" if task else ""
    return (
        f"<?xml version='1.0'?>\n<job_info><queue_info><job_list><JB_job_number>{number}</JB_job_number>"
        f"<JB_name>{html.escape(name)}</JB_name><state>{state}</state>{tasks}</job_list></queue_info></job_info>\n"
    )


CASE = Case(
    options={"memory_resource": "m_mem_free"},
    submitted={"gridengine-8.1.9-qsub-array.txt": "3", "gridengine-8.1.9-qsub-single.txt": "2"},
    listing="gridengine-8.1.9-qstat-mixed.txt",
    jobs=[
        BatchJob("2", "gp-4d5e6f", RUNNING),
        BatchJob("3.1", "gp-1a2b3c", GONE),  # with -notify, it has some seconds to live
        *(BatchJob(f"3.{index}", "gp-1a2b3c", RUNNING) for index in (2, 3, 4)),
        BatchJob("1.1", "gp-eeeeee", HELD, ERROR),
        BatchJob("1.2", "gp-eeeeee", HELD, ERROR),
        BatchJob("3.6", "gp-1a2b3c", IDLE),
        BatchJob("3.5", "gp-1a2b3c", HELD, "held"),
        BatchJob("5.1", "gp-one", IDLE),
        BatchJob("4", "a&b<c>\"d'", HELD, "held"),
    ],
    ours="gp-1a2b3c",
    line=_line,
    ids=["53.4", "54"],
    granted=_grant,
)

# Name of the file in golden/: backend, options, and what differs from one glidein of 2 cores, 4 GiB, 24 h.
GOLDEN = {
    "gridengine-one": ("gridengine", {}, {"cpus": 1}),
    "gridengine-array": ("gridengine", {}, {"count": 25, "log_folder": "/srv/glidepost/logs"}),
    "gridengine-one-with-log": ("gridengine", {}, {"log_folder": "/srv/a:b/logs"}),
    "gridengine-memory-of-a-slot": (
        "gridengine",
        {"memory_resource": "mem_free,h_vmem", "disk_resource": "tmpfree", "parallel_environment": "multicore"},
        {"cpus": 3, "memory_mib": 4097},
    ),
    "gridengine-memory-of-a-job": (
        "gridengine",
        {"memory_resource": "m_mem_free", "memory_per": "job", "disk_resource": "tmpfree"},
        {"cpus": 3},
    ),
    "gridengine-every-option": (
        "gridengine",
        {
            "queue": "gpu.q,long.q@@gpus",
            "project": "physics",
            "account": "glidein",
            "parallel_environment": "smp",
            "memory_resource": "h_rss",
            "memory_per": "slot",
            "disk_resource": "tmpdir_size",
            "gpus": "gpu={gpus},gpu_type=a100",
            "exclusive_resource": "exclusive",
            "walltime_resource": "runtime",
            "extra": ("-l os=sl7", "-w n"),
            "extra_before": ("-clear", "-p -10"),
        },
        {"gpus": 2},
    ),
}
