"""What a site's pool token can do in a real pool, what it cannot, whoever made it; and that a site can be shut out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import pytest
from glideins import Site, open_site

from glidepost.infra.demo.testbed import Account, Pool, wait_until
from glidepost.publisher.pool import Pool as AskedPool
from glidepost.publisher.revocation import condor_config
from glidepost.publisher.tokens import KeyFileTokens, TokenMaker, ToolTokens
from glidepost.schema import idtoken
from glidepost.schema.keys import SigningKey
from glidepost.schema.publisher_config import DemandSettings, PoolSettings, PublisherConfig, StoreSettings
from glidepost.schema.sites import EnrolledSite

KEY = SigningKey.generate().public
# An ad, and the command that brings it: one row for each kind of daemon.
AD = 'MyType = "{kind}"\nName = "{name}"\nMachine = "x"\nMyAddress = "<127.0.0.1:1>"\nState = "Unclaimed"\nCpus = 1\n'
OTHERS = ("SCHEDD", "SUBMITTOR", "NEGOTIATOR", "COLLECTOR", "LICENSE", "STORAGE", "AD_GENERIC", "ACCOUNTING")


@dataclass(frozen=True)
class Client:
    """Somebody on another host, who has a site's token and HTCondor's tools and nothing else of the pool."""

    pool: Pool
    folder: Path

    def run(self, *argv: str, stdin: str = "") -> tuple[int, str]:
        """Returns the exit code and all that was said."""
        env = {name: value for name, value in self.pool.env().items() if not name.startswith("_CONDOR")}
        env["CONDOR_CONFIG"] = str(self.folder / "condor_config")
        done = self.pool.account.run(argv, env=env, stdin=stdin, timeout_s=60)
        return done.returncode, done.stdout + done.stderr

    def advertise(self, kind: str, name: str) -> bool:
        """Returns whether the collector took an ad."""
        text = AD.format(kind=kind.title(), name=name)
        return self.run("condor_advertise", "-tcp", f"UPDATE_{kind}", "-", stdin=text)[0] == 0


def open_client(pool: Pool, folder: Path, token: str) -> Client:
    pool.account.make_folder(folder)
    tokens = pool.account.make_folder(folder / "tokens.d", 0o700)
    (tokens / "pool").write_text(token + "\n")
    pool.account.give(tokens / "pool", 0o600)
    domain = pool.trust_domain
    settings = {
        "RELEASE_DIR": pool.condor.release,
        "LOCAL_DIR": folder,
        "LOG": folder,
        "CONDOR_HOST": pool.host,
        "COLLECTOR_HOST": pool.collector,
        "ENABLE_IPV6": "false",
        "NO_DNS": "true",
        "DEFAULT_DOMAIN_NAME": domain,
        "UID_DOMAIN": "elsewhere.test",
        "SEC_DEFAULT_AUTHENTICATION": "REQUIRED",
        "SEC_DEFAULT_ENCRYPTION": "REQUIRED",
        "SEC_DEFAULT_INTEGRITY": "REQUIRED",
        "SEC_CLIENT_AUTHENTICATION_METHODS": "IDTOKENS",
        "SEC_TOKEN_DIRECTORY": tokens,
        "SEC_TOKEN_SYSTEM_DIRECTORY": tokens,
        "SEC_PASSWORD_DIRECTORY": folder / "none",
        "SEC_TOKEN_POOL_SIGNING_KEY_FILE": folder / "none" / "POOL",
        "SEC_KNOWN_HOSTS": folder / "known_hosts",
    }
    config = "".join(f"{name} = {value}\n" for name, value in settings.items())
    (folder / "condor_config").write_text(config)
    return Client(pool, folder)


@pytest.fixture(params=["tool", "key-file"])
def tokens(request: pytest.FixtureRequest, pool: Pool) -> TokenMaker:
    """Each way to make tokens, as root or as the pool's own user."""
    if request.param == "tool":
        tool = str(pool.condor.bin / "condor_token_create")
        return ToolTokens(tool, "POOL", pool.trust_domain, 600, {"CONDOR_CONFIG": str(pool.admin_config)})
    key = pool.admin_config.parent / "passwords.d" / "POOL"
    return KeyFileTokens(key, "POOL", pool.trust_domain, 600)


