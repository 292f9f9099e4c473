"""A glidein's functions that take resources, on a node with /proc, /sys and programs of the test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parents[1] / "recorded" / "environments"
ASKED = "GLIDEPOST_CPUS=8 GLIDEPOST_MEMORY_MIB=4000 GLIDEPOST_DISK_MIB=300 GLIDEPOST_GPUS=0"
TIMES = "GLIDEPOST_WALLTIME_S=86400 GLIDEPOST_RETIRE_S=1200"
STARTED = 1795000000
SHOW = 'echo "$batch_system: $cpus $memory_mib $walltime_s"'


def recorded(name: str) -> dict[str, str]:
    """Returns a recorded environment; paths of ads are those of the recorded ones."""
    lines = (RECORDED / f"{name}.env").read_text().splitlines()
    env = dict(line.split("=", 1) for line in lines if line)
    for kind in ("machine", "job"):
        if f"_CONDOR_{kind.upper()}_AD" in env:
            env[f"_CONDOR_{kind.upper()}_AD"] = str(RECORDED / f"{name}.{kind}.ad")
    return {key: value for key, value in env.items() if key != "PATH"}


def make_node(folder: Path, files: dict[str, str]) -> str:
    """Makes the /proc and /sys of another node, and returns what makes the glidein see it."""
    for name, text in {"proc/meminfo": "MemTotal:       264000000 kB\n", **files}.items():
        path = folder / "node" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return f"NODE={folder}/node"


def install(folder: Path, name: str, lines: str) -> dict[str, str]:
    """Puts a program before the node's own, and returns the PATH that finds it."""
    bin_folder = folder / "bin"
    bin_folder.mkdir(exist_ok=True)
    (bin_folder / name).write_text(f"#!/bin/sh\n{lines}\n")
    (bin_folder / name).chmod(0o755)
    return {"PATH": f"{bin_folder}:/usr/local/bin:/usr/bin:/bin"}


def take(node: Any, before: str = "", show: str = SHOW, **env: str) -> list[str]:
    """Returns the lines that a glidein prints while it takes its resources, without time and name.

    Args:
        node: What runs it.
        before: Lines of shell that run first.
        show: Lines that print what the test wants to see.
        env: The batch job's environment; without a PATH there is a squeue that says half an hour.
    """
    path = {} if "PATH" in env else install(node.folder, "squeue", "echo 30:00")
    start = f"started={STARTED} random=0badcafe-1\ndate() {{ echo {STARTED}; }}"
    steps = f"take_deadline\nplan_end\ntake_resources\n{show}"
    printed = node.call(f"{ASKED} {TIMES}\n{start}\n{before}\n{steps}", **path, **env)
    # (shells tell what became of a child that a time-out killed)
    lines = [line for line in printed.splitlines() if "Killed" not in line]
    return [line.partition(" glidein test: ")[2] or line for line in lines]
