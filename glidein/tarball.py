"""The glidein tarball: HTCondor's execution side below one folder, with a manifest that names every file.

::

    glidein/manifest.json
    glidein/sbin/condor_master ...        regular files only, sorted, owner 0, time 0

The same files give the same bytes, so that a build can be checked by building again, and the hash in the signed demand
says all there is to say about what runs on a worker node.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Optional

import msgspec

from glidepost.schema.errors import ConfigError, GlidepostError

TOP: Final = "glidein"
KIND: Final = "glidein-manifest/1"
_MANIFEST: Final = f"{TOP}/manifest.json"
_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*")
_MANIFEST_MAX_BYTES: Final = 1 << 20
_OS: Final = re.compile(r"[a-z0-9.]+")
ARCHES: Final = ("x86_64", "aarch64")


@dataclass(frozen=True)
class PackedFile:
    """One file of the tarball; `path` is relative to the top folder."""

    path: str
    size_bytes: int
    sha256: str
    is_executable: bool


@dataclass(frozen=True)
class _Contents:
    """manifest.json, as it lies in the tarball."""

    kind: str
    condor_version: str
    os: str
    arch: str
    files: tuple[PackedFile, ...]


@dataclass(frozen=True)
class Manifest:
    """A tarball as the demand names it (`os`, `arch`, `sha256`, ...), and what it holds.

    `os` is "any" or a word such as el9 or debian12, which glidein/bootstrap compares with the node's os-release;
    `sha256` and `size_bytes` are those of the whole tarball.
    """

    condor_version: str
    os: str
    arch: str
    sha256: str
    size_bytes: int
    files: tuple[PackedFile, ...]

    def to_json(self) -> str:
        """Returns the manifest as JSON text, the tarball's own hash included."""
        return msgspec.json.format(msgspec.json.encode(asdict(self)), indent=2).decode()


def check_words(os: str, arch: str) -> None:
    """Returns if a demand may name a tarball for this os and arch.

    Raises:
        ConfigError: it may not.
    """
    if not _OS.fullmatch(os):
        raise ConfigError(f"{os!r} is no os", hint='use "any", or ID and major VERSION_ID of os-release: el9, debian12')
    if arch not in ARCHES:
        raise ConfigError(f"{arch!r} is no arch that glidepost knows", hint=f"use one of {', '.join(ARCHES)}")


def write(output: Path, files: Mapping[str, Path], *, condor_version: str, os: str, arch: str) -> Manifest:
    """Writes the tarball, in one move, and returns its manifest.

    Args:
        output: Where to; replaced if it exists.
        files: From the path below the top folder to the file to pack there. A file is executable or not, no more.
        condor_version: Such as "25.0.3".
        os: "any", el9, debian12, ...
        arch: x86_64 or aarch64.

    Raises:
        ConfigError: a path, os or arch that is not safe to name, or an output that cannot be written.
    """
    check_words(os, arch)
    packed = tuple(_packed(path, files[path]) for path in sorted(files))
    contents = _Contents(KIND, condor_version, os, arch, packed)
    text = msgspec.json.format(msgspec.json.encode(contents), indent=1) + b"\n"
    partial = output.with_name(output.name + ".part")
    try:
        with (
            partial.open("wb") as raw,
            gzip.GzipFile("", "wb", 9, raw, mtime=0) as stream,
            tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            tar.addfile(_member(_MANIFEST, len(text), is_executable=False), io.BytesIO(text))
            for file in packed:
                with files[file.path].open("rb") as data:
                    name = f"{TOP}/{file.path}"
                    tar.addfile(_member(name, file.size_bytes, is_executable=file.is_executable), data)
        partial.replace(output)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ConfigError(
            f"{output}: {error.strerror or error}", hint="name a file in a folder you can write"
        ) from error
    return inspect(output)


def inspect(path: Path) -> Manifest:
    """Returns the manifest of a tarball after comparing every file in it with what the manifest says.

    Raises:
        ConfigError: it cannot be read, or is no gzipped tar file.
        GlidepostError: it is not what its manifest says, or a name or kind of file in it is not safe.
    """
    try:
        contents, found = _read(path)
        sha256, size_bytes = _digest(path)
    except (OSError, EOFError, tarfile.TarError) as error:
        hint = "name a tarball that `glidepost glidein build` made"
        raise ConfigError(f"{path}: {error}", hint=hint) from error
    expected = {file.path: file for file in contents.files}
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            raise _untrusted(path, f"{name} is missing")
        if name not in expected:
            raise _untrusted(path, f"{name} is not in the manifest")
        if found[name] != expected[name]:
            raise _untrusted(path, f"{name} is not what the manifest says")
    if "sbin/condor_master" not in found:
        raise _untrusted(path, "it holds no sbin/condor_master")
    return Manifest(contents.condor_version, contents.os, contents.arch, sha256, size_bytes, contents.files)


def _packed(path: str, file: Path) -> PackedFile:
    if not _SAFE_NAME.fullmatch(path):
        raise ConfigError(f"{path!r} is no name for a file of a glidein", hint="use letters, digits and _.+-/ only")
    sha256, size_bytes = _digest(file)
    return PackedFile(path, size_bytes, sha256, bool(file.stat().st_mode & 0o100))


def _member(name: str, size_bytes: int, *, is_executable: bool) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size_bytes
    member.mode = 0o755 if is_executable else 0o644
    return member  # TarInfo's defaults are owner 0, no names, time 0


def _digest(path: Path) -> tuple[str, int]:
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
            size_bytes += len(block)
    return digest.hexdigest(), size_bytes


def _read(path: Path) -> tuple[_Contents, dict[str, PackedFile]]:
    contents: Optional[_Contents] = None
    found: dict[str, PackedFile] = {}
    with tarfile.open(path, "r|gz") as tar:
        for member in tar:
            name = member.name[len(TOP) + 1 :]
            if not member.name.startswith(f"{TOP}/") or not _SAFE_NAME.fullmatch(name):
                raise _untrusted(path, f"it holds {member.name!r}, which is outside of {TOP}/ or has an unsafe name")
            if not member.isreg() or name in found or (contents is not None and member.name == _MANIFEST):
                raise _untrusted(path, f"{name} is no regular file, or there twice")
            data = tar.extractfile(member)
            assert data is not None, "a regular file has data"  # noqa: S101 - for mypy: isreg() was asked
            if member.name == _MANIFEST:
                contents = _contents(path, data.read(_MANIFEST_MAX_BYTES))
                continue
            digest = hashlib.sha256()
            for block in iter(lambda data=data: data.read(1 << 20), b""):  # type: ignore[misc]
                digest.update(block)
            found[name] = PackedFile(name, member.size, digest.hexdigest(), bool(member.mode & 0o100))
    if contents is None:
        raise _untrusted(path, f"it holds no {_MANIFEST}")
    return contents, found


def _contents(path: Path, text: bytes) -> _Contents:
    try:
        contents = msgspec.json.decode(text, type=_Contents)
        check_words(contents.os, contents.arch)
    except (msgspec.DecodeError, ConfigError) as error:
        raise _untrusted(path, f"{_MANIFEST}: {error}") from error
    if contents.kind != KIND:
        raise _untrusted(path, f"{_MANIFEST} is {contents.kind!r}, not {KIND!r}")
    return contents


def _untrusted(path: Path, what: str) -> GlidepostError:
    return GlidepostError(f"{path}: {what}", hint="do not publish it; make it again: glidepost glidein build --help")
