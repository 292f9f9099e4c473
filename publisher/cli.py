"""`glidepost publisher`: the verbs of the access point."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

import click
from rich.console import Console

from glidepost.schema.checks import FAILED, show_finding
from glidepost.schema.cli_options import config_option
from glidepost.schema.command import complain
from glidepost.schema.demand import Demand
from glidepost.schema.errors import StoreError
from glidepost.schema.files import AlreadyRunning, lock
from glidepost.schema.publisher_config import PublisherConfig
from glidepost.schema.units import counted

from . import cycle, publish, secret_files
from .check_all import check as checks
from .cli_sites import enroll, revoke, sites
from .pool import Pool
from .show import show as show_demand
from .store import S3Store
from .why import explain, find
from .why import show as show_answers


@click.group()
def group() -> None:
    """On the access point: publish what the pool needs."""


@group.command()
@config_option
@click.option("--aggregate", is_flag=True, help="Also make the status page, as `glidepost infra aggregate` does.")
@click.option("--dry-run", is_flag=True, help="Show what would be published, write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the demand as JSON.")
@click.pass_context
def run(ctx: click.Context, *, config: Path, aggregate: bool, dry_run: bool, as_json: bool) -> int:
    """Count the idle user jobs, decide what each site should hold, and publish it.

    Example: glidepost publisher run --config publisher.toml --aggregate
    """
    settings = PublisherConfig.load(config)
    secret_files.look(settings)
    now = datetime.now(timezone.utc).replace(microsecond=0)
    try:
        with lock(Path(settings.demand.state) / "publisher.lock"):
            store = S3Store.from_settings(settings.store)
            published = cycle.run(settings, store, Pool(settings), now=now, dry_run=dry_run)
    except AlreadyRunning as running:
        click.echo(f"another publisher is running (it holds {running}); nothing to do", err=True)
        return 0
    if as_json:
        click.echo(json.dumps(published.demand.to_json(), indent=1))
    else:
        show_demand(published.demand, now, Console(highlight=False))
        click.echo(_summary(published, dry_run=dry_run))
    for failure in published.failures:
        complain(failure.what, failure.hint)
    if not dry_run and (aggregate or not settings.alerts.is_empty):
        # The aggregator lives in infra, which the publisher does not import: the command line is where they meet.
        infra = ctx.find_root().command.get_command(ctx, "infra")  # type: ignore[attr-defined]
        with redirect_stdout(sys.stderr if as_json else sys.stdout):  # the answer is one JSON document
            if aggregate:
                ctx.invoke(infra.get_command(ctx, "aggregate"), config=config, as_json=False)
            else:
                ctx.invoke(infra.get_command(ctx, "alert"), config=config)
    return 1 if published.failures else 0


@group.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print the document as it is in the store.")
def show(*, config: Path, as_json: bool) -> None:
    """Show the demand that sites read now.

    Example: glidepost publisher show --config publisher.toml
    """
    settings = PublisherConfig.load(config)
    data = publish.current(S3Store.from_settings(settings.store))
    if data is None:
        raise StoreError("no demand was published yet", hint="publish: glidepost publisher run")
    if as_json:
        click.echo(json.dumps(data, indent=1))
    else:
        show_demand(Demand.from_json(data), datetime.now(timezone.utc), Console(highlight=False))


@group.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print a list of what was found, each with its state.")
@click.pass_context
def check(ctx: click.Context, *, config: Path, as_json: bool) -> int:
    """Try everything that a run needs, and say what fails and what to do about it.

    It makes a pool token and throws it away, and writes two objects to the store and removes them again.

    Example: glidepost publisher check --config publisher.toml
    """
    source = ctx.get_parameter_source("config")
    console = Console(highlight=False)
    findings = []
    for finding in checks(config, source.name.lower().replace("commandline", "--config") if source else ""):
        findings.append(finding)
        if not as_json:
            show_finding(finding, console)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    return 1 if any(finding.state == FAILED for finding in findings) else 0


@group.command()
@click.argument("group_id", metavar="GROUP")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def why(*, group_id: str, config: Path, as_json: bool) -> None:
    """Show for each site's shapes whether they can run a group, and why not. GROUP is the beginning of its id.

    Example: glidepost publisher why g4f1c09 --config publisher.toml
    """
    settings = PublisherConfig.load(config)
    now = datetime.now(timezone.utc).replace(microsecond=0)
    outlook = cycle.look(settings, S3Store.from_settings(settings.store), Pool(settings), now=now)
    job = find(outlook.jobs, group_id)
    shares = {item.id: item.sites for item in outlook.demand.groups}[job.group.id]
    answers = explain(job, shares, outlook.heartbeats, outlook.refused, outlook.matcher)
    if as_json:
        data = {"group": job.group.id, "idle_jobs": job.group.idle_jobs, "sites": [asdict(item) for item in answers]}
        click.echo(json.dumps(data, indent=1))
    else:
        show_answers(job.group, answers, now, Console(highlight=False))


for _verb in (enroll, sites, revoke):
    group.add_command(_verb)


def _summary(published: cycle.Published, *, dry_run: bool) -> str:
    demand = published.demand
    what = "would publish" if dry_run else "published" if published.written else "unchanged, not published again:"
    found = f"{counted(demand.idle_jobs, 'idle user job')} in {counted(len(demand.groups), 'group')}"
    text = f"{what} demand {demand.sequence}: {found}"
    if published.mailboxes:
        text += f"; mailboxes renewed: {', '.join(published.mailboxes)}"
    return text
