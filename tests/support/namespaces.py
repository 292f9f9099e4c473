"""Other hosts on this machine: processes with a network, or with file systems, that nobody else sees.

For root these are such namespaces and no more; for anybody else they lie in a user namespace, where he is root. Each
lives as long as its holder, a process that ends with the test run, however that ends.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NoReturn, Optional

import pytest

from glidepost.infra.demo.testbed import CLEAN_ENVIRONMENT, Account

IS_ROOT = os.geteuid() == 0
WAIT = "echo held; exec cat"  # what a holder does


@dataclass(frozen=True)
class Host:
    """A namespace of one kind, "net" or "mount"."""

    name: str
    kind: str
    pid: int  # of its holder
    account: Account  # on this host

    @property
    def enter(self) -> tuple[str, ...]:
        """What goes before a command that may change this host."""
        user = () if IS_ROOT else ("--user", "--preserve-credentials")
        return ("nsenter", *user, f"--{self.kind}", f"--target={self.pid}", "--")

    def run(self, *argv: str, stdin: str = "") -> str:
        """Returns what a command prints that may change this host."""
        done = subprocess.run(
            [*self.enter, *argv],
            input=stdin,
            env=CLEAN_ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        if done.returncode != 0:
            refuse(f"{self.name}: {argv[0]}", done.stderr.strip())
        return done.stdout


def refuse(what: str, said: str) -> NoReturn:
    who = "root, who needs network and mount" if IS_ROOT else "an ordinary user, who needs user, network and mount"
    pytest.fail(f"{what} failed for {who} namespaces here: {said}")


@contextmanager
def held(
    name: str, kind: str, account: Account, holder: Sequence[str] = ("sh", "-c", WAIT), beside: Optional[Host] = None
) -> Iterator[Host]:
    """A new host. Its holder says "held" and waits for the end of its standard input: ours at the latest.

    Args:
        name: For messages.
        kind: "net" or "mount".
        account: Who commands run as there.
        holder: What holds it, in it.
        beside: A host whose user namespace it shares, so that the two can be connected.
    """
    unshare = ("unshare", f"--{kind}", *(() if IS_ROOT or beside else ("--user", "--map-root-user")), "--")
    argv = [*(beside.enter if beside else ()), *unshare, *holder]
    pipe = subprocess.PIPE
    process = subprocess.Popen(argv, env=CLEAN_ENVIRONMENT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "held\n":
            refuse(f"{name}: {' '.join(unshare)}", process.communicate()[1].strip())
        host = Host(name, kind, process.pid, account)
        back = account.prefix or ("unshare", "--user", f"--map-user={account.uid}", f"--map-group={account.gid}", "--")
        yield replace(host, account=replace(account, prefix=(*host.enter, *back)))
    finally:
        process.kill()
        process.communicate()
