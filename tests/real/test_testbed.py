from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from namespaces import held
from networks import get_tools

from glidepost.infra.demo.elf_retarget import Elf, dynamic_files
from glidepost.infra.demo.testbed import (
    Account,
    Condor,
    Pool,
    Slurm,
    Store,
    clone_folder,
    daemons_of,
    wait_until,
)
from glidepost.schema.errors import BatchError, PoolError, StoreError

JOB = "executable = /bin/true\ntransfer_executable = false\nrequest_cpus = 1\nrequest_memory = 64\nrequest_disk = 1MB\n"
GLIDEIN = ["READ", "ADVERTISE_STARTD", "ADVERTISE_MASTER"]


# --- pool


def test_a_user_job_stays_idle_where_there_is_no_execution_point(pool: Pool) -> None:
    assert wait_until(lambda: pool.slots() == [], 120), "what other tests killed goes within minutes"
    cluster = pool.submit(JOB, count=2)
    time.sleep(3)  # more than one negotiation
    jobs = pool.user_jobs(f"ClusterId == {cluster}")
    assert [job["JobStatus"] for job in jobs] == [1, 1]
    assert {job["Owner"] for job in jobs} == {pool.account.name}
    assert pool.slots() == []
    pool.run(["condor_rm", str(cluster)])
    assert wait_until(lambda: not pool.user_jobs(f"ClusterId == {cluster}"), 60)


def ping(pool: Pool, folder: Path, token: str, *levels: str) -> str:
    """Returns what condor_ping says to somebody who has nothing but a token."""
    pool.account.make_folder(folder / "tokens.d", 0o700)
    pool.account.run(["sh", "-c", 'umask 077; cat > "$1"', "sh", str(folder / "tokens.d" / "token")], stdin=token)
    env = {
        **pool.env(),
        "_CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS": "IDTOKENS",
        "_CONDOR_SEC_TOKEN_DIRECTORY": str(folder / "tokens.d"),
        "_CONDOR_SEC_PASSWORD_DIRECTORY": str(folder),
        "_CONDOR_SEC_TOKEN_POOL_SIGNING_KEY_FILE": str(folder / "none"),
    }
    done = pool.account.run(["condor_ping", "-type", "collector", "-table", *levels], env=env)
    return done.stdout + done.stderr


def test_only_identities_of_glideins_may_join(pool: Pool, account_folder: Path) -> None:
    token = pool.token("glidein-north", 600, GLIDEIN)
    said = ping(pool, account_folder, token, "ADVERTISE_STARTD", "ADVERTISE_MASTER", "READ", "WRITE", "DAEMON")
    rows = {row[0]: row for row in (line.split() for line in said.splitlines()) if len(row) > 4}
    assert {name: row[4] for name, row in rows.items() if name != "Instruction"} == {
        "ADVERTISE_STARTD": "ALLOW",
        "ADVERTISE_MASTER": "ALLOW",
        "READ": "FAIL",
        "WRITE": "FAIL",
        "DAEMON": "FAIL",
    }, said
    assert rows["ADVERTISE_STARTD"][-1] == "glidein-north@pool.test"


@pytest.mark.parametrize("name", ["glidein", "north", "condor"])
def test_a_token_of_another_identity_may_not_join(pool: Pool, account_folder: Path, name: str) -> None:
    said = ping(pool, account_folder, pool.token(name, 600, GLIDEIN), "ADVERTISE_STARTD")
    assert "ALLOW" not in said
    assert "FAIL" in said or "DENIED" in said


