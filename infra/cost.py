"""What the cloud side costs a month: requests counted as the code makes them, times a table of prices. Pure.

How many requests each run makes is measured: tests/real/test_requests.py counts them on a real S3 server and compares
them with the numbers here, so that this cannot drift from the code.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Final, Optional, Union

import msgspec

from glidepost.schema.errors import ConfigError

from .aggregator.files import SITE_PAGE_S

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MONTH_S: Final = 30 * 86400
MONTH_H: Final = 730
MILLION: Final = 1e6
HEARTBEAT_S: Final = 900  # the longest time between two heartbeats of a site that reports no change
MAILBOX_S: Final = 6 * 3600
# Of how many places CloudFront asks the bucket, each for itself: sites are not all in one.
EDGES: Final = 3
_DEMAND_CACHE_S: Final = 15
VIEW_REQUESTS: Final = 5  # an opened page, and what it looks at until it is closed
ALARMS: Final = 2
# Of the aggregator, as measured in a warm function: seconds of a run, more for each new heartbeat, and what it logs.
RUN_S: Final = 0.4
HEARTBEAT_READ_S: Final = 0.004
LOG_BYTES: Final = 900


@dataclass(frozen=True)
class Run:
    """Requests of one run: writes (PUT, COPY, POST, LIST) and reads (GET, HEAD), and so many more for each site."""

    writes: float
    reads: float
    writes_per_site: float = 0.0
    reads_per_site: float = 0.0

    def month(self, sites: int, every_s: float) -> tuple[float, float]:
        """Returns writes and reads of a month."""
        runs = MONTH_S / every_s
        return runs * (self.writes + sites * self.writes_per_site), runs * (self.reads + sites * self.reads_per_site)


# A run in which nothing has changed; what else there is comes on top, below.
# (it lists heartbeats and mailboxes, in one answer for up to 1,000 sites, and reads demand and keys)
PUBLISHER: Final = Run(writes=2, reads=2)
# (the mean of many: histories grow each five minutes, and are written then)
AGGREGATOR: Final = Run(writes=6.1, reads=6.05)
# A heartbeat that is new is read, by each of both, and its site's page written, each SITE_PAGE_S at most.
READS_PER_HEARTBEAT: Final = 1
# Before a mailbox is renewed it is read, and once after that.
READS_PER_MAILBOX: Final = 2
WRITES_PER_SITE_PAGE: Final = 1
# What a site asks CloudFront for in a cycle: the pool's keys, demand and mailbox.
PULLER_FETCHES: Final = 3


@dataclass(frozen=True)
class Load:
    """A pool. `busy` is the share of a site's cycles after which it has something new to report.

    `views` are openings of the page a day, `page_kb` what one of them fetches until it is closed.
    """

    sites: int
    interval_s: int = 300
    publish_s: int = 60
    aggregate_s: int = 60
    busy: float = 0.25
    views: int = 100
    page_kb: float = 150.0
    document_kb: float = 20.0
    architecture: str = "arm64"
    memory_mib: int = 256
    stored_gb: float = 1.0

    @property
    def heartbeats(self) -> float:
        """Heartbeats of all sites in a month: after each change, and each quarter of an hour."""
        cycles = MONTH_S / self.interval_s
        steady = min(1.0, self.interval_s / HEARTBEAT_S)
        return self.sites * cycles * (self.busy + (1 - self.busy) * steady)


@dataclass(frozen=True)
class Prices:
    """A table of prices in dollars; see prices.toml."""

    date: str
    source: str
    s3: dict[str, float]
    function: dict[str, float]  # "lambda", which is a word of Python's
    cloudfront: dict[str, float]
    cloudwatch: dict[str, float]
    vm: dict[str, Union[float, str]]

    @classmethod
    def load(cls, path: Optional[Path] = None) -> Prices:
        """Returns the table in a file; default is ours.

        Raises:
            ConfigError: It is no such table.
        """
        name = str(path or "prices.toml")
        try:
            text = path.read_text("utf-8") if path else resources.files(__package__).joinpath(name).read_text("utf-8")
            data: dict[str, Any] = tomllib.loads(text)
            data["function"] = data.pop("lambda", None)
            return msgspec.convert(data, cls)
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            raise ConfigError(f"{name}: {error}", hint="take infra/prices.toml as an example") from error

    @property
    def vm_month(self) -> float:
        """Dollars a month for a small virtual machine that is always on."""
        vm = {name: float(value) for name, value in self.vm.items() if name != "name"}
        return (vm["hour"] + vm["address_hour"]) * MONTH_H + vm["disk_gb"] * vm["disk_size_gb"]


@dataclass(frozen=True)
class Item:
    """One line of the bill. `count` says what is counted in `unit`; `usd` is a month's dollars."""

    name: str
    count: float
    unit: str
    usd: float


