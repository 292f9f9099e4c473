"""The submit description of glideins, and what a site may add to it.

Manual: https://htcondor.readthedocs.io/en/latest/man-pages/condor_submit.html, "Submit Description File Commands".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from glidepost.schema.errors import ConfigError
from glidepost.schema.puller_config import Option

from .base import GlideinRequest
from .options import text, up

# Submit commands that cannot be given: ours, without which a glidein does not work or is not found again, and those
# that change how many there are.
_OURS: Final = "Glidepost writes it"
_NOT_IN_LINES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("queue", "iterate", "max_materialize", "max_idle"), "the plan says how many glideins there are"),
    **dict.fromkeys(("executable", "transfer_executable", "arguments", "args", "initialdir", "initial_dir"), _OURS),
    "should_transfer_files": _OURS,
    **dict.fromkeys(("environment", "env", "environment2"), "set variables in [glidein] environment"),
    **dict.fromkeys(("transfer_input_files", "transferinput"), "only the token goes along: see transfer_token"),
    **dict.fromkeys(
        ("batch_name", "jobbatchname", "glidepostname", "glidepostuid", "glidepostwalltimes", "glidepostready"), _OURS
    ),
    **dict.fromkeys(("leave_in_queue", "leavejobinqueue", "hold"), "it would stay in the queue, and be counted"),
    "requirements": "write options.requirements, to which ours are added",
    "include": "write the lines of that file here",
}

# Of these, what is no attribute of a batch job: as one, such as +queue for a CE's route, it is the site's.
_COMMANDS: Final = frozenset({"queue", "iterate", "include", "hold", "executable", "batch_name", "max_idle"})

# A batch job that has run (1: it waits again), was submitted halfway, is held for a day, has files that did not arrive
# within an hour, or runs ten minutes longer than it should. (HTCondor holds those whose policy is undefined.)
_REMOVED: Final = (
    "((JobStatus == 1 && (NumJobStarts > 0 || (GlidepostReady =?= false && time() - QDate > 600)))"
    " || (JobStatus == 5 && time() - EnteredCurrentStatus > (HoldReasonCode =?= 16 ? 3600 : 86400))"
    " || (JobStatus == 2 && time() - JobCurrentStartDate > GlidepostWalltimeS + 600)) =?= true"
)


def check(options: Mapping[str, Option]) -> None:
    """Looks at a shape's options before anything is submitted.

    Raises:
        ConfigError: for what would break out of its line, is no line, or cannot be given.
    """
    for key in ("schedd", "pool", "requirements", "accounting_group", "grid_resource"):
        one_line(key, text(options, key))
    for key in ("lines_before", "lines"):
        _lines(options, key)


def description(options: Mapping[str, Option], request: GlideinRequest) -> str:
    """Returns the submit description.

    Raises:
        ConfigError: for a path that HTCondor cannot be told.
    """
    before, after = _lines(options, "lines_before"), _lines(options, "lines")
    ours = (*_job(options, request), *_request(options, request), *_life())
    return "\n".join((*before, *ours, *after, f"queue {request.count}"))


def files_of(options: Mapping[str, Option], request: GlideinRequest) -> tuple[str, ...]:
    """Returns the files that go along.

    Raises:
        ConfigError: for a path that would be taken for several, or for something else.
    """
    taken = request.files if options.get("transfer_token", True) else ()
    for path in taken:
        if re.search(r"[,\s\"\\]", path):
            raise ConfigError(f"HTCondor cannot be told this path: {path!r}", hint="rename the file or its folder")
    return taken


def is_spooled(options: Mapping[str, Option]) -> bool:
    """Returns whether all files go to the schedd at the submission: it does not see those of this host.

    For a CE too: nothing keeps such a batch job from going on before it has been told which files to read.
    """
    return bool(options.get("grid_resource") or options.get("spool", bool(options.get("schedd"))))


def string(value: str) -> str:
    """Returns a string of the ClassAd language."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def one_line(key: str, value: str) -> str:
    """Returns the value.

    Raises:
        ConfigError: when it is more than one line, or goes on in the next.
    """
    if any(ord(letter) < ord(" ") for letter in value) or value.endswith("\\"):
        hint = "a line end would begin another line of the submit description"
        raise ConfigError(f"{key} = {value!r}: not one line of text", hint=hint)
    return value


