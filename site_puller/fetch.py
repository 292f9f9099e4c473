"""Documents from the pool's store: fetched, kept with their ETag, believed only when everything about them is right."""

from __future__ import annotations

import email.utils
import json
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Optional

import requests
import urllib3.exceptions

from glidepost.schema import compression
from glidepost.schema.demand import Demand
from glidepost.schema.document import MAX_DOCUMENT_BYTES, parse_object
from glidepost.schema.errors import ConfigError, StoreError, UntrustedDocument
from glidepost.schema.files import write_atomic
from glidepost.schema.keys import SigningKey
from glidepost.schema.mailbox import Letter, Mailbox
from glidepost.schema.puller_config import PullerConfig
from glidepost.schema.signing import verify

LOG = logging.getLogger(__name__)

MAX_CLOCK_SKEW: Final = timedelta(minutes=5)


@dataclass(frozen=True)
class Fetched:
    """An object of the store. `clock_skew_s` is the store's clock minus ours, when it said its time."""

    body: bytes
    is_new: bool
    clock_skew_s: Optional[int]


class Reader:
    """GETs from one pool's URL. Bodies and ETags are kept in the state folder, so that most answers are a 304."""

    def __init__(self, url: str, folder: Path, *, timeout_s: int, session: Optional[requests.Session] = None) -> None:
        self._url = url
        self._folder = folder
        self._timeout_s = timeout_s
        self._session = session or requests.Session()

    def get(self, key: str, *, now: datetime) -> Optional[Fetched]:
        """Returns an object, None when the store has none under this key (it answers 403 or 404).

        Raises:
            StoreError: when the store cannot be reached, answers otherwise, or sends too much.
        """
        kept, tag = self._kept(key)
        url = f"{self._url}/{key}"
        headers = {"Accept-Encoding": compression.ENCODING}
        if kept is not None and tag:
            headers["If-None-Match"] = tag
        try:
            with self._session.get(url, headers=headers, timeout=self._timeout_s, stream=True) as response:
                skew = _skew(response.headers.get("Date"), now)
                if response.status_code == 304 and kept is not None:
                    return Fetched(kept, is_new=False, clock_skew_s=skew)
                if response.status_code in (403, 404):
                    return None
                if response.status_code != 200:
                    raise StoreError(f"GET {url}: HTTP {response.status_code}", hint="the next cycle tries again")
                body = _read(response, url)
                tag = response.headers.get("ETag", "")
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise StoreError(
                f"GET {url}: {_words(error)}", hint=f"try: curl -v {url}  (is https_proxy needed here?)"
            ) from error
        self._keep(key, body, tag)
        return Fetched(body, is_new=True, clock_skew_s=skew)

    def forget(self, key: str) -> None:
        """Makes the next `get` fetch the object whole: a kept copy that is no good must not be confirmed by a 304."""
        self._file(key).with_suffix(".etag").unlink(missing_ok=True)

    def _kept(self, key: str) -> tuple[Optional[bytes], str]:
        file = self._file(key)
        try:
            tag = json.loads(file.with_suffix(".etag").read_text(encoding="utf-8"))
            return file.read_bytes(), str(tag["etag"]) if tag["url"] == f"{self._url}/{key}" else ""
        except (OSError, ValueError, KeyError, TypeError):
            return None, ""

    def _keep(self, key: str, body: bytes, tag: str) -> None:
        """The tag is written last: a crash in between costs one more full answer, never an old body under a new tag."""
        file = self._file(key)
        file.with_suffix(".etag").unlink(missing_ok=True)
        write_atomic(file, body)
        write_atomic(file.with_suffix(".etag"), json.dumps({"url": f"{self._url}/{key}", "etag": tag}).encode())

    def _file(self, key: str) -> Path:
        return self._folder / key.replace("/", "-")


def _read(response: requests.Response, url: str) -> bytes:
    """Returns the body, unpacked here and not by requests: older ones unpack without a bound, in whatever layers."""
    foreign = "this is not Glidepost's document"
    body = bytearray()
    for chunk in response.raw.stream(65536, decode_content=False):
        body += chunk
        if len(body) > MAX_DOCUMENT_BYTES:
            raise StoreError(f"GET {url}: more than {MAX_DOCUMENT_BYTES} bytes", hint=foreign)
    length = response.headers.get("Content-Length", "")
    if length.isdigit() and len(body) < int(length):  # urllib3 before 2.0 does not look
        raise StoreError(f"GET {url}: cut after {len(body)} of {length} bytes", hint="the next cycle tries again")
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in {"", "identity"}:
        return bytes(body)
    if encoding != compression.ENCODING:
        raise StoreError(f"GET {url}: encoded as {encoding[:40]!r}, which was not asked for", hint=foreign)
    try:
        return compression.unpack(bytes(body), max_bytes=MAX_DOCUMENT_BYTES)
    except ValueError as error:
        raise StoreError(f"GET {url}: {error}", hint=foreign) from error


