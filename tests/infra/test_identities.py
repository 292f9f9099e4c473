from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from glidepost.infra.demo.identities import forms_policy, public_policy, publisher_policy
from glidepost.publisher.forms import MAX_LOG_BYTES
from glidepost.schema.store_keys import MAX_HEARTBEAT_BYTES

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "choose-a-store.md"


@pytest.mark.parametrize(("number", "policy"), [(0, public_policy), (1, publisher_policy), (2, forms_policy)])
def test_the_policies_of_the_page_are_those_that_tests_run_with(number, policy):
    blocks = re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    assert json.loads(blocks[number]) == policy("BUCKET")


def test_the_sizes_of_the_page_are_those_of_the_forms():
    text = PAGE.read_text(encoding="utf-8")
    assert f"2 bytes to {MAX_HEARTBEAT_BYTES // 1024} KiB" in text
    assert f"1 byte to {MAX_LOG_BYTES // 2**20} MiB" in text


def test_the_key_of_the_forms_may_write_nothing_that_anybody_reads():
    public = {resource for item in public_policy("b")["Statement"] for resource in item["Resource"]}
    written = {resource for item in forms_policy("b")["Statement"] for resource in item["Resource"]}
    assert written == {"arn:aws:s3:::b/v1/heartbeats/*", "arn:aws:s3:::b/v1/logs/*", "arn:aws:s3:::b"}
    assert not any(
        known.rstrip("*").startswith(item.rstrip("*")) for known in public for item in written - {"arn:aws:s3:::b"}
    )
