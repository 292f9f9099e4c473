from __future__ import annotations

import gzip
import io
import json
import platform
import re
import tarfile
from pathlib import Path

import pytest

from glidepost.glidein import tarball
from glidepost.schema.errors import ConfigError, GlidepostError


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    found = {}
    for name in ("sbin/condor_master", "lib/libx.so.1", "lib/condor/liby.so"):
        found[name] = tmp_path / name.replace("/", "-")
        found[name].write_text(f"this is {name}")
        found[name].chmod(0o755 if name.startswith("sbin") else 0o640)
    return found


@pytest.fixture
def packed(tmp_path: Path, files: dict[str, Path]) -> Path:
    tarball.write(tmp_path / "glidein.tar.gz", files, condor_version="25.0.1", os="any", arch="x86_64")
    return tmp_path / "glidein.tar.gz"


def rewrite(path: Path, change) -> None:
    """Packs a tarball again with its (member, data) pairs as `change` leaves them."""
    with tarfile.open(path) as tar:
        pairs = [(member, tar.extractfile(member).read()) for member in tar]
    change(pairs)
    with tarfile.open(path, "w:gz") as tar:
        for member, data in pairs:
            member.size = len(data) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(data))


def test_the_same_files_give_the_same_bytes(tmp_path, files, packed):
    turned = dict(reversed(files.items()))
    for file in files.values():
        file.touch()
    again = tarball.write(tmp_path / "again.tar.gz", turned, condor_version="25.0.1", os="any", arch="x86_64")
    assert (tmp_path / "again.tar.gz").read_bytes() == packed.read_bytes()
    assert again == tarball.inspect(packed)


def test_a_tarball_holds_regular_files_of_nobody_below_one_folder(packed):
    with tarfile.open(packed) as tar:
        members = tar.getmembers()
    assert [member.name for member in members] == [
        "glidein/manifest.json",
        "glidein/lib/condor/liby.so",
        "glidein/lib/libx.so.1",
        "glidein/sbin/condor_master",
    ]
    assert {(member.uid, member.gid, member.uname, member.mtime) for member in members} == {(0, 0, "", 0)}
    assert [member.mode for member in members] == [0o644, 0o644, 0o644, 0o755]


def test_inspecting_gives_what_the_demand_names(packed):
    manifest = tarball.inspect(packed)
    assert (manifest.condor_version, manifest.os, manifest.arch) == ("25.0.1", "any", "x86_64")
    assert manifest.size_bytes == packed.stat().st_size
    assert [file.path for file in manifest.files] == ["lib/condor/liby.so", "lib/libx.so.1", "sbin/condor_master"]
    assert json.loads(manifest.to_json())["sha256"] == manifest.sha256


def test_a_changed_byte_is_found(packed):
    def change(pairs):
        pairs[2] = (pairs[2][0], pairs[2][1].replace(b"this", b"that"))

    rewrite(packed, change)
    with pytest.raises(GlidepostError, match=r"lib/libx\.so\.1 is not what the manifest says"):
        tarball.inspect(packed)


def test_a_changed_mode_is_found(packed):
    def change(pairs):
        pairs[2][0].mode = 0o755

    rewrite(packed, change)
    with pytest.raises(GlidepostError, match="is not what the manifest says"):
        tarball.inspect(packed)


def test_a_missing_file_is_found(packed):
    rewrite(packed, lambda pairs: pairs.pop(1))
    with pytest.raises(GlidepostError, match=r"lib/condor/liby\.so is missing"):
        tarball.inspect(packed)


@pytest.mark.parametrize("name", ["/etc/passwd", "glidein/../x", "other/x", "glidein/", "glidein/a b", "glidein/.x"])
def test_a_name_that_leads_outside_or_is_unsafe_is_refused(packed, name):
    rewrite(packed, lambda pairs: pairs.append((tarfile.TarInfo(name), b"x")))
    with pytest.raises(GlidepostError, match=r"outside of glidein/ or has an unsafe name"):
        tarball.inspect(packed)


def test_a_file_that_the_manifest_does_not_name_is_refused(packed):
    rewrite(packed, lambda pairs: pairs.append((tarfile.TarInfo("glidein/extra"), b"x")))
    with pytest.raises(GlidepostError, match="extra is not in the manifest"):
        tarball.inspect(packed)


def of_type(kind: bytes, name: str = "glidein/lib/x", **more) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    for key, value in more.items():
        setattr(member, key, value)
    return member


