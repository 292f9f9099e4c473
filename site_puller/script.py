"""The script that a batch job runs: one shell assignment for each fact about the glidein, then glidein/bootstrap."""

from __future__ import annotations

import shlex
from functools import lru_cache
from importlib import resources

from glidepost.schema import start
from glidepost.schema.demand import Demand, Rules
from glidepost.schema.puller_config import PullerConfig, Shape


def render(config: PullerConfig, shape: Shape, demand: Demand, *, name: str) -> str:
    """Returns POSIX sh, complete: it needs no other file but the token, which it names by its path.

    Args:
        config: Of this site.
        shape: What the glidein looks like.
        demand: Names the pool, its collectors and the code that glideins run, with hashes.
        name: The batch job's name.
    """
    lines = [f"{key}={shlex.quote(value)}" for key, value in _facts(config, shape, demand, name).items()]
    return "\n".join(("#!/bin/sh", f"# Glidepost: {name} of {config.site}/{shape.name}", *lines, "", _bootstrap()))


def _facts(config: PullerConfig, shape: Shape, demand: Demand, name: str) -> dict[str, str]:
    glidein, resources_ = config.glidein, shape.resources
    return {
        "GLIDEPOST_NAME": name,
        "GLIDEPOST_SITE": config.site,
        "GLIDEPOST_GLIDEIN_SITE": config.glidein_site,
        "GLIDEPOST_SHAPE": shape.name,
        "GLIDEPOST_POOL": demand.pool,
        "GLIDEPOST_COLLECTORS": " ".join(demand.collectors),
        "GLIDEPOST_CPUS": str(resources_.cpus),
        "GLIDEPOST_MEMORY_MIB": str(resources_.memory_mib),
        "GLIDEPOST_DISK_MIB": str(resources_.disk_mib),
        "GLIDEPOST_GPUS": str(resources_.gpus),
        "GLIDEPOST_WALLTIME_S": str(resources_.walltime_s),
        # At least three quarters of the walltime are for new user jobs, whatever the site wrote.
        "GLIDEPOST_RETIRE_S": str(min(glidein.retirement_s, resources_.walltime_s // 4)),
        "GLIDEPOST_IDLE_S": str(glidein.idle_shutdown_s),
        "GLIDEPOST_UPDATE_S": str(glidein.update_interval_s),
        "GLIDEPOST_TOKEN_FILE": str(config.token_file),
        "GLIDEPOST_SCRATCH": shape.scratch,
        "GLIDEPOST_CACHE": glidein.cache,
        "GLIDEPOST_TARBALLS": "\n".join(
            f"{item.os} {item.arch} {item.condor_version} {item.sha256} {item.size_bytes} {item.url}"
            for item in demand.glidein.tarballs
        ),
        "GLIDEPOST_NETWORK_INTERFACE": glidein.network_interface,
        "GLIDEPOST_START": _start(config, shape, demand),
        "GLIDEPOST_GPU_DISCOVERY": glidein.gpu_discovery,
        "GLIDEPOST_CVMFS": " ".join(shape.cvmfs),
        "GLIDEPOST_OUTCOMES": str(config.outcomes_folder),
    }


def _start(config: PullerConfig, shape: Shape, demand: Demand) -> str:
    """Returns the extra START expression: the shape's rules, the pool's for this site, and what the site wrote."""
    clauses = list(start.clauses(gpus=shape.resources.gpus, accept=shape.accept, deny=shape.deny))
    rules = demand.rules.get(config.site, Rules())
    clauses += start.clauses(gpus=0, accept=rules.accept, deny=rules.deny)
    if config.glidein.start:
        clauses.append(config.glidein.start)
    return " && ".join(f"({clause})" for clause in clauses)


@lru_cache(maxsize=1)
def _bootstrap() -> str:
    folder = resources.files("glidepost.glidein").joinpath("bootstrap")
    parts = sorted((part for part in folder.iterdir() if part.name.endswith(".sh")), key=lambda part: part.name)
    return "".join(part.read_text(encoding="utf-8") for part in parts)
