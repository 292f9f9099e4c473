"""The XML in which Torque lists batch jobs. It knows elements and texts only, so that no entity can be declared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

_TAG: Final = re.compile(r"<(?P<close>/?)(?P<name>[\w.:-]+)(?:\s[^<>]*?)?(?P<empty>/?)>")
_HEAD: Final = re.compile(r"\s*<\?xml[^<>]*\?>")
_ESCAPED: Final = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&"))
_NEEDED: Final = ("Job_Id", "Job_Name", "Job_Owner", "job_state")


def jobs(text: str) -> Iterator[Mapping[str, str]]:
    """Yields each batch job: its elements, without those in them (Resource_List), and what they hold.

    Raises:
        ValueError: when it is not such a document, not whole, or a batch job lacks what it must have.
    """
    text = _HEAD.sub("", text, count=1)
    path: list[str] = []
    job: dict[str, str] = {}
    end = ended = 0
    for tag in _TAG.finditer(text):
        between = text[end : tag.start()]
        end = tag.end()
        if "<" in between or ended or (between.strip() and len(path) < 3):
            raise ValueError(f"not what qstat -x prints: {between[-100:]!r}")
        if not tag["close"]:
            path.append(tag["name"])
            if path[:2] != ["Data", "Job"][: len(path)]:
                raise ValueError(f"not an element of qstat -x: {tag[0][:100]!r}")
            job = {} if len(path) == 2 else job
            if not tag["empty"]:
                continue
            between = ""
        if not path or path.pop() != tag["name"]:
            raise ValueError(f"an element of qstat -x does not end where it must: {tag[0][:100]!r}")
        if len(path) == 2:
            _set(job, tag["name"], between)
        elif len(path) == 1:
            yield _checked(job)
        ended = not path
    if not ended or text[end:].strip():
        raise ValueError(f"what qstat -x printed is cut, or goes on: {text[-100:]!r}")


def _set(job: dict[str, str], name: str, value: str) -> None:
    if name in job and name in _NEEDED:
        raise ValueError(f"two {name} of one batch job")
    for escaped, letter in _ESCAPED:
        value = value.replace(escaped, letter)
    job[name] = value


def _checked(job: Mapping[str, str]) -> Mapping[str, str]:
    missing = [name for name in _NEEDED if name not in job]
    if missing or "@" not in job["Job_Owner"]:
        raise ValueError(f"a batch job without {', '.join(missing) or 'an owner'}: {job.get('Job_Id', '?')[:50]!r}")
    return job
