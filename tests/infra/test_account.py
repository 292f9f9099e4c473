from __future__ import annotations

import os
from pathlib import Path

import pytest

from glidepost.infra.demo.account import Account, make_passable, shell_scripts, workfolder
from glidepost.schema.errors import ConfigError

AS_ROOT = os.geteuid() == 0


def test_daemons_never_run_as_root() -> None:
    account = Account.current({})
    assert account.uid != 0
    assert account.run(["id", "-u"]).stdout.strip() == str(account.uid)


@pytest.mark.parametrize("name", ["root", "no-such-user-at-all"])
def test_a_user_that_daemons_cannot_run_as_is_refused_to_root_and_not_looked_at_by_others(name: str) -> None:
    environ = {"GLIDEPOST_DEMO_USER": name}
    if AS_ROOT:
        with pytest.raises(ConfigError, match=name):
            Account.current(environ)
    else:
        assert Account.current(environ).prefix == ()


def test_commands_see_nothing_of_the_callers_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SBATCH_ACCOUNT", "somebody")
    said = Account.current().run(["env"], env={"CONDOR_CONFIG": "/x"}).stdout.splitlines()
    assert sorted(line.split("=")[0] for line in said if not line.startswith("_=")) == [
        "CONDOR_CONFIG",
        "LC_ALL",
        "PATH",
    ]


def test_the_work_folder_is_the_named_one(tmp_path: Path) -> None:
    account = Account(Account.current().name, os.geteuid(), os.getegid(), ())
    assert workfolder(account, {"GLIDEPOST_WORK": str(tmp_path / "a" / "b")}) == tmp_path / "a" / "b"


def test_the_work_folder_is_in_the_clone(tmp_path: Path) -> None:
    account = Account(Account.current().name, os.geteuid(), os.getegid(), ())
    assert workfolder(account, {}, clone=tmp_path) == tmp_path / ".work"


def test_a_link_in_the_place_of_the_work_folder_is_refused(tmp_path: Path) -> None:
    account = Account(Account.current().name, os.geteuid(), os.getegid(), ())
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigError, match="is not yours"):
        workfolder(account, {"GLIDEPOST_WORK": str(tmp_path / "link")})


def test_a_work_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file"):
        workfolder(Account.current(), {"GLIDEPOST_WORK": str(tmp_path / "file" / "work")})


def test_where_the_account_cannot_enter_roots_clone_the_work_folder_is_elsewhere(tmp_path: Path) -> None:
    if not AS_ROOT:
        return  # only root has another account to think of
    account, clone = Account.current({}), tmp_path / "clone"
    clone.mkdir()
    clone.chmod(0o700)
    folder = workfolder(account, {}, clone=clone)
    try:
        assert folder.parent == Path("/var/tmp")
        assert account.can("x", folder)
        assert not account.can("w", folder)
        assert workfolder(account, {}, clone=clone) == folder
        os.chown(folder, account.uid, account.gid)
        with pytest.raises(ConfigError, match="is not yours"):
            workfolder(account, {}, clone=clone)
    finally:
        folder.rmdir()


def test_a_passable_folder_can_be_entered_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        folder = make_passable(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in (folder, folder.parent)] == [0o755, 0o755]


def test_copied_scripts_can_be_run_and_are_not_written_twice(tmp_path: Path) -> None:
    scripts = shell_scripts(tmp_path / "scripts")
    first = (scripts / "pool.sh").stat()
    assert first.st_mode & 0o777 == 0o755
    shell_scripts(tmp_path / "scripts")
    assert (scripts / "pool.sh").stat().st_ino == first.st_ino
