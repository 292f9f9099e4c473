"""What several backends do with a shape's options: further words for a command line, templates, programs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files

from glidepost.schema.errors import ConfigError
from glidepost.schema.puller_config import Option
from glidepost.schema.resources import Resources


def up(amount: int, unit: int) -> int:
    """Returns how many whole units hold the amount."""
    return -(-amount // unit)


def text(options: Mapping[str, Option], key: str, default: str = "") -> str:
    """Returns an option that is a text."""
    return str(options.get(key, default))


def filled(template: str, resources: Resources) -> str:
    """Returns a site's template with the glidein's numbers in it: {gpus}, {cpus}, {memory_mib}, {disk_mib}."""
    for name in ("gpus", "cpus", "memory_mib", "disk_mib"):
        template = template.replace(f"{{{name}}}", str(getattr(resources, name)))
    return template


def words(options: Mapping[str, Option], key: str, *, refused: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the words of `extra` or its like, each item one option: "-l qos=open" gives "-l", "qos=open".

    The value is all that follows the first blank, quotes around it taken off, so that it may hold blanks itself.

    Args:
        options: Of the shape.
        key: Which of them.
        refused: Options that cannot be given, and why: what changes how many batch jobs there are, their name, or
            where they go.

    Raises:
        ConfigError: for anything that is not a list of options, or one of those that are refused.
    """
    items = options.get(key, ())
    if not isinstance(items, tuple):
        raise ConfigError(f"{key} = {items!r}: not a list", hint=f'write {key} = ["-l name=value"]')
    found: list[str] = []
    for item in items:
        option, _, value = item.strip().partition(" ")
        if option.startswith("--") and "=" in option:
            option, value = item.strip(), ""
        if not option.startswith("-") or option in {"-", "--"}:
            hint = f'write an option and its value as one string: {key} = ["-l name=value"]'
            raise ConfigError(f"{key}: {item!r} is not an option", hint=hint)
        reason = refused.get(option.split("=")[0])
        if reason:
            raise ConfigError(f"{key}: {item!r} cannot be given", hint=reason)
        found += [option, *_unquoted(value.strip())]
    return tuple(found)


def _unquoted(value: str) -> list[str]:
    if not value:
        return []
    if value[0] in "'\"" and value[-1] == value[0] and len(value) > 1:
        return [value[1:-1]]
    return [value]


@lru_cache
def program(name: str) -> str:
    """Returns a shell program of this folder, which goes along as the text of `sh -c`."""
    return files("glidepost.backends").joinpath(name).read_text(encoding="utf-8")


def account_and_rest(stdout: str) -> tuple[str, str]:
    """Returns who asked, and the answer, of a command that begins with `id -un`.

    Raises:
        ValueError: when the first line is no account.
    """
    account, _, rest = stdout.partition("\n")
    if not account or any(letter.isspace() for letter in account) or account[0] in "{<[":
        raise ValueError(f"no account in the first line: {stdout[:200]!r}")
    return account, rest
