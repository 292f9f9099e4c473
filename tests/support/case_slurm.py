"""Slurm: what sbatch and squeue printed, and what it means."""

from __future__ import annotations

from cases import Case

from glidepost.backends.base import BatchJob, Command, JobState
from glidepost.schema.resources import Resources

IDLE, RUNNING, HELD = JobState.IDLE, JobState.RUNNING, JobState.HELD


def _slurm_grant(command: Command) -> Resources:
    values = dict(word[2:].split("=", 1) for word in command.argv if "=" in word)
    assert values["mem"].endswith("M")
    return Resources(
        cpus=int(values["cpus-per-task"]) * int(values["ntasks"]),
        memory_mib=int(values["mem"][:-1]),
        disk_mib=0,
        walltime_s=int(values["time"]) * 60,
        gpus=int(values.get("gres", "gpu:0").split(":")[1]),
    )


CASE = Case(
    options={},
    submitted={"slurm-22.05.8-sbatch-array.txt": "53", "slurm-22.05.8-sbatch-single.txt": "54"},
    listing="slurm-22.05.8-squeue-mixed.txt",
    jobs=[
        BatchJob("53_4", "gp-1a2b3c", IDLE, "Resources"),
        BatchJob("54", "gp-4d5e6f", IDLE, "Priority"),
        BatchJob("53_5", "gp-1a2b3c", HELD, "JobHeldUser"),
        BatchJob("52", "", HELD, "JobHeldUser"),
        BatchJob("51", "new\nline", HELD, "JobHeldUser"),
        BatchJob("50", "od|d @na%me é", HELD, "JobHeldUser"),
        *(BatchJob(f"53_{index}", "gp-1a2b3c", RUNNING) for index in range(4)),
    ],
    ours="gp-1a2b3c",
    line=lambda batch_id, state, name: f"{batch_id}@{state}@Reason@{name}@\n",
    ids=["53_4", "54"],
    granted=_slurm_grant,
)

# Name of the file in golden/: backend, options, and what differs from one glidein of 2 cores, 4 GiB, 24 h.
GOLDEN = {
    "slurm-one": ("slurm", {}, {}),
    "slurm-array": ("slurm", {}, {"count": 25, "log_folder": "/srv/glidepost/logs"}),
    "slurm-one-with-log": ("slurm", {}, {"log_folder": "/srv/100%/logs"}),
    "slurm-odd-sizes": ("slurm", {}, {"memory_mib": 1537, "walltime_s": 61}),
    "slurm-gpu": ("slurm", {"partition": "gpu"}, {"gpus": 2}),
    "slurm-gpu-by-type": ("slurm", {"gres": "gpu:a100:{gpus},lscratch:100"}, {"gpus": 4}),
    "slurm-whole-node": ("slurm", {"exclusive": True, "extra": ("--mem=0",)}, {"cpus": 64}),
    "slurm-every-option": (
        "slurm",
        {
            "partition": "main,long",
            "account": "physics",
            "qos": "opportunistic",
            "constraint": "avx2&ib",
            "reservation": "glidein",
            "gres": "gpu:1",
            "exclusive": False,
            "extra": ("--nice=100", "--comment=from the pool"),
        },
        {"gpus": 1},
    ),
}
