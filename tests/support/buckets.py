"""Buckets of the real S3 server that tests share. They are emptied, and never removed.

SeaweedFS 4.48 forgets now and then, when a bucket is removed, what users may do in other buckets, until a policy of
theirs is stated again: 18 times of 220.
"""

from __future__ import annotations

from glidepost.infra.demo.testbed import Store


def empty(store: Store) -> None:
    """Removes what earlier tests left: the keys of their pools would make another pool's publisher stop."""
    client = store.client()
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=store.bucket):
        for item in page.get("Contents", []):
            client.delete_object(Bucket=store.bucket, Key=item["Key"])
