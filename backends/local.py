"""No batch system: glideins as processes of the host that the puller runs on.

The work is done by local.sh, which goes along as the text of `sh -c`, so that a command prefix (`setpriv`, `sudo -u`)
decides whose processes they are; the folder with the entries must be one that this account can make. It needs /proc of
Linux and setsid (util-linux). Tested under dash and bash.

What a site should know:

* Nothing waits: what is submitted runs at once, or is refused when the host's cores, memory or GPUs are taken by other
  glideins of this folder. Each gets GPUs of its own (CUDA_VISIBLE_DEVICES), and none on which somebody else computes.
* Nothing enforces the walltime or the memory. The glidein ends itself before its walltime.
* The glideins outlive the puller. Where cron is a systemd user timer, its unit needs `KillMode=process`, else systemd
  ends them together with the puller.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Final, Optional

from glidepost.schema.puller_config import Option
from glidepost.schema.units import parse_size

from .base import Backend, BatchJob, Command, GlideinRequest, JobState, Refusal
from .options import program, text

_ID: Final = r"\d+-\d+"
_LINE: Final = re.compile(rf"(?P<id>{_ID}\.\d+)\|(?P<state>\w+)\|(?P<name>.*)\|")


class LocalBackend(Backend):
    """Processes of this host.

    Args:
        options: folder (text): where the entries are, an absolute path; cpus, memory ("64GiB") and gpus (a list, as in
            CUDA_VISIBLE_DEVICES): what all glideins here may take together, by default what the host has; overcommit:
            that is not looked at.
    """

    name: ClassVar[str] = "local"
    states: ClassVar[Mapping[str, JobState]] = {
        "running": JobState.RUNNING,
        # Recorded, and its process not seen yet: nobody can say which of the others it is.
        "starting": JobState.UNKNOWN,
    }

    def __init__(self, options: Mapping[str, Option]) -> None:
        self._options = options
        self._folder = str(options["folder"])

    def submission(self, request: GlideinRequest) -> Command:
        """Returns the command that starts the glideins; each sees its own id as GLIDEPOST_BATCH_JOB."""
        size_bytes = len(request.script.encode())
        argv = self._argv(
            "submit",
            request.name,
            str(request.count),
            str(size_bytes),
            request.log_folder,
            _size(request),
            self._host(),
        )
        return Command(argv, request.script)

    def trial(self, request: GlideinRequest) -> Optional[Command]:
        """Returns the command that fails where the host is too small for one of them, and starts nothing."""
        return Command(self._argv("try", _size(request), self._host()))

    def _host(self) -> str:
        """Returns what there is for all glideins together, as local.sh reads it."""
        if self._options.get("overcommit"):
            return ""
        memory = text(self._options, "memory")
        gpus = self._options.get("gpus", "auto")
        return " ".join(
            [
                text(self._options, "cpus", "auto"),
                str(parse_size(memory, where="options.memory")) if memory else "auto",
                " ".join(gpus) if isinstance(gpus, tuple) else "auto",
            ]
        )

    def parse_submission(self, stdout: str) -> str:
        """Returns the id; the members are id.0, id.1 and so on.

        Raises:
            ValueError: when the output is anything else.
        """
        if not re.fullmatch(rf"{_ID}\n?", stdout):
            raise ValueError(f"no id in what local.sh printed: {stdout[:200]!r}")
        return stdout.strip()

    def query(self) -> Command:
        """Returns the command that lists the glideins that live, and tidies up after those that do not."""
        return Command(self._argv("query"))

    def parse_query(self, stdout: str) -> Iterator[BatchJob]:
        """Yields the glideins.

        Raises:
            ValueError: when a line is cut or not local.sh's.
        """
        for line in filter(None, stdout.split("\n")):
            match = _LINE.fullmatch(line)
            if match is None:
                raise ValueError(f"not a line of local.sh: {line[:200]!r}")
            yield BatchJob(match["id"], match["name"], self.states.get(match["state"], JobState.UNKNOWN))

    def removal(self, batch_ids: Sequence[str]) -> Command:
        """Returns the command that ends these: TERM for one that runs, because here none ever waits in a queue.

        Raises:
            ValueError: without ids, or for one that is not ours.
        """
        if not batch_ids or not all(re.fullmatch(rf"{_ID}\.\d+", batch_id) for batch_id in batch_ids):
            raise ValueError(f"not ids of local.sh: {list(batch_ids)!r}")
        return Command(self._argv("remove", *batch_ids))

    def refusal(self, exit_code: int, stderr: str) -> Optional[Refusal]:  # noqa: ARG002 - its words say more
        """Returns why local.sh started nothing: a glidein larger than the host, or more than it has room for."""
        match = re.search(r"^glidepost-local: (?P<kind>refused|full): (?P<text>.+)$", stderr, re.MULTILINE)
        if match is None:
            return None
        is_full = match["kind"] == "full"
        return Refusal(match["text"], is_limit=is_full, is_size=is_full)

    def _argv(self, verb: str, *rest: str) -> tuple[str, ...]:
        return ("sh", "-c", program("local.sh"), "glidepost-local", verb, self._folder, *rest)


def _size(request: GlideinRequest) -> str:
    asked = request.resources
    return f"{asked.cpus} {asked.memory_mib} {asked.gpus}"
