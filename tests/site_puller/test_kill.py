"""The puller as a process that is killed at every step, has no room on its disk, or is started eight times at once.

test_invariants.py looks at far more histories from inside of one process; here the kernel ends a real one, with batch
commands that go on without it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import count
from pathlib import Path

import pytest

from glidepost.schema.demand import Demand
from glidepost.schema.heartbeat import Heartbeat

pytestmark = pytest.mark.long

FAKES = Path(__file__).parents[1] / "fakes" / "bin"
PROGRAM = (sys.executable, "-c", "from glidepost.schema.command import main; main()")
ENVIRONMENT = {"PATH": f"{FAKES}:/usr/bin:/bin", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
KILLED = -9

CONFIG = """
[site]
name = "north"
key = "site.key"
state = "state"

[pool]
url = "{url}"
public_key = "{key}"

[limits]
max_total = 7

[shapes.cpu]
backend = "slurm"
command_prefix = {prefix}
cpus = 1
memory = "2GiB"
disk = "2GiB"
walltime = "1h"
max_total = 5
max_queued = 4
max_per_cycle = 2

[shapes.big]
backend = "slurm"
command_prefix = {prefix}
cpus = 4
memory = "8GiB"
disk = "2GiB"
walltime = "1h"
max_total = 20
jobs.min_cpus = 4
"""
# Shape cpu is cut by each of its limits in turn; of big there must never be more than its user jobs want.
WANTED_BIG = 3

# Starts `glidepost` again and again, as forks of one process, since to import it takes longer than to run it. Each line
# of standard input is a run: its folder, its environment, its words, and the step at which it is to be killed. A step
# changes a file or starts a command, or is the moment after a command was started. Of the two ways to open a file only
# the buffered one is a step: at that moment a temporary file is there, and empty.
DRIVER = """
import json, os, signal, subprocess, sys
import glidepost.site_puller.cli
from glidepost.schema.command import main

