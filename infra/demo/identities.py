"""Who may do what in the bucket, as policies in the language of AWS: the public, the publisher, and its forms' key.

docs/how-to/choose-a-store.md shows the same; a test compares the two.
"""

from __future__ import annotations

import configparser
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION = "us-east-1"
# What anybody may fetch, and nobody may list. Heartbeats and logs are not among them.
PUBLIC_KEYS = (
    "index.html",
    "groups.html",
    "sites/*",
    "assets/*",
    "badges/*",
    "feed.xml",
    "v1/demand.json",
    "v1/glidein/*",
    "v1/history/*",
    "v1/keys.json",
    "v1/metrics.txt",
    "v1/sites/*",
    "v1/status.json",
)
_WRITTEN = (*PUBLIC_KEYS, "v1/aggregator/*", "v1/check/*")
_REMOVED = (
    "sites/*",
    "badges/*",
    "v1/sites/*",
    "v1/glidein/*",
    "v1/check/*",
    "v1/heartbeats/check",
    "v1/logs/_check/*",
)
_UPLOADED = ("v1/heartbeats/*", "v1/logs/*")


def public_policy(bucket: str) -> Mapping[str, object]:
    """Returns the bucket policy: anybody may GET the public keys, and may do nothing else."""
    return _policy({**_allow("s3:GetObject", bucket, PUBLIC_KEYS), "Principal": "*"})


def publisher_policy(bucket: str) -> Mapping[str, object]:
    """Returns what the publisher may do, with the aggregator: read and list all, write what is public, and notes."""
    return _policy(
        _allow("s3:ListBucket", bucket),
        _allow("s3:GetObject", bucket, ("*",)),
        _allow("s3:PutObject", bucket, _WRITTEN),
        _allow("s3:DeleteObject", bucket, _REMOVED),
    )


def forms_policy(bucket: str) -> Mapping[str, object]:
    """Returns what the key that signs sites' forms may do: write heartbeats and logs.

    The bucket itself is for SeaweedFS, which asks for it at each POST, and then for the key too. It grants nothing.
    """
    return _policy(_allow("s3:PutObject", bucket, _UPLOADED), _allow("s3:PutObject", bucket))


def _policy(*statements: Mapping[str, object]) -> Mapping[str, object]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allow(action: str, bucket: str, keys: Sequence[str] = ()) -> dict[str, object]:
    """Returns a statement about keys, or about the bucket itself."""
    resources = [f"arn:aws:s3:::{bucket}/{key}" for key in keys] or [f"arn:aws:s3:::{bucket}"]
    return {"Effect": "Allow", "Action": [action], "Resource": resources}


class Users:
    """The users of one server, by its IAM interface. Each has its keys in a file NAME.ini, mode 0600.

    Args:
        endpoint: The server.
        folder: Of the files.
        keys: An administrator's, access key and secret key.
    """

    def __init__(self, endpoint: str, folder: Path, keys: tuple[str, str]) -> None:
        self._folder = folder
        # (typed as Any: what stubs there are for IAM would be one more dependency)
        self._iam: Any = boto3.client(
            "iam",
            endpoint_url=endpoint,
            region_name=REGION,
            aws_access_key_id=keys[0],
            aws_secret_access_key=keys[1],
            config=Config(connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 1}),
        )

    def allow(self, name: str, policy_name: str, policy: Mapping[str, object]) -> None:
        """Lets a user, made if need be, do what a policy says, besides what others do.

        Raises:
            ClientError: The server does not want to.
        """
        try:
            self._iam.create_user(UserName=name)
        except ClientError as error:
            if error.response["Error"]["Code"] != "EntityAlreadyExists":
                raise
        known = {key["AccessKeyId"] for key in self._iam.list_access_keys(UserName=name)["AccessKeyMetadata"]}
        file = self._folder / f"{name}.ini"
        if not file.exists() or read_keys(file)[0] not in known:
            key = self._iam.create_access_key(UserName=name)["AccessKey"]
            write_keys(file, key["AccessKeyId"], key["SecretAccessKey"])
        self._iam.put_user_policy(UserName=name, PolicyName=policy_name, PolicyDocument=json.dumps(policy))


def write_keys(file: Path, access_key: str, secret_key: str) -> None:
    """Writes an AWS shared-credentials file, mode 0600, owned by the caller."""
    file.touch(mode=0o600)
    file.write_text(f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n")


def read_keys(file: Path) -> tuple[str, str]:
    """Returns access key and secret key in an AWS shared-credentials file."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(file)
    return parser["default"]["aws_access_key_id"], parser["default"]["aws_secret_access_key"]


def s3_client(endpoint: str, keys: tuple[str, str]) -> S3Client:
    """Returns an S3 client with these keys, which tries once."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=keys[0],
        aws_secret_access_key=keys[1],
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=5,
            read_timeout=60,
            retries={"total_max_attempts": 1},
        ),
    )
