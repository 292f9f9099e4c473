"""`glidepost puller init`: a commented puller.toml, and the site's key. It asks nothing and overwrites nothing."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final, Optional

from glidepost.schema.document import validator
from glidepost.schema.errors import ConfigError
from glidepost.schema.files import make_folder, write_atomic
from glidepost.schema.keys import PublicKey, SigningKey

KEY_FILE: Final = "site.key"
_SCHEMA: Final = "puller-config-1.schema.json"
# A batch system's own program, and the backend for it. What several have (qsub, qstat, pbsnodes) tells nothing. A host
# may have HTCondor's because it is an execution point, so that comes last.
_PROGRAMS: Final = {
    "sbatch": "slurm",
    "bsub": "lsf",
    "qconf": "gridengine",
    "pbs_rsub": "pbs",
    "qgpumode": "torque",
    "condor_submit": "htcondor",
}
# First labels of host names that say what the host does, not which site it is at.
_ROLE: Final = re.compile(r"(login|submit|head|front-?end|gateway|ui|gw|ce|vm|node|localhost)-?\d*")
_COMMENT: Final = re.compile(r"(#?\w+ = .*?)  *(# .*)")
_COLUMN: Final = 31
_ROOT_KEY: Final = 'root_key = "{}"  # may replace public_key'
# Whose key this is nobody knows.
_NO_ROOT_KEY: Final = """\
# From the pool's admin, if the pool has one: who may replace a stolen key.
#root_key = "ed25519:A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="  # e.g.\
"""


@dataclass(frozen=True)
class Wanted:
    """What the new configuration is to say. Empty text: to be filled in by hand."""

    site: str
    backend: str
    url: str = ""
    public_key: str = ""
    note: str = ""
    root_key: str = ""


@dataclass(frozen=True)
class Made:
    """What `make` has made: the line for the pool's admin, and what became of the files."""

    line: str
    is_key_new: bool
    moved_to: Optional[Path] = None


def site_name(host: str) -> str:
    """Returns a valid site name out of a host's: "login01.cedar.example.org" -> "cedar"."""
    labels = [re.sub(r"[^a-z0-9-]", "-", label).strip("-")[:32] for label in host.lower().split(".")]
    telling = [label for label in labels if label and not _ROLE.fullmatch(label) and not label.isdigit()]
    return telling[0] if telling else "my-site"


def guess_backend(which: Callable[[str], Optional[str]]) -> tuple[str, str]:
    """Returns the backend for the batch system on the PATH, and what to say about it.

    Args:
        which: Returns where a program is, or None, as `shutil.which` does.
    """
    for program, backend in _PROGRAMS.items():
        if which(program):
            return backend, f"{program} is on the PATH"
    if which("qsub"):
        return "pbs", 'qsub is on the PATH, and does not say whose; "torque" if qstat --version is like 6.1.3'
    return "local", f"no batch system is on the PATH, of {', '.join(sorted(set(_PROGRAMS.values())))}"


def render(wanted: Wanted) -> str:
    """Returns the text of a puller.toml.

    Raises:
        ConfigError: when something in `wanted` could not be meant.
    """
    _refuse("site.name", wanted.site)
    if wanted.url:
        _refuse("pool.url", wanted.url)
    for key in (wanted.public_key, wanted.root_key):
        if key:
            PublicKey.parse(key)
    folder = resources.files(__package__)
    options = folder.joinpath(f"init-{wanted.backend}.toml")
    text = folder.joinpath("init.toml").read_text(encoding="utf-8")
    values = {
        "SCHEMA": Path(str(resources.files("glidepost.schema").joinpath(_SCHEMA))).absolute().as_uri(),
        "SITE": wanted.site,
        "URL": wanted.url,
        "PUBLIC_KEY": wanted.public_key,
        "ROOT_KEY": _ROOT_KEY.format(wanted.root_key) if wanted.root_key else _NO_ROOT_KEY,
        "BACKEND": wanted.backend,
        "NOTE": wanted.note,
        "OPTIONS": options.read_text(encoding="utf-8") if options.is_file() else "",
    }
    return "\n".join(_aligned(line) for line in _filled(text, values).split("\n"))


def make(wanted: Wanted, path: Path, *, is_forced: bool = False) -> Made:
    """Writes puller.toml, the site's key beside it, and the state folder; a key that is there is taken, never replaced.

    Args:
        wanted: What the configuration is to say.
        path: Where it goes.
        is_forced: A file that is there is moved aside instead of refused.

    Raises:
        ConfigError: when there is such a file already, the key there is none, or something cannot be written.
    """
    text = render(wanted)
    if os.path.lexists(path) and not is_forced:
        raise ConfigError(f"{path} exists", hint="edit it, or keep it under another name and write a new one: --force")
    key_file = path.absolute().parent / KEY_FILE
    is_key_new = not key_file.exists()
    if is_key_new:
        SigningKey.generate().save(key_file)
    key = SigningKey.load(key_file)
    moved_to = _move_aside(path) if os.path.lexists(path) else None
    try:
        make_folder(path.absolute().parent / "state", mode=0o700)
        write_atomic(path.absolute(), text.encode())
    except OSError as error:
        what = f"cannot write {path}: {error.strerror}"
        raise ConfigError(what, hint="choose a folder that you may write") from error
    return Made(f"glidepost-site {wanted.site} {key.public}", is_key_new, moved_to)


def _move_aside(path: Path) -> Path:
    numbers = (number for number in range(1, 1000) if not path.with_name(f"{path.name}.old{number}").exists())
    return path.rename(path.with_name(f"{path.name}.old{next(numbers)}"))


def _refuse(key: str, value: str) -> None:
    """Refuses what the schema would refuse when the file is read."""
    schema: Any = validator("puller-config/1").schema
    for part in key.split("."):
        schema = schema["properties"][part]
    if not re.search(schema["pattern"], value):
        examples = schema.get("examples", ["north"])
        raise ConfigError(f"{key} cannot be {value!r}", hint=f"write it like {json.dumps(examples[-1])}")


def _filled(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"@([A-Z_]+)@", lambda match: values[match[1]], text)


def _aligned(line: str) -> str:
    match = _COMMENT.fullmatch(line)
    return line if match is None else f"{match[1]:{_COLUMN - 1}} {match[2]}"