STRANGE = {
    "symbolic link": of_type(tarfile.SYMTYPE, linkname="/etc"),
    "hard link": of_type(tarfile.LNKTYPE, linkname="glidein/sbin/condor_master"),
    "device": of_type(tarfile.CHRTYPE, devmajor=1, devminor=3),
    "named pipe": of_type(tarfile.FIFOTYPE),
    "folder": of_type(tarfile.DIRTYPE),
    "file with holes": of_type(tarfile.GNUTYPE_SPARSE),
    "extended header": of_type(tarfile.REGTYPE, pax_headers={"comment": "x"}),
    "setuid": of_type(tarfile.REGTYPE, mode=0o4755),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_what_is_no_plain_file_is_refused(packed, kind):
    rewrite(packed, lambda pairs: pairs.append((STRANGE[kind], b"")))
    with pytest.raises(GlidepostError, match="is no plain file"):
        tarball.inspect(packed)


@pytest.mark.parametrize("name", ["glidein/sbin/condor_master", "glidein/manifest.json"])
def test_repeated_files_are_refused(packed, name):
    rewrite(packed, lambda pairs: pairs.append((tarfile.TarInfo(name), b"")))
    with pytest.raises(GlidepostError, match="is there twice"):
        tarball.inspect(packed)


def hidden() -> bytes:
    """Returns a whole tar file with one file more."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("glidein/sbin/condor_startd"))
    return buffer.getvalue()


@pytest.mark.parametrize("blocks", [1, 2, 20, 50])
def test_what_is_hidden_behind_the_end_is_found(packed, blocks):
    """Tar itself goes on after one block of zeros, and behind the end of one gzip member."""
    data = gzip.decompress(packed.read_bytes()).rstrip(b"\0")
    data += bytes(-len(data) % 512)
    packed.write_bytes(gzip.compress(data + bytes(512 * blocks) + hidden()))
    with pytest.raises(GlidepostError, match="hidden behind its end"):
        tarball.inspect(packed)
    packed.write_bytes(gzip.compress(data + bytes(512 * blocks)) + gzip.compress(hidden()))
    with pytest.raises(GlidepostError, match="hidden behind its end"):
        tarball.inspect(packed)


def test_what_a_second_gzip_member_adds_is_seen(packed):
    data = gzip.decompress(packed.read_bytes()).rstrip(b"\0")
    data += bytes(-len(data) % 512)
    packed.write_bytes(gzip.compress(data) + gzip.compress(hidden()))
    with pytest.raises(GlidepostError, match="condor_startd is not in the manifest"):
        tarball.inspect(packed)


def test_a_tarball_that_would_fill_a_disk_is_refused(packed):
    piece = gzip.compress(bytes(1 << 25))
    packed.write_bytes(packed.read_bytes() + piece * 17)
    with pytest.raises(GlidepostError, match="unpacks to more than 512 MiB"):
        tarball.inspect(packed)


def test_the_least_glibc_is_that_of_the_programs(tmp_path, files):
    assert tarball.write(tmp_path / "a", files, condor_version="1.0", os="any", arch="x86_64").glibc is None
    files["sbin/echo"] = Path("/bin/echo")
    manifest = tarball.write(tmp_path / "b", files, condor_version="1.0", os="any", arch="x86_64")
    assert re.fullmatch(r"2\.\d+", manifest.glibc)
    have = platform.libc_ver()[1].split(".")
    assert [int(part) for part in manifest.glibc.split(".")] <= [int(part) for part in have]
    assert manifest.unpacked_bytes == sum(file.stat().st_size for file in files.values())


def test_a_damaged_program_is_not_packed(tmp_path, files):
    files["sbin/echo"] = tmp_path / "damaged"
    files["sbin/echo"].write_bytes(Path("/bin/echo").read_bytes()[:2000])
    with pytest.raises(ConfigError, match="damaged is a damaged program"):
        tarball.write(tmp_path / "a", files, condor_version="1.0", os="any", arch="x86_64")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda text: text[:40], "manifest.json"),
        (lambda text: text.replace(b"glidein-manifest/1", b"glidein-manifest/9"), "is 'glidein-manifest/9'"),
        (lambda text: text.replace(b'"arch": "x86_64"', b'"arch": "vax"'), "no arch"),
        (lambda text: text.replace(b'"any"', b'"Any OS"'), "no os"),
        (lambda text: text.replace(b'"files"', b'"feils"'), "files"),
    ],
)
def test_a_broken_manifest_is_refused(packed, change, complaint):
    def rewritten(pairs):
        pairs[0] = (pairs[0][0], change(pairs[0][1]))

    rewrite(packed, rewritten)
    with pytest.raises(GlidepostError, match=complaint):
        tarball.inspect(packed)


def test_a_file_that_is_no_whole_tarball_is_an_error(tmp_path, packed):
    for name, content in {
        "text": b"hello",
        "cut": packed.read_bytes()[:-40],
        "gzipped-text": gzip.compress(b"hello"),
        "empty": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(GlidepostError, match=name):
            tarball.inspect(tmp_path / name)
    with pytest.raises(ConfigError, match="nowhere"):
        tarball.inspect(tmp_path / "nowhere")


def test_a_tarball_without_a_manifest_is_refused(packed):
    rewrite(packed, lambda pairs: pairs.pop(0))
    with pytest.raises(GlidepostError, match=r"holds no glidein/manifest\.json"):
        tarball.inspect(packed)


@pytest.mark.parametrize("name", ["../x", "/x", "a//b", ".hidden", "a b", "-x"])
def test_an_unsafe_name_is_not_packed(tmp_path, files, name):
    files[name] = files["lib/libx.so.1"]
    with pytest.raises(ConfigError, match="is no name for a file of a glidein"):
        tarball.write(tmp_path / "x.tar.gz", files, condor_version="1.0", os="any", arch="x86_64")
    assert not (tmp_path / "x.tar.gz").exists()


def test_an_output_that_cannot_be_written_leaves_nothing(tmp_path, files):
    with pytest.raises(ConfigError, match="none"):
        tarball.write(tmp_path / "none" / "x.tar.gz", files, condor_version="1.0", os="any", arch="x86_64")
