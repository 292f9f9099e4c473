"""The Content-Security-Policy that CloudFront sends with everything: what the pages allow themselves, and no frames.

Each page says its own policy in its head. The header is the union of them, so that it never forbids what a page needs;
what only a header can say is added.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from html.parser import HTMLParser
from typing import Final, Optional

from glidepost.infra.aggregator.page import pages
from glidepost.schema.status import Status

_HEADER_ONLY: Final = "frame-ancestors 'none'"


class _Meta(HTMLParser):
    """Finds the policy in a page."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        """Looks at one element."""
        values = dict(attrs)
        if tag == "meta" and (values.get("http-equiv") or "").lower() == "content-security-policy":
            self.policy = values.get("content") or ""


def policy_of(html: str) -> str:
    """Returns the policy that a page says in its head; empty when it says none."""
    meta = _Meta()
    meta.feed(html)
    return meta.policy


def union(policies: Iterable[str]) -> str:
    """Returns one policy that allows what any of them allows, and forbids frames."""
    allowed: dict[str, list[str]] = {}
    for policy in policies:
        for directive in filter(None, (text.split() for text in policy.split(";"))):
            known = allowed.setdefault(directive[0], [])
            known += [source for source in directive[1:] if source not in known]
    for sources in allowed.values():  # 'none' stands alone
        if len(sources) > 1 and "'none'" in sources:
            sources.remove("'none'")
    parts = [" ".join([name, *sources]) for name, sources in allowed.items()]
    return "; ".join([*parts, _HEADER_ONLY])


def page_policy() -> str:
    """Returns the policy for the pages of this version of Glidepost."""
    empty = Status(pool="none", generated_at=datetime(2026, 1, 1, tzinfo=timezone.utc), demand=None)
    bodies = [body.decode() for body, kind in pages(empty, {}).values() if kind.startswith("text/html")]
    return union(policy_of(body) for body in bodies)
