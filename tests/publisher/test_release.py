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


def test_what_a_node_must_have_is_told(make_tarball):
    words = {"os": "any", "arch": "x86_64", "condor_version": "25.1"}
    files = [{"path": "a", "size_bytes": 1000}, {"path": "b", "size_bytes": 24}]
    tarball = release.describe(make_tarball({**words, "glibc": "2.34", "files": files}), public_url=URL)
    assert (tarball.glibc, tarball.unpacked_bytes) == ("2.34", 1024)
    tarball = release.describe(make_tarball({**words, "glibc": None}), public_url=URL)
    assert (tarball.glibc, tarball.unpacked_bytes) == (None, None)
    with pytest.raises(ConfigError, match="tarballs"):
        release.describe(make_tarball({**words, "files": [{"size_bytes": "much"}]}), public_url=URL)


def made(make_tarball, version: str, arch: str = "x86_64") -> str:
    manifest = {"os": "any", "arch": arch, "condor_version": version}
    return str(make_tarball(manifest, name=f"{version}-{arch}.tar.gz"))


def test_canary_sites_take_the_canary_first_and_others_never(store, make_tarball):
    stable = made(make_tarball, "25.1"), made(make_tarball, "25.1", "aarch64")
    canary = made(make_tarball, "25.2")
    settings = GlideinSettings(stable, canary_tarballs=(canary,), canary_sites=("south", "north"))
    published = release.publish(store, settings, public_url=URL)
    assert published == release.plan(settings, public_url=URL)
    assert published.site_channels == {"north": "canary", "south": "canary"}
    versions = [[(item.condor_version, item.arch) for item in tier] for tier in published.of_site("north")]
    assert versions == [[("25.2", "x86_64")], [("25.1", "x86_64"), ("25.1", "aarch64")]]
    assert published.of_site("east") == (published.tarballs,)
    # Readers that know nothing of channels read this only.
    assert {item.condor_version for item in published.tarballs} == {"25.1"}
    assert sorted(release.key_of(item.sha256) for item in published.all_tarballs) == store.list("v1/glidein/")


def test_canary_sites_without_a_canary_take_the_common_one(store, make_tarball):
    settings = GlideinSettings((made(make_tarball, "25.1"),), canary_sites=("north",))
    published = release.publish(store, settings, public_url=URL)
    assert published.of_site("north") == (published.tarballs,)
    assert (published.site_channels, published.channels) == ({}, {})


def test_two_channels_of_one_name_are_refused(store, make_tarball):
    paths = (made(make_tarball, "25.1"),)
    settings = GlideinSettings(paths, channel="canary", canary_tarballs=paths)
    with pytest.raises(ConfigError, match="canary_tarballs are called so"):
        release.publish(store, settings, public_url=URL)


def test_to_roll_back_is_to_name_the_older_file(store, make_tarball):
    old, new = made(make_tarball, "25.1"), made(make_tarball, "25.2")
    first = release.publish(store, GlideinSettings((old,)), public_url=URL)
    release.publish(store, GlideinSettings((new,)), public_url=URL)
    key = release.key_of(first.tarballs[0].sha256)
    store.put(key, b"not written again", content_type="text/plain", cache_seconds=0)
    assert release.publish(store, GlideinSettings((old,)), public_url=URL) == first
    assert store.get(key) == b"not written again"
    assert len(store.list("v1/glidein/")) == 2


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


def test_the_pools_checks_go_along_by_their_names(store, make_tarball, tmp_path):
    for name, text in (("Open_CL.sh", "exit 0\n"), ("b.sh", "exit 1\n")):
        (tmp_path / name).write_text(text)
    settings = GlideinSettings((str(make_tarball()),), checks=(str(tmp_path / "Open_CL.sh"), str(tmp_path / "b.sh")))
    assert release.publish(store, settings, public_url=URL).checks == {"open-cl": "exit 0\n", "b": "exit 1\n"}


@pytest.mark.parametrize("body", [None, b"\xff", b"a\0b", b"#" * 16385])
def test_a_check_that_cannot_go_along_is_refused(tmp_path, body):
    path = tmp_path / "check.sh"
    if body is not None:
        path.write_bytes(body)
    with pytest.raises(ConfigError, match=r"checks: .*check\.sh"):
        release.checks(GlideinSettings(checks=(str(path),)))


def test_two_checks_of_one_name_are_refused(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.sh").write_text("exit 0\n")
    with pytest.raises(ConfigError, match="the name of another"):
        release.checks(GlideinSettings(checks=(str(tmp_path / "a/x.sh"), str(tmp_path / "b/x.sh"))))
