"""What the import must know of one batch system; each has a small module of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .model import Draft, Settings
from .words import Dialect, Taken


@dataclass(frozen=True)
class Family:
    """One batch system, as pyglidein spoke it.

    Args:
        backend: Its name in puller.toml.
        commands: Which commands submit.
        directive: What its lines in a batch script begin with; empty if there are none.
        dialect: Its options.
        refine: Reads what options mean that hold several things, such as `-l mem=4gb,walltime=10:00:00`.
        finish: Adds the options that a draft needs to ask for what pyglidein asked for.
        own: Keys of pyglidein that only this batch system read, beside those that all read.
    """

    backend: str
    commands: tuple[str, ...]
    directive: str
    dialect: Dialect
    refine: Callable[[Taken], None]
    finish: Callable[[Settings, Draft], None]
    own: tuple[str, ...] = ()
