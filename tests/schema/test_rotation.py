from __future__ import annotations

import base64
import json
import stat
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from click.testing import CliRunner

from glidepost.schema import rotation
from glidepost.schema.cli import group
from glidepost.schema.document import encode
from glidepost.schema.errors import ConfigError, GlidepostError, UntrustedDocument
from glidepost.schema.files import lock
from glidepost.schema.keychain import Keychain, Link, Trust, whole
from glidepost.schema.keys import SigningKey
from glidepost.schema.rotation import KeyFiles
from glidepost.schema.signing import sign

LATER = datetime(2026, 12, 1, tzinfo=timezone.utc)
CONFIG = """
[pool]
name = "demo"
collectors = ["cm.example.org:9618"]
trust_domain = "cm.example.org"
[demand]
signing_key = "pool.key"
sites = "sites.toml"
state = "state"
{root}
[store]
bucket = "bucket"
public_url = "https://store.example.org"
"""
# Ends a process, as SIGKILL would, before the n-th rename that it asks the kernel for.
KILLED = """
import os, sys
from datetime import datetime, timezone
from pathlib import Path
from glidepost.schema import rotation
from glidepost.schema.keys import PublicKey, SigningKey
verb, left, folder, root = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
def count(event, _):
    global left
    left -= event == "os.rename"
    if not left:
        os._exit(137)
sys.addaudithook(count)
key = SigningKey.load(root)
files = rotation.KeyFiles("demo", folder / "pool.key", folder / "state" / "keys.json", key.public)
now = datetime(2026, 11, 22, 10, tzinfo=timezone.utc)
rotation.rotate(files, now) if verb == "rotate" else rotation.revoke(files, key, now)
"""


@pytest.fixture
def root(tmp_path) -> Path:
    """The file of the root key, on another machine."""
    path = tmp_path / "offline" / "root.key"
    SigningKey.generate().save(path)
    return path


@pytest.fixture
def files(tmp_path, root, now) -> KeyFiles:
    """A pool whose chain has one link."""
    made = KeyFiles("demo", tmp_path / "pool.key", tmp_path / "state" / "keys.json", SigningKey.load(root).public)
    SigningKey.generate().save(made.signing_key)
    rotation.begin(made, now)
    return made


def links(files: KeyFiles) -> list[Link]:
    chain = rotation.load(files)
    whole(chain, pool="demo", root=files.root)
    return [Link.from_json(data) for data in chain.links]


def public(path: Path) -> str:
    return str(SigningKey.load(path).public)


def assert_settled(files: KeyFiles) -> None:
    """The files are what the chain says, and there are no others."""
    link = links(files)[-1]
    assert (public(files.signing_key), public(files.aside("next"))) == (link.current, link.next)
    names = {path.name for path in files.signing_key.parent.glob("pool.key*")}
    assert names == {"pool.key", "pool.key.next"}
    for path in files.signing_key.parent.glob("pool.key*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(files.chain.stat().st_mode) == 0o644


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


# Rotation


def test_a_chain_begins_with_the_key_and_one_made_ahead(files):
    assert_settled(files)
    assert [(link.epoch, link.sequence) for link in links(files)] == [(0, 1)]


def test_the_next_key_becomes_the_current_one_and_the_old_one_is_gone(files, tmp_path, now):
    old, following = SigningKey.load(files.signing_key), public(files.aside("next"))
    changed = rotation.rotate(files, now)
    assert (changed.link.current, changed.is_finished) == (following, False)
    assert public(files.signing_key) == following
    assert_settled(files)
    assert base64.b64encode(old.seed) not in everything(tmp_path)


def test_who_trusts_the_first_key_follows_any_number_of_rotations(files, now):
    pinned = Trust((SigningKey.load(files.signing_key).public,))
    for _ in range(4):
        rotation.rotate(files, now)
    trust = pinned.follow(rotation.load(files), pool="demo")
    assert (str(trust.keys[0]), trust.epoch, trust.sequence) == (public(files.signing_key), 0, 5)
    assert_settled(files)


def test_without_a_next_key_one_is_made(files, now):
    files.aside("next").unlink()
    before = public(files.signing_key)
    rotation.rotate(files, now)
    assert public(files.signing_key) != before
    assert_settled(files)


def test_a_key_that_was_used_before_is_not_taken_again(files, now):
    old = SigningKey.load(files.signing_key)
    rotation.rotate(files, now)
    files.aside("next").unlink()
    old.save(files.aside("next"))
    with pytest.raises(ConfigError, match="has used before"):
        rotation.rotate(files, now)
    assert len(links(files)) == 2


def test_a_signing_key_that_is_not_the_chains_changes_nothing(files, now):
    files.signing_key.unlink()
    SigningKey.generate().save(files.signing_key)
    before = everything(files.signing_key.parent)
    with pytest.raises(ConfigError, match="is not the current one"):
        rotation.rotate(files, now)
    assert everything(files.signing_key.parent) == before


def test_without_a_chain_nothing_is_rotated_or_revoked(files, root, now):
    files.chain.unlink()
    for change in (
        lambda: rotation.rotate(files, now),
        lambda: rotation.request(files, now),
        lambda: rotation.revoke(files, SigningKey.load(root), now),
    ):
        with pytest.raises(ConfigError, match="is not there") as caught:
            change()
        assert "publisher run" in caught.value.hint


def test_a_signing_key_that_is_a_link_is_changed_where_it_lies(tmp_path, files, now):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in (files.signing_key, files.aside("next")):
        path.rename(elsewhere / path.name)
    files.signing_key.symlink_to(elsewhere / "pool.key")
    old = SigningKey.load(files.signing_key)
    rotation.rotate(replace(files, signing_key=files.signing_key.resolve()), now)
    assert files.signing_key.is_symlink()
    assert base64.b64encode(old.seed) not in everything(tmp_path)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"kind": "keys/1", "links": []}', b"\xff"])
