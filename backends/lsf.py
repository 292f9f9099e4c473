"""LSF: bsub, bjobs, bkill, bqueues and bparams, of IBM's LSF 10.1 and of openlava.

Manuals: https://www.ibm.com/docs/en/spectrum-lsf/10.1.0?topic=reference-bsub, -bjobs, -bkill, -bqueues, -bparams.
Written for what openlava 2.2 takes, and IBM's LSF too; the commands are in lsf.sh, which goes along as the text of
`sh -c`, so that the script on standard input needs no shared folder with the submit host.

What a site should know:

* The units of -M and rusage[mem] are a secret of lsf.conf (LSF_UNIT_FOR_LIMITS), which is read where bsub runs, in
  $LSF_ENVDIR or /etc; `memory_unit` says it without a look. KB, the default, means KB for -M and MB for rusage[mem].
* rusage[mem] is what the batch job takes of the host as a whole, unless lsb.params or lsb.resources make it so much for
  each slot (RESOURCE_RESERVE_PER_TASK): then `memory_per = "slot"`. -M is the whole in either case.
* Rerunning: a queue or application with RERUNNABLE starts a glidein again when its host fails. That is a new glidein in
  the old one's place. Against it IBM's bsub has -rn; openlava's refuses it. `extra = ["-rn"]`.
* LSF copies the environment of whoever submits into the batch job. Only IBM's bsub can leave it (-env none); openlava's
  takes -env, -app and -cwd for -e, -a and -c and submits nonsense without a word. `application` is for IBM's only.
* -o keeps LSF from sending mail. The file begins or ends with LSF's own report, and unless lsf.conf has
  LSB_STDOUT_DIRECT=Y it appears when the glidein has ended.
* The script waits in ~/.lsbatch of the account (or JOB_SPOOL_DIR), which the node must see and may run programs from.
* When the daemons are down, or a threshold of pending jobs (MAX_PEND_JOBS) is reached, these commands try again for
  ever. LSB_NTRIES ends that: bsub tries once, because a second try after a lost answer would submit twice.
* At the run limit LSF sends USR2, and KILL ten minutes later. openlava 2.2 has been seen to let it run on.
* bkill of IBM's LSF can be told to take queued ones only (-stat pend), openlava's can not. What starts in the moment
  between the look into the queue and bkill is ended; its glidein gets INT and TERM first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Final, Optional

from glidepost.schema.puller_config import Option
from glidepost.schema.resources import Resources

from . import lsf_limits, lsf_refusals
from .base import Backend, BatchJob, Command, GlideinRequest, JobState, QueueLimits, Refusal
from .lsf_words import Words, given, merged
from .options import filled, program, text, up

_ID: Final = r"\d+(?:\[\d+\])?"
_UNITS_KIB: Final = {"KB": (1, 1024), "MB": (1024, 1024), "GB": (1024 * 1024, 1024 * 1024)}  # of -M, of rusage[mem]

_LISTED: Final = "-- bjobs -w ended --\n"
_ENDED: Final = "-- bjobs -p ended --\n"
_NONE: Final = "No unfinished job found\n"
_HEADER: Final = ["JOBID", "USER", "STAT", "QUEUE", "FROM_HOST", "EXEC_HOST", "JOB_NAME", "SUBMIT_TIME"]
_SUBMITTED: Final = r" +[A-Z][a-z]{2} +\d{1,2} \d\d:\d\d(?: +\d{4})?"
_LINE: Final = re.compile(
    rf"(?P<id>{_ID}) +[^ ]+ +(?P<state>[^ ]+) +[^ ]+ +[^ ]+ +(?P<rest>.*?){_SUBMITTED} *", re.DOTALL
)
_MEMBER: Final = re.compile(r"(?P<name>[^ ]+)\[(?P<index>\d+)\]")
_WAITING: Final = re.compile(rf"(?P<id>{_ID}) +[^ ]+ +(?:PEND|PSUSP) .*?(?P<index>\[\d+\])?{_SUBMITTED} *")


class LsfBackend(Backend):
    """LSF through its command line.

    Args:
        options: `shapes.NAME.options` of puller.toml: queue, project, group, application, reference_host, select
            (text); gpus (text for -gpu, default "num={gpus}" when the shape has any and gpu_resource is not given);
            gpu_resource, disk_resource (names of what rusage counts, disk in MB); memory_limits (rusage and limit, or
            one of them); memory_unit (KB, MB or GB); memory_per (job or slot); exclusive (whole hosts); extra and
            extra_before (bsub options, one string each, which win over ours, or lose).

    Raises:
        ConfigError: for something in `extra` that bsub would not take as one option, or that changes what we submit.
    """

    name: ClassVar[str] = "lsf"
    programs: ClassVar[tuple[str, ...]] = ("bsub", "bjobs", "bkill", "bqueues", "bparams")
    # bjobs(1), "JOB STATUS". What has a host is RUNNING, suspended too: removal must not touch it.
    states: ClassVar[Mapping[str, JobState]] = {
        "PEND": JobState.IDLE,
        "PSUSP": JobState.HELD,  # suspended while pending: bsub -H, bstop, or too many requeues
        "WAIT": JobState.IDLE,  # a member of a chunk that waits on its host for the one before it
        "PROV": JobState.RUNNING,  # its host wakes up
        "RUN": JobState.RUNNING,
        "USUSP": JobState.RUNNING,  # by its owner or an administrator
        "SSUSP": JobState.RUNNING,  # by LSF, because of the load, or for another batch job
        "UNKWN": JobState.UNKNOWN,  # its host does not answer: the glidein may go on there
        "ZOMBI": JobState.UNKNOWN,  # removed, and its host does not answer
        "DONE": JobState.GONE,
        "EXIT": JobState.GONE,
    }

    def __init__(self, options: Mapping[str, Option]) -> None:
        self._options = options
        self._before = given(options, "extra_before")
        self._after = given(options, "extra")
        self._memory = options.get("memory_limits", ("rusage", "limit"))
        merged(self._before, [("-R", self._select())], self._after)  # so that `check` finds what cannot be merged

    def submission(self, request: GlideinRequest) -> Command:
        """Returns one bsub for all glideins: an array when there are several."""
        return self._command("submit", request)

    def parse_submission(self, stdout: str) -> str:
        """Returns the number in "Job <12> is submitted to queue <normal>."; a site's banner is skipped.

        Raises:
            ValueError: when there is not exactly one.
        """
        found = re.findall(r"^Job <(\d+)> is submitted to (?:default )?queue <", stdout, re.MULTILINE)
        if len(found) != 1:
            raise ValueError(f"no batch id in what bsub printed: {stdout[:200]!r}")
        return str(found[0])

    def query(self) -> Command:
        """Returns a command that lists our unfinished batch jobs, members of arrays one by one, and why they wait."""
        return Command(_argv("query"))

    def parse_query(self, stdout: str) -> Iterator[BatchJob]:
        """Yields the batch jobs in what lsf.sh printed. Blanks at the ends of a name are lost.

        Raises:
            ValueError: when the answer has no end, or a line is not bjobs'.
        """
        listing, is_listed, waiting = stdout.partition(_LISTED)
        if not is_listed or waiting.partition(_ENDED)[1:] != (_ENDED, ""):
            raise ValueError(f"this answer of bjobs has no end: {stdout[-200:]!r}")
        if listing == _NONE:
            return
        header, *lines = listing.split("\n")
        if header.split() != _HEADER or len(lines) < 2 or lines.pop():
            raise ValueError(f"not an answer of bjobs: {listing[:200]!r}")
        reasons = _reasons(waiting)
        for line in lines:
            yield self._job(line, reasons)

    def removal(self, batch_ids: Sequence[str]) -> Command:
        """Returns a command that removes those of these that are still queued.

        Raises:
            ValueError: without ids, or for one that is not LSF's.
        """
        if not batch_ids or not all(re.fullmatch(_ID, batch_id) for batch_id in batch_ids):
            raise ValueError(f"not ids of LSF: {list(batch_ids)!r}")
        return Command(_argv("remove", *batch_ids))

    def refusal(self, exit_code: int, stderr: str) -> Optional[Refusal]:  # noqa: ARG002 - its words say more
        """Returns why bsub refused, None when its words are no refusal that we know."""
        return lsf_refusals.refusal(stderr)

    def limits(self) -> Optional[Command]:
        """Returns a command that tells of all queues, and of the size of arrays."""
        return Command(_argv("limits"))

    def parse_limits(self, stdout: str) -> tuple[QueueLimits, ...]:
        """Returns the limits of the shape's queues, or of the default ones; with several, those that exist.

        Raises:
            ValueError: when there is no queue at all in it.
        """
        return lsf_limits.parse(stdout, text(self._options, "queue").split())

    def trial(self, request: GlideinRequest) -> Optional[Command]:
        """Returns a command that submits them held, and removes them at once."""
        return self._command("trial", request)

    def _command(self, verb: str, request: GlideinRequest) -> Command:
        resources = request.resources
        kib = resources.memory_mib * 1024
        reserved_kib = up(kib, resources.cpus) if self._options.get("memory_per") == "slot" else kib
        unit = self._options.get("memory_unit")
        if unit is None:
            numbers, memory = (str(kib), str(reserved_kib)), ("@limit@", "@reserved@")
        else:
            limit_unit, reserved_unit = _UNITS_KIB[str(unit)]
            numbers, memory = ("", ""), (str(up(kib, limit_unit)), str(up(reserved_kib, reserved_unit)))
        words = merged(self._before, self._words(resources, *memory), self._after)
        # Last, so that an option in `extra` that lacks its value swallows -o, and not the name.
        members = f"[1-{request.count}]" if request.count > 1 else ""
        words += [*self._output(request), "-J", f"{request.name}{members}"]
        return Command(_argv(verb, *numbers, *words), request.script)

    def _words(self, resources: Resources, limit: str, reserved: str) -> list[Words]:
        options = self._options
        host = text(options, "reference_host")
        minutes = max(1, up(resources.walltime_s, 60))  # 0 would be no limit
        found: list[Words] = [("-n", str(resources.cpus)), ("-W", f"{minutes}/{host}" if host else str(minutes))]
        if "limit" in self._memory_limits():
            found.append(("-M", limit))
        places = (("queue", "-q"), ("project", "-P"), ("group", "-G"), ("application", "-app"))
        found += [(option, text(options, key)) for key, option in places if options.get(key)]
        if options.get("exclusive"):
            found.append(("-x",))
        gpus = text(options, "gpus", "" if options.get("gpu_resource") else "num={gpus}")
        if gpus and resources.gpus:
            found.append(("-gpu", filled(gpus, resources)))
        usage = f"mem={reserved}" if "rusage" in self._memory_limits() else ""
        if options.get("disk_resource") and resources.disk_mib:
            usage += f":{text(options, 'disk_resource')}={resources.disk_mib}"
        if options.get("gpu_resource") and resources.gpus:
            usage += f":{text(options, 'gpu_resource')}={resources.gpus}"
        return [*found, ("-R", f"{self._select()} span[hosts=1] rusage[{usage}]")]

    def _memory_limits(self) -> tuple[str, ...]:
        return self._memory if isinstance(self._memory, tuple) else (str(self._memory),)

    def _select(self) -> str:
        select = text(self._options, "select")
        return select if not select or "[" in select else f"select[{select}]"

    def _output(self, request: GlideinRequest) -> Words:
        if any(option[0] in {"-o", "-oo"} for option in self._after):
            return ()
        number = "%J.%I" if request.count > 1 else "%J"
        return ("-o", f"{request.log_folder}/{request.name}-{number}.out" if request.log_folder else "/dev/null")

    def _job(self, line: str, reasons: Mapping[str, str]) -> BatchJob:
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"not a line of bjobs: {line[:200]!r}")
        if match["state"] in {"PEND", "PSUSP"}:
            name = re.sub(r"^-(?: +|$)", "", match["rest"])  # its host: none yet, or only blanks
        else:
            name = match["rest"].partition(" ")[2]
        name = name.strip(" ")
        member = _MEMBER.fullmatch(name)
        batch_id = match["id"]
        if member and "[" not in batch_id:
            batch_id = f"{batch_id}[{member['index']}]"
        state = self.states.get(match["state"], JobState.UNKNOWN)
        is_queued = state in {JobState.IDLE, JobState.HELD}
        return BatchJob(
            batch_id, member["name"] if member else name, state, reasons.get(batch_id, "") if is_queued else ""
        )


def _reasons(text: str) -> dict[str, str]:
    """Returns why each waits, by its id, out of bjobs -p: for show only, so that a strange line is passed over."""
    found: dict[str, list[str]] = {}
    batch_id = ""
    for line in text.split("\n"):
        match = _WAITING.fullmatch(line)
        if match:
            batch_id = match["id"] if "[" in match["id"] else match["id"] + (match["index"] or "")
        elif line.startswith(" ") and batch_id:
            found.setdefault(batch_id, []).append(line.strip().rstrip(";"))
        else:
            batch_id = ""
    return {batch_id: "; ".join(lines)[:300] for batch_id, lines in found.items()}


def _argv(verb: str, *rest: str) -> tuple[str, ...]:
    return ("sh", "-c", program("lsf.sh"), "glidepost-lsf", verb, *rest)
