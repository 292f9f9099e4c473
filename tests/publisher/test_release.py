from __future__ import annotations

import hashlib

import pytest

from glidepost.publisher import release
from glidepost.schema.errors import ConfigError
from glidepost.schema.publisher_config import GlideinSettings

URL = "https://store.example.org"


def test_a_tarball_is_described_by_its_manifest_and_its_hash(make_tarball):
    path = make_tarball()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    tarball = release.describe(path, public_url=URL)
    assert (tarball.os, tarball.arch, tarball.condor_version) == ("el9", "x86_64", "25.14.1")
    assert (tarball.sha256, tarball.size_bytes) == (digest, path.stat().st_size)
    assert tarball.url == f"{URL}/v1/glidein/{digest}.tar.gz"


@pytest.mark.parametrize("manifest", ["[]", "3", "{}", '{"os": "el9"}', "{"])
def test_a_tarball_with_another_manifest_is_refused(make_tarball, manifest):
    with pytest.raises(ConfigError, match=r"tarballs: .*glidein.tar.gz"):
        release.describe(make_tarball(manifest), public_url=URL)


def test_a_tarball_without_a_manifest_is_refused(make_tarball):
    with pytest.raises(ConfigError, match="manifest") as caught:
        release.describe(make_tarball(member="README"), public_url=URL)
    assert "glidepost glidein build" in caught.value.hint


def test_a_missing_tarball_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.tar\.gz"):
        release.describe(tmp_path / "none.tar.gz", public_url=URL)


@pytest.mark.parametrize("kept", [0, 1, 10, 40, 100])
def test_a_truncated_tarball_is_refused(make_tarball, kept):
    path = make_tarball()
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ConfigError):
        release.describe(path, public_url=URL)


@pytest.mark.parametrize("position", [12, 30, 60, 90, 110])
def test_a_damaged_tarball_is_refused_or_described_as_it_is(make_tarball, position):
    path = make_tarball()
    body = bytearray(path.read_bytes())
    body[position] ^= 0xFF
    path.write_bytes(body)
    try:
        tarball = release.describe(path, public_url=URL)
    except ConfigError:
        return
    assert tarball.sha256 == hashlib.sha256(body).hexdigest()


def test_tarballs_are_uploaded_once_under_their_hash(store, aws, make_tarball):
    paths = [make_tarball(), make_tarball({"os": "any", "arch": "aarch64", "condor_version": "25.0"}, name="b.tar.gz")]
    settings = GlideinSettings(tarballs=tuple(map(str, paths)), channel="canary")
    published = release.publish(store, settings, public_url=URL)
    keys = [release.key_of(tarball.sha256) for tarball in published.tarballs]
    assert published.channel == "canary"
    assert sorted(keys) == store.list("v1/glidein/")
    assert [store.get(key) for key in keys] == [path.read_bytes() for path in paths]
    before = aws.head_object(Bucket="glidepost", Key=keys[0])
    assert before["CacheControl"] == "max-age=31536000"
    store.put(keys[0], b"not written again", content_type="text/plain", cache_seconds=0)
    assert release.publish(store, settings, public_url=URL) == published
    assert store.get(keys[0]) == b"not written again"