def test_a_chain_that_is_damaged_is_said(files, now, body):
    files.chain.write_bytes(body)
    with pytest.raises(ConfigError, match=r"keys\.json") as caught:
        rotation.rotate(files, now)
    assert "backup" in caught.value.hint


def test_a_chain_that_cannot_be_read_is_said(files, now):
    files.chain.unlink()
    files.chain.mkdir()
    with pytest.raises(ConfigError, match="directory"):
        rotation.rotate(files, now)


def test_a_chain_of_another_pool_is_refused(files, now):
    with pytest.raises(ConfigError, match="keys of pool demo, not other"):
        rotation.rotate(replace(files, pool="other"), now)


# Revocation


def test_both_keys_are_replaced_by_the_root_keys_word(files, root, tmp_path, now):
    stolen = [SigningKey.load(files.signing_key), SigningKey.load(files.aside("next"))]
    changed = rotation.revoke(files, SigningKey.load(root), now)
    assert (changed.link.epoch, changed.link.sequence) == (1, 2)
    assert_settled(files)
    for key in stolen:
        assert base64.b64encode(key.seed) not in everything(tmp_path)
        assert Trust((key.public,)).follow(rotation.load(files), root=files.root).epoch == 1
        assert str(key.public) not in {changed.link.current, changed.link.next}


def test_a_lost_key_is_replaced_too(files, root, now):
    files.signing_key.unlink()
    files.aside("next").unlink()
    rotation.revoke(files, SigningKey.load(root), now)
    assert_settled(files)


def test_after_a_revocation_keys_rotate_as_before(files, root, now):
    rotation.revoke(files, SigningKey.load(root), now)
    rotation.rotate(files, now)
    rotation.revoke(files, SigningKey.load(root), now)
    assert [(link.epoch, link.sequence) for link in links(files)] == [(0, 1), (1, 2), (1, 3), (2, 4)]
    assert_settled(files)


def test_a_root_key_that_sites_did_not_pin_is_refused(files, now):
    before = everything(files.signing_key.parent)
    with pytest.raises(ConfigError, match="root_key is") as caught:
        rotation.revoke(files, SigningKey.generate(), now)
    assert "pinned" in caught.value.hint
    with pytest.raises(ConfigError, match="root_key is not set"):
        rotation.revoke(replace(files, root=None), SigningKey.generate(), now)
    assert everything(files.signing_key.parent) == before


def test_a_chain_by_another_root_key_is_told(files, root, now):
    rotation.revoke(files, SigningKey.load(root), now)
    with pytest.raises(ConfigError) as caught:
        rotation.rotate(replace(files, root=SigningKey.generate().public), now)
    assert "root_key the one that it always was" in caught.value.hint


def test_a_root_key_that_stays_offline_signs_a_request(files, root, now):
    request = rotation.request(files, now)
    assert "signatures" not in request
    assert len(links(files)) == 1
    assert public(files.signing_key) == links(files)[0].current, "nothing has changed yet"
    endorsed = rotation.endorse(request, SigningKey.load(root))
    assert not rotation.replace(files, endorsed).is_finished
    assert_settled(files)
    assert rotation.replace(files, endorsed).is_finished
    assert len(links(files)) == 2


