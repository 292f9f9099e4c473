"""PBS Pro and OpenPBS: qsub, qstat, qselect and qdel. Torque has the same commands and another language: torque.py.

Manuals: https://help.altair.com/2022.1.0/PBS%20Professional/PBSReferenceGuide2022.1.pdf (chapters 2 and 8) and
PBSUserGuide2022.1.pdf beside it. Spoken as OpenPBS 23.06 understood it; the rest is from the manuals and its source.

What a site should know:

* Cores, memory, GPUs and disk are one chunk, `-l select=1:ncpus=...`, so that all are on one host. `mem` and `vmem` may
  only stand in it, `pmem` and `pvmem` only beside it: the other way round is refused. Without the cgroups hook `ngpus`
  sets no device aside.
* `-J 1-1` is refused, so one glidein is a plain batch job, and several are an array.
* `-r n` for one glidein. An array that cannot be run again is refused ("cannot submit non-rerunable Array Job"), so an
  array has `-r y`: after the failure of a node PBS may start the same batch job a second time.
* `-k oed` writes the log straight to the log folder, as the glidein prints it, where the node sees that folder; else
  PBS copies it at the end. It needs PBS Pro 18. In a folder that is missing it is lost, and the glidein runs.
* `-W umask=022`: without it nobody but the account can read the logs.
* `-m n`: no mail for each glidein that is removed. A site that wants some writes `extra = ["-m a"]`.
* No `-V` and no `-v`: nothing of the puller's environment goes along.
* The walltime is in seconds; "90:00" would be minutes.
* PBS never checks the account (-A), and takes more memory or GPUs than any node has: such a glidein waits, for the
  reason "Can Never Run: ...". Once a member of an array has started, PBS says "Job Array Began at ..." of the others,
  and no longer why they wait.
* At the walltime and with qdel it sends TERM, and KILL about ten seconds later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, Optional

from glidepost.schema.puller_config import Option

from . import options, pbs_alike, pbs_document, pbs_refusals
from .base import Backend, BatchJob, Command, GlideinRequest, JobState, QueueLimits, Refusal

_PARENT: Final = re.compile(r"(?P<number>\d+)\[\]\.(?P<server>[\w.-]+)")
_SUBJOB: Final = re.compile(r"(?P<number>\d+)\[\d+\]\.(?P<server>[\w.-]+)")

_NOT_EXTRA: Final = {
    "-C": "Glidepost writes the script, and everything else on the command line",
    "-I": "an interactive batch job runs no script",
    "-J": "Glidepost writes the array itself",
    "-N": "Glidepost knows its glideins by their names",
    "-V": "it would hand the puller's whole environment to the node: name what is needed, -v NAME=value",
    "-z": "it hides the batch id",
}

# Everybody's: with -f there is no filter by user. With -t each member of an array, and the array itself.
_QUERY: Final = "id -un && exec qstat -t -f -F json"

# Asked again just before, because some have started since: qdel would end them. No ranges such as 1[3-9]: they would
# take those between that run by now. Members of arrays and whole batch jobs in one qdel have crashed the server.
_REMOVAL: Final = """\
queued=$(qselect -T -s HQW) || exit
queued=" $(printf %s "$queued" | tr '\\n' ' ') "
members='' whole='' status=0
for id; do
  case $queued in *" $id "*) ;; *) continue ;; esac
  case $id in *']'*) members="$members $id" ;; *) whole="$whole $id" ;; esac
