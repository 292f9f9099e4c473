"""A demand document as tables, for people at a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final, Optional

from rich.console import Console
from rich.table import Table
from rich.text import Text

from glidepost.schema.demand import Demand, Group, Metrics, ShapeView, Unevaluated
from glidepost.schema.units import counted, format_duration

_NUMBERS: Final = frozenset({"idle", "since", "owners", "share", "glideins", "cpus", "gpus", "oldest", "newest"})
_LIMIT: Final = 200  # of the rows of one table


def show(demand: Demand, now: datetime, console: Console) -> None:
    """Prints the whole document: how good it is, what waits, who is to serve it, and what the pool sees of it."""
    console.print(_head(demand, now))
    console.print(_summary(demand))
    tables = (_groups(demand, now), _schedds(demand, now), _sites(demand, now))
    for table in tables:
        if table.row_count:
            console.print()
            console.print(table)
    lines = [*_left_out(demand), *_running(demand.metrics), *_code(demand)]
    if lines:
        console.print()
    for line in lines:
        console.print(line, soft_wrap=True)


def _head(demand: Demand, now: datetime) -> Text:
    head = f"demand {demand.sequence} of {demand.pool}, {_span(demand.generated_at, now)} old"
    if now >= demand.expires_at:
        return Text(f"{head}, expired {_span(demand.expires_at, now)} ago: sites submit nothing", "bold red")
    return Text(f"{head}, good for {_span(now, demand.expires_at)}", "bold")


def _summary(demand: Demand) -> Text:
    text = f"{counted(demand.idle_jobs, 'idle user job')} in {counted(len(demand.groups), 'group')}"
    if demand.complete:
        return Text(text)
    return Text(f"{text}; not complete: see the schedds below", "yellow")


def _groups(demand: Demand, now: datetime) -> Table:
    table = _table("group", "idle", "since", "owners", "asks for", "sites")
    for group in demand.groups[:_LIMIT]:
        request = str(group.request)
        if group.max_runtime_s is not None:
            request += f", {format_duration(group.max_runtime_s)}"
        if group.accounting_group:
            request += f" ({group.accounting_group})"
        table.add_row(
            group.id,
            str(group.idle_jobs),
            _span(group.idle_since, now),
            str(group.owner_count),
            Text(request),
            _shares(group),
        )
    _add_rest(table, len(demand.groups))
    return table


def _shares(group: Group) -> Text:
    if group.sites:
        return Text(", ".join(f"{site} {share}" for site, share in group.sites.items()))
    return Text(f"none (glidepost publisher why {group.id})", "yellow")


def _schedds(demand: Demand, now: datetime) -> Table:
    table = _table("schedd", "idle", "asked")
    for schedd in demand.schedds[:_LIMIT]:
        asked: Optional[Text] = None
        if schedd.error is not None:
            when = "groups missing" if schedd.asked_at is None else f"{_span(schedd.asked_at, now)} ago"
            asked = Text(f"{when}: {schedd.error}", "red")
        table.add_row(Text(schedd.name), str(schedd.idle_jobs), asked or Text("ok"))
    _add_rest(table, len(demand.schedds))
    return table


def _sites(demand: Demand, now: datetime) -> Table:
    """Returns a table of what each site is to hold, and what the collector sees of its shapes."""
    shares: dict[str, int] = {}
    for group in demand.groups:
        for site, number in group.sites.items():
            shares[site] = shares.get(site, 0) + number
    table = _table("site", "share", "shape", "glideins", "cpus", "gpus", "oldest", "newest")
    names = sorted({*shares, *demand.pool_view})
    for site in names[:_LIMIT]:
        share = str(shares.get(site, 0))
        views = demand.pool_view.get(site, {})
        if not views:
            table.add_row(site, share, "", "0", "", "", "", "")
        first = (site, share)
        for shape, view in sorted(views.items()):
            table.add_row(*first, shape, *_seen(view, now))
            first = ("", "")
    _add_rest(table, len(names))
    return table


def _seen(view: ShapeView, now: datetime) -> tuple[str, ...]:
    return (
        str(view.glideins),
        f"{view.cpus_claimed} of {view.cpus}",
        f"{view.gpus_claimed} of {view.gpus}" if view.gpus else "",
        "" if view.oldest_start is None else _span(view.oldest_start, now),
        "" if view.newest_start is None else _span(view.newest_start, now),
    )


def _left_out(demand: Demand) -> Iterator[Text]:
    if demand.other is not None and demand.other.groups:
        yield Text(
            f"{demand.other.idle_jobs} idle user jobs in {demand.other.groups} smaller groups have no room in the"
            " document, and no share",
            "yellow",
        )
    for entry in demand.unevaluated[:_LIMIT]:
        yield Text(f"{not_counted(entry)}: {entry.attribute} = {entry.problem}", "yellow")


def not_counted(entry: Unevaluated) -> str:
    """Returns "4 idle user jobs of 2 owners not counted"."""
    owners = counted(entry.owner_count, "owner")
    return f"{counted(entry.idle_jobs, 'idle user job')} of {owners} not counted"


def _running(metrics: Optional[Metrics]) -> Iterator[Text]:
    if metrics is None or metrics.running_inside is None:
        return
    outside = "" if metrics.running_outside is None else f", {metrics.running_outside} elsewhere in the pool"
    yield Text(f"running: {metrics.running_inside} user jobs in glideins{outside}")


def _code(demand: Demand) -> Iterator[Text]:
    release = demand.glidein
    for channel, tarballs in {release.channel: release.tarballs, **release.channels}.items():
        for tarball in tarballs:
            needs = f", glibc {tarball.glibc} or newer" if tarball.glibc else ""
            text = f"glideins run HTCondor {tarball.condor_version} for {tarball.os} {tarball.arch}{needs} ({channel})"
            yield Text(f"{text}: {tarball.sha256[:12]}")
    for channel in sorted(set(release.site_channels.values())):
        sites = sorted(site for site, name in release.site_channels.items() if name == channel)
        yield Text(f"channel {channel} goes to {', '.join(sites)}")


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, justify="right" if heading in _NUMBERS else "left")
    return table


def _add_rest(table: Table, number: int) -> None:
    if number > _LIMIT:
        table.add_row(Text(f"and {number - _LIMIT} more: --json", "dim"))


def _span(start: datetime, end: datetime) -> str:
    return format_duration(int((end - start).total_seconds()))