def _job(options: Mapping[str, Option], request: GlideinRequest) -> Iterator[str]:
    """Yields what it runs, and which files go and come."""
    grid, taken = text(options, "grid_resource"), files_of(options, request)
    yield f"universe = {'grid' if grid else 'vanilla'}"
    if grid:
        yield f"grid_resource = {grid}"
        yield f"+maxWallTime = {up(request.resources.walltime_s, 60)}"  # (what routes of an HTCondor-CE look at)
    yield "executable = glidein.sh"
    yield "initialdir = /"
    yield 'environment = "GLIDEPOST_BATCH_JOB=$(ClusterId).$(ProcId)"'
    yield "getenv = false"
    yield "should_transfer_files = YES"
    if taken and is_spooled(options):
        yield f"transfer_input_files = {','.join(taken).replace('$', '$(DOLLAR)')}"
    # Nothing of what user jobs leave comes back, and nothing that is missing holds the batch job.
    yield 'transfer_output_files = ""'
    # (a name, so that stream_output means something; which file it becomes is told later)
    printed = "glidein.out" if request.log_folder and not is_spooled(options) else "/dev/null"
    yield f"output = {printed}"
    yield f"error = {printed}"
    yield f"batch_name = {request.name}"
    yield f'+GlidepostName = "{request.name}"'
    yield "notification = never"


def _request(options: Mapping[str, Option], request: GlideinRequest) -> Iterator[str]:
    """Yields what it asks for."""
    resources, wanted = request.resources, text(options, "requirements")
    # For whole machines an expression on the machine's ad: all of a slot that has at least so many.
    whole = f"max({{{resources.cpus}, TARGET.TotalSlotCpus ?: 0}})"
    yield f"request_cpus = {whole if options.get('exclusive') else resources.cpus}"
    yield f"request_memory = {resources.memory_mib}"
    yield f"request_disk = {resources.disk_mib * 1024}"
    if resources.gpus:
        yield f"request_gpus = {resources.gpus}"
    unused = "(MY.NumJobStarts > 0) =!= true"
    if not is_spooled(options):
        yield "+GlidepostReady = false"
        unused += " && GlidepostReady"
    yield f"requirements = ({wanted}) && {unused}" if wanted else f"requirements = {unused}"
    if options.get("accounting_group"):
        yield f"accounting_group = {options['accounting_group']}"
    yield f"+GlidepostWalltimeS = {resources.walltime_s}"


def _life() -> Iterator[str]:
    """Yields how it ends: TERM, and some time for a fast end of the glidein before the KILL."""
    yield "want_graceful_removal = true"
    yield "kill_sig = SIGTERM"
    yield "job_max_vacate_time = 60"
    yield "leave_in_queue = false"
    yield f"periodic_remove = {_REMOVED}"


def _lines(options: Mapping[str, Option], key: str) -> tuple[str, ...]:
    """Returns the lines of `lines` or `lines_before`.

    Raises:
        ConfigError: for what is no line, or one that cannot be given.
    """
    items = options.get(key, ())
    if not isinstance(items, tuple):
        raise ConfigError(f"{key} = {items!r}: not a list", hint=f"write {key} = ['+ProjectName = \"x\"']")
    for item in items:
        one_line(key, item)
        command = re.split(r"[\s=:(]", item.strip(), maxsplit=1)[0].lower()
        attribute = re.sub(r"^(\+|my\.)", "", command)
        reason = _NOT_IN_LINES.get(attribute)
        if reason and not (attribute != command and attribute in _COMMANDS):
            raise ConfigError(f"{key}: {item!r} cannot be given", hint=reason)
    return items
