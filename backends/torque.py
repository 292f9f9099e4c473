"""Torque: qsub, qstat, qselect and qdel. PBS Pro and OpenPBS have the same commands and another language: pbs.py.

Manual: https://docs.adaptivecomputing.com/torque/6-1-2/adminGuide/torque.htm (appendix "Commands Overview"). Spoken as
Torque 6.1.3 understood it; the rest is from the manual and its source.

What a site should know:

* `-l select=...` of PBS Pro is accepted here and ignored, so cores and GPUs are asked for as
  `-l nodes=1:ppn=C:gpus=G`, and memory beside it.
* `mem` and `vmem` are of the whole batch job. `pmem` is asked for per core, because Maui and Moab multiply it by ppn.
  `pvmem` limits each process, so it is as large as the whole.
* An array calls its members NAME-1, NAME-2; the names that we give have that taken off again.
* Torque puts -1, -2 behind the name of an array's log files as well, so that an array without a log folder has its
  output sent to /dev/null-1, which nobody can write: Torque mails about it, or keeps it on the node.
* It copies the log when the glidein has ended. A site that sets $spool_as_final_name on its nodes has it earlier.
* An array of more than some 250 members is made bit by bit, one part a second, and its members are held until then.
* No limit of the length of an array by default: 200 001 were accepted. `max_per_cycle` of the shape bounds it.
* The account (-A) is never checked; a node that no batch job can have is found by the scheduler, which does not say so.
* `-m n`: no mail for each glidein that is removed. A site that wants some writes `extra = ["-m a"]`.
* No `-V` and no `-v`: nothing of the puller's environment goes along.
* qdel sends TERM, and the batch job is gone within a second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Final, Optional

from glidepost.schema.puller_config import Option

from . import options, pbs_alike, pbs_refusals, torque_document
from .base import Backend, BatchJob, Command, GlideinRequest, JobState, QueueLimits, Refusal

_MEMBER: Final = re.compile(r"\d+\[(?P<index>\d+)\]\..*")

_NOT_EXTRA: Final = {
    "-C": "Glidepost writes the script, and everything else on the command line",
    "-I": "an interactive batch job runs no script",
    "-J": "it belongs to -P",
    "-N": "Glidepost knows its glideins by their names",
    "-P": "it submits as another account, whose batch jobs nobody would count",
    "-V": "it would hand the puller's whole environment to the node: name what is needed, -v NAME=value",
    "-t": "Glidepost writes the array itself",
    "-x": "an interactive batch job runs no script",
    "-z": "it hides the batch id",
}

# Everybody's: there is no filter by user with -x. With -t each member of an array, without the array itself. qstat
# prints nothing at all when the queue is empty, so the last line says that it has come to its end.
_QUERY: Final = "id -un && qstat -t -x && echo end"

# Asked again just before, because some have started since: qdel would end them.
_REMOVAL: Final = """\
queued=$(qselect -s HQW) || exit
queued=" $(printf %s "$queued" | tr '\\n' ' ') "
doomed=''
for id; do
  case $queued in *" $id "*) doomed="$doomed $id" ;; esac
