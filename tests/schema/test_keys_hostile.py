"""Places where a key cannot be read from or written to, and texts that are nearly keys."""

from __future__ import annotations

import pytest

from glidepost.schema.errors import ConfigError
from glidepost.schema.keys import PublicKey, SigningKey


@pytest.mark.parametrize("body", [None, b"\xff\xfe"])
def test_a_key_that_cannot_be_read_is_made_with_the_command_in_the_hint(tmp_path, body):
    file = tmp_path / "pool.key"
    if body is not None:
        file.write_bytes(body)
        file.chmod(0o600)
    with pytest.raises(ConfigError, match="cannot read key") as caught:
        SigningKey.load(file)
    assert caught.value.hint == f"make one: glidepost keys generate {file}"


def test_a_folder_that_cannot_hold_a_key_is_named(tmp_path):
    (tmp_path / "file").write_text("x", encoding="ascii")
    with pytest.raises(ConfigError, match="cannot write key"):
        SigningKey.generate().save(tmp_path / "file" / "deeper" / "pool.key")


@pytest.mark.parametrize(
    "text", ["", "ed25519:", "ed25519:AAAA", "ed25519: " + "A" * 43 + "=", "rsa:" + "A" * 43 + "="]
)
def test_a_text_that_is_no_public_key_is_refused(text):
    with pytest.raises(ConfigError, match="a public key"):
        PublicKey.parse(text)
