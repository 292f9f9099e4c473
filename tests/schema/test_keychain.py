from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepost.schema.errors import UntrustedDocument
from glidepost.schema.keychain import MAX_LINKS, Keychain, Link, Trust, first, last, whole
from glidepost.schema.keys import PublicKey, SigningKey
from glidepost.schema.signing import sign

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)
STEPS = st.lists(st.sampled_from(["rotate", "lose-next", "revoke"]), max_size=8)


def key(number: int) -> SigningKey:
    return SigningKey(number.to_bytes(32, "big"))


ROOT, THIEF = key(10_000), key(20_000)


@dataclass
class Pool:
    """A pool that changes its keys. `history` are the keys that were current, the oldest first."""

    name: str = "demo"
    numbers: int = 0
    chain: Keychain = field(default_factory=lambda: Keychain(()))
    history: list[SigningKey] = field(default_factory=list)
    following: Optional[SigningKey] = None
    epoch: int = 0

    def __post_init__(self) -> None:
        self.history, self.following = [self.fresh()], self.fresh()
        self.chain = first(self.name, self.history[0], self.following.public, NOW)

    def fresh(self) -> SigningKey:
        self.numbers += 1
        return key(self.numbers)

    def rotate(self) -> None:
        old, new = self.history[-1], self.following or self.fresh()
        self._go_on(new, self.fresh(), old)

    def lose_next(self) -> None:
        """Rotates to a key that nobody knew, and makes none ahead."""
        self._go_on(self.fresh(), None, self.history[-1])

    def revoke(self, root: SigningKey = ROOT) -> None:
        self.epoch += 1
        self._go_on(self.fresh(), self.fresh(), root)

    def _go_on(self, new: SigningKey, following: Optional[SigningKey], signer: SigningKey) -> None:
        text = None if following is None else str(following.public)
        link = Link(self.name, self.epoch, len(self.chain.links) + 1, NOW, str(new.public), text)
        self.chain = self.chain.extended(sign(link.to_json(), signer, new))
        self.history.append(new)
        self.following = following

    def play(self, steps: list[str]) -> Pool:
        for step in steps:
            {"rotate": self.rotate, "lose-next": self.lose_next, "revoke": self.revoke}[step]()
        return self

    @property
    def trust(self) -> Trust:
        link = last(self.chain)
        return Trust(link.keys, link.epoch, link.sequence)


def pinned(who: SigningKey) -> Trust:
    return Trust((who.public,))


def without(chain: Keychain, *numbers: int) -> Keychain:
    return Keychain(tuple(link for number, link in enumerate(chain.links, start=1) if number not in numbers))


def link_by(signers: list[SigningKey], **changes: Any) -> dict[str, Any]:
    values = {
        "pool": "demo",
        "epoch": 0,
        "sequence": 2,
        "issued_at": NOW,
        "current": str(THIEF.public),
        "next": None,
        **changes,
    }
    return sign(Link(**values).to_json(), *signers)


# Whom readers believe


@given(STEPS, st.data())
def test_whatever_key_was_pinned_all_end_at_the_same_trust(steps, data):
    pool = Pool().play(steps)
    who = data.draw(st.sampled_from(pool.history))
    assert pinned(who).follow(pool.chain, pool="demo", root=ROOT.public) == pool.trust


@given(STEPS, STEPS)
def test_one_who_slept_ends_where_one_who_watched_does(early, late):
    pool = Pool().play(early)
    slept = pinned(pool.history[0]).follow(pool.chain, root=ROOT.public)
    pool.play(late)
    assert slept.follow(pool.chain, root=ROOT.public) == pool.trust
    assert pool.trust.follow(pool.chain, root=ROOT.public) == pool.trust


@given(STEPS, STEPS)
def test_an_old_copy_takes_nothing_back(early, late):
    pool = Pool().play(early)
    old = pool.chain
    pool.play(late)
    assert pool.trust.follow(old, root=ROOT.public) == pool.trust


@given(STEPS, st.data())
def test_without_the_root_key_only_the_present_epoch_is_followed(steps, data):
    pool = Pool().play(steps)
    number = data.draw(st.integers(0, len(pool.history) - 1))
    if Link.from_json(pool.chain.links[number]).epoch == pool.epoch:
        assert pinned(pool.history[number]).follow(pool.chain) == pool.trust
    else:
        with pytest.raises(UntrustedDocument, match="replaced with its root key") as caught:
            pinned(pool.history[number]).follow(pool.chain)
        assert "public_key" in caught.value.hint


