"""`glidepost puller drain` and `resume`: a person's orders. They never wait for a cycle that runs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Final, Optional

import click
import msgspec

from glidepost.schema.errors import ConfigError, GlidepostError
from glidepost.schema.files import AlreadyRunning, lock
from glidepost.schema.heartbeat import BreakerView
from glidepost.schema.puller_config import PullerConfig

from . import drain as orders
from .breaker import Breakers
from .cli_options import config_option, json_option, state_option

_NEXT: Final = "from the next cycle on"


@dataclass(frozen=True)
class Standing:
    """What is ordered of one shape, and how its breaker will stand once the next cycle has read that."""

    name: str
    drained_since: Optional[datetime]
    breaker: Optional[BreakerView]


@click.command()
@click.argument("shape", required=False)
@config_option
@state_option
@json_option
def drain(*, shape: Optional[str], config: Path, state: Optional[Path], as_json: bool) -> None:
    """Submit nothing more for SHAPE, or for all shapes, and remove what is queued. Running glideins end by themselves.

    Example: glidepost puller drain gpu
    """
    settings = PullerConfig.load(config, state=state)
    now = _now()
    drained = _order(settings, shape, lambda before: before.with_drained(shape, now))
    _print(settings, drained, now, as_json=as_json)


@click.command()
@click.argument("shape", required=False)
@config_option
@state_option
@json_option
def resume(*, shape: Optional[str], config: Path, state: Optional[Path], as_json: bool) -> None:
    """Let SHAPE, or all shapes, go on: after `drain`, and after a breaker's pause, without a canary.

    Example: glidepost puller resume gpu
    """
    settings = PullerConfig.load(config, state=state)
    now, names = _now(), [item.name for item in settings.shapes]
    drained = _order(settings, shape, lambda before: before.with_resumed(shape, names, now))
    _print(settings, drained, now, as_json=as_json)


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)


def _order(
    settings: PullerConfig, shape: Optional[str], change: Callable[[orders.Drained], orders.Drained]
) -> orders.Drained:
    """Returns the orders after a change that is on disk.

    Raises:
        ConfigError: for a shape that the configuration does not have, or orders that cannot be read.
        GlidepostError: when another such command runs.
    """
    names = [item.name for item in settings.shapes]
    if shape is not None and shape not in names:
        near = difflib.get_close_matches(shape, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"this site has {', '.join(names)}"
        raise ConfigError(f"no shape {shape!r} in the configuration", hint=hint)
    path = settings.state / "drained.json"
    try:
        with lock(settings.state / "drained.lock"):
            before = orders.load(path)
            if before.is_unreadable and shape is not None:
                hint = "`glidepost puller resume` or `drain`, without a shape, writes it anew"
                raise ConfigError(f"{path} cannot be read", hint=hint)
            after = change(before)
            orders.save(path, after)
    except AlreadyRunning as running:
        raise GlidepostError(f"another drain or resume is at work (it holds {running})", hint="try again") from running
    return after


def _print(settings: PullerConfig, drained: orders.Drained, now: datetime, *, as_json: bool) -> None:
    breakers = Breakers.load(settings.state / "breaker.json", settings.site).resumed(drained.resumed, now)
    shapes = [Standing(item.name, drained.since(item.name), breakers.view(item.name, now)) for item in settings.shapes]
    if as_json:
        data = {"site": settings.site, "shapes": msgspec.to_builtins(shapes)}
        click.echo(json.dumps(data, indent=1))
        return
    for standing in shapes:
        click.echo(_sentence(standing))


def _sentence(standing: Standing) -> str:
    if standing.drained_since:
        since = f"{standing.drained_since:%Y-%m-%d %H:%M} UTC"
        return f"{standing.name}: drained since {since}; {_NEXT} nothing is submitted, and what is queued is removed"
    breaker = standing.breaker
    if breaker is None:
        return f"{standing.name}: goes on; {_NEXT} submits what is wanted"
    until = f" until {breaker.until:%Y-%m-%d %H:%M} UTC" if breaker.until else ""
    what = "paused" if breaker.state == "paused" else "tries with one glidein"
    return f"{standing.name}: {what}{until} after {breaker.code}; `glidepost puller resume {standing.name}` ends that"
