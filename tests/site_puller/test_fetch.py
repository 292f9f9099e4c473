from __future__ import annotations

import gzip
import time
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glidepost.schema.errors import ConfigError, StoreError
from glidepost.site_puller import fetch
from glidepost.site_puller.fetch import Reader

KEY = "v1/demand.json"
LONG = b'{"kind": "demand/1"}' * 10_000


@pytest.fixture
def reader(web, tmp_path, session):
    return Reader(web.url, tmp_path / "documents", timeout_s=5, session=session)


def test_an_object_is_fetched_and_kept(reader, web, now, tmp_path):
    web.objects[KEY] = b"{}"
    fetched = reader.get(KEY, now=now)
    assert (fetched.body, fetched.is_new, fetched.clock_skew_s) == (b"{}", True, 0)
    assert (tmp_path / "documents" / "v1-demand.json").read_bytes() == b"{}"


def test_an_unchanged_object_is_not_sent_again(reader, web, now):
    web.objects[KEY] = b"{}"
    reader.get(KEY, now=now)
    fetched = reader.get(KEY, now=now)
    assert (fetched.body, fetched.is_new) == (b"{}", False)
    assert web.gets == [(KEY, 200), (KEY, 304)]


def test_a_changed_object_is_sent(reader, web, now):
    web.objects[KEY] = b"1"
    reader.get(KEY, now=now)
    web.objects[KEY] = b"2"
    assert reader.get(KEY, now=now).body == b"2"


def test_the_next_run_knows_what_this_one_kept(web, tmp_path, session, now):
    web.objects[KEY] = b"1"
    for _ in range(2):
        Reader(web.url, tmp_path / "documents", timeout_s=5, session=session).get(KEY, now=now)
    assert [status for _, status in web.gets] == [200, 304]


def test_what_was_kept_from_another_url_is_not_used(web, tmp_path, session, now):
    web.objects.update({KEY: b"1", f"other/{KEY}": b"1"})
    for url in (web.url, f"{web.url}/other"):
        Reader(url, tmp_path / "documents", timeout_s=5, session=session).get(KEY, now=now)
    assert [status for _, status in web.gets] == [200, 200]


@pytest.mark.parametrize("damage", ["", "{", "[]", "\udcff", '{"url": 1}'])
def test_a_damaged_note_of_what_was_kept_costs_a_full_answer_only(reader, web, now, tmp_path, damage):
    web.objects[KEY] = b"1"
    reader.get(KEY, now=now)
    (tmp_path / "documents" / "v1-demand.etag").write_bytes(damage.encode(errors="surrogateescape"))
    assert reader.get(KEY, now=now).body == b"1"
    assert web.gets == [(KEY, 200), (KEY, 200)]


def test_a_lost_copy_is_fetched_again(reader, web, now, tmp_path):
    web.objects[KEY] = b"1"
    reader.get(KEY, now=now)
    (tmp_path / "documents" / "v1-demand.json").unlink()
    assert reader.get(KEY, now=now).body == b"1"


def test_what_was_forgotten_is_fetched_again(reader, web, now):
    web.objects[KEY] = b"1"
    reader.get(KEY, now=now)
    reader.forget(KEY)
    reader.get(KEY, now=now)
    assert [status for _, status in web.gets] == [200, 200]


@pytest.mark.parametrize("status", [403, 404])
def test_an_object_that_is_not_there_is_none(reader, web, now, status):
    web.answers[KEY] = lambda handler: handler.answer(status, b"<Error>")
    assert reader.get(KEY, now=now) is None


def test_an_object_that_is_there_no_more_is_none_though_it_was_kept(reader, web, now):
    web.objects[KEY] = b"1"
    reader.get(KEY, now=now)
    del web.objects[KEY]
    assert reader.get(KEY, now=now) is None


@pytest.mark.parametrize("status", [204, 304, 400, 429, 500, 503])
def test_any_other_answer_is_an_error(reader, web, now, status):
    web.answers[KEY] = lambda handler: handler.answer(status)
    with pytest.raises(StoreError, match=f"{KEY}: HTTP {status}"):
        reader.get(KEY, now=now)