done
set -f
[ -z "$members" ] || printf '%s\\n' $members | xargs -n 100 qdel || status=1
[ -z "$whole" ] || printf '%s\\n' $whole | xargs -n 100 qdel || status=1
exit "$status"
"""

# Held, so that it cannot start, and deleted at once. qsub reads the script from this script's standard input.
_TRIAL: Final = """id=$(qsub -h "$@") || exit; qdel "$(printf '%s\\n' "$id" | tail -n 1)" """


class PbsBackend(Backend):
    """PBS Pro or OpenPBS through its command line.

    Args:
        options: `shapes.NAME.options` of puller.toml: queue, account, project (text); gpus (part of the chunk, in which
            {gpus} is replaced, default "ngpus={gpus}" when the shape has any, empty for none); chunk (more of it);
            disk_resource (the name of its resource for disk); memory_limits (of mem, vmem, pmem, pvmem; default mem);
            place; exclusive (whole hosts); extra, extra_before (qsub options, after ours and before ours).

    Raises:
        ConfigError: for something in `extra` that cannot be given.
    """

    name: ClassVar[str] = "pbs"
    programs: ClassVar[tuple[str, ...]] = ("qsub", "qstat", "qselect", "qdel")
    # Reference Guide, "States": "Job States", "Job Array States", "Subjob States".
    states: ClassVar[Mapping[str, JobState]] = {
        "B": JobState.RUNNING,  # an array of which one has begun
        "E": JobState.RUNNING,  # exiting
        "F": JobState.GONE,  # finished, failed or deleted; only with -x
        "H": JobState.HELD,
        "M": JobState.GONE,  # moved to another server; only with -x
        "Q": JobState.IDLE,
        "R": JobState.RUNNING,
        "S": JobState.RUNNING,  # suspended by the server: a glidein, with its user jobs, that may go on
        "T": JobState.IDLE,  # in transition to another queue or server
        "U": JobState.RUNNING,  # suspended because somebody sits at its workstation
        "W": JobState.IDLE,  # waits for the time that it was asked for, or for files
        "X": JobState.GONE,  # a member of an array that has ended
    }

    def __init__(self, options: Mapping[str, Option]) -> None:
        self._options = options
        self._extra = pbs_alike.words(options, "extra", refused=_NOT_EXTRA)
        self._before = pbs_alike.words(options, "extra_before", refused=_NOT_EXTRA)

    def submission(self, request: GlideinRequest) -> Command:
        """Returns one qsub for all glideins: an array when there are several."""
        argv = [
            "qsub",
            *self._before,
            "-N",
            request.name,
            "-S",
            "/bin/sh",
            *pbs_alike.mail(*self._before, *self._extra),
            "-W",
            "umask=022",
        ]
        argv += _log(request)
        argv += ["-J", f"1-{request.count}", "-r", "y"] if request.count > 1 else ["-r", "n"]
        argv += self._resources(request)
        for option, key in (("-q", "queue"), ("-A", "account"), ("-P", "project")):
            if self._options.get(key):
                argv += [option, options.text(self._options, key)]
        return Command((*argv, *self._extra), request.script)

    def parse_submission(self, stdout: str) -> str:
        """Returns the id that qsub printed, "12.server" or "12[].server"; a site's banner is skipped.

        Raises:
            ValueError: when there is not exactly one.
        """
        return pbs_alike.submitted(stdout)

    def query(self) -> Command:
        """Returns a command that prints who we are, and qstat's JSON of all batch jobs of the server.

        With the server down qstat prints a whole, empty document too, and ends with exit code 255.
        """
        return Command(("sh", "-c", _QUERY))

    def parse_query(self, stdout: str) -> Iterator[BatchJob]:
        """Yields our batch jobs, the members of an array one by one.

        Raises:
            ValueError: when the document is not whole, or lacks what a batch job must have.
        """
        account, text = options.account_and_rest(stdout)
        jobs = pbs_document.jobs_of(account, text)
        members = [match for match in map(_SUBJOB.fullmatch, jobs) if match]
        listed = {f"{match['number']}[].{match['server']}" for match in members}
        for batch_id, job in jobs.items():
            if not _PARENT.fullmatch(batch_id):
                yield self._job(batch_id, job, jobs)
            elif batch_id not in listed:
                yield from _unlisted(batch_id, job)

    def removal(self, batch_ids: Sequence[str]) -> Command:
        """Returns a script that removes those of these that are still queued or held.

        Raises:
            ValueError: without ids, or for one that is not a batch job of PBS, or is a whole array.
        """
        return pbs_alike.removal(batch_ids, _REMOVAL, "PBS")

    def refusal(self, exit_code: int, stderr: str) -> Optional[Refusal]:
        """Returns why qsub refused, None when its words are no refusal that we know."""
        return pbs_refusals.pbs(exit_code, stderr)

    def limits(self) -> Optional[Command]:
        """Returns a command that lists the queues, the server, and the nodes as far as they may be seen."""
        return Command(pbs_alike.LIMITS)

    def parse_limits(self, stdout: str) -> tuple[QueueLimits, ...]:
        """Returns the limits of the shape's queue, or of the default one.

        Raises:
            ValueError: when this is not what qstat prints.
        """
        return pbs_alike.limits(stdout, options.text(self._options, "queue"))

    def trial(self, request: GlideinRequest) -> Optional[Command]:
        """Returns a script that submits it held and deletes it at once; its exit code and words are qsub's, then."""
        return pbs_alike.trial(self.submission(request), _TRIAL)

    def _resources(self, request: GlideinRequest) -> list[str]:
        asked = request.resources
        limits = self._options.get("memory_limits", ("mem",))
        memory = [f"{key}={asked.memory_mib}mb" for key in (limits if isinstance(limits, tuple) else ())]
        inside = [limit for limit in memory if limit.startswith(("mem", "vmem"))]
        gpus = options.filled(options.text(self._options, "gpus", "ngpus={gpus}" if asked.gpus else ""), asked)
        disk = options.text(self._options, "disk_resource")
        chunk = ["1", f"ncpus={asked.cpus}", *inside, gpus.strip(":")]
        if disk and asked.disk_mib:
            chunk.append(f"{disk}={asked.disk_mib}mb")
        chunk.append(options.text(self._options, "chunk").strip(":"))
        place = options.text(self._options, "place")
        if self._options.get("exclusive") and "excl" not in place:
            place = f"{place}:exclhost".strip(":")
        values = [f"select={':'.join(filter(None, chunk))}", f"place={place}" if place else ""]
        values += [limit for limit in memory if limit not in inside]
        values.append(f"walltime={max(1, asked.walltime_s)}")
        return [word for value in values if value for word in ("-l", value)]

    def _job(self, batch_id: str, job: Mapping[str, Any], jobs: Mapping[str, Mapping[str, Any]]) -> BatchJob:
        state = self.states.get(str(job["job_state"]), JobState.UNKNOWN)
        member = _SUBJOB.fullmatch(batch_id)
        parent = jobs.get(f"{member['number']}[].{member['server']}", {}) if member else {}
        if state is JobState.IDLE and parent.get("job_state") == "H":
            state = JobState.HELD  # the queued members of an array that is held
        reason = " ".join(str(job.get("comment", "")).split()) if state in {JobState.IDLE, JobState.HELD} else ""
        if state is JobState.HELD and not reason:
            reason = f"Hold_Types = {parent.get('Hold_Types', job.get('Hold_Types', '?'))}"
        return BatchJob(batch_id, str(job.get("Job_Name", "")), state, reason)


