"""The contract (tests/support/contract.py) over a real Slurm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from contract import Contract
from sites_slurm import RealSlurm

from glidepost.infra.demo.testbed import Slurm


class TestSlurm(Contract):
    """Every case."""

    @pytest.fixture
    def site(self, slurm: Slurm) -> Iterator[RealSlurm]:
        site = RealSlurm(slurm)
        yield site
        site.clean()

    @pytest.fixture
    def log_folder(self, account_folder: Path, slurm: Slurm) -> Path:
        return slurm.account.make_folder(account_folder / "100% logs")
