"""The demand into the store: cut to its size, numbered, signed, and only when it says something new."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Optional

import msgspec

from glidepost.schema.demand import Demand, Other, Unevaluated
from glidepost.schema.document import MAX_DOCUMENT_BYTES, encode, parse_object
from glidepost.schema.errors import ConfigError, StoreError, UntrustedDocument
from glidepost.schema.files import write_atomic
from glidepost.schema.keys import SigningKey
from glidepost.schema.signing import sign, verify
from glidepost.schema.store_keys import DEMAND_KEY

from .store import COMPRESS_ABOVE, S3Store

LOG = logging.getLogger(__name__)

CACHE_SECONDS: Final = 15
SIGNATURE_BYTES: Final = 256  # what `sign` adds, with room
MAX_SEQUENCE: Final = 2**53 - 1  # the largest integer of RFC 8785
# What somebody else says that he saw may be a lie. It moves the number by this much and no more: a number a minute for
# 190 years, and far too little to use the numbers up.
MAX_LEAP: Final = 10**8
# A site reports what it has seen each 15 minutes only; it may have seen as many more by now.
REPORT_LAG: Final = 1000


def current(store: S3Store) -> Optional[dict[str, Any]]:
    """Returns the demand document in the store as it is, signatures included; None when there is none.

    Raises:
        StoreError: when the store cannot be read, or holds something else under this key.
    """
    try:
        body = store.get(DEMAND_KEY)
        return None if body is None else parse_object(body, what=DEMAND_KEY)
    except UntrustedDocument as error:
        raise _not_a_demand(error) from error


def read(stored: Optional[dict[str, Any]]) -> Optional[Demand]:
    """Returns the stored document as a demand.

    Raises:
        StoreError: when it is none.
    """
    try:
        return None if stored is None else Demand.from_json(stored)
    except UntrustedDocument as error:
        raise _not_a_demand(error) from error


def is_signed(stored: Optional[dict[str, Any]], key: SigningKey) -> bool:
    """Returns whether sites that trust this key can verify what is stored."""
    try:
        verify(stored or {}, [key.public])
    except UntrustedDocument:
        return False
    return True


def last_sequence(file: Path, previous: Optional[Demand], *, is_ours: bool, seen: Iterable[int] = ()) -> int:
    """Returns a number that no site can have seen a higher one than; what is published next must be above it.

    It is remembered in three places, so that any two of them may be lost, or restored from a backup.

    Args:
        file: Our own memory, as `write` keeps it.
        previous: The document in the store.
        is_ours: Whether our key signed that one.
        seen: What sites report to have seen.
    """
    known = max(_remembered(file), previous.sequence if previous and is_ours else 0)
    told = [*seen, previous.sequence if previous else 0]
    highest = max((number for number in told if number <= known + MAX_LEAP), default=0)
    return highest + REPORT_LAG if highest > known else known


def is_due(demand: Demand, previous: Optional[Demand], *, is_ours: bool, now: datetime) -> bool:
    """Returns whether to write `demand`, which has its new number, in place of what is in the store.

    It is written when it says something else, when half of the life of what is there is over, and when sites refuse
    what is there: it is not signed by our key, dated from the future, or older than one that they have seen. Metrics
    alone are no news: they change with every run, and sites do not act on them.
    """
    if previous is None or not is_ours or previous.sequence < demand.sequence - 1:
        return True
    same = replace(
        demand,
        sequence=previous.sequence,
        generated_at=previous.generated_at,
        expires_at=previous.expires_at,
        metrics=previous.metrics,
    )
    half = (previous.expires_at - previous.generated_at) / 2
    return same != previous or not timedelta(0) <= now - previous.generated_at < half


def remember(file: Path, sequence: int) -> None:
    """Writes a number into our own memory, if it is above what stands there: a memory that was lost heals."""
    if _remembered(file) < sequence:
        write_atomic(file, f"{sequence}\n".encode())


def write(store: S3Store, demand: Demand, key: SigningKey, file: Path) -> None:
    """Writes the demand, signed. Its number is spent before it is used.

    So a run that dies between the two leaves a gap, and never the same number twice.

    Raises:
        StoreError: when the store refuses.
        GlidepostError: when the demand breaks its schema.
    """
    body = encode(sign(demand.to_json(), key))
    remember(file, demand.sequence)
    store.put(
        DEMAND_KEY,
        body,
        content_type="application/json",
        cache_seconds=CACHE_SECONDS,
        compress_above=COMPRESS_ABOVE,
    )
    LOG.info("demand published sequence=%d groups=%d bytes=%d", demand.sequence, len(demand.groups), len(body))


def fit_into(demand: Demand, max_bytes: int) -> Demand:
    """Returns the demand with as many of its groups as fit, the largest; the others are counted in `other`.

    Of what could not be evaluated, a quarter of the room is for the largest, and the others are counted together.

    Args:
        demand: Of any size.
        max_bytes: Of the document as it is stored, signed and before it is compressed.

    Raises:
        ConfigError: when even the rest of the document is larger, or readers would refuse one of `max_bytes`.
    """
    if max_bytes > MAX_DOCUMENT_BYTES:
        raise ConfigError(
            f"[demand] max_size: {max_bytes} bytes, and sites read {MAX_DOCUMENT_BYTES} at most", hint="lower max_size"
        )
    if _size(demand) <= max_bytes:
        return demand
    unevaluated = _largest_problems(demand.unevaluated, max_bytes // 4)
    other = demand.other or Other(0, 0)
    rest = replace(demand, groups=(), unevaluated=unevaluated, other=Other(10**9, 10**9))
    room = max_bytes - _size(rest)
    if room < 0:
        raise ConfigError(
            f"[demand] max_size: the document takes {max_bytes - room} of {max_bytes} bytes without any group",
            hint="raise max_size; most of it is pool_view and the schedds' errors",
        )
    kept = set()
    by_size = sorted(enumerate(demand.groups), key=lambda item: (-item[1].idle_jobs, item[1].id))
    for number, group in by_size:
        room -= _item_size(group)
        if room < 0:
            break
        kept.add(number)
    left = [group for number, group in by_size if number not in kept]
    other = Other(other.groups + len(left), other.idle_jobs + sum(group.idle_jobs for group in left))
    return replace(
        demand,
        groups=tuple(group for number, group in enumerate(demand.groups) if number in kept),
        unevaluated=unevaluated,
        other=other if other.groups else demand.other,
    )


def _largest_problems(problems: tuple[Unevaluated, ...], max_bytes: int) -> tuple[Unevaluated, ...]:
    by_size = sorted(problems, key=lambda item: (-item.idle_jobs, item.attribute, item.problem))
    rest = Unevaluated(10**9, "(others)", f"{len(problems)} more expressions", 10**9)
    room = max_bytes - _item_size(rest)
    kept = []
    for problem in by_size:
        room -= _item_size(problem)
        if room < 0:
            break
        kept.append(problem)
    left = by_size[len(kept) :]
    if not left:
        return problems
    # Owners are not added up: one of them may have written all of these.
    jobs, owners = sum(item.idle_jobs for item in left), max(item.owner_count for item in left)
    return (*kept, replace(rest, idle_jobs=jobs, owner_count=owners, problem=f"{len(left)} more expressions"))


def _size(demand: Demand) -> int:
    return len(encode({"kind": demand.kind, **msgspec.to_builtins(demand)})) + SIGNATURE_BYTES


def _item_size(item: object) -> int:
    """Returns what one element of a list at the top of a document takes there: indented twice, with a comma."""
    text = json.dumps(msgspec.to_builtins(item), indent=1, ensure_ascii=False)
    return len(text.encode()) + 2 * (text.count("\n") + 1) + len(",\n")


def _remembered(file: Path) -> int:
    try:
        number = int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
    return number if 0 < number < MAX_SEQUENCE else 0


def _not_a_demand(error: UntrustedDocument) -> StoreError:
    return StoreError(
        f"{DEMAND_KEY} in the store is not a demand document: {error.what}",
        hint="who wrote it? Move the object away only if it is not yours: sites need a growing sequence",
    )
