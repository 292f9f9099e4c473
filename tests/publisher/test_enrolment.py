from __future__ import annotations

import base64
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepost.publisher import enrolment
from glidepost.publisher.enrolment import AS_BEFORE, Terms, revoke
from glidepost.schema.errors import ConfigError
from glidepost.schema.keys import SigningKey
from glidepost.schema.sites import load_sites

THEN = datetime(2026, 11, 22, 9, tzinfo=timezone.utc)


def enroll(line, file, terms=AS_BEFORE, *, now=THEN):
    return enrolment.enroll(line, file, terms, now=now)


def keys_in(file):
    return {name: site.public_key for name, site in load_sites(file).items()}


def test_a_site_is_enrolled_by_its_line(tmp_path, site_key):
    file = tmp_path / "sites.toml"
    assert enroll(f"  glidepost-site north {site_key.public}\n", file).site.name == "north"
    assert keys_in(file) == {"north": site_key.public}


def test_another_line_for_a_site_replaces_its_key_and_leaves_the_others(tmp_path, site_key, pool_key):
    file = tmp_path / "sites.toml"
    enroll(f"glidepost-site south {pool_key.public}", file)
    enroll(f"glidepost-site north {pool_key.public}", file)
    enroll(f"glidepost-site north {site_key.public}", file)
    assert keys_in(file) == {"north": site_key.public, "south": pool_key.public}


@pytest.mark.parametrize("name", ["7", "2024-11-22", "true", "a" * 32])
def test_names_that_look_like_toml_values_are_names(tmp_path, site_key, name):
    enroll(f"glidepost-site {name} {site_key.public}", tmp_path / "sites.toml")
    assert list(load_sites(tmp_path / "sites.toml")) == [name]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "north",
        "glidepost-site north",
        "glidepost-site North {key}",
        "glidepost-site ../north {key}",
        "glidepost-site -north {key}",
        "glidepost-site " + "n" * 33 + " {key}",
        "glidepost-site north {key} {key}",
        "ssh-ed25519 north {key}",
    ],
)
def test_another_line_is_refused_with_the_command_that_prints_the_right_one(tmp_path, site_key, line):
    with pytest.raises(ConfigError, match="not an enrolment line") as caught:
        enroll(line.format(key=site_key.public), tmp_path / "sites.toml")
    assert "glidepost keys show" in caught.value.hint
    assert not (tmp_path / "sites.toml").exists()


def damaged(raw: bytes) -> str:
    return "ed25519:" + base64.b64encode(raw).decode()


@pytest.mark.parametrize("key", ["ed25519:", "ed25519:AAAA", "rsa:AAAA", damaged(bytes(31)), "ed25519-secret:x"])
def test_a_key_of_the_wrong_form_is_refused(tmp_path, key):
    with pytest.raises(ConfigError):
        enroll(f"glidepost-site north {key}", tmp_path / "sites.toml")


@pytest.mark.parametrize("raw", [bytes(32), bytes([2]) * 32])
def test_a_key_that_nothing_can_be_sealed_for_is_refused(tmp_path, raw):
    with pytest.raises(ConfigError, match="right length"):
        enroll(f"glidepost-site north {damaged(raw)}", tmp_path / "sites.toml")


