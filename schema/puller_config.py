"""puller-config/1: puller.toml as frozen dataclasses. Paths are absolute, but those of the worker node."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from os.path import expandvars
from pathlib import Path
from typing import Any, Final, Optional, Union

from .config import convert, load
from .errors import ConfigError
from .heartbeat import Limits
from .keys import PublicKey
from .resources import Bounds, Resources

Option = Union[str, int, tuple[str, ...]]  # (a bool is an int)

# The last seconds of the walltime are for leaving: HTCondor is told to end so long before the batch system kills it.
# glidein/bootstrap (plan_end) counts the same way.
LEAVE_S: Final = 60
# Of glideins, where another limit bounds them.
MOST: Final = 100_000
_SHORT_S: Final = 600


@dataclass(frozen=True)
class Caps:
    """Bounds beside the number of glideins; None is no bound. Budgets are in the unit of `Shape.cost_per_hour`."""

    max_cpus: Optional[int] = None
    max_memory_mib: Optional[int] = None
    max_gpus: Optional[int] = None
    max_per_hour: Optional[int] = None
    budget_per_day: Optional[float] = None
    budget_per_month: Optional[float] = None


@dataclass(frozen=True)
class Fit:
    """How a glidein is cut to the user jobs that it is for: at least so large, rounded up to these steps."""

    min_cpus: int = 1
    min_memory_mib: int = 1024
    min_disk_mib: int = 1024
    cpu_step: int = 1
    memory_step_mib: int = 1024
    disk_step_mib: int = 1024


@dataclass(frozen=True)
class Shape:
    """What a glidein of this site looks like, how many there may be, and which batch system runs it.

    `resources` is what the batch system is asked for; with `fit` the most of it. User jobs get less: see `offers`.
    """

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
    fit: Optional[Fit] = None
    memory_margin_mib: int = 0
    retirement_s: int = 0
    stagger_s: int = 0
    caps: Caps = Caps()
    cost_per_hour: Optional[float] = None
    jobs: Bounds = Bounds()
    setup: tuple[str, ...] = ()
    gpu_backfill: bool = False

    @cached_property
    def offers(self) -> Resources:
        """What user jobs will find: without the margin of memory, and without the end, in which no user job starts.

        Of glideins that end at times of their own, what the one that ends first has.
        """
        asked = self.resources
        end_s = max(self.retire_s, leave_s(asked.walltime_s))
        early_s = max(0, min(self.stagger_s, asked.walltime_s // 2 - end_s))
        return replace(
            asked,
            memory_mib=asked.memory_mib - self.memory_margin_mib,
            walltime_s=asked.walltime_s - end_s - early_s,
        )

    @property
    def retire_s(self) -> int:
        """For so long at the end no user job starts: at most a quarter of the walltime, whatever the site wrote."""
        return min(self.retirement_s, self.resources.walltime_s // 4)

    @property
    def hourly_cost(self) -> float:
        """What one glidein costs in an hour: service units if the site gave them, else its cores."""
        return float(self.resources.cpus) if self.cost_per_hour is None else self.cost_per_hour


def leave_s(walltime_s: int) -> int:
    """Returns how long before the end of its walltime a glidein ends by itself, in seconds."""
    return LEAVE_S if walltime_s >= _SHORT_S else walltime_s // 10 + 1


@dataclass(frozen=True)
class GlideinOptions:
    """What all glideins of this site have in common. Seconds; empty text means none.

    `checks` are files on this host, shell scripts that go along with each glidein.
    """

    idle_shutdown_s: int = 1200
    retirement_s: int = 1200
    update_interval_s: int = 60
    cache: str = ""
    network_interface: str = ""
    start: str = ""
    gpu_discovery: str = ""
    keep: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    proxy: str = ""
    checks: tuple[str, ...] = ()
    cvmfs: tuple[str, ...] = ()
    log_size_mib: int = 200
    rank: str = ""
    group: str = ""
    drain_file: str = ""
    stagger_s: int = 0
    require: tuple[str, ...] = ()
    check_every_s: int = 600
    cvmfsexec: str = ""
    parrot: str = ""
    job_setup: tuple[str, ...] = ()
    apptainer: str = ""
    user_image: str = ""
    binds: tuple[str, ...] = ()
    glidein_image: str = ""
    logs: str = "failed"
    logs_every_s: int = 0
    logs_max_mib: int = 8


@dataclass(frozen=True)
class SiteLimits:
    """Bounds over all shapes; None is no bound. `excess_grace_s`: how long an unwanted glidein may stay queued."""

    max_total: Optional[int] = None
    max_queued: Optional[int] = None
    caps: Caps = Caps()
    excess_grace_s: int = 1800


@dataclass(frozen=True)
class PullerConfig:
    """The whole of puller.toml. `shapes` are in the site's order of preference, `prefer` orders the groups."""

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
    limits: SiteLimits = SiteLimits()
    prefer: tuple[str, ...] = ("gpus", "memory")
    proxy: str = ""
    root_key: Optional[PublicKey] = None

    @property
    def token_file(self) -> Path:
        """Where glideins read the pool token, mode 0600, on a file system that worker nodes see."""
        return self.state / "token"

    @property
    def log_form_file(self) -> Path:
        """Where glideins read how to upload their logs, mode 0600, beside the token."""
        return self.state / "log-form"

    @property
    def outcomes_folder(self) -> Path:
        """Where glideins leave a record of how they ended."""
        return self.state / "outcomes"

    @property
    def log_folder(self) -> Path:
        """Where the batch system puts what glideins print."""
        return self.state / "logs"

    @classmethod
    def load(cls, path: Path, *, state: Optional[Path] = None) -> PullerConfig:
        """Returns the configuration in a file; relative paths start at its folder.

        Args:
            path: puller.toml.
            state: Takes the place of `[site] state`.

        Raises:
            ConfigError: naming the key that must be changed.
        """
        tree = load(path, "puller-config/1")
        site, pool, glidein = tree["site"], tree["pool"], dict(tree.get("glidein", {}))
        if glidein.get("cache"):
            glidein["cache"] = str(_path(path, "glidein.cache", glidein["cache"]))
        glidein["checks"] = [str(_path(path, "glidein.checks", item)) for item in glidein.get("checks", ())]
        options: GlideinOptions = convert(path, glidein, GlideinOptions)
        folder = state.absolute() if state else _path(path, "site.state", site.get("state", "state"))
        return cls(
            site=site["name"],
            glidein_site=site.get("glidein_site", site["name"]),
            key=_path(path, "site.key", site["key"]),
            state=folder,
            url=_url(path, pool["url"]),
            public_key=PublicKey.parse(pool["public_key"]),
            shapes=tuple(_shape(path, name, table, options, folder) for name, table in tree["shapes"].items()),
            glidein=options,
            pool=pool.get("name"),
            timeout_s=pool.get("timeout_s", 30),
            limits=_site_limits(tree.get("limits", {})),
            prefer=tuple(site.get("prefer", ("gpus", "memory"))),
            proxy=pool.get("proxy", ""),
            root_key=PublicKey.parse(pool["root_key"]) if "root_key" in pool else None,
        )


