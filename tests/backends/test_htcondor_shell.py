"""htcondor.sh under each shell, where HTCondor's clients are a line of shell."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from glidepost.backends.base import Command
from glidepost.backends.htcondor import HTCondorBackend


@dataclass
class Host:
    """A submit host whose clients write down how they were called, under one shell."""

    folder: Path
    shell: str

    def client(self, name: str, lines: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.folder}/calls\n{lines}\n', encoding="utf-8")
        path.chmod(0o755)

    def run(self, command: Command) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "TMPDIR": str(self.folder / "tmp")}
        argv = [self.shell, *command.argv[1:]]
        done = subprocess.run(
            argv, input=command.stdin, env=environment, capture_output=True, encoding="utf-8", timeout=60, check=False
        )
        assert list((self.folder / "tmp").iterdir()) == [], "nothing stays behind"
        return done

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


@pytest.fixture(params=["dash", "bash"])
def host(request, tmp_path) -> Host:
    for name in ("bin", "tmp", "logs"):
        (tmp_path / name).mkdir()
    host = Host(tmp_path, shutil.which(request.param) or pytest.fail(f"no {request.param} on the PATH"))
    host.client("condor_submit", f"cp glidein.sh description {tmp_path}; echo '7.0 - 7.2'")
    host.client("condor_qedit", "echo edited")
    host.client("condor_rm", "echo 'All jobs have been marked for removal'")
    return host


def test_the_script_is_submitted_as_it_came(host, make_request):
    script = "#!/bin/sh\necho 'é' \"$HOME\" \\n %d\n" + "#" * 70_000
    done = host.run(HTCondorBackend({}).submission(make_request(script=script, count=3)))
    assert (done.returncode, done.stdout, done.stderr) == (0, "7.0 - 7.2\n", "")
    assert (host.folder / "glidein.sh").read_text(encoding="utf-8") == script
    first, *lines = (host.folder / "description").read_text(encoding="utf-8").splitlines()
    assert first == f"+GlidepostUid = {os.getuid()}"
    assert lines[0] == "universe = vanilla"
    assert lines[-1] == "queue 3"
    assert host.calls() == [
        "condor_submit -spool -terse description",
        "condor_qedit -constraint ClusterId == 7 GlidepostReady true",
    ]


def test_half_a_script_is_not_submitted(host, make_request):
    command = HTCondorBackend({}).submission(make_request(script="#!/bin/sh\necho whole\n"))
    done = host.run(replace(command, stdin="#!/bin/sh\necho"))
    assert done.returncode == 1
    assert "nothing was submitted" in done.stderr
    assert host.calls() == []


def test_a_token_that_is_not_there_is_said_before_the_submission(host, make_request):
    done = host.run(HTCondorBackend({}).submission(replace(make_request(), files=("/nonexistent/token",))))
    assert done.returncode == 1
    assert "cannot read /nonexistent/token" in done.stderr
    assert host.calls() == []


def test_the_schedd_of_this_host_reads_token_and_log_folder_from_it(host, make_request):
    token = host.folder / "token"
    token.write_text("x.y.z\n", encoding="utf-8")
    request = replace(make_request(log_folder=str(host.folder / "logs")), files=(str(token),))
    assert host.run(HTCondorBackend({}).submission(request)).returncode == 0
    edit = host.calls()[1]
    assert edit.startswith("condor_qedit -constraint ClusterId == 7 ")
    assert f'TransferInput "{token}"' in edit
    assert edit.endswith(" GlidepostReady true")
    assert edit.count(f'strcat("{host.folder}/logs/gp-1a2b3c-", ClusterId, ".", ProcId, ".out")') == 2


def test_a_log_folder_that_is_not_there_does_not_keep_glideins(host, make_request):
    done = host.run(HTCondorBackend({}).submission(make_request(log_folder="/nonexistent/logs")))
    assert done.stdout == "7.0 - 7.2\n"
    assert host.calls()[1] == "condor_qedit -constraint ClusterId == 7 GlidepostReady true"


def test_what_cannot_be_made_ready_is_taken_back(host, make_request):
    host.client("condor_qedit", "echo 'the schedd has gone' >&2; exit 1")
    done = host.run(HTCondorBackend({}).submission(make_request()))
    assert (done.returncode, done.stdout) == (1, "")
    assert "the schedd has gone" in done.stderr
    assert host.calls()[-1] == "condor_rm -constraint ClusterId == 7"


def test_another_schedd_is_named_in_every_call_and_sees_nothing_of_this_host(host, make_request):
    backend = HTCondorBackend({"schedd": "ap2", "pool": "cm:9618"})
    host.client("condor_q", "echo '['; echo ']'")
    host.run(backend.submission(make_request(log_folder=str(host.folder / "logs"))))
    host.run(backend.trial(make_request()))
    host.run(backend.removal(["7.0"]))
    host.run(backend.query())
    assert len(host.calls()) == 5
    assert all(" -name ap2 -pool cm:9618 " in call for call in host.calls())
    assert not any("qedit" in call for call in host.calls())


def test_a_submission_that_fails_says_so_and_leaves_nothing(host, make_request):
    host.client("condor_submit", "echo 'ERROR: no' >&2; exit 3")
    done = host.run(HTCondorBackend({}).submission(make_request()))
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "ERROR: no\n")


def test_a_trial_is_held_and_removed(host, make_request):
    done = host.run(HTCondorBackend({}).trial(make_request(count=3)))
    assert done.returncode == 0, done.stderr
    submit, remove = host.calls()
    assert "-append hold = true" in submit
    assert "-spool" not in submit
    assert remove == "condor_rm -constraint ClusterId == 7"


def test_a_trial_that_cannot_be_removed_is_no_success(host, make_request):
    host.client("condor_rm", "exit 1")
    assert host.run(HTCondorBackend({}).trial(make_request())).returncode == 1


def test_a_trial_that_the_schedd_removes_first_is_a_success(host, make_request):
    """Its periodic_remove may be looked at between our two commands: once in 60 trials, when it is each two seconds."""
    host.client("condor_rm", 'echo "Couldn\'t find/remove all jobs matching constraint (ClusterId == 7)" >&2; exit 1')
    done = host.run(HTCondorBackend({}).trial(make_request()))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_removal_names_ids_and_states(host):
    assert host.run(HTCondorBackend({}).removal(["7.0", "7.12"])).returncode == 0
    (call,) = host.calls()
    assert '"7.0,7.12"' in call
    assert "(JobStatus == 1 || JobStatus == 5)" in call
    assert f"GlidepostUid == {os.getuid()}" in call


def test_a_removal_of_what_is_gone_is_no_failure_and_one_that_failed_is(host):
    host.client("condor_rm", 'echo "Couldn\'t find/remove all jobs matching constraint (x)" >&2; exit 1')
    assert host.run(HTCondorBackend({}).removal(["7.0"])).returncode == 0
    host.client("condor_rm", 'echo "Can\'t find address for schedd ap" >&2; exit 1')
    done = host.run(HTCondorBackend({}).removal(["7.0"]))
    assert done.returncode == 1
    assert "Can't find address" in done.stderr


def test_an_empty_queue_is_told_from_no_answer_at_all(host):
    host.client("condor_q", "exit 0")
    assert host.run(HTCondorBackend({}).query()).stdout == "[]\n"


def test_a_schedd_that_does_not_answer_is_no_empty_queue(host):
    host.client("condor_q", "echo 'Failed to fetch ads' >&2; exit 1")
    assert host.run(HTCondorBackend({}).query()).returncode == 1
