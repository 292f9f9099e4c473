"""The 57 needs of tests/backends/golden/needs: what is in a file, and what a puller would make of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path
from typing import Optional, Union

from glidepost.backends.base import Command, GlideinRequest
from glidepost.backends.registry import create
from glidepost.schema.demand import Demand, GlideinRelease
from glidepost.schema.puller_config import Option, PullerConfig, Shape
from glidepost.site_puller import script
from glidepost.site_puller.queue import Queue

FOLDER = Path(__file__).parents[1] / "backends/golden/needs"
BACKENDS_FOLDER = Path(__file__).parents[2] / "backends"
# Where a file does not say another one.
STATE = Path("/home/glidein/state")
NAME = "gp-1a2b3c"
STUB = "#!/bin/sh\nexec sleep 60\n"

_NOW = datetime(2026, 11, 22, tzinfo=timezone.utc)
_DEMAND = Demand(
    pool="demo",
    sequence=1,
    generated_at=_NOW,
    expires_at=_NOW + timedelta(minutes=30),
    collectors=("cm.example.org:9618",),
    complete=True,
    schedds=(),
    groups=(),
    glidein=GlideinRelease("stable", ()),
)
# What a need can be about; the rest of a glidein's facts is the same for all, or the pool's.
_FACTS = tuple(
    f"GLIDEPOST_{name}"
    for name in (
        *("CPUS", "MEMORY_MIB", "DISK_MIB", "GPUS", "WALLTIME_S", "RETIRE_S", "IDLE_S", "SCRATCH", "CACHE", "CVMFS"),
        *("NETWORK_INTERFACE", "START", "GPU_DISCOVERY", "SETUP", "KEEP", "ENVIRONMENT", "PROXY"),
    )
)
_PARAGRAPH = re.compile(r"^# (Need (?P<number>\d+)|Keys|Not in Glidepost): ((?:.|\n#   )*)", re.MULTILINE)


@dataclass(frozen=True)
class Point:
    """What one need is about.

    has, lacks: Lines that must, or parts that must not, be in the golden text (a line holds one word of argv).
    limits: "SHAPE.KEY", "site.KEY" of [limits], or "config.KEY" of the whole file, and its value.
    unasked: What the batch system is not asked for, on purpose.
    """

    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    limits: Mapping[str, Union[int, float, str]] = field(default_factory=dict)
    unasked: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Rendered:
    """What becomes of one shape: the submission as it is run, the numbers in it, and what the glidein is told."""

    shape: Shape
    request: GlideinRequest
    command: Command
    facts: dict[str, str]


class Need:
    """One file NN-name.toml, and NN-name.txt beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = int(path.name[:2])
        self.golden = path.with_suffix(".txt")

    @cached_property
    def config(self) -> PullerConfig:
        """The configuration, with a state folder that does not depend on where these tests are."""
        config = PullerConfig.load(self.path)
        is_elsewhere = FOLDER not in config.state.parents
        return config if is_elsewhere else PullerConfig.load(self.path, state=STATE)

    @cached_property
    def paragraphs(self) -> dict[str, str]:
        """What the comment at the top says: "Need", "Keys" and perhaps "Not in Glidepost"."""
        head = self.path.read_text(encoding="utf-8").partition("\n\n")[0]
        return {
            match[1].split(" ")[0] if match["number"] else match[1]: match[3].replace("\n#   ", " ")
            for match in _PARAGRAPH.finditer(head)
        }

    def rendered(self) -> Iterator[Rendered]:
        """Yields each shape; one with `fit` twice, with its largest and its smallest glidein."""
        for shape in self.config.shapes:
            yield self._of(shape)
            fit = shape.fit
            if fit:
                small = replace(
                    shape.resources, cpus=fit.min_cpus, memory_mib=fit.min_memory_mib, disk_mib=fit.min_disk_mib
                )
                yield self._of(replace(shape, resources=small))

    def _of(self, shape: Shape) -> Rendered:
        request, command = submission(self.config, shape, shape.options)
        said = script._facts(self.config, shape, _DEMAND, NAME)
        return Rendered(shape, request, command, {name: said[name] for name in _FACTS if said[name]})

    def text(self) -> str:
        """Returns the golden text: limits, submission and facts of each shape, and the queries."""
        lines = _limits("site", asdict(self.config.limits), {"excess_grace_s": 1800})
        queries: dict[tuple[object, ...], list[str]] = {}
        for one in self.rendered():
            shape = one.shape
            queue = Queue(create(shape.backend, shape.options), shape.command_prefix)
            lines += [f"=== {shape.name}: {shape.resources}; {one.request.count} of them", *_shape_limits(shape)]
            lines += _command(queue, one.command)
            lines += ["--- facts ---", *(f"{key}={text}" for key, text in one.facts.items())]
            queries[queue.identity] = _command(queue, queue.backend.query())
        for query in queries.values():
            lines += ["=== query", *query]
        return "\n".join([*lines, ""])


