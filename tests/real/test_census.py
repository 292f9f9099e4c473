"""The census of real schedds: what users may write, two schedds of which one fails, and a token that may only read."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Optional

import pytest

from glidepost.infra.demo.testbed import Account, Condor, Pool, daemons_of, wait_until
from glidepost.publisher import census, last_good
from glidepost.publisher.census import Answer, JobGroup
from glidepost.publisher.pool import Pool as AskedPool
from glidepost.schema.demand import Unevaluated
from glidepost.schema.errors import PoolError
from glidepost.schema.publisher_config import (
    CensusSettings,
    DemandSettings,
    PoolSettings,
    PublisherConfig,
    StoreSettings,
)

ONE, TWO = "ap@pool.test", "second@pool.test"
SECOND_SCHEDD = f"""\
DAEMON_LIST = $(DAEMON_LIST), SCHEDD2
SCHEDD2 = $(SCHEDD)
SCHEDD2_ARGS = -local-name SCHEDD2
SCHEDD2.SCHEDD_NAME = {TWO}
SCHEDD2.SPOOL = $(LOCAL_DIR)/spool2
SCHEDD2.SCHEDD_LOG = $(LOG)/SchedLog.2
SCHEDD2.SCHEDD_ADDRESS_FILE = $(LOCAL_DIR)/spool2/.schedd_address
SCHEDD2.SCHEDD_DAEMON_AD_FILE = $(LOCAL_DIR)/spool2/.schedd_classad
SCHEDD2_LOG = $(LOG)/SchedLog.2
MASTER_BACKOFF_CONSTANT = 10
"""
JOB = "executable = /bin/sh\ntransfer_executable = false\nshould_transfer_files = yes\narguments = secret argument\n"
SLOT = """\
MyType = "Machine"
Name = "slot1@{name}"
Machine = "{name}"
MyAddress = "<127.0.0.1:9>"
StartdIpAddr = "<127.0.0.1:9>"
SlotType = "Partitionable"
PartitionableSlot = true
State = "Unclaimed"
Activity = "Idle"
TotalSlotCpus = 8
Cpus = {free}
Memory = 4000
Disk = 5000000
NumDynamicSlots = {running}
Start = TARGET.WantSite == GLIDEIN_Site && time() < GLIDEIN_ToRetire
Requirements = Start && Cpus > 0
GLIDEIN_Site = "North"
GLIDEIN_ToRetire = 4000000000
GLIDEPOST_Start = 1000000000
HasFoo = true
RemoteOwner = "somebody"
"""


@pytest.fixture(scope="module")
def two(account: Account, condor: Condor, session_folder: Path) -> Iterator[Pool]:
    """A pool with two access points and no execution point."""
    pool = Pool(account, condor, session_folder / "two")
    for folder in (pool.folder, pool.folder / "config.d", pool.folder / "spool2"):
        account.make_folder(folder)
    config = pool.folder / "config.d" / "second"
    config.write_text(SECOND_SCHEDD)
    account.give(config, 0o644)
    try:
        pool.start()
        assert wait_until(lambda: names(pool) == [ONE, TWO], 60), names(pool)
        yield pool
    finally:
        pool.stop()


@pytest.fixture
def pool(two: Pool) -> Iterator[Pool]:
    """The same with no user job in it."""
    yield two
    for schedd in (ONE, TWO):
        for options in ([], ["-forcex"]):  # which also takes away those that are removed and wait for it
            if two.run(["condor_q", "-name", schedd, "-all", "-af", "ClusterId"]):
                with suppress(PoolError):  # they end meanwhile
                    two.run(["condor_rm", "-name", schedd, *options, "-all"])


@pytest.fixture
def config(pool: Pool, tmp_path: Path) -> PublisherConfig:
    return PublisherConfig(
        pool=PoolSettings("demo", (pool.collector,), pool.trust_domain, condor_config=str(pool.admin_config)),
        demand=DemandSettings("none", "none", state=str(tmp_path)),
        store=StoreSettings("none", "http://127.0.0.1"),
        census=CensusSettings(min_idle_s=0, timeout_s=20),
    )


def names(pool: Pool) -> list[str]:
    return sorted(pool.run(["condor_status", "-schedd", "-af", "Name"]).split())


def submit(pool: Pool, description: str, count: int = 1, *, schedd: str = ONE) -> int:
    text = f"{JOB}{description}\nqueue {count}\n"
    return int(pool.run(["condor_submit", "-name", schedd, "-terse", "-"], stdin=text).split(".")[0])


def ask(config: PublisherConfig, **changes: object) -> Answer:
    return AskedPool(replace(config, census=replace(config.census, **changes))).ask()


def grouped(answer: Answer) -> tuple[tuple[JobGroup, ...], tuple[Unevaluated, ...]]:
    return census.group(row for schedd in answer.schedds for row in schedd.rows)


def idle(answer: Answer) -> list[int]:
    return [schedd.idle_jobs for schedd in answer.schedds]


def pid_of_second(pool: Pool) -> Optional[int]:
    for pid in daemons_of(pool.folder):
        with suppress(OSError):  # gone meanwhile
            if b"SCHEDD2" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
    return None


def test_expressions_are_evaluated_and_what_has_no_value_is_named(pool: Pool, config: PublisherConfig) -> None:
    submit(pool, "request_cpus = 2\nrequest_memory = 100 * RequestCpus", 3)
    submit(pool, "request_memory = NoSuchThing * 3", 2)
    (job,), (unknown,) = grouped(ask(config))
    assert (job.group.idle_jobs, job.group.request.cpus, job.group.request.memory_mib) == (3, 2, 200)
    assert (unknown.idle_jobs, unknown.attribute, unknown.problem) == (2, "RequestMemory", "NoSuchThing * 3")
    assert "secret" not in job.ad
    assert f'"{pool.account.name}' not in job.ad


def test_how_long_a_user_job_may_run_is_known(pool: Pool, config: PublisherConfig) -> None:
    submit(pool, "allowed_job_duration = 7200", 1)
    submit(pool, "allowed_execute_duration = 600", 2)
    jobs, _ = grouped(ask(config))
    assert {(job.group.idle_jobs, job.group.max_runtime_s) for job in jobs} == {(1, 7200), (2, 600)}


def test_an_evicted_user_job_asks_for_what_it_used(pool: Pool, config: PublisherConfig) -> None:
    cluster = submit(pool, "request_memory = ifThenElse(MemoryUsage isnt undefined, MemoryUsage * 3 / 2, 100)", 3)
    pool.run(["condor_qedit", f"{cluster}.1", "MemoryUsage", "2000"])  # as the shadow does
    jobs, _ = grouped(ask(config))
    assert [(job.group.idle_jobs, job.group.request.memory_mib) for job in jobs] == [(2, 100), (1, 3000)]


def test_a_user_job_is_idle_since_it_became_so(pool: Pool, config: PublisherConfig) -> None:
    cluster = submit(pool, "", 1)
    time.sleep(2)
    pool.run(["condor_hold", str(cluster)])
    pool.run(["condor_release", str(cluster)])
    (ad,) = pool.user_jobs(f"ClusterId == {cluster}")
    ((job,), _) = grouped(ask(config))
    assert job.group.idle_since.timestamp() == ad["EnteredCurrentStatus"] > ad["QDate"]
    assert idle(ask(config, min_idle_s=3600)) == [0, 0]


def test_only_idle_user_jobs_of_the_vanilla_universe_are_demand(pool: Pool, config: PublisherConfig) -> None:
    submit(pool, "request_memory = 100", 2)
    held = submit(pool, "hold = true", 4)
    removed = submit(pool, "leave_in_queue = true", 5)
    pool.run(["condor_rm", str(removed)])
    submit(pool, "universe = parallel\nmachine_count = 1", 8)
    assert idle(ask(config)) == [2, 0]
    pool.run(["condor_release", str(held)])
    assert idle(ask(config)) == [6, 0]


def test_user_jobs_that_are_not_yet_made_are_demand_unless_held(pool: Pool, config: PublisherConfig) -> None:
    by_idle = submit(pool, "max_idle = 5\nrequest_memory = 100", 100)
    submit(pool, "max_materialize = 7\nrequest_memory = 100", 30)
    assert wait_until(lambda: len(pool.user_jobs()) == 12, 60, step_s=0.5)
    ((job,), _) = grouped(ask(config))
    assert job.group.idle_jobs == 100 + 7
    pool.run(["condor_hold", str(by_idle)])
    assert idle(ask(config)) == [7, 0]
    pool.run(["condor_release", str(by_idle)])
    assert idle(ask(config)) == [107, 0]


def test_what_is_asked_of_gpus_is_known(pool: Pool, config: PublisherConfig) -> None:
    submit(pool, "request_gpus = 2\ngpus_minimum_capability = 8.0\ngpus_minimum_memory = 8GB")
    submit(pool, 'request_gpus = 1\nrequire_gpus = Capability >= 7.5 && DeviceName == "A100"')
    submit(pool, "request_gpus = 1\nrequire_gpus = Capability >= 9 || GlobalMemoryMb > 9000")
    jobs, _ = grouped(ask(config))
    asked = {
        (job.group.request.gpus, job.group.request.gpu_capability, job.group.request.gpu_memory_mib) for job in jobs
    }
    assert asked == {(2, "8.0", 8192), (1, "7.5", None), (1, None, None)}
    assert all("RequireGPUs = " in job.ad for job in jobs)


def test_requirements_and_accounting_groups_keep_groups_apart(pool: Pool, config: PublisherConfig) -> None:
    submit(pool, 'requirements = OpSysAndVer == "AlmaLinux9"')
    submit(pool, 'requirements = TARGET.GLIDEIN_Site == MY.WantSite\n+WantSite = "North"')
    submit(pool, 'requirements = TARGET.GLIDEIN_Site == MY.WantSite\n+WantSite = "South"')
    submit(pool, "accounting_group = group_sim", 2)
    submit(pool, "accounting_group = group_sim", 3, schedd=TWO)
    jobs, _ = grouped(ask(config))
    assert [(job.group.idle_jobs, job.group.accounting_group) for job in jobs] == [(5, "group_sim"), *[(1, None)] * 3]
    assert sorted(job.ad.count('"North"') for job in jobs) == [0, 0, 0, 1]
    assert {job.domain for job in jobs} == {pool.trust_domain}


def test_the_schedds_that_are_configured_are_asked(pool: Pool, config: PublisherConfig) -> None:
    def asked(schedds: object) -> list[tuple[str, Optional[str]]]:
        return [(schedd.name, schedd.error) for schedd in ask(config, schedds=schedds).schedds]

    assert pool.folder.exists()
    assert asked("all") == [(ONE, None), (TWO, None)]
    assert asked((TWO,)) == [(TWO, None)]
    assert asked((TWO, "third@pool.test")) == [(TWO, None), ("third@pool.test", "it is not in the collector")]


@pytest.mark.parametrize("name", [ONE, TWO])
def test_the_local_schedd_alone_is_asked_on_its_host(
    pool: Pool, config: PublisherConfig, tmp_path: Path, name: str
) -> None:
    local = tmp_path / "condor_config"
    local.write_text(f"include : {pool.admin_config}\nSCHEDD_NAME = {name}\n")
    settings = replace(config, pool=replace(config.pool, condor_config=str(local)))
    assert [(schedd.name, schedd.error) for schedd in ask(settings, schedds="local").schedds] == [(name, None)]


def test_a_token_that_may_only_read_is_enough_from_another_host(
    pool: Pool, config: PublisherConfig, tmp_path: Path
) -> None:
    submit(pool, "", 2, schedd=TWO)
    client = tmp_path / "condor_config"
    lines = (f"COLLECTOR_HOST = {pool.collector}", "SEC_CLIENT_AUTHENTICATION_METHODS = IDTOKENS", "LOG = $(LOCAL_DIR)")
    client.write_text("\n".join((*lines, f"LOCAL_DIR = {tmp_path}", "CONDOR_IDS = 65534.65534", "")))
    tokens = tmp_path / "tokens"
    tokens.mkdir(mode=0o700)
    (tokens / "read").touch(mode=0o600)
    (tokens / "read").write_text(pool.token("census", 600, ["READ"]) + "\n")
    remote = replace(config, pool=replace(config.pool, condor_config=str(client)))
    assert idle(ask(remote, token_directory=str(tokens))) == [0, 2]


def test_a_schedd_that_hangs_and_is_killed_keeps_its_user_jobs_and_the_other_answers(
    pool: Pool, config: PublisherConfig
) -> None:
    now = datetime.now(timezone.utc).replace(microsecond=0)
    submit(pool, "", 2)
    submit(pool, "", 3, schedd=TWO)
    good = last_good.complete(config, ask(config), now=now)
    assert idle(good) == [2, 3]
    pid = pid_of_second(pool)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    slow = last_good.complete(config, ask(config, timeout_s=10), now=now + timedelta(minutes=1))
    assert idle(slow) == [2, 3]
    assert [schedd.error for schedd in slow.schedds] == [None, "census: no answer within 10 s"]
    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(ask, config)
        time.sleep(1)
        os.kill(pid, signal.SIGKILL)
        dead = last_good.complete(config, asking.result(), now=now + timedelta(minutes=2))
    assert idle(dead) == [2, 3]
    assert dead.schedds[1].error
    assert [schedd.asked_at for schedd in dead.schedds] == [None, now]
    assert wait_until(lambda: ask(config, timeout_s=10).schedds[1].error is None, 90, step_s=0.5)
    assert idle(ask(config)) == [2, 3]


def test_slots_of_glideins_are_seen_with_what_user_jobs_look_at(
    pool: Pool, config: PublisherConfig, account_folder: Path
) -> None:
    submit(pool, 'requirements = TARGET.HasFoo\n+WantSite = "North"')
    slots = {"a": (3, 5, True), "b": (0, 8, True), "c": (4, 0, False)}
    for name, (free, running, is_ours) in slots.items():
        who = "glidein-north" if is_ours else "glidein-NONE"  # (the testbed lets no others in; this is no site's name)
        tokens = pool.account.make_folder(account_folder / who)
        (tokens / "t").write_text(pool.token(who, 600, ["READ", "ADVERTISE_STARTD", "ADVERTISE_MASTER"]) + "\n")
        pool.account.give(tokens / "t", 0o600)
        ours = 'GLIDEPOST_Site = "north"\nGLIDEPOST_Shape = "cpu"\n' if is_ours else ""
        ad = SLOT.format(name=name, free=free, running=running) + ours
        options = [f"_CONDOR_SEC_TOKEN_DIRECTORY={tokens}", "_CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS=IDTOKENS"]
        pool.run(["env", *options, "condor_advertise", "UPDATE_STARTD_AD", "-"], stdin=ad)
    answer = ask(config)
    seen = {(slot.site, slot.cpus_free): slot for slot in answer.slots}
    assert set(seen) == {("north", 3), ("north", 0), ("", 4)}
    free = seen["north", 3]
    assert (free.memory_free_mib, free.disk_free_mib, free.start, free.to_retire) == (4000, 4882, 10**9, 4 * 10**9)
    assert "HasFoo = true" in free.ad
    assert not any(word in free.ad for word in ("somebody", "Machine", "GLIDEIN_ToRetire"))
    assert answer.metrics is not None
    assert (answer.metrics.running_inside, answer.metrics.glidein_cpus) == (13, {"north": 16})
    assert answer.metrics.started_jobs == 0
