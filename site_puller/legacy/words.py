"""Options of batch commands, split into what puller.toml has a key for and the rest, which stays as it was."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Optional

# What happens to an option: `option:KEY` is a key of [shapes.NAME.options], `true:KEY` the same without a value,
# `take:QUANTITY` is read by the caller, `extra` stays, `extra:NAME` stays under another name, `drop:REASON` goes.
Meanings = Mapping[str, str]

OURS: Final = "drop:Glidepost sets it"
NAMES: Final = "drop:each submission has a name of its own, by which it is found again"
LOGS: Final = "drop:what glideins print is in the state folder, in logs/"
ARRAYS: Final = "take:array"

_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=")


@dataclass
class Taken:
    """What was found: `options` and `extra` for the new file, `taken` by quantity, `said` sentences for the report."""

    options: dict[str, object] = field(default_factory=dict)
    extra: list[str] = field(default_factory=list)
    taken: dict[str, list[str]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def last(self, quantity: str) -> str:
        """Returns the last value of a quantity, which is the one that counts, or nothing."""
        return self.taken.get(quantity, [""])[-1]


@dataclass(frozen=True)
class Dialect:
    """How one command's options look.

    `meanings` maps `--long`, `-s`, or `-word` to what happens; one that ends in `=` takes no value of its own, but may
    have one after `=`, and one that ends in `!` takes none. `joins` says how an option and its value are one string.
    Options in `pairs` take two values.
    """

    meanings: Meanings
    joins: str = " "
    has_long: bool = False
    pairs: frozenset[str] = frozenset()

    def find(self, word: str) -> tuple[str, str]:
        """Returns the meaning of an option, and its name with the mark; both empty if the command has none such."""
        for mark in ("", "!", "="):
            if word + mark in self.meanings:
                return self.meanings[word + mark], word + mark
        if self.has_long and word.startswith("--"):
            names = [name for name in self.meanings if name.startswith(word)]
            if len(names) == 1:
                return self.meanings[names[0]], names[0]
        return "", ""


def split(text: str) -> list[str]:
    """Returns the words of a shell line, comments left out; split at blanks where quotes are not closed."""
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()


def read(words: Sequence[str], dialect: Dialect, into: Taken) -> list[str]:
    """Adds what options say to `into`; returns the words that are no options."""
    rest: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if not word.startswith("-") or word in {"-", "--"}:
            rest.append(word)
            continue
        name, value = _parts(word, dialect)
        meaning, known = dialect.find(name)
        follows = words[position] if position < len(words) else None
        wants = not known.endswith(("!", "=")) if known else follows is not None and not follows.startswith("-")
        if value is None and wants and follows is not None and not (not known and "=" in name):
            value = follows
            position += 1
            if name in dialect.pairs and position < len(words):
                value = f"{follows} {words[position]}"
                position += 1
        _apply(known.rstrip("!=") or name, value, meaning or "extra", dialect, into)
    return rest


def _parts(word: str, dialect: Dialect) -> tuple[str, Optional[str]]:
    """Returns an option's name and the value that is attached to it."""
    if word.startswith("--"):
        name, sign, value = word.partition("=")
        return name, value if sign else None
    if dialect.find(word)[1] or len(word) == 2:
        return word, None
    if dialect.find(word[:2])[1] or dialect.has_long:
        return word[:2], word[2:].removeprefix("=") if dialect.has_long else word[2:]
    return word, None


def _apply(name: str, value: Optional[str], meaning: str, dialect: Dialect, into: Taken) -> None:
    kind, _, what = meaning.partition(":")
    shown = joined(name, value, Dialect({}))
    if kind == "option" and value:
        into.options[what] = value
        into.said.append(f"{shown}: options.{what}")
    elif kind == "true":
        into.options[what] = True
        into.said.append(f"{shown}: options.{what}")
    elif kind == "take":
        into.taken.setdefault(what, []).append(value or "")
    elif kind == "drop":
        into.said.append(f"{shown}: {what}")
    else:
        into.extra.append(joined(what or name, value, dialect))
        into.said.append(f"{shown}: options.extra")


def joined(name: str, value: Optional[str], dialect: Dialect) -> str:
    """Returns an option and its value as one string, as the backend's `extra` takes it."""
    if not value:
        return name
    if name.startswith("--"):
        return f"{name}={value}"
    return f"{name}{dialect.joins}{value}"


@dataclass(frozen=True)
class CommandLine:
    """A submit command: what stands before it, the command, its options; `is_shell` if it is more than one command."""

    prefix: tuple[str, ...]
    command: str
    options: tuple[str, ...]
    is_shell: bool


def command_line(text: str, commands: Sequence[str]) -> CommandLine:
    """Returns the parts of a submit command such as `ssh login01 sbatch -p gpu` or `bsub <`.

    Args:
        text: As the old file has it; a file name was put behind it.
        commands: Which commands submit, such as ("sbatch",).
    """
    words = [word for word in split(text) if word not in {"<", "0<"}]
    words = [word.removesuffix("<") for word in words]
    start = next((index for index, word in enumerate(words) if word.rsplit("/", 1)[-1] in commands), None)
    is_shell = bool(re.search(r"[;&|`>(]|\$\(", text))
    if start is None:
        return CommandLine((), "", tuple(words), is_shell)
    before = tuple(word for word in words[:start] if word)
    return CommandLine(before, words[start], tuple(words[start + 1 :]), is_shell)


def has_assignment(words: Sequence[str]) -> bool:
    """Tells whether a command sets variables, as in `FOO=1 sbatch`."""
    return any(_ASSIGNMENT.match(word) for word in words)