def _words(error: Exception) -> str:
    """Returns what really went wrong, out of the exceptions that requests wraps around it."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return str(reason or error).rpartition("): ")[2] or type(error).__name__


def _skew(date: Optional[str], now: datetime) -> Optional[int]:
    try:
        said = email.utils.parsedate_to_datetime(date) if date else None
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return None if said is None or said.tzinfo is None else int((said - now).total_seconds())


@dataclass(frozen=True)
class KnownDemand:
    """A demand document that may be acted on."""

    demand: Demand
    age_s: int
    clock_skew_s: Optional[int]


def demand(config: PullerConfig, reader: Reader, *, now: datetime) -> KnownDemand:
    """Returns the pool's demand.

    Raises:
        StoreError: when it cannot be fetched, or there is none yet.
        UntrustedDocument: when it is forged, expired, older than one seen before, or of another pool.
    """
    fetched = reader.get("v1/demand.json", now=now)
    if fetched is None:
        raise StoreError(
            f"{config.url}/v1/demand.json: not there", hint="has the pool's publisher run, is [pool] url right?"
        )
    if fetched.clock_skew_s is not None and abs(fetched.clock_skew_s) > MAX_CLOCK_SKEW.total_seconds():
        raise UntrustedDocument(
            f"this host's clock and the store's differ by {fetched.clock_skew_s} s",
            hint="set the clock (chronyc makestep)",
        )
    known = Demand.from_json(_verified(config, reader, "v1/demand.json", fetched))
    _refuse_other_pool(config, known)
    _refuse_old(known, config.state / "demand.sequence", now)
    age_s = int((now - known.generated_at).total_seconds())
    return KnownDemand(known, age_s, fetched.clock_skew_s)


def _verified(config: PullerConfig, reader: Reader, key: str, fetched: Fetched) -> dict[str, Any]:
    try:
        data = parse_object(fetched.body, what=key)
        verify(data, [config.public_key])
    except UntrustedDocument:
        reader.forget(key)
        raise
    return data


def _refuse_other_pool(config: PullerConfig, known: Demand) -> None:
    if config.pool is not None and known.pool != config.pool:
        raise UntrustedDocument(
            f"the demand is of pool {known.pool}, not {config.pool}",
            hint="is [pool] url right? One key should sign one pool",
        )


def _refuse_old(known: Demand, file: Path, now: datetime) -> None:
    """Refuses a document that is expired, or older than one that this site has seen."""
    if now >= known.expires_at:
        raise UntrustedDocument(
            f"the demand expired at {known.expires_at:%Y-%m-%d %H:%M:%S}Z (sequence {known.sequence})",
            hint="the pool's publisher does not run, or something serves an old copy; tell the pool's admin",
        )
    if known.generated_at - now > MAX_CLOCK_SKEW:
        raise UntrustedDocument(
            f"the demand is from the future ({known.generated_at:%Y-%m-%d %H:%M:%S}Z)",
            hint="compare both clocks with UTC",
        )
    highest = read_sequence(file)
    if known.sequence < highest:
        raise UntrustedDocument(
            f"the demand has sequence {known.sequence}, and {highest} was seen here before",
            hint="something serves an old copy, or the publisher was restored from a backup; tell the pool's admin",
        )


def read_sequence(file: Path) -> int:
    """Returns the highest sequence seen; 0 before the first.

    Raises:
        ConfigError: when the file is there and unreadable: without it an old document cannot be told.
    """
    try:
        return int(file.read_text(encoding="ascii"))
    except FileNotFoundError:
        return 0
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{file}: {error}", hint="remove it if the demand in the store is known to be recent"
        ) from error


def remember_sequence(file: Path, known: Demand) -> None:
    """Remembers that this document was seen."""
    if known.sequence != read_sequence(file):
        write_atomic(file, f"{known.sequence}\n".encode())


def letter(config: PullerConfig, reader: Reader, key: SigningKey, *, now: datetime) -> Letter:
    """Returns what the pool wrote to this site: upload form and pool token.

    Raises:
        StoreError: when there is no mailbox for this site.
        UntrustedDocument: when it is forged, expired, or not for this site.
    """
    mailbox = f"v1/sites/{config.site}.json"
    fetched = reader.get(mailbox, now=now)
    if fetched is None:
        raise StoreError(
            f"{config.url}/{mailbox}: not there",
            hint="is this site enrolled? send the pool's admin the line of: "
            f"glidepost keys show {config.key} --site {config.site}",
        )
    opened = Mailbox.from_json(_verified(config, reader, mailbox, fetched)).open(key, site=config.site)
    if now >= opened.expires_at:
        raise UntrustedDocument(
            f"the mailbox expired at {opened.expires_at:%Y-%m-%d %H:%M}Z", hint="the pool's publisher does not run"
        )
    return opened
