from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from glidepost.backends.base import Backend, BatchJob, Command, GlideinRequest, JobState
from glidepost.schema.errors import CommandFailed, UnreadableOutput
from glidepost.schema.resources import Resources
from glidepost.site_puller.queue import LostAnswer, Queue, clean_environment

REQUEST = GlideinRequest("gp-1", Resources(1, 1000, 1000, 3600), 2, "#!/bin/sh\n")


@dataclass(frozen=True)
class Shell(Backend):
    """A batch system whose commands are a line of shell."""

    line: str

    name: ClassVar[str] = "shell"
    states: ClassVar[Mapping[str, JobState]] = {"R": JobState.RUNNING}

    def _command(self, stdin: str = "") -> Command:
        return Command(("sh", "-c", self.line), stdin)

    def submission(self, request: GlideinRequest) -> Command:
        return self._command(request.script)

    def parse_submission(self, stdout: str) -> str:
        return str(int(stdout))

    def query(self) -> Command:
        return self._command()

    def parse_query(self, stdout: str) -> Iterator[BatchJob]:
        for line in stdout.splitlines():
            batch_id, name = line.split()
            yield BatchJob(batch_id, name, JobState.RUNNING)

    def removal(self, batch_ids: Sequence[str]) -> Command:
        return Command(tuple(batch_ids))


def queue(line: str, *, prefix: Sequence[str] = (), timeout_s: float = 10) -> Queue:
    return Queue(Shell(line), prefix, timeout_s=timeout_s)


def test_the_answer_of_a_query_is_read():
    assert queue("printf '7 gp-1\\n8 gp-1\\n'").count().jobs == (
        BatchJob("7", "gp-1", JobState.RUNNING),
        BatchJob("8", "gp-1", JobState.RUNNING),
    )


def test_a_submission_gets_the_script_and_returns_the_id(tmp_path):
    assert queue(f"cat > {tmp_path}/script; echo 17").submit(REQUEST) == "17"
    assert (tmp_path / "script").read_text(encoding="utf-8") == REQUEST.script


def test_a_submission_whose_command_does_not_read_the_script_is_no_error():
    big = GlideinRequest("gp-1", REQUEST.resources, 1, "#" * 300_000)
    assert queue("exec <&-; echo 17").submit(big) == "17"


@pytest.mark.parametrize("line", ["exit 3", "echo 1 gp-1; exit 3"])
def test_a_failed_query_is_an_error_and_not_an_empty_queue(line):
    answer = queue(line).count()
    assert isinstance(answer.error, CommandFailed)
    assert re.search(r"exit 3", answer.error.what)
    assert answer.jobs == ()


def test_an_error_has_the_command_and_its_last_words():
    answer = queue("echo first >&2; echo controller is down >&2; exit 1").count()
    assert isinstance(answer.error, CommandFailed)
    assert "controller is down (exit 1)" in answer.error.what
    assert answer.error.what.startswith("sh -c ")


def test_an_error_of_a_command_with_a_long_script_is_short():
    answer = queue("exit 1 # " + "x" * 5000).count()
    assert isinstance(answer.error, CommandFailed)
    assert len(answer.error.what) < 300


def test_a_query_that_takes_too_long_is_an_error():
    start = time.monotonic()
    answer = queue("sleep 30", timeout_s=0.3).count()
    assert isinstance(answer.error, CommandFailed)
    assert re.search(r"no answer within 0\.3 s", answer.error.what)
    assert answer.jobs == ()
    assert time.monotonic() - start < 25


def test_a_child_that_keeps_the_pipe_open_does_not_keep_us():
    start = time.monotonic()
    answer = queue("sleep 60 & sleep 60", timeout_s=0.3).count()
    assert isinstance(answer.error, CommandFailed)
    assert re.search("no answer", answer.error.what)
    assert answer.jobs == ()
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("output", ["\\377\\376", "one-word", "<html>", "slurm_load_jobs error: x"])
def test_a_query_that_says_what_we_do_not_understand_is_an_error_and_not_an_empty_queue(output):
    answer = queue(f"printf '%b\\n' '{output}'").count()
    assert isinstance(answer.error, UnreadableOutput)
    assert answer.jobs == ()


def test_what_was_understood_before_the_answer_broke_off_is_a_part_of_it():
    answer = queue("echo 7 gp-1; echo 8").count()
    assert isinstance(answer.error, UnreadableOutput)
    assert (answer.jobs, answer.is_partial) == ((BatchJob("7", "gp-1", JobState.RUNNING),), True)
    assert not queue("exit 1").count().is_partial
    assert not queue("echo 7 gp-1").count().is_partial


def test_long_lists_are_removed_in_parts(tmp_path):
    ids = [str(number) for number in range(450)]
    (tmp_path / "count").write_text('#!/bin/sh\necho $# >> "$0.log"\n')
    (tmp_path / "count").chmod(0o755)
    Queue(Shell("true"), [str(tmp_path / "count")]).remove(ids)
    assert (tmp_path / "count.log").read_text().split() == ["200", "200", "50"]


def test_a_submission_that_takes_too_long_may_have_been_accepted():
    with pytest.raises(LostAnswer, match=r"no answer within 0\.3 s") as caught:
        queue("sleep 30", timeout_s=0.3).submit(REQUEST)
    assert "name" in caught.value.hint