def test_a_rotation_in_between_makes_a_request_void(files, root, now):
    endorsed = rotation.endorse(rotation.request(files, now), SigningKey.load(root))
    rotation.rotate(files, now)
    with pytest.raises(ConfigError, match="have changed since") as caught:
        rotation.replace(files, endorsed)
    assert "--request" in caught.value.hint


def test_keys_of_a_request_are_always_new(files, root, now):
    first = rotation.endorse(rotation.request(files, now), SigningKey.load(root))
    second = rotation.endorse(rotation.request(files, now), SigningKey.load(root))
    assert first["current"] != second["current"]
    with pytest.raises(ConfigError, match="are not in"):
        rotation.replace(files, first)
    rotation.replace(files, second)
    assert_settled(files)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda request, _: request,
        lambda request, _: sign(request, SigningKey.generate()),
        lambda request, root: {**sign(request, root), "current": str(SigningKey.generate().public)},
        lambda request, root: {**sign(request, root), "epoch": 7},
    ],
    ids=["unsigned", "another root", "another key", "another epoch"],
)
def test_a_request_that_the_root_key_did_not_sign_so_is_refused(files, root, now, spoil):
    request = rotation.request(files, now)
    with pytest.raises(ConfigError, match="not endorsed"):
        rotation.replace(files, spoil(request, SigningKey.load(root)))
    assert len(links(files)) == 1


def test_another_pools_request_is_refused(files, root, now):
    request = rotation.endorse({**rotation.request(files, now), "pool": "other"}, SigningKey.load(root))
    with pytest.raises(ConfigError, match="another pool's"):
        rotation.replace(files, request)


def test_what_is_no_link_is_refused(files):
    with pytest.raises(UntrustedDocument, match="not a key-link/1 document"):
        rotation.replace(files, {"kind": "demand/1"})


def test_a_request_without_a_root_key_in_the_configuration_is_refused(files, root, now):
    endorsed = rotation.endorse(rotation.request(files, now), SigningKey.load(root))
    with pytest.raises(ConfigError, match="root_key is not set"):
        rotation.replace(replace(files, root=None), endorsed)


# Killed


def kill(files: KeyFiles, root: Path, verb: str, before_rename: int) -> int:
    words = [sys.executable, "-c", KILLED, verb, before_rename, files.signing_key.parent, root]
    return subprocess.run([str(word) for word in words], check=False).returncode


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
def test_a_rotation_that_was_killed_at_any_step_is_finished_by_the_next(files, root, step, now):
    pinned, following = Trust((SigningKey.load(files.signing_key).public,)), public(files.aside("next"))
    assert kill(files, root, "rotate", step) == (137 if step < 5 else 0), "there are four renames"
    if step in {3, 4}:
        assert len(links(files)) == 2, "the chain is first"
        assert rotation.rotate(files, LATER).is_finished
    elif step < 3:
        assert not rotation.rotate(files, LATER).is_finished
    assert_settled(files)
    assert [link.current for link in links(files)] == [str(pinned.keys[0]), following]
    assert pinned.follow(rotation.load(files), root=files.root).sequence == 2
    assert rotation.rotate(files, now).link.sequence == 3


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("again", ["revoke", "rotate"])
def test_a_revocation_that_was_killed_at_any_step_is_finished_by_the_next(files, root, step, again):
    stolen = {public(files.signing_key), public(files.aside("next"))}
    assert kill(files, root, "revoke", step) == (137 if step < 6 else 0), "there are five renames"
    if step in {4, 5}:
        changed = (
            rotation.rotate(files, LATER) if again == "rotate" else rotation.revoke(files, SigningKey.load(root), LATER)
        )
        assert changed.is_finished
    elif step < 4:
        assert not rotation.revoke(files, SigningKey.load(root), LATER).is_finished
    assert_settled(files)
    assert [(link.epoch, link.sequence) for link in links(files)] == [(0, 1), (1, 2)]
    assert stolen.isdisjoint({public(files.signing_key), public(files.aside("next"))})


def test_a_stolen_next_key_is_never_promoted_by_a_rotation_after_a_kill(files, root, now):
    stolen = {public(files.signing_key), public(files.aside("next"))}
    assert kill(files, root, "revoke", 5) == 137
    rotation.rotate(files, now)
    rotation.rotate(files, now)
    assert stolen.isdisjoint({public(files.signing_key), public(files.aside("next"))})


# The command


@pytest.fixture
def run(tmp_path, files):
    """Runs `glidepost keys`: run("rotate"); expects success unless told otherwise."""
    config = tmp_path / "publisher.toml"
    config.write_text(CONFIG.format(root=f'root_key = "{files.root}"'), encoding="utf-8")

    def command(verb: str, *words: object, error=None, stdin: str = "", has_config: bool = True):
        arguments = [verb, *map(str, words), *(["--config", str(config)] if has_config else [])]
        done = CliRunner().invoke(group, arguments, input=stdin)
        if error is None:
            assert done.exit_code == 0, done.output
        else:
            assert isinstance(done.exception, error), done.output
        return done.exception if error else done.output

    return command


