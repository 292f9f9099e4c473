"""The zip file for Lambda: the same wherever it is made, and everything that the handler imports is in it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from glidepost.infra.cloud import archive, modules
from glidepost.infra.cloud.package import REQUIREMENTS, Target, build, describe
from glidepost.schema.errors import GlidepostError

# What AWS's runtime has of its own, and the names by which the requirements' packages are imported.
OF_THE_RUNTIME = {"boto3", "botocore", "urllib3"}
IMPORTED_AS = {"pynacl": "nacl"}


def requirements() -> dict[str, str]:
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if "==" in line]
    return {line.split("==")[0]: line.split("==")[1].split()[0] for line in lines}


class Pip:
    """Installs two files, as pip would, with those that differ from host to host."""

    def __init__(self, code: int = 0) -> None:
        self.code, self.command = code, []

    def __call__(self, command):
        self.command = list(command)
        folder = Path(command[command.index("--target") + 1])
        for name in ("lib/code.py", "lib/fast.cpython-313-x86_64-linux-gnu.so", "lib-1.dist-info/RECORD", "bin/lib"):
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(name)
        return subprocess.CompletedProcess(command, self.code, "", "WARNING: x\nERROR: no matching distribution")


def test_two_builds_are_the_same_file(tmp_path):
    first = build(Target(), tmp_path / "a.zip", Pip())
    second = build(Target(), tmp_path / "b.zip", Pip())
    assert first.sha256 == second.sha256
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert describe(tmp_path / "a.zip", Target()) == first


def test_what_differs_from_host_to_host_is_left_out(tmp_path):
    build(Target(), tmp_path / "a.zip", Pip())
    with zipfile.ZipFile(tmp_path / "a.zip") as made:
        names = made.namelist()
        assert names == sorted(names)
        assert {entry.date_time for entry in made.infolist()} == {(2020, 1, 1, 0, 0, 0)}
        modes = {entry.filename: entry.external_attr >> 16 for entry in made.infolist()}
    assert "lib/code.py" in names
    assert not [name for name in names if name.startswith("bin/") or name.endswith("RECORD")]
    assert modes["lib/fast.cpython-313-x86_64-linux-gnu.so"] == 0o755
    assert modes["lib/code.py"] == 0o644


def test_pip_is_held_to_hashes_and_to_the_target():
    pip = Pip(1)
    with pytest.raises(GlidepostError, match=r"python3.12 on arm64: ERROR: no matching") as caught:
        build(Target("arm64", "3.12"), Path("never.zip"), pip)
    assert "--zip FILE" in caught.value.hint
    assert not Path("never.zip").exists()
    assert {"--require-hashes", "--only-binary=:all:", "--no-deps", "--python-version=3.12"} <= set(pip.command)
    assert "--platform=manylinux_2_28_aarch64" in pip.command
    build_old = Pip(1)
    with pytest.raises(GlidepostError):
        build(Target("x86_64", "3.11"), Path("never.zip"), build_old)
    assert "--platform=manylinux_2_28_x86_64" not in build_old.command, "that runtime's C library is older"


def test_everything_that_the_handler_imports_is_in_the_zip():
    foreign = modules.needed_by().foreign - set(sys.stdlib_module_names if sys.version_info >= (3, 10) else ())
    packed = {IMPORTED_AS.get(name, name.replace("-", "_")) for name in requirements()}
    if sys.version_info >= (3, 10):
        assert foreign - OF_THE_RUNTIME - packed <= {"tomli"}, "tomli is for older Pythons"
    assert {"jinja2", "jsonschema", "msgspec"} <= foreign


def test_the_handler_runs_with_nothing_but_what_was_found(tmp_path):
    for name, path in modules.needed_by().files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(path.read_bytes())
    code = (
        "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f)];"
        f"sys.path.insert(0, {str(tmp_path)!r});"
        "import glidepost.infra.aggregator.handler as h; from glidepost.infra.aggregator.page import pages;"
        "assert h.__file__.startswith(sys.path[0]), h.__file__;"
        "from glidepost.schema.document import validator; validator('status/1'); validator('heartbeat/1')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr


def test_neither_tests_nor_examples_nor_the_cloud_verbs_are_in_it():
    names = set(modules.needed_by().files)
    assert {"glidepost/infra/aggregator/handler.py", "glidepost/schema/heartbeat-1.schema.json"} <= names
    assert not [name for name in names if ".example." in name or "/cloud/" in name or "/demo/" in name]
    assert "glidepost/infra/template.yaml" not in names


def test_every_requirement_is_one_version_with_hashes():
    text = REQUIREMENTS.read_text()
    assert all(" ; " not in line for line in text.splitlines() if "==" in line), "a marker depends on the host"
    blocks = text.split("==")[1:]
    assert all("--hash=sha256:" in block for block in blocks)
    assert {"jinja2", "jsonschema", "msgspec", "pynacl"} <= set(requirements())


def test_an_archive_does_not_depend_on_the_order_of_its_files(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name)
    files = {"a": tmp_path / "a", "b": tmp_path / "b"}
    archive.write(tmp_path / "1.zip", files)
    archive.write(tmp_path / "2.zip", dict(reversed(files.items())))
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
