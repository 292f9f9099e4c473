from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from glidepost.publisher import cycle
from glidepost.publisher.check import check_host
from glidepost.publisher.store import S3Store
from glidepost.schema import rotation
from glidepost.schema.checks import FAILED, OK, SKIPPED
from glidepost.schema.document import encode
from glidepost.schema.errors import ConfigError, PoolError, StoreError, UntrustedDocument
from glidepost.schema.keychain import KEYS_KEY, Keychain, Link, Trust, first
from glidepost.schema.keys import SigningKey
from glidepost.schema.rotation import KeyFiles
from glidepost.schema.signing import sign, verify

DEMAND, MAILBOX = "v1/demand.json", "v1/sites/north.json"
ROOT = SigningKey(bytes(range(64, 96)))


class Noted(S3Store):
    """A store that notes what is written, in order, and refuses `broken`."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.puts: list[str] = []
        self.broken = ""

    def put(self, key: str, body: bytes, **options: object) -> None:
        if key == self.broken:
            raise StoreError(f"PUT {key}", hint="in this test")
        self.puts.append(key)
        super().put(key, body, **options)


@pytest.fixture
def store(aws) -> Noted:
    return Noted(aws, "glidepost")


@pytest.fixture
def config(config):
    return replace(config, demand=replace(config.demand, root_key=str(ROOT.public)))


@pytest.fixture
def files(config) -> KeyFiles:
    return KeyFiles.of(config)


@pytest.fixture
def publish(config, store, make_pool, make_row, now):
    """Runs a cycle: publish(), publish(pool=..., dry_run=True)."""

    def run(pool=None, *, at: timedelta = timedelta(0), changed=None, dry_run: bool = False):
        store.puts.clear()
        return cycle.run(changed or config, store, pool or make_pool(make_row(10)), now=now + at, dry_run=dry_run)

    return run


@pytest.fixture
def put_chain(store):
    def put(chain) -> bytes:
        body = chain if isinstance(chain, bytes) else encode(chain.to_json())
        store.put(KEYS_KEY, body, content_type="application/json", cache_seconds=0)
        return body

    return put


def chain_of(store: S3Store) -> Keychain:
    return Keychain.from_json(json.loads(store.get(KEYS_KEY)))


def key_of(files: KeyFiles) -> SigningKey:
    return SigningKey.load(files.signing_key)


def is_signed(store: S3Store, key: str, by: SigningKey) -> bool:
    try:
        verify(json.loads(store.get(key)), [by.public])
    except UntrustedDocument:
        return False
    return True


def test_the_first_run_begins_the_chain_and_makes_a_key_ahead(publish, store, files, pool_key):
    publish()
    assert chain_of(store) == rotation.load(files)
    link = Link.from_json(chain_of(store).links[-1])
    assert (link.pool, link.epoch, link.sequence, link.current) == ("demo", 0, 1, str(pool_key.public))
    assert link.next == str(SigningKey.load(files.aside("next")).public)
    assert store.puts.index(KEYS_KEY) < store.puts.index(DEMAND), "its key is known to nobody yet"


def test_the_chain_is_written_only_when_it_changed(publish, store, aws):
    publish()
    publish(at=timedelta(hours=7))
    assert KEYS_KEY not in store.puts
    assert aws.head_object(Bucket="glidepost", Key=KEYS_KEY)["CacheControl"] == "max-age=15"


def test_a_dry_run_writes_nothing(publish, store, files):
    publish(dry_run=True)
    assert store.puts == []
    assert not files.chain.exists()
    assert not files.aside("next").exists()


def test_after_a_rotation_all_is_signed_anew_and_every_reader_can_verify_it(publish, store, files, pool_key, now):
    publish()
    before = Trust((pool_key.public,)).follow(chain_of(store))
    rotation.rotate(files, now)
    assert publish(at=timedelta(seconds=60)).written
    for key in (DEMAND, MAILBOX):
        assert is_signed(store, key, key_of(files))
        assert verify(json.loads(store.get(key)), before.keys), "by who did not read the new chain too"
        assert not is_signed(store, key, pool_key)
    assert store.puts[-1] == KEYS_KEY, "a key that was announced signs first"
    assert before.follow(chain_of(store)).keys[0] == key_of(files).public


def test_a_run_that_fails_before_it_signs_leaves_what_readers_can_verify(publish, store, files, make_pool, now):
    publish()
    rotation.rotate(files, now)
    with pytest.raises(PoolError):
        publish(make_pool(error="timed out"))
    trust = Trust((key_of(files).public,))
    with pytest.raises(UntrustedDocument):
        trust.follow(chain_of(store))
    assert store.puts == []


def test_a_key_that_nobody_knows_is_published_before_it_signs(publish, store, files, now):
    publish()
    rotation.rotate(files, now)
    rotation.rotate(files, now)
    publish(at=timedelta(seconds=60))
    assert store.puts.index(KEYS_KEY) < store.puts.index(MAILBOX) < store.puts.index(DEMAND)
    store.broken = KEYS_KEY
    rotation.revoke(files, ROOT, now)
    with pytest.raises(StoreError, match=KEYS_KEY):
        publish(at=timedelta(seconds=120))
    assert store.puts == []


def test_a_revocation_replaces_a_thiefs_longer_chain(publish, store, files, put_chain, pool_key, now):
    publish()
    stolen = chain_of(store)
    for sequence in range(2, 6):
        link = Link("demo", 0, sequence, now, str(pool_key.public))
        stolen = stolen.extended(sign(link.to_json(), pool_key))
    put_chain(stolen)
    with pytest.raises(ConfigError, match="goes on to key") as caught:
        publish()
    assert "stolen" in caught.value.hint
    assert store.puts == []
    rotation.revoke(files, ROOT, now)
    publish(at=timedelta(seconds=60))
    misled = Trust((pool_key.public,)).follow(stolen)
    assert misled.follow(chain_of(store), root=ROOT.public).keys[0] == key_of(files).public
    assert is_signed(store, DEMAND, key_of(files))


def test_a_rotation_that_was_interrupted_stops_the_publisher(publish, store, files, now):
    publish()
    next_secret = files.aside("next").read_bytes()
    rotation.rotate(files, now)
    files.signing_key.rename(files.aside("next"))
    files.signing_key.write_bytes(SigningKey.generate().line)
    files.signing_key.chmod(0o600)
    with pytest.raises(ConfigError, match="is current") as caught:
        publish()
    assert "glidepost keys rotate again" in caught.value.hint
    assert store.puts == []
    rotation.rotate(files, now)
    assert files.signing_key.read_bytes() == next_secret
    publish()


def test_a_chain_that_was_lost_is_taken_from_the_store(publish, store, files, pool_key, now):
    publish()
    rotation.rotate(files, now)
    publish(at=timedelta(seconds=60))
    ours = rotation.load(files)
    files.chain.unlink()
    assert publish(at=timedelta(hours=7)).failures == ()
    assert rotation.load(files) == ours
    assert KEYS_KEY not in store.puts
    rotation.rotate(files, now)
    publish(at=timedelta(hours=8))
    assert Trust((pool_key.public,)).follow(chain_of(store)).sequence == 3


def test_a_chain_that_the_store_lost_is_put_back(publish, store, files):
    publish()
    store.delete(KEYS_KEY)
    publish()
    assert chain_of(store) == rotation.load(files)


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"kind": "keys/1", "links": [{}]}'])
def test_something_else_in_its_place_is_replaced(publish, store, files, put_chain, body):
    publish()
    put_chain(body)
    publish()
    assert chain_of(store) == rotation.load(files)


def test_links_that_no_site_would_believe_are_replaced(publish, store, files, put_chain, now):
    publish()
    thief = SigningKey.generate()
    put_chain(chain_of(store).extended(sign(Link("demo", 0, 2, now, str(thief.public)).to_json(), thief)))
    publish()
    assert chain_of(store) == rotation.load(files)


@pytest.mark.parametrize("body", [b"<html>", b'{"kind": "keys/1", "links": []}'])
def test_without_our_own_copy_nothing_else_is_replaced(publish, store, put_chain, body):
    put_chain(body)
    with pytest.raises(ConfigError, match="no substitute"):
        publish()
    assert store.get(KEYS_KEY) == body
    assert store.get(DEMAND) is None


def test_a_store_whose_chain_ends_with_another_key_is_refused(publish, store, files, put_chain, now):
    other = SigningKey.generate()
    body = put_chain(first("demo", other, None, now))
    with pytest.raises(ConfigError, match=f"says that key {other.public.key_id} is current") as caught:
        publish()
    assert "change-the-pools-key" in caught.value.hint
    assert (store.get(KEYS_KEY), store.get(DEMAND)) == (body, None)
    assert not files.chain.exists()


@pytest.mark.parametrize("has_own", [True, False])
def test_another_pools_chain_in_the_store_is_refused(publish, store, put_chain, pool_key, now, has_own):
    if has_own:
        publish()
    body = put_chain(first("other", pool_key, None, now))
    with pytest.raises(ConfigError, match="of pool other, not demo") as caught:
        publish(dry_run=True)
    assert "prefix" in caught.value.hint
    assert store.get(KEYS_KEY) == body


def test_a_host_restored_from_an_older_backup_is_refused(publish, store, files, now):
    publish()
    backup = {path: path.read_bytes() for path in (files.chain, files.signing_key, files.aside("next"))}
    rotation.rotate(files, now)
    publish(at=timedelta(seconds=60))
    body = store.get(KEYS_KEY)
    for path, content in backup.items():
        path.write_bytes(content)
    with pytest.raises(ConfigError, match="goes on to key") as caught:
        publish(at=timedelta(seconds=120))
    assert "backup" in caught.value.hint
    assert store.get(KEYS_KEY) == body


def test_check_says_how_the_keys_stand(publish, config, files, now):
    def found(changed=None):
        return {item.name: item for item in check_host(changed or config)}["keys of the pool"]

    Path(config.demand.state).mkdir(exist_ok=True)
    assert found().state == SKIPPED
    publish()
    assert (found().state, found().remedy) == (OK, "")
    assert f"1 link, epoch 0, next key made; sites need root_key = '{ROOT.public}'" in found().text
    rootless = found(replace(config, demand=replace(config.demand, root_key=None)))
    assert (rootless.state, "cannot be revoked" in rootless.remedy) == (OK, True)
    rotation.rotate(files, now)
    files.signing_key.unlink()
    SigningKey.generate().save(files.signing_key)
    assert (found().state, found().exit_code) == (FAILED, 2)
