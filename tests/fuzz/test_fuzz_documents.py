"""Whatever is served in the place of a document: it is one, and can be written again, or it is refused."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import msgspec
import pytest
from fuzzing import fuzz, tried
from hypothesis import given
from hypothesis import strategies as st
from mutations import changed_bytes, json_bytes, texts
from pool_tokens import ENDLESS, make_token

from glidepost.schema import compression, idtoken
from glidepost.schema.demand import Demand
from glidepost.schema.document import Document, encode, parse_object
from glidepost.schema.errors import StoreError, UntrustedDocument
from glidepost.schema.heartbeat import Heartbeat
from glidepost.schema.keychain import Keychain, Link, Trust, first, last
from glidepost.schema.keys import SigningKey
from glidepost.schema.mailbox import Form, Letter, Mailbox
from glidepost.schema.sealing import seal
from glidepost.schema.signing import canonical, sign, verify
from glidepost.schema.status import Status
from glidepost.site_puller import freshness
from glidepost.site_puller.pool_token import TokenLife
from glidepost.site_puller.source import StreamSource

SCHEMA = Path(__file__).parents[2] / "schema"
NOW = datetime(2026, 11, 22, 9, tzinfo=timezone.utc)
POOL, NEXT, SITE = (SigningKey(bytes([number]) * 32) for number in (1, 2, 3))
KINDS = (Demand, Mailbox, Keychain, Link, Heartbeat, Status)
LETTER = Letter(
    "north", NOW, NOW + timedelta(days=2), Form("https://x.test", {"key": "a"}), ENDLESS, Form("https://y.test")
)
TOKENS = (ENDLESS, make_token(NOW))


def example(kind: type[Document]) -> dict[str, object]:
    return json.loads((SCHEMA / f"{kind.kind.replace('/', '-')}.example.json").read_text(encoding="utf-8"))


def refusing(read: Callable[[], object]) -> object:
    """Returns what a reader makes of it, None when it refuses in the documented way, with a hint."""
    found, error = tried(read, UntrustedDocument)
    if error is not None:
        assert error.what.strip()
        assert error.hint.strip()
        assert len(error.what) < 2000
    return found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
@given(data=st.data())
@fuzz
def test_a_document_is_one_or_is_refused(kind, data):
    body = data.draw(json_bytes([example(kind), example(kind), *map(example, KINDS)]))
    found = refusing(lambda: kind.from_json(parse_object(body, what="x")))
    if isinstance(found, kind):
        again = encode(found.to_json())
        assert kind.from_json(parse_object(again, what="x")) == found
        if isinstance(found, Demand):
            refusing(partial(freshness.refuse_stale, found, NOW))


@given(json_bytes([example(Demand), {"a": [1, 2.5, "é"]}]))
@fuzz
def test_what_has_a_canonical_form_keeps_its_signature_when_it_is_written_again(body):
    data = refusing(lambda: parse_object(body, what="x"))
    message = None if data is None else refusing(lambda: canonical(data))
    if message is not None:
        assert verify(parse_object(encode(sign(data, POOL)), what="x"), [POOL.public]) == POOL.public
        assert canonical(json.loads(message)) == message


@given(json_bytes([sign(example(Demand), POOL), sign(example(Demand), NEXT, POOL)]))
@fuzz
def test_nothing_but_what_was_signed_is_believed(body):
    data = refusing(lambda: parse_object(body, what="x"))
    if data is not None and refusing(lambda: verify(data, [POOL.public])):
        assert canonical(data) == canonical(example(Demand))


@given(json_bytes([json.loads(msgspec.json.encode(LETTER))]))
@fuzz
def test_a_letter_in_its_box_is_one_or_is_refused(body):
    mailbox = Mailbox("north", NOW, LETTER.expires_at, SITE.public.key_id, seal(body, SITE.public))
    letter = refusing(lambda: mailbox.open(SITE, site="north"))
    if letter is not None:
        assert isinstance(letter, Letter)
        assert letter.site == "north"
        assert letter.expires_at == LETTER.expires_at


@given(st.data())
@fuzz
def test_a_box_is_opened_or_refused(data):
    good = seal(b"secret", SITE.public)
    box = data.draw(texts([good]))
    mailbox = Mailbox("north", NOW, NOW, SITE.public.key_id, box)
    assert refusing(lambda: mailbox.open(SITE, site="north")) is None


CHAIN = first("demo", POOL, NEXT.public, NOW)
LONGER = CHAIN.extended(sign(Link("demo", 0, 2, NOW, str(NEXT.public)).to_json(), POOL, NEXT))


@given(json_bytes([CHAIN.to_json(), LONGER.to_json()]))
@fuzz
def test_a_chain_of_keys_leads_to_keys_that_the_pool_named_or_is_refused(body):
    chain = refusing(lambda: Keychain.from_json(parse_object(body, what="x")))
    if isinstance(chain, Keychain):
        trust = refusing(lambda: Trust((POOL.public,)).follow(chain, pool="demo"))
        if isinstance(trust, Trust):
            assert set(trust.keys) <= {POOL.public, NEXT.public}
        refusing(lambda: last(chain))


@given(st.data())
@fuzz
def test_a_stream_holds_documents_or_is_refused(data):
    written = st.one_of(*(json_bytes([example(kind)]) for kind in (Demand, Mailbox, Keychain)))
    stream = b"\n".join(data.draw(st.lists(written, max_size=4)))
    source = StreamSource("stdin", lambda: stream, site="north", folder=Path("/nonexistent"))
    with suppress(StoreError):
        source.get("v1/demand.json", now=NOW)


@given(changed_bytes(gzip.compress(b'{"a": 1}' * 100)) | st.binary(max_size=100))
@fuzz
def test_compressed_bytes_are_unpacked_to_their_bound_or_refused(body):
    with suppress(ValueError):
        assert len(compression.unpack(body, max_bytes=500)) <= 500


@given(texts(TOKENS) | st.builds("{0}.{1}.{2}".format, *[st.text(max_size=20)] * 3))
@fuzz
def test_a_token_has_claims_or_is_refused(token):
    with suppress(ValueError):
        assert isinstance(idtoken.claims(token), dict)


@given(json_bytes([{"sub": "glidein-north@pool", "iat": 1, "exp": 2**31, "scope": "condor:/READ"}]))
@fuzz
def test_the_life_of_a_token_is_known_or_it_is_refused(said):
    token = f"e30.{base64.urlsafe_b64encode(said).decode().rstrip('=')}.c2ln"
    life = refusing(lambda: TokenLife.of(token))
    if isinstance(life, TokenLife):
        life.left_s(NOW)
