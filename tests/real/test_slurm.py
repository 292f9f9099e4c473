"""What only Slurm has, against a real one: the rest is in test_contract_slurm.py."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from glidepost.backends.base import BatchJob, Command, GlideinRequest, JobState
from glidepost.backends.registry import create
from glidepost.infra.demo.testbed import Slurm, wait_until
from glidepost.schema.resources import Resources

SLEEP = "#!/bin/sh\nexec sleep 600\n"


class Site:
    """A real Slurm, asked through its backend as the site puller does it."""

    def __init__(self, slurm: Slurm) -> None:
        self.slurm = slurm

    def backend(self, **options):
        return create("slurm", options)

    def run(self, command: Command, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.slurm.account.run(command.argv, env={**self.slurm.env(), **environment}, stdin=command.stdin)

    def submit(self, name: str, count: int = 1, script: str = SLEEP, logs: str = "", cpus: int = 1, **options) -> str:
        request = GlideinRequest(name, Resources(cpus, 100, 0, 1800, options.pop("gpus", 0)), count, script, logs)
        backend = self.backend(**options)
        done = self.run(backend.submission(request))
        assert done.returncode == 0, done.stderr
        return backend.parse_submission(done.stdout)

    def jobs(self) -> list[BatchJob]:
        done = self.run(self.backend().query())
        assert done.returncode == 0, done.stderr
        return list(self.backend().parse_query(done.stdout))

    def states(self) -> Counter[JobState]:
        return Counter(job.state for job in self.jobs())

    def remove(self, batch_ids: list[str]) -> int:
        return self.run(self.backend().removal(batch_ids)).returncode


@pytest.fixture
def site(slurm: Slurm) -> Iterator[Site]:
    site = Site(slurm)
    yield site
    slurm.run(["scancel", f"--user={slurm.account.name}"])
    assert wait_until(lambda: site.jobs() == [], 60)


def test_a_removal_of_what_is_gone_by_now_still_takes_the_others(site):
    batch_id = site.submit("gp-abc", partition="closed")
    assert site.remove(["999999", batch_id]) == 1
    assert site.jobs() == []


def test_held_ones_are_held_and_can_be_removed(site):
    batch_id = site.submit("gp-abc", 3, partition="closed")
    site.slurm.run(["scontrol", "hold", f"{batch_id}_1"])
    jobs = {job.batch_id: job for job in site.jobs()}
    assert jobs[f"{batch_id}_1"].state is JobState.HELD
    assert jobs[f"{batch_id}_2"].state is JobState.IDLE
    assert site.remove([f"{batch_id}_1"]) == 0
    assert len(site.jobs()) == 2


def test_other_batch_jobs_of_the_account_may_have_any_name(site):
    names = ["", "a|b @c %i'\"\\", "several\nlines\n\n", "naïve 日本", "12@R@None@gp-1@x"]
    for name in names:
        site.slurm.run(["sbatch", "--hold", f"--job-name={name}", "--output=/dev/null"], stdin=SLEEP)
    site.submit("gp-abc")
    assert sorted(job.name for job in site.jobs()) == sorted([*names, "gp-abc"])


def test_ones_in_a_hidden_partition_are_listed(site):
    site.slurm.run(["scontrol", "update", "PartitionName=gpu", "Hidden=YES"])
    try:
        site.submit("gp-abc", partition="gpu", gpus=1)
        assert [job.name for job in site.jobs()] == ["gp-abc"]
    finally:
        site.slurm.run(["scontrol", "update", "PartitionName=gpu", "Hidden=NO"])


def test_variables_of_the_caller_do_not_change_a_submission(site):
    command = site.backend().submission(GlideinRequest("gp-abc", Resources(1, 100, 0, 600), 2, SLEEP))
    foreign = {"SBATCH_JOB_NAME": "x", "SBATCH_ARRAY_INX": "0-5", "SBATCH_PARTITION": "main", "SBATCH_TIMELIMIT": "1"}
    done = site.run(command, **foreign)
    assert done.returncode == 0
    assert [job.name for job in site.jobs()] == ["gp-abc"] * 2
    batch_id = done.stdout.strip()
    assert "TimeLimit=00:10:00" in site.slurm.run(["scontrol", "show", "job", f"{batch_id}_0"])


def test_an_extra_option_without_its_value_cannot_hide_whose_glidein_it_is(site):
    backend = site.backend(extra=("--comment",))
    done = site.run(backend.submission(GlideinRequest("gp-abc", Resources(1, 100, 0, 600), 1, SLEEP)))
    with pytest.raises(ValueError, match="Submitted batch job"):
        backend.parse_submission(done.stdout)
    assert [job.name for job in site.jobs()] == ["gp-abc"]


@pytest.mark.parametrize(
    ("options", "resources", "words"),
    [
        ({"partition": "nosuch"}, {}, "Invalid partition name specified"),
        ({}, {"cpus": 640}, "More processors requested than permitted"),
        ({}, {"memory_mib": 1 << 30}, "Requested node configuration is not available"),
        ({}, {"walltime_s": 86400}, "Requested time limit is invalid"),
        ({"gres": "gpu:h100:{gpus}"}, {"gpus": 1}, "Requested node configuration is not available"),
        ({"extra": ("--no-such-option",)}, {}, "unrecognized option"),
        ({"constraint": "nosuch"}, {}, "Invalid feature specification"),
        ({"reservation": "nosuch"}, {}, "Requested reservation is invalid"),
    ],
)
def test_a_refusal_is_an_exit_code_and_a_reason(site, options, resources, words):
    asked = Resources(**{"cpus": 1, "memory_mib": 100, "disk_mib": 0, "walltime_s": 600, **resources})
    backend = site.backend(**options)
    done = site.run(backend.submission(GlideinRequest("gp-abc", asked, 1, SLEEP)))
    assert done.returncode != 0
    assert words in done.stderr
    assert words in backend.refusal(1, done.stderr).text
    assert not backend.refusal(1, done.stderr).is_limit
    assert site.jobs() == []


def test_a_partition_that_takes_no_more_refuses_for_good(site):
    site.slurm.run(["scontrol", "update", "PartitionName=gpu", "State=DRAIN"])
    try:
        backend = site.backend(partition="gpu")
        done = site.run(backend.submission(GlideinRequest("gp-abc", Resources(1, 100, 0, 600), 1, SLEEP)))
        refused = backend.refusal(1, done.stderr)
    finally:
        site.slurm.run(["scontrol", "update", "PartitionName=gpu", "State=UP"])
    assert "Required partition not available" in refused.text
    assert not refused.is_limit


@pytest.mark.parametrize("count", [1, 2])
def test_a_glidein_gets_what_the_shape_says_and_logs_where_it_should(site, account_folder, count):
    script = (
        "#!/bin/sh\necho gpus=$SLURM_GPUS_ON_NODE cpus=$SLURM_CPUS_ON_NODE memory=$SLURM_MEM_PER_NODE in=$PWD\nenv\n"
    )
    logs = account_folder / f"100% logs of {count}"
    site.slurm.account.make_folder(logs)
    backend = site.backend(partition="gpu")
    request = GlideinRequest("gp-abc", Resources(2, 300, 0, 600, 1), count, script, str(logs))
    done = site.run(backend.submission(request), SECRET_OF_THE_PULLER="hunter2")
    batch_id = backend.parse_submission(done.stdout)
    assert wait_until(lambda: site.jobs() == [], 60)
    names = [f"gp-abc-{batch_id}.out"] if count == 1 else [f"gp-abc-{batch_id}_{index}.out" for index in range(count)]
    assert sorted(path.name for path in Path(logs).iterdir()) == names
    text = (logs / names[0]).read_text()
    assert text.startswith("gpus=1 cpus=2 memory=300 in=/\n")
    assert "hunter2" not in text
