"""Slurm: sbatch, squeue, scontrol and scancel.

Manuals: https://slurm.schedmd.com/sbatch.html, squeue.html, scancel.html, sinfo.html,
job_state_codes.html. Tested with 22.05.8.

What a site should know:

* Everything is an option on the command line: it wins over SBATCH_* variables, which win over #SBATCH lines. For squeue
  and scancel there is no such defence (SQUEUE_NAMES, SQUEUE_STATES, SCANCEL_* and SLURM_CLUSTERS narrow or redirect the
  answer without a word): whoever runs these commands removes SBATCH_*, SQUEUE_*, SCANCEL_* and SLURM_CLUSTERS.
* The walltime is rounded up to minutes, Slurm's resolution.
* No `--signal`: it comes up to a minute earlier than it says, which would cut into the end that the glidein plans by
  itself. At the limit Slurm sends TERM to the batch shell too, and KILL after KillWait (30 s by default).
* No `--tmp` unless `disk = true`: it does not set disk aside, it only excludes nodes, and with TmpDisk unset (the
  default) all of them.
* `--export=NONE`: nothing of the puller's environment reaches the node; it builds a login environment instead. SLURM_*
  variables go through all the same.
* An array has at most MaxArraySize members (1001 by default); `max_per_cycle` of the shape bounds them.
* A log folder that the node cannot see fails the batch job before it starts (JobLaunchFailure), with no output at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Final, Optional

from glidepost.schema.errors import ConfigError
from glidepost.schema.puller_config import Option
from glidepost.schema.resources import Resources

from . import slurm_refusals
from .base import Backend, BatchJob, Command, GlideinRequest, JobState, QueueLimits, Refusal
from .options import filled, text, up

_PLACES: Final = ("partition", "account", "qos", "constraint", "reservation")

# These change what one submission is, so that we would count or name it wrongly.
_NOT_EXTRA: Final = ("--array", "--clusters", "--test-only", "--wait", "--wrap")
_NOT_EXTRA_SHORT: Final = ("-a", "-M", "-W")

# One record: the job's name comes last because it may hold anything, and an "@" ends it, so that a line that was cut is
# noticed. "@" rather than "|", so that `ssh login01 squeue ...` needs no quotes: its far end is a shell.
_FORMAT: Final = "%i@%t@%r@%j@"
_RECORD: Final = re.compile(r"(?P<id>\d+(?:_\d+|\+\d+)?)@(?P<state>[^@\s]+)@(?P<reason>[^@]*)@(?P<name>.*)", re.DOTALL)

# A queued member of an array has no record of its own until something sets it apart. Before that, scancel with --state
# removes all queued members together (seen with 22.05.8; its manual says so since 23.11), and without --state it would
# end one that has started meanwhile. To hold them sets them apart, and does not disturb one that runs.
_REMOVAL: Final = 'scontrol hold "$@"\nscancel --state=PENDING "$@"\n'


# Not with --partition: --all, which shows the hidden ones, cannot go with it (22.05.8).
_LIMITS: Final = "sinfo --noheader --exact --all --format=%P@%a@%l@%c@%m@ && scontrol show config"
_QUEUE: Final = re.compile(
    r"(?P<name>[^@\s]+?)(?P<default>\*?)@(?P<open>\w+)@(?P<time>[^@]+)@(?P<cpus>\d+)@(?P<memory>\d+)@"
)
_TIME: Final = re.compile(r"(?:(?P<days>\d+)-)?(?:(?P<hours>\d+):)?(?P<minutes>\d+):(?P<seconds>\d+)")


class SlurmBackend(Backend):
    """Slurm through its command line.

    Args:
        options: `shapes.NAME.options` of puller.toml: partition, account, qos, constraint, reservation (text); gres
            (text in which {gpus} is replaced, default "gpu:{gpus}" when the shape has any, empty for none) or
            gpus_per_node; memory_per (node, cpu, none); disk (asks with --tmp); requeue; exclusive (whole nodes; the
            memory stays what the shape says); extra (sbatch options, one string each, which win over ours) and
            extra_before (ours win).

    Raises:
        ConfigError: for something in `extra` that sbatch would not take as one option.
    """

    name: ClassVar[str] = "slurm"
    programs: ClassVar[tuple[str, ...]] = ("sbatch", "squeue", "scontrol", "scancel", "sinfo")
    # squeue(1), "JOB STATE CODES". What has a node is RUNNING, suspended or completing too: removal must not touch it.
    # What is over but still listed is GONE.
    states: ClassVar[Mapping[str, JobState]] = {
        "BF": JobState.GONE,  # BOOT_FAIL
        "CA": JobState.GONE,  # CANCELLED
        "CD": JobState.GONE,  # COMPLETED
        "CF": JobState.RUNNING,  # CONFIGURING: its nodes boot
        "CG": JobState.RUNNING,  # COMPLETING
        "DL": JobState.GONE,  # DEADLINE
        "F": JobState.GONE,  # FAILED
        "NF": JobState.GONE,  # NODE_FAIL
        "OOM": JobState.GONE,  # OUT_OF_MEMORY
        "PD": JobState.IDLE,  # PENDING; HELD if its reason says so
        "PR": JobState.GONE,  # PREEMPTED
        "R": JobState.RUNNING,
        "RD": JobState.HELD,  # RESV_DEL_HOLD: its reservation was deleted
        "RF": JobState.IDLE,  # REQUEUE_FED
        "RH": JobState.HELD,  # REQUEUE_HOLD
        "RQ": JobState.IDLE,  # REQUEUED
        "RS": JobState.RUNNING,  # RESIZING
        "RV": JobState.GONE,  # REVOKED: another cluster of the federation took it
        "S": JobState.RUNNING,  # SUSPENDED: a glidein, with its user jobs, that may go on
        "SE": JobState.HELD,  # SPECIAL_EXIT: requeued and held
        "SI": JobState.RUNNING,  # SIGNALING
        "SO": JobState.RUNNING,  # STAGE_OUT
        "ST": JobState.RUNNING,  # STOPPED
        "TO": JobState.GONE,  # TIMEOUT
    }

    def __init__(self, options: Mapping[str, Option]) -> None:
        self._options = options
        self._extra = _checked("extra", options.get("extra", ()))
        self._before = _checked("extra_before", options.get("extra_before", ()))

    def submission(self, request: GlideinRequest) -> Command:
        """Returns one sbatch for all glideins: an array when there are several."""
        resources = request.resources
        argv = [
            "sbatch",
            *self._before,
            "--nodes=1",
            "--ntasks=1",
            f"--cpus-per-task={resources.cpus}",
            *self._sizes(resources),
            f"--time={max(1, up(resources.walltime_s, 60))}",  # 0 would be no limit
            # A second run has the first one's name: the ledger knows it, but it uses up a budget that nobody counted.
            "--requeue" if self._options.get("requeue") else "--no-requeue",
            "--export=NONE",
            "--chdir=/",  # on every node, unlike the folder that we are called from
        ]
        argv += [f"--{key}={self._options[key]}" for key in _PLACES if self._options.get(key)]
        if self._options.get("exclusive"):
            argv.append("--exclusive")
        argv += self._extra
        # Last, so that `extra` cannot change who it is; and should an option in `extra` lack its value, it swallows
        # --parsable, so that the answer cannot be read, rather than the name, so that nobody would know it for ours.
        argv += ["--parsable", f"--job-name={request.name}", f"--output={_output(request)}"]
        if request.count > 1:
            argv.append(f"--array=0-{request.count - 1}")
        return Command(tuple(argv), request.script)

    def _sizes(self, resources: Resources) -> Iterator[str]:
        """Yields the options for memory, disk and GPUs."""
        memory_per = text(self._options, "memory_per", "node")
        if memory_per == "node":
            yield f"--mem={resources.memory_mib}M"
        elif memory_per == "cpu":
            yield f"--mem-per-cpu={up(resources.memory_mib, resources.cpus)}M"
        if self._options.get("disk"):
            yield f"--tmp={resources.disk_mib}M"
        by_node = text(self._options, "gpus_per_node")
        if by_node:
            yield f"--gpus-per-node={filled(by_node, resources)}"
        gres = text(self._options, "gres", "gpu:{gpus}" if resources.gpus and not by_node else "")
        if gres:
            yield f"--gres={filled(gres, resources)}"

    def parse_submission(self, stdout: str) -> str:
        """Returns the number that sbatch --parsable printed, of "12" or "12;cluster"; a site's banner is skipped.

        Raises:
            ValueError: when there is not exactly one.
        """
        found = re.findall(r"^(\d+)(?:;\S+)?\s*$", stdout, re.MULTILINE)
        if len(found) != 1:
            raise ValueError(f"no batch id in what sbatch printed: {stdout[:200]!r}")
        return str(found[0])

    def query(self) -> Command:
        """Returns squeue for our live batch jobs, also in hidden partitions, members of arrays one by one.

        --me, which Slurm has since 20.02: whoever the command prefix makes us. A name that is not ours would list none.
        """
        argv = ("squeue", "--noheader", "--array", "--all", "--me", f"--format={_FORMAT}")
        return Command(argv)

    def parse_query(self, stdout: str) -> Iterator[BatchJob]:
        """Yields the batch jobs in what squeue printed. A job name with a line end in it takes several lines.

        Raises:
            ValueError: when a line is cut or not squeue's.
        """
        record = ""
        for line in stdout.split("\n"):
            if record and _RECORD.match(line):
                break
            record = f"{record}\n{line}" if record else line
            if record.endswith("@"):
                yield self._job(record[:-1])
                record = ""
        if record.strip("\n"):
            raise ValueError(f"squeue's answer is cut or strange here: {record[:200]!r}")

    def removal(self, batch_ids: Sequence[str]) -> Command:
        """Returns a script that removes those of these that are still queued, and no other.

        It ends with exit code 1 if one of them is unknown by now; the others are removed all the same.

        Raises:
            ValueError: without ids (scancel would take all), or for one that is not Slurm's.
        """
        if not batch_ids or not all(re.fullmatch(r"\d+(_\d+)?", batch_id) for batch_id in batch_ids):
            raise ValueError(f"not ids of Slurm: {list(batch_ids)!r}")
        return Command(("sh", "-s", *batch_ids), _REMOVAL)

    def refusal(self, exit_code: int, stderr: str) -> Optional[Refusal]:  # noqa: ARG002 - its words say more
        """Returns why sbatch refused, None when its words are no refusal that we know."""
        return slurm_refusals.refusal(stderr)

    def limits(self) -> Optional[Command]:
        """Returns a command that lists partitions, node kinds and MaxArraySize."""
        return Command(("sh", "-c", _LIMITS))

    def parse_limits(self, stdout: str) -> tuple[QueueLimits, ...]:
        """Returns the limits of the shape's partitions, or of the default one; with several, those that exist.

        Raises:
            ValueError: when there is no partition at all in it.
        """
        lines = stdout.splitlines()
        partitions = [match for match in map(_QUEUE.fullmatch, lines) if match]
        if not partitions:
            raise ValueError(f"no partition in what sinfo printed: {stdout[:200]!r}")
        sizes = [int(size) for size in re.findall(r"^MaxArraySize\s*=\s*(\d+)", stdout, re.MULTILINE)]
        wanted = str(self._options.get("partition", "")).split(",")
        return tuple(
            QueueLimits(
                match["name"],
                match["open"] == "up",
                _seconds(match["time"]),
                int(match["cpus"]),
                int(match["memory"]),
                sizes[0] if sizes else None,
            )
            for match in partitions
            if match["name"] in wanted or (wanted == [""] and match["default"])
        )

    def trial(self, request: GlideinRequest) -> Optional[Command]:
        """Returns sbatch --test-only.

        It knows accounts and QOS, but takes a closed partition for good, and unless EnforcePartLimits is set a too long
        walltime too (22.05.8).
        """
        command = self.submission(request)
        return Command((command.argv[0], "--test-only", *command.argv[1:]), command.stdin)

    def _job(self, record: str) -> BatchJob:
        match = _RECORD.fullmatch(record)
        if match is None:
            raise ValueError(f"not a line of squeue: {record[:200]!r}")
        state = self.states.get(match["state"], JobState.UNKNOWN)
        reason = "" if match["reason"] == "None" else match["reason"]
        # JobHeldUser, JobHeldAdmin, JobHoldMaxRequeue, launch_failed_requeued_held and the like
        if state is JobState.IDLE and (reason.startswith(("JobHeld", "JobHold")) or reason.endswith("_held")):
            state = JobState.HELD
        return BatchJob(match["id"], match["name"], state, "" if state is JobState.RUNNING else reason)


def _seconds(text: str) -> Optional[int]:
    """Returns seconds for sinfo's "2-03:00:00" or "30:00", None for "infinite" and anything else without an end."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(number or 0) for number in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _output(request: GlideinRequest) -> str:
    """Returns sbatch's file name pattern: name-12_3.out in the log folder, or /dev/null."""
    if not request.log_folder:
        return "/dev/null"
    number = "%A_%a" if request.count > 1 else "%j"  # %a of a job without array is 4294967294
    return f"{request.log_folder.replace('%', '%%')}/%x-{number}.out"


def _checked(key: str, extra: Option) -> tuple[str, ...]:
    """Returns sbatch's own long options, each one word: a blank belongs to the value."""
    if not isinstance(extra, tuple):
        raise ConfigError(f"{key} = {extra!r}: not a list", hint=f'write {key} = ["--nice=100"]')
    for option in extra:
        if not option.startswith("-") or option in {"-", "--"}:
            hint = f'write an option and its value as one string: {key} = ["--nice=100"]'
            raise ConfigError(f"{key}: {option!r} is not an option of sbatch", hint=hint)
        word = option.split("=")[0]  # sbatch takes abbreviations: --arr is --array
        if word == "--time-min":
            hint = "the glidein would not learn of a shorter walltime: write the least one as the shape's walltime"
            raise ConfigError(f"{key}: {option!r} cannot be given", hint=hint)
        if option[:2] in _NOT_EXTRA_SHORT or any(name.startswith(word) for name in _NOT_EXTRA):
            hint = "Glidepost writes the array and the script itself; for another cluster use command_prefix"
            raise ConfigError(f"{key}: {option!r} cannot be given", hint=hint)
    return extra
