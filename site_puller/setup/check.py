"""`glidepost puller check`: everything that can go wrong at a site, each tried for real, each with its own verdict."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Optional

from glidepost.backends.local import LocalBackend
from glidepost.schema.checks import Finding, attempt
from glidepost.schema.puller_config import PullerConfig
from glidepost.site_puller.queue import Queue
from glidepost.site_puller.web import Session

from .check_batch import check_batch
from .check_host import Here, check_host
from .check_secrets import check_secrets, check_text
from .check_store import PoolCheck


@dataclass(frozen=True)
class Question:
    """Whose configuration is to be checked.

    `source` says who named the file: "--config", a variable, or "the default"; `state` takes the place of
    `[site] state`, as `state_source` says.
    """

    path: Path
    source: str
    command: Path
    state: Optional[Path] = None
    state_source: str = ""


def check(question: Question, *, now: datetime, environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Yields what is found, as soon as it is, in an order in which one failure explains those after it."""
    loaded: list[PullerConfig] = []

    def load() -> str:
        config = PullerConfig.load(question.path, state=question.state)
        loaded.append(config)
        return _origin(question, config)

    if question.path.is_file():
        yield from check_text(question.path)
    yield attempt("configuration", load)
    for config in loaded:
        # Only a way to run a command on this host: of the backend nothing is asked.
        here = Here(question.command, environment, Queue(LocalBackend({"folder": str(config.state / "local")})))
        yield from check_secrets(question.path, config)
        yield from check_host(config, here)
        with Session(config.proxy) as session:
            yield from PoolCheck(config, session, now=now)()
        yield from check_batch(config)


def _origin(question: Question, config: PullerConfig) -> str:
    """Says where file and state folder come from: flag > environment > TOML > default."""
    text = f"{question.path.absolute()} (from {question.source})"
    if question.state:
        text += f", state folder {config.state} (from {question.state_source}, not from [site] state)"
    return f"{text}: site {config.site}, shapes {', '.join(shape.name for shape in config.shapes)}"
