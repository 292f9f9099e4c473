"""A store as a site sees it, all of whose documents are good until a hostile case changes some (hostile_cases.py)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from pool_tokens import ENDLESS

from glidepost.schema.demand import Demand, GlideinRelease, Group, ScheddView, Tarball
from glidepost.schema.document import encode
from glidepost.schema.heartbeat import Heartbeat
from glidepost.schema.keychain import Keychain, Link, first
from glidepost.schema.keys import SigningKey
from glidepost.schema.mailbox import Form, Letter, Mailbox
from glidepost.schema.resources import Request
from glidepost.schema.signing import sign

DEMAND, MAILBOX, KEYS = "v1/demand.json", "v1/sites/north.json", "v1/keys.json"
POOL = SigningKey(bytes(range(32)))
NEXT = SigningKey(bytes(range(64, 96)))
SITE = SigningKey(bytes(range(32, 64)))
ROOT = SigningKey(bytes(range(96, 128)))
STRANGER = SigningKey(bytes(range(128, 160)))
LIFE = timedelta(minutes=30)


@dataclass
class Stage:
    """What the site will find. `headers` and `statuses` are for those that come by HTTP; `state` for its own files."""

    now: datetime
    objects: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    state: dict[str, bytes] = field(default_factory=dict)

    def demand(self, **changes: Any) -> Demand:
        """Returns a demand that wants five glideins here."""
        group = Group("g00000001", 5, self.now - timedelta(hours=1), 1, Request(1, 1000, 100), sites={"north": 5})
        tarball = Tarball("any", "x86_64", "25.14.1", "https://x.example.org/t.tar.gz", "ab" * 32, 9)
        made = Demand(
            pool="demo",
            sequence=8,
            generated_at=self.now,
            expires_at=self.now + LIFE,
            collectors=("cm.example.org:9618",),
            complete=True,
            schedds=(ScheddView("ap1", 5),),
            groups=(group,),
            glidein=GlideinRelease("stable", (tarball,)),
        )
        return replace(made, **changes)

    def letter(self, **changes: Any) -> Letter:
        """Returns what is written to this site."""
        form = Form("http://127.0.0.1:9/form", {"key": "v1/heartbeats/north.json"})
        made = Letter("north", self.now, self.now + timedelta(hours=48), form, ENDLESS)
        return replace(made, **changes)

    def mailbox(self, **changes: Any) -> Mailbox:
        """Returns that, sealed."""
        return Mailbox.pack(self.letter(**changes), SITE.public)

    def chain(self) -> Keychain:
        """Returns keys of which the pinned one is the current one."""
        return first("demo", POOL, NEXT.public, self.now)

    def link(self, **changes: Any) -> dict[str, Any]:
        """Returns a second statement about keys, without signatures."""
        made = Link("demo", 0, 2, self.now, str(NEXT.public))
        return replace(made, **changes).to_json()

    def heartbeat(self) -> Heartbeat:
        """Returns what a site reports."""
        return Heartbeat("north", "i1", "0.1.0", 1, self.now, ())

    def put(self, key: str, data: dict[str, Any], *signers: SigningKey) -> None:
        """Stores a document, signed by the pool if by nobody else."""
        self.objects[key] = encode(sign(data, *(signers or (POOL,))))

    def change(self, key: str, edit: Callable[[dict[str, Any]], None]) -> None:
        """Changes a stored document, and leaves its signatures."""
        data = json.loads(self.objects[key])
        edit(data)
        self.objects[key] = encode(data)


def good(now: datetime) -> Stage:
    """Returns a store without fault."""
    stage = Stage(now)
    stage.put(DEMAND, stage.demand().to_json())
    stage.put(MAILBOX, stage.mailbox().to_json())
    stage.objects[KEYS] = encode(stage.chain().to_json())
    return stage
