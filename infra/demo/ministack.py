"""A second real S3 server on 127.0.0.1: MiniStack, which speaks S3 and IAM as AWS does, and checks every signature.

Tested with ministack 1.5.33 of PyPI. It pins a botocore, and wants Python 3.10: so it has a virtual
environment of its own. Not everything about it is as it is at AWS; tests/real/test_forms.py says what is not.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from glidepost.schema.errors import StoreError

from .account import CLEAN_ENVIRONMENT, Account, make_passable
from .identities import Users, forms_policy, public_policy, publisher_policy, read_keys, s3_client, write_keys
from .ports import hold_free_port
from .processes import daemons_of, end_daemons, failure_to_come_up, last_lines, launch

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

VERSION: Final = "1.5.33"
_PYTHONS: Final = (sys.executable, "python3.13", "python3.12", "python3.11", "python3.10", "python3")
_NEW_ENOUGH: Final = "import sys, venv; sys.exit(sys.version_info < (3, 10))"


@dataclass(frozen=True)
class MiniStack:
    """One MiniStack with one bucket, wholly in one folder. It keeps nothing over a restart.

    Its root key may do everything whatever the signature says; nobody has it but this class, to make the users.
    """

    account: Account
    program: Path  # the Python of its virtual environment, made by get_ministack
    folder: Path
    bucket: str = "glidepost"

    @property
    def endpoint(self) -> str:
        """The address of the S3 interface.

        Raises:
            StoreError: It was never started.
        """
        try:
            return f"http://127.0.0.1:{int((self.folder / 'port').read_text())}"
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.folder} holds no store: {error}", hint="start the store first") from error

    @property
    def public_url(self) -> str:
        """Where sites fetch: the bucket's address."""
        return f"{self.endpoint}/{self.bucket}"

    @property
    def credentials(self) -> Path:
        """The publisher's AWS shared-credentials file, mode 0600, owned by the caller."""
        return self.folder / "publisher.ini"

    @property
    def forms_credentials(self) -> Path:
        """That of the key which signs sites' forms, and may write heartbeats and logs only."""
        return self.folder / "forms.ini"

    def client(self) -> S3Client:
        """Returns an S3 client with the keys of a user who may do everything."""
        return s3_client(self.endpoint, read_keys(self.folder / "administrator.ini"))

    def make_bucket(self) -> None:
        """Makes the bucket if need be, with its policy, and lets publisher and forms' key use it.

        Raises:
            BotoCoreError, ClientError: The server does not want to, or is not there yet.
        """
        users = Users(self.endpoint, self.folder, read_keys(self._root))
        everything = {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["*"]}
        users.allow("administrator", "all", {"Version": "2012-10-17", "Statement": [everything]})
        client = self.client()
        if self.bucket not in [known.get("Name") for known in client.list_buckets()["Buckets"]]:
            client.create_bucket(Bucket=self.bucket)
            client.delete_public_access_block(Bucket=self.bucket)  # a new bucket refuses a policy for everybody
        client.put_bucket_policy(Bucket=self.bucket, Policy=json.dumps(public_policy(self.bucket)))
        users.allow("publisher", self.bucket, publisher_policy(self.bucket))
        users.allow("forms", self.bucket, forms_policy(self.bucket))

    def start(self) -> None:
        """Starts the server and returns when the bucket and its policy are there; a running one is left as it is.

        Raises:
            StoreError: It did not come up.
        """
        if not daemons_of(self.folder):
            self._launch()
        failure = failure_to_come_up(self.folder, self.make_bucket, (BotoCoreError, ClientError), deadline_s=90)
        if failure:
            logs = last_lines([self.folder / "log"])
            self.stop()
            raise StoreError(f"MiniStack did not come up: {failure}", hint=f"its log says\n  {logs}")

    def stop(self) -> None:
        """Ends the server, whoever started it; nothing to end is no error.

        Raises:
            StoreError: It is still there.
        """
        left = end_daemons(self.folder)
        if left:
            raise StoreError(f"could not end the processes {left} of {self.folder}", hint="end them by hand")

    @property
    def _root(self) -> Path:
        return self.folder / "root.ini"

    def _launch(self) -> None:
        launch_ministack(self.account, self.program, self.folder, {"SERVICES": "s3,iam"})


def launch_ministack(account: Account, python: Path, folder: Path, settings: Mapping[str, str]) -> None:
    """Starts a MiniStack that looks at signatures, and writes its port and its root key (root.ini) into its folder.

    Args:
        account: Who runs it.
        python: Of its virtual environment.
        folder: Its own.
        settings: Beside those that every one has.
    """
    make_passable(folder)
    state = str(account.make_folder(folder / "state", 0o700))
    write_keys(folder / "root.ini", f"GP{secrets.token_hex(9).upper()}", secrets.token_urlsafe(30))
    access_key, secret_key = read_keys(folder / "root.ini")
    port = str(hold_free_port())
    (folder / "port").write_text(port)
    environment = {
        **CLEAN_ENVIRONMENT,
        "AUTH": "true",
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "BIND_HOST": "127.0.0.1",  # the default is every address of this host
        "GATEWAY_PORT": port,
        "MINISTACK_HOST": "127.0.0.1",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "STATE_DIR": state,
        "TMPDIR": state,
        "HOME": state,
        **settings,
    }
    # As the caller where the account cannot run this Python, which may be below a home folder.
    prefix = account.prefix if account.can("x", python) else ()
    launch([str(python), "-m", "ministack"], prefix=prefix, env=environment, folder=folder, log=folder / "log")


def get_ministack(work: Path) -> Path:
    """Returns the Python of the virtual environment with MiniStack in the work folder, made if need be.

    Raises:
        StoreError: No Python here is new enough, or pip did not get it.
    """
    place = work / "ministack" / VERSION
    program = place / "bin" / "python"
    if program.exists():
        return program
    python = _new_enough(_PYTHONS)
    partial = make_passable(place.parent) / f"partial-{os.getpid()}"
    # (not with the caller's umask: the account must be able to run it)
    old = os.umask(0o022)
    try:
        _run([python, "-m", "venv", str(partial)])
        _run([str(partial / "bin" / "python"), "-m", "pip", "install", "--quiet", f"ministack=={VERSION}"])
        partial.replace(place)  # nothing of a virtual environment names its own place but scripts, which are not used
    finally:
        os.umask(old)
        shutil.rmtree(partial, ignore_errors=True)
    return program


def _new_enough(pythons: Sequence[str]) -> str:
    for python in pythons:
        found = shutil.which(python)
        if found and subprocess.run([found, "-c", _NEW_ENOUGH], capture_output=True, check=False).returncode == 0:
            return found
    raise StoreError("MiniStack wants Python 3.10 or newer", hint="install one")


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-500:]
        raise StoreError(f"{' '.join(command)}: {said}", hint="can pip get packages on this host?")
