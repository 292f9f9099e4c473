"""A stack that `glidepost infra deploy` has made, as those see it who have its keys, its forms, or only its address."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import requests
from aws import Aws
from botocore.exceptions import ClientError
from counting_proxy import Proxy

from glidepost.schema.document import encode
from glidepost.schema.heartbeat import Heartbeat


@dataclass
class Deployed:
    """A stack, the folder with what it left for the publisher, and its CloudFront."""

    aws: Aws
    folder: Path
    said: str
    site: Proxy

    @property
    def outputs(self) -> dict[str, str]:
        stack = self.aws.client("cloudformation").describe_stacks(StackName="gp")["Stacks"][0]
        return {item["OutputKey"]: item["OutputValue"] for item in stack["Outputs"]}

    @property
    def bucket(self) -> str:
        return self.outputs["BucketName"]

    def s3(self, who: str = "") -> Any:
        return self.aws.client("s3", self.folder / f"{who}.ini" if who else None)

    def code(self, who: str, action: str, **what: Any) -> str:
        """Returns "ok", or the word by which AWS refuses somebody."""
        try:
            getattr(self.s3(who), action)(Bucket=self.bucket, **what)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "ok"


def post_heartbeat(deployed: Deployed, site: str, *, body: bytes = b"", key: str = "") -> requests.Response:
    """Posts as a site does, through a form that the minter's key has signed."""
    name = f"v1/heartbeats/{site}.json"
    form = deployed.s3("forms").generate_presigned_post(
        deployed.bucket,
        name,
        Fields={"Content-Type": "application/json"},
        Conditions=[{"Content-Type": "application/json"}, ["content-length-range", 2, 65536]],
        ExpiresIn=600,
    )
    fields = {**form["fields"], "key": key or name}
    heartbeat = Heartbeat(site, "i", "0.1.0", 1, datetime.now(timezone.utc), ())
    files = {"file": ("heartbeat", body or encode(heartbeat.to_json()), "application/json")}
    return requests.post(form["url"], data=fields, files=files, timeout=60, verify=str(deployed.aws.certificate))


def last_log(deployed: Deployed) -> str:
    group = deployed.outputs["AggregatorLog"]
    events = deployed.aws.client("logs").filter_log_events(logGroupName=group)["events"]
    return "\n".join(event["message"] for event in events[-20:])
