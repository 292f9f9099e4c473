"""How the page says things: ages, times, requests, states and codes in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Final

from glidepost.schema.reasons import REASONS
from glidepost.schema.resources import Request
from glidepost.schema.units import format_size

# A state of a site: how bad it is (a class of the style sheet, with a colour and a mark for each), and the word for it.
SITE_STATES: Final = {
    "ok": ("ok", "reports"),
    "late": ("warn", "late"),
    "silent": ("bad", "silent"),
    "never": ("none", "never reported"),
    "unreadable": ("bad", "unreadable"),
    "revoked": ("none", "shut out"),
}

# How a glidein ended: how bad that is, and what it means. docs/reference/reasons.md says it in full.
OUTCOMES: Final = {
    "idle-shutdown": ("ok", "ran user jobs until there were none"),
    "deadline": ("ok", "came near the end of its walltime"),
    "drained": ("ok", "was drained by the site"),
    "never-claimed": ("none", "was in the pool, and no user job came"),
    "killed": ("none", "was ended by the batch system or the pool"),
    "other": ("none", "the rarest outcomes together"),
    "never-joined": ("bad", "did not get into the pool"),
    "startd-failed": ("bad", "HTCondor ended by itself"),
    "tarball-untrusted": ("bad", "its download was not what the signed demand names"),
    "tarball-unavailable": ("bad", "could not download HTCondor for this node"),
    "token-unreadable": ("bad", "found no pool token where the puller put it"),
    "no-scratch": ("bad", "had no folder to work in, or a full one"),
    "no-gpu": ("bad", "was given no GPU that answers"),
    "setup-failed": ("bad", "the shape's setup lines failed"),
    "unreadable-record": ("bad", "left a record that cannot be read"),
    "bad-request": ("bad", "was given a malformed value, or started as root"),
}
# Why a breaker opened, beside outcomes.
BREAKER_CODES: Final = {
    "not-in-pool": "its glideins run and the pool does not see them",
    "short-lived": "its glideins were gone minutes after their start",
    "no-trace": "the glidein that tried vanished without a record",
    "refused": "the batch system refuses submissions",
    "submit-failed": "submissions fail",
    "state-lost": "the breaker's file could not be read",
}

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR


@dataclass(frozen=True)
class Moment:
    """A time for readers (`text`, UTC), for machines (`iso`), and how long ago that is on the page (`age`)."""

    text: str
    iso: str
    age: str


def moment(time: datetime, now: datetime) -> Moment:
    """Returns `time` as it is shown on a page that was made `now`."""
    utc = time.astimezone(timezone.utc).replace(microsecond=0)
    seconds = int((now - utc).total_seconds())
    age = f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"
    return Moment(text=f"{utc:%Y-%m-%d %H:%M:%S} UTC", iso=f"{utc:%Y-%m-%dT%H:%M:%SZ}", age=age)


def span(seconds: int) -> str:
    """Returns a duration as precisely as one cares: "48 s", "7 min", "3 h 4 min", "12 d 3 h"."""
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min"
    if seconds < 2 * _DAY:
        return _two(seconds // _HOUR, "h", seconds % _HOUR // _MINUTE, "min")
    return _two(seconds // _DAY, "d", seconds % _DAY // _HOUR, "h")


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"


def number(value: int) -> str:
    """Returns 12345 as "12,345"."""
    return f"{value:,}"


def plural(value: int, noun: str) -> str:
    """Returns "1 user job", "12,345 user jobs"."""
    return f"{number(value)} {noun}{'' if value == 1 else 's'}"


def some(names: Sequence[str], limit: int) -> str:
    """Returns the first names, and how many more there are: "a, b and 12 more"."""
    more = len(names[limit:])
    return ", ".join(names[:limit]) + (f" and {number(more)} more" if more else "")


def asks(request: Request) -> str:
    """Returns what one user job asks for: "2 cpus, 4GiB memory, 1GiB disk, 1 gpu"."""
    parts = [
        plural(request.cpus, "cpu"),
        f"{format_size(request.memory_mib)} memory",
        f"{format_size(request.disk_mib)} disk",
    ]
    if request.gpus:
        parts.append(plural(request.gpus, "gpu"))
    if request.gpu_memory_mib is not None:
        parts.append(f"{format_size(request.gpu_memory_mib)} gpu memory")
    if request.gpu_capability is not None:
        parts.append(f"gpu capability {request.gpu_capability}")
    return ", ".join(parts)


def reason(code: str) -> str:
    """Returns a site puller's reason code in words; a code that this version does not know comes back as it is."""
    return REASONS.get(code, code.replace("-", " "))


def outcome(code: str) -> tuple[str, str]:
    """Returns how bad an outcome is (a level) and what it means; of one that this version does not know, the code."""
    if code.startswith("check-failed:"):
        return "bad", f"the node did not pass the check {code.partition(':')[2]}"
    return OUTCOMES.get(code, ("none", code.replace("-", " ")))


def breaker_code(code: str) -> str:
    """Returns why a breaker opened."""
    return BREAKER_CODES.get(code) or f"its glideins end so: {outcome(code)[1]}"