def month(load: Load, prices: Prices, *, free: bool = True) -> list[Item]:
    """Returns what a month costs, item by item.

    Args:
        load: The pool.
        prices: Of one region.
        free: Whether what AWS gives away each month, for ever, is left for this.
    """
    return [
        *_requests(load, prices.s3),
        *_delivery(load, prices.cloudfront, free=free),
        *_computing(load, prices, free=free),
    ]


def total(items: list[Item]) -> float:
    """Returns the sum in dollars."""
    return sum(item.usd for item in items)


def break_even(load: Load, prices: Prices) -> int:
    """Returns the number of sites from which on the small virtual machine would cost less; at most 100,000."""
    low, high = 1, 100_000
    while low < high:
        middle = (low + high) // 2
        if total(month(replace(load, sites=middle), prices)) > prices.vm_month:
            high = middle
        else:
            low = middle + 1
    return low


def _requests(load: Load, prices: Mapping[str, float]) -> list[Item]:
    """Returns what the store counts: who asks how often."""
    write, read = prices["write_million"] / MILLION, prices["read_million"] / MILLION
    cycles = load.sites * MONTH_S / load.interval_s
    published, looked_up = PUBLISHER.month(load.sites, load.publish_s)
    shown, gathered = AGGREGATOR.month(load.sites, load.aggregate_s)
    gathered += load.heartbeats * READS_PER_HEARTBEAT
    renewed = load.sites * MONTH_S / MAILBOX_S
    looked_up += load.heartbeats * READS_PER_HEARTBEAT + renewed * READS_PER_MAILBOX
    # Demand and keys are asked for again when CloudFront's copies are too old; a mailbox is asked for by one site only.
    fetched = 2 * min(cycles, EDGES * MONTH_S / _DEMAND_CACHE_S) + cycles + load.views * 30 * VIEW_REQUESTS
    counts = (
        ("heartbeats of sites", load.heartbeats, "writes", write),
        ("publisher: demand and lists", MONTH_S / load.publish_s + published, "writes", write),
        ("publisher: mailboxes", renewed, "writes", write),
        ("publisher: reads", looked_up, "reads", read),
        ("aggregator: page and status", shown, "writes", write),
        ("aggregator: pages of sites", load.sites * MONTH_S / SITE_PAGE_S * WRITES_PER_SITE_PAGE, "writes", write),
        ("aggregator: reads", gathered, "reads", read),
        ("CloudFront asks the bucket", fetched, "reads", read),
    )
    return [Item(name, count, unit, count * price) for name, count, unit, price in counts]


def _delivery(load: Load, prices: Mapping[str, float], *, free: bool) -> list[Item]:
    cycles = load.sites * MONTH_S / load.interval_s
    views = load.views * 30
    asked = cycles * PULLER_FETCHES + views * VIEW_REQUESTS
    # (a document that has not changed is not sent again; half of them are taken to be new)
    sent_gb = (cycles * load.document_kb / 2 + views * load.page_kb) / MILLION
    paid = max(0.0, asked - (prices["free_requests"] if free else 0))
    paid_gb = max(0.0, sent_gb - (prices["free_gb"] if free else 0))
    return [
        Item("CloudFront: requests", asked, "requests", paid * prices["request_million"] / MILLION),
        Item("CloudFront: sent", sent_gb, "GB", paid_gb * prices["transfer_gb"]),
    ]


def _computing(load: Load, prices: Prices, *, free: bool) -> list[Item]:
    function, watch = prices.function, prices.cloudwatch
    runs = MONTH_S / load.aggregate_s
    seconds = runs * RUN_S + load.heartbeats * HEARTBEAT_READ_S
    gb_seconds = seconds * load.memory_mib / 1024
    paid = max(0.0, runs - (function["free_requests"] if free else 0))
    paid_gb = max(0.0, gb_seconds - (function["free_gb_seconds"] if free else 0))
    log_gb = runs * LOG_BYTES / 1e9
    return [
        Item("Lambda: runs", runs, "runs", paid * function["request_million"] / MILLION),
        Item("Lambda: time", gb_seconds, "GB s", paid_gb * function[f"gb_second_{load.architecture}"]),
        Item("log", log_gb, "GB", max(0.0, log_gb - (watch["free_log_gb"] if free else 0)) * watch["log_gb"]),
        Item("alarms", ALARMS, "alarms", max(0.0, ALARMS - (watch["free_alarms"] if free else 0)) * watch["alarm"]),
        Item("kept in the bucket", load.stored_gb, "GB", load.stored_gb * prices.s3["storage_gb"]),
    ]