STEPS = {"os.rename", "os.remove", "os.mkdir", "fcntl.flock", "subprocess.Popen", "started"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
left = -1

class Process(subprocess.Popen):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        sys.audit("started")

def strike(event, args):
    global left
    if event in STEPS or (event == "open" and args[1] is not None and args[2] & WRITING):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

def run(folder, environment, words, kill_at):
    global left
    os.chdir(folder)
    os.environ.update(environment)
    said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.argv, left = ["glidepost", *words], kill_at
    try:
        main()
    except SystemExit as end:
        left = -1
        sys.stdout.flush()
        os._exit(end.code or 0)
    except BaseException as error:
        print(repr(error), file=sys.stderr)
    os._exit(99)

subprocess.Popen = Process
sys.addaudithook(strike)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        run(*json.loads(line))
    print(os.waitpid(child, 0)[1], flush=True)
"""


@dataclass(frozen=True)
class Driver:
    """A process that runs `glidepost`."""

    process: subprocess.Popen[str]

    @classmethod
    @contextmanager
    def started(cls) -> Iterator[Driver]:
        with subprocess.Popen(
            [sys.executable, "-c", DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
        ) as process:
            yield cls(process)

    def run(self, folder: Path, environment: dict[str, str], words: tuple[str, ...], kill_at: int) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([str(folder), environment, words, kill_at]) + "\n")
        self.process.stdin.flush()
        status = int(self.process.stdout.readline())
        return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


@dataclass(frozen=True)
class Site:
    """A site in a folder, with a Slurm of its own. Nobody else is told its posts."""

    folder: Path
    driver: Driver

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def slurm(self) -> Path:
        return self.folder / "slurm.json"

    def run(self, *words: str, kill_at: int = -1, **environment: str) -> int:
        variables = {"GLIDEPOST_FAKE_STATE": str(self.slurm), **environment}
        return self.driver.run(self.folder, variables, words or ("puller", "run"), kill_at)

    def said(self) -> str:
        return (self.folder / "said").read_text()

    def must_run(self, *words: str, **environment: str) -> None:
        assert self.run(*words, **environment) == 0, self.said()

    def live(self) -> list[tuple[str, str]]:
        """Returns shape and state of each batch job."""
        jobs = json.loads(self.slurm.read_text())["jobs"] if self.slurm.exists() else []
        return [(job["script"].split("\nGLIDEPOST_SHAPE=")[1].split("\n")[0], job["state"]) for job in jobs]

    def leave_records(self) -> None:
        """Leaves what two glideins write when they end, of an earlier submission."""
        (self.state / "outcomes").mkdir(parents=True)
        for number in (1, 2):
            record = {"kind": "outcome/1", "shape": "cpu", "host": f"wn{number}", "outcome": "never-joined"}
            (self.state / "outcomes" / f"{number}.json").write_text(json.dumps(record))

    def start_one(self, shape: str) -> None:
        queue = json.loads(self.slurm.read_text())
        job = next(job for job in queue["jobs"] if f"GLIDEPOST_SHAPE={shape}\n" in job["script"])
        job.update(state="R", apart=True)
        self.slurm.write_text(json.dumps(queue))

    def unfinished(self) -> list[Path]:
        """Returns the files that nobody will finish any more."""
        return [path for path in self.state.rglob("*") if path.name.startswith(".")]

    def check_limits(self, cycles: int) -> None:
        live, shapes = self.live(), Counter(shape for shape, _ in self.live())
        assert len(live) <= 7
        assert shapes["cpu"] <= min(5, 2 * cycles)
        assert live.count(("cpu", "PD")) <= 4
        assert shapes["big"] <= WANTED_BIG

    def check_files(self) -> None:
        """Nothing is locked, and the ledger knows every batch job that there is."""
        assert not (self.state / "lock.holder").exists()
        entries = json.loads((self.state / "ledger.json").read_text())["entries"]
        assert {job["name"] for job in json.loads(self.slurm.read_text())["jobs"]} <= entries.keys()


@pytest.fixture
def now() -> datetime:
    """Here the command looks at the clock by itself."""
    return datetime.now(timezone.utc).replace(microsecond=0)


@pytest.fixture
def drivers() -> Iterator[tuple[Driver, Driver]]:
    with Driver.started() as one, Driver.started() as two:
        yield one, two


@pytest.fixture
def make_site(tmp_path, web, pool_key, site_key):
    """Makes a site; with `like` it starts as a copy of another one."""
    web.date = None

    def make(name: str, driver: Driver, *, like: Site | None = None, prefix: tuple[str, ...] = ()) -> Site:
        folder = tmp_path / name
        if like is not None:
            shutil.copytree(like.folder, folder)
            return Site(folder, driver)
        folder.mkdir()
        site_key.save(folder / "site.key")
        text = CONFIG.format(url=web.url, key=pool_key.public, prefix=json.dumps(prefix))
        (folder / "puller.toml").write_text(text)
        return Site(folder, driver)

    return make


@pytest.fixture(autouse=True)
def demand(publish, make_group) -> Demand:
    return publish(make_group(9), make_group(WANTED_BIG, name="g00000002", cpus=4, memory_mib=6000))


@pytest.fixture
def told(web) -> Callable[[Site], Counter[str]]:
    """Returns the ended glideins that the heartbeats of a site have told of, by outcome."""

    def count(site: Site) -> Counter[str]:
        instance = (site.state / "instance").read_bytes().strip()
        bodies = (body[body.index(b"\r\n\r\n{") : body.rindex(b"\r\n--")] for _, body in web.posts if instance in body)
        found: Counter[str] = Counter()
        for body in bodies:
            found.update(Heartbeat.from_json(json.loads(body)).outcomes)
        return found

    return count


def kill_everywhere(drivers: Sequence[Driver], attempt: Callable[[Driver, int], int], every: int = 1) -> int:
    """Attempts a run with a kill at each step, or at some, until one is not hit any more. Returns how many were."""

    def attempts(index: int) -> int:
        for number in count(0):
            code = attempt(drivers[index], 1 + (number * len(drivers) + index) * every)
            if code != KILLED:
                return number
        raise AssertionError

    with ThreadPoolExecutor(len(drivers)) as threads:
        return sum(threads.map(attempts, range(len(drivers))))


def run_again(site: Site, step: int, **environment: str) -> int:
    """Runs a cycle after one that was killed. Returns its exit code."""
    code = site.run(**environment)
    mark = site.state / "lock.holder"
    if "another puller" in site.said() and mark.read_text() == "":
        # Killed between the making of the mark and its words: nobody knows whose it is for a minute.
        old = time.time() - 61
        os.utime(mark, (old, old))
        code = site.run(**environment)
    assert "another puller" not in site.said(), step
    return code


def test_whenever_a_puller_is_killed_the_next_ones_keep_its_limits_and_lose_no_record(drivers, make_site, told):
    def attempt(driver: Driver, step: int) -> int:
        site = make_site(str(step), driver)
        site.leave_records()
        code = site.run(kill_at=step)
        site.check_limits(1)
        for cycles in (2, 3):
            after, said = run_again(site, step), site.said()
            # Killed before its first ledger was there, it knows no better than that one was lost.
            assert after == 0 or (after == 1 and "ledger.json is not there any more" in said), (step, said)
            site.check_limits(cycles)
        site.check_files()
        breaker = json.loads((site.state / "breaker.json").read_text())
        assert breaker["shapes"]["cpu"]["streak"]["failures"] == {"never-joined": 2}, step
        assert told(site)["never-joined"] in {2, 4}, step
        return code

    assert kill_everywhere(drivers, attempt) > 40


def test_whenever_a_puller_is_killed_while_it_removes_the_next_ones_remove_the_rest_and_no_more(drivers, make_site):
    drained = make_site("drained", drivers[0])
    for _ in range(3):
        drained.must_run()
    drained.start_one("cpu")
    drained.start_one("big")
    drained.must_run()
    running = [("cpu", "R"), ("big", "R")]
    before = json.loads(drained.slurm.read_text())["next_id"]
    drained.must_run("puller", "drain")

    def attempt(driver: Driver, step: int) -> int:
        site = make_site(str(step), driver, like=drained)
        code = site.run(kill_at=step)
        assert set(running) <= set(site.live()), step
        for _ in range(2):
            assert run_again(site, step) == 0, (step, site.said())
        assert sorted(site.live()) == sorted(running), step
        assert json.loads(site.slurm.read_text())["next_id"] == before, step
        site.check_files()
        return code

    assert len(drained.live()) == 7
    assert kill_everywhere(drivers, attempt, every=2) > 10


def test_whenever_a_puller_is_killed_whose_answers_are_lost_nothing_is_submitted_twice(drivers, make_site):
    def attempt(driver: Driver, step: int) -> int:
        site = make_site(str(step), driver)
        code = site.run(kill_at=step, GLIDEPOST_FAKE_SBATCH="lost")
        site.check_limits(1)
        run_again(site, step, GLIDEPOST_FAKE_SBATCH="lost")
        site.check_limits(2)
        assert run_again(site, step) == 0, (step, site.said())
        site.check_limits(3)
        site.check_files()
        return code

    assert kill_everywhere(drivers, attempt, every=4) > 10


def test_a_submission_that_goes_on_after_its_puller_was_killed_is_counted(drivers, make_site):
    site = make_site("north", drivers[0])
    assert site.run(GLIDEPOST_FAKE_SBATCH="orphan") == KILLED
    run_again(site, 0)  # while that sbatch is still at work
    deadline = time.monotonic() + 60
    while len(site.live()) < 4 + WANTED_BIG and time.monotonic() < deadline:
        time.sleep(0.05)
    for _ in range(2):
        assert run_again(site, 0) == 0
    site.check_limits(2)
    site.check_files()
    assert Counter(shape for shape, _ in site.live()) == {"cpu": 4, "big": WANTED_BIG}


def test_what_a_killed_puller_was_writing_does_not_pile_up(drivers, make_site):
    site = make_site("north", drivers[0])
    step = 0
    while not (left := site.unfinished()):
        step += 1
        assert site.run(kill_at=step) == KILLED
        run_again(site, step)
    for path in left:
        os.utime(path, (0, 0))
    run_again(site, step)
    assert site.unfinished() == []


def test_of_eight_pullers_at_once_one_works(drivers, make_site, tmp_path, web):
    go = tmp_path / "go"
    wait = f'while ! test -e {go}; do sleep 0.05; done; exec "$@"'
    site = make_site("north", drivers[0], prefix=("sh", "-c", wait, "sh"))
    environment = {**ENVIRONMENT, "GLIDEPOST_FAKE_STATE": str(site.slurm)}
    with ExitStack() as stack:
        everybody = [
            stack.enter_context(
                subprocess.Popen(
                    [*PROGRAM, "puller", "run"],
                    cwd=site.folder,
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(8)
        ]
        deadline = time.monotonic() + 60
        while sum(process.poll() is None for process in everybody) > 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        go.touch()
        said = [process.communicate(timeout=60) for process in everybody]
    assert [process.returncode for process in everybody] == [0] * 8
    assert sum("another puller of this site is running" in err and not out for out, err in said) == 7
    assert sorted(site.live()) == [("big", "PD")] * WANTED_BIG + [("cpu", "PD")] * 2
    assert len(web.posts) == 1
    site.check_files()


# Runs `glidepost` while no file may be larger than the first word says, in bytes.
LIMITED = """
import resource, sys
from glidepost.schema.command import main

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), resource.RLIM_INFINITY))
main()
"""
UNLIMITED = ("sh", "-c", 'ulimit -S -f unlimited; exec "$@"', "sh")


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Puts a file system of 256 KiB in a folder's place; yields whether this account may do so."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=755", "none", folder]
    is_mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("kind", ["a full disk", "a limit on files"])
def test_without_room_for_the_ledger_nothing_is_submitted_and_the_next_cycle_goes_on(drivers, make_site, kind):
    """A limit on the size of files stands in for a full disk where nobody may mount one."""
    site = make_site("north", drivers[0], prefix=UNLIMITED)
    environment = {**ENVIRONMENT, "GLIDEPOST_FAKE_STATE": str(site.slurm)}
    full = []
    with small_disk(site.state) as is_mounted:
        site.must_run()
        for room in (0, 4, 8, 12, 32):
            size, filler = "-1", site.state / "filler"
            if kind == "a full disk" and is_mounted:
                fill(filler, leave=room * 1024)
            else:
                size = str(room * 256)
            before = site.live()
            command = [sys.executable, "-c", LIMITED, size, "puller", "run"]
            done = subprocess.run(
                command, cwd=site.folder, env=environment, capture_output=True, text=True, check=False
            )
            filler.unlink(missing_ok=True)
            assert done.returncode in {0, 1}, done.stderr
            full.append(done.returncode)
            if done.returncode:
                assert "is the disk full" in done.stderr
            if room == 0:
                assert site.live() == before
            site.check_files()
            site.check_limits(9)
        site.must_run()
    assert full[0] == 1
    assert full[-1] == 0


def fill(filler: Path, *, leave: int) -> None:
    """Fills a file system but for so many bytes."""
    free = os.statvfs(filler.parent)
    filler.write_bytes(b"x" * (free.f_bavail * free.f_frsize - leave))
