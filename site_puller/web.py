"""The pool's store over HTTPS. Most answers are a 304: documents are kept with their ETag."""

from __future__ import annotations

import email.utils
import logging
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Optional

import requests
import urllib3.exceptions
from requests.utils import get_environ_proxies

from glidepost.schema import compression
from glidepost.schema.document import MAX_DOCUMENT_BYTES
from glidepost.schema.errors import StoreError

from .source import FOREIGN, Fetched, Source
from .watchdog import limit

LOG = logging.getLogger(__name__)

# A request may take so many times its time-out, which by itself only bounds the wait for the next byte.
PATIENCE: Final = 4
# No cache keeps a demand for longer, whose life is minutes.
MAX_AGE_S: Final = 24 * 3600


class Session(requests.Session):
    """An HTTP session to which the environment gives proxies and certificates, and nothing else.

    What requests takes from ~/.netrc too would be sent to the store, which refuses a form with a password beside it.

    Args:
        proxy: For all requests, whatever the environment says; empty: what https_proxy and no_proxy say.
        environment: Where the certificates' file is named.
    """

    def __init__(self, proxy: str = "", environment: Mapping[str, str] = os.environ) -> None:
        super().__init__()
        self.trust_env = False
        self._proxies = {"http": proxy, "https": proxy} if proxy else None
        named = environment.get("REQUESTS_CA_BUNDLE") or environment.get("CURL_CA_BUNDLE")
        if named and Path(named).exists():
            self.verify = named
        elif named:
            LOG.warning("certificates ignored file=%s why=not-there", named)

    def request(self, method: Any, url: Any, *args: Any, **options: Any) -> requests.Response:
        """Returns the answer, as requests has it, by way of the proxy for this address."""
        options["proxies"] = self._proxies or get_environ_proxies(str(url), no_proxy=None)
        return super().request(method, url, *args, **options)


class WebSource(Source):
    """GETs from one pool's URL."""

    def __init__(self, url: str, folder: Path, *, timeout_s: float, session: Optional[requests.Session] = None) -> None:
        super().__init__(folder)
        self._url = url
        self._timeout_s = timeout_s
        self._session = session or Session()

    def place(self, key: str) -> str:
        """Returns the URL."""
        return f"{self._url}/{key}"

    def get(self, key: str, *, now: datetime) -> Optional[Fetched]:
        """Returns an object, None when the store has none under this key (it answers 403 or 404).

        Raises:
            StoreError: when the store cannot be reached, answers otherwise, sends too much, or is too slow.
        """
        url = self.place(key)
        hint = f"try: curl -v {url}  (is a proxy needed here? [pool] proxy)"
        seconds = PATIENCE * self._timeout_s
        try:
            with limit(seconds, StoreError(f"GET {url}: not done within {seconds:g} s", hint=hint)):
                return self._ask(key, now)
        except (OSError, urllib3.exceptions.HTTPError) as error:  # requests' own are OSErrors
            raise StoreError(f"GET {url}: {_words(error)}", hint=hint) from error

    def _ask(self, key: str, now: datetime) -> Optional[Fetched]:
        url, kept = self.place(key), self._kept(key)
        tag = self._tag(key) if kept is not None else ""
        headers = {"Accept-Encoding": compression.ENCODING, **({"If-None-Match": tag} if tag else {})}
        with self._session.get(url, headers=headers, timeout=self._timeout_s, stream=True) as response:
            skew = _skew(response.headers, now)
            if response.status_code == 304 and kept is not None:
                return Fetched(kept, is_new=False, clock_skew_s=skew)
            if response.status_code in (403, 404):
                return None
            if response.status_code != 200:
                raise StoreError(f"GET {url}: HTTP {response.status_code}", hint="the next cycle tries again")
            return Fetched(_read(response, url), clock_skew_s=skew, tag=response.headers.get("ETag", ""))


def _read(response: requests.Response, url: str) -> bytes:
    """Returns the body, unpacked here and not by requests: older ones unpack without a bound, in whatever layers."""
    body = bytearray()
    for chunk in response.raw.stream(65536, decode_content=False):
        body += chunk
        if len(body) > MAX_DOCUMENT_BYTES:
            raise StoreError(f"GET {url}: more than {MAX_DOCUMENT_BYTES} bytes", hint=FOREIGN)
    length = response.headers.get("Content-Length", "")
    if length.isdigit() and len(body) < int(length):  # urllib3 before 2.0 does not look
        raise StoreError(f"GET {url}: cut after {len(body)} of {length} bytes", hint="the next cycle tries again")
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in {"", "identity"}:
        return bytes(body)
    if encoding != compression.ENCODING:
        raise StoreError(f"GET {url}: encoded as {encoding[:40]!r}, which was not asked for", hint=FOREIGN)
    try:
        return compression.unpack(bytes(body), max_bytes=MAX_DOCUMENT_BYTES)
    except ValueError as error:
        raise StoreError(f"GET {url}: {error}", hint=FOREIGN) from error


def _words(error: Exception) -> str:
    """Returns what really went wrong, out of the exceptions that requests wraps around it."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return str(reason or error).rpartition("): ")[2] or type(error).__name__


def _skew(headers: Mapping[str, str], now: datetime) -> Optional[int]:
    """Returns the store's clock minus ours in seconds, None when it does not say its time.

    A cache (RFC 9111) gives the Date of the store's answer, and as Age how long it has had it; some give their own Date
    beside that Age. So it is somewhere between Date and Date + Age there now, and the nearest of these counts.
    """
    try:
        said = email.utils.parsedate_to_datetime(headers.get("Date", ""))
        earliest = said - now
    except (TypeError, ValueError, IndexError, OverflowError):  # none, or with a zone that is none
        return None
    least_s = int(earliest.total_seconds())
    most_s = least_s + _age_s(headers)
    return least_s if least_s > 0 else min(0, most_s)


def _age_s(headers: Mapping[str, str]) -> int:
    """Returns for how many seconds a cache says it has had an answer; 0 when that is absurd, or there was none."""
    age = headers.get("Age", "").strip()
    is_number = age.isascii() and age.isdigit() and len(age) < 10
    return int(age) if is_number and int(age) <= MAX_AGE_S else 0
