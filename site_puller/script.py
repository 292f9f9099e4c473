"""The script that a batch job runs: one shell assignment for each fact about the glidein, then glidein/bootstrap."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Final

from glidepost.schema import start
from glidepost.schema.demand import Demand, Rules
from glidepost.schema.errors import ConfigError
from glidepost.schema.puller_config import GlideinOptions, PullerConfig, Shape

from . import tarballs

# All checks together; batch systems keep a copy of the script for each submission.
_MAX_CHECK_BYTES: Final = 65536
# Names that HTCondor or the glidein itself gives a value.
_OURS: Final = re.compile(r"_?CONDOR_.*|GLIDEPOST_.*|TMPDIR|TMP|TEMP", re.IGNORECASE)


def render(config: PullerConfig, shape: Shape, demand: Demand, *, name: str) -> str:
    """Returns POSIX sh, complete: it needs no other files but token and log form, which it names by their paths.

    Args:
        config: Of this site.
        shape: What the glidein looks like; with `fit`, cut to the user jobs that it is for.
        demand: Names the pool, its collectors and the code that glideins run, with hashes.
        name: The batch job's name.

    Raises:
        ConfigError: for a check that cannot be read, or a variable that is not the site's to set.
    """
    lines = [f"{key}={shlex.quote(value)}" for key, value in _facts(config, shape, demand, name).items()]
    return "\n".join(("#!/bin/sh", f"# Glidepost: {name} of {config.site}/{shape.name}", *lines, "", _bootstrap()))


def _facts(config: PullerConfig, shape: Shape, demand: Demand, name: str) -> dict[str, str]:
    glidein, offers = config.glidein, shape.offers
    return {
        "GLIDEPOST_NAME": name,
        "GLIDEPOST_SITE": config.site,
        "GLIDEPOST_GLIDEIN_SITE": config.glidein_site,
        "GLIDEPOST_SHAPE": shape.name,
        "GLIDEPOST_POOL": demand.pool,
        "GLIDEPOST_COLLECTORS": " ".join(demand.collectors),
        "GLIDEPOST_CPUS": str(offers.cpus),
        "GLIDEPOST_MEMORY_MIB": str(offers.memory_mib),
        "GLIDEPOST_DISK_MIB": str(offers.disk_mib),
        "GLIDEPOST_GPUS": str(offers.gpus),
        # (what the batch system gives; of that of the offer the glidein takes the end off by itself)
        "GLIDEPOST_WALLTIME_S": str(shape.resources.walltime_s),
        "GLIDEPOST_RETIRE_S": str(shape.retire_s),
        "GLIDEPOST_IDLE_S": str(glidein.idle_shutdown_s),
        "GLIDEPOST_UPDATE_S": str(glidein.update_interval_s),
        "GLIDEPOST_TOKEN_FILE": str(config.token_file),
        "GLIDEPOST_SCRATCH": shape.scratch,
        "GLIDEPOST_CACHE": glidein.cache,
        "GLIDEPOST_TARBALLS": tarballs.lines(demand.glidein, config.site),
        "GLIDEPOST_NETWORK_INTERFACE": glidein.network_interface,
        "GLIDEPOST_START": _start(config, shape, demand),
        "GLIDEPOST_GPU_DISCOVERY": glidein.gpu_discovery,
        "GLIDEPOST_CVMFS": " ".join(shape.cvmfs),
        "GLIDEPOST_OUTCOMES": str(config.outcomes_folder),
        "GLIDEPOST_SETUP": "\n".join(shape.setup),
        "GLIDEPOST_PROXY": glidein.proxy,
        "GLIDEPOST_BACKFILL": "yes" if shape.gpu_backfill else "",
        "GLIDEPOST_LOGS_FOLDER": str(config.log_folder),
        "GLIDEPOST_LOG_FORM": str(config.log_form_file),
        "GLIDEPOST_KEY_FILE": str(config.key),  # (to be hidden from user jobs, where the node sees it)
        **_ways(glidein),
        **environment(glidein),
        **_checks(glidein, demand.glidein.checks),
        **_own_checks(),
    }


def _ways(glidein: GlideinOptions) -> dict[str, str]:
    """Returns how a glidein is to treat its node and its user jobs."""
    return {
        "GLIDEPOST_RANK": glidein.rank,
        "GLIDEPOST_GROUP": glidein.group,
        "GLIDEPOST_DRAIN_FILE": glidein.drain_file,
        "GLIDEPOST_STAGGER_S": str(glidein.stagger_s),
        "GLIDEPOST_REQUIRE": " ".join(glidein.require),
        "GLIDEPOST_CHECK_EVERY_S": str(glidein.check_every_s),
        "GLIDEPOST_CVMFSEXEC": glidein.cvmfsexec,
        "GLIDEPOST_PARROT": glidein.parrot,
        "GLIDEPOST_JOB_SETUP": "\n".join(glidein.job_setup),
        "GLIDEPOST_APPTAINER": glidein.apptainer,
        "GLIDEPOST_USER_IMAGE": glidein.user_image,
        "GLIDEPOST_BINDS": "\n".join(glidein.binds),
        "GLIDEPOST_GLIDEIN_IMAGE": glidein.glidein_image,
        "GLIDEPOST_LOGS": glidein.logs,
        "GLIDEPOST_LOGS_EVERY_S": str(glidein.logs_every_s),
        "GLIDEPOST_LOGS_MAX_MIB": str(glidein.logs_max_mib),
    }


def environment(glidein: GlideinOptions) -> dict[str, str]:
    """Returns which variables of the batch job a glidein keeps, and which it sets, as its script reads them.

    Raises:
        ConfigError: for one that is not the site's to set.
    """
    for key, names in (("keep", glidein.keep), ("environment", glidein.environment)):
        taken = [name for name in names if _OURS.fullmatch(name)]
        if taken:
            raise ConfigError(
                f"[glidein] {key}: {taken[0]} is HTCondor's or the glidein's own", hint="take it out of puller.toml"
            )
    return {
        "GLIDEPOST_KEEP": " ".join(glidein.keep),
        "GLIDEPOST_ENVIRONMENT": "\n".join(f"{name}={text}" for name, text in glidein.environment.items()),
    }


def _checks(glidein: GlideinOptions, of_pool: Mapping[str, str]) -> dict[str, str]:
    """Returns the pool's checks, as pool-NAME, and the site's."""
    texts = {**{f"pool-{name}": text for name, text in of_pool.items()}, **checks(glidein)}
    said = {f"GLIDEPOST_CHECK_{number}": text for number, text in enumerate(texts.values(), 1)}
    return {"GLIDEPOST_CHECKS": " ".join(texts), **said}


@lru_cache(maxsize=1)
def _own_checks() -> dict[str, str]:
    """Returns Glidepost's own checks, which go along with each glidein too."""
    texts = _texts("checks")
    said = {f"GLIDEPOST_OWN_CHECK_{number}": text for number, text in enumerate(texts.values(), 1)}
    return {"GLIDEPOST_OWN_CHECKS": " ".join(texts), **said}


