"""The code that glideins run: tarballs in the store under the name of their hash, described for the signed demand."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Optional

from glidepost.schema.demand import GlideinRelease, Tarball
from glidepost.schema.errors import ConfigError
from glidepost.schema.publisher_config import GlideinSettings

from .store import S3Store

CANARY: Final = "canary"
MAX_MANIFEST_BYTES: Final = 1 << 20
MAX_CHECKS: Final = 16384  # characters, of all together


def describe(path: Path, *, public_url: str) -> Tarball:
    """Returns what the demand says about a tarball that `glidepost glidein build` made.

    Raises:
        ConfigError: when it is missing or no such tarball.
    """
    return _read(path, public_url)[0]


def key_of(sha256: str) -> str:
    """Returns the store key of a tarball: its content names it, so it never changes and caches may keep it for ever."""
    return f"v1/glidein/{sha256}.tar.gz"


def plan(settings: GlideinSettings, *, public_url: str) -> GlideinRelease:
    """Returns the release as the demand names it, and uploads nothing.

    Raises:
        ConfigError: for a tarball that is none, and channels that do not go together.
    """
    return _release(settings, lambda path: describe(path, public_url=public_url))


def publish(store: S3Store, settings: GlideinSettings, *, public_url: str) -> GlideinRelease:
    """Uploads the tarballs that are not in the store yet, and returns the release that names them all.

    Nothing is ever removed there: what an older configuration named can be named again, and glideins that wait in a
    queue still find what they were told.
    """

    def upload(path: Path) -> Tarball:
        tarball, body = _read(path, public_url)
        key = key_of(tarball.sha256)
        if not store.exists(key):
            store.put(key, body, content_type="application/gzip", cache_seconds=365 * 86400)
        return tarball

    return _release(settings, upload)


def _release(settings: GlideinSettings, described: Callable[[Path], Tarball]) -> GlideinRelease:
    canaries = tuple(described(Path(name)) for name in settings.canary_tarballs)
    if canaries and settings.channel == CANARY:
        raise ConfigError(
            f"[glidein] channel is {CANARY!r}, and canary_tarballs are called so", hint='call it "stable"'
        )
    return GlideinRelease(
        settings.channel,
        tuple(described(Path(name)) for name in settings.tarballs),
        site_channels=dict.fromkeys(sorted(settings.canary_sites), CANARY) if canaries else {},
        channels={CANARY: canaries} if canaries else {},
        checks=checks(settings),
    )


def checks(settings: GlideinSettings) -> dict[str, str]:
    """Returns the text of each of the pool's checks by its name, the file's: "checks/Open_CL.sh" -> "open-cl".

    Raises:
        ConfigError: for a file that cannot be read or is no text, for two of one name, and when they are too long.
    """
    found: dict[str, str] = {}
    for path in settings.checks:
        name = re.sub(r"[^a-z0-9]+", "-", Path(path).stem.lower()).strip("-")[:35]
        try:
            text = Path(path).read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"[glidein] checks: {path}: {error}", hint="a check is a shell script, UTF-8") from error
        if not name or name in found or "\0" in text:
            raise ConfigError(
                f"[glidein] checks: {path}: no name, the name of another, or no text", hint="rename or correct the file"
            )
        found[name] = text
        if sum(map(len, found.values())) > MAX_CHECKS:
            raise ConfigError(
                f"[glidein] checks: with {path} they are longer than {MAX_CHECKS} characters",
                hint="they are in the demand, which each site reads every few minutes: keep them short",
            )
    return found


def _read(path: Path, public_url: str) -> tuple[Tarball, bytes]:
    """Returns the description with the very bytes that it describes, whatever happens to the file meanwhile."""
    hint = "make one: glidepost glidein build --from CONDOR_PREFIX --output FILE"
    try:
        body = path.read_bytes()
        with tarfile.open(fileobj=io.BytesIO(body)) as archive:
            member = archive.extractfile("glidein/manifest.json")
            manifest = json.loads(member.read(MAX_MANIFEST_BYTES)) if member else {}
        words = {name: str(manifest[name]) for name in ("os", "arch", "condor_version")}
        glibc, unpacked_bytes = manifest.get("glibc"), _unpacked_bytes(manifest)
    except (OSError, EOFError, zlib.error, tarfile.TarError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"[glidein] tarballs: {path}: {error}", hint=hint) from error
    digest = hashlib.sha256(body).hexdigest()
    url = f"{public_url}/{key_of(digest)}"
    tarball = Tarball(
        url=url,
        sha256=digest,
        size_bytes=len(body),
        glibc=None if glibc is None else str(glibc),
        unpacked_bytes=unpacked_bytes,
        **words,
    )
    return tarball, body


def _unpacked_bytes(manifest: Mapping[str, Any]) -> Optional[int]:
    """Returns what the files take that a manifest names, None when it names none."""
    return sum(int(file["size_bytes"]) for file in manifest.get("files", ())) or None