def test_a_pool_without_a_chain_leaves_the_pinned_key():
    assert pinned(key(1)).follow(Keychain(())) == pinned(key(1))


@given(STEPS)
def test_a_key_that_never_signed_for_the_pool_is_told(steps):
    pool = Pool().play([step for step in steps if step != "revoke"])
    with pytest.raises(UntrustedDocument, match="none of the pool's"):
        pinned(THIEF).follow(pool.chain, root=ROOT.public)


# Hostile chains


@given(STEPS, st.data())
def test_links_that_were_taken_out_lead_to_nobody_but_the_pool(steps, data):
    pool = Pool().play(steps)
    gone = data.draw(st.sets(st.integers(1, len(pool.chain.links))))
    who = data.draw(st.sampled_from(pool.history))
    ours = {item.public for item in pool.history} | {PublicKey.parse(text) for text in _nexts(pool.chain)}
    try:
        found = pinned(who).follow(without(pool.chain, *gone), root=ROOT.public)
    except UntrustedDocument:
        return
    assert set(found.keys) <= ours
    assert (found.epoch, found.sequence) <= (pool.trust.epoch, pool.trust.sequence)


def _nexts(chain: Keychain) -> list[str]:
    return [data["next"] for data in chain.links if data["next"]]


@given(STEPS, st.data())
def test_links_in_another_order_lead_to_nobody_else(steps, data):
    pool = Pool().play(steps)
    shuffled = Keychain(tuple(data.draw(st.permutations(pool.chain.links))))
    who = data.draw(st.sampled_from(pool.history))
    try:
        found = pinned(who).follow(shuffled, root=ROOT.public)
    except UntrustedDocument:
        return
    assert (found.epoch, found.sequence) <= (pool.trust.epoch, pool.trust.sequence)
    assert found.sequence in {0, *(data["sequence"] for data in pool.chain.links)}


@given(STEPS, st.data())
def test_a_link_that_was_changed_is_refused_by_all_to_whom_it_is_new(steps, data):
    pool = Pool().play(["rotate", *steps])
    number = data.draw(st.integers(1, len(pool.chain.links) - 1))
    forged = [dict(link) for link in pool.chain.links]
    forged[number]["current"] = str(THIEF.public)
    before = Trust(Link.from_json(forged[number - 1]).keys, forged[number - 1]["epoch"], forged[number - 1]["sequence"])
    with pytest.raises(UntrustedDocument, match="signature by key"):
        before.follow(Keychain(tuple(forged)), root=ROOT.public)
    assert pool.trust.follow(Keychain(tuple(forged)), root=ROOT.public) == pool.trust


def test_a_stranger_cannot_add_a_link():
    pool = Pool()
    chain = pool.chain.extended(link_by([THIEF]))
    for trust in (pinned(key(1)), pool.trust):
        with pytest.raises(UntrustedDocument, match="not signed by a key we trust"):
            trust.follow(chain, root=ROOT.public)


def test_a_key_that_was_rotated_away_cannot_add_a_link():
    pool = Pool().play(["rotate", "rotate"])
    chain = pool.chain.extended(link_by([key(1), THIEF], sequence=4))
    with pytest.raises(UntrustedDocument, match="not signed by a key we trust"):
        pinned(key(1)).follow(chain)


def test_the_thief_of_the_signing_key_cannot_begin_an_epoch_where_the_root_is_pinned():
    pool = Pool()
    chain = pool.chain.extended(link_by([key(1), THIEF], epoch=1))
    for trust in (pool.trust, pinned(key(1))):
        with pytest.raises(UntrustedDocument, match="not signed by a key we trust"):
            trust.follow(chain, root=ROOT.public)
    with pytest.raises(UntrustedDocument, match="did not pin"):
        pool.trust.follow(chain)


def test_the_root_key_overrides_a_thiefs_chain_however_long():
    pool, stolen = Pool(), Pool()
    pool.revoke()
    for _ in range(5):
        stolen.rotate()
    misled = pinned(key(1)).follow(stolen.chain, root=ROOT.public)
    assert (misled.epoch, misled.sequence) == (0, 6)
    assert misled.follow(pool.chain, root=ROOT.public) == pool.trust
    both = Keychain((*pool.chain.links, *stolen.chain.links[1:]))
    assert misled.follow(both, root=ROOT.public) == pool.trust
    assert pool.trust.follow(stolen.chain, root=ROOT.public) == pool.trust


