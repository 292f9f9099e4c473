"""The contract (tests/support/contract.py) over what needs no daemon: `local`, and batch systems that are played."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from contract import Contract
from sites import Site
from sites_local import LocalSite
from sites_lsf import LsfSite, OpenlavaSite
from sites_pbs import FakePbs, FakeTorque
from sites_slurm import FakeSlurm

SITES: Mapping[str, Callable[[Path], Site]] = {
    "local-dash": lambda folder: LocalSite(folder, "dash"),
    "local-bash": lambda folder: LocalSite(folder, "bash"),
    "lsf-10.1": LsfSite,
    "openlava-2.2": OpenlavaSite,
    "pbs-23.06": FakePbs,
    "slurm": FakeSlurm,
    "torque-6.1.3": FakeTorque,
}


@pytest.mark.long
class TestPlayed(Contract):
    """Every case, over each of them."""

    @pytest.fixture(params=sorted(SITES))
    def site(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
        site = SITES[request.param](tmp_path)
        yield site
        site.clean()

    @pytest.fixture
    def log_folder(self, tmp_path: Path) -> Iterator[Path]:
        folder = tmp_path / "100% logs"
        folder.mkdir()
        yield folder
        shutil.rmtree(folder)
