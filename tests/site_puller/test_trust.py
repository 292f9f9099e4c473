from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Optional

import pytest

from glidepost.schema import rotation
from glidepost.schema.document import encode
from glidepost.schema.keychain import KEYS_KEY, Keychain, Link, first
from glidepost.schema.keys import SigningKey
from glidepost.schema.rotation import KeyFiles
from glidepost.schema.signing import sign
from glidepost.site_puller import trust
from glidepost.site_puller.cycle import Cycle
from glidepost.site_puller.fetch import open_source
from glidepost.site_puller.heartbeat import Route
from glidepost.site_puller.setup.check_store import PoolCheck

ROOT = SigningKey(bytes(range(64, 96)))
DEMAND, MAILBOX = "v1/demand.json", "v1/sites/north.json"
MINUTE = timedelta(minutes=1)


class Pool:
    """The pool's side: its key files, and what it puts into the store."""

    def __init__(self, folder: Path, key: SigningKey, web, publish, now) -> None:
        self.files = KeyFiles("demo", folder / "pool.key", folder / "keys.json", ROOT.public)
        key.save(self.files.signing_key)
        rotation.begin(self.files, now)
        self._web, self._publish, self._now = web, publish, now

    @property
    def key(self) -> SigningKey:
        return SigningKey.load(self.files.signing_key)

    @property
    def chain(self) -> Keychain:
        return rotation.load(self.files)

    def publish(self, *groups, keys: bool = True, by: Optional[SigningKey] = None, **changes) -> None:
        key = by or self.key
        self._publish(*groups, key=key, **changes)
        mailbox = json.loads(self._web.objects[MAILBOX])
        self._web.objects[MAILBOX] = encode(sign(mailbox, key))
        if keys:
            self._web.objects[KEYS_KEY] = encode(self.chain.to_json())

    def rotate(self, times: int = 1) -> None:
        for _ in range(times):
            rotation.rotate(self.files, self._now)

    def revoke(self) -> None:
        rotation.revoke(self.files, ROOT, self._now)


@pytest.fixture
def pool(tmp_path, pool_key, web, publish, now) -> Pool:
    return Pool(tmp_path / "pool", pool_key, web, publish, now)


@pytest.fixture
def rooted(make_config):
    """The configuration of a site that pinned the root key too."""
    return make_config(root_key=ROOT.public)


@pytest.fixture
def looked(session, queue, now):
    """Prepares a cycle and does nothing of it."""

    def look(config):
        source, route = open_source(config, session), Route.of(config, session)
        return Cycle(config, now=now, queues={"cpu": queue}, source=source, route=route).prepare()

    return look


def memory(state: Path) -> dict:
    return json.loads((state / "keys.json").read_text(encoding="utf-8"))


def test_a_pool_without_a_chain_is_believed_by_the_pinned_key(run_cycle, publish, make_group, state):
    publish(make_group(2))
    done = run_cycle()
    assert (done.exit_code, done.submitted) == (0, {"cpu": 2})
    assert not (state / "keys.json").exists()


def test_how_far_the_chain_was_followed_is_remembered(run_cycle, pool, make_group, state, pool_key):
    pool.publish(make_group(2))
    assert run_cycle().submitted == {"cpu": 2}
    said = memory(state)
    assert (said["public_key"], said["root_key"], said["epoch"], said["sequence"]) == (str(pool_key.public), None, 0, 1)
    assert said["keys"][0] == str(pool_key.public)
    before = (state / "keys.json").stat().st_ino
    run_cycle(at=MINUTE)
    assert (state / "keys.json").stat().st_ino == before, "it is written when it changes"


def test_the_chain_is_fetched_whole_only_when_it_changed(run_cycle, pool, web):
    pool.publish()
    run_cycle()
    run_cycle(at=MINUTE)
    assert [status for key, status in web.gets if key == KEYS_KEY] == [200, 304]


def test_a_site_that_slept_through_rotations_goes_on(run_cycle, pool, make_group, pool_key):
    pool.publish()
    assert run_cycle().exit_code == 0
    pool.rotate(3)
    pool.publish(make_group(2), sequence=8)
    done = run_cycle(at=MINUTE)
    assert (done.exit_code, done.submitted) == (0, {"cpu": 2})
    pool.publish(make_group(4), sequence=9, by=pool_key)
    old = run_cycle(at=2 * MINUTE)
    assert (old.exit_code, old.submitted) == (3, {"cpu": 0}), "the old key signs no more"


def test_a_fresh_site_with_an_old_pin_follows_from_there(run_cycle, pool, make_group):
    pool.rotate(3)
    pool.publish(make_group(2))
    assert run_cycle().submitted == {"cpu": 2}


def test_a_demand_by_the_announced_key_is_believed_before_its_link(run_cycle, pool, make_group):
    pool.publish()
    pool.rotate()
    pool.publish(make_group(2), keys=False)
    assert run_cycle().submitted == {"cpu": 2}


