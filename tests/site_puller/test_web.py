from __future__ import annotations

import gzip
import threading
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from glidepost.schema.errors import StoreError
from glidepost.site_puller import web as web_module
from glidepost.site_puller.web import Session, WebSource

KEY = "v1/demand.json"
LONG = b'{"kind": "demand/1"}' * 10_000


class Believing(WebSource):
    """Keeps whatever comes, as the puller does with what it could verify."""

    def get(self, key, *, now):
        fetched = super().get(key, now=now)
        if fetched:
            self.keep(key, fetched)
        return fetched


@pytest.fixture
def reader(web, tmp_path, session):
    return Believing(web.url, tmp_path / "documents", timeout_s=5, session=session)


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
        Believing(web.url, tmp_path / "documents", timeout_s=5, session=session).get(KEY, now=now)
    assert [status for _, status in web.gets] == [200, 304]


def test_what_was_kept_from_another_url_is_not_used(web, tmp_path, session, now):
    web.objects.update({KEY: b"1", f"other/{KEY}": b"1"})
    for url in (web.url, f"{web.url}/other"):
        Believing(url, tmp_path / "documents", timeout_s=5, session=session).get(KEY, now=now)
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
        Believing("http://127.0.0.1:1", tmp_path, timeout_s=5, session=session).get(KEY, now=now)
    assert "curl" in caught.value.hint


def test_a_store_that_does_not_answer_in_time_is_an_error(web, tmp_path, session, now):
    web.answers[KEY] = lambda _: time.sleep(2)
    with pytest.raises(StoreError, match="timed out"):
        Believing(web.url, tmp_path, timeout_s=0.3, session=session).get(KEY, now=now)


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
    assert web_module._skew({} if date is None else {"Date": date}, now) is None


@given(st.text(max_size=60), st.text(max_size=12) | st.integers().map(str))
@settings(max_examples=150, deadline=None)
def test_no_header_of_a_date_or_an_age_ends_a_cycle(date, age):
    for said in (date, "Sun, 22 Nov 2026 09:00:00 GMT"):
        web_module._skew({"Date": said, "Age": age}, datetime(2026, 11, 22, tzinfo=timezone.utc))


@pytest.mark.parametrize(
    ("behind_s", "age", "skew_s"),
    [
        (3600, "3600", 0),  # the store's own date, an hour in a cache
        (3600, "3500", -100),
        (0, "3600", 0),  # a cache that gives the date of now
        (-600, "3600", 600),  # our clock is behind, in whichever way the cache dates
        (90_000, "3600", -86_400),
        (600, "86401", -600),  # absurd: a day is the most
        (600, "-600", -600),
        (600, "600, 600", -600),
        (600, "6e2", -600),
        (600, "²", -600),
        (600, "9" * 9999, -600),
        (600, "", -600),
    ],
)
def test_a_cache_in_between_is_no_wrong_clock(now, behind_s, age, skew_s):
    headers = {"Date": format_datetime(now - timedelta(seconds=behind_s), usegmt=True), "Age": age}
    assert web_module._skew(headers, now) == skew_s


def test_what_a_cache_has_had_for_an_hour_is_read_with_the_stores_time(reader, web, now):
    web.date = now - timedelta(hours=1)
    web.answers[KEY] = lambda handler: handler.answer(200, b"1", Age="3600")
    fetched = reader.get(KEY, now=now)
    assert (fetched.body, fetched.clock_skew_s) == (b"1", 0)


# Servers that never end


def drip(handler, *, head: bytes, forever: bytes = b"x") -> None:
    """Sends one byte at a time, each well within the time-out, until the other side hangs up."""
    handler.wfile.write(head)
    try:
        while True:
            handler.wfile.write(forever)
            time.sleep(0.05)
    except OSError:
        hung_up.set()


hung_up = threading.Event()


@pytest.fixture
def impatient(web, tmp_path, session, monkeypatch):
    """Its limit of a whole request, which is PATIENCE time-outs, comes before that between two bytes."""
    assert web_module.PATIENCE == 4
    monkeypatch.setattr(web_module, "PATIENCE", 1)
    hung_up.clear()
    return WebSource(web.url, tmp_path / "documents", timeout_s=2, session=session)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
    ids=["status", "headers", "body", "chunk", "body without length"],
)
def test_a_store_that_sends_a_byte_now_and_then_is_left_after_four_time_outs(impatient, web, now, head, tmp_path):
    web.answers[KEY] = lambda handler: drip(handler, head=head)
    began = time.monotonic()
    with pytest.raises(StoreError, match=r"v1/demand\.json: not done within 2 s"):
        impatient.get(KEY, now=now)
    assert 1.9 < time.monotonic() - began < 30
    assert hung_up.wait(60), "the connection is still open"
    assert not (tmp_path / "documents").exists()


