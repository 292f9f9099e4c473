from __future__ import annotations

import base64

import pytest

from glidepost.publisher.enrolment import enroll
from glidepost.schema.errors import ConfigError
from glidepost.schema.keys import SigningKey
from glidepost.schema.sites import load_sites


def keys_in(file):
    return {name: site.public_key for name, site in load_sites(file).items()}


def test_a_site_is_enrolled_by_its_line(tmp_path, site_key):
    file = tmp_path / "sites.toml"
    assert enroll(f"  glidepost-site north {site_key.public}\n", file) == "north"
    assert keys_in(file) == {"north": site_key.public}


def test_another_line_for_a_site_replaces_its_key_and_leaves_the_others(tmp_path, site_key, pool_key):
    file = tmp_path / "sites.toml"
    enroll(f"glidepost-site south {pool_key.public}", file)
    enroll(f"glidepost-site north {pool_key.public}", file)
    enroll(f"glidepost-site north {site_key.public}", file)
    assert keys_in(file) == {"north": site_key.public, "south": pool_key.public}


@pytest.mark.parametrize("name", ["7", "2024-11-22", "true", "a" * 32])
def test_names_that_look_like_toml_values_are_names(tmp_path, site_key, name):
    enroll(f"glidepost-site {name} {site_key.public}", tmp_path / "sites.toml")
    assert list(load_sites(tmp_path / "sites.toml")) == [name]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "north",
        "glidepost-site north",
        "glidepost-site North {key}",
        "glidepost-site ../north {key}",
        "glidepost-site -north {key}",
        "glidepost-site " + "n" * 33 + " {key}",
        "glidepost-site north {key} {key}",
        "ssh-ed25519 north {key}",
    ],
)
def test_another_line_is_refused_with_the_command_that_prints_the_right_one(tmp_path, site_key, line):
    with pytest.raises(ConfigError, match="not an enrolment line") as caught:
        enroll(line.format(key=site_key.public), tmp_path / "sites.toml")
    assert "glidepost keys show" in caught.value.hint
    assert not (tmp_path / "sites.toml").exists()


def damaged(raw: bytes) -> str:
    return "ed25519:" + base64.b64encode(raw).decode()


@pytest.mark.parametrize("key", ["ed25519:", "ed25519:AAAA", "rsa:AAAA", damaged(bytes(31)), "ed25519-secret:x"])
def test_a_key_of_the_wrong_form_is_refused(tmp_path, key):
    with pytest.raises(ConfigError):
        enroll(f"glidepost-site north {key}", tmp_path / "sites.toml")


@pytest.mark.parametrize("raw", [bytes(32), bytes([2]) * 32])
def test_a_key_that_nothing_can_be_sealed_for_is_refused(tmp_path, raw):
    with pytest.raises(ConfigError, match="right length"):
        enroll(f"glidepost-site north {damaged(raw)}", tmp_path / "sites.toml")


def test_a_broken_file_of_sites_is_not_overwritten(tmp_path):
    file = tmp_path / "sites.toml"
    file.write_text("[north]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="lacks public_key"):
        enroll(f"glidepost-site south {SigningKey.generate().public}", file)
    assert file.read_text(encoding="utf-8") == "[north]\n"
