"""Whether the pool token lives as long as a glidein would: what would lose the pool in its middle is not submitted.

A glidein that waits in the queue reads the newest token when it starts. So what counts is one that starts now.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Final, Optional

from glidepost.schema import idtoken
from glidepost.schema.errors import GlidepostError, UntrustedDocument
from glidepost.schema.mailbox import Letter
from glidepost.schema.puller_config import Shape
from glidepost.schema.units import format_duration

from .gate import Gate

SHORT: Final = "token-short"
# What the clocks of pool and site may differ by (freshness.MAX_CLOCK_SKEW).
MARGIN_S: Final = 300
HINT: Final = "ask the pool's admin for a longer [glidein] walltime, or shorten the shape's"
_FAR: Final = 2**37  # seconds: the year 6325, beyond what any clock here will show


@dataclass(frozen=True)
class TokenLife:
    """When a token ends, in seconds since 1970; None: never."""

    expires_s: Optional[int]

    @classmethod
    def of(cls, token: str) -> TokenLife:
        """Returns the life of a token.

        Raises:
            UntrustedDocument: when it cannot be read as one.
        """
        try:
            return cls(idtoken.expiry(token))
        except ValueError as error:
            raise UntrustedDocument(
                f"what the mailbox holds is no token: {error}", hint="tell the pool's admin"
            ) from error

    @property
    def expires_at(self) -> Optional[datetime]:
        """The same as a time, within what clocks here will show; None: never."""
        return None if self.expires_s is None else _time(self.expires_s)

    def left_s(self, now: datetime) -> Optional[int]:
        """Returns for how many seconds it is still good, None for ever; below zero when it is expired."""
        return None if self.expires_s is None else self.expires_s - int(now.timestamp())

    def is_short_for(self, shape: Shape, now: datetime) -> bool:
        """Returns whether a glidein of a shape that starts now would outlast the token."""
        left_s = self.left_s(now)
        return left_s is not None and shape.resources.walltime_s + MARGIN_S > left_s

    def gate(self, shape: Shape, now: datetime) -> Optional[Gate]:
        """Returns what keeps a shape from submitting, None when the token lives long enough."""
        if not self.is_short_for(shape, now):
            return None
        end_s = int(now.timestamp()) + shape.resources.walltime_s
        walltime = format_duration(shape.resources.walltime_s)
        return Gate(
            SHORT,
            f"the pool token ends at {_text(self.expires_s or 0)}, and a glidein that starts now at {_text(end_s)} "
            f"(walltime {walltime}): {HINT}",
        )


def read(letter: Optional[Letter], errors: list[GlidepostError]) -> Optional[TokenLife]:
    """Returns how long the token in a letter is good, None when there is none that can be read: `errors` says so."""
    try:
        return TokenLife.of(letter.pool_token) if letter else None
    except UntrustedDocument as error:
        errors.append(error)
        return None


def _text(seconds: int) -> str:
    """Returns a time as people read it, whatever number a token holds."""
    return f"{_time(seconds):%Y-%m-%d %H:%M}Z"


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(min(max(seconds, 0), _FAR), timezone.utc)
