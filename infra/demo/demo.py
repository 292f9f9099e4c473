"""All of Glidepost on this machine, on real parts: what `make demo` runs.

It uses Glidepost as people do, by its commands and files; only HTCondor, the S3 server and Slurm are started by hand.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Final, Optional, Union

from glidepost.schema.errors import BatchError, GlidepostError

from . import scene
from .account import Account, workfolder
from .condor import get_condor
from .pool import Pool
from .processes import wait_until
from .progress import Progress
from .slurm import PROGRAMS, Slurm
from .store import Store

PROGRAM: Final = Path(sys.executable).with_name("glidepost")
ROUND_S: Final = 2
DEADLINE_S: Final = 240


@dataclass(frozen=True)
class Counts:
    """The demo at one moment: user jobs that some site can run, by state, and glideins in the pool."""

    idle: int
    running: int
    done: int
    glideins: int

    def __str__(self) -> str:
        """Returns one line of progress."""
        user_jobs = f"{self.idle} idle, {self.running} running, {self.done} done"
        return f"user jobs: {user_jobs}; glideins in the pool: {self.glideins}"


@dataclass(frozen=True)
class Demo:
    """The demo, wholly in one folder, `demo` in the work folder."""

    account: Account
    work: Path
    progress: Progress = field(default_factory=Progress)

    @property
    def folder(self) -> Path:
        """Where it all is."""
        return self.work / "demo"

    @property
    def publisher(self) -> Path:
        """The publisher's configuration."""
        return self.folder / "access-point" / "publisher.toml"

    @property
    def sites(self) -> tuple[scene.Site, ...]:
        """The two sites; the one in the south has Slurm if this machine does."""
        south = "slurm" if self._slurm() else "local"
        folder = self.folder / "sites"
        return (scene.Site("north", folder / "north", "local"), scene.Site("south", folder / "south", south))

    def run(self) -> None:
        """Runs it from nothing to the last user job, and says how to look around. Parts that run already are used.

        Raises:
            GlidepostError: naming the part that failed. Everything is ended before.
        """
        try:
            self._run()
        except BaseException:
            self.progress.say("ending all that was started")
            self.stop()
            raise

    def _run(self) -> None:
        stage = self.progress.stage
        self.stop()  # what an earlier demo left running
        self.folder.mkdir(exist_ok=True)
        with stage("HTCondor"):
            get_condor(self.work)
        pool = self._pool()
        store = Store(self.account, self.folder / "store")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        with stage("S3 server"):
            store.start()
        with stage("pool: central manager and access point, no execution point"):
            pool.start()
        with stage("what glideins run"):
            tarball = self._tarball(pool)
        with stage("publisher and two sites"):
            self._make_sites(pool, store, tarball)
        with stage("12 user jobs, submitted"):
            self._submit(pool)
        with stage("demand, glideins, user jobs"):
            self._serve(pool)
        with stage("glideins leave by themselves"):
            self._wait_for_the_end(pool)
        self._farewell(pool, store)

    def stop(self) -> None:
        """Ends all that the demo has started, also from another process; nothing to end is no error.

        Raises:
            GlidepostError: naming what is left.
        """
        if not self.folder.is_dir():
            return
        for site in self.sites:
            self._end_processes(site)
        store = Store(self.account, self.folder / "store")
        failures = [failure for part in (self._slurm(), self._pool(), store) for failure in _failures(part)]
        if failures:
            raise failures[0]

    # --- the parts

    def _pool(self) -> Pool:
        return Pool(self.account, get_condor(self.work), self.folder / "pool")

    def _slurm(self) -> Optional[Slurm]:
        """Returns the cluster of the southern site, of an installed or unpacked Slurm; None where there is none."""
        unpacked = self.work / "slurm"
        if (unpacked / "sbin").is_dir():
            return Slurm(self.account, unpacked, self.folder / "slurm")
        is_installed = all(shutil.which(program) for program in PROGRAMS)
        return Slurm(self.account, None, self.folder / "slurm") if is_installed else None

    def _make_sites(self, pool: Pool, store: Store, tarball: Path) -> None:
        access_point = self.publisher.parent
        access_point.mkdir()
        self.publisher.write_text(scene.publisher_toml(pool, store, tarball))
        public_key = self._glidepost("keys", "generate", access_point / "pool.key").strip()
        for site in self.sites:
            self.account.make_folder(site.folder)
            self.account.make_folder(site.folder / "scratch")
            line = self._glidepost("keys", "generate", site.folder / "site.key", "--site", site.name).strip()
            self._glidepost("publisher", "enroll", line, "--config", self.publisher)
            slurm = self._slurm() if site.backend == "slurm" else None
            if slurm:
                slurm.start()
            site.config.write_text(scene.puller_toml(site, store, public_key, self.account, slurm))
        (self.folder / "env.sh").write_text(scene.env_sh(pool, self.publisher, self.sites[0], self.account, PROGRAM))

    def _tarball(self, pool: Pool) -> Path:
        """Returns what glideins run, built anew only when HTCondor is newer than the last one."""
        tarball, master = self.work / "glidein.tar.gz", pool.condor.sbin / "condor_master"
        if not tarball.is_file() or tarball.stat().st_mtime < master.stat().st_ctime:
            self._glidepost("glidein", "build", "--from", pool.condor.release, "--output", tarball)
        return tarball

    def _submit(self, pool: Pool) -> None:
        output = self.account.make_folder(self.folder / "user-jobs")
        for kind in scene.KINDS:
            pool.submit(scene.description(kind, output), kind.count)
            self.progress.say(f"{kind.count} x {kind.name}")

    def _serve(self, pool: Pool) -> None:
        """Runs publisher and pullers in turn, as cron would, until every user job that can run is done."""
        seen, end = "", time.monotonic() + DEADLINE_S
        while True:
            self._round(show=not seen)
            counts = self._count(pool)
            if str(counts) != seen:
                self.progress.say(str(counts))
                seen = str(counts)
            if counts.idle + counts.running == 0:
                return
            if time.monotonic() > end:
                raise BatchError(
                    f"not done after {DEADLINE_S} s: {counts}",
                    hint=f"what glideins print is in {self.folder}/sites/*/state/logs",
                )
            time.sleep(ROUND_S)

    def _round(self, *, show: bool) -> None:
        commands: list[Sequence[object]] = [("publisher", "run", "--aggregate", "--config", self.publisher)]
        commands += [("puller", "run", "--config", site.config) for site in self.sites]
        for command in commands:
            if show:
                self.progress.say(f"$ glidepost {' '.join(map(str, command))}")
            output = self._glidepost(*command)
            if show:
                self.progress.show(output)

    def _wait_for_the_end(self, pool: Pool) -> None:
        if not wait_until(lambda: not pool.slots(), 60, step_s=1):
            raise BatchError("glideins are still in the pool", hint=f"see {self.folder}/sites/*/state/logs")

        def is_clean() -> bool:
            return not any(any((site.folder / "scratch").iterdir()) for site in self.sites)

        if not wait_until(is_clean, 60):
            raise BatchError("a scratch folder is not empty", hint=f"see {self.folder}/sites/*/scratch")
        self._round(show=False)
        # The page shows what the sites have said since.
        self._glidepost("publisher", "run", "--aggregate", "--config", self.publisher)

    def _count(self, pool: Pool) -> Counts:
        runnable = {kind.name for kind in scene.KINDS if kind.runs}
        states = [ad["JobStatus"] for ad in pool.user_jobs() if ad["Kind"] in runnable]
        total = sum(kind.count for kind in scene.KINDS if kind.runs)
        glideins = len(pool.slots("PartitionableSlot"))
        return Counts(states.count(1), states.count(2), total - len(states), glideins)

    def _farewell(self, pool: Pool, store: Store) -> None:
        waiting = pool.user_jobs("JobStatus == 1")
        self.progress.summary()
        say = self.progress.say
        say(
            f"All {sum(kind.count for kind in scene.KINDS if kind.runs)} user jobs that a site can run are done;"
            f" {len(waiting)} stays idle: it asks for 64 cores. `glidepost puller why` says so."
        )
        say("")
        say(f"demand document  {store.public_url}/v1/demand.json")
        say(f"status page      {store.public_url}/index.html")
        say(f"all files        {self.folder}")
        say("")
        say("The pool, the S3 server and the sites' batch systems still run. To look around:")
        say(f"    . {self.folder}/env.sh")
        for command, what in (
            ("glidepost puller why", "why the site in the north did what it did"),
            ("glidepost publisher show", "the demand that sites read"),
            ("glidepost publisher check", "everything that a publisher needs, tried"),
            ("condor_q -all", "the user job that stays idle"),
            ("condor_status", "the glideins in the pool: none now"),
            (f"demo_submit {self.folder}/more.sub", "four user jobs more; then, as cron would:"),
            ("glidepost publisher run --aggregate && glidepost puller run", ""),
        ):
            say(f"    {command:<62}{'# ' + what if what else ''}".rstrip())
        say("    make demo-stop")
        more = scene.description(scene.KINDS[0], self.folder / "user-jobs")
        (self.folder / "more.sub").write_text(f"{more}\nqueue 4\n")

    def _glidepost(self, *words: object) -> str:
        """Returns what a command of Glidepost prints.

        Raises:
            GlidepostError: with what it said, when it failed.
        """
        command = [str(PROGRAM), *map(str, words)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise GlidepostError(f"$ {' '.join(command)}\n{done.stdout}{done.stderr}", hint="see what it said above")
        return done.stdout

    def _end_processes(self, site: scene.Site) -> None:
        """Ends glideins that still run as processes of this host, by the same script that started them."""
        if not site.processes.is_dir():
            return
        program = resources.files("glidepost.backends").joinpath("local.sh").read_text(encoding="utf-8")
        local = ["sh", "-c", program, "glidepost-local"]

        def listed() -> list[str]:
            lines = self.account.run([*local, "query", str(site.processes)]).stdout.splitlines()
            return [line.split("|")[0] for line in lines]

        glideins = listed()
        if glideins:
            self.account.run([*local, "remove", str(site.processes), *glideins])
            wait_until(lambda: not listed(), 60, step_s=0.2)


def _failures(part: Union[Pool, Store, Slurm, None]) -> list[GlidepostError]:
    """Stops a part and returns what went wrong, so that the next one is stopped all the same."""
    try:
        if part:
            part.stop()
    except GlidepostError as error:
        return [error]
    return []


def open_demo() -> Demo:
    """Returns the demo of this clone.

    Raises:
        ConfigError: when there is no place for it.
    """
    account = Account.current()
    return Demo(account, workfolder(account))