done
set -f
[ -z "$doomed" ] || printf '%s\\n' $doomed | xargs -n 100 qdel
"""

# Held, so that it cannot start, and deleted at once; again after a second, should its array not be whole yet. qsub
# reads the script from this script's standard input.
_TRIAL: Final = """\
id=$(qsub -h "$@") || exit
id=$(printf '%s\\n' "$id" | tail -n 1)
qdel "$id" || { sleep 1; qdel "$id"; }
"""


class TorqueBackend(Backend):
    """Torque through its command line.

    Args:
        options: `shapes.NAME.options` of puller.toml: queue, account, qos, node_property (text); gpus (part of the
            nodes request, in which {gpus} is replaced, default ":gpus={gpus}" when there are any, empty for none);
            disk_resource (the name of the resource for disk); memory_limits (of mem, pmem, vmem, pvmem; default mem);
            exclusive (whole nodes); extra, extra_before (qsub options, after ours and before ours).

    Raises:
        ConfigError: for something in `extra` that cannot be given.
    """

    name: ClassVar[str] = "torque"
    programs: ClassVar[tuple[str, ...]] = ("qsub", "qstat", "qselect", "qdel")
    # Appendix "qstat", "job states".
    states: ClassVar[Mapping[str, JobState]] = {
        "C": JobState.GONE,  # completed; it stays for keep_completed seconds
        "E": JobState.RUNNING,  # exiting
        "H": JobState.HELD,
        "Q": JobState.IDLE,
        "R": JobState.RUNNING,
        "S": JobState.RUNNING,  # suspended: a glidein, with its user jobs, that may go on
        "T": JobState.IDLE,  # on its way to another queue or server
        "W": JobState.IDLE,  # waits for the time that it was asked for
    }

    def __init__(self, options: Mapping[str, Option]) -> None:
        self._options = options
        self._extra = pbs_alike.words(options, "extra", refused=_NOT_EXTRA)
        self._before = pbs_alike.words(options, "extra_before", refused=_NOT_EXTRA)

    def submission(self, request: GlideinRequest) -> Command:
        """Returns one qsub for all glideins: an array when there are several."""
        log = f"{request.log_folder}/{request.name}.out" if request.log_folder else "/dev/null"
        argv = [
            "qsub",
            *self._before,
            "-N",
            request.name,
            "-S",
            "/bin/sh",
            *pbs_alike.mail(*self._before, *self._extra),
            "-r",
            "n",
        ]
        argv += ["-j", "oe", "-o", log]
        if request.count > 1:
            argv += ["-t", f"1-{request.count}"]
        argv += self._resources(request)
        if self._options.get("exclusive"):
            argv.append("-n")
        for option, key in (("-q", "queue"), ("-A", "account")):
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
        """Returns a command that prints who we are, qstat's XML of all batch jobs of the server, and "end"."""
        return Command(("sh", "-c", _QUERY))

    def parse_query(self, stdout: str) -> Iterator[BatchJob]:
        """Yields our batch jobs, the members of an array one by one.

        Raises:
            ValueError: when the answer is not whole, or lacks what a batch job must have.
        """
        account, text = options.account_and_rest(stdout)
        body, _, last = text.rstrip("\n").rpartition("\n")
        if last != "end":
            raise ValueError(f"qstat's answer is cut: it ends with {text[-100:]!r}")
        jobs = torque_document.jobs(body) if body.strip() else ()
        for job in jobs:
            if job["Job_Owner"].rpartition("@")[0] == account:
                yield self._job(job)

    def removal(self, batch_ids: Sequence[str]) -> Command:
        """Returns a script that removes those of these that are still queued or held.

        Raises:
            ValueError: without ids, or for one that is not a batch job of Torque, or is a whole array.
        """
        return pbs_alike.removal(batch_ids, _REMOVAL, "Torque")

    def refusal(self, exit_code: int, stderr: str) -> Optional[Refusal]:
        """Returns why qsub refused, None when its words are no refusal that we know."""
        return pbs_refusals.torque(exit_code, stderr)

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
        gpus = options.filled(options.text(self._options, "gpus", ":gpus={gpus}" if asked.gpus else ""), asked)
        parts = [f"1:ppn={asked.cpus}", gpus.strip(":"), options.text(self._options, "node_property").strip(":")]
        values = [f"nodes={':'.join(filter(None, parts))}"]
        limits = self._options.get("memory_limits", ("mem",))
        for key in limits if isinstance(limits, tuple) else ():
            amount = options.up(asked.memory_mib, asked.cpus) if key == "pmem" else asked.memory_mib
            values.append(f"{key}={amount}mb")
        disk = options.text(self._options, "disk_resource")
        if disk and asked.disk_mib:
            values.append(f"{disk}={asked.disk_mib}mb")
        if self._options.get("qos"):
            values.append(f"qos={options.text(self._options, 'qos')}")
        values.append(f"walltime={max(1, asked.walltime_s)}")
        return [word for value in values for word in ("-l", value)]

    def _job(self, job: Mapping[str, str]) -> BatchJob:
        batch_id, name = job["Job_Id"], job["Job_Name"]
        member = _MEMBER.fullmatch(batch_id)
        if member:
            name = name.removesuffix(f"-{member['index']}")
        state = self.states.get(job["job_state"], JobState.UNKNOWN)
        reason = " ".join(job.get("comment", "").split()) if state in {JobState.IDLE, JobState.HELD} else ""
        if state is JobState.HELD and not reason:
            reason = f"Hold_Types = {job.get('Hold_Types', '?')}"
        return BatchJob(batch_id, name, state, reason)
