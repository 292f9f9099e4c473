"""The heartbeat of one cycle: what was found, what was done, and why not more. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import metadata
from typing import Optional

from glidepost.schema.errors import GlidepostError
from glidepost.schema.heartbeat import BreakerView, Heartbeat, Limits, ShapeReport
from glidepost.schema.puller_config import PullerConfig, Shape

from .advertise import advertises
from .fetch import KnownDemand
from .plan import ShapePlan


@dataclass(frozen=True)
class Findings:
    """What a cycle has to tell. `plans` are as they were carried out; `breakers` and `drained` go by shape's name."""

    known: Optional[KnownDemand]
    plans: Sequence[ShapePlan]
    breakers: Mapping[str, Optional[BreakerView]]
    drained: frozenset[str]
    errors: Sequence[GlidepostError]
    outcomes: Mapping[str, int]
    token_expires_at: Optional[datetime] = None


def report_of(
    config: PullerConfig, findings: Findings, *, instance_id: str, sequence: int, sent_at: datetime
) -> Heartbeat:
    """Returns the heartbeat.

    Args:
        config: Of this site.
        findings: Of this cycle.
        instance_id: Of this installation.
        sequence: One more than that of the last one.
        sent_at: Now.
    """
    known = findings.known
    return Heartbeat(
        site=config.site,
        instance_id=instance_id,
        version=metadata.version("glidepost"),
        sequence=sequence,
        sent_at=sent_at,
        shapes=tuple(
            _shape_report(config, shape, line, findings) for shape, line in zip(config.shapes, findings.plans)
        ),
        max_total=config.limits.max_total,
        demand_sequence=known.demand.sequence if known else None,
        demand_age_s=known.age_s if known else None,
        clock_skew_s=known.clock_skew_s if known else None,
        errors=tuple(error.what[:500] for error in findings.errors[:20]),
        outcomes=dict(findings.outcomes),
        token_expires_at=findings.token_expires_at,
    )


def _shape_report(config: PullerConfig, shape: Shape, line: ShapePlan, findings: Findings) -> ShapeReport:
    held, breaker = line.holding, findings.breakers.get(shape.name)
    return ShapeReport(
        name=shape.name,
        backend=shape.backend,
        offers=shape.offers,
        limits=_in_glideins(shape),
        counts=held.counts,
        submitted=line.submit,
        removed=len(line.remove),
        reason=line.reason,
        detail=line.detail,
        advertises=advertises(config, shape),
        accept=shape.accept,
        deny=shape.deny,
        # One whose canary is due must be given something to try it on.
        paused=shape.name in findings.drained or (breaker is not None and breaker.state == "paused"),
        missing=held.missing,
        oldest_queued_s=held.oldest_queued_s,
        breaker=breaker,
        jobs=shape.jobs,
    )


def _in_glideins(shape: Shape) -> Limits:
    """Returns the limits as the pool counts; those in cores, memory and GPUs too, if all glideins are of one size."""
    caps, one, most = shape.caps, shape.resources, shape.limits.max_total
    if shape.fit is None:
        for room, each in (
            (caps.max_cpus, one.cpus),
            (caps.max_memory_mib, one.memory_mib),
            (caps.max_gpus, one.gpus),
        ):
            if room is not None and each:
                most = min(most, room // each)
    return replace(shape.limits, max_total=most)
