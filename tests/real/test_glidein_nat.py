"""A glidein on a worker node that nobody can reach: network namespaces as other hosts, a router that hides the node."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import networks
import pytest
from glideins import Built, Site, open_site
from namespaces import Host
from networks import Nat

from glidepost.infra.demo.testbed import Account, Condor, Pool, wait_until

PORT = 9618
# Says how a connection to address and port went.
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 2).close()
    print("open")
except OSError as error:
    print("closed:", error)
"""


@pytest.fixture
def nat(account: Account, work: Path) -> Iterator[Nat]:
    with networks.nat(account, work, PORT) as hosts:
        yield hosts


@pytest.fixture
def hidden(nat: Nat, condor: Condor, built: Built, account_folder: Path) -> Iterator[Site]:
    """A worker node behind the router; its pool is on the other side."""
    pool = Pool(nat.pool.account, condor, account_folder / "pool", port=PORT, host=networks.POOL)
    try:
        pool.start()
        with open_site(pool, built, account_folder, "hidden", nat.node.account.prefix) as site:
            yield site
    finally:
        pool.stop()


def connections(host: Host) -> set[tuple[str, str]]:
    """Returns what the host's TCP connections are with: (address, port), those with itself apart; and its listeners."""
    found = set()
    for line in host.run("cat", "/proc/net/tcp").splitlines()[1:]:
        _, local, remote, state, *_ = line.split()
        own, other = (socket.inet_ntoa(bytes.fromhex(text[:8])[::-1]) for text in (local, remote))
        if state != "0A" and other not in (own, "0.0.0.0"):
            found.add((other, str(int(remote[9:], 16))))
    return found


def reach(host: Host, address: str, port: str) -> str:
    return host.run(sys.executable, "-c", CONNECT, address, port).strip()


def test_user_jobs_run_behind_a_router_that_lets_nothing_in(hidden: Site, nat: Nat) -> None:
    go_on = hidden.folder / "jobs" / "go-on"
    cluster = hidden.submit(f"until test -e {go_on}; do sleep 0.2; done; echo done", 2)
    process = hidden.start(NETWORK_INTERFACE="")
    hidden.wait_for_running(cluster, 2)
    startd = re.search(rf"<{re.escape(networks.NODE)}:(\d+)", str(hidden.slots()[0]["MyAddress"]))
    assert startd, hidden.slots()
    # While both run, the node's only connections are those that it made to the collector's port.
    assert connections(nat.node) == {(networks.POOL, str(PORT))}
    assert nat.count("to_the_collector") > 0
    # Nobody outside has tried to reach it; who does cannot, though something listens there.
    assert nat.count("inward") == 0
    assert reach(nat.node, networks.NODE, startd[1]) == "open"
    assert reach(nat.pool, networks.NODE, startd[1]).startswith("closed")
    assert nat.count("inward") > 0
    go_on.touch()
    assert wait_until(lambda: not hidden.states(cluster), 60)
    record = hidden.end(process)
    assert (record["code"], record["outcome"]) == (0, "idle-shutdown"), record["output"]
    assert [(hidden.folder / "jobs" / f"out.{number}").read_text() for number in (0, 1)] == ["done\n"] * 2
    assert nat.count("elsewhere") == 0
