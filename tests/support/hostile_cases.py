"""What a store, a cache, a proxy or a thief may serve: each with the exit code that the documentation promises for it.

Nothing is submitted in any of them. Exit code 3 is for documents that must not be believed, 1 for stores that gave
none, 2 for what a person must mend (schema/errors.py).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from email.utils import format_datetime
from typing import Any, Optional

import msgspec
from hostile_stage import DEMAND, KEYS, LIFE, MAILBOX, NEXT, POOL, ROOT, SITE, STRANGER, Stage

from glidepost.schema.document import MAX_DOCUMENT_BYTES, encode
from glidepost.schema.mailbox import Mailbox
from glidepost.schema.sealing import seal
from glidepost.schema.signing import sign

UNTRUSTED, STORE, PERSON = 3, 1, 2
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
HIGHEST = 2**53 - 1
LOGIN = b"<!DOCTYPE html><html><body><form action=/login>Please log in</form></body></html>"


@dataclass(frozen=True)
class Case:
    """One thing that is wrong. `says` is part of the message; `is_web` ones need HTTP's headers or status."""

    name: str
    change: Callable[[Stage], None]
    exit_code: int
    says: str
    is_web: bool = False


def cases() -> dict[str, Case]:
    """Returns all by name."""
    found = [*_bytes(), *_numbers(), *_documents(), *_times(), *_mailboxes(), *_keys(), *_web()]
    names = {case.name: case for case in found}
    assert len(names) == len(found)
    return names


def _put(key: str, body: bytes) -> Callable[[Stage], None]:
    def change(stage: Stage) -> None:
        stage.objects[key] = body

    return change


def _text(key: str, old: str, new: str, count: int = 1) -> Callable[[Stage], None]:
    """Replaces a piece of the text as it is stored, the signatures being what they were."""

    def change(stage: Stage) -> None:
        body = stage.objects[key]
        assert old.encode() in body
        stage.objects[key] = body.replace(old.encode(), new.encode(errors="surrogatepass"), count)

    return change


def _bytes() -> Iterator[Case]:
    """What is no document at all, in the place of each of the three."""
    broken = {
        "nothing": (b"", "Expecting value"),
        "a login page": (LOGIN, "Expecting value"),
        "null": (b"null", "not a JSON object"),
        "a list": (b"[]", "not a JSON object"),
        "an empty object": (b"{}", ""),
        "zeros": (b"\0" * 4096, "Expecting value"),
        "another encoding": ('{"kind": "demand/1"}'.encode("utf-16"), "utf-8: invalid start byte"),
        "deep lists": (b"[" * 100_000, "deeper than 32 levels"),
        "deep objects": (b'{"a":' * 33 + b"1" + b"}" * 33, "deeper than 32 levels"),
        "millions of values": (b'{"a": [' + b"0," * 1_500_000 + b"0]}", "more than 1500000 values"),
        "a number of a million digits": (b'{"a": ' + b"9" * 1_000_000 + b"}", "a number of 1000000 digits"),
        "one byte too many": (b" " * (MAX_DOCUMENT_BYTES - 1) + b"{}", f"more than {MAX_DOCUMENT_BYTES} bytes"),
        "a bomb": (gzip.compress(b" " * (MAX_DOCUMENT_BYTES + 1)), f"more than {MAX_DOCUMENT_BYTES} bytes"),
        "a bomb in a bomb": (gzip.compress(gzip.compress(b"\0" * 10**7)), "utf-8: invalid start byte"),
    }
    for key in (DEMAND, MAILBOX, KEYS):
        for what, (body, says) in broken.items():
            is_store = what in {"one byte too many", "a bomb"}
            yield Case(f"{what} as {key}", _put(key, body), STORE if is_store else UNTRUSTED, says)
        yield Case(f"a cut {key}", lambda stage, key=key: _cut(stage, key), UNTRUSTED, "not JSON")
        yield Case(f"{key} twice in a row", lambda stage, key=key: _twice(stage, key), UNTRUSTED, "Extra data")


