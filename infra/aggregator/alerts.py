"""Telling people once what is wrong, and once that it is over: the store remembers problems, and who was told.

Two runs at the same time must not both tell. So a run notes that it is about to tell, before it does; what it then
cannot send it takes back, and the next run tries again. A run that dies in between delays a message by ten minutes.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from glidepost.schema.errors import GlidepostError, UntrustedDocument
from glidepost.schema.status import Status

from .channels import Channel, Message
from .problems import Problem, claimed, follow, merged, summary, to_tell, told
from .store import JSON, Store, write

LOG = logging.getLogger(__name__)

KEY: Final = "v1/aggregator/problems.json"
MAX_BYTES: Final = 64 * 1024 * 1024
MAX_LINES: Final = 50


@dataclass(frozen=True)
class Audience:
    """Who is told, and where the page is that says more."""

    channels: tuple[Channel, ...] = ()
    page_url: str = ""


NOBODY: Final = Audience()


class _File(msgspec.Struct):
    problems: list[Problem]
    kind: str = "problems/1"


_READ: Final = msgspec.json.Decoder(_File)


def load(store: Store) -> dict[str, Problem]:
    """Returns the problems that are known. A damaged file is none: what is wrong now is then told once more.

    Raises:
        StoreError: when the store cannot be read.
    """
    try:
        body = store.get(KEY, max_bytes=MAX_BYTES)
        return {} if body is None else {problem.id: problem for problem in _READ.decode(body).problems}
    except (UntrustedDocument, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        LOG.warning("problems damaged, all are noticed again key=%s error=%s", KEY, error)
        return {}


def save(store: Store, problems: Mapping[str, Problem]) -> None:
    """Writes the problems."""
    write(store, KEY, msgspec.json.encode(_File(list(problems.values()))), JSON)


def notice(store: Store, status: Status) -> dict[str, Problem]:
    """Returns the problems as they are now, and keeps them in the store if they have changed.

    Raises:
        StoreError: when the store cannot be read or written.
    """
    known = load(store)
    found = follow(known, status)
    if found == known:
        return found
    return _keep(store, found)


def _keep(store: Store, problems: Mapping[str, Problem]) -> dict[str, Problem]:
    """Returns the problems, with what another run has written since; and writes them."""
    both = merged(problems, load(store))
    save(store, both)
    return both


def tell(store: Store, problems: Mapping[str, Problem], audience: Audience, status: Status) -> list[GlidepostError]:
    """Returns what could not be told, after each channel was told what it did not know.

    Args:
        store: Where it is kept who was told.
        problems: From `notice`.
        audience: Each channel is told by itself: one that fails holds up none of the others.
        status: Gives the pool's name and the time.

    Raises:
        StoreError: when the store refuses: nothing is sent that could not be noted.
    """
    failures = []
    now = status.generated_at
    for channel in audience.channels:
        begun, ended = to_tell(problems, channel.name, now)
        if not begun and not ended:
            continue
        # Looked at once more just before the claim: another run may have begun to tell.
        begun, ended = to_tell(merged(problems, load(store)), channel.name, now)
        if not begun and not ended:
            continue
        problems = _keep(store, claimed(problems, channel.name, [*begun, *ended], now))
        try:
            channel.send(compose(status.pool, begun, ended, audience.page_url))
        except GlidepostError as error:
            failures.append(error)
            problems = _unclaimed(store, problems, channel.name, [*begun, *ended])
            continue
        LOG.info("told channel=%s begun=%d ended=%d", channel.name, len(begun), len(ended))
        problems = _keep(store, told(problems, channel.name, begun, ended, now))
    return failures


def _unclaimed(
    store: Store, problems: Mapping[str, Problem], channel: str, some: Iterable[Problem]
) -> dict[str, Problem]:
    """Returns the problems without this run's claim; written as they are, as a merge would keep the claim."""
    free = claimed(merged(problems, load(store)), channel, some, None)
    save(store, free)
    return free


def compose(pool: str, begun: Sequence[Problem], ended: Sequence[Problem], page_url: str = "") -> Message:
    """Returns one message for all that a channel is to be told; its id follows from what it tells."""
    lines = [f"{problem.text} ({problem.action})" if problem.action else problem.text for problem in begun]
    lines += [f"over: {problem.end_text}" for problem in ended]
    names = sorted([*(f"begin {problem.id}" for problem in begun), *(f"end {problem.id}" for problem in ended)])
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"and {len(lines) - MAX_LINES} more: the status page has all"]
    parts = [summary(begun), f"over: {summary(ended)}" if ended else ""]
    return Message(
        id=hashlib.sha256("\n".join(names).encode()).hexdigest()[:32],
        subject=f"[glidepost {pool}] {'; '.join(part for part in parts if part)}",
        lines=tuple(lines),
        link=page_url,
    )
