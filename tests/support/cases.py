"""What the suite of the translations needs to know of a backend. A new one is a file case_NAME.py with a CASE."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from glidepost.backends.base import BatchJob, Command
from glidepost.schema.puller_config import Option
from glidepost.schema.resources import Resources


@dataclass(frozen=True)
class Case:
    """One backend.

    submitted: what a submission printed (file in tests/recorded) -> the id in it.
    listing, jobs: what a query printed (file in tests/recorded), and what it says.
    ours: a batch job name in it that stands for an array of several.
    line: writes a query's answer with one batch job, from id, state and name.
    ids: two that may be removed.
    empty: a query's answer with none; if it is not empty, an empty text is no answer.
    has_odd_names: a name may hold anything but a line end; else it is printable ASCII.
    granted: what a submission asks for, or None where nothing is asked for.
    """

    options: Mapping[str, Option]
    submitted: Mapping[str, str]
    listing: str
    jobs: Sequence[BatchJob]
    ours: str
    line: Callable[[str, str, str], str]
    ids: Sequence[str]
    granted: Optional[Callable[[Command], Resources]] = None
    empty: str = ""
    has_odd_names: bool = True
