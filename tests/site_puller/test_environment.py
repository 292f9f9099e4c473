"""The installed command in the environments that cron, scrontab, modules and login shells leave to it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

# How `puller schedule` starts it: -E, and without what the loader and Pythons among the batch commands would listen to.
CLEAN = ("LD_LIBRARY_PATH=", "LD_PRELOAD=", "PYTHONPATH=", "PYTHONHOME=")
PROGRAM = Path(sys.executable).with_name("glidepost")
FAKES = Path(__file__).parents[1] / "fakes" / "bin"

CONFIG = """
[site]
name = "north"
key = "site.key"
state = "{state}"
[pool]
url = "{url}"
public_key = "{key}"
[shapes.cpu]
backend = "slurm"
cpus = 1
memory = "2GiB"
disk = "2GiB"
walltime = "1h"
max_total = 3
"""

# What modules, outer batch jobs and login shells set.
POISON = {
    "SLURM_JOB_ID": "4711",
    "SLURM_CPUS_PER_TASK": "64",
    "SLURM_CLUSTERS": "other",
    "SBATCH_PARTITION": "hidden",
    "SBATCH_ACCOUNT": "somebody",
    "SQUEUE_STATES": "completed",
    "SQUEUE_USERS": "root",
    "SQUEUE_FORMAT": "%i",
    "PYTHONPATH": "{poison}",
    "PYTHONSTARTUP": "{poison}/requests.py",
    "PYTHONIOENCODING": "ascii:strict",
    "PYTHONWARNINGS": "error",
    "PYTHONOPTIMIZE": "2",
    "REQUESTS_CA_BUNDLE": "/nonexistent/ca.pem",
    "CURL_CA_BUNDLE": "/nonexistent/ca.pem",
    "SSL_CERT_FILE": "/nonexistent/ca.pem",
    "NETRC": "{poison}/netrc",
    "LANG": "C",
    "LC_ALL": "C",
    "TERM": "dumb",
    "COLUMNS": "1",
    "TMPDIR": "/nonexistent",
    "IFS": "/",
    "CONDOR_CONFIG": "/nonexistent",
}


@pytest.fixture
def now() -> datetime:
    """Here the command looks at the clock by itself."""
    return datetime.now(timezone.utc).replace(microsecond=0)


@pytest.fixture
def poison(tmp_path) -> Path:
    """Modules that end whoever imports them."""
    folder = tmp_path / "poison"
    folder.mkdir()
    for name in ("requests", "schema", "click", "logging", "json", "site_puller", "sitecustomize", "usercustomize"):
        (folder / f"{name}.py").write_text(f"raise SystemExit('poisoned {name}')\n", encoding="utf-8")
    (folder / "netrc").write_text("default login me password secret\n", encoding="utf-8")
    return folder


@pytest.fixture
def glidepost(tmp_path, web, pool_key, site_key, poison):
    """Runs the command as schedules start it: glidepost("plan", LANG="C") has these variables and PATH, no others.

    `shell` is the line around it.
    """
    site_key.save(tmp_path / "site.key")
    config = CONFIG.format(url=web.url, key=pool_key.public, state=tmp_path / "state")
    (tmp_path / "puller.toml").write_text(config, encoding="utf-8")

    def run(*words: str, shell: str = "{command}", **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{FAKES}:/usr/bin:/bin",
            "GLIDEPOST_FAKE_STATE": str(tmp_path / "slurm.json"),
            **{name: value.format(poison=poison) for name, value in variables.items()},
        }
        argv = [sys.executable, "-E", str(PROGRAM), "puller", *words, "--config", str(tmp_path / "puller.toml")]
        command = ["/bin/sh", "-c", shell.format(command=f"{' '.join(CLEAN)} {shlex.join(argv)}")]
        return subprocess.run(
            command,
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
            start_new_session=True,  # no terminal
        )

    return run


@pytest.fixture
def submitted(tmp_path):
    """What the fake Slurm holds."""

    def read() -> list[dict[str, object]]:
        file = tmp_path / "slurm.json"
        return json.loads(file.read_text(encoding="utf-8"))["jobs"] if file.exists() else []

    return read


def test_next_to_nothing_is_enough(glidepost, publish, make_group, submitted):
    publish(make_group(2))
    done = glidepost("run")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(submitted()) == 2


def test_poison_does_not_matter(glidepost, publish, make_group, submitted, web):
    publish(make_group(2))
    assert glidepost("plan", **POISON).returncode == 0
    done = glidepost("run", **POISON)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "satisfied" in done.stdout.replace("\n", "")
    jobs = submitted()
    assert len(jobs) == 2
    assert {job["partition"] for job in jobs} == {"main"}
    assert all(job["environment"] == [] for job in jobs)
    assert web.last_heartbeat().shapes[0].submitted == 2
    again = glidepost("run", **POISON)  # and the queue is seen: nothing is submitted twice
    assert (again.returncode, len(submitted())) == (0, 2)


@pytest.mark.parametrize("name", ["PYTHONPATH", "PYTHONHOME"])
def test_the_program_alone_would_listen_to_what_pythons_listen_to(glidepost, publish, poison, name):
    """This is why schedules name the interpreter and -E too."""
    publish()
    assert glidepost("plan", **{name: str(poison)}).returncode == 0
    bare = subprocess.run([PROGRAM, "puller", "--help"], env={name: str(poison)}, capture_output=True, check=False)
    assert bare.returncode != 0


def test_what_the_loader_would_listen_to_reaches_neither_us_nor_batch_commands(glidepost, publish, tmp_path):
    """It acts before Python does, so that only the line that starts Python can take it away."""
    publish()
    folder = tmp_path / "lib"
    folder.mkdir()
    for name in ("libssl.so.3", "libcrypto.so.3", "libz.so.1", "libffi.so.8", "libstdc++.so.6"):
        (folder / name).write_bytes(b"")
    done = glidepost("plan", shell=f"export LD_LIBRARY_PATH={folder} LD_PRELOAD=/nonexistent.so; {{command}}")
    assert (done.returncode, done.stderr) == (0, "")
    assert glidepost("plan", LD_LIBRARY_PATH="/nonexistent").returncode == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_channels_do_not_matter(glidepost, publish, make_group, submitted, closed, tmp_path):
    publish(make_group(2))
    done = glidepost("run", shell=f"{{command}} {closed}")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert len(submitted()) == 2
    assert (
        tmp_path / "state" / "lock"
    ).read_bytes() == b""  # nothing was written into a file that took a channel's place


def test_a_full_channel_does_not_undo_what_was_done(glidepost, publish, make_group, submitted):
    publish(make_group(2))
    glidepost("run", shell="{command} >/dev/full")
    assert len(submitted()) == 2
    assert glidepost("run").returncode == 0
    assert len(submitted()) == 2


def test_a_home_that_cannot_be_written_is_left_alone(glidepost, publish, make_group, submitted, tmp_path):
    """/proc cannot be written by anybody, root included."""
    publish(make_group(2))
    done = glidepost("run", HOME="/proc", XDG_CONFIG_HOME="/proc", XDG_CACHE_HOME="/proc")
    assert (done.returncode, done.stderr, len(submitted())) == (0, "", 2)
    assert sorted(item.name for item in tmp_path.iterdir()) == [
        *("poison", "puller.toml", "site.key", "slurm.json", "slurm.lock", "state")
    ]


def test_the_state_may_be_elsewhere_than_the_configuration_says(glidepost, publish, make_group, submitted, tmp_path):
    publish(make_group(2))
    config = tmp_path / "puller.toml"
    text = config.read_text(encoding="utf-8").replace(str(tmp_path / "state"), "/proc/state")
    config.write_text(text, encoding="utf-8")
    refused = glidepost("run")
    assert refused.returncode == 2
    assert "/proc/state" in refused.stderr
    assert submitted() == []
    done = glidepost("run", "--state", str(tmp_path / "elsewhere"))
    assert (done.returncode, len(submitted())) == (0, 2)
    assert (tmp_path / "elsewhere" / "ledger.json").exists()


def test_names_that_are_no_ascii_are_shown_or_replaced_and_end_nothing(glidepost, publish, web, tmp_path):
    publish()
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/st\xffte-\xc3\xa9"))
    done = glidepost("run", "--state", str(folder), LANG="C", LC_ALL="C")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert len(web.posts) == 1
