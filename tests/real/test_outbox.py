"""A heartbeat that another host carries: the outbox's curl configuration at a real S3 server."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import datetime, timezone
from pathlib import Path

from glidepost.infra.demo.testbed import Store
from glidepost.schema.heartbeat import Heartbeat
from glidepost.schema.mailbox import Form
from glidepost.schema.store_keys import MAX_HEARTBEAT_BYTES
from glidepost.site_puller import outbox

KEY = "v1/heartbeats/carried.json"


def form(store: Store) -> Form:
    made = store.client().generate_presigned_post(
        store.bucket,
        KEY,
        Fields={"Content-Type": "application/json"},
        Conditions=[{"Content-Type": "application/json"}, ["content-length-range", 2, MAX_HEARTBEAT_BYTES]],
        ExpiresIn=60,
    )
    return Form(made["url"], made["fields"])


def carry(folder: Path) -> str:
    curl = shutil.which("curl")
    assert curl, "the recipe needs curl"
    return subprocess.run(
        [curl, "--config", "heartbeat.curl"], cwd=folder, capture_output=True, text=True, check=True
    ).stdout


def test_curl_brings_a_heartbeat_to_the_store(store: Store, tmp_path: Path) -> None:
    report = Heartbeat("carried", "instance", "0.1.0", 1, datetime.now(timezone.utc).replace(microsecond=0), ())
    outbox.put(report, form(store), tmp_path)
    assert carry(tmp_path) == "204"
    stored = store.client().get_object(Bucket=store.bucket, Key=KEY)
    assert Heartbeat.from_json(json.loads(stored["Body"].read())) == report
    assert stored["ContentType"] == "application/json"


def test_a_heartbeat_that_is_too_large_and_a_form_for_another_key_are_refused(store: Store, tmp_path: Path) -> None:
    report = Heartbeat("carried", "instance", "0.1.0", 1, datetime.now(timezone.utc), ())
    good = form(store)
    outbox.put(report, good, tmp_path)
    (tmp_path / "heartbeat.json").write_bytes(b" " * (MAX_HEARTBEAT_BYTES + 1))
    assert carry(tmp_path) == "400"
    outbox.put(report, Form(good.url, {**good.fields, "key": "v1/demand.json"}), tmp_path)
    assert carry(tmp_path) == "403"
