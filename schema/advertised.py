"""What a shape may say about its glideins beside their resources: names, types, nothing else.

A site fills these in (site_puller/advertise.py), the publisher's matching reads them (publisher/slot_ad.py). Values
are literals: a site can say what its worker nodes are, and cannot bring an expression into the pool's matching.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Union

Literal = Union[bool, int, str]

TEXT: Final = "text"
NUMBER: Final = "whole number"
DECIMAL: Final = 'decimal number as text, such as "8.0"'  # signed documents and their like hold no fractions
SWITCH: Final = "true or false"

# As HTCondor's startd spells them; its manual describes each under "Machine ClassAd Attributes".
NAMES: Final[Mapping[str, str]] = {
    "Arch": TEXT,
    "OpSys": TEXT,
    "OpSysAndVer": TEXT,
    "OpSysMajorVer": NUMBER,
    "GLIDEIN_Site": TEXT,
    "GLIDEPOST_Backfill": SWITCH,
    "GLIDEPOST_Site": TEXT,
    "GLIDEPOST_Shape": TEXT,
    "GPUs_Capability": DECIMAL,
    "GPUs_DeviceName": TEXT,
    "GPUs_GlobalMemoryMb": NUMBER,
}
CVMFS_PREFIX: Final = "HAS_CVMFS_"


def cvmfs_name(repository: str) -> str:
    """Returns the attribute of a CVMFS repository: "a.example.org" -> "HAS_CVMFS_a_example_org"."""
    return CVMFS_PREFIX + re.sub(r"[^A-Za-z0-9]", "_", repository)


def known(advertises: Mapping[str, Literal]) -> tuple[dict[str, Literal], tuple[str, ...]]:
    """Returns what may be believed, and one phrase for each name that is ignored, with the reason."""
    taken: dict[str, Literal] = {}
    ignored = []
    for name, value in advertises.items():
        kind = SWITCH if re.fullmatch(rf"{CVMFS_PREFIX}\w+", name, re.ASCII) else NAMES.get(name)
        if kind is None:
            ignored.append(f"{name}: not a name that a site may advertise")
        elif not _is(value, kind):
            ignored.append(f"{name}: not a {kind}")
        else:
            taken[name] = value
    return taken, tuple(ignored)


def _is(value: Literal, kind: str) -> bool:
    if kind is SWITCH:
        return isinstance(value, bool)
    if kind is NUMBER:
        return isinstance(value, int) and not isinstance(value, bool)
    if not isinstance(value, str):
        return False
    if kind is TEXT:
        return value.isprintable()  # half a character or a NUL is more than HTCondor's own reader takes
    return re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value, re.ASCII) is not None
