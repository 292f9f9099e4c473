"""A submission that the batch system does not want, through the real subprocess path."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from glidepost.backends.base import Command, GlideinRequest
from glidepost.backends.slurm import SlurmBackend
from glidepost.schema.errors import CommandFailed, Refused
from glidepost.schema.resources import Resources
from glidepost.site_puller.queue import LostAnswer, Queue

REQUEST = GlideinRequest("gp-1", Resources(1, 1000, 1000, 3600), 2, "#!/bin/sh\n")
NO_PARTITION = "sbatch: error: Batch job submission failed: Invalid partition name specified"
FULL = "sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Job violates accounting/QOS policy (job submit limit)"


class Sbatch(SlurmBackend):
    """Slurm whose sbatch writes this and fails."""

    def __init__(self, stderr: str, code: int = 1) -> None:
        super().__init__({})
        self._argv = ("sh", "-c", 'cat >/dev/null; printf "%s\\n" "$1" >&2; exit "$2"', "sbatch", stderr, str(code))

    def submission(self, request: GlideinRequest) -> Command:
        return Command(self._argv, request.script)

    def query(self) -> Command:
        return Command(self._argv)


def failure(stderr: str, code: int = 1, prefix: Sequence[str] = ()) -> CommandFailed:
    with pytest.raises(CommandFailed) as caught:
        Queue(Sbatch(stderr, code), prefix).submit(REQUEST)
    return caught.value


@pytest.fixture
def ssh(tmp_path) -> str:
    file = tmp_path / "ssh"
    file.write_text('#!/bin/sh\nshift\nexec sh -c "$*"\n', encoding="utf-8")
    file.chmod(0o755)
    return str(file)


def test_a_refusal_shows_the_command_and_the_reason_in_one_line():
    error = failure(NO_PARTITION)
    assert isinstance(error, Refused)
    assert not error.is_limit
    assert error.what.startswith("sh -c ")
    assert error.what.endswith("Batch job submission failed: Invalid partition name specified (exit 1)")
    assert "\n" not in error.what.replace(NO_PARTITION, "")
    assert "puller.toml" in error.hint


def test_a_limit_says_that_there_is_nothing_to_do():
    error = failure(FULL)
    assert isinstance(error, Refused)
    assert error.is_limit
    assert error.hint == "it is tried again by itself"


def test_an_answer_that_timed_out_may_have_been_accepted_whatever_else_it_says():
    assert isinstance(failure(f"{NO_PARTITION}\nsbatch: error: Socket timed out on send/recv operation"), LostAnswer)


def test_a_failure_that_nobody_knows_is_no_refusal():
    error = failure("sbatch: error: Unable to contact slurm controller (connect failure)")
    assert not isinstance(error, (Refused, LostAnswer))


def test_over_ssh_a_refusal_with_sshs_own_exit_code_is_a_refusal(ssh):
    error = failure("sbatch: unrecognized option '--no-such-option'", 255, [ssh, "login01"])
    assert isinstance(error, Refused)


def test_over_ssh_that_exit_code_without_a_reason_may_be_a_lost_answer(ssh):
    assert isinstance(failure("kex_exchange_identification: read", 255, [ssh, "login01"]), LostAnswer)


def test_a_query_is_never_refused():
    with pytest.raises(CommandFailed) as caught:
        Queue(Sbatch(NO_PARTITION)).ask(Sbatch(NO_PARTITION).query())
    assert not isinstance(caught.value, Refused)
