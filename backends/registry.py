"""The batch systems that Glidepost speaks. A new one is one class in one file, and one line here."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Final

from glidepost.schema.errors import ConfigError
from glidepost.schema.puller_config import Option

from .base import Backend
from .gridengine import GridEngineBackend
from .htcondor import HTCondorBackend
from .local import LocalBackend
from .lsf import LsfBackend
from .pbs import PbsBackend
from .slurm import SlurmBackend
from .torque import TorqueBackend

BACKENDS: Final[Mapping[str, Callable[[Mapping[str, Option]], Backend]]] = {
    GridEngineBackend.name: GridEngineBackend,
    HTCondorBackend.name: HTCondorBackend,
    LocalBackend.name: LocalBackend,
    LsfBackend.name: LsfBackend,
    PbsBackend.name: PbsBackend,
    SlurmBackend.name: SlurmBackend,
    TorqueBackend.name: TorqueBackend,
}


def create(shape_backend: str, options: Mapping[str, Option]) -> Backend:
    """Returns the backend of a shape.

    Args:
        shape_backend: `backend` of the shape, as in puller.toml.
        options: Its `options`.

    Raises:
        ConfigError: for a name that is not known, or options that cannot be meant.
    """
    try:
        make = BACKENDS[shape_backend]
    except KeyError:
        near = difflib.get_close_matches(shape_backend, BACKENDS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"it knows {', '.join(sorted(BACKENDS))}"
        raise ConfigError(f"backend = {shape_backend!r}: no such batch system", hint=hint) from None
    return make(options)
