"""puller-config/1: puller.toml as frozen dataclasses. Paths are absolute, but those of the worker node."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

from .config import convert, load
from .errors import ConfigError
from .heartbeat import Limits
from .keys import PublicKey
from .resources import Resources

Option = Union[str, bool, tuple[str, ...]]


@dataclass(frozen=True)
class Shape:
    """What a glidein of this site looks like, how many there may be, and which batch system runs it."""

    name: str
    backend: str
    resources: Resources
    limits: Limits
    options: dict[str, Option]
    command_prefix: tuple[str, ...] = ()
    scratch: str = ""
    arch: str = "X86_64"
    os: Optional[str] = None
    gpu_name: Optional[str] = None
    gpu_memory_mib: Optional[int] = None
    gpu_capability: Optional[str] = None
    cvmfs: tuple[str, ...] = ()
    accept: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


@dataclass(frozen=True)
class GlideinOptions:
    """What all glideins of this site have in common. Seconds; empty text means none."""

    idle_shutdown_s: int = 1200
    retirement_s: int = 1200
    update_interval_s: int = 60
    cache: str = ""
    network_interface: str = ""
    start: str = ""
    gpu_discovery: str = ""


@dataclass(frozen=True)
class PullerConfig:
    """The whole of puller.toml. `shapes` are in the site's order of preference."""

    site: str
    glidein_site: str
    key: Path
    state: Path
    url: str
    public_key: PublicKey
    shapes: tuple[Shape, ...]
    glidein: GlideinOptions
    pool: Optional[str] = None
    timeout_s: int = 30
    max_total: Optional[int] = None

    @property
    def token_file(self) -> Path:
        """Where glideins read the pool token, mode 0600, on a file system that worker nodes see."""
        return self.state / "token"

    @property
    def outcomes_folder(self) -> Path:
        """Where glideins leave a record of how they ended."""
        return self.state / "outcomes"

    @property
    def log_folder(self) -> Path:
        """Where the batch system puts what glideins print."""
        return self.state / "logs"

    @classmethod
    def load(cls, path: Path) -> PullerConfig:
        """Returns the configuration in a file; relative paths start at its folder.

        Raises:
            ConfigError: naming the key that must be changed.
        """
        tree = load(path, "puller-config/1")
        folder = path.absolute().parent
        site, pool, glidein = tree["site"], tree["pool"], dict(tree.get("glidein", {}))
        if glidein.get("cache"):
            glidein["cache"] = str(folder / Path(glidein["cache"]).expanduser())
        state = folder / Path(site.get("state", "state")).expanduser()
        return cls(
            site=site["name"],
            glidein_site=site.get("glidein_site", site["name"]),
            key=folder / Path(site["key"]).expanduser(),
            state=state,
            url=pool["url"].rstrip("/"),
            public_key=PublicKey.parse(pool["public_key"]),
            shapes=tuple(_shape(path, name, table, state) for name, table in tree["shapes"].items()),
            glidein=convert(path, glidein, GlideinOptions),
            pool=pool.get("name"),
            timeout_s=pool.get("timeout_s", 30),
            max_total=tree.get("limits", {}).get("max_total"),
        )


def _shape(path: Path, name: str, table: dict[str, Any], state: Path) -> Shape:
    max_total = table.get("max_total", 1)
    options = dict(table.get("options", {}))
    if table["backend"] == "local":
        options["folder"] = str(path.absolute().parent / Path(options.get("folder", state / "local")).expanduser())
    sizes = {key: table[key] for key in ("cpus", "memory_mib", "disk_mib", "walltime_s")}
    if not sizes["walltime_s"] or not sizes["memory_mib"]:
        raise ConfigError(
            f"{path}: [shapes.{name}] has no memory or no walltime",
            hint='such as memory = "4GiB", walltime = "24h"',
        )
    resources = Resources(gpus=table.get("gpus", 0), **sizes)
    return Shape(
        name=name,
        backend=table["backend"],
        resources=resources,
        limits=Limits(
            max_total=max_total,
            max_queued=table.get("max_queued", max_total),
            max_running=table.get("max_running", max_total),
            max_per_cycle=table.get("max_per_cycle", 10),
        ),
        options={key: tuple(value) if isinstance(value, list) else value for key, value in options.items()},
        command_prefix=tuple(table.get("command_prefix", ())),
        scratch=table.get("scratch", ""),
        arch=table.get("arch", "X86_64"),
        os=table.get("os"),
        gpu_name=table.get("gpu_name"),
        gpu_memory_mib=table.get("gpu_memory_mib"),
        gpu_capability=table.get("gpu_capability"),
        cvmfs=tuple(table.get("cvmfs", ())),
        accept=tuple(table.get("accept", ())),
        deny=tuple(table.get("deny", ())),
    )
