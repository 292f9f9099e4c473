"""Whatever a person writes into a configuration file: settings, or a ConfigError that says what to change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fuzzing import fuzz, tried
from hypothesis import given
from hypothesis import strategies as st
from mutations import changed_bytes, texts

from glidepost.schema.errors import ConfigError
from glidepost.schema.keys import PublicKey, SigningKey
from glidepost.schema.publisher_config import PublisherConfig
from glidepost.schema.puller_config import PullerConfig
from glidepost.schema.sites import load_sites

SCHEMA = Path(__file__).parents[2] / "schema"
KEY = SigningKey(bytes(32))
SITES = f"""
[north]
public_key = "{KEY.public}"
groups = ["physics", "cms"]
channel = "canary"
enrolled_at = 2026-11-22T09:00:00Z

[south]
public_key = "{KEY.public}"
revoked_at = 2026-11-23 09:00:00+01:00
"""
READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "publisher.toml": (
        (SCHEMA / "publisher-config-1.example.toml").read_text(encoding="utf-8"),
        PublisherConfig.load,
    ),
    "puller.toml": ((SCHEMA / "puller-config-1.example.toml").read_text(encoding="utf-8"), PullerConfig.load),
    "sites.toml": (SITES, load_sites),
}


@pytest.mark.parametrize("name", READERS)
@given(data=st.data())
@fuzz
def test_a_file_is_understood_or_says_what_to_change(name, data, tmp_path):
    text, load = READERS[name]
    written = texts([text, *(text for text, _ in READERS.values())]).map(lambda said: said.encode(errors="replace"))
    body = data.draw(st.one_of(written, changed_bytes(text.encode()), st.binary(max_size=100)))
    file = tmp_path / name
    file.write_bytes(body)
    _, error = tried(lambda: load(file), ConfigError)
    if error is not None:
        assert error.what.strip()
        assert error.hint.strip()


@given(texts([str(KEY.public)]))
@fuzz
def test_a_public_key_is_one_or_says_how_it_looks(text):
    key, error = tried(lambda: PublicKey.parse(text), ConfigError)
    assert len(key.raw) == 32 if key else "ed25519:" in error.hint


@given(st.one_of(texts([KEY.line.decode()]).map(lambda said: said.encode(errors="replace")), st.binary(max_size=60)))
@fuzz
def test_a_key_file_is_one_or_says_how_it_looks(tmp_path, body):
    file = tmp_path / "site.key"
    file.write_bytes(body)
    file.chmod(0o600)
    key, error = tried(lambda: SigningKey.load(file), ConfigError)
    if key is not None:
        assert len(key.seed) == 32
    else:
        assert KEY.line.decode().split(":")[1].strip() not in error.what + error.hint