@pytest.mark.parametrize("output", ["", "hello", "\\377"])
def test_a_submission_that_says_what_we_do_not_understand_may_have_been_accepted(output):
    with pytest.raises(LostAnswer):
        queue(f"printf '{output}'").submit(REQUEST)


@pytest.mark.parametrize(
    "line",
    [
        "kill -9 $$",
        "echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2; exit 1",
        "echo 'Connection reset by peer' >&2; exit 1",
        "echo 'qsub: request timed-out' >&2; exit 1",
    ],
)
def test_a_submission_that_was_cut_off_may_have_been_accepted(line):
    with pytest.raises(LostAnswer):
        queue(line).submit(REQUEST)


@pytest.mark.parametrize(
    "line",
    [
        "echo 'Invalid partition name specified' >&2; exit 1",
        "echo 'Unable to contact slurm controller (connect failure)' >&2; exit 1",
        "exit 255",
    ],
)
def test_a_submission_that_was_refused_was_refused(line):
    with pytest.raises(CommandFailed) as caught:
        queue(line).submit(REQUEST)
    assert not isinstance(caught.value, LostAnswer)


@pytest.mark.parametrize(("code", "is_lost"), [(255, True), (1, False)])
def test_a_connection_that_broke_may_have_carried_the_submission(tmp_path, code, is_lost):
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\nexit {code}\n", encoding="utf-8")
    ssh.chmod(0o755)
    with pytest.raises(CommandFailed) as caught:
        queue("echo 17", prefix=[str(ssh), "login01"]).submit(REQUEST)
    assert isinstance(caught.value, LostAnswer) is is_lost


def test_a_missing_command_is_an_error_and_nothing_was_submitted():
    missing = Queue(Shell("true"), ["/no/such/program"])
    answer = missing.count()
    assert isinstance(answer.error, CommandFailed)
    assert re.search(r"/no/such/program sh -c true: No such file", answer.error.what)
    assert answer.jobs == ()
    with pytest.raises(CommandFailed) as caught:
        missing.submit(REQUEST)
    assert not isinstance(caught.value, LostAnswer)
    assert "PATH" in caught.value.hint


def test_the_prefix_stands_before_the_command():
    assert queue("echo $WHO gp-1", prefix=["env", "WHO=nobody"]).count().jobs[0].batch_id == "nobody"


def test_over_ssh_the_other_sides_shell_gets_the_same_words(tmp_path):
    """Ssh joins its words by spaces and a shell at the other side takes them apart again."""
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\nshift\nexec sh -c "$*"\n', encoding="utf-8")
    ssh.chmod(0o755)
    line = "printf '%s gp-1\\n' \"a;b\" 'c$HOME'"
    answer = queue(line, prefix=[str(ssh), "login01"]).count().jobs
    assert [job.batch_id for job in answer] == ["a;b", "c$HOME"]


def test_the_environment_of_an_outer_batch_job_does_not_reach_the_command(monkeypatch):
    for name in ("SBATCH_PARTITION", "SLURM_JOB_ID", "SLURM_CONF", "SQUEUE_FORMAT", "PBS_JOBID", "MINE"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    names = {job.batch_id for job in queue("env | sed -n 's/^\\([A-Z_]*\\)=.*/\\1 gp-1/p'").count().jobs}
    assert {"SLURM_CONF", "MINE", "PATH"} <= names
    assert not names & {"SBATCH_PARTITION", "SLURM_JOB_ID", "SQUEUE_FORMAT", "PBS_JOBID"}
    assert [job.batch_id for job in queue("echo $LC_ALL gp-1").count().jobs] == ["C"]


def test_what_is_kept_of_an_environment():
    given = {"PATH": "/bin", "SGE_ROOT": "/sge", "SGE_TASK_ID": "1", "LSB_JOBID": "2", "LC_ALL": "de", "HOME": "/h"}
    assert clean_environment(given) == {"PATH": "/bin", "SGE_ROOT": "/sge", "LC_ALL": "C", "HOME": "/h"}


def test_the_command_is_run_with_a_time_out_and_without_a_shell():
    seen = {}

    def run(argv, **options):
        seen.update(options, argv=argv)
        return subprocess.CompletedProcess(argv, 0, "17", "")

    assert Queue(Shell("x y"), ["sudo", "-u", "glide"], timeout_s=9, run=run).submit(REQUEST) == "17"
    assert seen["argv"] == ["sudo", "-u", "glide", "sh", "-c", "x y"]
    assert (seen["timeout_s"], seen["stdin"]) == (9, REQUEST.script)


def lives(pid):
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""  # (a zombie has none)
    return False


def test_what_a_command_has_started_ends_with_it_when_it_takes_too_long(tmp_path):
    answer = queue(f"sleep 97 & echo $! >{tmp_path}/pid; wait", timeout_s=5).count()
    assert isinstance(answer.error, CommandFailed)
    pid = (tmp_path / "pid").read_text().strip()
    deadline = time.monotonic() + 60
    while lives(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_queues_that_give_the_same_answer_are_equal():
    assert queue("a").identity == queue("a").identity
    assert queue("a").identity != queue("b").identity
    assert queue("a").identity != queue("a", prefix=["ssh", "x"]).identity


def test_the_python_that_runs_us_can_be_run():
    assert Queue(Shell(f"{sys.executable} -c 'print(17)'")).submit(REQUEST) == "17"
