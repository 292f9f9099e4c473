"""What a shape's glideins will say of themselves in the pool, beside their resources: pure."""

from __future__ import annotations

import re

from glidepost.schema.advertised import Literal, cvmfs_name
from glidepost.schema.puller_config import PullerConfig, Shape


def advertises(config: PullerConfig, shape: Shape) -> dict[str, Literal]:
    """Returns attributes by the names in schema/advertised.py; what the site has not said is not in it.

    The publisher matches user jobs by them before there is any glidein, so a wrong word in puller.toml brings glideins
    that no user job takes, or none.
    """
    said: dict[str, Literal] = {
        "GLIDEPOST_Site": config.site,
        "GLIDEPOST_Shape": shape.name,
        "GLIDEIN_Site": config.glidein_site,
        "Arch": shape.arch,
        "OpSys": "LINUX",
    }
    if shape.os:
        said["OpSysAndVer"] = shape.os
        said["OpSysMajorVer"] = int(re.sub(r"\D", "", shape.os))
    said.update({cvmfs_name(repository): True for repository in shape.cvmfs})
    if shape.resources.gpus:
        properties = {
            "GPUs_DeviceName": shape.gpu_name,
            "GPUs_GlobalMemoryMb": shape.gpu_memory_mib,
            "GPUs_Capability": shape.gpu_capability,
        }
        said.update({name: value for name, value in properties.items() if value is not None})
        if shape.gpu_backfill:
            said["GLIDEPOST_Backfill"] = True
    return said
