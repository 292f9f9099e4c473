"""`glidepost puller init`, `check`, `schedule` and `cleanup`: what a site's admin does once, or seldom."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import time
from collections import Counter
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Final, Optional

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from glidepost.backends.registry import BACKENDS
from glidepost.schema.checks import FAILED, exit_code, show_finding
from glidepost.schema.errors import ConfigError
from glidepost.schema.puller_config import PullerConfig
from glidepost.schema.units import counted, parse_duration
from glidepost.site_puller.cli_options import config_option, json_option, state_option

from . import cleanup as cleaning
from . import init as initial
from . import mounts
from . import schedule as scheduling
from .check import Question
from .check import check as checks
from .check_batch import open_queue

CONFIG_VARIABLE: Final = "GLIDEPOST_PULLER_CONFIG"
STATE_VARIABLE: Final = "GLIDEPOST_PULLER_STATE"
_COLOURS: Final = {cleaning.FAILED: "bold red", cleaning.DEAD: "yellow", cleaning.REMOVED: "green"}


@click.command()
@click.option("--url", default="", help="Where the pool's documents are, from its admin.")
@click.option("--public-key", default="", help="The pool's public key, from its admin.")
@click.option("--root-key", default="", help="The pool's public root key, from its admin, if it has one.")
@click.option("--site", metavar="NAME", help="Name of this site (default: out of the host's name).")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("puller.toml"),
    envvar=CONFIG_VARIABLE,
    show_default=True,
    help="The file to write; key and state folder come beside it.",
)
@click.option("--force", is_flag=True, help="Where there is such a file, keep it under another name. Keys always stay.")
def init(  # noqa: PLR0913 - one for each option
    *, url: str, public_key: str, root_key: str, site: Optional[str], output: Path, force: bool
) -> None:
    """Write a commented puller.toml, make this site's key, and print the line to send to the pool's admin.

    Example: glidepost puller init --site north --url https://bucket.example.org --public-key ed25519:...
    """
    backend, note = initial.guess_backend(shutil.which)
    name = site or initial.site_name(socket.getfqdn() if "." in socket.getfqdn() else socket.gethostname())
    made = initial.make(initial.Wanted(name, backend, url, public_key, note, root_key), output, is_forced=force)
    click.echo(made.line)
    missing = [key for key, value in (("url", url), ("public_key", public_key)) if not value]
    steps = ["Send the line above to the pool's admin. (The key itself stays here.)"]
    if not site:
        steps.insert(0, f"{name} comes from this host's name. If it should be another: init --force --site NAME")
    if missing:
        steps.append(f"Fill in {' and '.join(missing)} in {output}; the pool's admin knows them.")
    steps += [
        f"Say in [shapes.cpu] of {output} what a glidein looks like here.",
        f"Try it: glidepost puller check{_config_words(output)}",
        f"Let cron do it: glidepost puller schedule --cron{_config_words(output)}",
    ]
    if made.moved_to:
        click.echo(f"{output} was there; it is {made.moved_to} now.", err=True)
    click.echo(f"Wrote {output} for site {name} and backend {backend} ({note}).", err=True)
    key_file = output.absolute().parent / initial.KEY_FILE
    click.echo(f"{'Made' if made.is_key_new else 'Took'} the key in {key_file}.\n\nNow:", err=True)
    for number, step in enumerate(steps, start=1):
        click.echo(f"  {number}. {step}", err=True)


@click.command()
@config_option
@state_option
@click.option("--json", "as_json", is_flag=True, help="Print a list of what was found, each with its state.")
@click.pass_context
def check(ctx: click.Context, *, config: Path, state: Optional[Path], as_json: bool) -> int:
    """Try everything that a site needs, and say what fails and what to do about it. Nothing is submitted or sent.

    Example: glidepost puller check --config puller.toml
    """
    question = Question(
        config,
        _source(ctx, "config", "--config", CONFIG_VARIABLE),
        own_command(),
        state,
        _source(ctx, "state", "--state", STATE_VARIABLE),
    )
    console = Console(highlight=False)
    findings = []
    for finding in checks(question, now=datetime.now(timezone.utc).replace(microsecond=0)):
        findings.append(finding)
        if not as_json:
            show_finding(finding, console)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    failed = sum(finding.state == FAILED for finding in findings)
    click.echo(f"{failed} of {counted(len(findings), 'check')} failed", err=True)
    return exit_code(findings)


@click.command()
@config_option
@state_option
@click.option("--cron", "kind", flag_value="cron", help="A line for `crontab -e`.")
@click.option("--systemd", "kind", flag_value="systemd", help="A script that installs a timer of this user.")
@click.option("--scrontab", "kind", flag_value="scrontab", help="Lines for `scrontab -e` of Slurm.")
@click.option("--every", default="5m", show_default=True, help="Time between two runs.")
def schedule(*, config: Path, state: Optional[Path], kind: Optional[str], every: str) -> None:
    """Print what makes cron, systemd or Slurm run the puller. Each site has an offset of its own.

    Example: glidepost puller schedule --cron
    """
    if kind is None:
        raise click.UsageError("one of --cron, --systemd and --scrontab is needed")
    settings = PullerConfig.load(config, state=state)
    every_s = parse_duration(every, where="--every")
    made = scheduling.start(settings, config, own_command(), os.environ, every_s=every_s)
    if state:
        made = scheduling.with_state(made, state.absolute())
    made = scheduling.with_path(made, _batch_folders(settings))
    texts = {"cron": scheduling.cron, "systemd": scheduling.systemd, "scrontab": scheduling.scrontab}
    click.echo(texts[kind](made), nl=False)
    for line in scheduling.notes(made, kind):
        click.echo(line, err=True)


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path, file_okay=False, exists=True))
@config_option
@state_option
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and why, and remove nothing.")
@json_option
def cleanup(*, folders: tuple[Path, ...], config: Path, state: Optional[Path], dry_run: bool, as_json: bool) -> int:
    """Remove the scratch of glideins that are dead for certain, by their leases. FOLDERS: where it is, if not default.

    Example: glidepost puller cleanup --dry-run /scratch/glideins
    """
    settings = PullerConfig.load(config, state=state)
    places = folders or cleaning.default_folders(settings)
    if not places:
        raise ConfigError(
            "no shape's scratch can be told from here",
            hint="name the folders: glidepost puller cleanup --dry-run FOLDER",
        )
    listed = cleaning.listed_names(map(open_queue, settings.shapes))
    view = cleaning.view_of(settings, listed, time.time())
    found = [(place, list(cleaning.look(place, view, mounts.read()))) for place in places]
    done = [(place, cases if dry_run else [cleaning.remove(case) for case in cases]) for place, cases in found]
    cases = [case for _, some in done for case in some]
    if as_json:
        click.echo(json.dumps([asdict(case) for case in cases], indent=1))
    else:
        _show_cases(done)
    return 1 if any(case.verdict == cleaning.FAILED for case in cases) else 0


def own_command() -> Path:
    """Returns the absolute path of the `glidepost` that runs now."""
    started = Path(sys.argv[0])
    if started.name.startswith("glidepost"):
        found = shutil.which(str(started)) or str(started)
        return Path(os.path.abspath(found))  # noqa: PTH100 - links stay: they are how an installation is renewed
    beside = Path(sys.executable).with_name("glidepost")
    return beside if beside.exists() else Path(shutil.which("glidepost") or "glidepost")


def _source(ctx: click.Context, name: str, flag: str, variable: str) -> str:
    source = ctx.get_parameter_source(name)
    return {"COMMANDLINE": flag, "ENVIRONMENT": variable}.get(source.name if source else "", "the default")


def _config_words(path: Path) -> str:
    return "" if path == Path("puller.toml") or os.environ.get(CONFIG_VARIABLE) else f" --config {path}"


def _batch_folders(settings: PullerConfig) -> tuple[str, ...]:
    """Returns where this shell finds the batch commands."""
    wanted = [
        name
        for shape in settings.shapes
        if shape.backend in BACKENDS
        for name in (shape.command_prefix[:1] or open_queue(shape).backend.programs)
    ]
    found = (shutil.which(name) for name in wanted)
    return tuple(dict.fromkeys(str(Path(place).parent) for place in found if place))


def _show_cases(done: list[tuple[Path, list[cleaning.Case]]]) -> None:
    console = Console(highlight=False)
    for place, cases in done:
        table = Table("", "scratch", "why", box=None, pad_edge=False, header_style="bold")
        for case in cases:
            verdict = Text(case.verdict, _COLOURS.get(case.verdict, ""))
            table.add_row(verdict, Text(Path(case.folder).name, overflow="fold"), Text(case.why))
        counts = Counter(case.verdict for case in cases)
        said = ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
        console.print(Text(f"{place}: {said or 'nothing there'}", "bold"), soft_wrap=True)
        if cases:
            console.print(table)
