"""The code that glideins run: tarballs in the store under the name of their hash, described for the signed demand."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zlib
from pathlib import Path

from glidepost.schema.demand import GlideinRelease, Tarball
from glidepost.schema.errors import ConfigError
from glidepost.schema.publisher_config import GlideinSettings

from .store import S3Store


def describe(path: Path, *, public_url: str) -> Tarball:
    """Returns what the demand says about a tarball that `glidepost glidein build` made.

    Raises:
        ConfigError: when it is missing or no such tarball.
    """
    return _read(path, public_url)[0]


def key_of(sha256: str) -> str:
    """Returns the store key of a tarball: its content names it, so it never changes and caches may keep it for ever."""
    return f"v1/glidein/{sha256}.tar.gz"


def publish(store: S3Store, settings: GlideinSettings, *, public_url: str) -> GlideinRelease:
    """Uploads the tarballs that are not in the store yet, and returns the release that names them all."""
    tarballs = []
    for name in settings.tarballs:
        tarball, body = _read(Path(name), public_url)
        if not store.exists(key_of(tarball.sha256)):
            store.put(
                key_of(tarball.sha256),
                body,
                content_type="application/gzip",
                cache_seconds=365 * 86400,
            )
        tarballs.append(tarball)
    return GlideinRelease(settings.channel, tuple(tarballs))


def _read(path: Path, public_url: str) -> tuple[Tarball, bytes]:
    """Returns the description with the very bytes that it describes, whatever happens to the file meanwhile."""
    hint = "make one: glidepost glidein build --from CONDOR_PREFIX --output FILE"
    try:
        body = path.read_bytes()
        with tarfile.open(fileobj=io.BytesIO(body)) as archive:
            member = archive.extractfile("glidein/manifest.json")
            manifest = json.load(member) if member else {}
        words = {name: str(manifest[name]) for name in ("os", "arch", "condor_version")}
    except (OSError, EOFError, zlib.error, tarfile.TarError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"[glidein] tarballs: {path}: {error}", hint=hint) from error
    digest = hashlib.sha256(body).hexdigest()
    return Tarball(url=f"{public_url}/{key_of(digest)}", sha256=digest, size_bytes=len(body), **words), body
