from __future__ import annotations

import json
import re
import stat
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepost.backends.registry import BACKENDS
from glidepost.schema.document import validator
from glidepost.schema.errors import ConfigError
from glidepost.schema.keys import SigningKey
from glidepost.schema.puller_config import PullerConfig
from glidepost.site_puller.setup.cli import init
from glidepost.site_puller.setup.init import Wanted, guess_backend, make, render, site_name

URL = "https://bucket.example.org"
SCHEMA = validator("puller-config/1").schema
# Keys that stand behind "#" without "e.g." and are not what holds without them word by word.
SAME_IN_EFFECT = {
    "scratch": "the bootstrap takes $TMPDIR when nothing is said",
    "cost_per_hour": "the shape has one core",
    "gres": "only with gpus",
}


@pytest.fixture
def filled(pool_key) -> Wanted:
    return Wanted("north", "slurm", URL, str(pool_key.public), "sbatch is on the PATH")


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "puller.toml"


def loaded(path: Path, text: str) -> PullerConfig:
    path.write_text(text, encoding="utf-8")
    return PullerConfig.load(path)


def keys_of(backend: str) -> set[str]:
    """Returns all keys of the schema that a shape of this backend may have."""
    shape = SCHEMA["definitions"]["shape"]
    branches = {item["if"]["properties"]["backend"]["const"]: item["then"] for item in shape["allOf"]}
    tables = [SCHEMA["properties"][name] for name in ("site", "pool", "limits", "glidein")]
    tables += [shape, shape["properties"]["jobs"], branches[backend]["properties"]["options"]]
    return {key for table in tables for key in table["properties"]}


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_every_key_of_the_schema_is_in_the_file(filled, backend):
    text = render(replace(filled, backend=backend))
    found = set(re.findall(r"^#?(\w+) = ", text, re.MULTILINE)) | set(
        re.findall(r"^#?\[.*\.(\w+)\]", text, re.MULTILINE)
    )
    assert keys_of(backend) - found == set()


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_the_file_loads_as_soon_as_the_pool_is_filled_in(filled, path, backend):
    config = loaded(path, render(replace(filled, backend=backend)))
    assert (config.site, config.url, config.shapes[0].backend) == ("north", URL, backend)


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_all_that_stands_behind_a_hash_can_be_turned_on(filled, path, backend):
    text = render(replace(filled, backend=backend))
    config = loaded(path, re.sub(r"^#(?=[a-z_]+ = |\[)", "", text, flags=re.MULTILINE))
    assert config.shapes[0].fit is not None
    assert config.shapes[0].jobs.max_cpus == 8
    assert config.limits.caps.max_gpus == 4
    assert config.glidein.environment == {"OMP_NUM_THREADS": "1"}


def test_what_stands_behind_a_hash_without_eg_holds_all_the_same(filled, path):
    text = render(filled)
    before = loaded(path, text)
    tried = []
    for line in text.splitlines():
        match = re.fullmatch(r"#(\w+) = .*", line)
        if match is None or "e.g." in line or match[1] in SAME_IN_EFFECT:
            continue
        if any(word in match[1] for word in ("min_", "step", "fit")) or line in _between(text, "jobs]", "[glidein]"):
            continue
        tried.append(match[1])
        assert loaded(path, text.replace(line, line[1:], 1)) == before, line
    assert len(tried) >= 15


def _between(text: str, start: str, end: str) -> list[str]:
    return text.partition(start)[2].partition(end)[0].splitlines()


def test_a_file_that_is_not_filled_in_says_which_key(filled, path):
    with pytest.raises(ConfigError, match=r"pool\.url") as caught:
        loaded(path, render(replace(filled, url="")))
    assert "url = " in caught.value.hint
    with pytest.raises(ConfigError, match="key") as caught:
        loaded(path, render(replace(filled, public_key="")))
    assert "ed25519:" in caught.value.hint


def test_the_first_line_leads_editors_to_the_schema(filled):
    first = render(filled).splitlines()[0]
    assert first.startswith("#:schema file:///")
    schema = Path(urlsplit(first.split(" ", 1)[1]).path)
    assert json.loads(schema.read_text())["$id"] == SCHEMA["$id"]


def test_the_file_fits_on_a_terminal(filled):
    assert [line for line in render(replace(filled, url="", public_key="")).splitlines()[1:] if len(line) > 80] == []


def test_key_and_state_folder_are_the_owners_alone(filled, path):
    made = make(filled, path)
    key = path.parent / "site.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE((path.parent / "state").stat().st_mode) == 0o700
    assert made.line == f"glidepost-site north {SigningKey.load(key).public}"
    assert made.is_key_new


