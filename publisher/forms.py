"""Forms: what the store lets a site write without any key of its own, and nothing else, for some time.

A presigned POST holds a policy: which key or which prefix, which type, how large, until when. The store looks at it at
each upload. A presigned PUT, for stores that know no POST policies, fixes one key and its type, and bounds no size.
Forms are signed here, without asking the store, by a key that may write heartbeats and logs only.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import TYPE_CHECKING, Callable, Final, Optional

from glidepost.schema.mailbox import FILENAME, Form
from glidepost.schema.publisher_config import StoreSettings
from glidepost.schema.store_keys import MAX_HEARTBEAT_BYTES, heartbeat_key

from . import s3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_LOG_BYTES: Final = 16 * 2**20  # of one glidein's logs, packed
HEARTBEAT_TYPE: Final = "application/json"
LOG_TYPE: Final = "application/gzip"


class Forms:
    """The forms of one store.

    Args:
        connect: Returns the connection of the key that signs them; asked for once, when the first is wanted.
        settings: Of the store.
    """

    def __init__(self, connect: Callable[[], s3.Connection], settings: StoreSettings) -> None:
        self._connect = connect
        self._settings = settings

    @cached_property
    def _connection(self) -> s3.Connection:
        return self._connect()

    @property
    def client(self) -> S3Client:
        """The client of the key that signs forms.

        Raises:
            ConfigError: when its credentials cannot be used.
        """
        return self._connection.client

    def digest(self, *more: str) -> str:
        """Returns 16 hex digits that differ when forms would, or `more`: then what sites have must be made anew.

        Raises:
            ConfigError: when the credentials cannot be used.
        """
        settings = self._settings
        where = (settings.endpoint, settings.region, settings.bucket, settings.prefix, settings.public_url)
        facts = (self._connection.access_key, *where, settings.uploads, settings.logs, *more)
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    def heartbeat(self, site: str, *, life_s: int) -> Form:
        """Returns the form for a site's heartbeat.

        Raises:
            ConfigError: when there are no credentials to sign with.
        """
        key = heartbeat_key(site)
        return self.upload(key, content_type=HEARTBEAT_TYPE, max_bytes=MAX_HEARTBEAT_BYTES, life_s=life_s)

    def log(self, site: str, *, life_s: int) -> Optional[Form]:
        """Returns the form for the logs of a site's glideins, None where the pool wants none or knows only PUTs.

        Raises:
            ConfigError: when there are no credentials to sign with.
        """
        if not self._settings.logs or self._settings.uploads == "put":
            return None
        return self._post(_log_key(site), LOG_TYPE, (1, MAX_LOG_BYTES), life_s)

    def log_url(self, site: str) -> str:
        """Returns where logs are, for those whom the bucket's policy lets read them; FILENAME stands for the file's."""
        return f"{self._settings.public_url.rstrip('/')}/{self._settings.prefix}{_log_key(site)}"

    def upload(self, key: str, *, content_type: str, max_bytes: int, life_s: int) -> Form:
        """Returns a form that may write this one key, of this type, for `life_s` seconds.

        Args:
            key: Without the store's prefix.
            content_type: Exactly.
            max_bytes: The largest size; not for a PUT, which has no bound.
            life_s: At most 7 days, and not beyond that of temporary credentials.

        Raises:
            ConfigError: when there are no credentials to sign with.
        """
        if self._settings.uploads == "put":
            return self._put(key, content_type, life_s)
        return self._post(key, content_type, (2, max_bytes), life_s)

    def _post(self, key: str, content_type: str, size_range: tuple[int, int], life_s: int) -> Form:
        """Returns a presigned POST; of a key that ends in FILENAME any that begins as it does may be written."""

        def sign() -> Form:
            post = self.client.generate_presigned_post(
                self._settings.bucket,
                self._settings.prefix + key,
                Fields={"Content-Type": content_type},
                Conditions=[{"Content-Type": content_type}, ["content-length-range", *size_range]],
                ExpiresIn=life_s,
            )
            return Form(post["url"], dict(post["fields"]))

        return s3.attempt(self._what(key), sign)

    def _put(self, key: str, content_type: str, life_s: int) -> Form:
        def sign() -> Form:
            where = {"Bucket": self._settings.bucket, "Key": self._settings.prefix + key, "ContentType": content_type}
            url = self.client.generate_presigned_url("put_object", Params=where, ExpiresIn=life_s)
            return Form(url, headers={"Content-Type": content_type})

        return s3.attempt(self._what(key), sign)

    def _what(self, key: str) -> str:
        return f"form for {self._settings.bucket}/{self._settings.prefix}{key}"


def _log_key(site: str) -> str:
    return f"v1/logs/{site}/{FILENAME}"
