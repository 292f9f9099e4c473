"""Submitting and listing 1, 100 and 1,000 glideins on a real Slurm and a real Grid Engine: ours, one command for all;
pyglidein's way, one submission for each glidein, and a pipe for those that run and one for those that wait.

Wall time; listing the best of three. What the batch system does meanwhile is in both.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sites import Site
from sites_gridengine import RealGridEngine
from sites_slurm import RealSlurm

from glidepost.backends.base import Command
from glidepost.infra.demo.testbed import (
    Account,
    GridEngine,
    Slurm,
    end_daemons,
    get_gridengine,
    get_slurm,
    workfolder,
)

SIZES = (1, 100, 1_000)
PIPES = {
    "slurm": "squeue -u $(id -un) -t {state} -h -r -o '%i %j' | grep gp-many | wc -l",
    "gridengine": "qstat -u $(id -un) -s {state} -g d | grep gp-many | wc -l",
}
STATES = {"slurm": ("RUNNING", "PENDING"), "gridengine": ("r", "p")}


@pytest.fixture
def folder() -> Iterator[Path]:
    account = Account.current()
    folder = account.make_folder(workfolder(account) / "bench-backends")
    end_daemons(folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=["slurm", "gridengine"])
def site(request: pytest.FixtureRequest, folder: Path) -> Iterator[Site]:
    account = Account.current()
    work = workfolder(account)
    if request.param == "slurm":
        cluster = Slurm(account, get_slurm(work), folder / "slurm")
    else:
        cluster = GridEngine(account, get_gridengine(work), folder / "gridengine")
    try:
        cluster.start()
        yield (RealSlurm if request.param == "slurm" else RealGridEngine)(cluster)
    finally:
        cluster.stop()


def spent(function) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def ours(site: Site, count: int) -> tuple[float, float]:
    """Returns seconds to submit so many, and to list them."""
    submitting = spent(lambda: site.submit(site.request("gp-many", count)))
    assert site.wait(lambda: len(site.live()) == count, 60)
    return submitting, min(spent(site.live) for _ in range(3))


def theirs(site: Site, count: int) -> tuple[float, float]:
    """Returns the same, with a command for each glidein."""

    def submit() -> None:
        for _ in range(count):
            site.submit(site.request("gp-many"))

    def pipes() -> int:
        lines = (PIPES[site.backend_name].format(state=state) for state in STATES[site.backend_name])
        return sum(int(site.run(Command(("sh", "-c", line))).stdout) for line in lines)

    submitting = spent(submit)
    assert site.wait(lambda: pipes() == count, 60)
    return submitting, min(spent(pipes) for _ in range(3))


@pytest.mark.timeout(1200)
def test_one_command_against_one_for_each_glidein(site: Site, write) -> None:
    write(f"\n{site.label}: seconds")
    write(
        f"  {'glideins':>8}  {'submit: ours':>12}  {'one by one':>10}  {'ratio':>6}"
        f"  {'list: ours':>10}  {'pipes':>6}  ratio"
    )
    for count in SIZES:
        submit, listing = ours(site, count)
        site.clean()
        submit_each, pipes = theirs(site, count)
        site.clean()
        write(
            f"  {count:>8,}  {submit:12.2f}  {submit_each:10.2f}  {submit_each / submit:6.1f}"
            f"  {listing:10.2f}  {pipes:6.2f}  {pipes / listing:5.1f}"
        )
