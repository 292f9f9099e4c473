"""publisher-config/1: publisher.toml as frozen dataclasses. Paths are absolute."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Optional, Union

from .config import convert, load


@dataclass(frozen=True)
class PoolSettings:
    """The HTCondor pool: what glideins connect to, and how the publisher's own tools find it.

    Pool tokens are made by condor_token_create with the key named `token_key`, or, without any tool of HTCondor, with
    the key in `token_key_file`.
    """

    name: str
    collectors: tuple[str, ...]
    trust_domain: str
    condor_config: Optional[str] = None
    condor_bin: Optional[str] = None
    token_key: str = "POOL"  # noqa: S105 - the name of a key
    token_key_file: Optional[str] = None


@dataclass(frozen=True)
class CensusSettings:
    """How idle user jobs are counted."""

    timeout_s: int = 60
    min_idle_s: int = 60
    schedds: Union[str, tuple[str, ...]] = "all"
    token_directory: Optional[str] = None
    memory_step_mib: int = 256
    disk_step_mib: int = 1024


@dataclass(frozen=True)
class DemandSettings:
    """How the demand document is made. `life_s` is how long sites may act on one.

    `root_key` is the public key that may replace the signing key when that was stolen.
    """

    signing_key: str
    sites: str
    root_key: Optional[str] = None
    life_s: int = 1800
    overcommit: int = 1
    max_size_mib: int = 1
    state: str = "."


@dataclass(frozen=True)
class StoreSettings:
    """The object store, as the publisher writes it (`endpoint`) and as sites read it (`public_url`).

    With `forms_credentials`, which may write heartbeats and logs only, the sites' upload forms are signed; `uploads` is
    "post" or, for stores that know no POST policies, "put".
    """

    bucket: str
    public_url: str
    endpoint: Optional[str] = None
    region: str = "us-east-1"
    credentials: Optional[str] = None
    prefix: str = ""
    forms_credentials: Optional[str] = None
    uploads: str = "post"
    logs: bool = True


@dataclass(frozen=True)
class GlideinSettings:
    """What glideins run, and how long their token is good: `queue_time_s`, and then `walltime_s`.

    The sites in `canary_sites`, and those enrolled with channel "canary", take `canary_tarballs` first. `checks` are
    files with shell scripts that each node must pass.
    """

    tarballs: tuple[str, ...] = ()
    channel: str = "stable"
    canary_tarballs: tuple[str, ...] = ()
    canary_sites: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    queue_time_s: int = 24 * 3600
    walltime_s: int = 48 * 3600

    @property
    def token_life_s(self) -> int:
        """How long a pool token is good, in seconds."""
        return self.queue_time_s + self.walltime_s


@dataclass(frozen=True)
class AlertSettings:
    """Who is told when a site falls silent, a shape is paused, or the demand is overdue; nobody by default.

    `webhook_file` holds the address, which is a secret, and a bearer token in a second line, if one is needed. Mail
    goes by `smtp` (host:port), where `smtp_login_file` holds user and password, or to the program `sendmail`.
    """

    webhook_file: Optional[str] = None
    webhook_format: str = "slack"
    mail_to: tuple[str, ...] = ()
    mail_from: Optional[str] = None
    smtp: Optional[str] = None
    smtp_login_file: Optional[str] = None
    sendmail: Optional[str] = None

    @property
    def is_empty(self) -> bool:
        """Whether nobody is told."""
        return not self.webhook_file and not self.mail_to


@dataclass(frozen=True)
class SiteRules:
    """What the pool decides about one site. Empty `accept` accepts all accounting groups."""

    priority: int = 100
    max_share: int = 100
    accept: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


@dataclass(frozen=True)
class PublisherConfig:
    """The whole of publisher.toml."""

    pool: PoolSettings
    demand: DemandSettings
    store: StoreSettings
    census: CensusSettings = field(default_factory=CensusSettings)
    glidein: GlideinSettings = field(default_factory=GlideinSettings)
    rules: dict[str, SiteRules] = field(default_factory=dict)
    alerts: AlertSettings = field(default_factory=AlertSettings)

    @property
    def token_settings(self) -> tuple[str, ...]:
        """What decides how pool tokens are: when it changes, sites need others."""
        pool = self.pool
        return (pool.trust_domain, pool.token_key, pool.token_key_file or "", str(self.glidein.token_life_s))

    @classmethod
    def load(cls, path: Path) -> PublisherConfig:
        """Returns the configuration in a file; relative paths start at its folder.

        Raises:
            ConfigError: naming the key that must be changed.
        """
        config: PublisherConfig = convert(path, load(path, "publisher-config/1"), cls)
        folder = path.absolute().parent

        def absolute(name: Optional[str]) -> Optional[str]:
            return None if name is None else str(folder / Path(name).expanduser())

        def required(name: str) -> str:
            return str(folder / Path(name).expanduser())

        pool, demand, store, glidein = config.pool, config.demand, config.store, config.glidein
        return replace(
            config,
            pool=replace(
                pool,
                condor_config=absolute(pool.condor_config),
                condor_bin=absolute(pool.condor_bin),
                token_key_file=absolute(pool.token_key_file),
            ),
            demand=replace(
                demand,
                signing_key=required(demand.signing_key),
                sites=required(demand.sites),
                state=required(demand.state),
            ),
            census=replace(config.census, token_directory=absolute(config.census.token_directory)),
            store=replace(
                store,
                credentials=absolute(store.credentials),
                forms_credentials=absolute(store.forms_credentials),
            ),
            alerts=replace(
                config.alerts,
                webhook_file=absolute(config.alerts.webhook_file),
                smtp_login_file=absolute(config.alerts.smtp_login_file),
            ),
            glidein=replace(
                glidein,
                tarballs=tuple(required(name) for name in glidein.tarballs),
                canary_tarballs=tuple(required(name) for name in glidein.canary_tarballs),
                checks=tuple(required(name) for name in glidein.checks),
            ),
        )
