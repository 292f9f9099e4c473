"""`glidepost publisher`: the verbs of the access point."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from datetime import datetime, timezone
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from glidepost.schema.demand import Demand
from glidepost.schema.errors import StoreError
from glidepost.schema.files import AlreadyRunning, lock
from glidepost.schema.publisher_config import PublisherConfig
from glidepost.schema.units import format_duration

from . import cycle
from .enrolment import enroll as enroll_site
from .pool import Pool
from .store import S3Store

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("publisher.toml"),
    envvar="GLIDEPOST_PUBLISHER_CONFIG",
    show_default=True,
    help="The publisher's configuration.",
)


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
        _print(published.demand, now)
        click.echo(_summary(published, dry_run=dry_run))
    for failure in published.failures:
        click.echo(f"error: {failure.what}\nhint:  {failure.hint}", err=True)
    if aggregate and not dry_run:
        # The aggregator lives in infra, which the publisher does not import: the command line is where they meet.
        infra = ctx.find_root().command.get_command(ctx, "infra")  # type: ignore[attr-defined]
        with redirect_stdout(sys.stderr if as_json else sys.stdout):  # the answer is one JSON document
            ctx.invoke(infra.get_command(ctx, "aggregate"), config=config, as_json=False)
    return 1 if published.failures else 0


@group.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print the document as it is in the store.")
def show(*, config: Path, as_json: bool) -> None:
    """Show the demand that sites read now.

    Example: glidepost publisher show --config publisher.toml
    """
    settings = PublisherConfig.load(config)
    data = cycle.current(S3Store.from_settings(settings.store))
    if data is None:
        raise StoreError("no demand was published yet", hint="publish: glidepost publisher run")
    if as_json:
        click.echo(json.dumps(data, indent=1))
    else:
        _print(Demand.from_json(data), datetime.now(timezone.utc))


@group.command()
@click.argument("line")
@config_option
def enroll(*, line: str, config: Path) -> None:
    """Let a site take part: LINE is what `glidepost keys generate --site NAME` printed there.

    Example: glidepost publisher enroll 'glidepost-site north ed25519:AAAA...'
    """
    settings = PublisherConfig.load(config)
    name = enroll_site(line, Path(settings.demand.sites))
    click.echo(f"{name} is enrolled in {settings.demand.sites}; the next run writes its mailbox")


def _summary(published: cycle.Published, *, dry_run: bool) -> str:
    demand = published.demand
    what = "would publish" if dry_run else "published" if published.written else "unchanged, not published again:"
    text = f"{what} demand {demand.sequence}: {demand.idle_jobs} idle user jobs in {len(demand.groups)} groups"
    if published.mailboxes:
        text += f"; mailboxes renewed: {', '.join(published.mailboxes)}"
    return text


def _print(demand: Demand, now: datetime) -> None:
    console = Console(highlight=False)
    age = format_duration(int((now - demand.generated_at).total_seconds()))
    table = Table(title=f"demand {demand.sequence} of {demand.pool}, {age} old", title_justify="left", box=None)
    for heading, justify in (
        ("group", "left"),
        ("idle", "right"),
        ("since", "right"),
        ("asks for", "left"),
        ("sites", "left"),
    ):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for item in demand.groups:
        sites = ", ".join(f"{site} {share}" for site, share in item.sites.items()) or "no site can run it"
        waiting = format_duration(int((now - item.idle_since).total_seconds()))
        table.add_row(item.id, str(item.idle_jobs), waiting, str(item.request), sites)
    if demand.groups:
        console.print(table)
    for schedd in demand.schedds:
        if schedd.error:
            console.print(f"schedd {schedd.name}: {schedd.error}", style="red", markup=False)
    for entry in demand.unevaluated:
        text = f"{entry.idle_jobs} idle user jobs not counted: {entry.attribute} = {entry.problem}"
        console.print(text, style="yellow", markup=False)
