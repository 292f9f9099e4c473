"""All checks of a publisher, in the order in which one explains the next."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from glidepost.schema.checks import OK, Finding, attempt
from glidepost.schema.publisher_config import PublisherConfig

from .check import check_host, check_pool
from .check_store import StoreCheck
from .pool import Pool
from .store import S3Store


def check(path: Path, source: str) -> Iterator[Finding]:
    """Yields what is found with the configuration in a file, as soon as it is.

    Args:
        path: publisher.toml.
        source: Who said that it is this file, such as "--config".
    """
    loaded: list[PublisherConfig] = []
    opened: list[S3Store] = []

    def load() -> str:
        loaded.append(PublisherConfig.load(path))
        return f"{path.absolute()} (from {source})" if source else str(path.absolute())

    def open_store(config: PublisherConfig) -> str:
        opened.append(S3Store.from_settings(config.store))
        return config.store.credentials or "from boto3's usual places"

    yield attempt("configuration", load)
    for config in loaded:
        yield from check_host(config)
        yield from check_pool(config, Pool(config), now=_now())
        finding = attempt("store: credentials", lambda config=config: open_store(config))  # type: ignore[misc]
        yield finding
        if finding.state == OK:
            yield from StoreCheck(config, opened[0], clock=_now)()


def _now() -> datetime:
    return datetime.now(timezone.utc)