def _cut(stage: Stage, key: str) -> None:
    stage.objects[key] = stage.objects[key][: len(stage.objects[key]) // 2]


def _twice(stage: Stage, key: str) -> None:
    stage.objects[key] *= 2


def _numbers() -> Iterator[Case]:
    """Texts of one document that other readers would take for another."""
    yield Case("a key twice", _text(DEMAND, '"pool"', '"sequence": 9,\n "pool"'), UNTRUSTED, "'sequence' stands twice")
    yield Case(
        "a key twice, spelt otherwise", _text(DEMAND, '"pool"', '"sequenc\\u0065": 9, "pool"'), UNTRUSTED, "twice"
    )
    yield Case("a key twice in a group", _text(DEMAND, '"north": 5', '"north": 5, "north": 500'), UNTRUSTED, "'north'")
    yield Case("a key twice in the mailbox", _text(MAILBOX, '"site"', '"site": "south", "site"'), UNTRUSTED, "twice")
    yield Case("a key twice in the keys", _text(KEYS, '"pool"', '"pool": "x", "pool"'), UNTRUSTED, "twice")
    yield Case("NaN", _text(DEMAND, '"sequence": 8', '"sequence": NaN'), UNTRUSTED, "NaN is no JSON")
    yield Case("infinity", _text(DEMAND, '"sequence": 8', '"sequence": 1e400'), UNTRUSTED, "too large")
    yield Case(
        "a number of 64 bits", _text(DEMAND, '"sequence": 8', f'"sequence": {2**63}'), UNTRUSTED, "canonical form"
    )
    yield Case("a fraction", _text(DEMAND, '"sequence": 8', '"sequence": 8.0'), UNTRUSTED, "not a demand/1 document")
    yield Case("below zero", _text(DEMAND, '"sequence": 8', '"sequence": -8'), UNTRUSTED, "is wrong")
    yield Case("half a character", _text(DEMAND, '"demo"', '"demo\\ud800"'), UNTRUSTED, "surrogates")
    yield Case(
        "half a character in bytes", _text(DEMAND, '"demo"', '"demo\ud800"'), UNTRUSTED, "invalid continuation byte"
    )
    yield Case("a letter that looks like another", _text(DEMAND, '"demo"', '"d\u0435mo"'), UNTRUSTED, "is wrong")
    yield Case("a letter in two pieces", _text(DEMAND, "g00000001", "g\u00e9"), UNTRUSTED, "is wrong")
    yield Case("a mark of byte order", lambda stage: _before(stage, b"\xef\xbb\xbf"), UNTRUSTED, "BOM")


def _before(stage: Stage, begin: bytes) -> None:
    stage.objects[DEMAND] = begin + stage.objects[DEMAND]


def _signed(key: str, **changes: Any) -> Callable[[Stage], None]:
    """Lets the pool itself sign a demand or mailbox that breaks the schema: somebody has its key, or a bug."""

    def change(stage: Stage) -> None:
        data = json.loads(stage.objects[key])
        stage.put(key, {**data, **changes})

    return change


def _signatures(value: Callable[[dict[str, str]], object]) -> Callable[[Stage], None]:
    def change(stage: Stage) -> None:
        stage.change(DEMAND, lambda data: data.update(signatures=value(data["signatures"][0])))

    return change


def _documents() -> Iterator[Case]:
    """Demands that were forged, or signed without being any."""
    yield Case(
        "signed by a stranger",
        lambda stage: stage.put(DEMAND, stage.demand().to_json(), STRANGER),
        UNTRUSTED,
        "a key we trust",
    )
    yield Case(
        "signed by the site itself",
        lambda stage: stage.put(DEMAND, stage.demand().to_json(), SITE),
        UNTRUSTED,
        "a key we trust",
    )
    yield Case("changed after it was signed", _text(DEMAND, '"north": 5', '"north": 9'), UNTRUSTED, "is wrong")
    yield Case("more than was signed", _text(DEMAND, '"pool"', '"later": 1, "pool"'), UNTRUSTED, "is wrong")
    for what, value in {
        "none": lambda _: [],
        "null": lambda _: None,
        "an object": lambda one: one,
        "a list in a list": lambda one: [[one]],
        "too many": lambda one: [one] * 9,
    }.items():
        yield Case(f"signatures: {what}", _signatures(value), UNTRUSTED, "")
    yield Case(
        "a stranger in our name",
        _signatures(lambda one: [{**one, "signature": "A" * 86 + "=="}]),
        UNTRUSTED,
        "is wrong",
    )
    yield Case(
        "a signature with a line end",
        _signatures(lambda one: [{**one, "signature": one["signature"] + "\n"}]),
        UNTRUSTED,
        "is wrong",
    )
    for key, other in (
        (DEMAND, MAILBOX),
        (MAILBOX, DEMAND),
        (KEYS, DEMAND),
        (DEMAND, KEYS),
        (MAILBOX, KEYS),
        (KEYS, MAILBOX),
    ):
        yield Case(
            f"{other} served as {key}", lambda stage, key=key, other=other: _swap(stage, key, other), UNTRUSTED, ""
        )
    yield Case(
        "a heartbeat that the pool signed",
        lambda stage: stage.put(DEMAND, stage.heartbeat().to_json()),
        UNTRUSTED,
        "not a demand/1",
    )
    yield Case("a later version", _signed(DEMAND, kind="demand/2"), UNTRUSTED, "not a demand/1")
    for what, changes in {
        "groups are an object": {"groups": {}},
        "the pool is a list": {"pool": ["demo"]},
        "no collector": {"collectors": []},
        "a collector with a quote in it": {"collectors": ['cm:9618"; rm -rf /']},
        "a collector with a line end": {"collectors": ["cm:9618\n"]},
        "a date that is none": {"generated_at": "2026-13-45T99:99:99Z"},
        "a date without a zone": {"generated_at": "2026-11-22T09:00:00"},
        "true as a number": {"sequence": True},
    }.items():
        yield Case(f"signed, but {what}", _signed(DEMAND, **changes), UNTRUSTED, "not a demand/1")
    yield Case(
        "of another pool",
        lambda stage: stage.put(DEMAND, stage.demand(pool="other").to_json()),
        UNTRUSTED,
        "of pool other",
    )


def _swap(stage: Stage, key: str, other: str) -> None:
    stage.objects[key] = stage.objects[other]


def _dated(begin: timedelta, end: timedelta, **changes: Any) -> Callable[[Stage], None]:
    def change(stage: Stage) -> None:
        times = {"generated_at": stage.now + begin, "expires_at": stage.now + end}
        stage.put(DEMAND, stage.demand(**times, **changes).to_json())

    return change


def _seen(text: str) -> Callable[[Stage], None]:
    def change(stage: Stage) -> None:
        stage.state["demand.sequence"] = text.encode()

    return change


def _times() -> Iterator[Case]:
    """Demands that the pool did sign, at another time."""
    yield Case("expired", _dated(-LIFE, timedelta(0)), UNTRUSTED, "expired at")
    yield Case("expired long ago", _dated(-400 * DAY, -399 * DAY), UNTRUSTED, "expired at")
    yield Case("held back for days", _dated(-DAY - 60 * SECOND, 99 * DAY), UNTRUSTED, "older than a day")
    yield Case("from the future", _dated(DAY, 2 * DAY), UNTRUSTED, "from the future")
    yield Case("ends before it begins", _dated(timedelta(0), -SECOND), UNTRUSTED, "ends before it begins")
    ages = {"generated_at": "0001-01-01T00:00:00Z", "expires_at": "9999-12-31T23:59:59Z"}
    yield Case("of the year one", _signed(DEMAND, **ages), UNTRUSTED, "older than a day")
    yield Case(
        "older than one that was seen",
        lambda stage: stage.put(DEMAND, stage.demand(sequence=6).to_json()),
        UNTRUSTED,
        "and 7 was seen",
    )
    yield Case("older after the highest number", _seen(f"0 {HIGHEST}\n"), UNTRUSTED, f"and {HIGHEST} was seen")
    yield Case("of keys that were replaced", _seen("1 3\n"), UNTRUSTED, "of keys' epoch 1, not 0")
    yield Case("with a memory that is damaged", _seen("?"), PERSON, "demand.sequence")


def _boxed(edit: Callable[[dict[str, Any]], object], recipient: Any = SITE.public) -> Callable[[Stage], None]:
    """Seals something else than a letter."""

    def change(stage: Stage) -> None:
        said: Any = json.loads(msgspec.json.encode(stage.letter()))
        said = edit(said) or said
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        stage.put(MAILBOX, {**stage.mailbox().to_json(), "box": seal(body, recipient)})

    return change


def _mailboxes() -> Iterator[Case]:
    """Mailboxes that hold something else, or are somebody else's."""
    yield Case(
        "a mailbox by a stranger",
        lambda stage: stage.put(MAILBOX, stage.mailbox().to_json(), STRANGER),
        UNTRUSTED,
        "a key we trust",
    )
    yield Case(
        "a mailbox by the site itself",
        lambda stage: stage.put(MAILBOX, stage.mailbox().to_json(), SITE),
        UNTRUSTED,
        "a key we trust",
    )
    yield Case(
        "another site's mailbox",
        lambda stage: stage.put(MAILBOX, _to_south(stage).to_json()),
        UNTRUSTED,
        "cannot be opened",
    )
    yield Case(
        "another site's letter, for our key",
        lambda stage: stage.put(MAILBOX, stage.mailbox(site="south").to_json()),
        UNTRUSTED,
        "letter to south",
    )
    yield Case(
        "another site's letter in our envelope",
        lambda stage: stage.put(MAILBOX, {**stage.mailbox(site="south").to_json(), "site": "north"}),
        UNTRUSTED,
        "letter to south",
    )
    yield Case(
        "an expired mailbox",
        lambda stage: stage.put(MAILBOX, stage.mailbox(expires_at=stage.now).to_json()),
        UNTRUSTED,
        "mailbox expired",
    )
    yield Case(
        "an old letter in a new envelope",
        _signed(MAILBOX, expires_at="2099-01-01T00:00:00Z"),
        UNTRUSTED,
        "end at different times",
    )
    yield Case("a box that is none", _signed(MAILBOX, box="AAAA"), UNTRUSTED, "cannot be opened")
    yield Case("a box that is no base64", _signed(MAILBOX, box="\u00e9!"), UNTRUSTED, "cannot be opened")
    yield Case("a box that is too large", _signed(MAILBOX, box="A" * 65540), UNTRUSTED, "not a mailbox/1")
    yield Case("a name that is a path", _signed(MAILBOX, site="../../north"), UNTRUSTED, "not a mailbox/1")
    yield Case("a letter that is no JSON", _boxed(lambda _: b"\xff\xfe\0"), UNTRUSTED, "letter in the mailbox")
    yield Case("a letter that is a list", _boxed(lambda _: [1]), UNTRUSTED, "letter in the mailbox")
    yield Case("a letter with deep lists", _boxed(lambda _: b"[" * 30_000), UNTRUSTED, "deeper than 32 levels")
    yield Case(
        "a letter with a key twice",
        _boxed(lambda said: json.dumps(said).encode().replace(b'"site"', b'"site": "x", "site"')),
        UNTRUSTED,
        "twice",
    )
    yield Case(
        "a letter without a zone",
        _boxed(lambda said: said.update(expires_at="2099-01-01T00:00:00")),
        UNTRUSTED,
        "unreadable",
    )
    yield Case(
        "a letter without a token", _boxed(lambda said: said.pop("pool_token") and None), UNTRUSTED, "unreadable"
    )
    yield Case(
        "a letter whose token is none",
        lambda stage: stage.put(MAILBOX, stage.mailbox(pool_token="x y").to_json()),
        UNTRUSTED,
        "is no token",
    )
    yield Case("no mailbox", lambda stage: stage.objects.pop(MAILBOX), STORE, "not there")


def _to_south(stage: Stage) -> Mailbox:
    return Mailbox.pack(stage.letter(site="south"), STRANGER.public)


def _links(make: Callable[[Stage], list[object]]) -> Callable[[Stage], None]:
    """Adds to the chain of keys."""

    def change(stage: Stage) -> None:
        stage.change(KEYS, lambda data: data["links"].extend(make(stage)))

    return change


def _keys() -> Iterator[Case]:
    """Lists of keys by which somebody would be believed who should not."""
    stolen = str(STRANGER.public)
    yield Case(
        "a link where the keys should be",
        lambda stage: _put(KEYS, encode(sign(stage.link(), POOL)))(stage),
        UNTRUSTED,
        "not a keys/1",
    )
    yield Case(
        "a next key that nobody signed", _links(lambda stage: [stage.link(current=stolen)]), UNTRUSTED, "not signed"
    )
    yield Case(
        "a next key that signed itself",
        _links(lambda stage: [sign(stage.link(current=stolen), STRANGER)]),
        UNTRUSTED,
        "a key we trust",
    )
    yield Case(
        "a next key changed after it was signed",
        _links(lambda stage: [{**sign(stage.link(), POOL), "current": stolen}]),
        UNTRUSTED,
        "is wrong",
    )
    yield Case(
        "keys of another pool", _links(lambda stage: [sign(stage.link(pool="other"), POOL)]), UNTRUSTED, "of pool other"
    )
    yield Case(
        "a new epoch that the root key did not sign",
        _links(lambda stage: [sign(stage.link(epoch=1, current=stolen), POOL, STRANGER)]),
        UNTRUSTED,
        "a key we trust",
    )
    yield Case(
        "an epoch beyond all",
        _links(lambda stage: [sign({**stage.link(), "epoch": 10**9}, ROOT)]),
        UNTRUSTED,
        "not a key-link/1",
    )
    yield Case(
        "a number as a key",
        _links(lambda stage: [sign({**stage.link(), "current": 7}, POOL)]),
        UNTRUSTED,
        "not a key-link/1",
    )
    yield Case("a text as a link", _links(lambda _: ["x"]), UNTRUSTED, "not a keys/1")
    yield Case("too many links", _links(lambda stage: [sign(stage.link(), POOL)] * 256), UNTRUSTED, "not a keys/1")
    yield Case(
        "a demand by a key that was replaced",
        _links(lambda stage: [sign(stage.link(), POOL, NEXT)]),
        UNTRUSTED,
        "a key we trust",
    )


def _answer(status: Optional[int] = None, body: Optional[bytes] = None, **headers: str) -> Callable[[Stage], None]:
    def change(stage: Stage) -> None:
        if status is not None:
            stage.statuses[DEMAND] = status
        if body is not None:
            stage.objects[DEMAND] = body
        stage.headers[DEMAND] = {name.replace("_", "-"): value for name, value in headers.items()}

    return change


def _clock(offset: timedelta, **headers: str) -> Callable[[Stage], None]:
    def change(stage: Stage) -> None:
        stage.headers[DEMAND] = {"Date": format_datetime(stage.now + offset, usegmt=True), **headers}

    return change


def _web() -> Iterator[Case]:
    """Answers of HTTP servers."""
    bomb = gzip.compress(b" " * (MAX_DOCUMENT_BYTES + 1))
    yield Case(
        "a clock that is ahead",
        _clock(timedelta(minutes=6)),
        UNTRUSTED,
        "clock and the store's differ by 3",
        is_web=True,
    )
    yield Case(
        "a clock that is behind",
        _clock(-timedelta(minutes=6)),
        UNTRUSTED,
        "clock and the store's differ by -3",
        is_web=True,
    )
    yield Case(
        "a clock of 1970", _clock(-timedelta(days=20_000)), UNTRUSTED, "clock and the store's differ", is_web=True
    )
    yield Case(
        "a cache of an absurd age", _clock(-timedelta(minutes=6), Age="9" * 20), UNTRUSTED, "differ by -3", is_web=True
    )
    yield Case(
        "a cache that does not make up for it",
        _clock(-timedelta(hours=2), Age="3000"),
        UNTRUSTED,
        "differ by -",
        is_web=True,
    )
    yield Case(
        "a login page by HTTP", _answer(body=LOGIN, Content_Type="text/html"), UNTRUSTED, "Expecting value", is_web=True
    )
    yield Case("a way to a login page", _answer(302, Location="/login"), STORE, "", is_web=True)
    yield Case("a bomb by HTTP", _answer(body=bomb, Content_Encoding="gzip"), STORE, "more than", is_web=True)
    yield Case(
        "a bomb in two layers",
        _answer(body=gzip.compress(bomb), Content_Encoding="gzip, gzip"),
        STORE,
        "not asked for",
        is_web=True,
    )
    yield Case(
        "another encoding by HTTP", _answer(body=b"x", Content_Encoding="br"), STORE, "not asked for", is_web=True
    )
    yield Case(
        "no gzip though it says so", _answer(body=b"{}", Content_Encoding="gzip"), STORE, "not gzip", is_web=True
    )
    yield Case("a length that is not true", _answer(body=b"{}", Content_Length="99"), STORE, "", is_web=True)
    yield Case("nothing changed, to who has nothing", _answer(304, body=b""), STORE, "", is_web=True)
    yield Case("the server's own error", _answer(500), STORE, "HTTP 500", is_web=True)
    yield Case("no demand", _answer(404), STORE, "not there", is_web=True)
    yield Case("forbidden", _answer(403), STORE, "not there", is_web=True)
