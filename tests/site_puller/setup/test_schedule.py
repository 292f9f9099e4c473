"""`glidepost puller schedule`: what it prints is run here as cron, systemd and Slurm would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepost.schema.errors import ConfigError
from glidepost.site_puller.setup import schedule
from glidepost.site_puller.setup.cli import own_command
from glidepost.site_puller.setup.cli import schedule as schedule_command

CONFIG = """
[site]
name = "north"
key = "site.key"
[pool]
url = "https://bucket.example.org"
public_key = "{key}"
[shapes.cpu]
backend = "{backend}"
cpus = 1
memory = "2GiB"
disk = "2GiB"
walltime = "1h"
"""


@pytest.fixture
def make_start(make_config, tmp_path):
    """Makes a start of a command that writes down how it was called."""

    def make(*, every_s: int = 300, folder: Path = tmp_path, environment=None, **changes) -> schedule.Start:
        folder.mkdir(exist_ok=True)
        config = make_config(state=folder / "state", **changes)
        config.state.mkdir(exist_ok=True)
        command = folder / "glidepost"
        command.write_text(
            '#!/bin/sh\nprintf "%s\\n" "$@" >"$(dirname "$0")/called"\nenv >"$(dirname "$0")/env"\necho error >&2\n'
        )
        command.chmod(0o755)
        return schedule.start(config, folder / "puller.toml", command, environment or {}, every_s=every_s)

    return make


def as_cron_does(line: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Runs a crontab line: five fields, then a command in which a % ends it unless a backslash stands before."""
    command = re.split(r"(?<!\\)%", line.rstrip("\n").split(" ", 5)[5])[0].replace("\\%", "%")
    environment = {"HOME": str(home), "LOGNAME": "x", "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"}
    words = [f"{name}={value}" for name, value in environment.items()]
    waited = re.sub(r"^sleep \d+", "sleep 0", command)
    return subprocess.run(
        ["env", "-i", *words, "/bin/sh", "-c", waited], capture_output=True, text=True, check=False, cwd="/"
    )


def test_crons_line_works_in_crons_environment_and_mails_nothing(make_start, tmp_path):
    done = as_cron_does(schedule.cron(make_start()), tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "called").read_text().split() == [
        "-q",
        "puller",
        "run",
        "--config",
        str(tmp_path / "puller.toml"),
    ]
    assert (tmp_path / "state" / "cron.stderr").read_text() == "error\n"


@pytest.mark.parametrize("name", ["two words", "50%", "it's", "a$HOME", "é"])
def test_crons_line_works_for_any_folder(make_start, tmp_path, name):
    folder = tmp_path / name
    done = as_cron_does(schedule.cron(make_start(folder=folder)), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "called").read_text().splitlines()[4] == f"{folder}/puller.toml"


def test_the_batch_system_is_found_from_cron_too(make_start, tmp_path):
    start = make_start(environment={"SLURM_CONF": "/x y/slurm.conf", "SLURM_JOB_ID": "7", "SLURM_JWT": "eyJsecret"})
    line = schedule.cron(schedule.with_path(start, ("/opt/slurm/bin", "/usr/bin", "/opt/slurm/bin")))
    as_cron_does(line, tmp_path)
    seen = dict(item.split("=", 1) for item in (tmp_path / "env").read_text().splitlines())
    assert seen["PATH"] == "/opt/slurm/bin:/usr/bin:/bin"
    assert seen["SLURM_CONF"] == "/x y/slurm.conf"
    assert "SLURM_JOB_ID" not in seen
    assert "eyJ" not in line


def test_another_state_folder_is_named(make_start, tmp_path):
    start = schedule.with_state(make_start(), tmp_path / "elsewhere")
    assert start.argv[-2:] == ("--state", str(tmp_path / "elsewhere"))