def test_the_next_request_after_that_is_answered(impatient, web, now):
    web.answers[KEY] = lambda handler: drip(handler, head=b"HTTP/1.1 200 OK\r\n\r\n")
    with pytest.raises(StoreError):
        impatient.get(KEY, now=now)
    web.objects["v1/sites/north.json"] = b"{}"
    assert impatient.get("v1/sites/north.json", now=now).body == b"{}"


def test_without_a_clock_that_rings_a_store_that_says_nothing_is_left_all_the_same(web, tmp_path, session, now):
    """Off the main thread there are no signals; the time-out between two bytes still holds."""
    web.answers[KEY] = lambda _: time.sleep(2)
    source = WebSource(web.url, tmp_path, timeout_s=0.2, session=session)
    caught: list[Exception] = []

    def run() -> None:
        try:
            source.get(KEY, now=now)
        except StoreError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert "timed out" in str(caught[0])


# Proxies, certificates, passwords


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """An environment without any of the variables that requests reads, and with these: environment(no_proxy="*")."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle", "curl_ca_bundle", "netrc"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    def put(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.fixture
def proxy(web):
    """The web server as a proxy: what it is asked for is a whole URL."""
    web.objects["http://store.invalid/v1/demand.json"] = b"by way of the proxy"
    return web.url


def test_the_proxy_of_the_configuration_is_used(proxy, environment, tmp_path, now):
    environment(http_proxy="http://127.0.0.1:1", no_proxy="*")
    source = WebSource("http://store.invalid", tmp_path / "d", timeout_s=5, session=Session(proxy))
    assert source.get(KEY, now=now).body == b"by way of the proxy"


def test_without_one_the_environment_says_which(proxy, environment, tmp_path, now):
    environment(http_proxy=proxy)
    source = WebSource("http://store.invalid", tmp_path / "d", timeout_s=5, session=Session())
    assert source.get(KEY, now=now).body == b"by way of the proxy"


def test_and_for_which_hosts_there_is_none(web, environment, tmp_path, now):
    environment(http_proxy="http://127.0.0.1:1", no_proxy="localhost,127.0.0.1")
    web.objects[KEY] = b"straight"
    assert WebSource(web.url, tmp_path / "d", timeout_s=5, session=Session()).get(KEY, now=now).body == b"straight"


def test_a_proxy_that_is_none_is_an_error_that_names_the_store(environment, tmp_path, now):
    environment(https_proxy="socks9://nowhere")
    with pytest.raises(StoreError, match=r"store\.invalid"):
        WebSource("https://store.invalid", tmp_path, timeout_s=1, session=Session()).get(KEY, now=now)


def test_passwords_of_the_account_are_not_sent(web, environment, tmp_path, now):
    (tmp_path / ".netrc").write_text("default login me password secret\n", encoding="utf-8")
    environment(NETRC=str(tmp_path / ".netrc"))
    seen: list[str] = []

    def look(handler) -> None:
        seen.append(str(handler.headers))
        handler.answer(200, b"{}")

    web.answers[KEY] = look
    WebSource(web.url, tmp_path / "d", timeout_s=5, session=Session()).get(KEY, now=now)
    assert "Authorization" not in seen[0]
    with requests.Session() as plain:  # and this is what they would have been
        plain.get(f"{web.url}/{KEY}", timeout=5)
    assert "Authorization" in seen[1]


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_are_those_that_the_environment_names_if_they_are_there(name, tmp_path, caplog):
    bundle = tmp_path / "ca.pem"
    assert Session("", {name: str(bundle)}).verify is True
    assert "ca.pem" in caplog.text
    bundle.write_text("", encoding="utf-8")
    assert Session("", {name: str(bundle)}).verify == str(bundle)


def test_certificates_that_are_none_are_an_error_and_no_reason_to_trust(tmp_path, now):
    bundle = tmp_path / "ca.pem"
    bundle.write_text("nonsense", encoding="utf-8")
    session = Session("", {"REQUESTS_CA_BUNDLE": str(bundle)})
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1/v1"):
        WebSource("https://127.0.0.1:1", tmp_path, timeout_s=1, session=session).get(KEY, now=now)
