"""How long the fuzz targets run: a moment in each run of the tests, as long as one likes with `make fuzz`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Optional, TypeVar

from hypothesis import HealthCheck, settings

from glidepost.schema.errors import GlidepostError

T = TypeVar("T")

EXAMPLES = int(os.environ.get("GLIDEPOST_FUZZ_EXAMPLES", "60"))

# Foreign bytes come in any size, and a target may take as long as a slow machine needs.
fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
# For targets of which one example takes as long as twenty of the others.
slow_fuzz = settings(fuzz, max_examples=max(1, EXAMPLES // 6))


def tried(read: Callable[[], T], refuses: type[GlidepostError]) -> tuple[Optional[T], Optional[GlidepostError]]:
    """Returns what a reader makes of its input, or the error with which it refuses; any other exception is a find."""
    try:
        return read(), None
    except refuses as error:
        return None, error
