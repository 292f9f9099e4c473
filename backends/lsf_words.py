"""bsub's command line, put together so that it means the same to every LSF.

Of an option that stands twice, IBM's LSF takes the last, openlava the first for numbers and the last for words, and a
second -R is an error there. So no option stands twice: what a site gives takes the place of ours, or ours of theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from glidepost.schema.errors import ConfigError
from glidepost.schema.puller_config import Option

from .options import words

Words = tuple[str, ...]  # an option, with its value if it has one

_OURS: Final = "Glidepost writes the job name, the array and the script itself"
_WAITS: Final = "a glidein waits for nobody, and nobody would answer or release it"
_REFUSED: Final = {"-V": _OURS, "-h": _OURS, "-pack": _OURS}
# These with whatever follows: "-Jfoo" is "-J foo", and openlava takes "-Jd text" for it too.
_REFUSED_SHORT: Final = {"-J": _OURS, "-Z": _OURS, "-H": _WAITS, "-I": _WAITS, "-K": _WAITS}

_SECTION: Final = re.compile(r"(\w+)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]")


def given(options: Mapping[str, Option], key: str) -> list[Words]:
    """Returns the options in `extra` or `extra_before`.

    Raises:
        ConfigError: for what is no list of options, or would change what is submitted.
    """
    words(options, key, refused=_REFUSED)
    items = options.get(key, ())
    found = [words({key: (item,)}, key, refused={}) for item in (items if isinstance(items, tuple) else ())]
    for option in found:
        reason = _REFUSED_SHORT.get(option[0][:2])
        if reason:
            raise ConfigError(f"{key}: {' '.join(option)!r} cannot be given", hint=reason)
    return [("-R", option[0][2:]) if option[0][2:] and option[0].startswith("-R") else option for option in found]


def merged(before: Sequence[Words], ours: Sequence[Words], after: Sequence[Words]) -> list[str]:
    """Returns one command line in which each option stands once: of two, the later list's counts. -R is put together.

    Raises:
        ConfigError: for a -R that cannot be put together with ours.
    """
    kept = [
        *(option for option in before if not _names([*ours, *after], option)),
        *(option for option in ours if not _names(after, option)),
        *(option for option in after if option[0] != "-R"),
    ]
    texts = [option[1] for option in [*before, *ours, *after] if option[0] == "-R" and len(option) > 1]
    resources = requirement(texts)
    line = [word for option in kept if option[0] != "-R" for word in option]
    return [*line, "-R", resources] if resources else line


def requirement(texts: Iterable[str]) -> str:
    """Returns one resource requirement out of several, such as "select[pascal] span[hosts=1] rusage[mem=700]".

    What is selected is selected by all of them; of the same resource in rusage, and of any other section, the last
    counts. A colon goes between two resources: openlava refuses a comma.

    Raises:
        ConfigError: for what is no list of sections, such as alternatives or a compound requirement.
    """
    selected: list[str] = []
    usage: dict[str, str] = {}
    others: dict[str, str] = {}
    for text in texts:
        for name, value in _sections(text):
            if name == "select":
                selected += [value] if value not in selected else []
            elif name == "rusage":
                usage |= _usage(value)
            else:
                others[name] = value
    sections = dict(others)
    select = selected[0] if len(selected) == 1 else " && ".join(f"({value})" for value in selected)
    span = sections.pop("span", "")
    rusage = ":".join(f"{name}={value}" if value else name for name, value in usage.items())
    ordered = {"select": select, "span": span, "rusage": rusage, **sections}
    return " ".join(f"{name}[{value}]" for name, value in ordered.items() if value)


def _names(options: Iterable[Words], option: Words) -> bool:
    return any(other[0] == option[0] for other in options)


def _sections(text: str) -> list[tuple[str, str]]:
    """Returns name and content of each section; text before the first one is what is selected."""
    found = [(match[1], match[2].strip()) for match in _SECTION.finditer(text)]
    rest = _SECTION.sub("\0", text)
    bare, _, behind = rest.partition("\0")
    if behind.replace("\0", "").strip() or any(letter in bare for letter in "{}[]"):
        raise ConfigError(
            f"the resource requirement {text!r} cannot be put together with Glidepost's own",
            hint='write sections, as in "select[pascal] order[ut]"',
        )
    return ([("select", bare.strip())] if bare.strip() else []) + found


def _usage(text: str) -> dict[str, str]:
    entries = (entry.strip().partition("=") for entry in re.split("[:,]", text))
    return {name.strip(): value.strip() for name, _, value in entries if name.strip()}
