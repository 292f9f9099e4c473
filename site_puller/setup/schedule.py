"""`glidepost puller schedule`: what makes a scheduler run the puller. Pure: it prints, the site's admin installs.

Each site gets an offset of its own out of its name, the same for ever, so that not all sites come at the full minute.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Optional

from glidepost.schema.errors import ConfigError
from glidepost.schema.puller_config import PullerConfig
from glidepost.schema.units import format_duration

# What crond gives a command: crontab(5). Batch commands are often elsewhere.
CRON_PATH: Final = "/usr/bin:/bin"
# Variables that say where a batch system is, which a login shell has and cron has not. No secrets among them.
BATCH_VARIABLES: Final = ("SLURM_CONF", "SGE_ROOT", "SGE_CELL", "PBS_CONF_FILE", "PBS_SERVER", "LSF_ENVDIR")
# Variables with which a shell's start-up files, or a batch job's, would make another Python of ours. A batch client
# that needs one of them gets it by command_prefix = ["env", "LD_LIBRARY_PATH=..."].
FOREIGN_VARIABLES: Final = ("LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONPATH", "PYTHONHOME")
_HOUR_S: Final = 3600
_MOST_SLEEP_S: Final = 50  # the puller should start within the minute that cron called it in


@dataclass(frozen=True)
class Start:
    """How the puller of a site is started from nowhere.

    `environment` is what the command needs beside cron's own; `config_file` and `command` are absolute.
    """

    config: PullerConfig
    config_file: Path
    command: Path
    environment: Mapping[str, str]
    every_s: int
    state: Optional[Path] = None

    @property
    def argv(self) -> tuple[str, ...]:
        """The command line. With -q it says only what went wrong."""
        state = ("--state", str(self.state)) if self.state else ()
        unset = (word for name in FOREIGN_VARIABLES for word in ("-u", name))
        verb = ("-q", "puller", "run", "--config", str(self.config_file))
        return ("/usr/bin/env", *unset, str(self.command), *verb, *state)

    @property
    def offset_s(self) -> int:
        """Seconds after the full interval, out of the site's name: the same at each run, another at each site."""
        number = int.from_bytes(hashlib.sha256(f"schedule/{self.config.site}".encode()).digest()[:8], "big")
        return number % self.every_s // 60 * 60 + number // self.every_s % _MOST_SLEEP_S

    @property
    def minutes(self) -> str:
        """The minute field of a crontab: "3-59/5"."""
        first, step = self.offset_s // 60, self.every_s // 60
        return str(first) if step == _HOUR_S // 60 else f"{first}-59/{step}"


def start(
    config: PullerConfig, config_file: Path, command: Path, environment: Mapping[str, str], *, every_s: int
) -> Start:
    """Returns how the puller is started.

    Args:
        config: Of this site.
        config_file: Where it was read from.
        command: The `glidepost` that runs now.
        environment: Of a shell in which the batch commands work.
        every_s: Between two runs.

    Raises:
        ConfigError: when cron has no words for such an interval.
    """
    if every_s < 60 or every_s > _HOUR_S or every_s % 60 or _HOUR_S % every_s:
        raise ConfigError(
            f"--every {format_duration(every_s)}: cron cannot say that",
            hint="a part of an hour in whole minutes: 1m, 2m, 3m, 4m, 5m, 6m, 10m, 12m, 15m, 20m, 30m, 1h",
        )
    kept = {name: environment[name] for name in BATCH_VARIABLES if environment.get(name)}
    return Start(config, config_file.absolute(), command, kept, every_s)


def with_path(made: Start, folders: tuple[str, ...]) -> Start:
    """Returns the same with these folders on the PATH, those of the batch commands, before what cron has."""
    more = [folder for folder in folders if folder not in CRON_PATH.split(":")]
    if not more:
        return made
    path = ":".join([*dict.fromkeys(more), CRON_PATH])
    return replace(made, environment={"PATH": path, **made.environment})


def with_state(made: Start, folder: Path) -> Start:
    """Returns the same with a state folder that the command names."""
    return replace(made, state=folder)


def notes(made: Start, kind: str) -> tuple[str, ...]:
    """Returns what the site's admin should know of what is printed. `kind` is "cron", "systemd" or "scrontab"."""
    state = made.config.state
    if kind == "cron":
        return (
            "Put this line into: crontab -e",
            f"It mails nothing: see glidepost puller why, {state}/puller.log, and for a puller",
            f"that does not even start {state}/cron.stderr (of the last run).",
        )
    if kind == "systemd":
        return ("Read it, then: glidepost puller schedule --systemd | sh", "Is it alive? systemctl --user list-timers")
    return (
        "Put these lines into: scrontab -e",
        "The puller then runs on a worker node: it needs the batch commands and the store there.",
    )


