"""The bucket that AWS Lambda takes the aggregator's zip file from: one an account and region, private."""

from __future__ import annotations

from typing import TYPE_CHECKING

import botocore.exceptions

from .aws import Account, attempt, code_of
from .package import Package

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CreateBucketRequestTypeDef


def bucket_of(account: Account) -> str:
    """Returns the bucket's name."""
    return f"glidepost-code-{account.number}-{account.region}"


def key_of(stack: str, package: Package) -> str:
    """Returns where a zip file is: its hash is in its name, so the stack sees that the code has changed."""
    return f"{stack}/{package.sha256}.zip"


def upload(account: Account, stack: str, package: Package) -> None:
    """Puts the zip file into the bucket, which is made if need be, if it is not there yet.

    Raises:
        GlidepostError: AWS refuses, also when the bucket of this name is somebody else's.
    """
    s3, bucket, key = account.s3, bucket_of(account), key_of(stack, package)
    _make(account, bucket)
    owner = {"ExpectedBucketOwner": account.number}
    attempt(
        f"upload s3://{bucket}/{key}",
        lambda: s3.put_object(Bucket=bucket, Key=key, Body=package.path.read_bytes(), **owner),  # type: ignore[arg-type]
    )


def remove(account: Account, stack: str) -> None:
    """Removes the stack's zip files, and the bucket when it is empty then; what is not there is removed already."""
    s3, bucket = account.s3, bucket_of(account)
    try:
        empty(account, bucket, f"{stack}/")
        s3.delete_bucket(Bucket=bucket, ExpectedBucketOwner=account.number)
    except botocore.exceptions.ClientError as error:
        if code_of(error) not in {"NoSuchBucket", "BucketNotEmpty"}:
            attempt(f"remove s3://{bucket}", lambda: s3.delete_bucket(Bucket=bucket))


def empty(account: Account, bucket: str, prefix: str = "") -> int:
    """Removes all objects that begin with `prefix`, in all versions; returns how many."""
    s3, count = account.s3, 0
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        for start in range(0, len(found), 1000):
            some = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in found[start : start + 1000]]
            s3.delete_objects(Bucket=bucket, Delete={"Objects": some, "Quiet": True})  # type: ignore[typeddict-item]
        count += len(found)
    return count


def _make(account: Account, bucket: str) -> None:
    s3 = account.s3
    try:
        s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=account.number)
    except botocore.exceptions.ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            attempt(f"bucket {bucket}", lambda: s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=account.number))
        wanted: CreateBucketRequestTypeDef = {"Bucket": bucket}
        if account.region != "us-east-1":  # where S3 refuses to be told so
            wanted["CreateBucketConfiguration"] = {"LocationConstraint": account.region}  # type: ignore[typeddict-item]
        attempt(f"make bucket {bucket}", lambda: s3.create_bucket(**wanted))
    private = {"BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"}
    attempt(
        f"make bucket {bucket} private",
        lambda: s3.put_public_access_block(
            Bucket=bucket,
            PublicAccessBlockConfiguration=dict.fromkeys(private, True),  # type: ignore[arg-type]
            ExpectedBucketOwner=account.number,
        ),
    )
