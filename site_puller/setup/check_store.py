"""The pool as this site sees it: store, clock, demand, mailbox and token, fetched anew, believed as little as ever."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final, Optional, Union
from urllib.parse import urlsplit

import requests

from glidepost.schema import idtoken
from glidepost.schema.checks import OK, Finding, Remark, Skipped, attempt
from glidepost.schema.errors import ConfigError, GlidepostError, StoreError, UntrustedDocument
from glidepost.schema.keys import SigningKey
from glidepost.schema.mailbox import Letter
from glidepost.schema.puller_config import PullerConfig
from glidepost.schema.store_keys import DEMAND_KEY
from glidepost.schema.units import counted, format_duration
from glidepost.site_puller import fetch, freshness, shut_out, trust
from glidepost.site_puller.pool_token import HINT, TokenLife

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_CONNECT_S: Final = 5
# A clock that is wrong by more than this is worth a word; freshness.MAX_CLOCK_SKEW is where the puller stops.
_SKEW_S: Final = 60


class PoolCheck:
    """One round of checks of one pool. Documents go to a folder of their own: no kept copy is taken for good."""

    def __init__(self, config: PullerConfig, session: requests.Session, *, now: datetime) -> None:
        self._config = config
        self._session = session
        self._now = now
        self._skew_s: Optional[int] = None
        self._letter: Optional[Letter] = None
        self._believed: Optional[trust.Believed] = None

    def __call__(self) -> Iterator[Finding]:
        """Yields what is found, in an order in which the first failure explains those after it."""
        is_file = self._config.url.startswith("file:")
        if not is_file:
            yield attempt("proxy", self._proxy)
        with tempfile.TemporaryDirectory(prefix="glidepost-check-") as folder:
            self._source = fetch.open_source(replace(self._config, state=Path(folder)), self._session)
            store = attempt("store", self._store)
            yield store
            if store.state != OK:
                return
            yield attempt("clock", self._clock)
            yield attempt("pool's keys", self._keys)
            if self._believed:
                yield attempt("demand", self._demand)
                yield attempt("mailbox", self._mailbox)
        if self._letter:
            yield attempt("upload form", lambda letter=self._letter: _form(letter))  # type: ignore[misc]
            yield attempt("pool token", lambda letter=self._letter: self._token(letter))  # type: ignore[misc]

    def _proxy(self) -> str:
        """Says whether cron can reach what this shell can: the classic of a puller that works by hand only."""
        config = self._config
        if config.proxy:
            _connect(config.proxy)
            return f"{_place(config.proxy)} takes connections ([pool] proxy)"
        found = requests.utils.get_environ_proxies(config.url).get(urlsplit(config.url).scheme)
        if not found:
            return "none; set [pool] proxy if this host reaches the outside only through one"
        try:
            with requests.Session() as direct:
                direct.trust_env = False
                direct.verify = self._session.verify
                direct.head(f"{config.url}/{DEMAND_KEY}", timeout=min(_CONNECT_S, config.timeout_s))
        except requests.RequestException as error:
            raise ConfigError(
                f"the store is reached only through {_place(found)}, which this shell's environment names: cron has no"
                " such variable",
                hint=f'write into puller.toml: [pool] proxy = "http://{_place(found)}"',
            ) from error
        return f"{_place(found)} is set in this shell; the store is reached without it too"

    def _store(self) -> Union[str, Remark]:
        fetched = self._source.get(DEMAND_KEY, now=self._now)
        if fetched is None:
            raise StoreError(
                f"{self._config.url}/{DEMAND_KEY}: not there",
                hint="has the pool's publisher run? is [pool] url right? Ask the pool's admin",
            )
        self._skew_s = fetched.clock_skew_s
        text = f"{self._config.url} has a demand of {len(fetched.body)} bytes"
        if _is_plain(self._config.url):
            return Remark(
                f"{text}, without TLS",
                "others on the way see what you fetch and send; with https:// in [pool] url they do not",
            )
        return text

    def _clock(self) -> Union[str, Remark]:
        if self._skew_s is None:
            raise Skipped("the store does not tell its time", remedy="compare by hand: date -u")
        text = f"differs from the store's by {abs(self._skew_s)} s"
        if abs(self._skew_s) > freshness.MAX_CLOCK_SKEW.total_seconds():
            raise UntrustedDocument(
                f"{text}: the puller submits nothing, for it cannot tell an old demand",
                hint="set the clock (chronyc makestep), or ask the host's admin to run chronyd",
            )
        if abs(self._skew_s) > _SKEW_S:
            return Remark(text, "does this host run chronyd or ntpd? From 5 minutes on nothing is submitted")
        return text

    def _keys(self) -> Union[str, Remark]:
        """Says whose signature counts, from what the puller remembers or, before its first run, the pinned key."""
        config = self._config
        self._believed = trust.follow(config, self._source, now=self._now)
        found = self._believed.trust
        current = found.keys[0]
        text = f"{current.key_id} signs, epoch {found.epoch}, {counted(found.sequence, 'link')} followed"
        if not self._believed.is_published:
            text += "; the store has no v1/keys.json, so what is pinned or remembered stands"
        if config.public_key not in found.keys:
            return Remark(
                f"{text}; the pinned key {config.public_key.key_id} no longer signs",
                f"the puller follows by itself; for a new installation write public_key = {str(current)!r}",
            )
        if config.root_key is None:
            return Remark(
                f"{text}; no root key is pinned",
                "should the pool's key be stolen, this site will need a new public_key by hand; ask the pool's admin "
                "for [pool] root_key",
            )
        return text

    def _demand(self) -> Union[str, Remark]:
        config = self._config
        known = fetch.demand(config, self._source, now=self._now, believed=self._believed)
        demand = known.demand
        if shut_out.is_out(demand, config.site):
            raise shut_out.error(demand, config.site)
        ours = sum(1 for group in demand.groups if group.sites.get(config.site))
        text = (
            f"sequence {demand.sequence} of pool {demand.pool}, "
            f"{format_duration(known.age_s)} old; {ours} of {counted(len(demand.groups), 'group')} for {config.site}"
        )
        if not demand.glidein.tarballs:
            return Remark(text, "it names no code for glideins to run: tell the pool's admin")
        return text

    def _mailbox(self) -> str:
        key = SigningKey.load(self._config.key)
        self._letter = letter = fetch.letter(self._config, self._source, key, now=self._now, believed=self._believed)
        left = format_duration(int((letter.expires_at - self._now).total_seconds()))
        age = format_duration(int((self._now - letter.issued_at).total_seconds()))
        return f"opens with {self._config.key.name}, written {age} ago, good for {left}"

    def _token(self, letter: Letter) -> str:
        """Says whether the token lives as long as a glidein that starts now, of the shape with the longest walltime."""
        life = TokenLife.of(letter.pool_token)
        claims = idtoken.claims(letter.pool_token)
        left_s = life.left_s(self._now)
        if left_s is None:
            raise Skipped(f"{claims.get('sub')}, has no end", remedy="the pool's admin may want one")
        if left_s <= 0:
            raise GlidepostError(
                f"expired {format_duration(-left_s)} ago: no glidein can join the pool",
                hint="the pool's publisher does not run, or its clock is wrong; tell the pool's admin",
            )
        short = [shape for shape in self._config.shapes if life.is_short_for(shape, self._now)]
        if short:
            names = ", ".join(f"{item.name} ({format_duration(item.resources.walltime_s)})" for item in short)
            raise ConfigError(
                f"good for {format_duration(left_s)}, too short for the walltime of {names}: of these nothing is "
                "submitted",
                hint=HINT,
            )
        made = claims.get("iat")
        age = f"made {format_duration(int(self._now.timestamp()) - made)} ago, " if isinstance(made, int) else ""
        return f"{claims.get('sub')}, {age}good for {format_duration(left_s)}"


def _form(letter: Letter) -> Union[str, Remark]:
    place = urlsplit(letter.heartbeat_form.url).netloc
    if _is_plain(letter.heartbeat_form.url):
        return Remark(f"to {place}, without TLS", "tell the pool's admin: the form is a credential")
    return f"to {place}; the first run sends a heartbeat through it"


def _is_plain(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in _LOOPBACK


def _place(proxy: str) -> str:
    """Returns host and port of a proxy, without any password."""
    return urlsplit(proxy).netloc.rpartition("@")[2] or proxy.rpartition("@")[2]


def _connect(proxy: str) -> None:
    parts = urlsplit(proxy)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=_CONNECT_S):
            pass
    except (OSError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"{_place(proxy)}: no connection: {error}", hint="correct [pool] proxy in puller.toml, or remove it"
        ) from error
