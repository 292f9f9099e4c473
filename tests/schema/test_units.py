import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepost.schema.errors import ConfigError
from glidepost.schema.units import format_duration, format_size, normalise, parse_duration, parse_size


@pytest.mark.parametrize(("text", "mib"), [("512MiB", 512), ("8GiB", 8192), ("1.5GiB", 1536), ("2TiB", 2097152)])
def test_sizes_are_binary(text, mib):
    assert parse_size(text) == mib


@pytest.mark.parametrize("text", ["8GB", "8", 8, "8 gib", "", "-1GiB", "GiB", True, None, "8GiBs"])
def test_a_size_without_a_binary_unit_is_refused_with_the_right_spelling(text):
    with pytest.raises(ConfigError, match=r"shapes\.cpu\.memory") as caught:
        parse_size(text, where="shapes.cpu.memory")
    assert "8GiB" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("48h", 172800), ("1h30m", 5400), ("7d", 604800)]
)
def test_durations_have_units(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["90", 90, "1.5h", "", "h", "48 hours", "-1h"])
def test_a_duration_without_a_unit_is_refused(text):
    with pytest.raises(ConfigError, match="is not a duration"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10**9))
def test_a_size_survives_being_written_and_read(mib):
    assert parse_size(format_size(mib)) == mib


@given(st.integers(min_value=0, max_value=10**8))
def test_a_duration_for_people_loses_less_than_its_last_unit(seconds):
    shown = parse_duration(format_duration(seconds))
    assert shown <= seconds < shown + 86400
    assert shown == seconds or shown >= 60


def test_a_table_comes_out_in_the_codes_units():
    tree = {"shapes": {"cpu": {"memory": "8GiB", "walltime": "2h", "cpus": 4}}, "extra": [{"disk": "1GiB"}]}
    assert normalise(tree) == {
        "shapes": {"cpu": {"memory_mib": 8192, "walltime_s": 7200, "cpus": 4}},
        "extra": [{"disk_mib": 1024}],
    }
