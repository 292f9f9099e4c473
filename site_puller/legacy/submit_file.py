"""An HTCondor submit description that starts glideins becomes one shape for each `queue` statement."""

from __future__ import annotations

import re
import shlex
from typing import Final

from . import quantities, values, variables
from .condor import add_lines
from .model import Draft, Entry, Findings, SiteDraft, Verdict
from .script import merged, statements
from .values import bounded, size
from .variables import Variable

_REQUESTS: Final = {"request_cpus": "cpus", "request_memory": "memory", "request_disk": "disk", "request_gpus": "gpus"}
_GUESSES: Final = {"cpus": 1, "memory": "2GiB", "disk": "20GiB"}


def translate(text: str, *, file: str, findings: Findings) -> SiteDraft:
    """Returns the draft of a site.

    Args:
        text: The submit description.
        file: Its name.
        findings: Gets a verdict on each command.
    """
    stem = file.rsplit("/", 1)[-1].partition(".")[0]
    site = SiteDraft(file)
    entries: list[Entry] = []
    table: dict[str, object] = {}
    carried = Draft("", "htcondor", file)
    for line in statements(text):
        if line.text.startswith("#"):
            continue
        queue = re.fullmatch(r"(?i)queue(?:\s+(.*))?", line.text)
        if queue:
            entry = Entry(file, "submit", f"queue {len(site.shapes) + 1}", line.text, line.number)
            site.shapes.append(_shape(entry, table, carried, stem, findings))
            entries.append(entry)
            continue
        name, sign, value = (part.strip() for part in line.text.partition("="))
        entry = Entry(file, "submit", name, value, line.number)
        entries.append(entry)
        if not sign:
            findings.say(entry, Verdict.UNKNOWN, "no command of a submit description")
        else:
            _command(entry, table, carried, site, findings)
    if not site.shapes:
        entry = Entry(file, "submit", "queue", "", text.count("\n") + 1)
        site.shapes.append(_shape(entry, table, carried, stem, findings))
        site.shapes[0].remarks.append("The old file queued nothing by itself: max_total is 1.")
    _finish(site)
    site.entries = merged(entries, findings)
    return site


def _command(entry: Entry, table: dict[str, object], carried: Draft, site: SiteDraft, findings: Findings) -> None:
    name = entry.key.lower()
    if name in _REQUESTS:
        findings.say(entry, *_request(_REQUESTS[name], entry.text, table))
    elif name == "environment":
        _environment(entry, site, findings)
    elif name in {"+glidein_site", "my.glidein_site"}:
        cleaned = values.glidein_site(entry.text.strip("\"'"))
        if cleaned:
            site.site.setdefault("glidein_site", cleaned)
        findings.say(entry, Verdict.TRANSLATED, f"[site] glidein_site = {cleaned!r}")
    elif name == "universe" and entry.text.lower() not in {"vanilla", "5"}:
        carried.remarks.append(f"universe was {values.printable(entry.text)}: Glidepost submits to vanilla.")
        findings.say(entry, Verdict.TRANSLATED, "a comment: Glidepost submits to the vanilla universe")
    elif values.is_secret(entry.key, entry.text):
        findings.say(entry, Verdict.BUG, "a secret in clear, not copied: withdraw it")
    else:
        before = dict(carried.options)
        said = add_lines([f"{entry.key} = {entry.text}"], carried)
        verdict = Verdict.OBSOLETE if carried.options == before else Verdict.KEPT
        findings.say(entry, verdict, values.printable("; ".join(said).rpartition(": ")[2]))


def _request(what: str, text: str, table: dict[str, object]) -> tuple[Verdict, str]:
    if what in {"cpus", "gpus"}:
        number = values.whole(text)
        if number is None:
            return Verdict.UNKNOWN, "an expression, or no number: please write it into the shape by hand"
        table[what] = bounded(number, least=0 if what == "gpus" else 1)
        return Verdict.KEPT, f"{what} = {table[what]}"
    mib = quantities.memory_mib(text, bare="m" if what == "memory" else "k")
    if mib is None:
        return Verdict.UNKNOWN, "an expression, or no size: please write it into the shape by hand"
    table[what] = size(mib)
    return Verdict.TRANSLATED, f"{what} = {table[what]!r}"


def _environment(entry: Entry, site: SiteDraft, findings: Findings) -> None:
    """Reads both forms: `A=1;B=2` and `"A=1 B='two words'"`."""
    text = entry.text.strip()
    if text.startswith('"') and text.endswith('"'):
        try:
            items = shlex.split(text[1:-1].replace('""', '"'))
        except ValueError:
            items = text[1:-1].split()
    else:
        items = [item.strip() for item in text.split(";")]
    said = []
    for name, sign, value in (item.partition("=") for item in items if item):
        inner = Entry(entry.file, "environment", name.strip(), value.strip("\"'"), entry.line)
        if not sign or not re.fullmatch(r"[A-Za-z_]\w*", inner.key):
            said.append(f"{values.shown('', inner.key)}: not understood")
            continue
        own = Findings()
        # HTCondor's slots say what a glidein has: these variables only repeated it.
        if inner.key in {"CPUS", "MEMORY", "DISK", "GPUS"} and not values.is_secret(inner.key, inner.text):
            said.append(f"{inner.key}: the slot says it")
            continue
        variables.apply(Variable(inner, is_exported=True, is_computed=False), Draft("", "htcondor", ""), site, own)
        said += [f"{one.key}: {one.what}" for one in own.of([inner], {})]
    findings.say(entry, Verdict.TRANSLATED, values.printable("; ".join(said)) or "empty")


def _shape(entry: Entry, table: dict[str, object], carried: Draft, stem: str, findings: Findings) -> Draft:
    words = entry.text[len("queue") :].strip()
    count = values.whole(words.split(" ")[0]) if words else (1 if entry.text else 0)
    draft = Draft(stem, "htcondor", entry.file, remarks=list(carried.remarks), options=dict(carried.options))
    missing = [key for key in ("cpus", "memory", "disk") if key not in table]
    if missing:
        draft.remarks.append(f"The old file does not ask for: {', '.join(missing)}. These are guesses, please check.")
        if len(missing) == 3:
            draft.remarks.append("For whole machines write exclusive = true in the options, and their size here.")
    draft.table = {key: table.get(key, guess) for key, guess in _GUESSES.items()}
    if table.get("gpus"):
        draft.table["gpus"] = table["gpus"]
    draft.table["walltime"] = "24h"
    draft.table["max_total"] = bounded(count or 1)
    if str(table.get("disk", "")).endswith("MiB"):
        draft.remarks.append(f"disk is {table['disk']}, as request_disk is in KiB: is that what was meant?")
    draft.remarks.append("A submit file knows no walltime: 24h is a guess, please check.")
    if count is None:
        findings.say(entry, Verdict.UNKNOWN, "how many is not a number: max_total = 1")
        draft.remarks.append(f"It queued: {values.printable(words)}")
    else:
        findings.say(entry, Verdict.TRANSLATED, f"max_total = {draft.table['max_total']}")
    return draft


def _finish(site: SiteDraft) -> None:
    stem = values.slug(site.shapes[0].name, default="main")
    for number, draft in enumerate(site.shapes, 1):
        draft.name = stem if len(site.shapes) == 1 else f"{stem[:28]}-{number}"