@pytest.fixture
def client(pool: Pool, tokens: TokenMaker, account_folder: Path) -> Client:
    return open_client(pool, account_folder / "client", tokens.token("north"))


@pytest.fixture
def shut_out(pool: Pool) -> Iterator[object]:
    """Writes the file of sites that are shut out, as an admin does: shut_out(north=EnrolledSite(...))."""
    file = pool.folder / "config.d" / "90-glidepost-revoked.conf"

    def write(*sites: EnrolledSite) -> None:
        file.write_text(condor_config({site.name: site for site in sites}, pool.trust_domain))
        file.chmod(0o644)
        wanted = [line.partition(" = ")[0] for line in file.read_text().splitlines() if not line.startswith("#")]
        assert len(pool.run(["condor_config_val", *wanted]).splitlines()) == len(wanted)
        pool.run(["condor_reconfig"])

    yield write
    file.unlink(missing_ok=True)
    pool.run(["condor_reconfig"])


def collector_log(pool: Pool) -> str:
    return (pool.folder / "log" / "CollectorLog").read_text(errors="replace")


def now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)


def test_a_sites_token_advertises_glideins_and_nothing_else(client: Client, pool: Pool) -> None:
    assert client.advertise("STARTD_AD", "slot1@gp-x")
    assert client.advertise("MASTER_AD", "gp-x")
    (slot,) = pool.slots('Name == "slot1@gp-x"')
    assert slot["AuthenticatedIdentity"] == f"glidein-north@{pool.trust_domain}"
    for kind in OTHERS:
        command = kind if kind.startswith("AD_") else f"{kind}_AD"
        assert not client.advertise(command, f"evil-{kind}"), kind
    assert "evil" not in pool.run(["condor_status", "-any", "-af", "Name"])
    assert pool.run(["condor_status", "-schedd", "-af", "Name"]).split() == [f"ap@{pool.trust_domain}"]


def test_a_sites_token_does_not_make_its_glidein_somebody_elses(client: Client, pool: Pool) -> None:
    ad = AD.format(kind="Machine", name="slot1@gp-y") + f'AuthenticatedIdentity = "glidein-south@{pool.trust_domain}"\n'
    assert client.run("condor_advertise", "-tcp", "UPDATE_STARTD_AD", "-", stdin=ad)[0] == 0
    (slot,) = pool.slots('Name == "slot1@gp-y"')
    assert slot["AuthenticatedIdentity"] == f"glidein-north@{pool.trust_domain}"


def test_a_slot_counts_for_the_site_whose_token_brought_it_in(client: Client, pool: Pool) -> None:
    ad = AD.format(kind="Machine", name="slot1@gp-z") + 'GLIDEPOST_Site = "south"\nGLIDEPOST_Shape = "of-the-thief"\n'
    assert client.run("condor_advertise", "-tcp", "UPDATE_STARTD_AD", "-", stdin=ad)[0] == 0
    config = PublisherConfig(
        pool=PoolSettings("demo", (pool.collector,), pool.trust_domain, condor_config=str(pool.admin_config)),
        demand=DemandSettings("none", "none"),
        store=StoreSettings("none", "http://127.0.0.1"),
    )
    assert [slot.site for slot in AskedPool(config).ask().slots if slot.shape == "of-the-thief"] == ["north"]


def test_a_sites_token_cannot_submit_or_touch_user_jobs(client: Client, pool: Pool) -> None:
    schedd = f"ap@{pool.trust_domain}"
    cluster = pool.submit("executable = /bin/true\nhold = true")
    try:
        address = pool.run(["condor_status", "-schedd", "-af", "MyAddress"]).strip()
        for argv in (
            ["condor_submit", "-addr", address, "-remote", schedd, "-"],
            ["condor_rm", "-addr", address, str(cluster)],
            ["condor_qedit", "-name", schedd, str(cluster), "Foo", "1"],
            ["condor_q", "-name", schedd, "-all"],
            ["condor_q", "-direct", "schedd", "-name", schedd, "-all"],
        ):
            code, said = client.run(*argv, stdin="executable = /bin/true\nqueue\n")
            assert code != 0, (argv, said)
        assert [job["JobStatus"] for job in pool.user_jobs()] == [5]
    finally:
        pool.run(["condor_rm", str(cluster)])


