"""bsub's command line as the two dialects read it: openlava 2.2 by a list of letters, IBM's LSF 10.1 by names."""

from __future__ import annotations

import re
from dataclasses import dataclass

# What openlava's bsub knows, a ":" behind what takes a value. It looks for the longest of these that a word begins
# with, so that -app x is -a with "pp", and x is the command to run.
OPENLAVA = (
    "E: T: a: w: f: k: R: m: J: L: u: is: i: o: e: Zs n: q: b: t: sp: s: c: v: p: W: F: D: S: C: M: O: P: Ip Is I r H x"
    " N B h V X: K"
)
IBM = (
    "E: Ep: a: app: w: f: g: k: R: m: J: Jd: L: u: is: i: o: oo: e: eo: Zs n: q: b: t: sp: s: c: v: p: W: We: F: D: S:"
    " C: M: P: G: Ip Is I r rn H x N B h V K gpu: env: cwd: outdir: sla: U: ul pack: T: rnc: ptl: hl"
)
SECTION = re.compile(r"(\w+)\[([^\[\]]*)\]")


class Refused(Exception):  # noqa: N818
    """What the command says on stderr, and its exit code."""

    def __init__(self, text: str, code: int = 255) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Need:
    """What -R asks for."""

    select: str
    usage: dict[str, float]


def not_submitted(text: str) -> Refused:
    return Refused(f"{text}. Job not submitted.")


def usage(option: str) -> Refused:
    return Refused(
        f"bsub: Illegal option -- {option}\nUsage: bsub [-h] [-V] [-x] [-H] [-r] [-N] [-B] [-I | -K | -Ip | -Is]"
    )


def parse(dialect: str, argv: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Returns the options with all their values, and the command."""
    letters = OPENLAVA if dialect == "openlava" else IBM
    known = {name.rstrip(":"): name.endswith(":") for name in letters.split()}
    options: dict[str, list[str]] = {}
    words = list(argv)
    while words and words[0].startswith("-") and words[0] != "-":
        word = words.pop(0)[1:]
        name = max((name for name in known if word.startswith(name)), key=len, default="")
        if dialect == "lsf" and word not in known and len(word) > 1 and not word[1:2].isdigit():
            name = ""
        if not name or (not known[name] and word != name):
            raise usage(word)
        value = word[len(name) :]
        if known[name] and not value:
            if not words:
                raise usage(word)
            value = words.pop(0)
        options.setdefault(name, []).append(value)
    return options, words


def requirement(dialect: str, texts: list[str]) -> Need:
    """Returns what is needed, of one -R (openlava) or several."""
    if dialect == "openlava" and len(texts) > 1:
        raise not_submitted("Invalid syntax; the -R option was used more than once.\n")
    found: dict[str, str] = {}
    for text in texts:
        if SECTION.sub("", text).strip():  # bare words are what is selected
            found["select"] = SECTION.sub("", text).strip()
        for name, content in SECTION.findall(text):
            if name not in {"select", "order", "rusage", "span", "same", "cu", "affinity"}:
                raise not_submitted("Bad resource requirement syntax")
            found[name] = content
    select = found.get("select", "")
    is_open = select.count("(") != select.count(")") or re.search(r"(&&|\|\||[<>=!(])\s*$", select)
    if is_open or (dialect == "openlava" and "," in found.get("rusage", "")):
        raise not_submitted("Bad resource requirement syntax")
    amounts: dict[str, float] = {}
    for entry in filter(None, re.split("[:,]", found.get("rusage", ""))):
        match = re.fullmatch(r"(\w+)=(\d+(?:\.\d+)?)((?:[KMGT]B?)?)(?:/\w+)?", entry.strip())
        if match is None or (dialect == "openlava" and match[3]):
            raise not_submitted("Bad resource requirement syntax")
        amounts[match[1]] = float(match[2])
    return Need(select, amounts)


def number(value: str, what: str) -> int:
    if not re.fullmatch(r"-?\d+", value) or int(value) < 1:
        raise not_submitted(f"{value}: {what}")
    return int(value)


def memory_kib(dialect: str, value: str, unit: str) -> int:
    """Returns -M, which openlava takes as a bare number of KB only."""
    match = re.fullmatch(r"(\d+)([KMGT]?)B?", value)
    if match is None or (dialect == "openlava" and not value.isdigit()):
        raise not_submitted(f"{value}: MEMLIMT value should be a positive integer")
    return int(match[1]) * 1024 ** "KMGT".index(match[2] or unit)


def minutes(value: str) -> int:
    """Returns -W: minutes or hours:minutes, and behind a slash the host that they are of."""
    match = re.fullmatch(r"(?:(\d+):)?(\d+)(?:/[\w.-]+)?", value)
    if match is None:
        raise not_submitted(f"{value}: Bad RUNLIMIT specification")
    return int(match[1] or 0) * 60 + int(match[2])
