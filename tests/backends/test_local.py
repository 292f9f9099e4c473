"""What only `local` has: processes of this host, under dash and bash. Each starts real ones and ends them."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from glidepost.backends.base import Command, JobState, Refusal
from glidepost.backends.registry import create
from glidepost.schema.errors import ConfigError

SLEEP = "#!/bin/sh\nexec sleep 60\n"
REPORT = "#!/bin/sh\nenv\npwd\nreadlink /proc/self/fd/0\nexec sleep 60\n"
ROOT = os.geteuid() == 0


def entries(tmp_path):
    return sorted((tmp_path / "local").glob("*.*"))


def when(path, text):
    """Returns what a file holds once `text` is in it."""
    for _ in range(1200):
        if path.exists() and text in path.read_text():
            break
        time.sleep(0.05)
    return path.read_text()


def set_back(path, seconds):
    path.write_text(f"{int(time.time()) - seconds}\n")


def running(live, count):
    return live.jobs_when(lambda jobs: [job.state for job in jobs] == [JobState.RUNNING] * count)


def test_a_glidein_leads_a_session_of_its_own(local, make_request, tmp_path):
    local.submit(make_request(script=SLEEP))
    running(local, 1)
    pid = int((entries(tmp_path)[0] / "process").read_text().split()[0])
    assert os.getsid(pid) == pid != os.getsid(0)


def test_a_glidein_sees_its_id_and_nothing_of_the_callers_environment(local, make_request, tmp_path):
    command = local.backend.submission(make_request(script=REPORT, count=2))
    local.run(command, AWS_SECRET_ACCESS_KEY="hunter2", _CONDOR_X="1", TMPDIR="/tmp/a b", http_proxy="http://p:1")
    running(local, 2)
    for entry in entries(tmp_path):
        text = when(entry / "output", "/dev/null\n")
        assert f"GLIDEPOST_BATCH_JOB={entry.name}\n" in text
        assert "TMPDIR=/tmp/a b\n" in text
        assert "http_proxy=http://p:1\n" in text
        assert "hunter2" not in text
        assert "_CONDOR_X" not in text
        assert "GLIDEPOST_BOOT" not in text
        assert text.endswith("\n/\n/dev/null\n")


def test_output_goes_to_the_log_folder_if_there_is_one(local, make_request, tmp_path):
    logs = tmp_path / "the logs"
    logs.mkdir()
    batch_id = local.submit(make_request(script="#!/bin/sh\necho hello\n", count=2, log_folder=str(logs)))
    assert when(logs / f"gp-1a2b3c-{batch_id}.1.out", "hello") == "hello\n"


def test_the_folder_is_for_nobody_else(local, make_request, tmp_path):
    local.submit(make_request(script=SLEEP))
    folder = tmp_path / "local"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert entries(tmp_path)[0].stat().st_mode & 0o077 == 0
    folder.chmod(0o777)
    local.jobs()
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_end_of_a_glidein_is_noticed_and_its_output_kept_for_an_hour(local, make_request, tmp_path):
    local.submit(make_request(script="#!/bin/sh\necho bye\nexit 3\n"))
    assert local.jobs_when(lambda jobs: not jobs) == []
    (entry,) = entries(tmp_path)
    assert (entry / "output").read_text() == "bye\n"
    set_back(entry / "ended", 3590)
    assert local.jobs() == []
    assert entry.exists()
    set_back(entry / "ended", 3610)
    assert local.jobs() == []
    assert not entry.exists()


def test_another_process_with_the_same_pid_is_not_mistaken_for_a_glidein(local, make_request, tmp_path):
    local.submit(make_request(script="#!/bin/sh\nexit 0\n"))
    local.jobs_when(lambda jobs: not jobs)
    (entry,) = entries(tmp_path)
    (entry / "ended").unlink()
    with subprocess.Popen(["sleep", "60"]) as other:
        _, start, boot = (entry / "process").read_text().split()
        (entry / "process").write_text(f"{other.pid} {start} {boot}\n")
        assert local.run(local.backend.removal([entry.name])).returncode == 0
        assert local.jobs() == []
        time.sleep(0.1)
        assert other.poll() is None
        other.kill()


def test_a_glidein_from_before_a_reboot_is_gone(local, make_request, tmp_path):
    local.submit(make_request(script=SLEEP))
    running(local, 1)
    (entry,) = entries(tmp_path)
    recorded = (entry / "process").read_text()
    pid, start, _ = recorded.split()
    (entry / "process").write_text(f"{pid} {start} another-boot\n")
    assert local.jobs() == []
    (entry / "process").write_text(recorded)


def test_a_zombie_is_dead(local, make_request, tmp_path):
    local.submit(make_request(script=SLEEP))
    running(local, 1)
    (entry,) = entries(tmp_path)
    recorded = (entry / "process").read_text()
    zombie = subprocess.Popen(["true"])  # not waited for until the end of the test
    while " Z " not in Path(f"/proc/{zombie.pid}/stat").read_text():
        time.sleep(0.01)
    start = Path(f"/proc/{zombie.pid}/stat").read_text().rsplit(") ", 1)[1].split()[19]
    (entry / "process").write_text(f"{zombie.pid} {start} {recorded.split()[2]}\n")
    assert local.jobs() == []
    (entry / "process").write_text(recorded)
    zombie.wait()


def gate(tmp_path):
    """Returns the lines that wait until the file `go` is there."""
    return f"n=0; while [ ! -e {tmp_path}/go ] && [ $n -lt 1200 ]; do n=$((n+1)); sleep 0.05; done"


def test_one_that_is_about_to_start_occupies_a_place(local, make_request, tmp_path):
    slow_down(tmp_path, gate(tmp_path))
    local.submit(make_request(script=SLEEP))
    assert [(job.state, job.name) for job in local.jobs()] == [(JobState.UNKNOWN, "gp-1a2b3c")]
    (tmp_path / "go").touch()
    assert len(running(local, 1)) == 1


def test_one_that_did_not_start_in_a_minute_cannot_start_any_more(local, make_request, tmp_path):
    slow_down(tmp_path, gate(tmp_path))
    local.submit(make_request(script=f"#!/bin/sh\ntouch {tmp_path}/started\n"))
    (entry,) = entries(tmp_path)
    set_back(entry / "since", 50)
    assert len(local.jobs()) == 1
    set_back(entry / "since", 61)
    assert local.jobs() == []
    assert not entry.exists()
    (tmp_path / "go").touch()
    time.sleep(1)
    assert not (tmp_path / "started").exists()


def test_one_that_is_about_to_start_can_be_removed(local, make_request, tmp_path):
    slow_down(tmp_path, gate(tmp_path))
    local.submit(make_request(script=f"#!/bin/sh\ntouch {tmp_path}/started\n"))
    local.run(local.backend.removal([job.batch_id for job in local.jobs()]))
    assert local.jobs() == []
    (tmp_path / "go").touch()
    time.sleep(1)
    assert not (tmp_path / "started").exists()


def test_a_submission_that_was_interrupted_leaves_nothing_running(local, make_request, tmp_path):
    slow_down(tmp_path, "exit 1")  # as if the machine had gone down here
    local.submit(make_request(script=SLEEP))
    assert [job.state for job in local.jobs()] == [JobState.UNKNOWN]
    set_back(entries(tmp_path)[0] / "since", 61)
    assert local.jobs() == []


def test_half_a_script_is_not_run(local, make_request, tmp_path):
    command = local.backend.submission(make_request(script=SLEEP))
    done = local.run(Command(command.argv, command.stdin[:-5]))
    assert done.returncode == 1
    assert "instead of 24: nothing was started" in done.stderr
    assert entries(tmp_path) == []
    assert list((tmp_path / "local").glob(".*")) == []


def test_a_script_with_letters_of_several_bytes_is_whole(local, make_request):
    local.submit(make_request(script="#!/bin/sh\n# é, 日本\nexec sleep 60\n"))
    assert len(running(local, 1)) == 1


def test_the_submission_does_not_wait_for_the_glidein(local, make_request):
    started = time.monotonic()
    local.submit(make_request(script=SLEEP, count=3))
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("folder", ["/proc/none/local", "/dev/null", "/dev/null/local"])
def test_a_folder_that_cannot_be_made_is_an_error_and_not_an_empty_queue(local, folder):
    done = local.run(create("local", {"folder": folder}).query())
    assert (done.returncode, done.stdout) == (1, "")
    assert f"glidepost-local: cannot make {folder}: options.folder must be one that" in done.stderr


def test_a_folder_of_somebody_else_is_refused(local, tmp_path):
    folder = tmp_path / "foreign" if ROOT else Path("/usr")
    if ROOT:
        folder.mkdir()
        os.chown(folder, 65534, -1)
    done = local.run(create("local", {"folder": str(folder)}).query())
    assert done.returncode == 1
    assert f"{folder} does not belong to user" in done.stderr


def test_logs_that_cannot_be_written_are_an_error_before_anything_starts(local, make_request):
    done = local.run(local.backend.submission(make_request(log_folder="/proc/none")))
    assert (done.returncode, done.stderr) == (1, "glidepost-local: cannot write to /proc/none\n")
    assert local.jobs() == []


def test_a_host_without_setsid_says_so(local, make_request, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "id", "mkdir", "find", "chmod", "rmdir", "date"):
        (tools / tool).symlink_to(shutil.which(tool, path=local.environment["PATH"]))
    done = local.run(local.backend.submission(make_request()), PATH=str(tools))
    assert (done.returncode, done.stderr) == (1, "glidepost-local: no setsid on the PATH: it is part of util-linux\n")


def test_a_command_prefix_decides_whose_processes_they_are(make_request):
    # pytest's own folders are closed to other accounts, so this needs one in /tmp.
    folder = Path(f"/tmp/glidepost-test-{os.getpid()}-{time.time_ns()}")
    prefix = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"] if ROOT else ["env"]
    backend = create("local", {"folder": str(folder), "overcommit": True})

    def ask(command):
        return subprocess.run(
            [*prefix, *command.argv], input=command.stdin, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    try:
        ask(backend.submission(make_request(script=SLEEP, count=2)))
        jobs = list(backend.parse_query(ask(backend.query())))
        assert len(jobs) == 2
        assert {path.stat().st_uid for path in folder.iterdir()} == {65534 if ROOT else os.geteuid()}
        ask(backend.removal([job.batch_id for job in jobs]))
        for _ in range(1200):
            if not ask(backend.query()):
                break
            time.sleep(0.05)
        assert ask(backend.query()) == ""
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def slow_down(tmp_path, first):
    """Puts something before the real setsid, so that glideins are slow to start, or do not."""
    wrapper = tmp_path / "bin/setsid"
    wrapper.write_text(f'#!/bin/sh\n{first}\nexec {shutil.which("setsid")} "$@"\n')
    wrapper.chmod(0o755)


def bounded(local, tmp_path, **options):
    """Returns the same site, with bounds."""
    return replace(local, backend=create("local", {"folder": str(tmp_path / "local"), **options}))


def devices(tmp_path, batch_id: str, index: int) -> str:
    return when(tmp_path / "local" / f"{batch_id}.{index}" / "output", "\n").strip()


SAY_GPUS = "#!/bin/sh\necho ${CUDA_VISIBLE_DEVICES-none}\nexec sleep 60\n"


def test_a_host_that_is_full_takes_no_more_until_one_has_ended(local, make_request, tmp_path):
    local = bounded(local, tmp_path, cpus=4, memory="4GiB")
    request = make_request(script=SLEEP, cpus=2, memory_mib=1000)
    local.submit(request)
    local.submit(request)
    refused = local.run(local.backend.submission(request))
    assert refused.returncode == 1
    text = "that would be 6 of 4 cpus"
    assert local.backend.refusal(1, refused.stderr) == Refusal(text, is_limit=True, is_size=True)
    (first, _) = local.jobs_when(lambda jobs: {job.state for job in jobs} == {JobState.RUNNING})
    local.run(local.backend.removal([first.batch_id]))
    local.jobs_when(lambda jobs: len(jobs) == 1)
    local.submit(request)
    assert len(local.jobs()) == 2


@pytest.mark.parametrize(
    ("options", "asked", "text"),
    [
        ({"cpus": 1}, {}, "2 cpus each, 1 here"),
        ({"cpus": 9, "memory": "2GiB"}, {}, "4096 MiB of memory each, 2048 here"),
        ({"cpus": 9, "memory": "8GiB", "gpus": ("0",)}, {"gpus": 2}, "2 GPUs each, 1 here"),
    ],
)
def test_a_glidein_that_larger_than_the_host_is_refused_for_good(local, make_request, tmp_path, options, asked, text):
    local = bounded(local, tmp_path, **options)
    backend = local.backend
    done = local.run(backend.submission(make_request(**asked)))
    assert backend.refusal(done.returncode, done.stderr) == Refusal(text, is_limit=False)
    assert local.jobs() == []


def test_each_glidein_gets_gpus_of_its_own(local, make_request, tmp_path):
    local = bounded(local, tmp_path, cpus=99, memory="1TiB", gpus=("0", "3", "GPU-7f"))
    first = local.submit(make_request(script=SAY_GPUS, count=2, gpus=1))
    second = local.submit(make_request(script=SAY_GPUS, gpus=1))
    found = [devices(tmp_path, first, 0), devices(tmp_path, first, 1), devices(tmp_path, second, 0)]
    assert found == ["0", "3", "GPU-7f"]
    full = local.run(local.backend.submission(make_request(gpus=1)))
    assert local.backend.refusal(1, full.stderr) == Refusal("1 GPUs asked for, 0 free", is_limit=True, is_size=True)
    local.run(local.backend.removal([f"{first}.1"]))
    local.jobs_when(lambda jobs: len(jobs) == 2)
    assert devices(tmp_path, local.submit(make_request(script=SAY_GPUS, gpus=1)), 0) == "3"
    assert devices(tmp_path, local.submit(make_request(script=SAY_GPUS)), 0) == "none"


def test_a_gpu_on_which_somebody_computes_is_left_alone(local, make_request, tmp_path):
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.write_text("#!/bin/sh\nprintf '0, 20000, 24576\\n1, 4, 24576\\n2, 3000, 24576\\n'\n")
    smi.chmod(0o755)
    local = bounded(local, tmp_path, cpus=99, memory="1TiB")
    assert devices(tmp_path, local.submit(make_request(script=SAY_GPUS, gpus=1)), 0) == "1"
    assert local.run(local.backend.submission(make_request(gpus=1))).returncode == 1


@pytest.mark.parametrize("options", [{"memory": "64G"}, {"memory": "lots"}])
def test_memory_without_a_unit_of_ours_is_refused(local, make_request, tmp_path, options):
    with pytest.raises(ConfigError, match="memory"):
        bounded(local, tmp_path, **options).backend.submission(make_request())