def test_another_root_key_does_not_count():
    pool = Pool()
    pool.revoke(root=THIEF)
    with pytest.raises(UntrustedDocument, match="not signed by a key we trust"):
        pinned(key(1)).follow(pool.chain, root=ROOT.public)


def test_keys_of_another_pool_are_refused_though_the_key_is_right():
    with pytest.raises(UntrustedDocument, match="keys of pool demo, not other"):
        pinned(key(1)).follow(Pool().chain, pool="other")
    assert pinned(key(1)).follow(Pool().chain) == Pool().trust


@pytest.mark.parametrize(
    "link", [{}, {"kind": "key-link/1"}, {**Pool().chain.links[0], "epoch": -1}, {**Pool().chain.links[0], "next": 7}]
)
def test_a_link_that_is_malformed_is_refused(link):
    with pytest.raises(UntrustedDocument, match="not a key-link/1 document"):
        pinned(key(1)).follow(Keychain((link,)))


@pytest.mark.parametrize("links", [None, [7], [{}] * (MAX_LINKS + 1)])
def test_a_chain_that_is_malformed_or_too_long_is_refused(links):
    with pytest.raises(UntrustedDocument, match="not a keys/1 document"):
        Keychain.from_json({"kind": "keys/1", "links": links})


def test_a_link_that_names_no_key_is_refused():
    odd = str(THIEF.public)[:-2] + "B="  # bits that belong to no byte
    with pytest.raises(UntrustedDocument, match="link 1 of the pool's keys: a public key is not base64"):
        pinned(key(1)).follow(Keychain((link_by([key(1)], sequence=1, current=odd),)))


# Our own chain


@given(STEPS)
def test_a_whole_chain_is_known_from_itself(steps):
    pool = Pool().play(steps)
    assert whole(pool.chain, pool="demo", root=ROOT.public) == last(pool.chain)


def test_a_chain_that_begins_in_a_later_epoch_is_whole_too():
    pool = Pool().play(["rotate", "revoke", "rotate"])
    assert whole(without(pool.chain, 1, 2), pool="demo", root=ROOT.public).sequence == 4


@pytest.mark.parametrize(
    ("chain", "why"),
    [
        (Keychain(()), "an empty list"),
        (without(Pool().play(["lose-next", "rotate"]).chain, 2), "not signed by a key we trust"),
        (Keychain(Pool().play(["rotate"]).chain.links[::-1]), "not in order"),
        (Pool().chain.extended(link_by([key(1)], pool="other")), "keys of pool other, not demo"),
        (Pool().chain.extended(link_by([THIEF])), "not signed by a key we trust"),
        (Keychain((link_by([key(1)], sequence=1),)), "none of the pool's"),
    ],
    ids=["empty", "gap", "reversed", "pool", "thief", "not by itself"],
)
def test_a_chain_with_a_flaw_is_not_whole(chain, why):
    with pytest.raises(UntrustedDocument, match=why):
        whole(chain, pool="demo", root=ROOT.public)


def test_of_a_chain_that_is_too_long_the_oldest_links_go():
    pool = Pool()
    for _ in range(MAX_LINKS - 1):
        pool.rotate()
    link = Link.from_json(pool.chain.links[-1])
    newer = Link("demo", 0, link.sequence + 1, NOW, str(pool.following.public))
    longer = pool.chain.extended(sign(newer.to_json(), pool.history[-1], pool.following))
    assert len(longer.links) == MAX_LINKS
    assert Link.from_json(longer.links[0]).sequence == 2
    assert pinned(pool.history[1]).follow(longer).sequence == MAX_LINKS + 1
    Keychain.from_json(longer.to_json())


def test_the_first_link_may_name_no_next_key():
    chain = first("demo", key(1), None, NOW)
    assert pinned(key(1)).follow(chain) == Trust((key(1).public,), 0, 1)


def test_an_empty_chain_has_no_last_link():
    assert last(Keychain(())) is None


def test_the_example_is_whole():
    file = Path(__file__).parents[2] / "schema" / "keys-1.example.json"
    chain = Keychain.from_json(json.loads(file.read_text(encoding="utf-8")))
    assert len(chain.links) > 1
    oldest = Link.from_json(chain.links[0])
    assert Trust(oldest.keys[:1]).follow(chain).sequence >= 1
