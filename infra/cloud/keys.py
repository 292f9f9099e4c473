"""Access keys for the two users, in files of mode 0600 that only their owner can read.

They are no outputs of the stack: those stay readable, as long as it lives, for everybody who may look at it. A key is
shown by AWS once, when it is made, and goes straight into its file.
"""

from __future__ import annotations

import configparser
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Optional

from glidepost.schema.errors import GlidepostError
from glidepost.schema.files import write_atomic

from .aws import attempt

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

MOST: Final = 2  # that AWS lets a user have


@dataclass(frozen=True)
class Kept:
    """A credentials file, and the user's other keys, which still work."""

    file: Path
    is_new: bool
    others: tuple[str, ...] = ()


def ensure(iam: IAMClient, user: str, file: Path, *, renew: bool = False) -> Kept:
    """Returns the file with a key of the user; a key is made if the file has none of his, or a new one is wanted.

    Raises:
        GlidepostError: AWS refuses, or he has two keys already, neither of them in the file.
    """
    known = key_ids(iam, user)
    mine = _key_id(file)
    if mine in known and not renew:
        file.chmod(0o600)
        return Kept(file, is_new=False, others=tuple(key for key in known if key != mine))
    if len(known) >= MOST:
        raise GlidepostError(
            f"{user} has {MOST} access keys already ({', '.join(known)}), and AWS allows no more",
            hint=f"remove one that nobody uses: aws iam delete-access-key --user-name {user} --access-key-id ID",
        )
    key = attempt(f"access key of {user}", lambda: iam.create_access_key(UserName=user))["AccessKey"]
    text = f"[default]\naws_access_key_id = {key['AccessKeyId']}\naws_secret_access_key = {key['SecretAccessKey']}\n"
    write_atomic(file, text.encode(), mode=0o600)
    return Kept(file, is_new=True, others=tuple(known))


def remove_all(iam: IAMClient, user: str) -> int:
    """Removes all keys of a user, without which he cannot be removed; returns how many there were."""
    known = key_ids(iam, user)
    for key in known:
        attempt(f"remove a key of {user}", lambda key=key: iam.delete_access_key(UserName=user, AccessKeyId=key))  # type: ignore[misc]
    return len(known)


def key_ids(iam: IAMClient, user: str) -> list[str]:
    """Returns the ids of a user's keys."""
    said = attempt(f"keys of {user}", lambda: iam.list_access_keys(UserName=user))
    return [str(key.get("AccessKeyId", "")) for key in said["AccessKeyMetadata"]]


def _key_id(file: Path) -> Optional[str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(file)
        return parser.get("default", "aws_access_key_id", fallback=None)
    except (configparser.Error, UnicodeDecodeError):
        return None
