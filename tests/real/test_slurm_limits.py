"""What `glidepost puller check` asks of Slurm, asked of a real one."""

from __future__ import annotations

import subprocess

import pytest

from glidepost.backends.base import Command, GlideinRequest
from glidepost.backends.slurm import SlurmBackend
from glidepost.infra.demo.testbed import Slurm
from glidepost.schema.resources import Resources


@pytest.fixture
def ask(slurm: Slurm):
    def run(command: Command) -> subprocess.CompletedProcess[str]:
        return slurm.account.run(command.argv, env=slurm.env(), stdin=command.stdin)

    return run


def request(walltime_s: int = 600, count: int = 1) -> GlideinRequest:
    return GlideinRequest("gp-00000-check", Resources(1, 100, 0, walltime_s), count, "#!/bin/sh\nexit 0\n")


@pytest.mark.parametrize(
    ("partition", "is_open", "walltime_s"), [("main", True, 3600), ("gpu", True, 1800), ("closed", False, 3600)]
)
def test_limits_are_those_of_the_partition(ask, partition, is_open, walltime_s):
    backend = SlurmBackend({"partition": partition})
    command = backend.limits()
    assert command is not None
    for limits in backend.parse_limits(ask(command).stdout):
        assert (limits.queue, limits.is_open, limits.walltime_s) == (partition, is_open, walltime_s)
        assert (limits.cpus, limits.memory_mib, limits.array_size) == (4, 8000, 1001)


@pytest.mark.parametrize(
    ("options", "asked", "is_taken"),
    [
        ({}, request(), True),
        ({}, request(count=10), True),
        ({}, request(count=1002), False),
        ({}, request(walltime_s=7200), False),
        ({"partition": "nosuch"}, request(), False),
    ],
)
def test_a_trial_says_what_the_submission_would_and_submits_nothing(ask, options, asked, is_taken):
    backend = SlurmBackend(options)
    command = backend.trial(asked)
    assert command is not None
    assert (ask(command).returncode == 0) == is_taken
    names = {job.name for job in backend.parse_query(ask(backend.query()).stdout)}
    assert asked.name not in names
