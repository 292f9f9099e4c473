"""status/1 as OpenMetrics text: an object that Prometheus scrapes like a server. Pure.

The format: the OpenMetrics 1.0 specification. A value that is not known has no line, rather than a 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from glidepost.schema.heartbeat import ShapeReport
from glidepost.schema.status import DemandStatus, SiteStatus, Status

from .words import SITE_STATES

CONTENT_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclass(frozen=True)
class Metric:
    """A family of metrics. `labels` are the names of its labels, in their order."""

    kind: str
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""


METRICS: Final = {
    "glidepost_pool": Metric("info", "The pool.", ("pool",)),
    "glidepost_status_timestamp_seconds": Metric("gauge", "When the aggregator ran last.", (), "seconds"),
    "glidepost_demand_sequence": Metric("gauge", "Number of the published demand."),
    "glidepost_demand_timestamp_seconds": Metric("gauge", "When the demand was made.", (), "seconds"),
    "glidepost_demand_expiry_timestamp_seconds": Metric("gauge", "Until when sites act on the demand.", (), "seconds"),
    "glidepost_demand_complete": Metric("gauge", "1 when all schedds answered."),
    "glidepost_user_jobs": Metric(
        "gauge", "User jobs: idle ones, and running ones in and outside glideins.", ("state",)
    ),
    "glidepost_user_jobs_started": Metric("counter", "User jobs started, over the schedds' lives."),
    "glidepost_user_jobs_wait_seconds": Metric("counter", "Time before these starts.", (), "seconds"),
    "glidepost_schedd_up": Metric("gauge", "1 when the schedd could be asked.", ("schedd",)),
    "glidepost_schedd_idle_user_jobs": Metric("gauge", "Idle user jobs of a schedd.", ("schedd",)),
    "glidepost_groups": Metric("gauge", "Groups of idle user jobs."),
    "glidepost_groups_without_site": Metric("gauge", "Groups that no site can run now."),
    "glidepost_group_idle_user_jobs": Metric("gauge", "Idle user jobs of a group.", ("group",)),
    "glidepost_group_matching_shapes": Metric("gauge", "Shapes that can run a group now.", ("group",)),
    "glidepost_sites": Metric("gauge", "Sites in a state.", ("state",)),
    "glidepost_site_state": Metric("stateset", "The state of a site.", ("site", "glidepost_site_state")),
    "glidepost_site": Metric("info", "The version that a site runs.", ("site", "version")),
    "glidepost_site_heartbeat_timestamp_seconds": Metric("gauge", "When a site reported last.", ("site",), "seconds"),
    "glidepost_site_errors": Metric("gauge", "Errors in a site's last report.", ("site",)),
    "glidepost_glideins": Metric("gauge", "Glideins in a site's batch system.", ("site", "shape", "state")),
    "glidepost_shape_paused": Metric("gauge", "1 while a breaker, or somebody, pauses a shape.", ("site", "shape")),
    "glidepost_breaker_trips": Metric("gauge", "Pauses of a shape in a row.", ("site", "shape")),
    "glidepost_pool_glideins": Metric("gauge", "Glideins that the collector sees.", ("site", "shape")),
    "glidepost_pool_cpus": Metric("gauge", "Their cpus.", ("site", "shape")),
    "glidepost_pool_cpus_claimed": Metric("gauge", "Those of these cpus that user jobs have.", ("site", "shape")),
    "glidepost_pool_gpus": Metric("gauge", "Their gpus.", ("site", "shape")),
    "glidepost_pool_gpus_claimed": Metric("gauge", "Those of these gpus that user jobs have.", ("site", "shape")),
}

_SUFFIXES: Final = {"counter": "_total", "info": "_info"}


def render(status: Status) -> bytes:
    """Returns the whole exposition, each family in one piece, ended as a complete one is."""
    made: dict[str, bytearray] = {}
    for name, labels, value in _samples(status):
        metric = METRICS[name]
        if name not in made:
            unit = f"# UNIT {name} {metric.unit}\n" if metric.unit else ""
            made[name] = bytearray(f"# TYPE {name} {metric.kind}\n{unit}# HELP {name} {metric.help}\n".encode())
        line = _line(name + _SUFFIXES.get(metric.kind, ""), metric.labels, labels, value)
        made[name] += line.encode("utf-8", "replace")
    return b"".join([*(made[name] for name in METRICS if name in made), b"# EOF\n"])


def _line(name: str, labels: tuple[str, ...], values: tuple[str, ...], value: float) -> str:
    inside = ",".join(f'{label}="{escaped(text)}"' for label, text in zip(labels, values))
    return f"{name}{{{inside}}} {value}\n" if inside else f"{name} {value}\n"


def escaped(text: str) -> str:
    """Returns a label's value as it stands between quotes."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _samples(status: Status) -> Iterator[tuple[str, tuple[str, ...], float]]:
    yield "glidepost_pool", (status.pool,), 1
    yield "glidepost_status_timestamp_seconds", (), _seconds(status.generated_at)
    if status.demand is not None:
        yield from _of_demand(status.demand)
        yield "glidepost_groups", (), len(status.groups)
        yield "glidepost_groups_without_site", (), sum(not group.matching_shapes for group in status.groups)
    for group in status.groups:
        yield "glidepost_group_idle_user_jobs", (group.id,), group.idle_jobs
        yield "glidepost_group_matching_shapes", (group.id,), group.matching_shapes
    for state in SITE_STATES:
        yield "glidepost_sites", (state,), sum(site.state == state for site in status.sites)
    for site in status.sites:
        yield from _of_site(site)


