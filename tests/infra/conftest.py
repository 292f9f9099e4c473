"""Documents as a pool and its sites would write them, and a store in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from typing import Optional

import pytest

from glidepost.schema.demand import Demand, GlideinRelease, Group, ScheddView
from glidepost.schema.errors import StoreError
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


@dataclass
class MemoryStore:
    """A store in memory that remembers how things were written. Keys in `broken` cannot be read."""

    objects: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, tuple[str, int]] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()

    def get(self, key):
        if key in self.broken:
            raise StoreError(f"GET {key}: 503 Slow Down", hint="try again")
        return self.objects.get(key)

    def put(self, key, body, *, content_type, cache_seconds, compress_above=None):  # noqa: ARG002 - the S3 store's
        self.objects[key] = body
        self.headers[key] = (content_type, cache_seconds)

    def list(self, prefix):
        return sorted(key for key in self.objects if key.startswith(prefix))


class Tree(HTMLParser):
    """Reads a page strictly: every element is closed in order. Keeps texts, attributes and the style block."""

    VOID = frozenset({"meta", "link", "use", "path", "rect"})

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, Optional[str]]]] = []
        self.words: list[str] = []
        self.style = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def attributes(self, name: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.tags if name in attrs]


@pytest.fixture
def documents():
    return Documents()


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def read_page():
    return Tree
