"""`glidepost infra cost`: what the cloud side costs a month."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable, Final, Optional

import click
from rich.console import Console
from rich.table import Table

from glidepost.schema.units import parse_duration

from .cost import Item, Load, Prices, break_even, month, total

_DEFAULT: Final = Load(sites=10)


class Duration(click.ParamType):  # type: ignore[type-arg,unused-ignore] # generic in some versions of click
    """A duration such as "5m", as seconds."""

    name = "duration"

    def convert(self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]) -> int:
        """Returns the seconds."""
        seconds = value if isinstance(value, int) else parse_duration(value, where=param.opts[0] if param else "it")
        if seconds < 1:
            self.fail(f"{value}: a moment is too short", param, ctx)
        return seconds


def _every(name: str, field: str, default: str, text: str) -> Callable[..., Any]:
    return click.option(name, field, type=Duration(), default=default, show_default=True, help=text)


@click.command()
@click.option("--sites", type=click.IntRange(1, 100_000), default=_DEFAULT.sites, show_default=True, help="How many.")
@_every("--interval", "interval_s", "5m", "How often each site's puller runs.")
@_every("--publish", "publish_s", "1m", "How often the publisher runs.")
@_every("--aggregate", "aggregate_s", "1m", "How often the aggregator runs.")
@click.option(
    "--busy",
    type=click.FloatRange(0, 1),
    default=_DEFAULT.busy,
    show_default=True,
    help="The share of cycles after which a site has something new to report; it reports each 15 minutes anyway.",
)
@click.option(
    "--views", type=int, default=_DEFAULT.views, show_default=True, help="How often the page is opened a day."
)
@click.option("--arch", "architecture", type=click.Choice(["arm64", "x86_64"]), default="arm64", show_default=True)
@click.option("--no-free", is_flag=True, help="As if something else had used up what AWS gives away each month.")
@click.option("--prices", type=click.Path(path_type=Path, dir_okay=False), help="Another table of prices.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def cost(*, prices: Optional[Path], no_free: bool, as_json: bool, **load: Any) -> None:
    """Say what the cloud side costs a month, item by item, and what a small virtual machine would.

    Example: glidepost infra cost --sites 100 --interval 5m
    """
    table, pool = Prices.load(prices), Load(**load)
    items = month(pool, table, free=not no_free)
    if as_json:
        answer = {
            "date": table.date,
            "source": table.source,
            "load": asdict(pool),
            "items": [asdict(item) for item in items],
            "usd": round(total(items), 4),
            "vm_usd": round(table.vm_month, 4),
            "break_even_sites": break_even(pool, table),
        }
        click.echo(json.dumps(answer, indent=1))
        return
    _show(items, pool, table, Console(highlight=False))


def _show(items: list[Item], load: Load, prices: Prices, console: Console) -> None:
    shown = Table(box=None, pad_edge=False, header_style="bold", show_footer=True)
    shown.add_column("a month", footer="together")
    shown.add_column("count", justify="right")
    shown.add_column("")
    shown.add_column("USD", justify="right", footer=f"{total(items):.2f}")
    for item in items:
        shown.add_row(item.name, _count(item.count), item.unit, f"{item.usd:.2f}")
    console.print(shown)
    vm = prices.vm
    console.print(
        f"\nA {vm['name']} that is always on: {prices.vm_month:.2f} USD, and somebody who looks after it."
        f" It would cost less from {break_even(load, prices)} sites on."
    )
    console.print(f"Prices of {prices.date}: {prices.source}. Taxes and discounts are not in them.", soft_wrap=True)


def _count(count: float) -> str:
    return f"{count:,.0f}" if count >= 10 else f"{count:.2g}"
