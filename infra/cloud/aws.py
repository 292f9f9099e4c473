"""How AWS is spoken to: one session, and what its refusals become."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, Optional, TypeVar

import boto3
import botocore.config
import botocore.exceptions

from glidepost.schema.errors import ConfigError, GlidepostError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sts import STSClient

T = TypeVar("T")

_HINTS: Final = {
    "AccessDenied": "whose keys are these (aws sts get-caller-identity)? docs/how-to/deploy-on-aws.md has the rights",
    "ExpiredToken": "sign in again (aws sso login, or new temporary keys)",
    "InvalidClientTokenId": "the access key is unknown there: is it the right account, profile and endpoint?",
    "SignatureDoesNotMatch": "the secret key is not that of the access key",
    "LimitExceeded": "the account has reached a limit: remove something, or ask AWS for more",
    "ValidationError": "read what it says of the template or its parameters",
}
_SAME: Final = {"AccessDeniedException": "AccessDenied", "UnauthorizedOperation": "AccessDenied"}
_TRY_AGAIN: Final = "nothing is half done that the same command would not end; try it again"


@dataclass(frozen=True)
class Account:
    """One AWS account and region, as boto3 finds its keys: profile, environment, or the instance's role."""

    session: boto3.Session

    @classmethod
    def open(cls, region: Optional[str], profile: Optional[str]) -> Account:
        """Returns the account; asks nothing yet.

        Raises:
            ConfigError: There is no such profile, or no region.
        """
        try:
            session = boto3.Session(region_name=region, profile_name=profile)
        except botocore.exceptions.BotoCoreError as error:
            raise ConfigError(f"AWS: {error}", hint="look at ~/.aws/config, --profile and --region") from error
        if not session.region_name:
            raise ConfigError("AWS: no region", hint="give --region, such as eu-central-1")
        return cls(session)

    @property
    def region(self) -> str:
        """Such as "eu-central-1"."""
        return str(self.session.region_name)

    @property
    def endpoint(self) -> Optional[str]:
        """The address that stands in place of AWS itself, None at AWS."""
        host = str(self.s3.meta.endpoint_url)
        return None if host.rstrip("/").endswith((".amazonaws.com", ".amazonaws.com.cn")) else host.rstrip("/")

    @cached_property
    def number(self) -> str:
        """The account's twelve digits.

        Raises:
            GlidepostError: The keys are not believed.
        """
        return attempt("who am I", self.sts.get_caller_identity)["Account"]

    @cached_property
    def cloudformation(self) -> CloudFormationClient:
        """A client."""
        return self.session.client("cloudformation", config=_CONFIG)

    @cached_property
    def iam(self) -> IAMClient:
        """A client."""
        return self.session.client("iam", config=_CONFIG)

    @cached_property
    def s3(self) -> S3Client:
        """A client."""
        return self.session.client("s3", config=_CONFIG.merge(_S3))

    @cached_property
    def sts(self) -> STSClient:
        """A client."""
        return self.session.client("sts", config=_CONFIG)


_CONFIG: Final = botocore.config.Config(
    connect_timeout=10, read_timeout=60, retries={"mode": "standard", "max_attempts": 5}
)
_S3: Final = botocore.config.Config(signature_version="s3v4")


def attempt(what: str, action: Callable[[], T]) -> T:
    """Returns what the action returns.

    Args:
        what: Says what it does, for errors.
        action: Uses a client.

    Raises:
        ConfigError: There are no keys, or no endpoint.
        GlidepostError: AWS refuses, or cannot be reached.
    """
    try:
        return action()
    except botocore.exceptions.ClientError as error:
        code = code_of(error)
        raise GlidepostError(f"AWS: {what}: {error}", hint=_HINTS.get(_SAME.get(code, code), _TRY_AGAIN)) from error
    except (botocore.exceptions.NoCredentialsError, botocore.exceptions.PartialCredentialsError) as error:
        raise ConfigError(
            f"AWS: {what}: {error}", hint="give --profile, or set AWS_PROFILE, or run `aws configure`"
        ) from error
    except botocore.exceptions.BotoCoreError as error:
        raise GlidepostError(f"AWS: {what}: {error}", hint=_TRY_AGAIN) from error


def code_of(error: botocore.exceptions.ClientError) -> str:
    """Returns the word by which AWS names an error."""
    return str(error.response.get("Error", {}).get("Code", ""))
