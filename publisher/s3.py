"""How the store is spoken to: which keys, which client, and what its failures become. The only import of boto3."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional, TypeVar

import boto3
import botocore.config
import botocore.credentials
import botocore.exceptions

from glidepost.schema.errors import ConfigError, StoreError
from glidepost.schema.publisher_config import StoreSettings
from glidepost.schema.secrets import refuse_open_file

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")


@dataclass(frozen=True)
class Connection:
    """A client, and the public half of the key that it signs with; empty when it has none."""

    client: S3Client
    access_key: str = ""


def connect(settings: StoreSettings, credentials: Optional[str], name: str) -> Connection:
    """Returns a client with the keys in a file, else with boto3's own. Opens no connection yet.

    Args:
        settings: Where the store is.
        credentials: The file.
        name: That of its key in [store], for errors.

    Raises:
        ConfigError: when the file is missing, can be read by others or has no keys, or the rest cannot be meant.
    """
    try:
        session = _session(credentials, name)
        client = session.client(
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
        keys = session.get_credentials()
    except (botocore.exceptions.BotoCoreError, ValueError) as error:  # no such profile, no endpoint, no INI file
        raise ConfigError(f"[store]: {error}", hint=f"look at endpoint, region, {name} and AWS_PROFILE") from error
    return Connection(client, keys.access_key if keys else "")


def _session(credentials: Optional[str], name: str) -> boto3.Session:
    """Returns a session with the keys in the file, which AWS_* variables must not override; else with boto3's own."""
    if not credentials:
        return boto3.Session()
    path = Path(credentials)
    if not path.is_file():
        raise ConfigError(f"[store] {name}: {path} is missing", hint="it is an AWS shared-credentials file")
    refuse_open_file(path, f"[store] {name}:")
    profile = os.environ.get("AWS_PROFILE", "default")
    keys = botocore.credentials.SharedCredentialProvider(str(path), profile).load()
    if keys is None:
        raise ConfigError(
            f"[store] {name}: {path} has no keys of profile {profile}",
            hint="it needs aws_access_key_id and aws_secret_access_key; AWS_PROFILE chooses another profile",
        )
    return boto3.Session(keys.access_key, keys.secret_key, keys.token)


def attempt(what: str, action: Callable[[], T]) -> T:
    """Returns what the action returns.

    Args:
        what: Says of it what and where, such as "GET bucket/key", for errors.
        action: Uses a client.

    Raises:
        ConfigError: when there are no credentials.
        StoreError: when the store refuses, or cannot be reached.
    """
    try:
        return action()
    except botocore.exceptions.NoCredentialsError as error:
        raise ConfigError(f"store: {what}: no credentials", hint="set [store] credentials, or AWS_PROFILE") from error
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        raise StoreError(
            f"store: {what}: {error}",
            hint="nothing was lost; the next run tries again. Are endpoint, bucket and credentials right?",
        ) from error
