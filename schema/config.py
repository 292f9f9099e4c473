"""Configuration files: TOML, held against their JSON Schema, every refusal naming the key and the right spelling."""

from __future__ import annotations

import difflib
import json
import re
import sys
from pathlib import Path
from typing import Any

import jsonschema
import msgspec

from .document import validator
from .errors import ConfigError
from .units import normalise

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(path: Path) -> dict[str, Any]:
    """Returns the tables of a TOML file.

    Raises:
        ConfigError: when it cannot be read or is not TOML.
    """
    try:
        tree: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint="name the file with --config FILE") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, half a character, a number of 5000 digits
        raise ConfigError(
            f"{path}: {error}", hint="it must be TOML: strings in quotes, tables in [brackets]"
        ) from error
    return tree


def load(path: Path, kind: str) -> dict[str, Any]:
    """Returns a configuration file, checked against the schema of its kind, quantities in the code's units.

    Args:
        path: The file.
        kind: "publisher-config/1" or "puller-config/1".

    Raises:
        ConfigError: naming the key that is unknown, missing, or of the wrong form.
    """
    tree = read_toml(path)
    problems = list(validator(kind).iter_errors(tree))
    # A misspelt key is also a missing one: the first says more.
    unknown = [problem for problem in problems if problem.validator == "additionalProperties"]
    problem = jsonschema.exceptions.best_match(unknown or problems)
    if problem is not None:
        raise _explained(path, problem)
    normal = normalise(tree)
    if not isinstance(normal, dict):  # a table stays a table; said for the type checker
        raise ConfigError(f"{path}: not a table", hint="it must be TOML")
    return normal


def convert(path: Path, data: dict[str, Any], into: type[Any]) -> Any:
    """Returns `data` as a dataclass; the schema was checked before, so that a failure is a gap between the two.

    Raises:
        ConfigError: naming the value.
    """
    try:
        return msgspec.convert(data, into)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}", hint="see docs/reference/configuration.md for every key") from error


def _explained(path: Path, problem: jsonschema.ValidationError) -> ConfigError:
    where = ".".join(str(part) for part in problem.absolute_path)
    reference = "see docs/reference/configuration.md for every key"
    schema: Any = problem.schema  # what the libraries' types allow beyond a table is not in our schemas
    if problem.validator == "additionalProperties":
        known = list(schema.get("properties", ()))
        instance: Any = problem.instance
        unknown = [str(key) for key in instance if key not in known]
        table = f"[{where}]" if where else "the top level"
        near = difflib.get_close_matches(unknown[0], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"it knows {', '.join(sorted(known))}"
        return ConfigError(f"{path}: unknown key {unknown[0]} in {table}", hint=hint)
    if problem.validator == "required":
        missing = re.match(r"'(.+?)'", problem.message)
        table = f"[{where}]" if where else "it"
        return ConfigError(f"{path}: {table} lacks {missing[1] if missing else 'a key'}", hint=reference)
    examples = schema.get("examples")
    key = where.rsplit(".", 1)[-1]
    hint = f"write it like {key} = {json.dumps(examples[-1])}" if examples else reference
    if problem.instance == "":
        return ConfigError(f"{path}: {where} is empty: fill it in", hint=hint)
    return ConfigError(f"{path}: {where}: {problem.message[:200]}", hint=hint)
