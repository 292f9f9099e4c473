"""`glidepost demo`: all of it on this machine."""

from __future__ import annotations

import signal
import sys

import click

from .demo import open_demo


@click.command()
@click.option("--stop", is_flag=True, help="End everything that the demo has started.")
def group(*, stop: bool) -> None:
    """Run all of Glidepost on this machine: a real pool, two sites, twelve user jobs.

    Example: glidepost demo
    """
    demo = open_demo()
    if stop:
        demo.stop()
        click.echo("the demo is over: nothing of it runs any more", err=True)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ended from outside, it still ends what it started
    demo.run()
