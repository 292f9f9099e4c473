"""What `glidepost glidein build` refuses; that it builds is shown on a real HTCondor in tests/real."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from glidepost.glidein import build as builder
from glidepost.glidein.cli import group
from glidepost.schema.errors import ConfigError, GlidepostError


def prefix_of(folder: Path, program: str) -> Path:
    """Makes a prefix whose programs are copies of another."""
    for name in builder.REQUIRED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(program, folder / name)
    return folder


def test_a_folder_without_htcondor_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match="holds no sbin/condor_master"):
        builder.build(tmp_path, tmp_path / "x.tar.gz")


def test_programs_that_are_no_htcondor_are_not_packed(tmp_path):
    prefix = prefix_of(tmp_path / "prefix", "/bin/echo")
    with pytest.raises(GlidepostError, match="-version does not run from the packed tree: -version"):
        builder.build(prefix, tmp_path / "x.tar.gz")
    assert not (tmp_path / "x.tar.gz").exists()


def test_scripts_are_no_htcondor(tmp_path):
    (tmp_path / "script").write_text("#!/bin/sh\n")
    with pytest.raises(ConfigError, match="is no program for x86_64 or aarch64"):
        builder.build(prefix_of(tmp_path / "prefix", str(tmp_path / "script")), tmp_path / "x.tar.gz")


def test_another_arch_than_asked_for_is_refused(tmp_path):
    data = bytearray(Path("/bin/echo").read_bytes())
    data[18:20] = (183).to_bytes(2, "little")
    (tmp_path / "arm").write_bytes(data)
    (tmp_path / "arm").chmod(0o755)
    prefix = prefix_of(tmp_path / "prefix", str(tmp_path / "arm"))
    with pytest.raises(ConfigError, match="is for aarch64, not for x86_64"):
        builder.build(prefix, tmp_path / "x.tar.gz", arch="x86_64")


@pytest.mark.parametrize(
    ("name", "link"), [("../evil", None), ("/evil", None), ("top/link", "../../evil"), ("top/link", "/evil")]
)
def test_a_release_that_leads_outside_is_refused(tmp_path, name, link):
    member = tarfile.TarInfo(name)
    if link:
        member.type, member.linkname = tarfile.SYMTYPE, link
    with tarfile.open(tmp_path / "release.tar.gz", "w:gz") as tar:
        tar.addfile(member, io.BytesIO())
    with pytest.raises(ConfigError, match="leads outside"):
        builder.build(tmp_path / "release.tar.gz", tmp_path / "x.tar.gz")


def test_a_file_that_is_no_release_is_a_configuration_error(tmp_path):
    (tmp_path / "release.tar.gz").write_text("hello")
    with pytest.raises(ConfigError, match=r"release\.tar\.gz"):
        builder.build(tmp_path / "release.tar.gz", tmp_path / "x.tar.gz")


def test_the_command_wants_something_to_build_from(tmp_path):
    result = CliRunner().invoke(group, ["build", "--from", str(tmp_path / "none"), "--output", "x"])
    assert result.exit_code == 2
    assert "does not exist" in result.output


@pytest.mark.parametrize("verb", ["build", "inspect"])
def test_every_verb_shows_an_example(verb):
    assert f"Example: glidepost glidein {verb}" in CliRunner().invoke(group, [verb, "--help"]).output


def test_links_that_lead_outside_only_together_are_refused(tmp_path):
    """Each of these names looks as if it stayed inside."""
    for number, last in enumerate(("x/evil", "sbin/condor_master")):
        members = []
        for name, link in (("d/l", ".."), ("x", "d/l/../.."), ("sbin", "x")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, link
            members.append(member)
        members.append(tarfile.TarInfo(last))
        with tarfile.open(tmp_path / f"{number}.tar.gz", "w:gz") as tar:
            for member in members:
                tar.addfile(member, io.BytesIO())
        with pytest.raises(ConfigError, match="leads outside"):
            builder.build(tmp_path / f"{number}.tar.gz", tmp_path / "x.tar.gz")


def test_a_link_that_leads_outside_through_another_is_refused(tmp_path):
    with tarfile.open(tmp_path / "release.tar.gz", "w:gz") as tar:
        for name, link in (("d/l", ".."), ("program", "d/l/../../etc/passwd")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, link
            tar.addfile(member)
    with pytest.raises(ConfigError, match="leads outside"):
        builder.build(tmp_path / "release.tar.gz", tmp_path / "x.tar.gz")
