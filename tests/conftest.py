"""What all tests share: a fixed time, keys, documents that are small and right; and the table of the contract suite."""

from __future__ import annotations

import os
import signal
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from coverage_table import Coverage
from failures import note_failure

from glidepost.schema.demand import Demand, GlideinRelease, Group, ScheddView, Tarball
from glidepost.schema.keys import SigningKey
from glidepost.schema.resources import Request

COVERAGE = Coverage()
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)


def pytest_configure() -> None:
    """Hears INT and QUIT, which a shell keeps from what it starts beside itself: what tests start would be deaf too."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Notes what a case of the contract suite found, and what failed."""
    COVERAGE.note(report)
    note_failure(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Notes a file of tests that could not be read."""
    note_failure(report)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints batch system x case, or leaves it to who started several runs."""
    folder = os.environ.get("GLIDEPOST_TEST_RUN")
    if folder:
        COVERAGE.save(Path(folder))
    else:
        terminalreporter.write(COVERAGE.table())


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def pool_key() -> SigningKey:
    return SigningKey(bytes(range(32)))


@pytest.fixture
def site_key() -> SigningKey:
    return SigningKey(bytes(range(32, 64)))


@pytest.fixture
def make_group():
    """Makes a group of idle user jobs: make_group(10, cpus=1, north=5) has ten, five of them assigned to site north."""

    def make(idle_jobs: int = 10, *, name: str = "g00000001", max_runtime_s=None, sites=None, **request) -> Group:
        wanted = {"cpus": 1, "memory_mib": 1000, "disk_mib": 100, **request}
        return Group(
            id=name,
            idle_jobs=idle_jobs,
            idle_since=NOW - timedelta(hours=1),
            owner_count=1,
            request=Request(**wanted),
            max_runtime_s=max_runtime_s,
            sites={"north": idle_jobs} if sites is None else sites,
        )

    return make


@pytest.fixture
def make_demand():
    """Makes a demand document of pool "demo", generated now."""

    def make(*groups: Group, **changes) -> Demand:
        values = {
            "pool": "demo",
            "sequence": 7,
            "generated_at": NOW,
            "expires_at": NOW + timedelta(minutes=30),
            "collectors": ("cm.example.org:9618",),
            "complete": True,
            "schedds": (ScheddView("ap1", sum(group.idle_jobs for group in groups)),),
            "groups": groups,
            "glidein": GlideinRelease(
                "stable", (Tarball("any", "x86_64", "25.14.1", "https://x.example.org/t.tar.gz", "ab" * 32, 9),)
            ),
        }
        return Demand(**{**values, **changes})

    return make