@pytest.mark.parametrize("daemon", ["schedd", "collector", "negotiator", "master"])
def test_a_sites_token_cannot_read_or_change_configuration(client: Client, pool: Pool, daemon: str) -> None:
    address = pool.run(["condor_status", f"-{daemon}", "-af", "MyAddress"]).splitlines()[0]
    for argv in (
        ["condor_config_val", "-addr", address, "SEC_PASSWORD_DIRECTORY"],
        ["condor_config_val", "-addr", address, "-rset", "ALLOW_WRITE = *"],
        ["condor_config_val", "-addr", address, "-set", "ALLOW_WRITE = *"],
        ["condor_reconfig", "-addr", address],
        ["condor_off", "-addr", address],
    ):
        code, said = client.run(*argv)
        assert "passwords.d" not in said, argv
        assert code != 0, (argv, said)


def test_a_sites_token_cannot_store_credentials_or_set_priorities(client: Client, pool: Pool) -> None:
    schedd = f"ap@{pool.trust_domain}"
    for argv in (
        ["condor_store_cred", "query-pwd", "-u", f"nobody@{pool.trust_domain}", "-n", schedd],
        ["condor_store_cred", "add-pwd", "-p", "x", "-u", f"condor_pool@{pool.trust_domain}", "-n", schedd],
        ["condor_userprio", "-setfactor", f"a@{pool.trust_domain}", "1"],
        ["condor_status", "-any"],
    ):
        code, said = client.run(*argv)
        assert code != 0, (argv, said)


def test_a_sites_token_brings_no_better_one(client: Client) -> None:
    """HTCondor gives who asks a token of his own identity: with no more rights, and no longer life."""
    ours = idtoken.claims((client.folder / "tokens.d" / "pool").read_text())
    argv = ["condor_token_fetch", "-type", "COLLECTOR", "-lifetime", "999999"]
    code, said = client.run(*argv)
    assert code == 0, said
    got = idtoken.claims(said)
    assert got["sub"] == ours["sub"]
    assert int(str(got["exp"])) <= int(str(ours["exp"]))
    assert set(str(got["scope"]).split()) <= set(str(ours["scope"]).split())
    for level in ("ADVERTISE_SCHEDD", "WRITE", "DAEMON", "ADMINISTRATOR"):
        code, said = client.run(*argv, "-authz", level)
        assert code != 0, said


def test_a_glidein_with_such_a_token_joins_and_runs_a_user_job(site: Site, tokens: TokenMaker) -> None:
    site.put_token(tokens.token(site.name))
    cluster = site.submit("echo done")
    site.start()
    assert wait_until(lambda: site.states(cluster) == [], 60), site.states(cluster)
    assert (site.folder / "jobs" / "out.0").read_text() == "done\n"


def test_after_a_site_is_shut_out_none_of_its_glideins_gets_a_user_job_and_others_do(
    pool: Pool, site: Site, built: object, account_folder: Path, shut_out, account: Account
) -> None:
    with open_site(pool, built, account.make_folder(account_folder / "other"), "another-site") as other:
        old = site.start(IDLE_S="300")
        other.start(IDLE_S="300")
        assert wait_until(lambda: site.slots() and other.slots(), 60)
        shut_out(EnrolledSite(site.name, KEY, revoked_at=now()))
        who = f"PERMISSION DENIED to glidein-{site.name}@{pool.trust_domain}"
        assert wait_until(lambda: "UPDATE_STARTD_AD" in last_line(pool, who), 60)
        heard, seen = heard_of(site), heard_of(other)
        ours, theirs = site.submit("true"), other.submit("true")
        assert wait_until(lambda: other.states(theirs) == [], 60)
        assert wait_until(lambda: heard_of(other) > seen, 60)
        assert heard_of(site) == heard
        assert site.states(ours) == [1]
        old.terminate()
        site.end(old)
        record = site.end(site.start())
        assert record["outcome"] == "never-joined"
        assert site.states(ours) == [1]


