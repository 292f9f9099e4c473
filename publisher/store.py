"""The object store: any that speaks S3. The only import of boto3."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Optional, TypeVar

import boto3
import botocore.config
import botocore.credentials
import botocore.exceptions

from glidepost.schema import compression
from glidepost.schema.document import MAX_DOCUMENT_BYTES
from glidepost.schema.errors import ConfigError, StoreError, UntrustedDocument
from glidepost.schema.mailbox import Form
from glidepost.schema.publisher_config import StoreSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import PutObjectRequestTypeDef

# An S3 store gives an object as it was written, whatever the reader accepts. What is small stays readable for a plain
# `curl | jq`; beyond this many bytes it takes `curl --compressed`.
COMPRESS_ABOVE: Final = 64 * 1024

T = TypeVar("T")


def _session(credentials: Optional[str]) -> boto3.Session:
    """Returns a session with the keys in the file, which AWS_* variables must not override; else with boto3's own."""
    if not credentials:
        return boto3.Session()
    path = Path(credentials)
    if not path.is_file():
        raise ConfigError(f"[store] credentials: {path} is missing", hint="it is an AWS shared-credentials file")
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"[store] credentials: {path} can be read by others", hint=f"chmod 600 {path}")
    profile = os.environ.get("AWS_PROFILE", "default")
    keys = botocore.credentials.SharedCredentialProvider(str(path), profile).load()
    if keys is None:
        raise ConfigError(
            f"[store] credentials: {path} has no keys of profile {profile}",
            hint="it needs aws_access_key_id and aws_secret_access_key; AWS_PROFILE chooses another profile",
        )
    return boto3.Session(keys.access_key, keys.secret_key, keys.token)


class S3Store:
    """One bucket, below one prefix. Every failure is a StoreError that says which key."""

    def __init__(self, client: S3Client, bucket: str, prefix: str = "") -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    @classmethod
    def from_settings(cls, settings: StoreSettings) -> S3Store:
        """Returns the store of publisher.toml. Opens no connection yet.

        Raises:
            ConfigError: when the credentials file is missing or can be read by others.
        """
        try:
            client = _session(settings.credentials).client(
                "s3",
                region_name=settings.region,
                endpoint_url=settings.endpoint,
                config=botocore.config.Config(
                    signature_version="s3v4",
                    s3={"addressing_style": "path" if settings.endpoint else "auto"},
                    connect_timeout=10,
                    read_timeout=30,
                    retries={"mode": "standard", "max_attempts": 3},
                ),
            )
        except (botocore.exceptions.BotoCoreError, ValueError) as error:  # no such profile, no endpoint, no INI file
            raise ConfigError(
                f"[store]: {error}", hint="look at endpoint, region, credentials and AWS_PROFILE"
            ) from error
        return cls(client, settings.bucket, settings.prefix)

    def get(self, key: str) -> Optional[bytes]:
        """Returns an object's bytes, unpacked, None when there is none under this key.

        Raises:
            UntrustedDocument: when it is too large for a document, packed or not, or says gzip and is none.
        """

        def read() -> Optional[tuple[bytes, str]]:
            try:
                found = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
            except self._client.exceptions.NoSuchKey:
                return None
            if found["ContentLength"] > MAX_DOCUMENT_BYTES:
                found["Body"].close()
                raise _untrusted(key, f"{found['ContentLength']} bytes, more than {MAX_DOCUMENT_BYTES}")
            return found["Body"].read(), found.get("ContentEncoding", "")

        answer = self._try("GET", key, read)
        if answer is None or answer[1] != compression.ENCODING:
            return None if answer is None else answer[0]
        try:
            return compression.unpack(answer[0], max_bytes=MAX_DOCUMENT_BYTES)
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

    def list(self, prefix: str) -> list[str]:
        """Returns all keys that begin with `prefix`, sorted."""

        def read() -> list[str]:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            found = [item["Key"] for page in pages for item in page.get("Contents", ())]
            return sorted(key[len(self._prefix) :] for key in found)

        return self._try("LIST", prefix, read)

    def upload_form(self, key: str, *, content_type: str, max_bytes: int, life_s: int) -> Form:
        """Returns a presigned POST that may write this one key, of this type, up to this size, for `life_s` seconds."""

        def sign() -> Form:
            post = self._client.generate_presigned_post(
                self._bucket,
                self._prefix + key,
                Fields={"Content-Type": content_type},
                Conditions=[{"Content-Type": content_type}, ["content-length-range", 2, max_bytes]],
                ExpiresIn=life_s,
            )
            return Form(post["url"], dict(post["fields"]))

        return self._try("form for", key, sign)

    def _try(self, verb: str, key: str, action: Callable[[], T]) -> T:
        try:
            return action()
        except botocore.exceptions.NoCredentialsError as error:
            raise ConfigError(
                f"store: {verb} {self._bucket}/{key}: no credentials", hint="set [store] credentials, or AWS_PROFILE"
            ) from error
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            raise StoreError(
                f"store: {verb} {self._bucket}/{self._prefix}{key}: {error}",
                hint="nothing was lost; the next run tries again. Are endpoint, bucket and credentials right?",
            ) from error


def _untrusted(key: str, what: str) -> UntrustedDocument:
    return UntrustedDocument(f"{key}: {what}", hint="somebody wrote it who is not Glidepost; look at it with curl")
