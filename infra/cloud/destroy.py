"""Taking a stack down. The bucket stays, unless it is to go too: it holds what sites and glideins still ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from glidepost.schema.errors import ConfigError

from . import code, keys
from .aws import attempt
from .stack import Say, Stack


@dataclass(frozen=True)
class Standing:
    """What is there to take down. `bucket` is None when a stack was never made whole."""

    stack: str
    status: str
    bucket: Optional[str]
    users: tuple[str, ...]


@dataclass(frozen=True)
class Destroyed:
    """What was taken down. `kept_bucket` is the bucket that stayed."""

    stack: str
    keys_removed: int
    objects_removed: int
    kept_bucket: Optional[str]


def look(stack: Stack) -> Standing:
    """Returns what there is.

    Raises:
        ConfigError: There is no such stack.
    """
    found = stack.find()
    if found is None:
        raise ConfigError(
            f"there is no stack {stack.name} in {stack.account.region}", hint="look at --name, --region and --profile"
        )
    client = stack.account.cloudformation
    pages = attempt(
        "resources", lambda: list(client.get_paginator("list_stack_resources").paginate(StackName=stack.name))
    )
    resources = [item for page in pages for item in page["StackResourceSummaries"]]
    alive = [item for item in resources if item["ResourceStatus"] != "DELETE_COMPLETE"]
    by_kind = [(item["ResourceType"], item.get("PhysicalResourceId", "")) for item in alive]
    bucket = next((name for kind, name in by_kind if kind == "AWS::S3::Bucket" and name), None)
    users = tuple(name for kind, name in by_kind if kind == "AWS::IAM::User" and name)
    return Standing(stack.name, found["StackStatus"], bucket, users)


def carry_out(stack: Stack, standing: Standing, say: Say, *, bucket_too: bool) -> Destroyed:
    """Removes keys, stack and code, and with `bucket_too` all that the bucket holds, and the bucket.

    Raises:
        GlidepostError: AWS refuses; the same command goes on where this one stopped.
    """
    removed = 0
    for user in standing.users:
        removed += keys.remove_all(stack.account.iam, user)
    say(f"{removed} access keys removed")
    stack.delete(say)
    code.remove(stack.account, stack.name)
    if standing.bucket is None or not bucket_too:
        return Destroyed(stack.name, removed, 0, standing.bucket)
    bucket = standing.bucket
    count = attempt(f"empty {bucket}", lambda: code.empty(stack.account, bucket))
    attempt(f"remove {bucket}", lambda: stack.account.s3.delete_bucket(Bucket=bucket))
    say(f"{bucket} and its {count} objects removed")
    return Destroyed(stack.name, removed, count, None)