def test_user_jobs_that_run_there_are_taken_back_by_the_commands_of_the_manual(
    pool: Pool, site: Site, shut_out
) -> None:
    cluster = site.submit("sleep 600")
    site.start(IDLE_S="300")
    site.wait_for_running(cluster)
    shut_out(EnrolledSite(site.name, KEY, revoked_at=now()))
    who = f'AuthenticatedIdentity == "glidein-{site.name}@{pool.trust_domain}" && SlotID == 1'
    (glidein,) = set(pool.run(["condor_status", "-constraint", who, "-af", "splitSlotName(Name)[1]"]).split())
    pool.run(["condor_vacate_job", "-constraint", f'splitSlotName(RemoteHost)[1] == "{glidein}"'])
    assert wait_until(lambda: site.states(cluster) == [1], 60), site.states(cluster)
    other = site.submit("true")
    assert not wait_until(lambda: site.states(cluster) != [1] or site.states(other) != [1], 10)


def test_a_site_that_is_let_in_again_joins_with_a_new_token_and_not_with_an_old_one(
    pool: Pool, site: Site, shut_out, account_folder: Path
) -> None:
    old = open_client(pool, account_folder / "client", site.token.read_text().strip())
    assert old.advertise("STARTD_AD", f"slot1@{site.name}")
    shut_out(EnrolledSite(site.name, KEY, revoked_at=now()))
    assert wait_until(lambda: not old.advertise("STARTD_AD", f"slot1@{site.name}"), 60)
    time.sleep(1)  # the times in tokens are in whole seconds
    again = now()
    shut_out(EnrolledSite(site.name, KEY, tokens_from=again))
    site.put_token(pool.token(f"glidein-{site.name}", 600, ["READ", "ADVERTISE_STARTD", "ADVERTISE_MASTER"]))
    new = open_client(pool, account_folder / "new", site.token.read_text().strip())
    assert wait_until(lambda: new.advertise("STARTD_AD", f"slot2@{site.name}"), 60)
    assert not old.advertise("STARTD_AD", f"slot1@{site.name}")
    cluster = site.submit("true")
    site.start()
    assert wait_until(lambda: site.states(cluster) == [], 60)


def test_what_was_configured_before_still_holds(pool: Pool, shut_out, account_folder: Path) -> None:
    """The file is read after others, and adds to them."""
    others = pool.folder / "config.d" / "50-others.conf"
    domain = pool.trust_domain
    others.write_text(
        f"DENY_ADVERTISE_STARTD = glidein-bad@{domain}\n"
        f'SEC_TOKEN_REVOCATION_EXPR = sub == "glidein-worse@{domain}"\nNEGOTIATOR_SLOT_CONSTRAINT = Cpus > 0\n'
    )
    others.chmod(0o644)
    try:
        shut_out(EnrolledSite("north", KEY, revoked_at=now()))
        clients = {
            name: open_client(pool, account_folder / name, pool.token(f"glidein-{name}", 600, ["ADVERTISE_STARTD"]))
            for name in ("bad", "worse", "north", "south")
        }
        assert wait_until(lambda: not clients["north"].advertise("STARTD_AD", "slot1@north"), 60)
        took = {name: client.advertise("STARTD_AD", f"slot1@{name}") for name, client in clients.items()}
        assert took == {"bad": False, "worse": False, "north": False, "south": True}
    finally:
        others.unlink()


def last_line(pool: Pool, beginning: str) -> str:
    lines = [line for line in collector_log(pool).splitlines() if beginning in line]
    return lines[-1] if lines else ""


def heard_of(site: Site) -> int:
    return max(int(str(slot["LastHeardFrom"])) for slot in site.slots())
