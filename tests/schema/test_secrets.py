"""Who else may read a file with a secret, or write a folder that decides what happens."""

from __future__ import annotations

import logging
import os

import pytest

from glidepost.schema.errors import ConfigError
from glidepost.schema.secrets import close_own_file, read_two_lines, refuse_open_file, refuse_open_folder

SOMEBODY = 12345
is_root = os.geteuid() == 0


@pytest.fixture
def secret(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o755)
    file = folder / "secret"
    file.write_text("hush")
    file.chmod(0o600)
    return file


@pytest.mark.parametrize(
    ("text", "lines"),
    [("", ("", "")), ("a", ("a", "")), ("a\n", ("a", "")), ("a\nb", ("a", "b")), ("a\nb\nc\n", ("a", "b"))],
)
def test_two_lines_are_read_of_a_closed_file_only(secret, text, lines):
    secret.write_text(text)
    assert read_two_lines(secret, "key", hint="two lines") == lines
    secret.chmod(0o640)
    with pytest.raises(ConfigError, match="can be read by others"):
        read_two_lines(secret, "key", hint="two lines")


def test_a_file_without_two_lines_of_text_is_an_error_with_what_belongs_there(secret):
    secret.write_bytes(b"\xff")
    for path in (secret, secret.with_name("missing")):
        with pytest.raises(ConfigError, match=f"key {path}: ") as caught:
            read_two_lines(path, "key", hint="two lines")
        assert caught.value.hint == "two lines"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_that_only_its_owner_may_touch_is_closed(secret, mode):
    secret.chmod(mode)
    refuse_open_file(secret, "key")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666])
def test_a_file_that_anybody_else_may_touch_is_refused_with_the_command_that_mends_it(secret, mode):
    secret.chmod(mode)
    with pytest.raises(ConfigError, match=rf"key {secret} can be read by others \(mode {mode:o}\)") as caught:
        refuse_open_file(secret, "key")
    assert (caught.value.hint, caught.value.exit_code) == (f"chmod 600 {secret}", 2)


def test_a_link_is_as_open_as_what_it_leads_to(secret, tmp_path):
    (tmp_path / "link").symlink_to(secret)
    refuse_open_file(tmp_path / "link", "key")
    secret.chmod(0o644)
    with pytest.raises(ConfigError):
        refuse_open_file(tmp_path / "link", "key")


def test_a_file_that_is_not_there_is_not_our_affair(tmp_path):
    refuse_open_file(tmp_path / "none", "key")
    close_own_file(tmp_path / "none", "the token")
    refuse_open_folder(tmp_path / "none", "the state folder")


def test_our_own_file_is_closed_with_a_warning(secret, caplog):
    secret.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        close_own_file(secret, "the token")
    assert secret.stat().st_mode & 0o777 == 0o600
    assert str(secret) in caplog.text
    caplog.clear()
    close_own_file(secret, "the token")
    assert not caplog.records


def test_a_link_in_the_place_of_our_own_file_is_refused(secret, tmp_path):
    (tmp_path / "token").symlink_to(secret)
    with pytest.raises(ConfigError, match="is a link"):
        close_own_file(tmp_path / "token", "the token")


@pytest.mark.parametrize("mode", [0o777, 0o757, 0o1777])
def test_a_folder_that_anybody_may_write_is_refused(tmp_path, mode):
    tmp_path.chmod(mode)
    with pytest.raises(ConfigError, match="anybody may write the state folder") as caught:
        refuse_open_folder(tmp_path, "the state folder")
    assert f"chmod o-w {tmp_path}" in caught.value.hint


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o775])
def test_a_folder_that_a_group_may_write_is_the_sites_own_affair(tmp_path, mode):
    tmp_path.chmod(mode)
    refuse_open_folder(tmp_path, "the state folder")


class AsSomebody:
    """Makes this process look like another user to whoever asks; who really is root need not play."""

    def __init__(self, monkeypatch):
        self._monkeypatch = monkeypatch

    def __call__(self, uid):
        self._monkeypatch.setattr(os, "geteuid", lambda: uid)


def test_a_file_of_another_user_is_refused(secret, monkeypatch):
    AsSomebody(monkeypatch)(secret.stat().st_uid + 1)
    if is_root:  # what is root's, others may have been given to read
        os.chown(secret, SOMEBODY, -1)
    for look in (refuse_open_file, close_own_file):
        with pytest.raises(ConfigError, match="belongs to user") as caught:
            look(secret, "key")
        assert "account" in caught.value.hint


def test_root_takes_files_of_the_folders_owner_and_of_nobody_else(secret, monkeypatch):
    AsSomebody(monkeypatch)(0)
    refuse_open_file(secret, "key")  # ours, in our folder
    if is_root:
        os.chown(secret, SOMEBODY, -1)
        with pytest.raises(ConfigError, match=f"belongs to user {SOMEBODY}, not to you"):
            refuse_open_file(secret, "key")
        os.chown(secret.parent, SOMEBODY, -1)
        refuse_open_file(secret, "key")
