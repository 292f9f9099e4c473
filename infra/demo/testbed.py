"""The testbed: everything that the demo and the tests in tests/real start, under one name.

::

    account = Account.current()        who daemons, glideins and user jobs run as: the caller, or `nobody` for root
    work = workfolder(account)         the folder of everything generated
    pool = Pool(account, get_condor(work), work / "demo" / "pool")
    store = Store(account, work / "demo" / "store")
    other = MiniStack(account, get_ministack(work), work / "demo" / "ministack")
    slurm = Slurm(account, get_slurm(work), work / "demo" / "slurm")

`Pool`, `Store`, `Slurm` and the rest are nothing but configuration. `start()` returns when the thing answers, and
leaves a running one alone. `stop()` ends whatever runs in the folder, also from another process, after a start that
failed or was interrupted, and if nothing runs: so `try: thing.start() ... finally: thing.stop()`. All listen on
127.0.0.1, at ports that were free and are remembered in the folder.
"""

from __future__ import annotations

from glidepost.infra.demo.account import CLEAN_ENVIRONMENT, Account, clone_folder, make_passable, workfolder
from glidepost.infra.demo.condor import Condor, find_condor, get_condor
from glidepost.infra.demo.condor_site import CondorSite
from glidepost.infra.demo.gridengine import GridEngine, get_gridengine
from glidepost.infra.demo.ministack import MiniStack, get_ministack
from glidepost.infra.demo.pool import ClassAd, Pool
from glidepost.infra.demo.processes import daemons_of, end_daemons, last_lines, wait_until
from glidepost.infra.demo.slurm import Slurm, get_slurm
from glidepost.infra.demo.store import PUBLIC_KEYS, REGION, Store

__all__ = [
    "CLEAN_ENVIRONMENT",
    "PUBLIC_KEYS",
    "REGION",
    "Account",
    "ClassAd",
    "Condor",
    "CondorSite",
    "GridEngine",
    "MiniStack",
    "Pool",
    "Slurm",
    "Store",
    "clone_folder",
    "daemons_of",
    "end_daemons",
    "find_condor",
    "get_condor",
    "get_gridengine",
    "get_ministack",
    "get_slurm",
    "last_lines",
    "make_passable",
    "wait_until",
    "workfolder",
]
