"""The contract (tests/support/contract.py) over a real Grid Engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from contract import Contract
from sites_gridengine import RealGridEngine

from glidepost.infra.demo.testbed import GridEngine


class TestGridEngine(Contract):
    """Every case."""

    @pytest.fixture
    def site(self, gridengine: GridEngine) -> Iterator[RealGridEngine]:
        site = RealGridEngine(gridengine)
        yield site
        site.clean()

    @pytest.fixture
    def log_folder(self, account_folder: Path, gridengine: GridEngine, request: pytest.FixtureRequest) -> Path:
        return gridengine.account.make_folder(account_folder / f"100% logs {request.node.name[-2]}: a")
