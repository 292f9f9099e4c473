"""The contract (tests/support/contract.py) over a real HTCondor as a site's batch system, and what is its own."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from contract import Contract
from glideins import wait_for_execution
from sites_htcondor import RealHTCondor

from glidepost.backends.base import GlideinRequest, JobState, QueueLimits
from glidepost.glidein import build as builder
from glidepost.glidein.tarball import Manifest
from glidepost.infra.demo.testbed import Condor, CondorSite, Pool
from glidepost.schema.puller_config import Option

BOOTSTRAP = Path(__file__).parents[2] / "glidein" / "bootstrap"
IDLE, RUNNING = JobState.IDLE, JobState.RUNNING
# What a site has; the contract's streams output, so that it need not wait.
PLAIN: dict[str, Option] = {"lines": ()}


@pytest.fixture
def site(condor_site: CondorSite) -> Iterator[RealHTCondor]:
    site = RealHTCondor(condor_site)
    yield site
    site.clean()


class TestHTCondor(Contract):
    """Every case."""

    @pytest.fixture
    def log_folder(self, account_folder: Path, condor_site: CondorSite, request: pytest.FixtureRequest) -> Path:
        name = f"100% logs {len(request.node.name)}{request.node.name[-2]}"
        return condor_site.account.make_folder(account_folder / name)


def run_to_its_end(site: RealHTCondor, request: GlideinRequest, **options: Option) -> str:
    """Returns the id of a cluster whose glideins have run and are gone."""
    cluster = site.submit(request, **{**PLAIN, **options})
    assert site.wait(lambda: not site.live()), site.live()
    return cluster


def put_token(site: RealHTCondor, path: Path, token: str) -> Path:
    path.write_text(f"{token}\n", encoding="utf-8")
    site.site.account.give(path, 0o600)
    return path


def test_output_and_errors_come_to_the_log_folder_when_a_glidein_has_ended(
    site: RealHTCondor, account_folder: Path
) -> None:
    request = site.request(script="#!/bin/sh\necho said; echo cried >&2\n", logs=str(account_folder))
    cluster = run_to_its_end(site, request)
    assert (account_folder / f"gp-abc-{cluster}.0.out").read_text() == "said\ncried\n"


def test_glideins_that_have_ended_leave_nothing_at_the_schedd(site: RealHTCondor, account_folder: Path) -> None:
    token = put_token(site, account_folder / "token", "x.y.z")
    run_to_its_end(site, replace(site.request(script="#!/bin/sh\ntouch left\n", count=2), files=(str(token),)))
    spool = site.site.folder / "spool"
    # (the schedd cleans up when the shadow has ended)
    assert site.wait(lambda: not {"glidein.sh", "token"} & {name for *_, names in os.walk(spool) for name in names})
    assert list(Path("/tmp").glob("glidepost-????????/glidein.sh")) == []


@pytest.mark.parametrize(("is_spooled", "seen"), [(False, "younger"), (True, "older")])
def test_the_token_is_that_of_the_start_or_with_spool_that_of_the_submission(
    site: RealHTCondor, account_folder: Path, seen: str, *, is_spooled: bool
) -> None:
    token = put_token(site, account_folder / "token", "older")
    go = account_folder / "go"
    site.submit(site.request("gp-first", count=2, script=f"#!/bin/sh\nuntil [ -e {go} ]; do sleep 0.2; done\n"))
    assert site.wait(lambda: site.states() == {RUNNING: 2})
    request = site.request(script=f"#!/bin/sh\ncat token >{account_folder}/seen\n")
    site.submit(replace(request, files=(str(token),)), **PLAIN, spool=is_spooled)
    put_token(site, token, "younger")
    go.touch()
    assert site.wait(lambda: not site.live()), site.live()
    assert (account_folder / "seen").read_text() == f"{seen}\n"


def test_a_token_that_has_gone_by_the_start_holds_the_glidein(site: RealHTCondor, account_folder: Path) -> None:
    token = put_token(site, account_folder / "token", "x.y.z")
    site.submit(replace(site.request(), files=(str(token),)), **PLAIN)
    token.unlink()
    assert site.wait(lambda: site.states() == {JobState.HELD: 1}), site.live()
    (job,) = site.live()
    assert str(token) in job.reason


def test_without_transfer_token_no_token_goes_along(site: RealHTCondor, account_folder: Path) -> None:
    token = put_token(site, account_folder / "token", "x.y.z")
    request = site.request(script=f"#!/bin/sh\nls -A >{account_folder}/seen\n")
    run_to_its_end(site, replace(request, files=(str(token),)), transfer_token=False)
    assert "glidein.sh" in (account_folder / "seen").read_text()
    assert "token" not in (account_folder / "seen").read_text()


def test_one_that_was_evicted_is_not_run_again(site: RealHTCondor, account_folder: Path) -> None:
    started = account_folder / "started"
    cluster = site.submit(site.request(script=f"#!/bin/sh\necho x >>{started}\nexec sleep 600\n"), **PLAIN)
    assert site.wait(started.exists)
    site.site.pool.run(["condor_vacate_job", f"{cluster}.0"])
    assert site.wait(lambda: not site.live()), site.live()
    assert started.read_text() == "x\n"


def test_the_whole_machine_is_for_one_alone(site: RealHTCondor) -> None:
    site.submit(site.request("gp-whole", cpus=1), **PLAIN, exclusive=True)
    assert site.wait(lambda: site.states() == {RUNNING: 1})
    site.submit(site.request("gp-other"), **PLAIN)
    # (before that it waits for its files)
    assert site.wait(lambda: any("no match found" in job.reason for job in site.live())), site.live()
    assert site.states() == {RUNNING: 1, IDLE: 1}
    (ad,) = site.site.pool.user_jobs('GlidepostName == "gp-whole"')
    assert ad["CpusProvisioned"] == 2


def test_each_glidein_has_gpus_of_its_own(site: RealHTCondor, account_folder: Path) -> None:
    script = '#!/bin/sh\necho "${CUDA_VISIBLE_DEVICES}"\nsleep 8\n'
    run_to_its_end(site, site.request(script=script, count=2, gpus=1, logs=str(account_folder)))
    seen = {path.read_text().strip() for path in account_folder.glob("*.out")}
    assert len(seen) == 2
    assert all(gpu.startswith("GPU-") for gpu in seen)


def test_another_schedd_is_asked_by_its_name(site: RealHTCondor) -> None:
    backend = site.backend(**PLAIN, schedd="ap@site.test", pool=site.site.pool.collector)
    done = site.run(backend.submission(site.request(count=4, cpus=64)))  # (of which none can start)
    assert done.returncode == 0, done.stderr
    jobs = list(backend.parse_query(site.run(backend.query()).stdout))
    assert len(jobs) == 4
    assert site.run(backend.removal([job.batch_id for job in jobs])).returncode == 0
    assert site.wait(lambda: not site.live())


def test_a_batch_job_reaches_an_htcondor_ce_and_keeps_its_id(site: RealHTCondor, account_folder: Path) -> None:
    """The schedd itself stands for a CE: what comes through the grid universe is a batch job of its own."""
    token = put_token(site, account_folder / "token", "x.y.z")
    seen = account_folder / "seen"
    request = site.request(script=f'#!/bin/sh\necho "${{GLIDEPOST_BATCH_JOB}}" "$(cat token)" >{seen}\nsleep 600\n')
    route = f"condor ap@site.test {site.site.pool.collector}"
    cluster = site.submit(replace(request, files=(str(token),)), **PLAIN, grid_resource=route)
    assert site.wait(lambda: seen.exists() and seen.read_text() == f"{cluster}.0 x.y.z\n", 90), site.live()
    local = f"{cluster}.0"
    assert site.wait(lambda: [job.state for job in site.live() if job.batch_id == local] == [RUNNING]), site.live()


def test_the_site_tells_cores_memory_and_how_many_at_once(site: RealHTCondor) -> None:
    backend = site.backend()
    done = site.run(backend.limits())
    assert backend.parse_limits(done.stdout) == (
        QueueLimits("the pool", is_open=True, cpus=2, memory_mib=2048, array_size=500),
    )


def test_too_many_of_one_owner_pass_by_themselves(site: RealHTCondor) -> None:
    for _ in range(2):
        site.submit(site.request(count=490))
    done = site.run(site.backend().submission(site.request(count=30)))
    refused = site.backend().refusal(done.returncode, done.stderr)
    assert refused is not None, done.stderr
    assert (refused.is_limit, refused.is_size) == (True, True)
    assert "MAX_JOBS_PER_OWNER" in refused.text


def test_a_trial_is_one_though_the_schedd_removes_it_before_us(site: RealHTCondor, account_folder: Path) -> None:
    """Its periodic_remove is looked at here each two seconds; each minute elsewhere."""
    late = account_folder / "condor_rm"
    late.write_text(
        f"""#!/bin/sh\nsleep 5\nexec {shutil.which("condor_rm", path=site.path)} "$@"\n""", encoding="utf-8"
    )
    site.site.account.give(late, 0o755)
    done = site.run(site.backend().trial(site.request()), PATH=f"{account_folder}:{site.path}")
    assert (done.returncode, done.stderr) == (0, "")
    assert site.live() == []


