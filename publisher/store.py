"""The object store: any that speaks S3, as the publisher reads and writes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Optional, TypeVar

from glidepost.schema import compression
from glidepost.schema.document import MAX_DOCUMENT_BYTES
from glidepost.schema.errors import UntrustedDocument
from glidepost.schema.publisher_config import StoreSettings

from . import s3
from .forms import Forms

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CopySourceTypeDef, PutObjectRequestTypeDef

# An S3 store gives an object as it was written, whatever the reader accepts. What is small stays readable for a plain
# `curl | jq`; beyond this many bytes it takes `curl --compressed`.
COMPRESS_ABOVE: Final = 64 * 1024

T = TypeVar("T")


@dataclass(frozen=True)
class Listed:
    """An object in a list. Its `etag` changes with its content, whoever writes it."""

    key: str
    etag: str
    size_bytes: int


@dataclass(frozen=True)
class Fetched:
    """An object as it was read, unpacked. Its `etag` is empty when the store gave none."""

    body: bytes
    etag: str


class S3Store:
    """One bucket, below one prefix. Every failure is a StoreError that says which key.

    `forms` are what sites may write; without any given they are signed by the store's own client.
    """

    def __init__(self, client: S3Client, bucket: str, prefix: str = "", forms: Optional[Forms] = None) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        own = StoreSettings(bucket=bucket, public_url="", prefix=prefix)
        self.forms = forms or Forms(lambda: s3.Connection(client), own)

    @classmethod
    def from_settings(cls, settings: StoreSettings) -> S3Store:
        """Returns the store of publisher.toml. Opens no connection yet.

        Raises:
            ConfigError: when the credentials file is missing or can be read by others.
        """
        own = s3.connect(settings, settings.credentials, "credentials")

        def connect() -> s3.Connection:
            if not settings.forms_credentials:
                return own
            return s3.connect(settings, settings.forms_credentials, "forms_credentials")

        return cls(own.client, settings.bucket, settings.prefix, Forms(connect, settings))

    @property
    def bucket_url(self) -> str:
        """The bucket's address at the store itself."""
        url: str = self._client.generate_presigned_post(self._bucket, "any")["url"]
        return url.rstrip("/")

    def get(self, key: str, *, max_bytes: int = MAX_DOCUMENT_BYTES) -> Optional[bytes]:
        """Returns an object's bytes, unpacked, None when there is none under this key.

        Raises:
            UntrustedDocument: when it is larger than `max_bytes`, packed or not, or says gzip and is none.
        """
        found = self.fetch(key, max_bytes=max_bytes)
        return None if found is None else found.body

    def fetch(self, key: str, *, max_bytes: int = MAX_DOCUMENT_BYTES) -> Optional[Fetched]:
        """Returns an object as `get` does, with its ETag.

        Raises:
            UntrustedDocument: when it is larger than `max_bytes`, packed or not, or says gzip and is none.
        """

        def read() -> Optional[tuple[Fetched, str]]:
            try:
                found = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
            except self._client.exceptions.NoSuchKey:
                return None
            if found["ContentLength"] > max_bytes:
                found["Body"].close()
                raise _untrusted(key, f"{found['ContentLength']} bytes, more than {max_bytes}")
            return Fetched(found["Body"].read(), found.get("ETag", "")), found.get("ContentEncoding", "")

        answer = self._try("GET", key, read)
        if answer is None or answer[1] != compression.ENCODING:
            return None if answer is None else answer[0]
        try:
            return Fetched(compression.unpack(answer[0].body, max_bytes=max_bytes), answer[0].etag)
        except ValueError as error:
            raise _untrusted(key, str(error)) from error

    def exists(self, key: str) -> bool:
        """Returns whether there is an object under this key."""
        return key in self.list(key)

    def put(
        self, key: str, body: bytes, *, content_type: str, cache_seconds: int, compress_above: Optional[int] = None
    ) -> None:
        """Writes an object, which caches may keep for `cache_seconds`; gzip, if longer than `compress_above` bytes."""
        request: PutObjectRequestTypeDef = {
            "Bucket": self._bucket,
            "Key": self._prefix + key,
            "Body": body,
            "ContentType": content_type,
            "CacheControl": f"max-age={cache_seconds}",
        }
        if compress_above is not None and len(body) > compress_above:
            request["Body"] = compression.pack(body)
            request["ContentEncoding"] = compression.ENCODING
        self._try("PUT", key, lambda: self._client.put_object(**request))

    def delete(self, key: str) -> None:
        """Removes an object; one that is not there is removed already."""
        self._try("DELETE", key, lambda: self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key))

    def copy(self, key: str, target: str) -> None:
        """Writes a copy of an object under another key, as it is, in the store itself."""
        source: CopySourceTypeDef = {"Bucket": self._bucket, "Key": self._prefix + key}
        place = self._prefix + target
        self._try("COPY", key, lambda: self._client.copy_object(Bucket=self._bucket, Key=place, CopySource=source))

    def entries(self, prefix: str) -> Sequence[Listed]:
        """Returns all objects whose keys begin with `prefix`, sorted by these."""

        def read() -> Sequence[Listed]:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            found = [
                Listed(item["Key"][len(self._prefix) :], item.get("ETag", ""), item["Size"])
                for page in pages
                for item in page.get("Contents", ())
            ]
            return sorted(found, key=lambda listed: listed.key)

        return self._try("LIST", prefix, read)

    def list(self, prefix: str) -> list[str]:
        """Returns all keys that begin with `prefix`, sorted."""
        return [listed.key for listed in self.entries(prefix)]

    def _try(self, verb: str, key: str, action: Callable[[], T]) -> T:
        return s3.attempt(f"{verb} {self._bucket}/{self._prefix}{key}", action)


def _untrusted(key: str, what: str) -> UntrustedDocument:
    return UntrustedDocument(f"{key}: {what}", hint="somebody wrote it who is not Glidepost; look at it with curl")