def cron(made: Start) -> str:
    """Returns a line for `crontab -e`.

    Nothing is mailed: what the last run said on stderr is in the state folder, for the case that it did not even get to
    its log. A mail every five minutes for a store that is down over a weekend is read by nobody.
    """
    settings = "".join(f"{name}={shlex.quote(value)} " for name, value in made.environment.items())
    said = shlex.quote(str(made.config.state / "cron.stderr"))
    command = f"sleep {made.offset_s % 60}; {settings}{shlex.join(made.argv)} >/dev/null 2>{said}"
    return f"{made.minutes} * * * * {_without_percent(command)}\n"


def systemd(made: Start) -> str:
    """Returns a script for sh that installs a user's service and timer; the units can be read in it."""
    unit = f"glidepost-{made.config.site}"
    folder = '"${XDG_CONFIG_HOME:-$HOME/.config}"/systemd/user'
    return (
        f"# A service and a timer of this user: read it, then pipe it into sh.\n"
        f"mkdir -p {folder}\n\n"
        f"cat >{folder}/{unit}.service <<'END'\n{_service(made)}END\n\n"
        f"cat >{folder}/{unit}.timer <<'END'\n{_timer(made)}END\n\n"
        f"systemctl --user daemon-reload\n"
        f"systemctl --user enable --now {unit}.timer\n"
        f"# Without this it ends when you log out:\n"
        f"loginctl enable-linger\n"
    )


def scrontab(made: Start) -> str:
    """Returns lines for `scrontab -e`, where the site's Slurm has it.

    Raises:
        ConfigError: when a shape is of backend local: its glideins would end with the batch job that started them.
    """
    local = [shape.name for shape in made.config.shapes if shape.backend == "local"]
    if local:
        raise ConfigError(
            f"shape {local[0]} runs glideins as processes, which would end with scrontab's batch job",
            hint="use --cron or --systemd",
        )
    options = [
        f"--job-name=glidepost-{made.config.site}",
        "--time=00:15:00",
        "--cpus-per-task=1",
        "--mem=1G",
        "--open-mode=truncate",
        f"--output={_without_percent(str(made.config.state), by='%%')}/scrontab.out",
    ]
    accounts = [shape.options["account"] for shape in made.config.shapes if shape.options.get("account")]
    options += [f"--account={account}" for account in accounts[:1]]
    settings = "".join(f"{name}={shlex.quote(value)} " for name, value in made.environment.items())
    lines = [*(f"#SCRON {option}" for option in options), f"{made.minutes} * * * * {settings}{shlex.join(made.argv)}"]
    return "\n".join(lines) + "\n"


def _service(made: Start) -> str:
    lines = ["[Unit]", f"Description=Glidepost's puller of site {made.config.site}", "", "[Service]", "Type=oneshot"]
    lines += [f"Environment={_unit_word(f'{name}={value}')}" for name, value in made.environment.items()]
    argv = (_unit_word(word.replace("$", "$$")) for word in made.argv)
    lines += [f"ExecStart={' '.join(argv)}", "TimeoutStartSec=15min"]
    if any(shape.backend == "local" for shape in made.config.shapes):
        lines += [
            "# Glideins of backend local are processes that this service starts, and they must outlive it.",
            "KillMode=process",
        ]
    return "\n".join(lines) + "\n"


def _timer(made: Start) -> str:
    first, step = made.offset_s // 60, made.every_s // 60
    minutes = f"{first:02}" if step == _HOUR_S // 60 else f"{first:02}/{step}"
    lines = [
        "[Unit]",
        f"Description=Glidepost's puller of site {made.config.site}, every {format_duration(made.every_s)}",
        "",
        "[Timer]",
        "# The offset is this site's own: sites do not all come at the full minute.",
        f"OnCalendar=*:{minutes}:{made.offset_s % 60:02}",
        "AccuracySec=1s",
        "# After a reboot at once, if a run was missed.",
        "Persistent=true",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    return "\n".join(lines) + "\n"


def _without_percent(text: str, *, by: str = "\\%") -> str:
    """Returns a command as crontab(5) wants it: a bare % would be a line end."""
    return text.replace("%", by)


def _unit_word(word: str) -> str:
    """Returns one word of a unit file: systemd.syntax(7), systemd.service(5)."""
    escaped = word.replace("%", "%%")
    if re.fullmatch(r"[A-Za-z0-9_.,:/=@%$+-]+", escaped):
        return escaped
    return '"' + escaped.replace("\\", "\\\\").replace('"', '\\"') + '"'