def test_an_old_copy_of_the_chain_takes_nothing_back(run_cycle, pool, web, make_group, pool_key, state):
    pool.publish()
    old = web.objects[KEYS_KEY]
    pool.rotate(2)
    pool.publish()
    run_cycle()
    for copy in (old, None):
        web.objects.pop(KEYS_KEY)
        if copy:
            web.objects[KEYS_KEY] = copy
        pool.publish(make_group(2), keys=False, by=pool_key, sequence=8)
        done = run_cycle(at=MINUTE)
        assert (done.exit_code, done.submitted) == (3, {"cpu": 0})
        assert memory(state)["sequence"] == 3
    pool.publish(make_group(2), keys=False, sequence=8)
    assert run_cycle(at=2 * MINUTE).submitted == {"cpu": 2}, "what is remembered stands without a chain"


# A stolen key


def test_a_site_that_pinned_the_root_follows_a_revocation(run_cycle, pool, rooted, make_group, pool_key, state):
    pool.publish()
    run_cycle(rooted)
    pool.revoke()
    pool.publish(make_group(2), sequence=8)
    assert run_cycle(rooted, at=MINUTE).submitted == {"cpu": 2}
    assert memory(state)["epoch"] == 1
    pool.publish(make_group(4), sequence=2**52, by=pool_key)
    thief = run_cycle(rooted, at=2 * MINUTE)
    assert (thief.exit_code, thief.submitted) == (3, {"cpu": 0})


def test_a_site_that_pinned_no_root_submits_nothing_and_says_what_to_do(run_cycle, pool, make_config, make_group):
    pool.publish()
    run_cycle()
    pool.revoke()
    pool.publish(make_group(2), sequence=8)
    done = run_cycle(at=MINUTE)
    assert (done.exit_code, done.submitted, len(done.errors)) == (3, {"cpu": 0}, 1)
    assert "replaced with its root key" in done.errors[0].what
    assert "[pool] public_key" in done.errors[0].hint
    mended = make_config(public_key=pool.key.public)
    assert run_cycle(mended, at=2 * MINUTE).submitted == {"cpu": 2}


def test_a_thief_who_used_up_the_numbers_has_not_silenced_the_pool(run_cycle, pool, rooted, make_group):
    pool.publish(sequence=2**53 - 1)
    assert run_cycle(rooted).exit_code == 0
    pool.revoke()
    pool.publish(make_group(2), sequence=9)
    assert run_cycle(rooted, at=MINUTE).submitted == {"cpu": 2}
    pool.publish(make_group(2), sequence=8)
    assert run_cycle(rooted, at=2 * MINUTE).exit_code == 3


# Pins


def test_who_pins_another_key_starts_again_from_it(run_cycle, pool, make_config, make_group, web, now, state):
    pool.publish(sequence=900)
    run_cycle()
    other = SigningKey.generate()
    pool.publish(make_group(2), by=other, sequence=3)
    web.objects[KEYS_KEY] = encode(first("demo", other, None, now).to_json())
    assert run_cycle(at=MINUTE).exit_code == 3
    done = run_cycle(make_config(public_key=other.public), at=2 * MINUTE)
    assert (done.exit_code, done.submitted) == (0, {"cpu": 2})
    assert memory(state)["public_key"] == str(other.public)
    assert run_cycle(make_config(public_key=other.public), at=3 * MINUTE).exit_code == 0


def test_who_pins_a_root_later_keeps_what_the_chain_says(run_cycle, pool, rooted, make_group, state):
    pool.publish()
    run_cycle()
    pool.rotate()
    pool.publish(make_group(2), sequence=8)
    assert run_cycle(rooted, at=MINUTE).submitted == {"cpu": 2}
    assert (memory(state)["root_key"], memory(state)["sequence"]) == (str(ROOT.public), 2)


# Hostile


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>please log in</html>", b"[]", b'{"kind": "keys/1"}', b'{"kind": "keys/1", "links": [{}]}', b"\xff"],
)
def test_junk_in_its_place_submits_nothing(run_cycle, pool, web, make_group, body, state):
    pool.publish()
    run_cycle()
    pool.publish(make_group(2), sequence=8)
    good, before = web.objects[KEYS_KEY], memory(state)
    web.objects[KEYS_KEY] = body
    done = run_cycle(at=MINUTE)
    assert (done.exit_code, done.submitted) == (3, {"cpu": 0})
    assert memory(state) == before
    web.objects[KEYS_KEY] = good
    assert run_cycle(at=2 * MINUTE).submitted == {"cpu": 2}


def test_a_chain_by_strangers_submits_nothing(run_cycle, pool, web, make_group, now):
    pool.publish(make_group(2))
    thief = SigningKey.generate()
    for chain in (
        first("demo", thief, None, now),
        pool.chain.extended(sign(Link("demo", 0, 2, now, str(thief.public)).to_json(), thief)),
        pool.chain.extended(sign(Link("demo", 1, 2, now, str(thief.public)).to_json(), thief)),
    ):
        web.objects[KEYS_KEY] = encode(chain.to_json())
        done = run_cycle()
        assert (done.exit_code, done.submitted) == (3, {"cpu": 0})


