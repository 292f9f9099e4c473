"""HTCondor as a site's batch system: condor_submit, condor_q, condor_rm, condor_qedit and condor_status.

Manuals: https://htcondor.readthedocs.io/en/latest/man-pages/condor_submit.html (condor_q.html, condor_rm.html),
https://htcondor.readthedocs.io/en/latest/classad-attributes/job-classad-attributes.html. Tested with 25.14.1.

The work is done by htcondor.sh, which goes along as the text of `sh -c`, so that nothing but HTCondor's clients is
needed where the command prefix leads, and no file system is shared: neither with that host nor with worker nodes.

What a site should know:

* The script goes to the schedd with `-spool`, the only way that leaves no file of ours on the submit host:
  `copy_to_spool` is no longer there in 25.14. A batch job is "held" for a moment until the files have come; here it
  counts as queued.
* The pool token goes along too. Where the schedd sees this host's files it is read when the batch job starts, else it
  is the one of the submission, which may be too old when the glidein had to wait: with `spool`, for another schedd and
  for an HTCondor-CE, keep lifetimes of tokens longer than waits. (What is spooled cannot name a file of this host; so
  condor_qedit names it, and until then `requirements` are false.)
* What a glidein prints comes to the log folder when it ends, not before, and not at all with `spool`. With
  `lines = ["stream_output = true", "stream_error = true"]` it comes at once, each line by way of the submit host.
* No second run: HTCondor would run a batch job again after an eviction, at any time later, under the same id; nobody
  counts on that, and the demand asks for a new one anyway. So ours match no machine once they have run, and
  `periodic_remove` takes them off.
* The walltime stands in the batch job as GlidepostWalltimeS, in seconds, for a site's policies. HTCondor itself has no
  limit; ours removes what has run for ten minutes more, which no glidein does by itself.
* `exclusive`: all cores of a partitionable slot, so all of it must be free. On machines that are divided into static
  slots it means the slot.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Final, Optional

from glidepost.schema.errors import ConfigError
from glidepost.schema.puller_config import Option

from . import htcondor_refusals
from .base import Backend, BatchJob, Command, GlideinRequest, JobState, QueueLimits, Refusal
from .htcondor_description import check, description, files_of, is_spooled, one_line, string
from .options import program, text

_ID: Final = re.compile(r"\d+\.\d+")
_RANGE: Final = re.compile(r"^(\d+)\.\d+ - \1\.\d+\s*$", re.MULTILINE)
# HoldReasonCode, "Spooling input data files"
_SPOOLING: Final = 16


class HTCondorBackend(Backend):
    """HTCondor through its command line.

    Args:
        options: `shapes.NAME.options` of puller.toml: schedd, pool (text: another schedd than this host's, and the
            collector that knows it); requirements, accounting_group, grid_resource (text); exclusive; spool (the schedd
            does not see this host's files; default: with schedd); transfer_token (default true); lines (of the submit
            description, after ours: they win), lines_before (before ours: ours win).

    Raises:
        ConfigError: for what is no line of a submit description, or a line that cannot be given; for a pool without
            schedd.
    """

    name: ClassVar[str] = "htcondor"
    programs: ClassVar[tuple[str, ...]] = ("condor_submit", "condor_q", "condor_rm", "condor_qedit", "condor_status")
    # Job ClassAd attributes, "JobStatus". What has a machine is RUNNING: removal must not touch it.
    states: ClassVar[Mapping[str, JobState]] = {
        "0": JobState.IDLE,  # unexpanded: never run, in old versions
        "1": JobState.IDLE,
        "2": JobState.RUNNING,
        "3": JobState.GONE,  # removed: it ends
        "4": JobState.GONE,  # completed
        "5": JobState.HELD,  # IDLE while its files are on their way
        "6": JobState.RUNNING,  # transferring output
        "7": JobState.RUNNING,  # suspended: a glidein, with its user jobs, that may go on
    }

    def __init__(self, options: Mapping[str, Option]) -> None:
        self._options = options
        check(options)
        if options.get("pool") and not options.get("schedd"):
            raise ConfigError("pool without schedd", hint="name the schedd too: a pool may have many")
        self._is_spooled = is_spooled(options)

    def submission(self, request: GlideinRequest) -> Command:
        """Returns the command that submits all glideins as one cluster.

        Raises:
            ConfigError: for a path that HTCondor cannot be told.
        """
        logs = "" if self._is_spooled else one_line("log folder", request.log_folder)
        output = f'strcat({string(f"{logs}/{request.name}-")}, ClusterId, ".", ProcId, ".out")' if logs else ""
        taken = files_of(self._options, request)
        here = "elsewhere" if self._is_spooled else "here"
        argv = self._argv("submit", *self._described(request), here, logs, output, string(",".join(taken)), *taken)
        return Command(argv, request.script)

    def parse_submission(self, stdout: str) -> str:
        """Returns the number of the cluster, of the range that condor_submit -terse printed; members are NUMBER.INDEX.

        Raises:
            ValueError: when there is not exactly one.
        """
        found = _RANGE.findall(stdout)
        if len(found) != 1:
            raise ValueError(f"no range of ids in what condor_submit printed: {stdout[:200]!r}")
        return str(found[0])

    def query(self) -> Command:
        """Returns the command that lists our glideins; other batch jobs of this account are not listed."""
        return Command(self._argv("query"))

    def parse_query(self, stdout: str) -> Iterator[BatchJob]:
        """Yields the glideins in the array that condor_q -json printed.

        Raises:
            ValueError: when it is anything else, or cut.
        """
        try:
            ads = json.loads(stdout)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"condor_q's answer is cut or strange: {stdout[:200]!r}") from error
        if not isinstance(ads, list):
            raise ValueError(f"condor_q's answer is no array: {stdout[:200]!r}")  # noqa: TRY004 - as for all text
        yield from map(self._job, ads)

    def removal(self, batch_ids: Sequence[str]) -> Command:
        """Returns the command that removes those of these that are queued or held, in one look of the schedd.

        Raises:
            ValueError: without ids, or for one that is not HTCondor's.
        """
        if not batch_ids or not all(_ID.fullmatch(batch_id) for batch_id in batch_ids):
            raise ValueError(f"not ids of HTCondor: {list(batch_ids)!r}")
        return Command(self._argv("remove", *batch_ids))

    def refusal(self, exit_code: int, stderr: str) -> Optional[Refusal]:  # noqa: ARG002 - it is 1 for everything
        """Returns why condor_submit or the schedd refused, None when the words are no refusal that we know."""
        return htcondor_refusals.refusal(stderr)

    def limits(self) -> Optional[Command]:
        """Returns the command that lists kinds of slots and MAX_JOBS_PER_SUBMISSION; none for an HTCondor-CE."""
        return None if self._options.get("grid_resource") else Command(self._argv("limits"))

    def parse_limits(self, stdout: str) -> tuple[QueueLimits, ...]:
        """Returns one for each kind of slot. A pool without any is not open: it may be that its machines are off.

        Raises:
            ValueError: when the line about the submission is missing.
        """
        match = re.search(r"^jobs ?(.*)$", stdout, re.MULTILINE)
        if match is None:
            raise ValueError(f"not what htcondor.sh prints: {stdout[:200]!r}")
        most = int(match[1]) if match[1].isdecimal() and int(match[1]) > 0 else None
        where = text(self._options, "pool", "the pool")
        slots = [(int(cpus), int(mib)) for cpus, mib in re.findall(r"^slot (\d+) (\d+)$", stdout, re.MULTILINE)]
        if not slots:
            return (QueueLimits(where, is_open=False, array_size=most),)
        return tuple(
            QueueLimits(where, is_open=True, cpus=cpus, memory_mib=mib, array_size=most) for cpus, mib in slots
        )

    def trial(self, request: GlideinRequest) -> Optional[Command]:
        """Returns the command that submits the same held, and removes it: only the schedd knows what it refuses."""
        return Command(
            self._argv("trial", *self._described(request), *files_of(self._options, request)), request.script
        )

    def _argv(self, verb: str, *rest: str) -> tuple[str, ...]:
        place = (text(self._options, "schedd"), text(self._options, "pool"))
        return ("sh", "-c", program("htcondor.sh"), "glidepost-htcondor", verb, *place, *rest)

    def _described(self, request: GlideinRequest) -> tuple[str, str]:
        """Returns the submit description, and how many bytes of script come with it."""
        return description(self._options, request), str(len(request.script.encode()))

    def _job(self, ad: object) -> BatchJob:
        if not isinstance(ad, dict):
            raise ValueError(f"condor_q: not a ClassAd: {ad!r}"[:200])  # noqa: TRY004 - as for all text
        cluster, process, status, name = (ad.get(key) for key in ("ClusterId", "ProcId", "JobStatus", "GlidepostName"))
        if not (isinstance(cluster, int) and isinstance(process, int) and isinstance(name, str)) or status is None:
            raise ValueError(f"condor_q: not one of our batch jobs: {ad!r}"[:200])
        state = self.states.get(str(status), JobState.UNKNOWN)
        reason = ""
        if state is JobState.HELD:
            reason = str(ad.get("HoldReason") or "")
            state = JobState.IDLE if ad.get("HoldReasonCode") == _SPOOLING else JobState.HELD
        elif state is JobState.IDLE:
            reason = str(ad.get("LastRejMatchReason") or "")
        return BatchJob(f"{cluster}.{process}", name, state, " ".join(reason.split()))