def _log(request: GlideinRequest) -> list[str]:
    """Returns where qsub puts what the glideins print: NAME.out, or NAME-INDEX.out of each in an array."""
    if not request.log_folder:
        return ["-j", "oe", "-o", "/dev/null"]
    index = "-^array_index^" if request.count > 1 else ""
    return ["-j", "oe", "-k", "oed", "-o", f"{request.log_folder}/{request.name}{index}.out"]


def _unlisted(batch_id: str, job: Mapping[str, Any]) -> Iterator[BatchJob]:
    """Yields the members of an array that qstat does not list, from "Queued:4 Running:8 Exiting:0 Expired:0".

    Nobody can say which they are, so none of them can be removed: a queued one is in an unknown state.

    Raises:
        ValueError: when it does not say how many there are.
    """
    text = str(job.get("array_state_count", ""))
    if not re.fullmatch(r"\w+:\d{1,7}( \w+:\d{1,7})*", text.strip()):
        raise ValueError(f"array {batch_id} without its members: {text!r}")
    counts = {word: int(count) for word, _, count in (part.partition(":") for part in text.split())}
    for word, count in counts.items():
        state = JobState.RUNNING if word in {"Running", "Exiting"} else JobState.UNKNOWN
        for number in range(1, 1 if word == "Expired" else count + 1):
            yield BatchJob(f"{batch_id} {word.lower()} {number}", str(job.get("Job_Name", "")), state)
