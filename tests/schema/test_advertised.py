from __future__ import annotations

import pytest

from glidepost.schema.advertised import cvmfs_name, known


def test_names_and_types_on_the_list_are_believed():
    said = {"OpSysAndVer": "AlmaLinux9", "OpSysMajorVer": 9, "HAS_CVMFS_a_b": True, "GPUs_Capability": "8.0"}
    assert known(said) == (said, ())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Start", "true"),
        ("Requirements", True),
        ("Memory", 10**6),
        ("WithinResourceLimits", True),
        ("OpSysMajorVer", "9"),
        ("OpSysMajorVer", True),
        ("Arch", 1),
        ("HAS_CVMFS_a", "true"),
        ("HAS_CVMFS_", True),
        ("GPUs_Capability", "8.0 || true"),
        ("GPUs_Capability", 8),
    ],
)
def test_everything_else_is_ignored_and_named(name, value):
    taken, ignored = known({name: value, "OpSys": "LINUX"})
    assert taken == {"OpSys": "LINUX"}
    assert len(ignored) == 1
    assert ignored[0].startswith(f"{name}: not a")


def test_a_repository_becomes_an_attribute():
    assert cvmfs_name("icecube.open-science.org") == "HAS_CVMFS_icecube_open_science_org"
