"""Pool tokens (HTCondor's IDTOKENs): who may join as a glidein of one site, for how long, and nothing else.

A token is for the identity `glidein-SITE@TRUST_DOMAIN` and holds the three authorizations that a glidein needs. Two
makers make the same: HTCondor's own condor_token_create, and, on a host without HTCondor's tools, we ourselves, with
the pool's signing key in a file.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from glidepost.schema.errors import ConfigError, PoolError
from glidepost.schema.publisher_config import PublisherConfig
from glidepost.schema.secrets import refuse_open_file

AUTHORIZATIONS: Final = ("READ", "ADVERTISE_STARTD", "ADVERTISE_MASTER")
POOL_KEY: Final = "POOL"
# A file of a signing key is not plain: HTCondor lays these bytes over it, again and again (simple_scramble).
_SCRAMBLE: Final = b"\xde\xad\xbe\xef"
_MAX_KEY_BYTES: Final = 65536


class TokenMaker(Protocol):
    """Makes pool tokens."""

    def token(self, site: str) -> str:
        """Returns a new token for the glideins of a site."""


def identity(site: str, trust_domain: str) -> str:
    """Returns who the glideins of a site are in the pool, such as "glidein-north@pool.example.org"."""
    return f"glidein-{site}@{trust_domain}"


def maker(config: PublisherConfig) -> TokenMaker:
    """Returns what makes tokens: the key file of publisher.toml if it names one, else condor_token_create."""
    pool, life_s = config.pool, config.glidein.token_life_s
    if pool.token_key_file:
        return KeyFileTokens(Path(pool.token_key_file), pool.token_key, pool.trust_domain, life_s)
    tool = str(Path(pool.condor_bin) / "condor_token_create") if pool.condor_bin else "condor_token_create"
    environment = {"CONDOR_CONFIG": pool.condor_config} if pool.condor_config else {}
    return ToolTokens(tool, pool.token_key, pool.trust_domain, life_s, environment)


@dataclass(frozen=True)
class ToolTokens:
    """Tokens of condor_token_create. `life_s` is in seconds; `environment` is added to this process's own."""

    tool: str
    key_name: str
    trust_domain: str
    life_s: int
    environment: Mapping[str, str] = field(default_factory=dict)

    def token(self, site: str) -> str:
        """Returns a new token for the glideins of one site.

        Raises:
            ConfigError: when condor_token_create is not installed here.
            PoolError: when it refuses.
        """
        command = [self.tool, "-identity", identity(site, self.trust_domain), "-key", self.key_name]
        command += [word for level in AUTHORIZATIONS for word in ("-authz", level)]
        command += ["-lifetime", str(self.life_s)]
        environment = {**os.environ, **self.environment}
        try:
            done = subprocess.run(
                command, capture_output=True, env=environment, timeout=30, check=False, stdin=subprocess.DEVNULL
            )
        except OSError as error:
            raise ConfigError(
                f"{self.tool} cannot be run: {error.strerror}",
                hint="set [pool] condor_bin to HTCondor's bin folder, or token_key_file to the pool's signing key",
            ) from error
        except subprocess.TimeoutExpired as error:
            raise PoolError(f"{self.tool}: no answer within 30 s", hint="try it by hand") from error
        token = done.stdout.decode(errors="replace").strip()
        if done.returncode or not re.fullmatch(r"[\w-]+(\.[\w-]+){2}", token, re.ASCII):
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            raise PoolError(
                f"{' '.join(command)}: {lines[-1] if lines else 'it failed and said nothing'}",
                hint=f"it must be run by a user who can read the pool's signing key {self.key_name}",
            )
        return token


@dataclass(frozen=True)
class KeyFileTokens:
    """Tokens that are made here, with the key that HTCondor's own daemons have in SEC_PASSWORD_DIRECTORY.

    The same bytes as condor_token_create's: a JSON Web Token (RFC 7519), HS256, with a key that is derived by HKDF (RFC
    5869) from the file's. `life_s` is in seconds.
    """

    file: Path
    key_name: str
    trust_domain: str
    life_s: int

    def token(self, site: str) -> str:
        """Returns a new token for the glideins of one site.

        Raises:
            ConfigError: when the key cannot be read, or others can read it.
        """
        now_s = int(time.time())
        claims = {
            "exp": now_s + self.life_s,
            "iat": now_s,
            "iss": self.trust_domain,
            "jti": secrets.token_hex(16),
            "scope": " ".join(f"condor:/{level}" for level in AUTHORIZATIONS),
            "sub": identity(site, self.trust_domain),
        }
        signed = f"{_part({'alg': 'HS256', 'kid': self.key_name})}.{_part(claims)}"
        return f"{signed}.{self.signature(signed)}"

    def signature(self, signed: str) -> str:
        """Returns the third part of a token, for its first two.

        Raises:
            ConfigError: when the key cannot be read, or others can read it.
        """
        return _base64(hmac.digest(self._key(), signed.encode(), hashlib.sha256))

    def _key(self) -> bytes:
        """Returns the 32 bytes that sign."""
        password = _unscrambled(_read(self.file))
        if self.key_name == POOL_KEY:
            password *= 2  # as HTCondor has done since this key was a password
        # HKDF of one block: extract, then expand.
        extracted = hmac.digest(b"htcondor", password, hashlib.sha256)
        return hmac.digest(extracted, b"master jwt\x01", hashlib.sha256)


def _read(file: Path) -> bytes:
    what = "[pool] token_key_file:"
    hint = "name a copy of the pool's signing key, which is in SEC_PASSWORD_DIRECTORY on the central manager"
    refuse_open_file(file, what)
    try:
        with file.open("rb") as opened:
            scrambled = opened.read(_MAX_KEY_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{what} {file} cannot be read: {error.strerror}", hint=hint) from error
    if not 0 < len(scrambled) <= _MAX_KEY_BYTES:
        raise ConfigError(f"{what} {file} holds {len(scrambled) or 'no'} bytes: not a key", hint=hint)
    return scrambled


def _unscrambled(scrambled: bytes) -> bytes:
    return bytes(byte ^ _SCRAMBLE[place % len(_SCRAMBLE)] for place, byte in enumerate(scrambled))


def _part(said: Mapping[str, object]) -> str:
    return _base64(json.dumps(said, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