def test_nothing_is_overwritten(filled, path):
    make(filled, path)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}
    with pytest.raises(ConfigError, match="exists") as caught:
        make(replace(filled, site="south"), path)
    assert "--force" in caught.value.hint
    assert {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()} == before


def test_a_dangling_link_is_a_file_too(filled, path):
    path.symlink_to(path.parent / "nowhere")
    with pytest.raises(ConfigError, match="exists"):
        make(filled, path)


def test_by_force_the_old_file_is_moved_aside_and_the_key_stays(filled, path):
    first = make(filled, path)
    old = path.read_bytes()
    second = make(replace(filled, site="south"), path, is_forced=True)
    third = make(replace(filled, site="west"), path, is_forced=True)
    assert second.moved_to is not None
    assert second.moved_to.read_bytes() == old
    assert third.moved_to not in {None, second.moved_to}
    assert not second.is_key_new
    assert second.line.split()[2] == first.line.split()[2]


def test_a_key_that_others_can_read_is_not_taken(filled, path, site_key):
    site_key.save(path.parent / "site.key")
    (path.parent / "site.key").chmod(0o644)
    with pytest.raises(ConfigError, match="read by others"):
        make(filled, path)
    assert not path.exists()


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"site": "North!"}, "site.name"), ({"url": "bucket"}, "pool.url"), ({"public_key": "ed25519:AA"}, "public key")],
)
def test_what_could_not_be_read_again_is_not_written(filled, path, changes, word):
    with pytest.raises(ConfigError, match=word):
        make(replace(filled, **changes), path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("login01.cedar.example.org", "cedar"),
        ("ce7.rwth.example.org", "rwth"),
        ("Submit-3.HPC_2.example.org", "hpc-2"),
        ("aachen", "aachen"),
        ("localhost", "my-site"),
        ("10.1.2.3", "my-site"),
    ],
)
def test_a_sites_name_comes_from_what_is_telling_in_the_hosts(host, name):
    assert site_name(host) == name


@given(st.text(max_size=300))
def test_a_sites_name_is_always_valid(host):
    assert re.fullmatch(SCHEMA["properties"]["site"]["properties"]["name"]["pattern"], site_name(host))


def test_the_backend_is_guessed_from_the_path():
    assert guess_backend({"sbatch": "/usr/bin/sbatch"}.get) == ("slurm", "sbatch is on the PATH")
    assert guess_backend({}.get)[0] == "local"
    assert guess_backend({"condor_submit": "/usr/bin/condor_submit", "sbatch": "/usr/bin/sbatch"}.get)[0] == "slurm"
    backend, note = guess_backend({"qsub": "/usr/bin/qsub"}.get)
    assert (backend, "torque" in note) == ("pbs", True)
    assert guess_backend({"qsub": "/usr/bin/qsub", "qgpumode": "/usr/bin/qgpumode"}.get)[0] == "torque"
    assert guess_backend({"qsub": "/usr/bin/qsub", "pbs_rsub": "/opt/pbs/bin/pbs_rsub"}.get)[0] == "pbs"


def test_the_command_prints_the_line_and_nothing_else(tmp_path, pool_key, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GLIDEPOST_PULLER_CONFIG", raising=False)
    init.main(["--site", "north", "--url", URL, "--public-key", str(pool_key.public)], standalone_mode=False)
    said = capsys.readouterr()
    assert PullerConfig.load(tmp_path / "puller.toml").site == "north"
    assert said.out == f"glidepost-site north {SigningKey.load(tmp_path / 'site.key').public}\n"
    assert "Try it: glidepost puller check\n" in said.err
    assert "Fill in" not in said.err


def test_the_command_says_what_is_to_be_filled_in(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("GLIDEPOST_PULLER_CONFIG", raising=False)
    output = tmp_path / "deep" / "north.toml"
    init.main(["--site", "north", "--output", str(output)], standalone_mode=False)
    said = capsys.readouterr().err
    assert "Fill in url and public_key" in said
    assert f"--config {output}" in said
    assert stat.S_IMODE(output.stat().st_mode) & 0o022 == 0


def test_the_command_asks_nothing_and_says_where_the_name_is_from(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", None)
    init.main([], standalone_mode=False)
    assert "comes from this host's name" in capsys.readouterr().err


def test_the_root_key_is_pinned_when_it_is_given(filled, path, site_key):
    assert loaded(path, render(filled)).root_key is None
    assert loaded(path, render(replace(filled, root_key=str(site_key.public)))).root_key == site_key.public
    with pytest.raises(ConfigError, match="a public key"):
        render(replace(filled, root_key="ed25519:no"))
