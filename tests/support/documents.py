"""Documents as a pool and its sites would write them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Optional

from glidepost.schema.demand import Demand, GlideinRelease, Group, ScheddView
from glidepost.schema.heartbeat import Counts, Heartbeat, Limits, ShapeReport
from glidepost.schema.resources import Request, Resources

NOW = datetime(2026, 11, 22, 9, 14, 5, tzinfo=timezone.utc)


class Documents:
    """Builders with defaults for all that a test does not care about."""

    now = NOW

    def shape(self, name="small", *, cpus=4, memory_mib=8192, gpus=0, counts: Optional[Counts] = Counts(2, 5), **more):  # noqa: B008 - frozen
        fields = {"submitted": 0, "removed": 0, "reason": "covered", "detail": "", **more}
        return ShapeReport(
            name=name,
            backend="slurm",
            offers=Resources(cpus, memory_mib, 20480, 172800, gpus),
            limits=Limits(20, 5, 15, 3),
            counts=counts,
            **fields,
        )

    def heartbeat(self, site, *shapes, age_s=120, **more):
        fields = {"instance_id": "i1", "version": "0.1.0", "sequence": 7, "demand_sequence": 918, **more}
        return Heartbeat(site=site, sent_at=NOW - timedelta(seconds=age_s), shapes=shapes or (self.shape(),), **fields)

    def group(self, id="g00000001", *, idle_jobs=12, cpus=1, memory_mib=1024, gpus=0, sites=None, **more):  # noqa: A002
        return Group(
            id=id,
            idle_jobs=idle_jobs,
            idle_since=NOW - timedelta(minutes=12),
            owner_count=2,
            request=Request(cpus, memory_mib, 1024, gpus),
            sites=sites or {},
            **more,
        )

    def demand(self, *groups, age_s=120, life_s=1800, **more):
        made = NOW - timedelta(seconds=age_s)
        fields = {"pool": "demo", "sequence": 918, "complete": True, "schedds": (ScheddView("ap1", 12),), **more}
        return Demand(
            generated_at=made,
            expires_at=made + timedelta(seconds=life_s),
            collectors=("cm.example.org:9618",),
            groups=groups,
            glidein=GlideinRelease("stable", ()),
            **fields,
        )
