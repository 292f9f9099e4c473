"""What the demo plays with: two sites, twelve user jobs, and the files of all who take part."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Union

from .account import Account
from .ministack import MiniStack
from .pool import Pool
from .slurm import Slurm
from .store import Store

# No one listens to the demo but this machine, and nobody wants to wait for it.
IDLE_SHUTDOWN: Final = "10s"
UPDATE_INTERVAL: Final = "5s"

_JOB: Final = """\
executable = /bin/sh
arguments = "-c 'echo user job \\$(Cluster).\\$(Process) ran on \\$_CONDOR_SLOT; sleep 4'"
transfer_executable = false
should_transfer_files = yes
when_to_transfer_output = on_exit
request_disk = 10MB
output = {folder}/$(Cluster).$(Process).out
error = {folder}/$(Cluster).$(Process).err
log = {folder}/log
+Kind = "{kind}"
"""


@dataclass(frozen=True)
class Kind:
    """User jobs that ask for the same. `runs` says whether some site can run them."""

    name: str
    count: int
    asks: str
    runs: bool = True


KINDS: Final = (
    Kind("one core", 7, "request_cpus = 1\nrequest_memory = 200MB"),
    Kind("4 GiB", 4, "request_cpus = 1\nrequest_memory = 4GB"),
    Kind("64 cores, which no site has", 1, "request_cpus = 64\nrequest_memory = 200MB", runs=False),
)


@dataclass(frozen=True)
class Site:
    """One site of the demo, wholly in one folder."""

    name: str
    folder: Path
    backend: str

    @property
    def config(self) -> Path:
        """Its puller.toml."""
        return self.folder / "puller.toml"

    @property
    def processes(self) -> Path:
        """Where the `local` backend keeps track of its processes."""
        return self.folder / "state" / "local"


def description(kind: Kind, folder: Path) -> str:
    """Returns the submit description of a kind, without its queue line. `folder` gets output and log."""
    return _JOB.format(folder=folder, kind=kind.name) + kind.asks


def publisher_toml(pool: Pool, store: Union[Store, MiniStack], tarball: Path) -> str:
    """Returns the publisher's configuration."""
    return f"""\
# The publisher of the demo's pool. On an access point cron would run it each minute.

[pool]
name = "demo"
collectors = [{_toml(pool.collector)}]
trust_domain = {_toml(pool.trust_domain)}
condor_config = {_toml(pool.admin_config)}
condor_bin = {_toml(pool.condor.bin)}

[census]
min_idle = "0s"

[demand]
signing_key = "pool.key"
sites = "sites.toml"

[store]
endpoint = {_toml(store.endpoint)}
bucket = {_toml(store.bucket)}
credentials = {_toml(store.credentials)}
forms_credentials = {_toml(store.forms_credentials)}
public_url = {_toml(store.public_url)}

[glidein]
tarballs = [{_toml(tarball)}]
"""


def puller_toml(
    site: Site, store: Union[Store, MiniStack], public_key: str, account: Account, slurm: Slurm | None
) -> str:
    """Returns a site's configuration: many small glideins in the north, few big ones in the south."""
    prefix = list(account.prefix)
    if slurm is not None:
        names = ("PATH", "SLURM_CONF", "MUNGE_SOCKET")
        prefix += ["env", *(f"{name}={slurm.env()[name]}" for name in names)]
    shape = _SMALL if site.name == "north" else _BIG
    # This host is whatever it is: its cores may be fewer than those of one glidein.
    options = "options = {overcommit = true}\n" if site.backend == "local" else ""
    return f"""\
# The puller of the demo's site {site.name}. At a site cron would run it every few minutes.

[site]
name = {_toml(site.name)}
key = "site.key"
state = "state"

[pool]
url = {_toml(store.public_url)}
public_key = {_toml(public_key)}

{shape}backend = {_toml(site.backend)}
command_prefix = {json.dumps(prefix)}
scratch = {_toml(site.folder / "scratch")}
{options}
[glidein]
idle_shutdown = "{IDLE_SHUTDOWN}"
update_interval = "{UPDATE_INTERVAL}"
cache = "cache"
network_interface = "127.0.0.1"
"""


_SMALL: Final = """\
[shapes.small]
cpus = 2
memory = "2GiB"
disk = "1GiB"
walltime = "1h"
max_total = 3
"""

_BIG: Final = """\
[shapes.big]
cpus = 2
memory = "7GiB"
disk = "2GiB"
walltime = "1h"
max_total = 2
"""


def env_sh(pool: Pool, publisher: Path, site: Site, account: Account, program: Path) -> str:
    """Returns a file to be sourced: it makes the commands that the demo names at its end short."""
    submit = [*account.prefix, "env", "_CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS=FS", "condor_submit"]
    return f"""\
# . this file, and look around
export CONDOR_CONFIG={shlex.quote(str(pool.admin_config))}
export GLIDEPOST_PUBLISHER_CONFIG={shlex.quote(str(publisher))}
export GLIDEPOST_PULLER_CONFIG={shlex.quote(str(site.config))}
PATH={shlex.quote(str(program.parent))}:{shlex.quote(str(pool.condor.bin))}:$PATH
# user jobs are never root's
demo_submit() {{ CONDOR_CONFIG={shlex.quote(str(pool.config))} {shlex.join(submit)} "$@"; }}
"""


def _toml(value: object) -> str:
    return json.dumps(str(value))
