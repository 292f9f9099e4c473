"""The store, tried as the publisher, as a site with its forms, and as a stranger without any key.

Three objects are written, and removed again: below v1/check/, v1/heartbeats/ and v1/logs/, under names that no reader
takes for a site's.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

import requests

from glidepost.schema.checks import OK, Finding, Skipped, attempt
from glidepost.schema.demand import Demand
from glidepost.schema.document import parse_object
from glidepost.schema.errors import StoreError
from glidepost.schema.keychain import KEYS_KEY
from glidepost.schema.keys import SigningKey
from glidepost.schema.publisher_config import PublisherConfig
from glidepost.schema.signing import verify
from glidepost.schema.store_keys import DEMAND_KEY
from glidepost.schema.units import format_duration

from . import publish
from .check_forms import PROBE_KEY, PROBES, FormCheck
from .store import S3Store

MAX_SKEW: Final = timedelta(seconds=60)
# Sites may see an older document than the store's for as long as caches keep it, and some more.
MAX_LAG: Final = timedelta(seconds=60)
_JSON: Final = "application/json"


class StoreCheck:
    """One round of checks of one store. `clock` tells this host's time."""

    def __init__(self, config: PublisherConfig, store: S3Store, *, clock: Callable[[], datetime]) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._session = requests.Session()
        self._session.auth = lambda request: request  # a stranger: no password from ~/.netrc either
        self._public = config.store.public_url.rstrip("/") + "/" + config.store.prefix
        self._probe = b'{"probe": "%s"}' % secrets.token_hex(16).encode()

    def __call__(self) -> Iterator[Finding]:
        """Yields what is found, in an order in which the first failure explains those after it."""
        with self._session:
            yield attempt("store: list", self._list)
            written = attempt("store: write and read", self._write)
            yield written
            if written.state == OK:
                yield attempt("store: compressed", self._compress)
                yield from FormCheck(self._config.store, self._store, self._ask, self._probe)()
                yield attempt("store: clock", self._compare_clocks)
                yield attempt("private: heartbeats", self._try_to_read)
                yield attempt("private: writing", self._try_to_write)
                yield attempt("private: list", self._try_to_list)
                yield attempt("store: remove", self._remove)
            yield attempt("published demand", self._look_at_demand)
            yield attempt("public: demand", self._read_demand)
            yield attempt("public: tarballs", self._read_tarballs)

    # As the publisher

    def _list(self) -> str:
        keys = self._store.list("v1/")
        return f"{self._config.store.bucket} holds {len(keys)} objects of this pool"

    def _write(self) -> str:
        for body in (b"{}", self._probe):  # the second time over the first, as each demand is
            self._store.put(PROBE_KEY, body, content_type=_JSON, cache_seconds=0)
        if self._store.get(PROBE_KEY) != self._probe:
            raise StoreError(
                f"{PROBE_KEY} is not what was just written", hint="does something cache between here and the store?"
            )
        return f"{PROBE_KEY} was written, overwritten and read"

    def _compress(self) -> str:
        self._store.put(PROBE_KEY, self._probe, content_type=_JSON, cache_seconds=0, compress_above=0)
        if self._store.get(PROBE_KEY) != self._probe:
            raise StoreError(
                "the store forgets Content-Encoding", hint="sites could not read large documents: use another store"
            )
        return "keeps Content-Encoding"

    def _remove(self) -> str:
        for key in PROBES:
            self._store.delete(key)
            if self._store.get(key) is not None:
                raise StoreError(f"{key} is still there after it was removed", hint="is the bucket locked?")
        return "what was written for these checks is gone"

    # As anybody

    def _compare_clocks(self) -> str:
        answer = self._ask("GET", self._address(PROBE_KEY)[0])
        try:
            said = parsedate_to_datetime(answer.headers.get("Date", ""))
        except (TypeError, ValueError, IndexError, OverflowError) as error:
            raise Skipped("the store does not say its time", remedy="compare date -u here with a clock") from error
        skew_s = int((said - self._clock()).total_seconds())
        if abs(skew_s) > MAX_SKEW.total_seconds():
            raise StoreError(
                f"this host's clock and the store's differ by {skew_s} s",
                hint="set the clock (chronyc makestep): beyond 5 minutes sites refuse the demand",
            )
        return f"differs by {abs(skew_s)} s from this host's"

    def _try_to_read(self) -> str:
        for key in PROBES:
            for url in self._address(key):
                answer = self._ask("GET", url)
                if answer.status_code == 200 and self._probe in answer.content:
                    raise StoreError(
                        f"anybody can read {url}",
                        hint="the bucket's policy must name what is public: neither v1/heartbeats/* nor v1/logs/* is",
                    )
        return "a stranger cannot read them"

    def _try_to_write(self) -> str:
        for url in self._address(PROBE_KEY):
            answer = self._ask("PUT", url, data=b"{}")
            if answer.status_code < 300 and self._store.get(PROBE_KEY) == b"{}":
                raise StoreError(f"anybody can write {url}", hint="make the bucket private, at once")
        return "a stranger cannot write"

    def _try_to_list(self) -> str:
        bucket = self._store.bucket_url
        for url in (f"{bucket}/?list-type=2", f"{self._config.store.public_url.rstrip('/')}/?list-type=2"):
            answer = self._ask("GET", url)
            if answer.status_code == 200 and b"<ListBucketResult" in answer.content:
                raise StoreError(
                    f"anybody can list the bucket: {url}", hint="take s3:ListBucket from everybody in its policy or ACL"
                )
        return "a stranger cannot list the bucket"

    # What is published

    def _look_at_demand(self) -> str:
        stored = publish.current(self._store)
        known = publish.read(stored)
        if stored is None or known is None:
            raise Skipped("nothing is published yet", remedy="glidepost publisher run, then check again")
        verify(stored, [SigningKey.load(Path(self._config.demand.signing_key)).public])
        now = self._clock()
        if known.pool != self._config.pool.name:
            raise StoreError(
                f"it is of pool {known.pool}", hint="give each pool a bucket or a [store] prefix of its own"
            )
        if now >= known.expires_at:
            raise StoreError(
                f"demand {known.sequence} expired {_span(known.expires_at, now)} ago: sites submit nothing",
                hint="does cron run glidepost publisher run? Look at what it mails",
            )
        return f"demand {known.sequence} is signed by our key, and good for {_span(now, known.expires_at)}"

    def _read_demand(self) -> str:
        url = f"{self._public}{DEMAND_KEY}"
        stored = publish.read(publish.current(self._store))
        if stored is None:
            raise Skipped("nothing is published yet", remedy="glidepost publisher run, then check again")
        answer = self._ask("GET", url)
        if answer.status_code != 200:
            raise StoreError(
                f"GET {url}: HTTP {answer.status_code}",
                hint="is [store] public_url right, and does the bucket's policy let anybody read v1/demand.json?",
            )
        keys_url = f"{self._public}{KEYS_KEY}"
        if self._store.get(KEYS_KEY) is not None and self._ask("GET", keys_url).status_code != 200:
            raise StoreError(
                f"GET {keys_url}: no answer, so sites cannot follow a change of keys",
                hint="does the bucket's policy let anybody read v1/keys.json?",
            )
        seen = Demand.from_json(parse_object(answer.content, what=url))
        if seen.sequence != stored.sequence and self._clock() - stored.generated_at > MAX_LAG:
            raise StoreError(
                f"GET {url}: demand {seen.sequence}, and the store has {stored.sequence}",
                hint="is it another bucket's address, or does a cache not respect Cache-Control?",
            )
        return f"{url} is demand {seen.sequence}"

    def _read_tarballs(self) -> str:
        stored = publish.read(publish.current(self._store))
        tarballs = stored.glidein.all_tarballs if stored else ()
        if not tarballs:
            raise Skipped("no demand names a tarball yet", remedy="glidepost publisher run, then check again")
        for tarball in tarballs:
            answer = self._ask("HEAD", tarball.url)
            size = answer.headers.get("Content-Length", "")
            if answer.status_code != 200 or (size.isdigit() and int(size) != tarball.size_bytes):
                raise StoreError(
                    f"HEAD {tarball.url}: HTTP {answer.status_code}, {size} of {tarball.size_bytes} bytes",
                    hint="may anybody read v1/glidein/*? If it is damaged, remove it: the next run uploads it again",
                )
        return f"{len(tarballs)} can be fetched"

    def _address(self, key: str) -> tuple[str, str]:
        """Returns where an object would be: at the store itself, and where sites look."""
        return f"{self._store.bucket_url}/{self._config.store.prefix}{key}", f"{self._public}{key}"

    def _ask(self, method: str, url: str, **what: Any) -> requests.Response:
        """Returns the answer to a stranger's request; `what` is what requests calls data, files and headers."""
        try:
            return self._session.request(method, url, timeout=15, allow_redirects=False, **what)
        except requests.RequestException as error:
            place = url.partition("?")[0]  # the rest may be a signature, which an exception's text holds too
            raise StoreError(f"{method} {place}: {type(error).__name__}", hint=f"try: curl -v {place}") from error


def _span(start: datetime, end: datetime) -> str:
    return format_duration(int((end - start).total_seconds()))
