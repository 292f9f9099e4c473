"""Documents as frozen dataclasses: JSON in, JSON out, the JSON Schema file of their kind holding at both ends."""

from __future__ import annotations

import json
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Annotated, Any, ClassVar, Final, TypeVar

import jsonschema
import msgspec

from . import strict_json
from .errors import GlidepostError, UntrustedDocument

Self = TypeVar("Self", bound="Document")

MAX_DOCUMENT_BYTES: Final = 8 * 1024 * 1024
# A time in a file that we keep: without its zone it is none.
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
# What reading a JSON file of our own with msgspec raises when it is gone, damaged, or somebody else's.
DAMAGED: Final = (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


@cache
def validator(kind: str) -> jsonschema.Draft7Validator:
    """Returns the validator of a kind such as "demand/1", from schema/demand-1.schema.json."""
    name = f"{kind.replace('/', '-')}.schema.json"
    text = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    return jsonschema.Draft7Validator(json.loads(text, object_hook=_to_the_end))


def _to_the_end(schema: dict[str, Any]) -> dict[str, Any]:
    """Returns a schema whose patterns end where the text does: to Python "$" is also before a last line break."""
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and pattern.endswith("$"):
        return {**schema, "pattern": f"{pattern[:-1]}\\Z"}
    return schema


def parse_object(body: bytes, *, what: str, max_bytes: int = MAX_DOCUMENT_BYTES) -> dict[str, Any]:
    """Returns the JSON object in foreign bytes, whose size is looked at before they are parsed.

    Raises:
        UntrustedDocument: when it is too large, no JSON object, or one with two meanings (schema/strict_json.py).
    """
    hint = "somebody else's file is served under this name, or the transfer was cut; look at it with curl"
    if len(body) > max_bytes:
        raise UntrustedDocument(f"{what}: {len(body)} bytes, more than {max_bytes}", hint=hint)
    try:
        data = strict_json.loads(body)
    except ValueError as error:
        raise UntrustedDocument(f"{what}: not JSON: {_short(error)}", hint=hint) from error
    if not isinstance(data, dict):
        raise UntrustedDocument(f"{what}: not a JSON object", hint=hint)
    return data


class Document:
    """Base of the dataclasses that travel as JSON. `kind` names the schema and its version."""

    kind: ClassVar[str]

    @classmethod
    def from_json(cls: type[Self], data: object) -> Self:  # noqa: PYI019 - typing.Self is younger than 3.9
        """Returns the document in `data`. Fields that this version does not know are ignored.

        Raises:
            UntrustedDocument: when `data` does not follow the schema of this kind.
        """
        problem = next(iter(validator(cls.kind).iter_errors(data)), None)
        if problem is not None:
            raise UntrustedDocument(
                f"not a {cls.kind} document: {problem.json_path}: {problem.message[:300]}",
                hint="the writer runs another version of Glidepost, or it is not the document that its name says",
            )
        try:
            return msgspec.convert(data, cls)
        except msgspec.ValidationError as error:
            raise UntrustedDocument(
                f"not a {cls.kind} document: {error}", hint="the writer runs another version of Glidepost"
            ) from error

    def to_json(self) -> dict[str, Any]:
        """Returns the document as JSON values, `kind` first.

        Raises:
            GlidepostError: when it breaks its own schema: a bug, and nothing that a reader should see.
        """
        data: dict[str, Any] = {"kind": self.kind, **msgspec.json.decode(msgspec.json.encode(self))}
        problem = next(iter(validator(self.kind).iter_errors(data)), None)
        if problem is not None:
            raise GlidepostError(
                f"refused to write a {self.kind} document: {problem.json_path}: {problem.message[:300]}",
                hint="this is a bug in Glidepost: please report it with this line",
            )
        return data


def _short(error: ValueError) -> str:
    """Returns what is wrong, without the document that some exceptions carry."""
    return f"utf-8: {error.reason}" if isinstance(error, (UnicodeDecodeError, UnicodeEncodeError)) else str(error)


def encode(data: dict[str, Any]) -> bytes:
    """Returns a document as it is stored: UTF-8, indented, for people with curl."""
    return json.dumps(data, indent=1, ensure_ascii=False).encode() + b"\n"
