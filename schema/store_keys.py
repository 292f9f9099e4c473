"""Where the documents lie in the store, for all sides. Keys stand behind the prefix of the pool, if it has one."""

from __future__ import annotations

from typing import Final

DEMAND_KEY: Final = "v1/demand.json"
HEARTBEATS: Final = "v1/heartbeats/"
MAILBOXES: Final = "v1/sites/"
# What a site's form allows; a store that ignores the form's bounds is not trusted with more.
MAX_HEARTBEAT_BYTES: Final = 64 * 1024


def heartbeat_key(site: str) -> str:
    """Returns the key of a site's heartbeat."""
    return f"{HEARTBEATS}{site}.json"


def mailbox_key(site: str) -> str:
    """Returns the key of a site's mailbox."""
    return f"{MAILBOXES}{site}.json"