def _path(path: Path, key: str, text: str) -> Path:
    """Returns an absolute path, `~` and `$VAR` replaced.

    Raises:
        ConfigError: for a variable that is not set: cron sets few.
    """
    expanded = expandvars(text)
    if re.search(r"\$\{?[A-Za-z_]", expanded):
        raise ConfigError(
            f"{path}: {key} = {text!r}: a variable is not set", hint="cron sets few variables: write the path out"
        )
    try:
        return path.absolute().parent / Path(expanded).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{path}: {key} = {text!r}: {error}", hint="write the path out") from error


def _url(path: Path, url: str) -> str:
    if url.startswith("file:"):
        return f"file://{_path(path, 'pool.url', re.sub('^file:(//)?', '', url))}"
    return url.rstrip("/")


def _picked(table: dict[str, Any], into: type[Any]) -> Any:
    """Returns a dataclass of those keys of a table that it has."""
    return into(**{key: table[key] for key in into.__dataclass_fields__ if key in table})


def _site_limits(table: dict[str, Any]) -> SiteLimits:
    limits: SiteLimits = _picked(table, SiteLimits)
    return replace(limits, caps=_picked(table, Caps))


def _shape(path: Path, name: str, table: dict[str, Any], glidein: GlideinOptions, state: Path) -> Shape:
    has_caps = any(key in table for key in ("max_cpus", "max_memory_mib", "max_gpus"))
    max_total = table.get("max_total", MOST if has_caps else 1)
    options = dict(table.get("options", {}))
    if table["backend"] == "local":
        options["folder"] = str(_path(path, f"shapes.{name}.options.folder", options.get("folder", f"{state}/local")))
    shape = Shape(
        name=name,
        backend=table["backend"],
        resources=Resources(
            gpus=table.get("gpus", 0), **{key: table[key] for key in ("cpus", "memory_mib", "disk_mib", "walltime_s")}
        ),
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
        cvmfs=tuple(dict.fromkeys((*table.get("cvmfs", ()), *glidein.cvmfs))),
        accept=tuple(table.get("accept", ())),
        deny=tuple(table.get("deny", ())),
        fit=_picked(table, Fit) if table.get("fit") else None,
        memory_margin_mib=table.get("memory_margin_mib", 0),
        retirement_s=glidein.retirement_s,
        stagger_s=glidein.stagger_s,
        caps=_picked(table, Caps),
        cost_per_hour=table.get("cost_per_hour"),
        jobs=_picked(table.get("jobs", {}), Bounds),
        setup=tuple(table.get("setup", ())),
        gpu_backfill=table.get("gpu_backfill", False),
    )
    _refuse_nonsense(f"{path}: [shapes.{name}]", table, shape)
    return shape


def _refuse_nonsense(where: str, table: dict[str, Any], shape: Shape) -> None:
    """Refuses what the schema cannot: quantities that do not go together.

    Raises:
        ConfigError: saying which.
    """
    asked = shape.resources
    if not asked.walltime_s or not asked.memory_mib:
        raise ConfigError(f"{where} has no memory or no walltime", hint='such as memory = "4GiB", walltime = "24h"')
    if shape.memory_margin_mib >= asked.memory_mib:
        raise ConfigError(f"{where}: memory_margin leaves no memory", hint="it is a part of memory")
    fit = shape.fit
    if fit is None:
        lost = [key for key in Fit.__dataclass_fields__ if key in table]
        if lost:
            raise ConfigError(f"{where}: {lost[0].replace('_mib', '')} without fit", hint="write fit = true too")
    else:
        if fit.min_cpus > asked.cpus or fit.min_memory_mib > asked.memory_mib or fit.min_disk_mib > asked.disk_mib:
            raise ConfigError(
                f"{where}: a minimum is above the maximum", hint="cpus, memory and disk are the most with fit = true"
            )
        if not (fit.memory_step_mib and fit.disk_step_mib):
            raise ConfigError(f"{where}: a step is 0", hint='such as memory_step = "1GiB"')
