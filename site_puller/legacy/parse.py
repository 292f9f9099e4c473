"""INI as Python 2's SafeConfigParser read it, with case kept: what pyglidein's client did with its configuration.

Python 3 reads the same files differently: it refuses a section or key that comes twice, and takes indented lines that
begin with `#` for comments, so that directives such as `#BSUB -a openmp` were lost. Source: ConfigParser.py of 2.7.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from glidepost.schema.errors import ConfigError

from . import values
from .model import Entry, Findings, Verdict

_SPACE: Final = " \t\r\f\v"
_SECTION: Final = re.compile(r"\[(?P<name>[^]]+)\]")
_OPTION: Final = re.compile(r"(?P<key>[^:=\s][^:=]*)\s*(?P<sign>[:=])\s*(?P<text>.*)$", re.DOTALL)
_REFERENCE: Final = re.compile(r"%%|%\((?P<name>[^)]*)\)s|%", re.DOTALL)
_DEPTH: Final = 10  # as MAX_INTERPOLATION_DEPTH
_LONGEST: Final = 100_000


@dataclass(frozen=True)
class Ini:
    """One parsed file: entries by section and key. A section that comes twice is one; of a key, the last counts."""

    file: str
    sections: Mapping[str, Mapping[str, Entry]]
    defaults: Mapping[str, Entry] = field(default_factory=dict)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All of them, in the order of the file."""
        tables = (self.defaults, *self.sections.values())
        return tuple(sorted((entry for table in tables for entry in table.values()), key=lambda entry: entry.line))

    def section(self, name: str) -> Mapping[str, Entry]:
        """Returns a section's own entries; none if it does not exist."""
        return self.sections.get(name, {})


@dataclass
class _Raw:
    line: int
    parts: list[str]
    earlier: tuple[int, ...] = ()


def parse(text: str, *, file: str, findings: Findings) -> Ini:
    """Returns the entries of a pyglidein configuration, `%(name)s` replaced.

    Args:
        text: The file, decoded.
        file: Its name, for messages.
        findings: Gets a verdict on each value that pyglidein could not have read.

    Raises:
        ConfigError: with the line, for what Python 2 could not read either.
    """
    raw: dict[str, dict[str, _Raw]] = {}
    section = key = None
    for number, line in enumerate(text.split("\n"), 1):
        if _is_comment(line):
            continue
        if line[0] in _SPACE and section is not None and key is not None:
            raw[section][key].parts.append(line.strip(_SPACE))
            continue
        header = _SECTION.match(line)
        if header:
            section, key = header["name"], None
            raw.setdefault(section, {})
            continue
        if section is None:
            raise _unreadable(file, number, line, "a section such as [Cluster] must come before the first key")
        option = _OPTION.match(line)
        if option is None:
            hint = "write `key = value`, or indent the line if it goes on with the value above it"
            raise _unreadable(file, number, line, f"pyglidein could not read it either: {hint}")
        key = option["key"].rstrip(_SPACE)
        old = raw[section].get(key)
        earlier = (*old.earlier, old.line) if old else ()
        raw[section][key] = _Raw(number, [_first_line(option["text"])], earlier)
    return _expanded(raw, file, findings)


def _is_comment(line: str) -> bool:
    if not line.strip(_SPACE) or line[0] in "#;":
        return True
    return line[0] in "rR" and line.split(None, 1)[0].lower() == "rem"


def _first_line(text: str) -> str:
    """Returns the text after the sign: up to ` ;`, which begins a comment there, and `""` is nothing.

    Python 2 looked at the first semicolon only; before one at the very beginning, for it, stood the last character.
    """
    start = text.find(";")
    if start >= 0 and text[start - 1] in _SPACE:
        text = text[:start]
    text = text.strip(_SPACE)
    return "" if text == '""' else text


def _unreadable(file: str, number: int, line: str, hint: str) -> ConfigError:
    return ConfigError(f"{file}:{number}: {values.shown('', line.strip(_SPACE))[:120]!r} is not understood", hint=hint)


def _expanded(raw: dict[str, dict[str, _Raw]], file: str, findings: Findings) -> Ini:
    defaults = raw.pop("DEFAULT", {})
    texts = {key: "\n".join(item.parts) for key, item in defaults.items()}

    def entries(section: str, table: dict[str, _Raw]) -> Iterator[tuple[str, Entry]]:
        names = {**texts, **{key: "\n".join(item.parts) for key, item in table.items()}}
        known: dict[tuple[str, int], tuple[str, str]] = {}
        for key, item in table.items():
            expanded, problem = _interpolated(names[key], names, known)
            if len(expanded) > _LONGEST:
                hint = "a value may refer to others by %(name)s, but not without end"
                raise ConfigError(f"{file}:{item.line}: {key} is longer than {_LONGEST} characters", hint=hint)
            entry = Entry(file, section, key, expanded, item.line, item.earlier)
            if problem:
                findings.say(entry, Verdict.BUG, f"pyglidein could not read it: {problem}; taken as it stands")
            yield key, entry

    sections = {name: dict(entries(name, table)) for name, table in raw.items()}
    return Ini(file, sections, dict(entries("DEFAULT", defaults)))


def _interpolated(
    text: str, names: Mapping[str, str], known: dict[tuple[str, int], tuple[str, str]], depth: int = 1
) -> tuple[str, str]:
    """Returns the text with its references replaced, and what is wrong with them. `known` keeps what was replaced."""
    problem = ""
    parts: list[str] = []
    end = 0
    for match in _REFERENCE.finditer(text):
        parts.append(text[end : match.start()])
        end = match.end()
        name = match["name"]
        if match[0] == "%%":
            parts.append("%")
        elif name is not None and name in names and depth < _DEPTH:
            if (name, depth) not in known:
                known[name, depth] = _interpolated(names[name], names, known, depth + 1)
            inner, deeper = known[name, depth]
            parts.append(inner)
            problem = problem or deeper
        else:
            parts.append(match[0])
            problem = "a lone % must be %%" if name is None else f"%({name})s refers to nothing, or to itself"
        if sum(map(len, parts)) > _LONGEST:
            break
    parts.append(text[end:])
    return "".join(parts), problem
