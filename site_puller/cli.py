"""`glidepost puller`: the verbs of a site."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Optional

import click
import msgspec
import requests

from glidepost.schema.command import complain
from glidepost.schema.demand import Demand
from glidepost.schema.document import parse_object
from glidepost.schema.errors import GlidepostError
from glidepost.schema.files import AlreadyRunning, lock
from glidepost.schema.puller_config import PullerConfig
from glidepost.schema.units import format_duration

from . import explain, record
from .cycle import Cycle, Prepared, open_queues
from .plan import ShapePlan

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("puller.toml"),
    envvar="GLIDEPOST_PULLER_CONFIG",
    show_default=True,
    help="This site's configuration.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def group() -> None:
    """At a site: submit the glideins that the pool needs."""


@group.command()
@config_option
@json_option
@click.option("--dry-run", is_flag=True, help="The same as `glidepost puller plan`.")
def run(*, config: Path, as_json: bool, dry_run: bool) -> int:
    """Run one cycle: read the demand, count, plan, submit, report. For cron.

    Example: glidepost puller run --config puller.toml
    """
    settings = PullerConfig.load(config)
    if dry_run:
        return _plan(settings, as_json=as_json)
    try:
        with lock(settings.state / "lock"):
            cycle = _cycle(settings)
            done = cycle.act(cycle.prepare())
    except AlreadyRunning as running:
        click.echo(f"another puller of this site is running (it holds {running}); nothing to do", err=True)
        return 0
    _print(settings, done.prepared, done.plans, done.errors, as_json=as_json, done=True)
    return done.exit_code


@group.command()
@config_option
@json_option
def plan(*, config: Path, as_json: bool) -> int:
    """Show what a cycle would do now, and do nothing.

    Example: glidepost puller plan --config puller.toml
    """
    return _plan(PullerConfig.load(config), as_json=as_json)


@group.command()
@config_option
@json_option
def why(*, config: Path, as_json: bool) -> None:
    """Explain what the last cycle did, and why not more.

    Example: glidepost puller why --config puller.toml
    """
    settings = PullerConfig.load(config)
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
@json_option
def status(*, config: Path, as_json: bool) -> None:
    """Show this site's own glideins as the batch system lists them now.

    Example: glidepost puller status --config puller.toml
    """
    settings = PullerConfig.load(config)
    jobs = {
        (item.name, item.batch_id): item
        for queue in {queue.identity: queue for queue in open_queues(settings).values()}.values()
        for item in queue.jobs()
        if item.name.startswith("gp-")
    }
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(list(jobs.values())), indent=1))
        return
    for item in jobs.values():
        click.echo(f"{item.name}  {item.batch_id}  {item.state.value}  {item.reason}".rstrip())
    click.echo(f"{len(jobs)} glideins", err=True)


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)


def _cycle(settings: PullerConfig) -> Cycle:
    return Cycle(settings, now=_now(), queues=open_queues(settings), session=requests.Session())


def _plan(settings: PullerConfig, *, as_json: bool) -> int:
    prepared = _cycle(settings).prepare()
    _print(settings, prepared, prepared.plans, prepared.errors, as_json=as_json, done=False)
    return max((error.exit_code for error in prepared.errors), default=0)


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
        data: dict[str, Any] = {"site": settings.site, "shapes": msgspec.to_builtins(plans)}
        data["errors"] = [{"what": error.what, "hint": error.hint} for error in errors]
        click.echo(json.dumps(data, indent=1))
    else:
        title = f"{settings.site}: no demand"
        if prepared.known:
            age = format_duration(prepared.known.age_s)
            title = f"{settings.site}: demand {prepared.known.demand.sequence}, {age} old"
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