def test_a_broken_file_of_sites_is_not_overwritten(tmp_path):
    file = tmp_path / "sites.toml"
    file.write_text("[north]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="lacks public_key"):
        enroll(f"glidepost-site south {SigningKey.generate().public}", file)
    assert file.read_text(encoding="utf-8") == "[north]\n"


LINES = """\
# Our sites.

south = { public_key = "KEY", groups = ["a"] } # on one line

[north] # physics
public_key = "KEY" # sent on Monday
groups = [
  "group_physics", # they pay
]

# About the east:
[east]
public_key="KEY"
# no newline after this"""


@pytest.fixture
def hand_written(tmp_path, site_key):
    """A file as an admin writes it."""
    file = tmp_path / "sites.toml"
    file.write_text(LINES.replace("KEY", str(site_key.public)), encoding="utf-8")
    return file


def changed_lines(file, before: str) -> tuple[list[str], list[str]]:
    """Returns the lines that are new, and those that are gone."""
    old, new = before.splitlines(), file.read_text(encoding="utf-8").splitlines()
    return [line for line in new if line not in old], [line for line in old if line not in new]


@pytest.mark.parametrize("name", ["north", "east"])
def test_revoking_adds_one_line_and_touches_no_other(hand_written, name):
    before = hand_written.read_text(encoding="utf-8")
    revoke(name, hand_written, now=THEN)
    assert changed_lines(hand_written, before) == (["revoked_at = 2026-11-22T09:00:00Z"], [])
    assert load_sites(hand_written)[name].revoked_at == THEN


def test_a_site_on_one_line_is_revoked_on_it(hand_written):
    revoke("south", hand_written, now=THEN)
    assert load_sites(hand_written)["south"].revoked_at == THEN
    assert "# on one line" in hand_written.read_text(encoding="utf-8")


def test_a_new_site_goes_to_the_end_of_what_is_written_by_hand(hand_written, pool_key):
    before = hand_written.read_text(encoding="utf-8")
    enroll(f"glidepost-site west {pool_key.public}", hand_written, Terms(("group_a", "@b.org"), "canary"))
    after = hand_written.read_text(encoding="utf-8")
    assert after.startswith(before)
    site = load_sites(hand_written)["west"]
    assert (site.groups, site.channel, site.enrolled_at) == (("group_a", "@b.org"), "canary", THEN)


def test_another_key_keeps_groups_channel_and_comments(hand_written, pool_key):
    before = hand_written.read_text(encoding="utf-8")
    done = enroll(f"glidepost-site north {pool_key.public}", hand_written)
    assert done.is_new_key
    assert load_sites(hand_written)["north"].groups == ("group_physics",)
    new, gone = changed_lines(hand_written, before)
    assert new == [f'public_key = "{pool_key.public}" # sent on Monday', "enrolled_at = 2026-11-22T09:00:00Z"]
    assert len(gone) == 1


def test_groups_and_channel_can_be_changed_and_taken_away(tmp_path, site_key):
    file, line = tmp_path / "sites.toml", f"glidepost-site north {site_key.public}"
    enroll(line, file, Terms(("a",), "canary"))
    enroll(line, file, now=THEN + timedelta(days=1))
    site = load_sites(file)["north"]
    assert (site.groups, site.channel, site.enrolled_at) == (("a",), "canary", THEN)
    enroll(line, file, Terms((), "stable"))
    site = load_sites(file)["north"]
    assert (site.groups, site.channel) == ((), "stable")


def test_a_revoked_site_is_let_in_again_only_when_asked_to(tmp_path, site_key, pool_key):
    file, later = tmp_path / "sites.toml", THEN + timedelta(days=2)
    enroll(f"glidepost-site north {site_key.public}", file, Terms(("a",)))
    revoke("north", file, now=THEN + timedelta(days=1))
    with pytest.raises(ConfigError, match="north was revoked on 2026-11-23 09:00Z") as caught:
        enroll(f"glidepost-site north {pool_key.public}", file)
    assert "--again" in caught.value.hint
    done = enroll(f"glidepost-site north {pool_key.public}", file, Terms(again=True), now=later)
    assert (done.before.is_revoked, done.site.is_revoked) == (True, False)
    assert (done.site.tokens_from, done.site.enrolled_at, done.site.groups) == (later, later, ("a",))


def test_a_site_that_is_revoked_twice_keeps_the_first_time(tmp_path, site_key):
    file = tmp_path / "sites.toml"
    enroll(f"glidepost-site north {site_key.public}", file)
    revoke("north", file, now=THEN)
    assert revoke("north", file, now=THEN + timedelta(days=1)).revoked_at == THEN


def test_nobody_can_be_revoked_who_is_not_there(hand_written):
    with pytest.raises(ConfigError, match="no site 'nroth'") as caught:
        revoke("nroth", hand_written, now=THEN)
    assert "east, north, south" in caught.value.hint


def test_keys_of_a_site_all_over_the_file_are_left_to_a_person(tmp_path, site_key):
    file = tmp_path / "sites.toml"
    text = f'north.public_key = "{site_key.public}"\nsouth.public_key = "{site_key.public}"\nnorth.groups = ["a"]\n'
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot change north"):
        revoke("north", file, now=THEN)
    assert file.read_text(encoding="utf-8") == text


def test_ends_of_lines_and_the_mode_of_the_file_stay(hand_written):
    hand_written.write_bytes(hand_written.read_bytes().replace(b"\n", b"\r\n"))
    hand_written.chmod(0o640)
    count = hand_written.read_bytes().count(b"\r\n")
    revoke("north", hand_written, now=THEN)
    assert hand_written.read_bytes().count(b"\r\n") >= count
    assert hand_written.stat().st_mode & 0o777 == 0o640


def test_a_link_into_a_working_copy_stays_a_link(tmp_path, hand_written):
    link = tmp_path / "link.toml"
    link.symlink_to(hand_written)
    revoke("north", link, now=THEN)
    assert link.is_symlink()
    assert load_sites(hand_written)["north"].is_revoked


@given(
    text=st.lists(
        st.sampled_from(
            [
                "# a comment\n",
                "\n",
                'KEYgroups = ["a"]\n',
                "KEY",
                "KEY# about the next\n\n",
                "KEYchannel = 'canary' # c\n",
            ]
        ),
        max_size=6,
    ),
    orders=st.lists(st.tuples(st.sampled_from(["enroll", "revoke", "again"]), st.integers(0, 7)), max_size=6),
)
def test_whatever_is_done_to_one_site_the_others_and_all_comments_stay(tmp_path_factory, text, orders):
    file = tmp_path_factory.mktemp("sites") / "sites.toml"
    key = SigningKey.generate().public
    written = "".join(part.replace("KEY", f'[s{number}]\npublic_key = "{key}"\n') for number, part in enumerate(text))
    file.write_text(written, encoding="utf-8")
    expected = load_sites(file)
    for verb, number in orders:
        name = f"s{number}"
        known = expected.get(name)
        if verb == "revoke" and known:
            expected[name] = revoke(name, file, now=THEN)
        elif verb == "again" or (verb == "enroll" and not (known and known.is_revoked)):
            line = f"glidepost-site {name} {SigningKey.generate().public}"
            expected[name] = enroll(line, file, Terms(again=verb == "again")).site
    assert load_sites(file) == expected
    comments = [line for line in written.splitlines() if line.startswith("#")]
    assert [line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("#")] == comments
