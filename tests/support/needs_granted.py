"""What a submission asks a batch system for, read from its words alone: the other way round than the backends."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Optional

from glidepost.backends.base import Command

_MIB = {"k": 1 / 1024, "m": 1, "g": 1024, "t": 1024**2}


@dataclass(frozen=True)
class Granted:
    """What one batch job gets; None is nothing that was asked for. Memory is the least of the limits on it."""

    cpus: Optional[int] = None
    memory_mib: Optional[float] = None
    disk_mib: Optional[float] = None
    gpus: Optional[int] = None
    walltime_s: Optional[float] = None


def granted(backend: str, command: Command) -> Granted:
    """Returns what is asked for in argv, and in the description on standard input where there is one."""
    return _READERS[backend](command)


def _text(command: Command) -> str:
    """Returns the words one a line, without the program of a `sh -c`."""
    is_shell = command.argv[:2] == ("sh", "-c")
    return "\n".join(command.argv[3:] if is_shell else command.argv)


def _number(pattern: str, text: str) -> Optional[int]:
    """Returns the only number that the pattern finds, None if there is none."""
    found = re.findall(pattern, text)
    assert len(found) <= 1, f"{pattern} twice in {text}"
    return int(found[0]) if found else None


def _size(pattern: str, text: str, default: str = "m") -> Optional[float]:
    """Returns the only size that the pattern finds, in MiB."""
    found = re.findall(rf"{pattern}(\d+)([kmgt]?)b?\b", text, re.IGNORECASE)
    assert len(found) <= 1, f"{pattern} twice in {text}"
    return int(found[0][0]) * _MIB[(found[0][1] or default).lower()] if found else None


def _least(*sizes: Optional[float]) -> Optional[float]:
    return min((size for size in sizes if size is not None), default=None)


def _times(size: Optional[float], number: int) -> Optional[float]:
    return None if size is None else size * number


def _slurm(command: Command) -> Granted:
    text = _text(command)
    cpus = (_number(r"--cpus-per-task=(\d+)", text) or 1) * (_number(r"--ntasks=(\d+)", text) or 1)
    return Granted(
        cpus=cpus,
        memory_mib=_least(_size(r"--mem=", text), _times(_size(r"--mem-per-cpu=", text), cpus)),
        disk_mib=_size(r"--tmp=", text),
        gpus=_number(r"--(?:gpus-per-node|gres)=(?:\S+:)?(\d+)\b", text),
        walltime_s=_times(_number(r"--time=(\d+)", text), 60),
    )


def _pbs(command: Command) -> Granted:
    text = _text(command)
    cpus = _number(r"(?:ncpus|ppn)=(\d+)", text) or 1
    whole = _least(*(_size(rf"\b{name}=", text) for name in ("mem", "vmem")))
    each = _least(*(_size(rf"\b{name}=", text) for name in ("pmem", "pvmem")))
    return Granted(
        cpus=cpus,
        memory_mib=_least(whole, _times(each, cpus)),
        gpus=_number(r"\bn?gpus=(\d+)", text),
        walltime_s=_number(r"walltime=(\d+)\b", text),
    )


def _gridengine(command: Command) -> Granted:
    text = _text(command)
    slots = _number(r"-pe\s\S+\s(\d+)", text) or 1
    return Granted(
        cpus=slots,
        memory_mib=_times(_size(r"h_rss=", text), slots),
        disk_mib=_times(_size(r"tmpdir_size=", text), slots),
        gpus=_number(r"\bgpu=(\d+)", text),
        walltime_s=_number(r"h_rt=(\d+)", text),
    )


def _lsf(command: Command) -> Granted:
    text = _text(command)
    # (-M is in the units of the shape's option, which the words do not tell: POINTS has the right numbers)
    return Granted(
        cpus=_number(r"-n\s(\d+)", text) or 1,
        memory_mib=_least(_size(r"-M\s", text), _size(r"\bmem=", text)),
        gpus=_number(r"\bnum=(\d+)", text),
        walltime_s=_times(_number(r"-W\s(\d+)", text), 60),
    )


def _htcondor(command: Command) -> Granted:
    text = _text(command)
    disk = _number(r"(?im)^\s*request_disk\s*=\s*(\d+)", text)
    return Granted(
        cpus=_number(r"(?im)^\s*request_cpus\s*=\s*(?:max\(\{)?(\d+)", text),
        memory_mib=_number(r"(?im)^\s*request_memory\s*=\s*(\d+)", text),
        disk_mib=None if disk is None else disk / 1024,
        gpus=_number(r"(?im)^\s*request_gpus\s*=\s*(\d+)", text),
    )


def _local(command: Command) -> Granted:
    cpus, memory_mib, gpus = (int(word) for word in command.argv[-2].split())
    return Granted(cpus=cpus, memory_mib=memory_mib, gpus=gpus)


_READERS: Mapping[str, Callable[[Command], Granted]] = {
    "slurm": _slurm,
    "pbs": _pbs,
    "torque": _pbs,
    "gridengine": _gridengine,
    "lsf": _lsf,
    "htcondor": _htcondor,
    "local": _local,
}
