"""A whole AWS account on 127.0.0.1 for tests: MiniStack with every service that the template uses, over HTTPS.

Requests are signed and looked at. Its root key is not, whatever its signature: it makes the administrator, and nothing
else. What it does not do as AWS does: it keeps no lifecycle rules, knows no budgets, its CloudFront caches nothing, and
functions run as processes of its own Python, without boto3 unless they are given one.
"""

from __future__ import annotations

import os
import platform
import shutil
import ssl
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from certificates import certify

from glidepost.infra.demo.identities import Users, read_keys
from glidepost.infra.demo.ministack import launch_ministack
from glidepost.infra.demo.processes import failure_to_come_up
from glidepost.infra.demo.testbed import Account, end_daemons, make_passable

REGION = "eu-central-1"
SERVICES = "s3,iam,sts,lambda,logs,events,cloudformation,cloudfront,cloudwatch,monitoring,sns"
BOTO3 = "boto3==1.43.106"  # that of the botocore which MiniStack pins
PROGRAM = Path(sys.executable).with_name("glidepost")


@dataclass(frozen=True)
class Aws:
    """One MiniStack, wholly in one folder."""

    account: Account
    python: Path  # of MiniStack's virtual environment
    libraries: Path  # boto3 for functions
    folder: Path

    @property
    def endpoint(self) -> str:
        return f"https://127.0.0.1:{(self.folder / 'port').read_text()}"

    @property
    def certificate(self) -> Path:
        return self.folder / "certificate.pem"

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))

    @property
    def architecture(self) -> str:
        return {"aarch64": "arm64"}.get(platform.machine(), platform.machine())

    @cached_property
    def python_version(self) -> str:
        said = subprocess.run([self.python, "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
        return ".".join(said.split(".")[:2])

    def environment(self, keys: str = "administrator") -> dict[str, str]:
        """Returns what a command needs to take this for AWS, with a user's keys."""
        access_key, secret_key = read_keys(self.folder / f"{keys}.ini")
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_CA_BUNDLE": str(self.certificate),
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": secret_key,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "COLUMNS": "200",
        }

    def client(self, service: str, keys: Path | None = None) -> Any:
        """Returns a client with the keys in a file; default is the administrator's."""
        access_key, secret_key = read_keys(keys or self.folder / "administrator.ini")
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            verify=str(self.certificate),
        )

    def glidepost(self, *words: object, keys: str = "administrator", answer: str = "") -> tuple[int, str]:
        """Runs a command of ours in this account; returns its exit code and all that it says."""
        environment = self.environment(keys)
        if words[0] == "puller":  # (not for others: pip looks at it too)
            environment["REQUESTS_CA_BUNDLE"] = str(self.certificate)
        done = subprocess.run(
            [str(PROGRAM), *map(str, words)],
            env=environment,
            input=answer,
            capture_output=True,
            text=True,
            timeout=170,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def start(self) -> None:
        """Starts it, with its administrator."""
        self._launch()
        failure = failure_to_come_up(self.folder, self._make_administrator, (BotoCoreError, ClientError), 60)
        if failure:
            log = (self.folder / "log").read_text()[-2000:]
            self.stop()
            raise AssertionError(f"MiniStack did not come up: {failure}\n{log}")

    def stop(self) -> None:
        assert not end_daemons(self.folder)

    def _make_administrator(self) -> None:
        everything = {"Effect": "Allow", "Action": ["*"], "Resource": ["*"]}
        policy = {"Version": "2012-10-17", "Statement": [everything]}
        os.environ["AWS_CA_BUNDLE"] = str(self.certificate)  # (Users takes no certificate)
        try:
            users = Users(self.endpoint, self.folder, read_keys(self.folder / "root.ini"))
        finally:
            del os.environ["AWS_CA_BUNDLE"]
        users.allow("administrator", "all", policy)

    def _launch(self) -> None:
        make_passable(self.folder)
        settings = {
            "USE_SSL": "1",
            "MINISTACK_SSL_CERT": str(self.certificate),
            "MINISTACK_SSL_KEY": str(self._certify()),
            "MINISTACK_REGION": REGION,
            "SERVICES": SERVICES,
            "PYTHONPATH": str(self.libraries),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        launch_ministack(self.account, self.python, self.folder, settings)

    def _certify(self) -> Path:
        key = self.folder / "key.pem"
        certify(self.certificate, key)
        self.account.give(key, 0o600)
        return key


def get_boto3(work: Path, python: Path) -> Path:
    """Returns a folder with the boto3 that functions import, as AWS's own runtime has one; made if need be."""
    place = work / "ministack" / BOTO3.replace("==", "-")
    if not place.exists():
        partial = make_passable(place.parent) / f"boto3-{os.getpid()}"
        old = os.umask(0o022)
        try:
            command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*command, "--target", str(partial), BOTO3], check=True, capture_output=True)
            partial.rename(place)
        finally:
            os.umask(old)
            shutil.rmtree(partial, ignore_errors=True)
    return place
