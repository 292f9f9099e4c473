"""Each shape against the batch system that is to run it: commands, queue, limits, and a submission that is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Union

from glidepost.backends import registry
from glidepost.backends.base import GlideinRequest, QueueLimits
from glidepost.schema.checks import FAILED, Finding, Remark, Skipped, attempt
from glidepost.schema.errors import CommandFailed, ConfigError, Refused, UnreadableOutput
from glidepost.schema.puller_config import PullerConfig, Shape
from glidepost.schema.units import counted, format_duration, format_size
from glidepost.site_puller.ledger import name_prefix
from glidepost.site_puller.queue import Queue

from .lease import scratch_here
from .schedule import CRON_PATH

Open = Callable[[Shape], Queue]


def open_queue(shape: Shape) -> Queue:
    """Returns the batch system of a shape.

    Raises:
        ConfigError: for options that cannot be meant.
    """
    return Queue(registry.create(shape.backend, shape.options), shape.command_prefix)


def check_batch(config: PullerConfig, *, opens: Open = open_queue) -> Iterator[Finding]:
    """Yields what is found of each shape. `opens` makes its queue."""
    for shape in config.shapes:
        yield from _ShapeCheck(config, shape, opens)()
    yield attempt("settings", lambda: _settings(config))


@dataclass(frozen=True)
class _ShapeCheck:
    config: PullerConfig
    shape: Shape
    opens: Open

    def __call__(self) -> Iterator[Finding]:
        opened: list[Queue] = []
        finding = attempt(self._name("backend"), lambda: self._open(opened))
        yield finding
        for queue in opened:
            programs = attempt(self._name("commands"), lambda queue=queue: self._programs(queue))  # type: ignore[misc]
            yield programs
            if programs.state == FAILED:
                return
            listed = attempt(self._name("queue"), lambda queue=queue: _list(queue))  # type: ignore[misc]
            yield listed
            if listed.state != FAILED:  # what does not answer the first question keeps one waiting for the next, too
                yield attempt(self._name("limits"), lambda queue=queue: self._limits(queue))  # type: ignore[misc]
                yield attempt(self._name("submission"), lambda queue=queue: self._trial(queue))  # type: ignore[misc]
        yield attempt(self._name("scratch"), self._scratch)

    def _name(self, what: str) -> str:
        return f"{self.shape.name}: {what}"

    def _open(self, opened: list[Queue]) -> str:
        opened.append(self.opens(self.shape))
        return f"{self.shape.backend}, {self.shape.resources}"

    def _programs(self, queue: Queue) -> Union[str, Remark]:
        """Says whether the commands are there, for cron as well; behind a prefix only the prefix can be looked for."""
        wanted = self.shape.command_prefix[:1] or queue.backend.programs
        if not wanted:
            return "none are needed"
        missing = [name for name in wanted if not shutil.which(name)]
        if missing:
            raise ConfigError(
                f"not on the PATH: {', '.join(missing)}",
                hint="is this the right host? Else load the batch system's module, or use command_prefix with ssh",
            )
        folders = list(dict.fromkeys(str(Path(shutil.which(name) or "").parent) for name in wanted))
        text = f"{', '.join(wanted)} in {', '.join(folders)}"
        if any(not shutil.which(name, path=CRON_PATH) for name in wanted):
            return Remark(
                f"{text}, which cron's PATH ({CRON_PATH}) lacks",
                "use the line of: glidepost puller schedule --cron  (it sets PATH)",
            )
        return text

    def _limits(self, queue: Queue) -> Union[str, Remark]:
        command = queue.backend.limits()
        if command is None:
            raise Skipped(f"{self.shape.backend} cannot be asked", remedy="compare walltime, cpus and memory by hand")
        try:
            found = queue.backend.parse_limits(queue.ask(command))
        except ValueError as error:
            raise UnreadableOutput(str(error), hint="compare by hand, and report it as a bug") from error
        if not found:
            place = self.shape.options.get("partition") or self.shape.options.get("queue")
            raise ConfigError(
                f"there is no queue {place}" if place else "there is no default queue",
                hint=f"name one of the batch system's in [shapes.{self.shape.name}.options]",
            )
        return self._compare(found)

    def _compare(self, found: Sequence[QueueLimits]) -> Union[str, Remark]:
        """Says whether one kind of nodes of an open queue takes a glidein of this shape."""
        problems = [(limits, _problems(self.shape, limits)) for limits in found]
        fitting = [limits for limits, problem in problems if not problem]
        if not fitting:
            why = "; ".join(dict.fromkeys(f"{limits.queue}: {problem}" for limits, problem in problems))
            raise ConfigError(why, hint=f"change [shapes.{self.shape.name}], or name another queue in its options")
        text = "; ".join(dict.fromkeys(_words(limits) for limits in fitting))
        most = min(self.shape.limits.max_per_cycle, self.shape.limits.max_queued, self.shape.limits.max_total)
        sizes = [limits.array_size for limits in found if limits.array_size is not None]
        if sizes and most > min(sizes):
            raise ConfigError(
                f"up to {most} glideins are submitted at once, and the batch system takes {min(sizes)}",
                hint=f"set max_per_cycle = {min(sizes)} in [shapes.{self.shape.name}]",
            )
        return text

    def _trial(self, queue: Queue) -> Union[str, Remark]:
        limits = self.shape.limits
        request = GlideinRequest(
            name=f"{name_prefix(self.config.site, self.shape.name)}check",
            resources=self.shape.resources,
            count=min(limits.max_per_cycle, limits.max_queued, limits.max_total),
            script="#!/bin/sh\nexit 0\n",
            log_folder=str(self.config.log_folder),
            files=(str(self.config.token_file),),
        )
        command = queue.backend.trial(request)
        if command is None:
            raise Skipped(
                f"{self.shape.backend} cannot be tried without submitting",
                remedy="the first run shows it: glidepost puller run, then why",
            )
        try:
            queue.try_out(command)
        except CommandFailed as error:
            if isinstance(error, Refused) and error.is_limit:
                return Remark(f"refused at this moment: {error.said}", "nothing to change, if that is what you expect")
            raise ConfigError(
                f"would be refused: {error.said}",
                hint=f"correct [shapes.{self.shape.name}]: its size, or its options (queue, account, extra)",
            ) from error
        return f"{counted(request.count, 'glidein')} at once would be accepted; nothing stays in the queue"

    def _scratch(self) -> str:
        """Says what can be seen from here: for a batch system, hardly anything."""
        folder = scratch_here(self.shape)
        if folder is None:
            raise Skipped(
                f"{self.shape.scratch or '$TMPDIR, else /tmp'} of the worker nodes cannot be seen from here",
                remedy="a glidein without room ends with outcome no-scratch: glidepost puller why",
            )
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigError(f"{folder} cannot be written", hint=f"set [shapes.{self.shape.name}] scratch")
        found = os.statvfs(folder)
        free_mib = found.f_bavail * found.f_frsize // (1024 * 1024)
        if free_mib < self.shape.resources.disk_mib:
            raise ConfigError(
                f"{folder} has {format_size(free_mib)} left, disk = {format_size(self.shape.resources.disk_mib)}",
                hint=f"lower [shapes.{self.shape.name}] disk, or set scratch to a folder with more room",
            )
        return f"{folder} has {format_size(free_mib // 1024 * 1024 or free_mib)} left"


def _list(queue: Queue) -> str:
    answer = queue.count()
    if answer.error:
        raise answer.error
    own = sum(job.name.startswith("gp-") for job in answer.jobs)
    return f"answers: {counted(len(answer.jobs), 'batch job')} of yours, {counted(own, 'glidein')} among them"


def _problems(shape: Shape, limits: QueueLimits) -> str:
    """Returns why such a queue does not take a glidein of this shape; empty when it does."""
    asked = shape.resources
    found = []
    if not limits.is_open:
        found.append("is not open")
    if limits.walltime_s is not None and asked.walltime_s > limits.walltime_s:
        found.append(f"walltime {format_duration(asked.walltime_s)} of at most {format_duration(limits.walltime_s)}")
    if limits.cpus is not None and asked.cpus > limits.cpus:
        found.append(f"{asked.cpus} cpus of {limits.cpus} on a node")
    if limits.memory_mib is not None and asked.memory_mib > limits.memory_mib:
        found.append(f"memory {format_size(asked.memory_mib)} of {format_size(limits.memory_mib)} on a node")
    return ", ".join(found)


def _words(limits: QueueLimits) -> str:
    parts = [
        "" if limits.walltime_s is None else format_duration(limits.walltime_s),
        "" if limits.cpus is None else counted(limits.cpus, "cpu"),
        "" if limits.memory_mib is None else format_size(limits.memory_mib),
    ]
    return f"{limits.queue} lets {', '.join(filter(None, parts)) or 'all'}"


def _settings(config: PullerConfig) -> Union[str, Remark]:
    """Says which settings do nothing."""
    idle: list[str] = []
    for shape in config.shapes:
        where = f"[shapes.{shape.name}]"
        limits = shape.limits
        if not shape.resources.gpus:
            lost = [key for key in ("gpu_name", "gpu_memory_mib", "gpu_capability") if getattr(shape, key) is not None]
            idle += [f"{where} {key}: without gpus" for key in lost]
        for key in ("max_queued", "max_running", "max_per_cycle"):
            if getattr(limits, key) > limits.max_total and key != "max_per_cycle":
                idle.append(f"{where} {key} above max_total")
        budgets = (shape.caps.budget_per_day, shape.caps.budget_per_month, config.limits.caps.budget_per_day)
        if shape.cost_per_hour is not None and not any((*budgets, config.limits.caps.budget_per_month)):
            idle.append(f"{where} cost_per_hour: without a budget")
    if idle:
        return Remark(f"these do nothing: {'; '.join(idle)}", "remove them, or complete what they belong to")
    return "all of them are used"