def _of_demand(demand: DemandStatus) -> Iterator[tuple[str, tuple[str, ...], float]]:
    yield "glidepost_demand_sequence", (), demand.sequence
    yield "glidepost_demand_timestamp_seconds", (), _seconds(demand.generated_at)
    yield "glidepost_demand_expiry_timestamp_seconds", (), _seconds(demand.expires_at)
    yield "glidepost_demand_complete", (), int(demand.complete)
    yield "glidepost_user_jobs", ("idle",), demand.idle_jobs + (demand.other.idle_jobs if demand.other else 0)
    metrics = demand.metrics
    if metrics is not None:
        for name, labels, value in (
            ("glidepost_user_jobs", ("running-inside",), metrics.running_inside),
            ("glidepost_user_jobs", ("running-outside",), metrics.running_outside),
            ("glidepost_user_jobs_started", (), metrics.started_jobs),
            ("glidepost_user_jobs_wait_seconds", (), metrics.wait_s),
        ):
            if value is not None:
                yield name, labels, value
    seen = set()
    for schedd in demand.schedds:
        if schedd.name not in seen:  # a name that was shortened may be there twice, and a line may not
            yield "glidepost_schedd_up", (schedd.name,), int(schedd.error is None)
            yield "glidepost_schedd_idle_user_jobs", (schedd.name,), schedd.idle_jobs
        seen.add(schedd.name)


def _of_site(site: SiteStatus) -> Iterator[tuple[str, tuple[str, ...], float]]:
    for state in SITE_STATES:
        yield "glidepost_site_state", (site.site, state), int(site.state == state)
    if site.version is not None:
        yield "glidepost_site", (site.site, site.version), 1
    if site.heartbeat_at is not None:
        yield "glidepost_site_heartbeat_timestamp_seconds", (site.site,), _seconds(site.heartbeat_at)
    yield "glidepost_site_errors", (site.site,), len(site.errors)
    for shape in {shape.name: shape for shape in site.shapes}.values():
        yield from _of_shape(site.site, shape)
    for name, view in site.pool_view.items():
        yield "glidepost_pool_glideins", (site.site, name), view.glideins
        yield "glidepost_pool_cpus", (site.site, name), view.cpus
        yield "glidepost_pool_cpus_claimed", (site.site, name), view.cpus_claimed
        yield "glidepost_pool_gpus", (site.site, name), view.gpus
        yield "glidepost_pool_gpus_claimed", (site.site, name), view.gpus_claimed


def _of_shape(site: str, shape: ShapeReport) -> Iterator[tuple[str, tuple[str, ...], float]]:
    if shape.counts is not None:
        counts = shape.counts
        for state, count in (
            ("queued", counts.idle),
            ("running", counts.running),
            ("held", counts.held),
            ("unknown", counts.unknown),
        ):
            yield "glidepost_glideins", (site, shape.name, state), count
    is_paused = shape.paused or shape.breaker is not None
    yield "glidepost_shape_paused", (site, shape.name), int(is_paused)
    yield "glidepost_breaker_trips", (site, shape.name), shape.breaker.trips if shape.breaker else 0


def _seconds(time: datetime) -> int:
    return int(time.timestamp())
