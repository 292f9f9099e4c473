"""Real daemons, started once for all tests of this folder, each run in a folder of its own.

A part that cannot be started is a failure, with its reason, here as in CI. Who has no use for them sets
GLIDEPOST_SKIP_REAL=1, which CI does not listen to.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from glideins import Built, Site, build, open_site

from glidepost.infra.demo.testbed import (
    Account,
    Condor,
    CondorSite,
    GridEngine,
    MiniStack,
    Pool,
    Slurm,
    Store,
    end_daemons,
    get_condor,
    get_gridengine,
    get_ministack,
    get_slurm,
    make_passable,
    workfolder,
)

HERE = Path(__file__).parent
Daemons = TypeVar("Daemons", Pool, Store, MiniStack, Slurm, CondorSite, GridEngine)
IS_SKIPPED = os.environ.get("GLIDEPOST_SKIP_REAL") == "1" and "CI" not in os.environ


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.real)
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(900))  # the first one of a run may fetch and start what it needs
            if IS_SKIPPED:
                item.add_marker(pytest.mark.skip(reason="GLIDEPOST_SKIP_REAL=1"))


@pytest.fixture(scope="session")
def account() -> Account:
    """Who daemons, glideins and user jobs run as."""
    return Account.current()


@pytest.fixture(scope="session")
def work(account: Account) -> Path:
    """The work folder, with its caches."""
    return workfolder(account)


@pytest.fixture(scope="session")
def session_folder(work: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder of this test run; what earlier runs left, being killed, is ended and removed."""
    tests = make_passable(work / "tests")
    for leftover in tests.iterdir():
        with (leftover / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # another run, at this moment
                continue
            for folder in leftover.iterdir():
                end_daemons(folder)
            shutil.rmtree(leftover)
    folder = make_passable(tests / str(os.getpid()))
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
        if not request.session.testsfailed:  # else its logs are worth reading
            shutil.rmtree(folder)


@pytest.fixture
def account_folder(account: Account, session_folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty folder that the account owns, as pytest's own are not to be entered by others than the caller."""
    name = request.node.name[:20].translate({ord(c): "-" for c in "[]/ "})
    folder = account.make_folder(session_folder / f"{name}-{zlib.crc32(request.node.nodeid.encode()):08x}")
    yield folder
    end_daemons(folder)


@pytest.fixture(scope="session")
def condor(work: Path) -> Condor:
    """The installed HTCondor, or the unpacked one."""
    return get_condor(work)


def running(daemons: Daemons) -> Iterator[Daemons]:
    """Yields them while they run."""
    try:
        daemons.start()
        yield daemons
    finally:
        daemons.stop()


@pytest.fixture(scope="session")
def pool(account: Account, condor: Condor, session_folder: Path) -> Iterator[Pool]:
    """A pool without execution point."""
    yield from running(Pool(account, condor, session_folder / "pool"))


@pytest.fixture(scope="session")
def built(condor: Condor, session_folder: Path) -> Built:
    """A tarball of the real HTCondor."""
    return build(condor, session_folder / "glidein.tar.gz")


@pytest.fixture
def site(pool: Pool, built: Built, account_folder: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    """A worker node of the pool."""
    with open_site(pool, built, account_folder, request.node.name) as site:
        yield site


@pytest.fixture(scope="session")
def store(account: Account, session_folder: Path) -> Iterator[Store]:
    """An S3 server with the bucket and its policy."""
    yield from running(Store(account, session_folder / "store"))


@pytest.fixture(scope="session")
def ministack(account: Account, work: Path, session_folder: Path) -> Iterator[MiniStack]:
    """Another S3 server, made by others, with the same bucket, policy and users."""
    yield from running(MiniStack(account, get_ministack(work), session_folder / "ministack"))


@pytest.fixture(scope="session")
def slurm(account: Account, work: Path, session_folder: Path) -> Iterator[Slurm]:
    """A Slurm of two nodes."""
    yield from running(Slurm(account, get_slurm(work), session_folder / "slurm"))


@pytest.fixture(scope="session")
def condor_site(account: Account, condor: Condor, session_folder: Path) -> Iterator[CondorSite]:
    """An HTCondor with two cores, as a site's batch system."""
    yield from running(CondorSite(account, condor, session_folder / "condor-site"))


@pytest.fixture(scope="session")
def gridengine(account: Account, work: Path, session_folder: Path) -> Iterator[GridEngine]:
    """A Grid Engine of eight slots."""
    yield from running(GridEngine(account, get_gridengine(work), session_folder / "gridengine"))
