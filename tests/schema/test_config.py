import shutil
from pathlib import Path

import pytest

from glidepost.schema.errors import ConfigError
from glidepost.schema.publisher_config import PublisherConfig
from glidepost.schema.puller_config import PullerConfig
from glidepost.schema.resources import Resources
from glidepost.schema.sites import active, load_sites

SCHEMA = Path(__file__).parents[2] / "schema"


@pytest.fixture
def puller(tmp_path) -> Path:
    return Path(shutil.copy(SCHEMA / "puller-config-1.example.toml", tmp_path / "puller.toml"))


@pytest.fixture
def publisher(tmp_path) -> Path:
    return Path(shutil.copy(SCHEMA / "publisher-config-1.example.toml", tmp_path / "publisher.toml"))


def change(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


def test_the_example_of_a_puller_is_read(puller):
    config = PullerConfig.load(puller)
    assert [shape.name for shape in config.shapes] == ["gpu", "cpu"]
    assert config.shapes[0].resources == Resources(cpus=8, memory_mib=30720, disk_mib=51200, walltime_s=86400, gpus=1)
    assert config.shapes[0].limits.max_running == 20
    assert config.shapes[0].options["gres"] == "gpu:a100:{gpus}"
    assert config.state == puller.parent / "state"
    assert config.glidein.cache == str(puller.parent / "cache")


def test_the_example_of_a_publisher_is_read(publisher):
    config = PublisherConfig.load(publisher)
    assert config.demand.life_s == 1800
    assert config.demand.signing_key == str(publisher.parent / "pool.key")
    assert config.store.endpoint is None


@pytest.mark.parametrize(
    ("old", "new", "what", "hint"),
    [
        ("max_queued = 4", "max_queue = 4", "unknown key max_queue in [shapes.gpu]", "did you mean max_queued?"),
        ('partition = "gpu"', 'partitoin = "gpu"', "unknown key partitoin in [shapes.gpu.options]", "partition?"),
        ("[limits]", "[limit]", "unknown key limit in the top level", "did you mean limits?"),
        ("[limits]", "[xyz]", "unknown key xyz in the top level", "it knows"),
        ('memory = "30GiB"', "memory = 30", "shapes.gpu.memory: 30 is not of type 'string'", 'memory = "8GiB"'),
        ('memory = "30GiB"', 'memory = "30GB"', "shapes.gpu.memory: '30GB' is not a size", "8GiB"),
        ('walltime = "24h"', 'walltime = "24"', "shapes.gpu.walltime: '24' is not a duration", "48h"),
        ('backend = "slurm"', 'backend = "slrum"', "shapes.gpu.backend: 'slrum' is not one of", "docs"),
        ("cpus = 8", "cpus = 0", "shapes.gpu.cpus: 0 is less than the minimum of 1", "docs"),
        ('key = "site.key"', "", "[site] lacks key", "docs"),
        ('name = "aachen"', 'name = "Aa chen"', "site.name: 'Aa chen' does not match", "docs"),
        ("ed25519:A6EH", "ed25519:A6", "a public key", "base64"),
        ("[limits]", "[limits", "puller.toml: ", "must be TOML"),
    ],
)
def test_bad_input_names_the_key_and_says_what_to_do(puller, old, new, what, hint):
    with pytest.raises(ConfigError) as caught:
        PullerConfig.load(change(puller, old, new))
    assert what in caught.value.what
    assert hint in caught.value.hint


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        PullerConfig.load(tmp_path / "nowhere.toml")


def test_options_of_another_batch_system_are_refused(puller):
    with pytest.raises(ConfigError, match=r"unknown key partition in \[shapes.gpu.options\]"):
        PullerConfig.load(change(puller, 'backend = "slurm"', 'backend = "local"'))


def test_no_sites_are_enrolled_before_the_first(tmp_path):
    assert load_sites(tmp_path / "sites.toml") == {}


def test_a_site_without_a_key_is_refused(tmp_path):
    (tmp_path / "sites.toml").write_text("[north]\n")
    with pytest.raises(ConfigError, match="north"):
        load_sites(tmp_path / "sites.toml")


def test_the_example_of_sites_says_what_its_comments_say():
    sites = load_sites(Path(__file__).parents[2] / "schema" / "sites-1.example.toml")
    assert (sites["north"].groups, sites["south"].channel) == (("group_physics", "@example.org"), "canary")
    assert list(active(sites)) == ["north", "south"]


@pytest.mark.parametrize("key", ["enrolled_at", "revoked_at", "tokens_from"])
@pytest.mark.parametrize("value", ['"2026-11-22"', "2026-11-22", "2026-11-22T09:00:00", "true", "0"])
def test_a_time_of_a_site_that_is_none_is_refused_and_not_taken_for_no_time(tmp_path, site_key, key, value):
    file = tmp_path / "sites.toml"
    file.write_text(f'[north]\npublic_key = "{site_key.public}"\n{key} = {value}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=f"north.{key}"):
        load_sites(file)