def test_a_store_that_cannot_be_reached_is_an_error_with_what_to_try(tmp_path, session, now):
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1/v1") as caught:
        Reader("http://127.0.0.1:1", tmp_path, timeout_s=5, session=session).get(KEY, now=now)
    assert "curl" in caught.value.hint


def test_a_store_that_does_not_answer_in_time_is_an_error(web, tmp_path, session, now):
    web.answers[KEY] = lambda _: time.sleep(2)
    with pytest.raises(StoreError, match="timed out"):
        Reader(web.url, tmp_path, timeout_s=0.3, session=session).get(KEY, now=now)


def test_a_transfer_that_was_cut_is_an_error_and_not_kept(reader, web, now, tmp_path):
    web.answers[KEY] = lambda handler: handler.answer(200, b"half", Content_Length="100", ETag='"x"')
    with pytest.raises(StoreError):
        reader.get(KEY, now=now)
    assert not (tmp_path / "documents").exists()


def test_a_compressed_object_is_kept_unpacked_and_not_sent_again(reader, web, now, tmp_path):
    web.objects[KEY], web.encodings[KEY] = gzip.compress(LONG), "gzip"
    assert reader.get(KEY, now=now).body == LONG
    assert (tmp_path / "documents" / "v1-demand.json").read_bytes() == LONG
    assert (reader.get(KEY, now=now).body, web.gets) == (LONG, [(KEY, 200), (KEY, 304)])


def test_an_object_that_is_no_longer_compressed_is_read(reader, web, now):
    web.objects[KEY], web.encodings[KEY] = gzip.compress(LONG), "gzip"
    reader.get(KEY, now=now)
    web.objects[KEY] = b"{}"
    del web.encodings[KEY]
    assert reader.get(KEY, now=now).body == b"{}"


def test_a_store_may_name_no_encoding_by_its_name(reader, web, now):
    web.objects[KEY], web.encodings[KEY] = b"{}", "identity"
    assert reader.get(KEY, now=now).body == b"{}"


def test_a_compressed_object_in_chunks_without_a_length_is_read(reader, web, now):
    body = gzip.compress(LONG)

    def send(handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.send_header("Content-Encoding", "GZIP")
        handler.end_headers()
        for chunk in (body[:100], body[100:], b""):
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))

    web.answers[KEY] = send
    assert reader.get(KEY, now=now).body == LONG


@pytest.mark.parametrize("seconds", [-7200, -1, 0, 299, 7200])
def test_the_stores_clock_is_compared_with_ours(reader, web, now, seconds):
    web.objects[KEY] = b"1"
    web.date = now + timedelta(seconds=seconds)
    assert reader.get(KEY, now=now).clock_skew_s == seconds


@pytest.mark.parametrize(
    "date",
    [
        None,
        "",
        "yesterday",
        "Sun, 22 Nov 2026 09:00:00 -0000",
        "Sun, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Sun, 01 Jan 2020 00:00:00 +99999999999999999999",
        "Sun, 99 Jan 2020 99:00:00 GMT",
    ],
)
def test_a_store_that_does_not_say_its_time_is_believed(now, date):
    assert fetch._skew(date, now) is None


@given(st.text(max_size=60))
@settings(max_examples=150, deadline=None)
def test_no_date_header_ends_a_cycle(text):
    fetch._skew(text, datetime(2026, 11, 22, tzinfo=timezone.utc))


def test_the_highest_sequence_is_remembered(tmp_path, make_demand):
    file = tmp_path / "state" / "demand.sequence"
    assert fetch.read_sequence(file) == 0
    fetch.remember_sequence(file, make_demand(sequence=918))
    assert fetch.read_sequence(file) == 918


@pytest.mark.parametrize("text", ["", "x", "1.5", "\udcff"])
def test_a_damaged_memory_of_the_sequence_is_an_error_for_a_person(tmp_path, text):
    file = tmp_path / "demand.sequence"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError, match=r"demand\.sequence"):
        fetch.read_sequence(file)
