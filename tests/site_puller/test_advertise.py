from __future__ import annotations

from dataclasses import replace

from glidepost.schema.advertised import known
from glidepost.site_puller.advertise import advertises


def test_a_shape_says_what_puller_toml_says(make_config, make_shape):
    shape = replace(make_shape("small"), os="AlmaLinux9", cvmfs=("a.example.org",), gpu_name="A100")
    assert advertises(make_config(), shape) == {
        "GLIDEPOST_Site": "north",
        "GLIDEPOST_Shape": "small",
        "GLIDEIN_Site": "North",
        "Arch": "X86_64",
        "OpSys": "LINUX",
        "OpSysAndVer": "AlmaLinux9",
        "OpSysMajorVer": 9,
        "HAS_CVMFS_a_example_org": True,
    }


def test_what_is_not_known_is_not_said(make_config, make_shape):
    assert "OpSysAndVer" not in advertises(make_config(), make_shape())
    assert not any(name.startswith("GPUs_") for name in advertises(make_config(), make_shape(gpus=1)))


def test_gpus_are_described(make_config, make_shape):
    shape = replace(make_shape(gpus=2), gpu_name="A100", gpu_memory_mib=40960, gpu_capability="8.0")
    said = advertises(make_config(), shape)
    assert (said["GPUs_DeviceName"], said["GPUs_GlobalMemoryMb"], said["GPUs_Capability"]) == ("A100", 40960, "8.0")


def test_backfill_is_said_of_shapes_with_gpus(make_config, make_shape):
    shape = replace(make_shape(gpus=2), gpu_backfill=True)
    assert advertises(make_config(), shape)["GLIDEPOST_Backfill"] is True
    assert "GLIDEPOST_Backfill" not in advertises(make_config(), replace(make_shape(), gpu_backfill=True))
    assert "GLIDEPOST_Backfill" not in advertises(make_config(), make_shape(gpus=2))


def test_the_publisher_believes_every_word(make_config, make_shape):
    words = {"os": "Debian12", "cvmfs": ("a.b",), "gpu_name": "x", "gpu_memory_mib": 1, "gpu_capability": "9.0"}
    said = advertises(make_config(), replace(make_shape(gpus=1), gpu_backfill=True, **words))
    assert known(said) == (said, ())
