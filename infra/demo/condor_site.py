"""A real HTCondor as a site's batch system: a pool of its own, with an execution point of two cores and two GPUs."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from glidepost.infra.demo.account import Account
from glidepost.infra.demo.condor import SCRIPTS, Condor
from glidepost.infra.demo.pool import Pool
from glidepost.infra.demo.processes import wait_until
from glidepost.schema.errors import PoolError


@dataclass(frozen=True)
class CondorSite:
    """A pool wholly in one folder, whose batch jobs run as the account. The GPUs are only said to be there.

    It has nothing to do with the pool that glideins join: another port, another trust domain.
    """

    account: Account
    condor: Condor
    folder: Path

    @property
    def pool(self) -> Pool:
        """Central manager and access point; its `env`, `run`, `user_jobs` and `slots` are those of the site."""
        return Pool(self.account, self.condor, self.folder, trust_domain="site.test")

    def start(self) -> None:
        """Starts the daemons and returns when schedd and slots are in the collector; running ones are left as they are.

        Raises:
            PoolError: They did not come up.
        """
        self.account.make_folder(self.folder)
        settings = self.account.make_folder(self.folder / "config.d") / "execution-point"
        shutil.copyfile(SCRIPTS / "condor_site.conf", settings)
        settings.chmod(0o644)
        self.pool.start()
        if not wait_until(lambda: bool(self.pool.slots()), 60, step_s=0.2):
            raise PoolError(f"{self.folder} has no slot", hint=f"look at {self.folder / 'log' / 'StartLog'}")

    def stop(self) -> None:
        """Ends the daemons and the batch jobs, whoever started them; nothing to end is no error.

        Raises:
            PoolError: Something is left.
        """
        self.pool.stop()
