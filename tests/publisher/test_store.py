from __future__ import annotations

import gzip
import socket

import boto3
import botocore.config
import pytest

from glidepost.publisher.store import S3Store
from glidepost.schema.document import MAX_DOCUMENT_BYTES
from glidepost.schema.errors import ConfigError, StoreError, UntrustedDocument
from glidepost.schema.publisher_config import StoreSettings

OFFLINE = StoreSettings("glidepost", "https://store.example.org", endpoint="http://127.0.0.1:1")
INI = "[default]\naws_access_key_id = key-from-file\naws_secret_access_key = secret-from-file\n"


@pytest.fixture
def credentials(tmp_path):
    file = tmp_path / "store.ini"
    file.write_text(INI, encoding="utf-8")
    file.chmod(0o600)
    return file


def settings(**changes) -> StoreSettings:
    return StoreSettings(**{**vars(OFFLINE), **{key: str(value) for key, value in changes.items()}})


def test_what_was_written_is_read_and_listed(store):
    store.put("v1/b", b"2", content_type="text/plain", cache_seconds=5)
    store.put("v1/a", b"1", content_type="text/plain", cache_seconds=5)
    assert (store.get("v1/a"), store.get("v1/none")) == (b"1", None)
    assert store.list("v1/") == ["v1/a", "v1/b"]


@pytest.mark.parametrize("compress_above", [None, 0])
def test_an_object_is_read_with_the_etag_that_the_list_says(store, compress_above):
    for body in (b"1", b"2"):
        store.put("v1/a", body, content_type="text/plain", cache_seconds=5, compress_above=compress_above)
        found = store.fetch("v1/a")
        assert (found.body, found.etag) == (body, store.entries("v1/a")[0].etag)
    assert store.fetch("v1/none") is None


def test_a_key_exists_only_whole(store):
    store.put("v1/ab", b"1", content_type="text/plain", cache_seconds=5)
    assert [store.exists(key) for key in ("v1/ab", "v1/a", "v1/")] == [True, False, False]


def test_what_was_removed_is_gone_and_may_be_removed_again(store):
    store.put("v1/a", b"1", content_type="text/plain", cache_seconds=5)
    for _ in range(2):
        store.delete("v1/a")
        assert store.get("v1/a") is None


@pytest.mark.parametrize(("size", "encoding"), [(100, None), (101, "gzip")])
def test_what_is_longer_than_a_bound_is_compressed(store, aws, size, encoding):
    store.put("v1/a", b"x" * size, content_type="text/plain", cache_seconds=5, compress_above=100)
    assert aws.head_object(Bucket="glidepost", Key="v1/a").get("ContentEncoding") == encoding
    assert store.get("v1/a") == b"x" * size


def test_a_tarball_is_no_encoding(store):
    store.put("v1/a.tar.gz", gzip.compress(b"x"), content_type="application/gzip", cache_seconds=5)
    assert store.get("v1/a.tar.gz") == gzip.compress(b"x")


@pytest.mark.parametrize(
    ("body", "encoding", "why"),
    [
        (gzip.compress(b"x" * (MAX_DOCUMENT_BYTES + 1)), "gzip", "more than 8388608 bytes when unpacked"),
        (b"x" * (MAX_DOCUMENT_BYTES + 1), "", "8388609 bytes, more than"),
        (b"{}", "gzip", "not gzip"),
        (gzip.compress(b"{}")[:-1], "gzip", "was cut"),
    ],
)
def test_what_is_too_large_or_badly_packed_is_refused(store, aws, body, encoding, why):
    aws.put_object(Bucket="glidepost", Key="v1/a", Body=body, ContentEncoding=encoding)
    with pytest.raises(UntrustedDocument, match=f"v1/a: .*{why}"):
        store.get("v1/a")


def test_a_missing_bucket_is_a_store_error_with_the_key(aws):
    store = S3Store(aws, "no-such-bucket", "p/")
    for action in (
        lambda: store.get("v1/demand.json"),
        lambda: store.put("v1/demand.json", b"", content_type="text/plain", cache_seconds=0),
        lambda: store.list("v1/demand.json"),
        lambda: store.exists("v1/demand.json"),
    ):
        with pytest.raises(StoreError, match=r"no-such-bucket/p/v1/demand\.json.*NoSuchBucket"):
            action()


def test_an_unreachable_store_is_a_store_error_with_the_key():
    client = boto3.client(
        "s3",
        region_name="us-east-1",
        endpoint_url="http://127.0.0.1:1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=botocore.config.Config(retries={"total_max_attempts": 1}),
    )
    with pytest.raises(StoreError, match=r"GET glidepost/v1/demand\.json.*127\.0\.0\.1:1") as caught:
        S3Store(client, "glidepost").get("v1/demand.json")
    assert "endpoint" in caught.value.hint


def test_missing_credentials_are_a_config_error(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="no credentials"):
        S3Store.from_settings(OFFLINE).get("v1/demand.json")


def test_the_credentials_file_is_used_whatever_the_environment_says(monkeypatch, credentials):
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-from-environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-from-environment")
    store = S3Store.from_settings(settings(credentials=credentials))
    form = store.forms.upload("v1/x", content_type="text/plain", max_bytes=10, life_s=60)
    assert form.url == "http://127.0.0.1:1/glidepost"
    assert form.fields["x-amz-credential"].startswith("key-from-file/")
    assert "secret-from-file" not in str(form.fields)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644])
def test_credentials_that_others_can_read_are_refused(credentials, mode):
    credentials.chmod(mode)
    with pytest.raises(ConfigError, match="can be read by others") as caught:
        S3Store.from_settings(settings(credentials=credentials))
    assert caught.value.hint == f"chmod 600 {credentials}"


def test_missing_credentials_files_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="is missing"):
        S3Store.from_settings(settings(credentials=tmp_path / "none.ini"))


def test_a_credentials_file_that_is_none_is_refused(credentials, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    credentials.write_text("key = without a section\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"\[store\]"):
        S3Store.from_settings(settings(credentials=credentials))


def test_a_credentials_file_without_keys_is_refused(credentials, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "other")
    with pytest.raises(ConfigError, match="has no keys of profile other"):
        S3Store.from_settings(settings(credentials=credentials))


def test_a_profile_that_does_not_exist_is_a_config_error(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    with pytest.raises(ConfigError, match="no-such-profile"):
        S3Store.from_settings(OFFLINE)


@pytest.mark.parametrize(("key", "value"), [("endpoint", "not a url"), ("region", "no region!")])
def test_an_endpoint_or_region_that_cannot_be_meant_is_a_config_error(key, value):
    with pytest.raises(ConfigError, match=r"\[store\]"):
        S3Store.from_settings(settings(**{key: value}))


def test_making_a_store_opens_no_connection(credentials, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it connects"))
    S3Store.from_settings(settings(credentials=credentials, endpoint="http://192.0.2.1"))
