"""A store in memory, and a strict reader of pages; the documents of pool and sites are in tests/support."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Optional

import pytest
from documents import Documents

from glidepost.publisher.store import Listed
from glidepost.schema.document import MAX_DOCUMENT_BYTES
from glidepost.schema.errors import StoreError, UntrustedDocument


@dataclass
class MemoryStore:
    """A store in memory that remembers what it was asked, and how things were written.

    Keys in `broken` cannot be read, those in `read_only` not be written.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, tuple[str, int]] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()
    read_only: frozenset[str] = frozenset()
    asked: list[tuple[str, str]] = field(default_factory=list)

    def get(self, key, *, max_bytes=MAX_DOCUMENT_BYTES):
        self.asked.append(("GET", key))
        if key in self.broken:
            raise StoreError(f"GET {key}: 503 Slow Down", hint="try again")
        body = self.objects.get(key)
        if body is not None and len(body) > max_bytes:
            raise UntrustedDocument(f"{key}: {len(body)} bytes, more than {max_bytes}", hint="look at it")
        return body

    def put(self, key, body, *, content_type, cache_seconds, compress_above=None):  # noqa: ARG002 - the S3 store's
        self.asked.append(("PUT", key))
        if key in self.read_only:
            raise StoreError(f"PUT {key}: 503 Slow Down", hint="try again")
        self.objects[key] = body
        self.headers[key] = (content_type, cache_seconds)

    def copy(self, key, target):
        self.asked.append(("COPY", key))
        self.objects[target] = self.objects[key]

    def delete(self, key):
        self.asked.append(("DELETE", key))
        self.objects.pop(key, None)

    def entries(self, prefix):
        self.asked.append(("LIST", prefix))
        return [
            Listed(key, hashlib.md5(body, usedforsecurity=False).hexdigest(), len(body))
            for key, body in sorted(self.objects.items())
            if key.startswith(prefix)
        ]

    def list(self, prefix):
        return [listed.key for listed in self.entries(prefix)]

    def count(self, verb, prefix=""):
        return sum(asked == verb and key.startswith(prefix) for asked, key in self.asked)


class Tree(HTMLParser):
    """Reads a page strictly: every element is closed in order. Keeps texts and attributes."""

    VOID = frozenset({"meta", "link", "input", "br", "use", "path", "line"})

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, Optional[str]]]] = []
        self.words: list[str] = []
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