@given(
    st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=32), st.sampled_from([60, 300, 1800, 3600])
)
def test_the_offset_is_within_the_interval_and_the_same_for_ever(name, every_s):
    def offset() -> schedule.Start:
        config = _Named(name)
        return schedule.Start(config, Path("/x"), Path("/y"), {}, every_s)  # type: ignore[arg-type]

    start = offset()
    assert 0 <= start.offset_s < every_s
    assert start.offset_s % 60 < 50
    assert offset().offset_s == start.offset_s
    assert 0 <= int(start.minutes.split("-")[0]) < max(1, every_s // 60)


class _Named:
    def __init__(self, site: str) -> None:
        self.site = site


def test_sites_are_spread_over_the_interval(make_start):
    start = make_start()
    offsets = {replace(start, config=replace(start.config, site=f"site{number}")).offset_s for number in range(100)}
    assert len(offsets) > 60
    assert len({offset // 60 for offset in offsets}) == 5


def test_an_hour_is_one_minute_field(make_start):
    assert re.fullmatch(r"\d+", make_start(every_s=3600).minutes)


@pytest.mark.parametrize("every_s", [30, 90, 420, 7200, 0])
def test_an_interval_that_cron_cannot_say_is_refused(make_start, every_s):
    with pytest.raises(ConfigError, match="cron cannot say that"):
        make_start(every_s=every_s)


# systemd


@pytest.fixture
def units(tmp_path):
    """Runs what is printed with a systemctl that does nothing; returns the folder of the units."""

    def install(text: str) -> Path:
        tools = tmp_path / "tools"
        tools.mkdir(exist_ok=True)
        for name in ("systemctl", "loginctl"):
            (tools / name).write_text(f'#!/bin/sh\necho {name} "$@" >>{tmp_path}/systemd-calls\n')
            (tools / name).chmod(0o755)
        environment = {"HOME": str(tmp_path / "home"), "PATH": f"{tools}:/usr/bin:/bin"}
        subprocess.run(["/bin/sh"], input=text, text=True, env=environment, check=True)
        return tmp_path / "home/.config/systemd/user"

    return install


def test_the_script_installs_service_and_timer(make_start, units, tmp_path):
    start = make_start(folder=tmp_path / "two words 50% $x", environment={"SLURM_CONF": "/a b"})
    folder = units(schedule.systemd(start))
    service = (folder / "glidepost-north.service").read_text()
    timer = (folder / "glidepost-north.timer").read_text()
    assert 'Environment="SLURM_CONF=/a b"' in service
    assert "two words 50%% $$x/glidepost" in service
    assert "RandomizedDelaySec" not in timer
    assert "Persistent=true" in timer
    calls = (tmp_path / "systemd-calls").read_text()
    assert "enable --now glidepost-north.timer" in calls
    assert "loginctl enable-linger" in calls


@pytest.mark.parametrize(("backend", "is_there"), [("local", True), ("slurm", False)])
def test_processes_of_this_host_outlive_the_service(make_start, make_shape, backend, is_there):
    text = schedule.systemd(make_start(shapes=(make_shape(backend=backend),)))
    assert ("KillMode=process" in text) == is_there


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
@pytest.mark.parametrize("every_s", [60, 300, 3600])
def test_systemd_takes_the_units(make_start, make_shape, units, tmp_path, every_s):
    start = make_start(folder=tmp_path / "two words", every_s=every_s, shapes=(make_shape(backend="local"),))
    folder = units(schedule.systemd(start))
    files = [str(path) for path in folder.iterdir()]
    (tmp_path / "run").mkdir()
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path / "run"), "HOME": str(tmp_path / "home")}
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", *files],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


# scrontab


def test_scrontabs_lines_are_options_and_one_entry(make_start, make_shape):
    text = schedule.scrontab(make_start(shapes=(make_shape(backend="slurm", options={"account": "phys"}),)))
    *options, entry = text.splitlines()
    assert all(line.startswith("#SCRON --") for line in options)
    assert "#SCRON --account=phys" in options
    assert re.match(r"\d-59/5 \* \* \* \* /", entry)


def test_scrontab_is_refused_where_glideins_would_end_with_it(make_start, make_shape):
    with pytest.raises(ConfigError, match="processes"):
        schedule.scrontab(make_start(shapes=(make_shape(backend="local"),)))


# The command


@pytest.fixture
def config(tmp_path, pool_key, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "puller.toml"
    file.write_text(CONFIG.format(key=pool_key.public, backend="slurm"))
    return file


@pytest.mark.parametrize("kind", ["cron", "systemd", "scrontab"])
def test_the_command_names_itself_and_the_configuration_by_absolute_paths(config, kind, capsys):
    schedule_command.main([f"--{kind}", "--config", "puller.toml", "--every", "10m"], standalone_mode=False)
    said = capsys.readouterr()
    assert f"{own_command()} -q puller run --config {config}" in said.out
    assert own_command().is_absolute()
    assert said.err


def test_the_line_that_the_command_prints_runs(config, capsys, tmp_path):
    (tmp_path / "state").mkdir()
    schedule_command.main(["--cron", "--config", str(config)], standalone_mode=False)
    done = as_cron_does(capsys.readouterr().out, tmp_path)
    assert (done.stdout, done.stderr) == ("", "")
    assert done.returncode == 2, "there is no key"
    assert "site.key" in (tmp_path / "state" / "cron.stderr").read_text()