def checks(glidein: GlideinOptions) -> dict[str, str]:
    """Returns the text of each of the site's checks, in their order, by the name that outcomes give it.

    The name is the file's, without folder and ending: "checks/Open_CL.sh" -> "open-cl".

    Raises:
        ConfigError: for a file that cannot be read, is no text, or has another's name, and when they are too long.
    """
    found: dict[str, str] = {}
    size_bytes = 0
    for path in glidein.checks:
        body = _read(path)
        name = re.sub(r"[^a-z0-9]+", "-", Path(path).stem.lower()).strip("-")[:40]
        if not name or name in found:
            raise ConfigError(
                f"[glidein] checks: {path}: there is no name in it, or another check has it: {name!r}",
                hint="rename the file: letters and digits without its ending make the name",
            )
        size_bytes += len(body)
        if size_bytes > _MAX_CHECK_BYTES:
            raise ConfigError(
                f"[glidein] checks: with {path} they are more than {_MAX_CHECK_BYTES // 1024} KiB",
                hint="they go along with each glidein: put what is large on a file system that worker nodes see",
            )
        try:
            found[name] = body.decode()
        except UnicodeDecodeError:
            found[name] = "\0"
        if "\0" in found[name]:
            raise ConfigError(f"[glidein] checks: {path} is no text", hint="a check is a shell script, UTF-8")
    return found


def _read(path: str) -> bytes:
    """Returns what is in a file, a little more than allowed at most.

    Raises:
        ConfigError: when it cannot be read.
    """
    try:
        if not Path(path).is_file():  # to open a pipe would wait for ever
            raise ConfigError(f"[glidein] checks: there is no file {path}", hint="it must be on this host")
        with Path(path).open("rb") as file:
            return file.read(_MAX_CHECK_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"[glidein] checks: cannot read {path}: {error.strerror}", hint="let the puller's account read it"
        ) from error


def _start(config: PullerConfig, shape: Shape, demand: Demand) -> str:
    """Returns the extra START expression: the shape's rules, the pool's for this site, and what the site wrote."""
    clauses = [
        *start.clauses(gpus=0, accept=shape.accept, deny=shape.deny),  # (of GPUs the glidein takes care by itself)
        *shape.jobs.clauses(),
    ]
    rules = demand.rules.get(config.site, Rules())
    clauses += start.clauses(gpus=0, accept=rules.accept, deny=rules.deny)
    if config.glidein.start:
        clauses.append(config.glidein.start)
    return " && ".join(f"({clause})" for clause in clauses)


@lru_cache(maxsize=1)
def _bootstrap() -> str:
    return "".join(_texts("bootstrap").values())


def _texts(folder: str) -> dict[str, str]:
    """Returns the shell scripts in a folder of glidepost.glidein by their names without ending, in the names' order."""
    parts = resources.files("glidepost.glidein").joinpath(folder).iterdir()
    found = {part.name[: -len(".sh")]: part.read_text(encoding="utf-8") for part in parts if part.name.endswith(".sh")}
    return dict(sorted(found.items()))
