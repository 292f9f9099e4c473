"""No batch system: what local.sh printed, and what it means."""

from __future__ import annotations

from cases import Case

from glidepost.backends.base import BatchJob, JobState

RUNNING, UNKNOWN = JobState.RUNNING, JobState.UNKNOWN

CASE = Case(
    options={"folder": "/var/lib/glidepost/local"},
    submitted={"local-0.1.0-submit.txt": "1795338781-13715"},
    listing="local-0.1.0-query.txt",
    jobs=[
        BatchJob("1795338781-13715.0", "gp-1a2b3c", RUNNING),
        BatchJob("1795338781-13715.1", "gp-1a2b3c", RUNNING),
        BatchJob("1795338781-13715.10", "gp-1a2b3c", UNKNOWN),
        BatchJob("1795338790-14001.0", "gp-4d5e6f", RUNNING),
    ],
    ours="gp-1a2b3c",
    line=lambda batch_id, state, name: f"{batch_id}|{state}|{name}|\n",
    ids=["1795338781-13715.0", "1795338781-13715.10"],
)

GOLDEN = {
    "local-one": ("local", CASE.options, {}),
    "local-three-with-logs": ("local", CASE.options, {"count": 3, "log_folder": "/srv/glidepost/logs"}),
}