def test_the_caller_can_make_tokens_with_the_admin_configuration(pool: Pool) -> None:
    argv = [str(pool.condor.bin / "condor_token_create"), "-identity", "glidein-north@pool.test", "-key", "POOL"]
    done = subprocess.run(
        [*argv, "-lifetime", "60", "-authz", "READ"],
        env={**os.environ, "CONDOR_CONFIG": str(pool.admin_config)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.stdout.startswith("eyJ"), done.stderr
    queue = subprocess.run(
        [str(pool.condor.bin / "condor_q"), "-all"],
        env={**os.environ, "CONDOR_CONFIG": str(pool.admin_config)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert queue.returncode == 0, queue.stderr


def test_a_pool_can_be_stopped_by_another_process_and_keeps_its_port(
    account: Account, condor: Condor, account_folder: Path
) -> None:
    pool = Pool(account, condor, account_folder / "pool")
    pool.start()
    before = pool.collector
    master = pool.folder / "run" / "master.pid"
    pid = master.read_text()
    pool.start()
    assert master.read_text() == pid
    text = (
        "import sys; from pathlib import Path\n"
        "from glidepost.infra.demo.testbed import Account, Condor, Pool\n"
        "a, prefix, folder = Account.current(), Path(sys.argv[1]), Path(sys.argv[2])\n"
        "Pool(a, Condor.in_prefix(prefix), folder).stop()\n"
    )
    subprocess.run([sys.executable, "-c", text, str(condor.release), str(pool.folder)], check=True)
    assert daemons_of(pool.folder) == []
    pool.start()
    assert pool.collector == before
    pool.stop()
    pool.stop()


def test_a_process_that_has_got_a_daemons_old_number_is_left_alone(pool: Pool, account_folder: Path) -> None:
    other = Pool(pool.account, pool.condor, account_folder / "pool")
    pool.account.make_folder(other.folder)
    pool.account.make_folder(other.folder / "run")
    stranger = subprocess.Popen([*pool.account.prefix, "sleep", "60"])
    try:
        number = other.folder / "run" / "master.pid"
        number.write_text(str(stranger.pid))
        other.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_pool_that_cannot_start_says_why(pool: Pool, account_folder: Path) -> None:
    taken = int(pool.collector.rpartition(":")[2])
    other = Pool(pool.account, pool.condor, account_folder / "pool", port=taken)
    with pytest.raises(PoolError, match=f"port {taken} is taken"):
        other.start()


def test_a_tool_that_fails_says_what_it_said(pool: Pool) -> None:
    with pytest.raises(PoolError, match=r"condor_submit -terse -: (?s:.)*Failed to parse command file"):
        pool.submit("no such command\n")
    with pytest.raises(PoolError, match="no_such_tool"):
        pool.run(["no_such_tool"])


# --- store

ALLOWED = [
    "index.html",
    "v1/demand.json",
    "v1/keys.json",
    "v1/status.json",
    "v1/sites/north.json",
    "v1/glidein/00ff.tar.gz",
]
REFUSED = ["v1/heartbeats/north.json", "v1/demand.json.bak", "v1/other", "started", "v1/sites", "keys.json"]


@pytest.fixture(scope="module")
def filled(store: Store) -> Store:
    for key in [*ALLOWED, *REFUSED]:
        store.client().put_object(Bucket=store.bucket, Key=key, Body=key.encode())
    return store


@pytest.mark.parametrize("key", ALLOWED)
def test_anybody_may_fetch_what_is_public_and_asks_again_for_nothing(filled: Store, key: str) -> None:
    first = requests.get(f"{filled.public_url}/{key}", timeout=60)
    assert (first.status_code, first.text) == (200, key)
    again = requests.get(f"{filled.public_url}/{key}", headers={"If-None-Match": first.headers["ETag"]}, timeout=60)
    assert again.status_code == 304


@pytest.mark.parametrize("key", [*REFUSED, "", "?list-type=2", "?list-type=2&prefix=v1/heartbeats/", "?policy"])
def test_nobody_else_may_fetch_or_list_the_rest(filled: Store, key: str) -> None:
    assert requests.get(f"{filled.public_url}/{key}", timeout=60).status_code == 403


@pytest.mark.parametrize("key", ["v1/demand.json", "v1/heartbeats/north.json", "v1/sites/new.json"])
def test_nobody_else_may_write_or_delete(filled: Store, key: str) -> None:
    url = f"{filled.public_url}/{key}"
    assert requests.put(url, data=b"forged", timeout=60).status_code == 403
    assert requests.delete(url, timeout=60).status_code == 403
    assert requests.post(filled.public_url, data={"key": key}, files={"file": b"x"}, timeout=60).status_code >= 400


def test_a_form_takes_a_file_for_its_own_key_and_no_other(filled: Store) -> None:
    key = "v1/heartbeats/south.json"
    form = filled.client().generate_presigned_post(
        filled.bucket,
        key,
        Fields={"Content-Type": "application/json"},
        Conditions=[{"Content-Type": "application/json"}, ["content-length-range", 2, 64]],
        ExpiresIn=60,
    )

    def post(body: bytes, **changed: str) -> int:
        fields = {**form["fields"], **changed}
        return requests.post(form["url"], data=fields, files={"file": body}, timeout=60).status_code

    assert post(b"{}") == 204
    assert post(b"{}", key="v1/heartbeats/north.json") == 403
    assert post(b"{}", key="v1/demand.json") == 403
    assert post(b"x" * 65) == 400
    assert filled.client().get_object(Bucket=filled.bucket, Key=key)["Body"].read() == b"{}"


def test_the_credentials_are_for_the_callers_eyes(store: Store) -> None:
    seen = store.credentials.stat()
    assert seen.st_mode & 0o777 == 0o600
    assert seen.st_uid == os.geteuid()


def test_a_store_keeps_what_it_has_over_a_restart(account: Account, account_folder: Path) -> None:
    account_folder.chmod(0o755)
    store = Store(account, account_folder.with_name("store-restarted"))
    with pytest.raises(StoreError, match="holds no store"):
        _ = store.endpoint
    store.start()
    try:
        store.client().put_object(Bucket=store.bucket, Key="v1/demand.json", Body=b"kept")
        url = store.public_url
        store.stop()
        assert daemons_of(store.folder) == []
        store.start()
        assert store.public_url == url
        assert requests.get(f"{url}/v1/demand.json", timeout=60).text == "kept"
    finally:
        store.stop()


# --- Slurm


def queue(slurm: Slurm, name: str) -> list[str]:
    return slurm.run(["squeue", "-h", "-r", "-n", name, "-o", "%t"]).split()


def test_an_array_of_two_is_listed_and_done(slurm: Slurm, account_folder: Path) -> None:
    script = '#!/bin/sh\nwhile [ ! -e go ]; do sleep 0.2; done\nid -u > "done-$SLURM_ARRAY_TASK_ID"\n'
    argv = ["sbatch", "--parsable", "-J", "two", "--array=0-1", "-D", str(account_folder), "-o", "/dev/null"]
    assert slurm.run(argv, stdin=script).strip().isdigit()
    assert len(queue(slurm, "two")) == 2
    assert wait_until(lambda: queue(slurm, "two") == ["R", "R"], 60)
    slurm.account.run(["touch", str(account_folder / "go")])
    assert wait_until(lambda: queue(slurm, "two") == [], 60)
    assert [(account_folder / f"done-{i}").read_text().strip() for i in (0, 1)] == [str(slurm.account.uid)] * 2


def test_a_batch_job_gets_one_of_two_fake_gpus(slurm: Slurm, account_folder: Path) -> None:
    script = '#!/bin/sh\necho "$CUDA_VISIBLE_DEVICES"\n'
    options = ["-J", "gpu", "-p", "gpu", "--gres=gpu:1", "-D", str(account_folder), "-o", "out"]
    slurm.run(["sbatch", *options], stdin=script)
    assert wait_until(lambda: queue(slurm, "gpu") == [], 60)
    assert (account_folder / "out").read_text().strip() in {"0", "1"}


def test_a_closed_partition_keeps_its_batch_jobs_waiting(slurm: Slurm) -> None:
    slurm.run(["sbatch", "-J", "late", "-p", "closed", "-o", "/dev/null"], stdin="#!/bin/sh\n")
    assert queue(slurm, "late") == ["PD"]
    slurm.run(["scancel", "-n", "late"])
    with pytest.raises(BatchError, match="invalid partition"):
        slurm.run(["sbatch", "-p", "nosuch"], stdin="#!/bin/sh\n")


def test_a_stop_ends_batch_jobs_that_ignore_signals_in_a_deep_folder_too(
    account: Account, slurm: Slurm, account_folder: Path
) -> None:
    deep = account_folder / ("deep" * 12) / ("deeper" * 10)
    other = Slurm(account, slurm.prefix, deep / "slurm")
    other.start()
    script = "#!/bin/sh\ntrap '' TERM\necho $$ > pid\nwhile :; do sleep 1; done\n"
    other.run(["sbatch", "-D", str(account_folder), "-o", "/dev/null"], stdin=script)
    pid = account_folder / "pid"
    assert wait_until(lambda: pid.is_file() and pid.read_text().strip() != "", 60)
    other.stop()
    assert daemons_of(other.folder) == []
    with suppress(OSError):  # gone
        environ = Path("/proc", pid.read_text().strip(), "environ").read_bytes()
        assert environ == b"", "it lives, and is no zombie that nobody has reaped"
    assert not list(Path("/tmp").glob("gpslurm.*/d/munge/key"))


# --- unpacked packages


def script(name: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(clone_folder() / "infra" / "demo" / name), *arguments],
        env={"PATH": "/usr/bin:/bin", **environ},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize("name", ["get_condor.sh", "get_slurm.sh", "get_nft.sh", "get_chromium.sh", "get_busybox.sh"])
def test_a_complete_prefix_is_left_as_it_is_without_cache_or_network(tmp_path: Path, name: str) -> None:
    prefix = tmp_path / "prefix"
    prefix.mkdir()
    (prefix / ".complete").touch()
    done = script(name, str(prefix), CACHE="/nonexistent")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["get_condor.sh", "get_slurm.sh", "get_nft.sh", "get_chromium.sh", "get_busybox.sh"])
def test_an_interrupted_unpacking_is_not_taken_for_a_complete_one(tmp_path: Path, name: str) -> None:
    (tmp_path / "prefix").mkdir()
    done = script(name, str(tmp_path / "prefix"), CACHE=str(tmp_path / "cache"))
    assert done.returncode == 1
    assert "was not made by this script" in done.stderr


def test_where_packages_cannot_be_fetched_one_is_told_what_to_do(tmp_path: Path) -> None:
    done = script(
        "get_condor.sh",
        str(tmp_path / "prefix"),
        CACHE=str(tmp_path / "cache"),
        PATCHELF="/bin/true",
        DEBIAN_MIRROR="http://127.0.0.1:9/none",
    )
    assert done.returncode == 1
    assert "install HTCondor so that condor_master is on the PATH" in done.stderr
    assert not (tmp_path / "prefix").exists()
    assert not (tmp_path / "prefix.part").exists()


@pytest.mark.usefixtures("condor", "slurm")
def test_no_unpacked_program_asks_for_a_newer_glibc_than_the_hosts(work: Path) -> None:
    have = tuple(int(part) for part in os.confstr("CS_GNU_LIBC_VERSION").split()[1].split("."))  # type: ignore[union-attr]
    for prefix in (work / "condor", work / "slurm"):
        for path in dynamic_files(prefix) if prefix.is_dir() else ():
            elf = Elf.read(path)
            assert elf is not None
            too_new = [need.name for need in elf.needs() if need.version is not None and need.version > have]
            assert too_new == [], path


TAKE_ALL = """
import socket
from glidepost.infra.demo.ports import hold_port
assert hold_port(25996)
listener = socket.create_server(("127.0.0.1", 30000))
taken = []
try:
    while True:
        taken.append(socket.create_connection(("127.0.0.1", 30000)))
except OSError:
    print(*sorted(sock.getsockname()[1] for sock in taken))
"""


def test_no_connection_takes_a_port_that_is_held(account: Account, work: Path) -> None:
    with held("ten ports", "net", account) as host:
        host.run(get_tools(work)[0], "link", "set", "lo", "up")
        host.run("sh", "-c", "echo 25990 25999 >/proc/sys/net/ipv4/ip_local_port_range")
        taken = host.run(sys.executable, "-c", TAKE_ALL).split()
    assert taken == [str(port) for port in range(25990, 26000) if port != 25996]