def test_rotate_says_what_comes_next(run, files):
    said = run("rotate")
    assert f"key {SigningKey.load(files.signing_key).public.key_id} signs for demo now (epoch 0)" in said
    assert "the next publisher run publishes it; the sites follow by themselves" in said


def test_rotate_finishes_what_was_interrupted_and_says_so(run, files, root):
    kill(files, root, "rotate", 3)
    assert "what was interrupted is finished" in run("rotate")
    assert_settled(files)


def test_rotate_waits_for_no_publisher(run, files):
    with lock(files.chain.parent / "publisher.lock"):
        error = run("rotate", error=GlidepostError)
    assert "a publisher is running" in error.what
    assert len(links(files)) == 1


def test_list_shows_what_signs(run, files, tmp_path):
    run("rotate")
    answer = json.loads(run("list", "--json"))
    link = links(files)[-1]
    assert answer == {
        "pool": "demo",
        "current": link.current,
        "next": link.next,
        "root": str(files.root),
        "epoch": 0,
        "links": 2,
    }
    assert f"root     {files.root}  (id {files.root.key_id})" in run("list")
    files.chain.unlink()
    (tmp_path / "publisher.toml").write_text(CONFIG.format(root=""), encoding="utf-8")
    text = run("list")
    assert [line.split()[1] for line in text.splitlines() if line.startswith(("next", "root"))] == ["none", "none"]
    assert f"current  {link.current}" in text


def test_revoke_with_the_root_key_at_hand(run, files, root):
    said = run("revoke", "--root", root)
    assert "(epoch 1)" in said
    assert "sites that pinned root_key follow by themselves" in said
    assert_settled(files)


def test_revoke_with_a_root_key_that_never_comes_here(run, files, root, tmp_path):
    request = tmp_path / "request.json"
    said = run("revoke", "--request", request)
    new = json.loads(request.read_text())["current"]
    key_id = SigningKey.load(files.aside("new")).public.key_id
    assert f"key {key_id} is to be current in epoch 1 of pool demo" in said
    assert everything(tmp_path / "offline").count(b"ed25519-secret") == 1, "no secret left this host"
    shown = run("endorse", request, "--root", root, stdin="y\n", has_config=False)
    assert "pool     demo\nepoch    1\n" in shown
    assert f"current  {new}  (id {key_id})" in shown
    run("revoke", "--endorsed", request)
    assert_settled(files)
    assert public(files.signing_key) == new
    assert "what was interrupted is finished" in run("revoke", "--endorsed", request)


def test_endorse_asks_before_it_signs(run, root, tmp_path):
    request = tmp_path / "request.json"
    run("revoke", "--request", request)
    before = request.read_bytes()
    run("endorse", request, "--root", root, stdin="n\n", has_config=False, error=SystemExit)
    assert request.read_bytes() == before
    run("endorse", request, "--root", root, "--yes", has_config=False)
    assert json.loads(request.read_text())["signatures"]


def test_endorse_signs_nothing_but_a_link(run, root, tmp_path):
    file = tmp_path / "demand.json"
    file.write_bytes(encode({"kind": "demand/1"}))
    error = run("endorse", file, "--root", root, has_config=False, error=ConfigError)
    assert "not a key-link/1 document" in error.what
    missing = run("endorse", tmp_path / "none", "--root", root, has_config=False, error=ConfigError)
    assert "No such file" in missing.what


def test_a_request_does_not_overwrite_an_earlier_one(run, files, tmp_path):
    request = tmp_path / "request.json"
    run("revoke", "--request", request)
    before = request.read_bytes(), files.aside("new").read_bytes()
    assert "exists" in run("revoke", "--request", request, error=ConfigError).what
    assert (request.read_bytes(), files.aside("new").read_bytes()) == before


@pytest.mark.parametrize("words", [(), ("--root", "a", "--request", "b")])
def test_revoke_wants_one_way(run, words):
    assert run("revoke", *words, error=SystemExit).code == 2


def test_a_later_link_says_when_it_was_made(files):
    rotation.rotate(files, LATER + timedelta(days=1))
    assert links(files)[-1].issued_at == LATER + timedelta(days=1)


def test_the_chain_in_the_file_is_the_document(files):
    assert Keychain.from_json(json.loads(files.chain.read_text())) == rotation.load(files)