def test_another_pools_chain_submits_nothing(run_cycle, pool, make_config, make_group):
    pool.publish(make_group(2))
    done = run_cycle(make_config(pool="other"))
    assert (done.exit_code, done.submitted) == (3, {"cpu": 0})
    assert "keys of pool demo, not other" in done.errors[0].what


def test_a_store_that_fails_over_the_chain_submits_nothing_this_time(run_cycle, pool, web, make_group):
    pool.publish(make_group(2))
    web.answers[KEYS_KEY] = lambda handler: handler.answer(503)
    done = run_cycle()
    assert (done.exit_code, done.submitted) == (1, {"cpu": 0})
    del web.answers[KEYS_KEY]
    assert run_cycle(at=MINUTE).submitted == {"cpu": 2}


@pytest.mark.parametrize("body", ["", "{}", '{"public_key": 1}', "\x00"])
def test_a_damaged_memory_submits_nothing(run_cycle, pool, make_group, state, body):
    pool.publish(make_group(2))
    state.mkdir()
    (state / "keys.json").write_text(body, encoding="utf-8")
    done = run_cycle()
    assert (done.exit_code, done.submitted) == (2, {"cpu": 0})
    assert "keys.json" in done.errors[0].what
    assert "remove it" in done.errors[0].hint
    assert (state / "keys.json").read_text(encoding="utf-8") == body


def test_a_memory_of_something_that_is_no_key_submits_nothing(run_cycle, pool, make_group, state):
    pool.publish(make_group(2))
    run_cycle()
    (state / "keys.json").write_text(json.dumps({**memory(state), "keys": ["?"]}), encoding="utf-8")
    assert run_cycle(at=MINUTE).exit_code == 2


def test_a_memory_without_any_key_submits_nothing(run_cycle, pool, make_group, state):
    pool.publish(make_group(2))
    run_cycle()
    (state / "keys.json").write_text(json.dumps({**memory(state), "keys": []}), encoding="utf-8")
    pool.publish(make_group(4), sequence=8)
    assert run_cycle(at=MINUTE).exit_code == 2


def test_a_cycle_that_only_looks_remembers_nothing(looked, pool, make_config, make_group, state):
    pool.publish(make_group(2))
    assert looked(make_config()).documents.known
    assert {path.name for path in state.iterdir()} == {"documents"}


# Ways without the net


def test_the_chain_comes_by_folder_and_by_stream(pool, web, make_config, run_cycle, session, now, tmp_path, make_group):
    pool.rotate(2)
    pool.publish(make_group(2))
    for key, body in web.objects.items():
        file = tmp_path / "carried" / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
    assert run_cycle(make_config(url=f"file://{tmp_path}/carried")).submitted == {"cpu": 2}
    stream = tmp_path / "stream"
    stream.write_bytes(web.objects[MAILBOX] + web.objects[KEYS_KEY] + web.objects[DEMAND])
    config = make_config(state=tmp_path / "another")
    source = open_source(config, session, documents=str(stream))
    assert trust.follow(config, source, now=now).trust.sequence == 3
    stream.write_bytes(web.objects[DEMAND])
    source = open_source(config, session, documents=str(stream))
    assert trust.follow(config, source, now=now).trust.sequence == 3, "the kept copy stands in for what did not come"


# check


@pytest.fixture
def found(session, now):
    """Says what `glidepost puller check` finds about the pool's keys."""

    def check(config):
        findings = {item.name: item for item in PoolCheck(config, session, now=now)()}
        return findings["pool's keys"], findings

    return check


def test_check_says_whose_signature_counts(found, pool, make_config, rooted, web, state):
    pool.publish()
    finding, findings = found(rooted)
    assert (finding.state, finding.remedy) == ("ok", "")
    assert f"{pool.key.public.key_id} signs, epoch 0, 1 link followed" in finding.text
    assert findings["mailbox"].state == "ok"
    assert "no root key is pinned" in found(make_config())[0].text
    assert "[pool] root_key" in found(make_config())[0].remedy
    pool.rotate()
    pool.publish()
    finding, findings = found(rooted)
    assert (finding.state, findings["demand"].state) == ("ok", "ok")
    assert str(pool.key.public) in finding.remedy
    assert not state.exists(), "it only looks"
    del web.objects[KEYS_KEY]
    assert "has no v1/keys.json" in found(replace(rooted, public_key=pool.key.public))[0].text


def test_check_fails_where_the_keys_cannot_be_told(found, pool, run_cycle, make_config):
    pool.publish()
    run_cycle()
    pool.revoke()
    pool.publish(sequence=8)
    finding, findings = found(make_config())
    assert (finding.state, finding.exit_code) == ("failed", 3)
    assert "public_key" in finding.remedy
    assert "demand" not in findings