# --- real glideins


@dataclass(frozen=True)
class Glideins:
    """Glideins that this site's HTCondor runs, for a pool elsewhere: no file of theirs is where they start."""

    site: RealHTCondor
    pool: Pool
    folder: Path
    tarball: Path
    manifest: Manifest

    def submit(self, **options: Option) -> str:
        """Returns the batch id of one with two cores' worth of resources, whose token is only here."""
        token = self.pool.token("glidein-condor", 600, ["READ", "ADVERTISE_STARTD", "ADVERTISE_MASTER"])
        path = put_token(self.site, self.folder / "token", token)
        request = self.site.request("gp-real", script=self._script(), logs=str(self.folder), cpus=2, memory_mib=1024)
        cluster = self.site.submit(replace(request, files=(str(path),)), **{**PLAIN, **options})
        return f"{cluster}.0"

    def submit_user_job(self, shell: str) -> int:
        return self.pool.submit(
            "executable = /bin/sh\ntransfer_executable = false\nshould_transfer_files = yes\n"
            'request_cpus = 1\nrequest_memory = 64\nrequest_disk = 1MB\n+WantSite = "condor"\n'
            f"""arguments = "-c '{shell}'"\noutput = {self.folder}/user-job.out\nlog = {self.folder}/user-job.log\n"""
        )

    def slots(self) -> list[Any]:
        return list(self.pool.slots('GLIDEPOST_Site == "condor"'))

    def outcome(self) -> dict[str, Any]:
        (path,) = (self.folder / "outcomes").glob("*.json")
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def _script(self) -> str:
        found = self.manifest
        variables = {
            "NAME": "gp-real",
            "SITE": "condor",
            "GLIDEIN_SITE": "Condor",
            "SHAPE": "small",
            "POOL": "test",
            "COLLECTORS": self.pool.collector,
            "CPUS": "2",
            "MEMORY_MIB": "1024",
            "DISK_MIB": "1024",
            "GPUS": "0",
            "WALLTIME_S": "600",
            "RETIRE_S": "60",
            "IDLE_S": "20",
            "UPDATE_S": "2",
            "TOKEN_FILE": "/nonexistent/token",
            "OUTCOMES": str(self.folder / "outcomes"),
            "NETWORK_INTERFACE": "127.0.0.1",
            "START": 'TARGET.WantSite == "condor"',
            "TARBALLS": f"any {platform.machine()} {found.condor_version} {found.sha256} {found.size_bytes} "
            f"file://{self.tarball}",
        }
        header = "".join(f"GLIDEPOST_{name}={shlex.quote(value)}\n" for name, value in variables.items())
        return f"#!/bin/sh\n{header}{''.join(part.read_text() for part in sorted(BOOTSTRAP.glob('*.sh')))}"


