"""Whether a demand that the pool did sign is that of today: not expired, no old copy, not one held back for days.

What was seen last is remembered as the epoch of the pool's keys and the demand's sequence. The first counts how often
the pool was taken back with its root key: after that the sequence may begin anew, and so a thief of the signing key
who published the highest sequence there is has not silenced the pool for good.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Optional

from glidepost.schema.demand import Demand
from glidepost.schema.errors import ConfigError, UntrustedDocument
from glidepost.schema.files import write_atomic

MAX_CLOCK_SKEW: Final = timedelta(minutes=5)
# The site's own bound, whatever a demand says of its life. Publishers write one at least each half of its life.
MAX_AGE: Final = timedelta(days=1)
_SEEN: Final = "demand.sequence"


@dataclass(frozen=True, order=True)
class Seen:
    """The newest demand that a site has seen; (0, 0) before the first."""

    epoch: int = 0
    sequence: int = 0


def refuse_skew(clock_skew_s: Optional[int]) -> None:
    """Returns if the store's clock and ours agree, or nobody knows.

    Raises:
        UntrustedDocument: when they differ by more than five minutes.
    """
    if clock_skew_s is not None and abs(clock_skew_s) > MAX_CLOCK_SKEW.total_seconds():
        raise UntrustedDocument(
            f"this host's clock and the store's differ by {clock_skew_s} s",
            hint="set the clock (chronyc makestep)",
        )


def pool_time(now: datetime, clock_skew_s: Optional[int]) -> datetime:
    """Returns the store's time where we may believe it, else ours.

    Publisher and store keep time better than some sites' login nodes, and whoever lies here gains five minutes.
    """
    skew_s = clock_skew_s or 0
    return now + timedelta(seconds=skew_s) if abs(skew_s) <= MAX_CLOCK_SKEW.total_seconds() else now


def refuse_stale(known: Demand, at: datetime) -> None:
    """Refuses a demand that is not of the time `at`.

    Raises:
        UntrustedDocument: when it is expired, older than a day, from the future, or ends before it begins.
    """
    if known.expires_at <= known.generated_at:
        raise UntrustedDocument(
            f"the demand ends before it begins (sequence {known.sequence})", hint="tell the pool's admin"
        )
    if at >= known.expires_at:
        raise UntrustedDocument(
            f"the demand expired at {known.expires_at:%Y-%m-%d %H:%M:%S}Z (sequence {known.sequence})",
            hint="the pool's publisher does not run, or something serves an old copy; tell the pool's admin",
        )
    if at - known.generated_at > MAX_AGE:
        raise UntrustedDocument(
            f"the demand is of {known.generated_at:%Y-%m-%d %H:%M:%S}Z (sequence {known.sequence}): older than a day, "
            "however long it claims to live",
            hint="the pool's publisher does not run, or something serves an old copy; tell the pool's admin",
        )
    if known.generated_at - at > MAX_CLOCK_SKEW:
        raise UntrustedDocument(
            f"the demand is from the future ({known.generated_at:%Y-%m-%d %H:%M:%S}Z)",
            hint="compare both clocks with UTC",
        )


def refuse_rollback(known: Demand, epoch: int, state: Path) -> None:
    """Refuses a demand that is older than one that this site has seen.

    Args:
        known: The demand.
        epoch: Of the keys that signed it, or of the newest ones that this site knows.
        state: The puller's folder.

    Raises:
        UntrustedDocument: when its epoch, or its sequence in the same epoch, is below that.
        ConfigError: when it cannot be told.
    """
    newest = read_seen(state)
    if Seen(epoch, known.sequence) < newest:
        of_epoch = "" if epoch == newest.epoch else f" of keys' epoch {newest.epoch}, not {epoch},"
        raise UntrustedDocument(
            f"the demand has sequence {known.sequence}, and {newest.sequence}{of_epoch} was seen here before",
            hint="something serves an old copy, or the publisher was restored from a backup; tell the pool's admin",
        )


def read_seen(state: Path) -> Seen:
    """Returns the newest that was seen.

    Raises:
        ConfigError: when the file is there and unreadable: without it an old document cannot be told.
    """
    file = state / _SEEN
    try:
        words = [int(word) for word in file.read_text(encoding="ascii").split()]
        epoch, sequence = words if len(words) > 1 else (0, *words)  # first versions knew no epochs
    except FileNotFoundError:
        return Seen()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{file}: {error}", hint="remove it if the demand in the store is known to be recent"
        ) from error
    return Seen(epoch, sequence)


def remember(state: Path, known: Demand, epoch: int) -> None:
    """Remembers that this document was seen."""
    seen = Seen(epoch, known.sequence)
    if seen != read_seen(state):
        write_atomic(state / _SEEN, f"{seen.epoch} {seen.sequence}\n".encode())


def forget(state: Path) -> None:
    """Forgets what was seen: the operator has pinned another pool's keys, or other keys of this one."""
    (state / _SEEN).unlink(missing_ok=True)
