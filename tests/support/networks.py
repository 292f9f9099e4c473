"""Networks of their own on this machine, with a router between them that lets nobody in from outside.

No rule, setting or name is of the machine: all of it goes with the namespaces.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from namespaces import Host, held

from glidepost.infra.demo.condor import fetch
from glidepost.infra.demo.testbed import CLEAN_ENVIRONMENT, Account
from glidepost.schema.errors import GlidepostError

POOL, NODE = "10.99.0.1", "192.168.77.2"
OUTSIDE, INSIDE = "10.99.0.254", "192.168.77.1"  # of the router
RULES = f"""
table ip router {{
  counter to_the_collector {{ }}
  counter elsewhere {{ }}
  counter inward {{ }}
  chain forward {{
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "in0" ip daddr {POOL} tcp dport PORT counter name to_the_collector accept
    iifname "in0" counter name elsewhere drop
    counter name inward drop
  }}
  chain postrouting {{
    type nat hook postrouting priority 100;
    oifname "out0" masquerade
  }}
}}
"""


@dataclass(frozen=True)
class Nat:
    pool: Host
    router: Host
    node: Host
    nft: str

    def count(self, counter: str) -> int:
        """Returns how many packets a counter of the router has seen; all but the first belong to accepted flows."""
        text = self.router.run(self.nft, "list", "counter", "ip", "router", counter)
        found = re.search(r"packets (\d+)", text)
        assert found, text
        return int(found[1])


def get_tools(work: Path) -> tuple[str, str]:
    """Returns the installed `ip` and `nft`, else those in the work folder, which are fetched if need be."""
    installed = [shutil.which(name, path=CLEAN_ENVIRONMENT["PATH"]) for name in ("ip", "nft")]
    if installed[0] and installed[1]:
        return installed[0], installed[1]
    fetch("get_nft.sh", work / "nft", work / "debs", GlidepostError)
    return str(work / "nft" / "sbin" / "ip"), str(work / "nft" / "sbin" / "nft")


@contextmanager
def nat(account: Account, work: Path, port: int) -> Iterator[Nat]:
    """A pool's host, and a worker node behind a router that lets out what goes to one port of the pool."""
    ip, nft = get_tools(work)
    with ExitStack() as stack:
        router = stack.enter_context(held("router", "net", account))
        pool, node = (stack.enter_context(held(name, "net", account, beside=router)) for name in ("pool", "node"))
        for host, link, address, end, gateway in (
            (pool, "out0", POOL, "pool0", OUTSIDE),
            (node, "in0", NODE, "node0", INSIDE),
        ):
            router.run(ip, "link", "add", end, "netns", str(host.pid), "type", "veth", "peer", "name", link)
            router.run(ip, "addr", "add", f"{gateway}/24", "dev", link)
            router.run(ip, "link", "set", link, "up")
            host.run(ip, "link", "set", "lo", "up")
            host.run(ip, "addr", "add", f"{address}/24", "dev", end)
            host.run(ip, "link", "set", end, "up")
            # (the pool's too, so that what it sends to the node reaches the router, which counts it)
            host.run(ip, "route", "add", "default", "via", gateway)
        router.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        router.run(nft, "-f", "-", stdin=RULES.replace("PORT", str(port)))
        yield Nat(pool, router, node, nft)
