"""What has happened, as an Atom feed (RFC 4287): each problem's begin, and its end. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from html import escape
from typing import Final

from .problems import Problem
from .text import clean

KEY: Final = "feed.xml"
CONTENT_TYPE: Final = "application/atom+xml; charset=utf-8"
MAX_ENTRIES: Final = 100
# Of a feed in which nothing has happened yet: its time must not change with every run.
_BEGINNING: Final = datetime(2000, 1, 1, tzinfo=timezone.utc)


def render(pool: str, problems: Iterable[Problem]) -> bytes:
    """Returns the last events, the newest first. The same events give the same bytes, whenever they are written."""
    entries = sorted((entry for problem in problems for entry in _entries(pool, problem)), reverse=True)[:MAX_ENTRIES]
    updated = entries[0][0] if entries else _time(_BEGINNING)
    name = _xml(pool)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<feed xmlns="http://www.w3.org/2005/Atom">\n'
        f" <id>urn:glidepost:{name}:feed</id>\n"
        f" <title>Pool {name}</title>\n"
        f" <updated>{updated}</updated>\n"
        " <author><name>Glidepost</name></author>\n"
        ' <link rel="self" href="feed.xml"/>\n'
        ' <link rel="alternate" href="index.html"/>\n'
        f"{''.join(text for _, _, text in entries)}"
        "</feed>\n"
    ).encode("utf-8", "replace")


def _entries(pool: str, problem: Problem) -> Iterator[tuple[str, str, str]]:
    """Yields (time, id, entry) for what has happened with a problem."""
    page = f"sites/{problem.site}.html" if problem.site else "index.html"
    name = f"urn:glidepost:{pool}:{problem.id}"
    yield _entry(problem.noticed_at, f"{name}:begin", problem.text, problem.action, page)
    if problem.ended_at is not None:
        yield _entry(problem.ended_at, f"{name}:end", problem.end_text, "", page)


def _entry(at: datetime, name: str, title: str, text: str, page: str) -> tuple[str, str, str]:
    time = _time(at)
    made = (
        " <entry>\n"
        f"  <id>{_xml(name)}</id>\n"
        f"  <title>{_xml(title)}</title>\n"
        f"  <updated>{time}</updated>\n"
        f'  <link rel="alternate" href="{_xml(page)}"/>\n'
        f"  <summary>{_xml(text or title)}</summary>\n"
        " </entry>\n"
    )
    return time, name, made


def _time(time: datetime) -> str:
    return f"{time.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"


def _xml(text: str) -> str:
    """Returns text that may stand in an element or an attribute; XML knows no control characters at all."""
    return escape(clean(text).replace("\ufffe", " ").replace("\uffff", " "))
