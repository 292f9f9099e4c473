"""What a real sbatch wrote to standard error, and what it means for the next submission."""

from __future__ import annotations

import pytest

from glidepost.backends.base import Refusal
from glidepost.backends.slurm import SlurmBackend

FAILED = "Batch job submission failed: "
POLICY = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"


def policy(*reasons: str) -> str:
    return "".join(f"sbatch: error: {line}\n" for line in (*reasons, FAILED + POLICY))


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("bad-partition", f"invalid partition specified: nosuch; {FAILED}Invalid partition name specified"),
        ("too-many-cpus", f"{FAILED}More processors requested than permitted"),
        (
            "too-much-memory",
            f"Memory specification can not be satisfied; {FAILED}Requested node configuration is not available",
        ),
        ("too-many-gpus", f"{FAILED}Requested node configuration is not available"),
        ("too-long", f"{FAILED}Requested time limit is invalid (missing or exceeds some limit)"),
        ("bad-gres", "Invalid generic resource (gres) specification"),
        ("bad-constraint", f"{FAILED}Invalid feature specification"),
        ("bad-reservation", f"{FAILED}Requested reservation is invalid"),
        ("bad-option", "unrecognized option '--no-such-option'"),
        ("bad-time", "Invalid --time specification"),
        ("array-too-big", f"{FAILED}Invalid job array specification"),
        ("drained-partition", f"{FAILED}Required partition not available (inactive or drain)"),
        ("account-partition", f"{FAILED}Invalid account or account/partition combination specified"),
    ],
)
def test_what_a_person_must_change_is_permanent_and_said_in_one_line(recorded, case, text):
    stderr = recorded(f"slurm-22.05.8-sbatch-{case}.stderr.txt")
    assert SlurmBackend({}).refusal(1, stderr) == Refusal(text, is_limit=False, is_size=case == "array-too-big")


def test_a_cluster_that_is_full_is_a_limit(recorded):
    refused = SlurmBackend({}).refusal(1, recorded("slurm-22.05.8-sbatch-full.stderr.txt"))
    assert refused is not None
    assert refused.is_limit
    assert refused.text.endswith("Resource temporarily unavailable")


@pytest.mark.parametrize(
    ("reason", "is_limit"),
    [
        ("QOSMaxSubmitJobPerUserLimit", True),
        ("AssocMaxSubmitJobLimit", True),
        ("AssocGrpSubmitJobsLimit", True),
        ("QOSMaxWallDurationPerJobLimit", False),
        ("AssocMaxCpuPerJobLimit", False),
        ("QOSMaxCpuPerJobLimit", False),
        ("MaxGRESRunMinsPerUser", False),
    ],
)
def test_a_limit_of_how_many_passes_and_one_of_how_large_does_not(reason, is_limit):
    expected = Refusal(f"{reason}; {FAILED}{POLICY}", is_limit, is_size=is_limit)
    assert SlurmBackend({}).refusal(1, policy(reason)) == expected


def test_a_limit_without_its_name_is_one_of_how_many():
    refused = SlurmBackend({}).refusal(1, policy())
    assert refused is not None
    assert refused.is_limit


@pytest.mark.parametrize(
    "stderr",
    [
        "",
        "Welcome to login01!\n",
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)\n",
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n",
        "sbatch: error: Munge encode failed: Failed to access /run/munge/munge.socket.2\n",
        "sbatch: error: Please give an account\nsbatch: error: Batch job submission failed: Unspecified error\n",
        "sbatch: error: fork: Resource temporarily unavailable\n",
        "Invalid partition name specified\n",  # somebody else says so
    ],
)
def test_what_may_be_a_bad_moment_is_no_refusal(stderr):
    assert SlurmBackend({}).refusal(1, stderr) is None


def test_a_banner_does_not_hide_the_reason_and_is_not_shown():
    stderr = f"** maintenance on Monday **\n{policy('AssocMaxSubmitJobLimit')}Connection to login01 closed.\n"
    expected = Refusal(f"AssocMaxSubmitJobLimit; {FAILED}{POLICY}", is_limit=True, is_size=True)
    assert SlurmBackend({}).refusal(1, stderr) == expected
