"""Time limits that hold whatever the other side does: a server that sends a byte a minute, a file system that hangs.

The time-outs of sockets begin anew with every byte, so a slow enough server can keep a cycle, and the lock with it, for
ever. Here the kernel's timer ends the block. What it cannot end is a process that the kernel itself does not wake (a
dead NFS server), and the C library's look-up of a host name, which has time-outs of its own.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, Optional

from glidepost.schema.errors import GlidepostError
from glidepost.schema.units import format_duration

# Longer than any honest cycle, and shorter than the age at which a lock's mark counts as dead (schema/files.py).
CYCLE_S: Final = 600
# An exception that a destructor swallowed, as Python has it, comes once more.
_AGAIN_S: Final = 5.0


class _Expired(BaseException):
    """No `Exception`, so that no handler on its way takes it for a failure after which one can go on."""


@contextmanager
def limit(seconds: float, error: GlidepostError) -> Iterator[None]:
    """Ends a `with` block after so many seconds. Limits may be nested; off the main thread they have no effect.

    Raises:
        GlidepostError: the given one, when the time is over.
    """
    left, every = signal.getitimer(signal.ITIMER_REAL)
    if threading.current_thread() is not threading.main_thread() or 0 < left <= seconds:
        yield  # without a timer of its own: no signals here, or the outer limit ends first
        return
    mine = _Expired()

    def expire(_number: int, _frame: Optional[FrameType]) -> None:
        raise mine

    before, began = signal.signal(signal.SIGALRM, expire), time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_S)
    try:
        yield
    except _Expired as expired:
        if expired is not mine:
            raise
        raise error from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before or signal.SIG_DFL)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - began), 0.001), every)


@contextmanager
def cycle_limit(seconds: int = CYCLE_S) -> Iterator[None]:
    """Ends a cycle that hangs, so that its lock is free for the next one.

    Raises:
        GlidepostError: when the time is over. What was submitted until then is in the ledger.
    """
    error = GlidepostError(
        f"this cycle was ended after {format_duration(seconds)}",
        hint="the batch system, the store or the file system hangs; nothing was lost, the next cycle tries again",
    )
    with limit(seconds, error):
        yield
