"""`glidepost puller`: the verbs of a site."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final, Optional

import click
import msgspec

from glidepost.schema.command import complain, load
from glidepost.schema.demand import Demand
from glidepost.schema.document import parse_object
from glidepost.schema.errors import GlidepostError, exit_code
from glidepost.schema.files import AlreadyRunning, lock
from glidepost.schema.puller_config import PullerConfig
from glidepost.schema.units import counted, format_duration

from . import explain, record, secret_files
from .cli_control import drain, resume
from .cli_options import config_option, documents_option, json_option, state_option
from .cycle import Cycle, Done, Prepared
from .fetch import open_source
from .heartbeat import Route
from .ledger import name_prefix
from .logs import kept_log
from .plan import ShapePlan
from .queue import open_queues
from .watchdog import cycle_limit
from .web import Session

# Verbs that a cycle never needs, and cron starts us every few minutes: where they are, and by what name.
LAZY: Final = {
    "init": ("glidepost.site_puller.setup.cli", "init"),
    "check": ("glidepost.site_puller.setup.cli", "check"),
    "import": ("glidepost.site_puller.cli_import", "import_command"),
    "schedule": ("glidepost.site_puller.setup.cli", "schedule"),
    "cleanup": ("glidepost.site_puller.setup.cli", "cleanup"),
}


class Verbs(click.Group):
    """A click group that imports some of its verbs when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the verbs."""
        return [*super().list_commands(ctx), *LAZY]

    def get_command(self, ctx: click.Context, cmd_name: str) -> Optional[click.Command]:
        """Returns the verb's click command, or None."""
        return load(*LAZY[cmd_name]) if cmd_name in LAZY else super().get_command(ctx, cmd_name)


@click.group(cls=Verbs)
def group() -> None:
    """At a site: submit the glideins that the pool needs."""


@group.command()
@config_option
@state_option
@documents_option
@click.option(
    "--heartbeat",
    "outbox",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder that the heartbeat is left in, for another host to carry.",
)
@json_option
@click.option("--dry-run", is_flag=True, help="The same as `glidepost puller plan`.")
def run(  # noqa: PLR0913 - one for each option
    *,
    config: Path,
    state: Optional[Path],
    documents: Optional[str],
    outbox: Optional[Path],
    as_json: bool,
    dry_run: bool,
) -> int:
    """Run one cycle: read the demand, count, plan, submit, remove, report. For cron.

    Example: glidepost puller run --config puller.toml
    """
    settings = PullerConfig.load(config, state=state)
    if dry_run:
        return _plan(settings, documents, as_json=as_json)
    try:
        with lock(settings.state / "lock"), kept_log(settings.state), cycle_limit():
            done = _ran(settings, documents, outbox)
    except AlreadyRunning as running:
        click.echo(f"another puller of this site is running (it holds {running}); nothing to do", err=True)
        return 0
    _print(settings, done.prepared, done.plans, done.errors, as_json=as_json, done=True)
    return done.exit_code


@group.command()
@config_option
@state_option
@documents_option
@json_option
def plan(*, config: Path, state: Optional[Path], documents: Optional[str], as_json: bool) -> int:
    """Show what a cycle would do now, and do nothing.

    Example: glidepost puller plan --config puller.toml
    """
    return _plan(PullerConfig.load(config, state=state), documents, as_json=as_json)


@group.command()
@config_option
@state_option
@json_option
def why(*, config: Path, state: Optional[Path], as_json: bool) -> None:
    """Explain what the last cycle did, and why not more.

    Example: glidepost puller why --config puller.toml
    """
    settings = PullerConfig.load(config, state=state)
    last = record.load(settings.state / "cycle.json")
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(last), indent=1))
        return
    console = explain.console()
    age = format_duration(int((_now() - last.at).total_seconds()))
    console.print(explain.plan_table(last.plans, title=f"last cycle at {settings.site}, {age} ago", done=True))
    for line in last.plans:
        console.print(explain.sentence(line), markup=False)
    demand = _kept_demand(settings)
    if demand and demand.groups:
        console.print()
        console.print(explain.group_table(settings, demand))
    for error in last.errors:
        console.print(f"error: {error}", style="red", markup=False)


@group.command()
@config_option
@state_option
@json_option
def status(*, config: Path, state: Optional[Path], as_json: bool) -> int:
    """Show this site's own glideins as the batch system lists them now.

    Example: glidepost puller status --config puller.toml
    """
    settings = PullerConfig.load(config, state=state)
    answers = [queue.count() for queue in {queue.identity: queue for queue in open_queues(settings).values()}.values()]
    shapes = {name_prefix(settings.site, shape.name): shape.name for shape in settings.shapes}
    jobs = [item for answer in answers for item in answer.jobs if item.name.startswith("gp-")]
    errors = [answer.error for answer in answers if answer.error]
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(jobs), indent=1))
    else:
        if jobs:
            explain.console().print(explain.status_table(jobs, shapes))
        click.echo(counted(len(jobs), "glidein"), err=True)
    for error in errors:
        complain(error.what, error.hint)
    return exit_code(errors)


group.add_command(drain)
group.add_command(resume)


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)


def _cycle(settings: PullerConfig, documents: Optional[str], outbox: Optional[Path]) -> Cycle:
    session = Session(settings.proxy)
    return Cycle(
        settings,
        now=_now(),
        queues=open_queues(settings),
        source=open_source(settings, session, documents=documents),
        route=Route.of(settings, session, folder=outbox),
    )


def _ran(settings: PullerConfig, documents: Optional[str], outbox: Optional[Path]) -> Done:
    cycle = _cycle(settings, documents, outbox)
    secret_files.look(settings, outbox)
    return cycle.act(cycle.prepare())


def _plan(settings: PullerConfig, documents: Optional[str], *, as_json: bool) -> int:
    prepared = _cycle(settings, documents, None).prepare()
    _print(settings, prepared, prepared.plans, prepared.errors, as_json=as_json, done=False)
    return exit_code(prepared.errors)


def _print(  # noqa: PLR0913 - one renderer for plan and run
    settings: PullerConfig,
    prepared: Prepared,
    plans: tuple[ShapePlan, ...],
    errors: tuple[GlidepostError, ...],
    *,
    as_json: bool,
    done: bool,
) -> None:
    if as_json:
        data: dict[str, Any] = {"site": settings.site, "shapes": explain.plan_json(plans)}
        data["errors"] = [{"what": error.what, "hint": error.hint} for error in errors]
        click.echo(json.dumps(data, indent=1))
    else:
        title = f"{settings.site}: no demand"
        known = prepared.documents.known
        if known:
            title = f"{settings.site}: demand {known.demand.sequence}, {format_duration(known.age_s)} old"
        explain.console().print(explain.plan_table(plans, title=title, done=done))
    for error in errors:
        complain(error.what, error.hint)


def _kept_demand(settings: PullerConfig) -> Optional[Demand]:
    """Returns the demand as last fetched. It was verified then; it is only shown now."""
    try:
        body = (settings.state / "documents" / "v1-demand.json").read_bytes()
        return Demand.from_json(parse_object(body, what="demand"))
    except (OSError, GlidepostError):
        return None
