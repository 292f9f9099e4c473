"""What goes from reader to writer: the old file's entries, a verdict on each, drafts of the new file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Optional

from . import values


class Verdict(Enum):
    """What became of something in an old file."""

    KEPT = "kept"
    TRANSLATED = "translated"
    OBSOLETE = "obsolete"
    BUG = "known bug"
    UNKNOWN = "unknown"


# When several shapes say something of one entry, the strongest word stands.
_WEIGHT = {
    word: index
    for index, word in enumerate(
        (Verdict.UNKNOWN, Verdict.OBSOLETE, Verdict.KEPT, Verdict.TRANSLATED, Verdict.BUG),
    )
}


@dataclass(frozen=True)
class Entry:
    """One key of an old file. `line` is where the value that counts stands, `earlier` where it was set before."""

    file: str
    section: str
    key: str
    text: str
    line: int
    earlier: tuple[int, ...] = ()

    @property
    def value(self) -> object:
        """What pyglidein made of the text: a number, a truth value, a list, or else the text."""
        return values.literal(self.text)


@dataclass(frozen=True)
class Finding:
    """A verdict on one entry, in words."""

    file: str
    section: str
    key: str
    value: str
    line: int
    verdict: Verdict
    what: str


class Findings:
    """Collects verdicts; hands out exactly one for each entry."""

    def __init__(self) -> None:
        self._said: dict[Entry, list[tuple[Verdict, str]]] = {}
        self.notes: list[tuple[str, str]] = []

    def say(self, entry: Entry, verdict: Verdict, what: str) -> None:
        """Adds to what is said of an entry, unless it was said before."""
        said = self._said.setdefault(entry, [])
        if (verdict, what) not in said:
            said.append((verdict, what))

    def has(self, entry: Entry) -> bool:
        """Tells whether anything was said of an entry."""
        return bool(self._said.get(entry))

    def move(self, old: Entry, new: Entry) -> None:
        """Says of one entry what was said of another."""
        for verdict, what in self._said.pop(old, []):
            self.say(new, verdict, what)

    def note(self, file: str, what: str) -> None:
        """Adds what concerns a file and none of its keys."""
        if (file, what) not in self.notes:
            self.notes.append((file, what))

    def of(self, entries: Iterable[Entry], known: Mapping[str, Iterable[str]]) -> tuple[Finding, ...]:
        """Returns one finding for each entry, in their order; `known` holds the keys of each section, for hints."""
        return tuple(self._finding(entry, known) for entry in entries)

    def _finding(self, entry: Entry, known: Mapping[str, Iterable[str]]) -> Finding:
        said = self._said.get(entry)
        if said:
            verdict = max((word for word, _ in said), key=lambda word: _WEIGHT[word])
            what = "; ".join(dict.fromkeys(text for _, text in said))
        else:
            verdict = Verdict.UNKNOWN
            what = values.suggestion(entry.section, entry.key, known)
        if entry.earlier:
            lines = ", ".join(str(line) for line in entry.earlier)
            what += f" (set before in line {lines}: the last one counts)"
        key = values.printable(entry.key)
        shown = values.shown(entry.key, entry.text)
        return Finding(entry.file, entry.section, key, shown, entry.line, verdict, values.printable(what))


class Settings:
    """Values as pyglidein saw them: a partition over [Cluster] over [DEFAULT], each with its entry.

    Args:
        findings: Where verdicts go.
        layers: Entries by key; the first that has a key wins.
        suffix: Added to each verdict, such as "(in the commented-out shape)".
    """

    def __init__(self, findings: Findings, *layers: Mapping[str, Entry], suffix: str = "") -> None:
        self._findings = findings
        self._layers = layers
        self._suffix = suffix

    def entry(self, key: str) -> Optional[Entry]:
        """Returns the entry that counts."""
        return next((layer[key] for layer in self._layers if key in layer), None)

    def has(self, key: str) -> bool:
        """Tells whether the file sets a key."""
        return self.entry(key) is not None

    def value(self, key: str) -> object:
        """Returns what pyglidein made of a key, None where the file does not set it."""
        entry = self.entry(key)
        return None if entry is None else entry.value

    def text(self, key: str) -> str:
        """Returns a key as text, empty where the file does not set it."""
        value = self.value(key)
        return "" if value is None else str(value).strip()

    def number(self, key: str, default: int) -> int:
        """Returns a key as a whole number; what is none gets a verdict, and the default counts."""
        entry = self.entry(key)
        if entry is None:
            return default
        number = values.whole(entry.value)
        if number is None:
            self.say(key, Verdict.UNKNOWN, f"not a number, so pyglidein's default {default} is taken: please check")
            return default
        return number

    def flag(self, key: str) -> bool:
        """Returns a key as yes or no. pyglidein took any text for yes; what reads like "no" is what the site meant."""
        value = self.value(key)
        if isinstance(value, str) and value.strip().lower() in {"no", "false", "off", "n", "f"}:
            self.say(key, Verdict.BUG, f"pyglidein took the text {value!r} for yes: only False is no; now it is no")
            return False
        return bool(value)

    def say(self, key: str, verdict: Verdict, what: str) -> None:
        """Says what became of a key, if the file sets it. Other layers that set it too are overlaid."""
        entry = self.entry(key)
        for layer in self._layers:
            found = layer.get(key)
            if found is not None and found is entry:
                self._findings.say(found, verdict, what + self._suffix)


@dataclass
class Draft:
    """A shape in the making. `off` says why it is commented out; `lines` are keys that are only written as comments."""

    name: str
    backend: str
    file: str
    table: dict[str, object] = field(default_factory=dict)
    options: dict[str, object] = field(default_factory=dict)
    jobs: dict[str, object] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    off: str = ""
    counted_by: str = ""

    def extend(self, key: str, items: Iterable[str]) -> None:
        """Adds to a list among the options, each item once."""
        old = self.options.get(key, ())
        joined = tuple(dict.fromkeys((*(old if isinstance(old, tuple) else ()), *items)))
        if joined:
            self.options[key] = joined


@dataclass
class SiteDraft:
    """What one old file becomes. `site`, `pool`, `limits`, `glidein` and `environment` are tables of the new file.

    `helps` says what a helper script means for the shapes of another file: its name, the limit, the host of an ssh.
    """

    file: str
    site: dict[str, object] = field(default_factory=dict)
    pool: dict[str, object] = field(default_factory=dict)
    limits: dict[str, object] = field(default_factory=dict)
    glidein: dict[str, object] = field(default_factory=dict)
    environment: dict[str, object] = field(default_factory=dict)
    shapes: list[Draft] = field(default_factory=list)
    remarks: dict[str, list[str]] = field(default_factory=dict)
    entries: tuple[Entry, ...] = ()
    helps: dict[str, tuple[int, str]] = field(default_factory=dict)

    def remark(self, table: str, text: str) -> None:
        """Adds a comment above a table."""
        lines = self.remarks.setdefault(table, [])
        if text not in lines:
            lines.append(text)
