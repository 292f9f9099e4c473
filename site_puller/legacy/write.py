"""puller.toml of a draft, as text: with the old file's intent in comments where no key has it."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .model import Draft, SiteDraft
from .values import printable, slug, without_tokens

_WIDTH = 110


@dataclass(frozen=True)
class Given:
    """What the pool's admin told the site; empty where it is not known yet."""

    url: str = ""
    public_key: str = ""
    site: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether the new file loads as it is."""
        return bool(self.url and self.public_key)


def render(draft: SiteDraft, given: Given) -> str:
    """Returns the text of puller.toml."""
    lines = [
        "# puller.toml, written by `glidepost puller import` of:",
        *_comment(draft.file),
        "# Relative paths start at the folder of this file. docs/reference/configuration.md has every key.",
        *_remarks(draft, ""),
        "",
        *_site(draft, given),
        *_pool(draft, given),
        *_table(draft, "limits", draft.limits),
    ]
    for shape in draft.shapes:
        lines += _shape(shape)
    lines += _table(draft, "glidein", draft.glidein)
    lines += _table(draft, "glidein.environment", draft.environment)
    return "\n".join(lines).rstrip("\n") + "\n"


def site_name(draft: SiteDraft, given: Given) -> str:
    """Returns the name of the puller: as given, else after the old file's site."""
    return given.site or slug(str(draft.site.get("glidein_site", "")), default="site")


def _site(draft: SiteDraft, given: Given) -> Iterator[str]:
    name = site_name(draft, given)
    yield "[site]"
    yield from _remarks(draft, "site")
    if not given.site:
        yield "# The name that the pool's admin enters; this one is made of the old file's."
    yield f"name = {_value(name)}"
    yield f'key = "site.key"  # make it: glidepost keys generate site.key --site {name}'
    yield 'state = "state"  # on a file system that worker nodes see'
    for key, value in draft.site.items():
        yield f"{key} = {_value(value)}"
    yield ""


def _pool(draft: SiteDraft, given: Given) -> Iterator[str]:
    yield "[pool]"
    yield from _remarks(draft, "pool")
    if not given.is_complete:
        yield "# TO BE FILLED IN: the pool's admin knows both. Until then this file does not load."
    if given.url:
        yield f"url = {_value(given.url)}"
    else:
        yield '# url = "file:FOLDER"' if draft.pool.get("is_file") else '# url = "https://..."'
    yield f"public_key = {_value(given.public_key)}" if given.public_key else '# public_key = "ed25519:..."'
    yield ""


def _table(draft: SiteDraft, name: str, table: Mapping[str, object]) -> Iterator[str]:
    remarks = list(_remarks(draft, name))
    if not table and not remarks:
        return
    if table:
        yield f"[{name}]"
    yield from remarks
    for key, value in table.items():
        yield f"{_key(key)} = {_value(value)}"
    yield ""


def _shape(shape: Draft) -> Iterator[str]:
    lines = [f"[shapes.{shape.name}]", *_lines(shape.remarks), f"backend = {_value(shape.backend)}"]
    lines += [f"{key} = {_value(value)}" for key, value in shape.table.items()]
    lines += [f"# {printable(line)}" for line in shape.lines]
    for name, table in (("options", shape.options), ("jobs", shape.jobs)):
        if table:
            lines += ["", f"[shapes.{shape.name}.{name}]"]
            lines += [f"{key} = {_value(value)}" for key, value in table.items()]
    if shape.off:
        yield f"# Commented out: {printable(shape.off)}."
        lines = [line if line.startswith("#") else f"# {line}".rstrip() for line in lines]
    yield from lines
    yield ""


def _remarks(draft: SiteDraft, table: str) -> Iterator[str]:
    return _lines(draft.remarks.get(table, ()))


def _lines(texts: list[str] | tuple[str, ...]) -> Iterator[str]:
    for text in texts:
        yield from _comment(text)


def _comment(text: str) -> Iterator[str]:
    for line in textwrap.wrap(printable(text), _WIDTH, break_long_words=False, break_on_hyphens=False):
        yield f"# {line}"


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: object) -> str:
    """Returns a value as TOML: text in quotes, with no character that TOML refuses."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, str):
        text = re.sub(r"[\ud800-\udfff]", "?", without_tokens(value))
        return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value)
