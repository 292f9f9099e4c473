"""ClassAds as HTCondor's daemons read them.

classad2 alone does not know HTCondor's own functions (`split`, `stringListMember`, `countMatches`: the default
Requirements of a user job call them), and looks for `OpSysAndVer` without `TARGET.` only on its own side. Both come
with HTCondor's library, which the import of htcondor2 initialises. Nothing else of it is used, no configuration is read
and no daemon is asked here: that is schedd.py's, in a process of its own.
"""

from __future__ import annotations

import importlib
import os
from typing import Any, Final

import classad2

VERSION: Final[str] = classad2.version()  # of HTCondor's library here, "25.14.1"


def _initialise() -> None:
    # With a configuration, or without one that it would miss loudly, the import depends on the host. Child processes
    # must still find the variable as it was.
    before = os.environ.get("CONDOR_CONFIG")
    os.environ["CONDOR_CONFIG"] = "ONLY_ENV"
    try:
        importlib.import_module("htcondor2")
    finally:
        if before is None:
            del os.environ["CONDOR_CONFIG"]
        else:
            os.environ["CONDOR_CONFIG"] = before


_initialise()


def parse(text: str) -> Any:
    """Returns a ClassAd from its text, "[a = 1; b = a + 1]".

    Raises:
        ValueError: when it is none.
    """
    try:
        return classad2.ClassAd(text)
    except classad2.ClassAdException as error:
        raise ValueError(str(error) or "not a ClassAd") from error


def expression(text: str) -> Any:
    """Returns an expression from its text.

    Raises:
        ValueError: when it is none.
    """
    try:
        return classad2.ExprTree(text)
    except classad2.ClassAdException as error:
        raise ValueError(f"not a ClassAd expression: {text}") from error


def is_true(value: object) -> bool:
    """Returns whether a value of Requirements lets a match happen; undefined and error do not."""
    return isinstance(value, (bool, int, float)) and not isinstance(value, classad2.Value) and bool(value)


def is_undefined(value: object) -> bool:
    """Returns whether an expression has no value because an attribute is missing, or because it is an error."""
    return isinstance(value, classad2.Value)


def references(ad: Any, tree: Any) -> tuple[frozenset[str], tuple[str, ...]]:
    """Returns the attributes that decide an expression in an ad.

    Both lists follow expressions to what these refer to.

    Returns:
        Those of the ad itself, in lower case; those of the ad that it is held against, as written but without "TARGET."
        and without what follows another dot.
    """
    own = frozenset(name.lower() for name in ad.internalRefs(tree) if name)
    other: dict[str, str] = {}
    for name in ad.externalRefs(tree):
        parts = name.split(".")
        found = parts[1] if len(parts) > 1 and parts[0].lower() == "target" else parts[0]
        if found:
            other.setdefault(found.lower(), found)
    return own, tuple(other[name] for name in sorted(other))