def submission(config: PullerConfig, shape: Shape, options: Mapping[str, Option]) -> tuple[GlideinRequest, Command]:
    """Returns the submission of a few glideins of a shape, with these options in the place of its own."""
    limits = shape.limits
    request = GlideinRequest(
        name=NAME,
        resources=shape.resources,
        count=min(3, limits.max_per_cycle, limits.max_queued, limits.max_total),
        script=STUB,
        log_folder=str(config.log_folder),
        files=(str(config.token_file),),
    )
    return request, create(shape.backend, options).submission(request)


def needs() -> list[Need]:
    """Returns all of them, by number."""
    return [Need(path) for path in sorted(FOLDER.glob("*.toml"))]


def table() -> str:
    """Returns docs/reference/needs.md."""
    return "\n".join(
        [
            "# What sites need, and which key says it",
            "",
            "<!-- Written by tests/backends/test_needs.py, which says how: change the examples, write it again. -->",
            "",
            "Each row is what a site said with pyglidein, or would have liked to say. Its file is a `puller.toml` to",
            "copy from; beside it (`.txt`) stands what the batch system and the glidein are told then.",
            "",
            "| | need | keys | not in Glidepost | file |",
            "| --- | --- | --- | --- | --- |",
            *(_row(need) for need in needs()),
            "",
        ]
    )


def _row(need: Need) -> str:
    said = [need.paragraphs[key].rstrip(".") for key in ("Need", "Keys")]
    lacks = need.paragraphs.get("Not in Glidepost", "").rstrip(".")
    link = f"[{need.path.stem}](../../tests/backends/golden/needs/{need.path.name})"
    return " | ".join([f"| {need.number}", *(text.replace("|", "\\|") for text in (*said, lacks)), f"{link} |"])


def _limits(where: str, table: dict[str, object], usual: Optional[dict[str, object]] = None) -> list[str]:
    flat = {**table, **(table.get("caps") or {})}  # type: ignore[dict-item]
    said = [
        f"{key}={value}" for key, value in flat.items() if key != "caps" and value not in {None, (usual or {}).get(key)}
    ]
    return [f"--- limits of the {where} ---", *said] if said else []


def _shape_limits(shape: Shape) -> list[str]:
    cost = {"cost_per_hour": shape.cost_per_hour}
    return _limits("shape", {**asdict(shape.limits), "caps": asdict(shape.caps), **cost})


def _command(queue: Queue, command: Command) -> list[str]:
    """Returns argv as the puller runs it, one word a line, and standard input, if any."""
    programs = {path.read_text(encoding="utf-8"): path.name for path in BACKENDS_FOLDER.glob("*.sh")}
    words = list(queue._argv(command))
    for program, name in programs.items():
        words = [word.replace(program, f"(the text of {name})") for word in words]
    return ["--- command ---", *words, *(["--- standard input ---", command.stdin] if command.stdin else [])]
