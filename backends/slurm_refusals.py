"""Why Slurm refuses a submission, read from what sbatch writes to standard error."""

from __future__ import annotations

import re
from typing import Final, Optional

from .base import Refusal

# What slurmctld says of a submission that a person must change: src/common/slurm_errno.c (commit 46783aa). Those with a
# star were seen with 22.05.8. Not here: "Unspecified error", which a site's job_submit plugin gives for anything, and
# "Invalid user id", which may be a directory server's bad moment.
_PERMANENT: Final = (
    "Access denied to requested reservation",
    "Access/permission denied",
    "CPU count specification invalid",
    "Invalid GRES specification (with and without type identification)",
    "Invalid Trackable RESource (TRES) specification",
    "Invalid account or account/partition combination specified",  # * a bad account, and AllowAccounts of the partition
    "Invalid feature specification",  # * --constraint
    "Invalid generic resource (gres) specification",  # *
    "Invalid job array specification",  # * more members than MaxArraySize
    "Invalid license specification",  # *
    "Invalid node name specified",  # * --nodelist
    "Invalid partition name specified",  # *
    "Invalid qos specification",  # *
    "Invalid wckey specification",
    "Memory required by task is not available",
    "Memory specification can not be satisfied",  # * said by sbatch, before the line of slurmctld
    "More processors requested than permitted",  # *
    "Multiple partition job request not supported when a partition is set in the association",
    "No partition specified or system default partition",
    "Node count specification invalid",  # * MaxNodes=0
    "Requested node configuration is not available",  # * memory, disk, gpus that no node has
    "Requested nodes not in this partition",
    "Requested operation not supported on this system",
    "Requested partition configuration not available now",  # a limit of the partition, with EnforcePartLimits
    "Requested reservation is invalid",  # *
    "Requested reservation not usable now",
    "Requested time limit is invalid (missing or exceeds some limit)",  # *
    "Required node not available (down, drained or reserved)",
    "Required partition not available (inactive or drain)",  # * a closed partition; one that is DOWN takes them
    "System submissions disabled",
    "Time limit specification required, but not provided",
    "User's group not permitted to use this partition",
)
_TOO_LONG_ARRAY: Final = "Invalid job array specification"
# What sbatch itself does not understand (exit 255): an option in `extra`, or a value.
_NOT_UNDERSTOOD: Final = re.compile(
    r"unrecognized option|invalid option --|option .* (requires an argument|is ambiguous|doesn't allow an argument)"
    r"|[Ii]nvalid --\S+ specification"
)
# The same file, for what passes by itself.
_PASSING: Final = (
    "Rate limit exceeded, please retry momentarily",
    "Requested account has breached requested QOS usage threshold",
    # * MaxJobCount of the whole cluster; sbatch has tried for two minutes by then
    "Batch job submission failed: Resource temporarily unavailable",
)
# This stands for limits of either kind. The line before it says which (squeue(1), "JOB REASON CODES"):
# QOSMaxSubmitJobPerUserLimit, AssocGrpSubmitJobsLimit and their like bound how many there may be; any other reason
# bounds what one of them may ask for (QOSMaxWallDurationPerJobLimit, AssocMaxCpuPerJobLimit).
_POLICY: Final = "Job violates accounting/QOS policy"
_POLICY_REASON: Final = re.compile(r"\b(?:QOS|Assoc|Max)[A-Z]\w*")


def refusal(stderr: str) -> Optional[Refusal]:
    """Returns sbatch's last lines, without the words that begin each of them, None when they are no known refusal."""
    said = [match[1].strip() for match in re.finditer(r"^sbatch: (?:error: |fatal: )?(.+)$", stderr, re.MULTILINE)]
    text = "; ".join(said[-2:])
    if _POLICY in text:
        reasons = [reason for line in said for reason in _POLICY_REASON.findall(line)]
        is_limit = not reasons or any("Submit" in reason for reason in reasons)
        return Refusal(text, is_limit, is_size=is_limit)
    if any(words in text for words in _PASSING):
        return Refusal(text, is_limit=True)
    if any(words in text for words in _PERMANENT) or _NOT_UNDERSTOOD.search(text):
        return Refusal(text, is_limit=False, is_size=_TOO_LONG_ARRAY in text)
    return None