@pytest.fixture
def glideins(
    site: RealHTCondor, pool: Pool, condor: Condor, account_folder: Path, session_folder: Path
) -> Iterator[Glideins]:
    tarball = session_folder / "glidein-of-condor-site.tar.gz"
    manifest = builder.build(condor.release, tarball)
    tarball.chmod(0o644)
    pool.account.make_folder(account_folder / "outcomes")
    yield Glideins(site, pool, account_folder, tarball, manifest)
    if pool.user_jobs('WantSite == "condor"'):
        pool.run(["condor_rm", "-constraint", 'WantSite == "condor"'])


def test_a_glidein_of_an_htcondor_site_joins_the_pool_and_runs_a_user_job(glideins: Glideins) -> None:
    cluster = glideins.submit_user_job("env; sleep 2")
    batch_id = glideins.submit()
    assert glideins.site.wait(lambda: bool(glideins.slots())), glideins.site.live()
    slot = next(slot for slot in glideins.slots() if slot["SlotType"] == "Partitionable")
    assert slot["GLIDEPOST_BatchJob"] == batch_id
    assert (slot["TotalSlotCpus"], slot["TotalSlotMemory"]) == (2, 1024)
    assert glideins.site.wait(lambda: not glideins.pool.user_jobs(f"ClusterId == {cluster}")), glideins.slots()
    assert glideins.site.wait(lambda: not glideins.site.live()), glideins.site.live()
    assert (glideins.outcome()["outcome"], glideins.outcome()["batch_job"]) == ("idle-shutdown", batch_id)
    # What the outer HTCondor tells its batch job must not reach the inner one's.
    environment = (glideins.folder / "user-job.out").read_text()
    outer = str(glideins.site.site.folder / "execute")
    inner = [line for line in environment.splitlines() if line.startswith("_CONDOR_SCRATCH_DIR=")]
    assert len(inner) == 1
    assert f"={outer}/" in inner[0], "the glidein works in the scratch folder that HTCondor gave it"
    assert "/glidepost-gp-real-" in inner[0]
    assert "GLIDEPOST_" not in environment
    assert list((glideins.site.site.folder / "execute").glob("dir_*")) == []


def test_a_glidein_that_the_site_removes_gives_its_user_job_back_within_seconds(glideins: Glideins) -> None:
    started = glideins.folder / "user-job-started"
    cluster = glideins.submit_user_job(f"touch {started}; sleep 300")
    batch_id = glideins.submit()
    assert glideins.site.wait(started.exists), glideins.site.live()
    wait_for_execution(glideins.folder / "user-job.log")
    glideins.site.site.pool.run(["condor_rm", batch_id])
    assert glideins.site.wait(lambda: glideins.pool.user_jobs(f"ClusterId == {cluster}")[0]["JobStatus"] == 1)
    assert glideins.site.wait(lambda: bool(list((glideins.folder / "outcomes").glob("*.json"))))
    assert glideins.outcome()["outcome"] == "killed"
    assert signal.SIGTERM.name in glideins.outcome()["detail"]
    assert glideins.site.wait(lambda: not list((glideins.site.site.folder / "execute").glob("dir_*")))
