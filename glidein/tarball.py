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
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final, Optional, cast

import msgspec

from glidepost.schema.errors import ConfigError, GlidepostError

from .elf import least_glibc

TOP: Final = "glidein"
KIND: Final = "glidein-manifest/1"
_MANIFEST: Final = f"{TOP}/manifest.json"
_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*")
_MANIFEST_MAX_BYTES: Final = 1 << 20
_UNPACKED_MAX_BYTES: Final = 1 << 29
_PLAIN_TYPES: Final = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE})  # isreg() would take files with holes too
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
    glibc: Optional[str] = None


@dataclass(frozen=True)
class Manifest:
    """A tarball as the demand names it (`os`, `arch`, `sha256`, ...), and what it holds.

    `os` is "any" or a word such as el9 or debian12, which glidein/bootstrap compares with the node's os-release;
    `sha256` and `size_bytes` are those of the whole tarball. `glibc` is the least that it
    needs, such as "2.34".
    """

    condor_version: str
    os: str
    arch: str
    sha256: str
    size_bytes: int
    files: tuple[PackedFile, ...]
    glibc: Optional[str] = None

    @property
    def unpacked_bytes(self) -> int:
        """What the files take once they are unpacked."""
        return sum(file.size_bytes for file in self.files)

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
        ConfigError: a path, os or arch that is not safe to name, a damaged program, or an output that cannot be
            written.
    """
    check_words(os, arch)
    packed = tuple(_packed(path, files[path]) for path in sorted(files))
    try:
        contents = _Contents(KIND, condor_version, os, arch, packed, least_glibc(files.values()))
    except ValueError as error:
        raise ConfigError(str(error), hint="take it from a release of HTCondor again") from error
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
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
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
    words = (contents.condor_version, contents.os, contents.arch, sha256, size_bytes)
    return Manifest(*words, files=contents.files, glibc=contents.glibc)


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


class _Unpacked:
    """The tar file within a .gz, of however many parts, as one stream up to a limit; remembers its last block."""

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        self._path, self._stream = path, stream
        self._end = 0
        self._last = b""

    def read(self, size: int) -> bytes:
        self._last = self._stream.read(size)
        self._end += len(self._last)
        if self._end > _UNPACKED_MAX_BYTES:
            raise _untrusted(self._path, f"it unpacks to more than {_UNPACKED_MAX_BYTES >> 20} MiB")
        return self._last

    def is_empty_from(self, offset: int) -> bool:
        """Returns whether nothing but zeros follows an offset in the block that was read last, or behind it.

        Where Python sees the end of a tar file, after one block of zeros, tar itself may go on.
        """
        rest = self._last[max(0, offset - (self._end - len(self._last))) :]
        while rest:
            if rest.strip(b"\0"):
                return False
            rest = self.read(1 << 20)
        return True


def _read(path: Path) -> tuple[_Contents, dict[str, PackedFile]]:
    contents: Optional[_Contents] = None
    found: dict[str, PackedFile] = {}
    with gzip.open(path) as stream:
        unpacked = _Unpacked(path, cast("IO[bytes]", stream))
        with tarfile.open(fileobj=cast("IO[bytes]", unpacked), mode="r|") as tar:
            for member in tar:
                name = _checked_name(path, member)
                if name in found or (contents is not None and member.name == _MANIFEST):
                    raise _untrusted(path, f"{name} is there twice")
                data = tar.extractfile(member)
                assert data is not None, "a regular file has data"  # noqa: S101 - for mypy: its type was asked
                if member.name == _MANIFEST:
                    contents = _contents(path, data.read(_MANIFEST_MAX_BYTES))
                    continue
                digest = hashlib.sha256()
                for block in iter(lambda data=data: data.read(1 << 20), b""):  # type: ignore[misc]
                    digest.update(block)
                found[name] = PackedFile(name, member.size, digest.hexdigest(), bool(member.mode & 0o100))
            if not unpacked.is_empty_from(tar.offset):
                raise _untrusted(path, "something is hidden behind its end")
    if contents is None:
        raise _untrusted(path, f"it holds no {_MANIFEST}")
    return contents, found


def _checked_name(path: Path, member: tarfile.TarInfo) -> str:
    """Returns the path of a member below the top folder.

    Raises:
        GlidepostError: it is nothing that `write` would have packed.
    """
    name = member.name[len(TOP) + 1 :]
    if not member.name.startswith(f"{TOP}/") or not _SAFE_NAME.fullmatch(name):
        raise _untrusted(path, f"it holds {member.name!r}, which is outside of {TOP}/ or has an unsafe name")
    if member.type not in _PLAIN_TYPES or member.pax_headers or member.mode & ~0o777:
        raise _untrusted(path, f"{name} is no plain file")
    return name


def _contents(path: Path, text: bytes) -> _Contents:
    try:
        contents = msgspec.json.decode(text, type=_Contents)
        check_words(contents.os, contents.arch)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ConfigError) as error:
        raise _untrusted(path, f"{_MANIFEST}: {error}") from error
    if contents.kind != KIND:
        raise _untrusted(path, f"{_MANIFEST} is {contents.kind!r}, not {KIND!r}")
    return contents


def _untrusted(path: Path, what: str) -> GlidepostError:
    return GlidepostError(f"{path}: {what}", hint="do not publish it; make it again: glidepost glidein build --help")
