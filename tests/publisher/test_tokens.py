"""Tokens made with the pool's own key file. That HTCondor takes them: tests/real/test_revocation.py."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest

from glidepost.publisher.pool import Pool
from glidepost.publisher.tokens import KeyFileTokens, ToolTokens, maker
from glidepost.schema import idtoken
from glidepost.schema.errors import ConfigError

KEY = bytes(range(1, 65))
RECORDED = Path(__file__).parents[1] / "recorded"


@pytest.fixture
def key_file(tmp_path):
    file = tmp_path / "POOL"
    file.write_bytes(KEY)
    file.chmod(0o600)
    return file


@pytest.fixture
def make(key_file):
    """Makes a token: make(), make(key_name="other")."""

    def run(**changes) -> str:
        return replace(KeyFileTokens(key_file, "POOL", "pool.test", 3600), **changes).token("north")

    return run


def header(token: str) -> dict:
    return json.loads(base64.urlsafe_b64decode(token.partition(".")[0] + "=="))


def test_a_token_is_for_one_site_and_holds_what_a_glidein_needs_and_no_more(make):
    token = make()
    claims = idtoken.claims(token)
    assert header(token) == {"alg": "HS256", "kid": "POOL"}
    assert claims["sub"] == "glidein-north@pool.test"
    assert claims["iss"] == "pool.test"
    assert claims["scope"] == "condor:/READ condor:/ADVERTISE_STARTD condor:/ADVERTISE_MASTER"
    assert claims["exp"] - claims["iat"] == 3600
    assert len(claims["jti"]) == 32


def test_each_token_has_a_name_of_its_own(make):
    assert len({idtoken.claims(make())["jti"] for _ in range(20)}) == 20


@pytest.mark.parametrize("key_name", ["POOL", "glideins"])
def test_the_signature_is_the_one_that_condor_token_create_makes(key_file, key_name):
    # What it printed with this key in a file of that name; the one called POOL is doubled.
    printed = (RECORDED / f"htcondor-25.14.1-token-{key_name}.txt").read_text(encoding="ascii")
    signed, _, signature = printed.strip().rpartition(".")
    tokens = KeyFileTokens(key_file, key_name, "pool.test", 60)
    assert tokens.signature(signed) == signature
    key_file.write_bytes(KEY[::-1])
    assert tokens.signature(signed) != signature


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_refused(make, key_file, mode):
    key_file.chmod(mode)
    with pytest.raises(ConfigError, match="can be read by others") as caught:
        make()
    assert caught.value.hint == f"chmod 600 {key_file}"


@pytest.mark.parametrize("body", [b"", bytes(65537)])
def test_a_file_that_is_no_key_is_refused(make, key_file, body):
    key_file.write_bytes(body)
    with pytest.raises(ConfigError, match="not a key"):
        make()


def test_a_missing_key_is_refused_with_the_place_where_it_is(make, tmp_path):
    with pytest.raises(ConfigError, match=r"token_key_file: .* cannot be read: No such file") as caught:
        make(file=tmp_path / "none")
    assert "SEC_PASSWORD_DIRECTORY" in caught.value.hint


def test_the_key_file_of_the_configuration_decides_who_makes_tokens(config, key_file):
    assert isinstance(maker(config), ToolTokens)
    config = replace(config, pool=replace(config.pool, token_key_file=str(key_file)))
    assert isinstance(maker(config), KeyFileTokens)
    claims = idtoken.claims(Pool(config).token("south"))
    assert claims["sub"] == "glidein-south@pool.test"
    assert claims["exp"] - claims["iat"] == config.glidein.token_life_s


def test_the_key_is_in_no_representation_of_a_maker(key_file):
    assert repr(KEY)[2:20] not in repr(KeyFileTokens(key_file, "POOL", "pool.test", 1))
