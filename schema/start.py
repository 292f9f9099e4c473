"""What a glidein's START asks of a user job, in words that a startd reads and that the publisher's matching reads.

An accounting group in `accept` or `deny` stands for itself and for the groups below it: "group_sim" for
"group_sim.prod" too. Case does not matter, as HTCondor compares. An empty `accept` accepts all, also user jobs without
an accounting group; `deny` goes before `accept`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Optional


def clauses(*, gpus: int, accept: Sequence[str] = (), deny: Sequence[str] = ()) -> tuple[str, ...]:
    """Returns ClassAd expressions that must all be true; none when every user job is welcome.

    Args:
        gpus: Of the glidein. GPUs are kept for those who ask for them, as in resources.shortfalls.
        accept: Accounting groups that may run.
        deny: Accounting groups that may not.
    """
    found = ["(TARGET.RequestGPUs ?: 0) > 0"] if gpus else []
    if accept:
        found.append(_any(accept))
    if deny:
        found.append(f"!({_any(deny)})")
    return tuple(found)


def refusal(accounting_group: Optional[str], *, accept: Sequence[str] = (), deny: Sequence[str] = ()) -> Optional[str]:
    """Returns why user jobs of an accounting group may not run, None when they may: what the clauses above say."""
    name = accounting_group or ""
    who = f"accounting group {name}" if name else "user jobs without an accounting group"
    if _is_in(name, deny):
        return f"{who} is denied"
    if accept and not _is_in(name, accept):
        return f"{who} {'is' if name else 'are'} not accepted"
    return None


def quoted(text: str) -> str:
    """Returns a ClassAd string literal."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _any(groups: Iterable[str]) -> str:
    return " || ".join(
        f'(TARGET.AcctGroup ?: "") == {quoted(group)} '
        f'|| substr(TARGET.AcctGroup ?: "", 0, {len(group) + 1}) == {quoted(group + ".")}'
        for group in groups
    )


def _is_in(name: str, groups: Iterable[str]) -> bool:
    folded = name.lower()
    return any(folded == group.lower() or folded.startswith(group.lower() + ".") for group in groups)
