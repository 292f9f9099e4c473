"""What a glidein's START asks of a user job, in words that a startd reads and that the publisher's matching reads.

An entry that begins with "@" is the domain of the user jobs' owners: "@icecube.wisc.edu". Any other is an accounting
group. An accounting group in `accept` or `deny` stands for itself and for the groups below it: "group_sim" for
"group_sim.prod" too. Case does not matter, as HTCondor compares. An empty `accept` accepts all, also user jobs without
an accounting group; `deny` goes before `accept`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Optional


def clauses(
    *, gpus: int, backfill: bool = False, accept: Sequence[str] = (), deny: Sequence[str] = ()
) -> tuple[str, ...]:
    """Returns ClassAd expressions that must all be true; none when every user job is welcome.

    Args:
        gpus: Of the glidein. GPUs are kept for those who ask for them, as in resources.shortfalls; the glidein itself
            adds this clause (glidein/bootstrap/8-gpus.sh).
        backfill: Those who ask for none may have the cores that leave one to each free GPU.
        accept: Accounting groups and domains that may run.
        deny: Those that may not.
    """
    found = []
    if gpus:
        room = " || MY.Cpus - (TARGET.RequestCpus ?: 1) >= (MY.GPUs ?: 0)" if backfill else ""
        found.append(f"(TARGET.RequestGPUs ?: 0) > 0{room}")
    if accept:
        found.append(_any(accept))
    if deny:
        found.append(f"!({_any(deny)})")
    return tuple(found)


def refusal(
    accounting_group: Optional[str], *, domain: str = "", accept: Sequence[str] = (), deny: Sequence[str] = ()
) -> Optional[str]:
    """Returns why user jobs may not run, None when they may: what the clauses above say.

    Args:
        accounting_group: Theirs, if any.
        domain: Of their owners, "icecube.wisc.edu".
        accept: Accounting groups and domains that may run.
        deny: Those that may not.
    """
    name = accounting_group or ""
    who = f"accounting group {name}" if name else "user jobs without an accounting group"
    if any(entry.startswith("@") for entry in (*accept, *deny)):
        who += f" of owners @{domain}"
    if _is_in(name, domain, deny):
        return f"{who} {'is' if name else 'are'} denied"
    if accept and not _is_in(name, domain, accept):
        return f"{who} {'is' if name else 'are'} not accepted"
    return None


def quoted(text: str) -> str:
    """Returns a ClassAd string literal."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _any(entries: Iterable[str]) -> str:
    return " || ".join(_one(entry) for entry in entries)


def _one(entry: str) -> str:
    if entry.startswith("@"):  # User is "owner@domain", and a negative offset counts from the end
        return f'substr(TARGET.User ?: "", -{len(entry)}) == {quoted(entry)}'
    return (
        f'(TARGET.AcctGroup ?: "") == {quoted(entry)} '
        f'|| substr(TARGET.AcctGroup ?: "", 0, {len(entry) + 1}) == {quoted(entry + ".")}'
    )


def _is_in(name: str, domain: str, entries: Iterable[str]) -> bool:
    folded, user = name.lower(), f"@{domain}".lower()
    return any(
        user.endswith(entry.lower())
        if entry.startswith("@")
        else folded == entry.lower() or folded.startswith(entry.lower() + ".")
        for entry in entries
    )
