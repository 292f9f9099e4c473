"""Every key that pyglidein's client read or documented, and what is said of it where nothing else is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .model import Verdict

Saying = tuple[Verdict, str]

_NO_EFFECT: Final = (Verdict.OBSOLETE, "it had no effect here")
_NEVER_READ: Final = "pyglidein never read it"
_OVERLAID: Final = (Verdict.OBSOLETE, "each partition sets its own, or it had no effect here")

_CLUSTER: Final = (
    "scheduler submit_command running_cmd idle_cmd limit_per_submit max_total_jobs max_idle_jobs walltime_hrs"
    " group_jobs partitions partition prioritize_jobs cpu_only gpu_only max_cpus_per_job max_gpus_per_job"
    " max_memory_per_job max_disk_per_job min_cpus_per_job min_gpus_per_job min_memory_per_job min_disk_per_job"
    " whole_node whole_node_cpus whole_node_gpus whole_node_memory whole_node_disk mem_per_core pmem_only pvmem"
    " vmem_only mem_only set_gpu_req node_property user"
)

_CLEANUP: Final = (
    "pyglidein's cleanup never ran in its loop, broke on Python 3, and deleted live glideins' folders when the queue"
    " could not be asked; now each glidein removes its own scratch, and a later one what a killed one left"
)
_LEASES: Final = (Verdict.BUG, _CLEANUP)
_LOGS: Final = (
    "logs stay at the site, in logs/ of the state folder, up to log_size; before, the address that they went to held"
    " for one day, and longer glideins lost theirs"
)
_MARGIN: Final = (
    "pyglidein asked for 5 % (HTCondor: 10 %) more memory, times this; now glideins ask for what user jobs ask for, and"
    " memory_margin sets memory aside"
)

KNOWN: Final[Mapping[str, Mapping[str, Saying]]] = {
    "Mode": {
        "debug": (Verdict.OBSOLETE, "what glideins print is always kept, in logs/ of the state folder, up to log_size"),
        "dryrun": (Verdict.OBSOLETE, "`glidepost puller plan` shows what a cycle would do, on every batch system"),
    },
    "Glidein": {
        "address": (Verdict.TRANSLATED, "[pool] url: a new address, from the pool's admin; the demand there is signed"),
        "uuid": (Verdict.OBSOLETE, "[site] name and an instance number tell pullers apart"),
        "site": (Verdict.TRANSLATED, "[site] glidein_site"),
        "resourcename": (Verdict.OBSOLETE, "glideins advertise site and shape (GLIDEPOST_Site, GLIDEPOST_Shape)"),
        "cluster": (Verdict.OBSOLETE, "the pool's collectors come with the signed demand"),
        "delay": (Verdict.OBSOLETE, "cron is the loop"),
        "loc": (
            Verdict.OBSOLETE,
            "without `tarball` it had no effect; glideins fetch and check their code by themselves",
        ),
        "tarball": (Verdict.OBSOLETE, "glideins fetch their code by its hash in the signed demand"),
        "executable": (Verdict.BUG, "pyglidein read `executable` in [SubmitFile] only, so this had no effect; nor now"),
        "glidein_script": (
            Verdict.OBSOLETE,
            "Glidepost brings its own script; what the site's own did belongs into setup, or [glidein] checks",
        ),
        "ssh_state": (Verdict.TRANSLATED, "[pool] url"),
    },
    "Cluster": {
        **dict.fromkeys(_CLUSTER.split(), _OVERLAID),
        "os": (Verdict.OBSOLETE, "pyglidein never used it; written as a comment"),
        "cvmfs": (Verdict.OBSOLETE, "pyglidein never used it"),
        "mma_cmd": (Verdict.OBSOLETE, "Glidepost counts by itself"),
        "max_running_jobs": (Verdict.BUG, f"{_NEVER_READ}: the limit did not hold"),
        "max_disk": (Verdict.BUG, f"{_NEVER_READ}: max_disk_per_job was meant"),
        "groups_jobs": (Verdict.BUG, f"{_NEVER_READ}: group_jobs was meant; arrays are used wherever there are some"),
        "cleanup": _LEASES,
        "dir_cleanup": _LEASES,
    },
    "SubmitFile": {
        "filename": (Verdict.OBSOLETE, "no submit file is left behind; a batch job's name is the puller's own"),
        "local_dir": (Verdict.KEPT, "scratch"),
        "log": (Verdict.OBSOLETE, "Glidepost asks the queue and needs no log of HTCondor's"),
        "env_wrapper_name": (Verdict.OBSOLETE, "no wrapper is needed"),
        "requirements": (Verdict.BUG, f"{_NEVER_READ}; written as a comment"),
        "executable": (Verdict.OBSOLETE, "Glidepost brings its own script"),
        "custom_header": _NO_EFFECT,
        "custom_middle": _NO_EFFECT,
        "custom_end": _NO_EFFECT,
        "custom_footer": (Verdict.OBSOLETE, "pyglidein wrote it into HTCondor's submit file only"),
        "custom_body": (Verdict.BUG, f"{_NEVER_READ}, although documented"),
        "sbatch": (Verdict.BUG, _NEVER_READ),
        "gpu_submit": (Verdict.OBSOLETE, "pyglidein read it on Slurm only"),
        "mem_scale": (Verdict.OBSOLETE, "pyglidein read it on LSF only"),
        "mem_safety_scale": (Verdict.OBSOLETE, _MARGIN),
        "ref_host": (Verdict.OBSOLETE, "pyglidein read it on LSF only"),
        "cvmfs_job_wrapper": (Verdict.OBSOLETE, "user jobs find CVMFS without a wrapper"),
    },
    "StartdChecks": {
        "enable_startd_checks": (Verdict.KEPT, "checks are on; more of them: [glidein] checks"),
    },
    "StartdLogging": {
        "send_startd_logs": (Verdict.TRANSLATED, _LOGS),
        "url": (Verdict.OBSOLETE, "no log leaves the site for a bucket"),
        "bucket": (Verdict.OBSOLETE, "no log leaves the site for a bucket"),
        "access_key": (Verdict.OBSOLETE, "a secret, not copied: no site holds a key of the store; withdraw it"),
        "secret_key": (Verdict.OBSOLETE, "a secret, not copied: no site holds a key of the store; withdraw it"),
    },
    "CustomEnv": {},
    "metrics": dict.fromkeys(
        ("enable_metrics", "graphite_server", "graphite_port", "namespace"),
        (Verdict.OBSOLETE, "a key of pyglidein's server; the pool keeps the numbers"),
    ),
}

# Sections whose keys are read by their names above; any other is a partition, or nothing.
SECTIONS: Final = frozenset(KNOWN)
SUBMIT_KEYS: Final = frozenset(KNOWN["SubmitFile"])
CLUSTER_KEYS: Final = frozenset(KNOWN["Cluster"])
