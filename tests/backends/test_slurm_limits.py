"""What `glidepost puller check` asks of Slurm."""

from __future__ import annotations

import pytest

from glidepost.backends.base import GlideinRequest, QueueLimits
from glidepost.backends.slurm import SlurmBackend
from glidepost.schema.resources import Resources

REQUEST = GlideinRequest("gp-1", Resources(1, 1000, 1000, 3600), 3, "#!/bin/sh\n")


@pytest.fixture
def answer(recorded) -> str:
    return recorded("slurm-22.05.8-limits.txt")


def test_without_a_partition_the_default_one_counts(answer):
    assert SlurmBackend({}).parse_limits(answer) == (
        QueueLimits("main", is_open=True, walltime_s=3600, cpus=4, memory_mib=8000, array_size=1001),
    )


def test_days_and_no_limit_are_read(answer):
    assert SlurmBackend({"partition": "gpu"}).parse_limits(answer)[0].walltime_s == 51 * 3600
    closed = SlurmBackend({"partition": "closed"}).parse_limits(answer)[0]
    assert (closed.is_open, closed.walltime_s) == (False, None)


def test_several_partitions_count_each(answer):
    assert [item.queue for item in SlurmBackend({"partition": "main,gpu"}).parse_limits(answer)] == ["main", "gpu"]


def test_a_partition_that_is_not_there_has_no_limits(answer):
    assert SlurmBackend({"partition": "nosuch"}).parse_limits(answer) == ()


@pytest.mark.parametrize("answer", ["", "<html>503</html>\n", "main*@up@1:00:00@4@80"])
def test_an_answer_without_any_partition_is_no_answer(answer):
    with pytest.raises(ValueError, match="no partition"):
        SlurmBackend({}).parse_limits(answer)


def test_a_trial_is_the_submission_and_submits_nothing():
    backend = SlurmBackend({"partition": "gpu", "account": "phys", "extra": ("--nice=100",)})
    trial, real = backend.trial(REQUEST), backend.submission(REQUEST)
    assert trial is not None
    assert trial.argv == (real.argv[0], "--test-only", *real.argv[1:])
    assert trial.stdin == real.stdin
