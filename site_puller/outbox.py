"""A folder from which another host carries heartbeats to the store, with curl and without any key of the site.

It holds one heartbeat, and how to send it as a curl configuration. The store has room for one heartbeat of a site, so a
queue of them would lose what all but the last one said. Instead the next heartbeat takes up the outcomes of one that is
still here. Who carried one removes it; until then its outcomes are told again, so that they are counted twice rather
than not at all.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Final, Optional

from glidepost.schema.document import parse_object
from glidepost.schema.errors import ConfigError, UntrustedDocument
from glidepost.schema.files import make_folder, write_atomic
from glidepost.schema.heartbeat import Heartbeat
from glidepost.schema.mailbox import Form

from .source import read_bounded
from .trim import MAX_BYTES, fitted

HEARTBEAT: Final = "heartbeat.json"
CURL: Final = "heartbeat.curl"

_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"})
_MAX_CODES: Final = 64  # of outcomes, in the schema
_MAX_COUNT: Final = 10**9

# --config of curl(1): one option a line. Prints the status alone, because a portal's login page is no success.
_OPTIONS: Final = """\
# Sends heartbeat.json, which lies beside this file. The form is a secret of the site.
silent
show-error
globoff
max-time = 120
output = "/dev/null"
write-out = "%{http_code}"
"""


def put(heartbeat: Heartbeat, form: Form, folder: Path) -> None:
    """Puts a heartbeat into the outbox, in the place of one that nobody carried yet.

    Raises:
        ConfigError: when the outbox is another site's.
        GlidepostError: when the heartbeat breaks its schema: a bug.
        OSError: when it cannot be written.
    """
    body = fitted(_merged(heartbeat, _waiting(folder), folder))
    make_folder(folder, mode=0o700)
    # The heartbeat last: it is what a carrier looks for. An older form would do for it, so the two need not agree.
    write_atomic(folder / CURL, curl_config(form).encode(), mode=0o600)
    write_atomic(folder / HEARTBEAT, body, mode=0o600)


def curl_config(form: Form) -> str:
    """Returns a form as curl(1) reads it with --config, to be run in the folder of the heartbeat.

    The file is the last field of a POST: S3 ignores all fields behind it.
    """
    if form.method == "PUT":
        lines = [f"header = {_quoted(f'{name}: {value}')}" for name, value in form.headers.items()]
        file = f"upload-file = {_quoted(HEARTBEAT)}"
    else:
        lines = [f"form-string = {_quoted(f'{name}={value}')}" for name, value in form.fields.items()]
        file = f"form = {_quoted(f'file=@{HEARTBEAT};type=application/json')}"
    return "\n".join([f"{_OPTIONS}url = {_quoted(form.url)}", *lines, file]) + "\n"


def _quoted(text: str) -> str:
    """Returns a value for curl's config: within double quotes it knows these escapes, and takes the rest as it is."""
    return '"' + text.translate(_ESCAPES) + '"'


def _waiting(folder: Path) -> Optional[Heartbeat]:
    try:
        return Heartbeat.from_json(parse_object(read_bounded(folder / HEARTBEAT, MAX_BYTES), what=HEARTBEAT))
    except (OSError, ValueError, UntrustedDocument):
        return None  # carried, or damaged: there is nothing to take up


def _merged(heartbeat: Heartbeat, waiting: Optional[Heartbeat], folder: Path) -> Heartbeat:
    if waiting is None:
        return heartbeat
    if waiting.site != heartbeat.site:
        raise ConfigError(
            f"{folder} holds a heartbeat of site {waiting.site}", hint="give each site an outbox of its own"
        )
    counts = Counter(waiting.outcomes) + Counter(heartbeat.outcomes)
    return replace(heartbeat, outcomes={code: min(count, _MAX_COUNT) for code, count in counts.most_common(_MAX_CODES)})
