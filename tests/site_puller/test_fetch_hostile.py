"""Documents that a store should not serve: forged, old, moved, too large, or nothing of the kind."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from datetime import timedelta

import pytest
from pool_tokens import ENDLESS

from glidepost.schema.document import MAX_DOCUMENT_BYTES, encode
from glidepost.schema.errors import StoreError, UntrustedDocument
from glidepost.schema.keys import SigningKey
from glidepost.schema.mailbox import Form, Letter, Mailbox
from glidepost.schema.signing import sign
from glidepost.site_puller import fetch, freshness
from glidepost.site_puller.web import WebSource

DEMAND, MAILBOX = "v1/demand.json", "v1/sites/north.json"


@pytest.fixture
def read(make_config, session, now):
    """Reads the demand as site north: read(), read(at=timedelta(hours=1), pool="demo")."""

    def run(*, at: timedelta = timedelta(0), **changes):
        config = make_config(**changes)
        source = WebSource(config.url, config.state / "documents", timeout_s=5, session=session)
        return fetch.demand(config, source, now=now + at)

    return run


@pytest.fixture
def open_letter(make_config, session, now, site_key):
    """Opens the mailbox as site north."""

    def run(*, at: timedelta = timedelta(0), **changes):
        config = make_config(**changes)
        source = WebSource(config.url, config.state / "documents", timeout_s=5, session=session)
        return fetch.letter(config, source, site_key, now=now + at)

    return run


def forged(web, key: str, **changes) -> None:
    web.objects[key] = encode({**json.loads(web.objects[key]), **changes})


def test_a_good_demand_is_believed_with_its_age(read, publish, make_group):
    demand = publish(make_group(5))
    known = read(at=timedelta(minutes=4))
    assert (known.demand, known.age_s, known.clock_skew_s) == (demand, 240, -240)


def test_no_demand_yet_is_a_store_error_and_not_an_empty_demand(read):
    with pytest.raises(StoreError, match=r"demand\.json: not there"):
        read()


def test_a_demand_that_somebody_else_signed_is_refused(read, publish):
    publish(key=SigningKey.generate())
    with pytest.raises(UntrustedDocument, match="not signed by a key we trust"):
        read()


def test_a_changed_demand_is_refused(read, publish, web, make_group):
    publish(make_group(5))
    forged(web, DEMAND, unassigned_share=100)
    with pytest.raises(UntrustedDocument, match=r"signature by key \w+ is wrong"):
        read()


@pytest.mark.parametrize("signatures", [None, [], {}, "x", [None], [{}], [{"key_id": "x"}], [[[]]] * 99])
def test_a_demand_without_a_signature_is_refused(read, publish, web, signatures):
    publish()
    forged(web, DEMAND, signatures=signatures)
    with pytest.raises(UntrustedDocument):
        read()


@pytest.mark.parametrize("signature", ["", "AAAA", "not base64!", None, 7])
def test_a_signature_of_our_key_that_is_none_is_refused(read, publish, web, pool_key, signature):
    publish()
    forged(web, DEMAND, signatures=[{"key_id": pool_key.public.key_id, "signature": signature}])
    with pytest.raises(UntrustedDocument, match="is wrong"):
        read()


def test_an_expired_demand_is_refused(read, publish, web, now):
    publish()
    web.date = now + timedelta(minutes=30) - timedelta(seconds=1)
    assert read(at=timedelta(minutes=30) - timedelta(seconds=1)).age_s == 1799
    web.date = now + timedelta(minutes=30)
    with pytest.raises(UntrustedDocument, match="expired"):
        read(at=timedelta(minutes=30))


def test_an_older_demand_than_one_that_was_seen_is_refused(read, publish, make_config):
    publish(sequence=7)
    known = read()
    freshness.remember(make_config().state, known.demand, known.epoch)
    assert read().demand.sequence == 7
    publish(sequence=6)
    with pytest.raises(UntrustedDocument, match="sequence 6, and 7 was seen"):
        read()


def test_a_demand_from_the_future_is_refused(read, publish, now):
    publish(at=now + timedelta(minutes=5))
    assert read().age_s == -300
    publish(at=now + timedelta(minutes=5, seconds=1))
    with pytest.raises(UntrustedDocument, match="from the future"):
        read()


def test_the_demand_of_another_pool_is_refused(read, publish):
    publish(pool="other")
    assert read().demand.pool == "other"
    with pytest.raises(UntrustedDocument, match="is of pool other, not demo"):
        read(pool="demo")


@pytest.mark.parametrize(("seconds", "is_believed"), [(300, True), (301, False), (-300, True), (-301, False)])
def test_a_clock_that_is_wrong_by_more_than_five_minutes_is_refused(read, publish, web, now, seconds, is_believed):
    publish()
    web.date = now + timedelta(seconds=seconds)
    if is_believed:
        assert read().clock_skew_s == seconds
        return
    with pytest.raises(UntrustedDocument, match=f"differ by {seconds} s") as caught:
        read()
    assert "clock" in caught.value.hint


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"<html>login</html>",
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"n": NaN, "signatures": [{}]}',
        b'{"n": 123456789012345678901234567890, "signatures": [{}]}',
        b'{"t": "\\ud800", "signatures": [{}]}',
        b'{"signatures": [{"key_id": [], "signature": {}}]}',
    ],
    ids=range(12),
)
def test_something_else_is_refused(read, web, body):
    web.objects[DEMAND] = body
    with pytest.raises(UntrustedDocument):
        read()


@pytest.mark.parametrize("changes", [{"kind": "demand/2"}, {"groups": {}}, {"sequence": -1}, {"sequence": 1.5}])
def test_a_signed_document_that_breaks_its_schema_is_refused(read, publish, web, pool_key, changes):
    data = {**publish().to_json(), **changes}
    web.objects[DEMAND] = encode(sign(data, pool_key))
    with pytest.raises(UntrustedDocument, match="not a demand/1 document"):
        read()


def test_a_signed_mailbox_is_no_demand(read, publish, web):
    publish()
    web.objects[DEMAND] = web.objects[MAILBOX]
    with pytest.raises(UntrustedDocument, match="not a demand/1 document"):
        read()


def test_a_document_that_is_too_large_is_not_read_to_its_end(read, web):
    web.objects[DEMAND] = b" " * (MAX_DOCUMENT_BYTES + 200_000)
    with pytest.raises(StoreError, match=f"more than {MAX_DOCUMENT_BYTES} bytes"):
        read()


def test_a_small_answer_that_unpacks_to_a_large_one_is_not_read_to_its_end(read, web):
    body = gzip.compress(b" " * (MAX_DOCUMENT_BYTES * 4))
    web.answers[DEMAND] = lambda handler: handler.answer(200, body, Content_Encoding="gzip")
    with pytest.raises(StoreError, match="more than"):
        read()


BOMB = gzip.compress(b" " * (MAX_DOCUMENT_BYTES + 1))


@pytest.mark.parametrize(
    ("encoding", "body", "why"),
    [
        ("gzip", BOMB, f"more than {MAX_DOCUMENT_BYTES} bytes"),
        ("gzip", gzip.compress(BOMB) + BOMB, "something stands behind it"),
        ("gzip", gzip.compress(b"{}")[:-3], "was cut"),
        ("gzip", b"{}", "not gzip"),
        ("gzip", b"", "was cut"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"{}")), "'gzip, gzip', which was not asked for"),
        ("deflate", zlib.compress(b"{}"), "'deflate', which was not asked for"),
        ("br", b"{}", "'br', which was not asked for"),
    ],
)
def test_an_encoding_that_is_none_of_ours_is_refused_and_not_kept(read, web, make_config, encoding, body, why):
    web.objects[DEMAND], web.encodings[DEMAND] = body, encoding
    with pytest.raises(StoreError, match=why):
        read()
    assert not (make_config().state / "documents").exists()


def test_a_bomb_takes_no_more_memory_than_the_largest_document(read, web):
    web.objects[DEMAND], web.encodings[DEMAND] = gzip.compress(b"\0" * 50 * MAX_DOCUMENT_BYTES), "gzip"
    tracemalloc.start()
    with pytest.raises(StoreError, match="more than"):
        read()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * MAX_DOCUMENT_BYTES


def test_a_compressed_transfer_that_was_cut_is_an_error_and_not_kept(read, web, make_config):
    body = gzip.compress(b"{}" * 1000)
    web.answers[DEMAND] = lambda handler: handler.answer(
        200, body[:20], Content_Length=str(len(body)), Content_Encoding="gzip"
    )
    with pytest.raises(StoreError):
        read()
    assert not (make_config().state / "documents").exists()


def test_a_compressed_demand_is_verified_as_it_was_signed(read, publish, web, make_group):
    demand = publish(make_group(5))
    web.objects[DEMAND], web.encodings[DEMAND] = gzip.compress(web.objects[DEMAND]), "gzip"
    assert read().demand == demand
    web.objects[DEMAND] = gzip.compress(gzip.decompress(web.objects[DEMAND]).replace(b"5", b"6", 1))
    with pytest.raises(UntrustedDocument):
        read()


def test_what_was_refused_is_not_confirmed_by_a_304(read, publish, web):
    """A login page with an ETag, or a disk that lost some bytes, must not keep the real document away."""
    publish()
    read()
    kept = web.objects[DEMAND]
    web.objects[DEMAND] = b"<html>"
    with pytest.raises(UntrustedDocument):
        read()
    with pytest.raises(UntrustedDocument):
        read()
    assert [status for key, status in web.gets if key == DEMAND] == [200, 200, 200]
    web.objects[DEMAND] = kept
    assert read()


def test_a_kept_copy_that_was_damaged_heals_itself(read, publish, make_config):
    publish()
    read()
    (make_config().state / "documents" / "v1-demand.json").write_bytes(b"\x00")
    with pytest.raises(UntrustedDocument):
        read()
    assert read()


def test_what_was_refused_does_not_take_the_place_of_what_was_believed(read, publish, make_config):
    publish()
    read()
    believed = (make_config().state / "documents" / "v1-demand.json").read_bytes()
    publish(key=SigningKey.generate())
    with pytest.raises(UntrustedDocument):
        read()
    assert (make_config().state / "documents" / "v1-demand.json").read_bytes() == believed


# The mailbox


def put_mailbox(web, pool_key, recipient, now, *, site="north", moved_to=None, life=timedelta(hours=48)) -> None:
    letter = Letter(site, now, now + life, Form("http://127.0.0.1/form", {"key": "x"}), "a.b.c")
    data = {**Mailbox.pack(letter, recipient).to_json(), **({"site": moved_to} if moved_to else {})}
    web.objects[MAILBOX] = encode(sign(data, pool_key))


def test_the_letter_is_opened(open_letter, publish):
    publish()
    assert open_letter().pool_token == ENDLESS


def test_a_site_without_a_mailbox_is_told_how_to_enrol(open_letter):
    with pytest.raises(StoreError, match="not there") as caught:
        open_letter()
    assert "glidepost keys show" in caught.value.hint
    assert "--site north" in caught.value.hint


def test_a_mailbox_that_the_pool_did_not_sign_is_refused(open_letter, web, site_key, now):
    put_mailbox(web, SigningKey.generate(), site_key.public, now)
    with pytest.raises(UntrustedDocument, match="not signed"):
        open_letter()


def test_an_expired_mailbox_is_refused(open_letter, web, pool_key, site_key, now):
    put_mailbox(web, pool_key, site_key.public, now, life=timedelta(hours=1))
    with pytest.raises(UntrustedDocument, match="mailbox expired"):
        open_letter(at=timedelta(hours=1))


def test_the_mailbox_of_another_site_is_refused(open_letter, web, pool_key, site_key, now):
    put_mailbox(web, pool_key, site_key.public, now, site="south")
    with pytest.raises(UntrustedDocument, match="letter to south"):
        open_letter()
    put_mailbox(web, pool_key, site_key.public, now, site="south", moved_to="north")
    with pytest.raises(UntrustedDocument, match="letter to south"):
        open_letter()


def test_a_mailbox_for_another_key_is_refused(open_letter, web, pool_key, now):
    put_mailbox(web, pool_key, SigningKey.generate().public, now)
    with pytest.raises(UntrustedDocument, match="cannot be opened"):
        open_letter()


def test_the_demand_is_no_mailbox(open_letter, publish, web):
    publish()
    web.objects[MAILBOX] = web.objects[DEMAND]
    with pytest.raises(UntrustedDocument, match="not a mailbox/1 document"):
        open_letter()
