"""Grid Engine: qsub, qstat, qdel, qhold, qrls and qconf. Son of Grid Engine, Altair (Univa), Open Cluster Scheduler.

Manuals: http://gridscheduler.sourceforge.net/htmlman/manuals.html (qsub.html, qstat.html, qdel.html, queue_conf.html,
complex.html, sge_types.html). Tested with Son of Grid Engine 8.1.9.

What a site should know:

* `-w e`: what can never run is refused. Without it, it would be queued for ever. A queue that is only disabled takes
  batch jobs all the same; they wait.
* `-w e` knows no load values: mem_free is refused with "no suitable queues" where it is nothing else, that is, neither
  consumable nor among the complex_values of the hosts. Then `extra = ["-w n"]`, and what can never run waits.
* `-notify`: SIGUSR2 comes before SIGKILL, by as much as the queue's `notify` says (60 s by default); without it qdel
  and the end of the walltime are a SIGKILL at once. Never s_rt beside h_rt: in 8.1.9 a trapped SIGUSR1 lets a batch job
  live on past its h_rt.
* `memory_resource` has no default. What it counts for is one slot (a core), so the shape's memory is divided by its
  cores; `memory_per = "job"` where the complex is consumable JOB. The same holds for `disk_resource`. h_vmem becomes a
  limit of the address space, which CUDA, Java and CVMFS do not bear: prefer m_mem_free or mem_free where they are.
* A request for GPUs counts for one slot as well, unless the complex is consumable JOB (or HOST): with one that is not,
  write it for one core.
* The files sge_request (of the cell, the account, the folder) come before our options, which win. To forget them is
  `extra_before = ["-clear"]`, and no default, because they hold what the site wants for all, such as a project. A `-V`
  there would send the puller's environment along.
* The files sge_qstat (of the cell and of the account) come before our options, too. -u, -s and -g win; a `-q`, `-l` or
  `-qs` there narrows what we see, and no option takes it back: remove it.
* `-C ""`: no line of the glidein's script is read as an option.
* A path that holds a comma cannot be a log folder: qsub would read it as two. There are no logs then.
* A queued one does not say why it waits: only qstat -j does, one by one, where the site has schedd_job_info.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Final, Optional

from glidepost.schema.errors import ConfigError
from glidepost.schema.puller_config import Option
from glidepost.schema.resources import Resources

from . import gridengine_refusals, options
from .base import Backend, BatchJob, Command, GlideinRequest, JobState, QueueLimits, Refusal
from .gridengine_qstat import indices, parsed, queue_limits

# These change what one submission is, so that we would count or name it wrongly, or what its answer looks like.
_OURS: Final = "Glidepost writes the array, the name and the script itself"
_NOT_EXTRA: Final = {
    **dict.fromkeys(("-t", "-N", "-terse", "-b", "-C", "-help", "-verify", "-sync", "-now", "-pty", "-@"), _OURS),
    "-V": "nothing of the puller's environment may reach the node; write variables in setup lines of the shape",
}

# For `sh -c`: the account is who the command prefix makes us, and what sge_qstat may say of -u and -s does not count.
_ACCOUNT: Final = "account=$(id -un) || exit"
_QUERY: Final = f'{_ACCOUNT}; exec qstat -u "$account" -s prs -g d -xml'

# To hold them first sets the queued ones apart: they cannot start between the look at the queue and the order to delete
# them. Those that run by then do not mind. An answer that is cut lacks some; they stay.
_REMOVAL: Final = rf"""{_ACCOUNT}
qhold "$@" >/dev/null 2>&1
if listed=$(qstat -u "$account" -s p -g d -xml); then
    queued=$(printf '%s\n' "$listed" | awk -v asked="$*" '
        BEGIN {{ RS = "<"; count = split(asked, ids, " "); for (i = 1; i <= count; i++) wanted[ids[i]] = 1 }}
        {{ value = $0; sub(/^[^>]*>/, "", value) }}
        /^JB_job_number>/ {{ id = value; task = "" }}
        /^tasks>/ {{ task = "." value }}
        /^\/job_list>/ {{ if ((id task) in wanted) print id task }}')
    status=0
    # shellcheck disable=SC2086
    [ -z "$queued" ] || qdel $queued || status=$?
else
    status=$?
fi
qrls "$@" >/dev/null 2>&1
exit "$status"
"""

# qstat fails for a queue that is not there, and says nothing; then qconf says that the batch system is.
_LIMITS: Final = f'{_ACCOUNT}; resources=$1; shift; qstat -u "$account" -s z -f -F "$resources" -xml "$@"; qconf -sconf'
# For `sh -c`, with the submission as the words after it. Warnings may stand before the id.
_HELD_AND_DELETED: Final = r"""answer=$("$0" "$@") || exit
id=$(printf '%s\n' "$answer" | sed -n '$s/[.].*//;$p')
qdel "$id" >/dev/null"""
_LETTERS: Final = frozenset("dEhrRsStTwqNPz")  # qstat(1), "state"; N and P: of Univa's and Altair's
_MANUAL: Final = {
    JobState.IDLE: "qw Rqw Rq",
    JobState.HELD: "hqw hRwq Eqw Ehqw EhRqw ERqw hRqw",
    JobState.RUNNING: "r t Rr Rt s ts S tS T tT Rs Rts RS RtS RT RtT hr ht N tN P tP",
    JobState.GONE: "dr dt dRr dRt ds dS dT dRs dRS dRT dqw z",
}


class GridEngineBackend(Backend):
    """Grid Engine through its command line.

    Args:
        options_of_shape: `shapes.NAME.options` of puller.toml: queue, project, account (text); parallel_environment
            (for more than one core, default "smp"); memory_resource (names, separated by commas), memory_per ("slot" or
            "job"); disk_resource; gpus (text in which {gpus} is replaced, default "gpu={gpus}" when the shape has any);
            exclusive_resource; walltime_resource (default "h_rt"); extra, extra_before (qsub options, one string each).

    Raises:
        ConfigError: for something in `extra` or `extra_before` that cannot be given.
    """

    name: ClassVar[str] = "gridengine"
    programs: ClassVar[tuple[str, ...]] = ("qsub", "qstat", "qdel", "qhold", "qrls", "qconf")
    # qstat(1), "state", lists the letters; these are the words that they make up. What has a node is RUNNING, suspended
    # too. Held, also by an error, is HELD. What is being deleted is GONE.
    states: ClassVar[Mapping[str, JobState]] = {
        word: state for state, words in _MANUAL.items() for word in words.split()
    }

    def __init__(self, options_of_shape: Mapping[str, Option]) -> None:
        self._options = options_of_shape
        refused = {**_NOT_EXTRA, "-clear": "it would forget our own options; write it in extra_before"}
        self._extra = options.words(options_of_shape, "extra", refused=refused)
        self._before = options.words(options_of_shape, "extra_before", refused=_NOT_EXTRA)
        words = (*self._extra, *self._before, f"{self._walltime}=")
        if any(re.search(r"(^|,|\s)s_rt=", word) for word in words):
            hint = "use h_rt: at s_rt comes a SIGUSR1 only, and a glidein would outlive its walltime"
            raise ConfigError("s_rt cannot be asked for", hint=hint)

    def submission(self, request: GlideinRequest) -> Command:
        """Returns one qsub for all glideins: an array when there are several."""
        return self._submission(request, "e")

    def parse_submission(self, stdout: str) -> str:
        """Returns the number that qsub -terse printed, of "7" or "7.1-25:1"; warnings and a banner are skipped.

        Raises:
            ValueError: when there is not exactly one.
        """
        found = re.findall(r"^(\d+)(?:\.\d+-\d+:\d+)?\s*$", stdout, re.MULTILINE)
        if len(found) != 1:
            raise ValueError(f"no batch id in what qsub printed: {stdout[:200]!r}")
        return str(found[0])

    def query(self) -> Command:
        """Returns qstat for our live batch jobs, members of arrays one by one."""
        return Command(("sh", "-c", _QUERY))

    def parse_query(self, stdout: str) -> Iterator[BatchJob]:
        """Yields the batch jobs in what qstat -xml printed.

        Raises:
            ValueError: when the answer is cut or not qstat's.
        """
        for job in parsed(stdout, "job_info").all("job_list"):
            number, name, state = job.value("JB_job_number"), job.value("JB_name"), job.value("state")
            if number is None or not re.fullmatch(r"\d+", number) or name is None or state is None:
                raise ValueError(f"not a batch job of qstat: {[element.tag for element in job.inner]}")
            tasks = job.value("tasks")
            ids = [f"{number}.{index}" for index in indices(tasks)] if tasks else [number]
            for batch_id in ids:
                yield BatchJob(batch_id, name, _state(state), _reason(state, batch_id))

    def removal(self, batch_ids: Sequence[str]) -> Command:
        """Returns a script that removes those of these that are still queued, and no other.

        Raises:
            ValueError: without ids, or for one that is not Grid Engine's.
        """
        if not batch_ids or not all(re.fullmatch(r"\d+(\.\d+)?", batch_id) for batch_id in batch_ids):
            raise ValueError(f"not ids of Grid Engine: {list(batch_ids)!r}")
        return Command(("sh", "-s", *batch_ids), _REMOVAL)

    def refusal(self, exit_code: int, stderr: str) -> Optional[Refusal]:
        """Returns why qsub refused, None when its words are no refusal that we know."""
        return gridengine_refusals.refusal(exit_code, stderr)

    def limits(self) -> Optional[Command]:
        """Returns a command that lists queue instances with their limits, and max_aj_tasks."""
        queue = options.text(self._options, "queue")
        wanted = ("-q", queue) if queue else ()
        return Command(("sh", "-c", _LIMITS, "qstat", f"{self._walltime},mem_total", *wanted))

    def parse_limits(self, stdout: str) -> tuple[QueueLimits, ...]:
        """Returns the limits of the shape's queues, or of all, once for each kind of host.

        Raises:
            ValueError: when it is not qstat's answer with qconf's after it.
        """
        answer, end, configuration = stdout.rpartition("</job_info>")
        sizes = re.findall(r"^max_aj_tasks\s+(\d+)", configuration, re.MULTILINE)
        if not sizes:
            raise ValueError(f"no max_aj_tasks in what qconf printed: {configuration[:200]!r}")
        found = (
            queue_limits(queue, self._walltime, int(sizes[0]) or None)
            for queue in parsed(answer + end, "job_info").all("Queue-List")
        )
        return tuple(dict.fromkeys(found))

    def trial(self, request: GlideinRequest) -> Optional[Command]:
        """Returns qsub -w v, which says what -w e would, and why; it submits nothing.

        Where the site has another `-w` in `extra`: a submission on hold that is deleted at once.
        """
        if "-w" not in self._extra:
            return self._submission(request, "v")
        command = self._submission(request, "e")
        return Command(("sh", "-c", _HELD_AND_DELETED, *command.argv, "-h"), command.stdin)

    @property
    def _walltime(self) -> str:
        return options.text(self._options, "walltime_resource", "h_rt")

    def _submission(self, request: GlideinRequest, verify: str) -> Command:
        argv = ["qsub", *self._before]
        argv += ["-wd", "/", "-S", "/bin/sh", "-b", "n", "-C", "", "-notify", "-r", "n"]
        if "-w" not in self._extra:
            argv += ["-w", verify]
        argv += ["-l", ",".join(self._resources(request.resources))]
        if request.resources.cpus > 1:
            environment = options.text(self._options, "parallel_environment", "smp")
            argv += ["-pe", environment, str(request.resources.cpus)]
        for option, key in (("-q", "queue"), ("-P", "project"), ("-A", "account")):
            if self._options.get(key):
                argv += [option, str(self._options[key])]
        argv += self._extra
        # Last, so that `extra` cannot change who it is.
        argv += ["-j", "y", "-o", _output(request), "-N", request.name]
        if request.count > 1:
            argv += ["-t", f"1-{request.count}"]
        return Command((*argv, "-terse"), request.script)

    def _resources(self, asked: Resources) -> Iterator[str]:
        slots = 1 if self._options.get("memory_per") == "job" else asked.cpus
        yield f"{self._walltime}={asked.walltime_s}"
        for name in options.text(self._options, "memory_resource").split(","):
            if name.strip():
                yield f"{name.strip()}={options.up(asked.memory_mib, slots)}M"
        disk = options.text(self._options, "disk_resource")
        if disk and asked.disk_mib:
            yield f"{disk}={options.up(asked.disk_mib, slots)}M"
        gpus = options.text(self._options, "gpus", "gpu={gpus}" if asked.gpus else "")
        if gpus:
            yield options.filled(gpus, asked)
        exclusive = options.text(self._options, "exclusive_resource")
        if exclusive:
            yield f"{exclusive}=true"


def _state(word: str) -> JobState:
    """Returns what the letters of a state say together, in whatever order and number."""
    letters = set(word)
    if not letters or letters - _LETTERS or letters == {"R"} or len(word) != len(letters):
        return JobState.UNKNOWN
    if letters & {"d", "z"}:
        return JobState.GONE
    if "E" in letters:
        return JobState.HELD
    if letters & set("rtsSTNP"):
        return JobState.RUNNING
    if "h" in letters:
        return JobState.HELD
    return JobState.IDLE if "q" in letters or "w" in letters else JobState.UNKNOWN


def _reason(word: str, batch_id: str) -> str:
    if _state(word) is not JobState.HELD:
        return ""
    return f"error state: qstat -j {batch_id.partition('.')[0]} says why" if "E" in word else "held"


def _output(request: GlideinRequest) -> str:
    """Returns qsub's pattern of a path: name-12.3.out in the log folder, or /dev/null."""
    if not request.log_folder or "," in request.log_folder:
        return "/dev/null"
    number = "$JOB_ID.$TASK_ID" if request.count > 1 else "$JOB_ID"  # TASK_ID of a job without array is "undefined"
    host = ":" if ":" in request.log_folder else ""  # what stands before the first colon is a host, or none
    return f"{host}{request.log_folder}/$JOB_NAME-{number}.out"
