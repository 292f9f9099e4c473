"""The forms of a store, tried as a site would use them, and as it must not; and what their key may write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final, Optional, Union

import requests

from glidepost.schema.checks import Finding, Remark, Skipped, attempt
from glidepost.schema.errors import StoreError
from glidepost.schema.mailbox import Form
from glidepost.schema.publisher_config import StoreSettings

from .store import S3Store

PROBE_KEY: Final = "v1/check/probe.json"
HEARTBEAT_KEY: Final = "v1/heartbeats/check"  # readers take names that end in .json
_LOGS: Final = "_check"  # no site has this name
LOG_KEY: Final = f"v1/logs/{_LOGS}/probe.tar.gz"
PROBES: Final = (PROBE_KEY, HEARTBEAT_KEY, LOG_KEY)
MAX_BYTES: Final = 1024
_LIFE_S: Final = 300
_JSON: Final = "application/json"
_NOT_LOOKED_AT: Final = "this store does not look at what a form allows: use another one"


class FormCheck:
    """One round of checks of one store's forms. `ask` sends a request without any credentials, `probe` is JSON."""

    def __init__(
        self, settings: StoreSettings, store: S3Store, ask: Callable[..., requests.Response], probe: bytes
    ) -> None:
        self._settings = settings
        self._store = store
        self._ask = ask
        self._probe = probe

    def __call__(self) -> Iterator[Finding]:
        """Yields what is found."""
        yield attempt("store: upload form", self._upload)
        yield attempt("store: log form", self._upload_log)
        yield attempt("store: key of the forms", self._try_to_write_more)

    def _upload(self) -> Union[str, Remark]:
        form = self._store.forms.upload(HEARTBEAT_KEY, content_type=_JSON, max_bytes=MAX_BYTES, life_s=_LIFE_S)
        self._expect_yes(form, f"does the store know presigned {form.method}, and may this key write v1/heartbeats/*?")
        if self._store.get(HEARTBEAT_KEY) != self._probe:
            raise StoreError("what a site uploads does not arrive", hint="is [store] endpoint the store of the bucket?")
        if form.method == "PUT":
            self._expect_no("another kind of object", replace(form, headers={"Content-Type": "text/html"}))
            return Remark(
                "a site can write its heartbeat, and nothing else, but of any size",
                'where the store knows presigned POST, take uploads = "put" out of [store]',
            )
        self._expect_no("more than its size", form, body=b" " * (MAX_BYTES + 1))
        self._expect_no("another object", _with(form, key=self._settings.prefix + PROBE_KEY))
        return "a site can write its heartbeat, and nothing else"

    def _upload_log(self) -> str:
        form = self._store.forms.log(_LOGS, life_s=_LIFE_S)
        if form is None:
            raise Skipped("sites get none", remedy="logs and uploads in [store] decide about it")
        prefix = self._settings.prefix
        form = _with(form, key=prefix + LOG_KEY)
        self._expect_yes(form, "may the key that signs forms write v1/logs/*? If it should not: [store] logs = false")
        self._expect_no("another site's logs", _with(form, key=f"{prefix}v1/logs/{_LOGS}2/probe.tar.gz"))
        self._expect_no("another kind of object", _with(form, **{"Content-Type": "text/html"}))
        return "a site's glideins can write their logs, and nothing else"

    def _try_to_write_more(self) -> Union[str, Remark]:
        """Tries the probe for all that sites read: a demand written for a test would be read by them."""
        form = self._store.forms.upload(PROBE_KEY, content_type=_JSON, max_bytes=MAX_BYTES, life_s=_LIFE_S)
        if self._send(form, self._probe).status_code >= 300:
            return "it can write nothing that sites read"
        limited = "v1/heartbeats/* and v1/logs/* only"
        if not self._settings.forms_credentials:
            return Remark(
                "it is the publisher's own, so each form is signed by a key that may write everything",
                f"set [store] forms_credentials, to those of a user who may write {limited}",
            )
        raise StoreError(
            f"the key in {self._settings.forms_credentials} can also write {PROBE_KEY}, so probably the demand",
            hint=f"its user's policy should let it write {limited}",
        )

    def _expect_yes(self, form: Form, hint: str) -> None:
        answer = self._send(form, self._probe)
        if answer.status_code >= 300:
            raise StoreError(f"{form.method} {form.place}: HTTP {answer.status_code} {answer.text[:200]}", hint=hint)

    def _expect_no(self, what: str, form: Form, body: Optional[bytes] = None) -> None:
        if self._send(form, self._probe if body is None else body).status_code < 300:
            raise StoreError(f"the form lets a site write {what}", hint=_NOT_LOOKED_AT)

    def _send(self, form: Form, body: bytes) -> requests.Response:
        if form.method == "PUT":
            return self._ask("PUT", form.url, data=body, headers=form.headers)
        return self._ask("POST", form.url, data=form.fields, files={"file": ("probe", body, _JSON)})


def _with(form: Form, **fields: str) -> Form:
    """Returns a form some of whose fields are changed, as its bearer can."""
    return replace(form, fields={**form.fields, **fields})
