"""The aggregator in AWS Lambda: one run for each event, configured by the environment.

    GLIDEPOST_BUCKET   the bucket (required)
    GLIDEPOST_PREFIX   what stands before every key in it, such as "icecube/"; default nothing
    GLIDEPOST_POOL     the pool's name on the page while no demand was published
    GLIDEPOST_PAGE_URL, GLIDEPOST_ALERT_TOPIC, _WEBHOOK, _FORMAT, _TOKEN    who is told what, see alert_settings.py
    AWS_REGION         set by Lambda; AWS_ENDPOINT_URL is boto3's own, for other stores

The event's content does not matter: a schedule, an upload and a test all mean "look again". A failure is raised, so
that Lambda counts it, and the page of the run before stays.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from functools import lru_cache
from typing import Union

from glidepost.publisher.store import S3Store
from glidepost.schema.errors import ConfigError
from glidepost.schema.publisher_config import StoreSettings

from .alert_settings import audience_of_environment
from .run import Store, aggregate_once, summary

OpenStore = Callable[[str, str, str], Store]


def handler(event: object, context: object) -> dict[str, Union[str, int]]:  # noqa: ARG001 - Lambda's signature
    """Lambda's entry: returns the counts of one run, which is also logged as one JSON line."""
    started = time.monotonic()
    result = handle(os.environ, open_s3, datetime.now(timezone.utc))
    result["request_id"] = str(getattr(context, "aws_request_id", ""))
    line = {"event": "aggregated", **result, "seconds": round(time.monotonic() - started, 3)}
    sys.stdout.write(json.dumps(line) + "\n")
    return result


def handle(environment: Mapping[str, str], open_store: OpenStore, now: datetime) -> dict[str, Union[str, int]]:
    """Returns the counts of one run on the store that the environment names.

    Raises:
        ConfigError: when it names none.
        StoreError: see `aggregate_once`.
    """
    bucket = environment.get("GLIDEPOST_BUCKET", "")
    if not bucket:
        raise ConfigError("GLIDEPOST_BUCKET is not set", hint="set it in the function's environment")
    prefix, region = environment.get("GLIDEPOST_PREFIX", ""), environment.get("AWS_REGION", "us-east-1")
    store = open_store(bucket, prefix, region)
    audience = audience_of_environment(environment)
    return summary(aggregate_once(store, now, pool=environment.get("GLIDEPOST_POOL") or "unnamed", audience=audience))


@lru_cache(maxsize=1)
def open_s3(bucket: str, prefix: str, region: str) -> Store:
    """Returns the S3 store; a warm function uses it, with its connections, again."""
    # No public_url: the aggregator hands out no addresses.
    return S3Store.from_settings(StoreSettings(bucket=bucket, public_url="", region=region, prefix=prefix))
