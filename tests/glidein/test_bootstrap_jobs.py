"""How user jobs are started: the wrapper, the wall before the token, images.

Here Apptainer is a few lines of sh that run the command on the node; tests/real/test_glidein_jobs.py has the real one.
"""

from __future__ import annotations

import hashlib
import shlex
import signal
from pathlib import Path
from typing import Any, Optional

import pytest

CONFIG = "cp $CONDOR_CONFIG $MADE; "
# Runs a user job as HTCondor would: what it prints goes to `job`, its code to `code`, what the wrapper says to `said`.
JOB = (
    "mkdir $SCRATCH/tmp/job; cd $SCRATCH/tmp/job; "
    "env -i PATH=$PATH MINE='its own' _CONDOR_WRAPPER_ERROR_FILE=$MADE/said "
    "$SCRATCH/wrapper {} >$MADE/job 2>$MADE/err; echo $? >$MADE/code"
)
APPTAINER = r"""#!/bin/sh
echo "$*" >>"${0%/*}/calls"
case $1 in --version) echo "apptainer version 1.4.5"; exit ;; esac
env >"${0%/*}/environment"
while [ $# -gt 0 ]; do
  case $1 in
    --pwd | -B) shift ;;
    -* | exec) ;;
    *) break ;;
  esac
  shift
done
[ -e "$1" ] || { echo "no image $1" >&2; exit 255; }
root=$1 program=$2
shift 2
case $program in /exit_37) exec "$root$program" "$@" ;; esac
if [ "$program" = cat ]; then exec cat "$root/$1"; fi
exec "$program" "$@"
"""


def job(node: Any, command: str, replace: Optional[tuple[str, str]] = None, **request: str) -> list[str]:
    """Returns the lines that a user job prints."""
    script = node.script(node.line(node.pack(CONFIG + JOB.format(command))), request)
    if replace:
        assert replace[0] in script
        script = script.replace(*replace)
    node.end(node.start(script), 60)
    return (node.made / "job").read_text().splitlines()


def apptainer(node: Any, body: str = APPTAINER) -> Path:
    folder = node.account.make_folder(node.folder / "apptainer")
    (folder / "apptainer").write_text(body)
    (folder / "apptainer").chmod(0o755)
    return folder / "apptainer"


def image(node: Any, content: str = "image") -> Path:
    path = node.folder / "user.sif"
    path.write_text(content)
    return path


def config(node: Any) -> str:
    return (node.made / "condor_config").read_text()


def test_a_user_job_gets_its_arguments_and_environment_as_they_are(node: Any) -> None:
    show = """'printf "%s|" "$MINE" "$@"; id -u; env | cut -d= -f1 | tr "\\n" " "'"""
    first, *rest = job(node, f"""/bin/sh -c {show} - "a  b" "" '$x' "it's" '*'""")
    assert first == f"its own|a  b||$x|it's|*|{node.account.uid}"
    assert set(rest[0].split()) <= {"MINE", "OLDPWD", "PATH", "PWD", "SHLVL", "_"}
    assert not (node.made / "said").exists()


def run(node: Any, *shells: str, before: str = "", around: str = "") -> list[tuple[int, str]]:
    """Returns how user jobs ended whose wrappers run in each of the shells, and what they printed."""
    # (a shell makes what it starts beside itself deaf to two signals, and HTCondor does not)
    command = f"{around} env --default-signal=INT,QUIT {shlex.join(node.shell)} $SCRATCH/wrapper /bin/sh -c"
    jobs = [
        f"(echo typed | {command} {shlex.quote(shell)} >$MADE/job-{at} 2>$MADE/err-{at}; echo $? >$MADE/code-{at}) &"
        for at, shell in enumerate(shells)
    ]
    node.run_master("\n".join([before, *jobs, "wait"]))
    return [
        (int((node.made / f"code-{at}").read_text()), (node.made / f"job-{at}").read_text())
        for at in range(len(shells))
    ]


# (by a signal or by a code of 128 and more: the real HTCondor says in tests/real/test_glidein_jobs.py)
def test_a_user_job_ends_as_it_would_without_the_wrapper(node: Any) -> None:
    codes = [0, 1, 42, 127, 128, 143, 147, 150, 255]
    killed = [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV]
    shells = [f"exit {code}" for code in codes] + [f"ulimit -c 0; kill -{int(number)} $$" for number in killed]
    assert [code for code, _ in run(node, *shells)] == [*codes, *(128 + number for number in killed)]


def test_a_user_job_reads_its_input(node: Any) -> None:
    assert run(node, "cat") == [(0, "typed\n")]


def test_a_user_job_is_not_deaf(node: Any) -> None:
    killed = [signal.SIGINT, signal.SIGQUIT]
    shells = [f"ulimit -c 0; kill -{int(number)} $$; echo deaf" for number in killed]
    assert run(node, *shells) == [(128 + number, "") for number in killed]


def test_a_user_job_hears_of_its_end(node: Any) -> None:
    names = ["TERM", "INT", "USR1"]
    shells = [
        f'trap "echo heard; exit 7" {name}; echo $$ >{node.made}/pid-{name}; sleep 20 & wait $!' for name in names
    ]
    tell = [
        f"(while [ ! -s $MADE/pid-{name} ]; do sleep 0.1; done; sleep 0.2\n"
        f"read -r pid name state parent rest </proc/$(cat $MADE/pid-{name})/stat; kill -s {name} $parent) &"
        for name in names
    ]
    assert run(node, *shells, before="\n".join(tell)) == [(7, "heard\n")] * 3


def test_htcondor_hears_of_no_end_while_the_glidein_leaves(node: Any) -> None:
    shells = ["exit 0", "exit 1", "exit 143", "kill -s TERM $$"]
    ended = run(node, *shells, before=": >$SCRATCH/leaving", around="timeout -s KILL 4")
    assert [code for code, _ in ended] == [137] * 4


def test_the_token_is_behind_a_wall(node: Any) -> None:
    neighbour = node.account.make_folder(node.scratch / "glidepost-neighbour")
    tokens = node.account.make_folder(neighbour / "tokens.d")
    (tokens / "pool").write_text("eyJ-the-neighbours")
    node.account.give(tokens / "pool", 0o600)
    command = f"/bin/sh -c 'cat ../../tokens.d/* ../../keys.d/* $0 $1/*; echo done' {node.token} {tokens}"
    master = f"{CONFIG}{JOB.format(command)}; rm -r {neighbour}; cat $SCRATCH/tokens.d/pool >$MADE/outside"
    node.run_master(master)
    assert (node.made / "job").read_text() == "done\n"
    assert "eyJ" not in (node.made / "err").read_text()
    assert "eyJ" in (node.made / "outside").read_text()
    assert "\nGLIDEPOST_TokenHidden = true\n" in config(node)


def test_the_pullers_state_folder_is_hidden_so_that_a_renewed_token_is_too(node: Any) -> None:
    state = node.account.make_folder(node.folder / "state")
    outcomes = node.account.make_folder(state / "outcomes")
    node.token.rename(state / "token")
    command = f"/bin/sh -c 'touch $MADE/ready; sleep 2; ls -A {state}; cat {state}/token; echo done'".replace(
        "$MADE", str(node.made)
    )
    master = (
        f"{CONFIG}(while [ ! -e $MADE/ready ]; do sleep 0.1; done; cp -p {state}/token {state}/new; "
        f"mv {state}/new {state}/token) & {JOB.format(command)}"
    )
    ended = node.run_master(master, TOKEN_FILE=str(state / "token"), OUTCOMES=str(outcomes))
    assert ended.code == 1
    assert (node.made / "job").read_text() == "done\n"


@pytest.mark.parametrize("place", ["", "state"])
def test_the_log_form_is_behind_the_wall_too(node: Any, place: str) -> None:
    state = node.account.make_folder(node.folder / "state")
    form = (state if place else node.folder) / "log-form"
    form.write_text("url=http://127.0.0.1:1/\npolicy=p0l1cy\n")
    node.account.give(form, 0o600)
    if place:
        node.token.rename(state / "token")
    token = state / "token" if place else node.token
    outcomes = node.account.make_folder(state / "outcomes")
    # what curl would read is made while user jobs run
    command = f"/bin/sh -c 'cat {form} ../../keys.d/* ../../form.conf; echo done'"
    master = f"{CONFIG}echo p0l1cy >$SCRATCH/keys.d/form.conf; {JOB.format(command)}"
    node.run_master(master, TOKEN_FILE=str(token), OUTCOMES=str(outcomes), LOGS="failed", LOG_FORM=str(form))
    assert (node.made / "job").read_text() == "done\n"
    assert "\nGLIDEPOST_TokenHidden = true\n" in config(node)


def test_without_namespaces_user_jobs_run_all_the_same(node: Any) -> None:
    lines = job(node, "/bin/echo ran", ("inside_for 20 unshare -rm", "inside_for 20 false"))
    assert lines == ["ran"]
    assert "\nGLIDEPOST_TokenHidden = false\n" in config(node)


def test_the_sites_lines_come_first_and_do_not_disturb(node: Any) -> None:
    setup = "export MINE=\"the site's\"\necho noise\ncd /\nset -- x\nset -ef\nMINE2='a b'; export MINE2\nfalse || true"
    lines = job(node, """/bin/sh -c 'echo "$MINE $MINE2 $1"; basename $PWD' - own""", JOB_SETUP=setup)
    assert lines == ["the site's a b own", "job"]
    assert (node.made / "err").read_text() == "noise\n"


@pytest.mark.parametrize("setup", ["exit 0", "set -e\nfalse", "nosuch() { exit 3; }\nnosuch"])
def test_lines_that_leave_are_no_failure_of_the_user_job(node: Any, setup: str) -> None:
    assert job(node, "/bin/echo ran", ("  sleep 20\n", ""), JOB_SETUP=setup) == []
    assert (node.made / "said").read_text() == "glidein: a line of job_setup called exit, or is no shell\n"


def test_a_missing_program_is_no_failure_of_the_user_job(node: Any) -> None:
    assert job(node, "/nonexistent/program", ("  sleep 20\n", "")) == []
    assert (node.made / "said").read_text() == "glidein: cannot execute /nonexistent/program\n"


def test_lines_that_are_no_shell_end_the_glidein(node: Any) -> None:
    ended = node.run_master("touch $MADE/ran", JOB_SETUP="if true", FAIL_PAUSE_S="0")
    assert (ended.outcome, "job_setup is no shell" in ended.detail) == ("setup-failed", True)
    assert not (node.made / "ran").exists()


def test_apptainer_is_tried_before_it_is_advertised(node: Any) -> None:
    program = apptainer(node)
    node.run_master(CONFIG, APPTAINER=str(program))
    assert "\nHAS_SINGULARITY = true\n" in config(node)
    assert f"\nSINGULARITY = {node.scratch}/glidepost-" in config(node)
    assert "/exit_37" in (program.parent / "calls").read_text()
    # what it keeps for itself stays in scratch
    environment = dict(line.split("=", 1) for line in (program.parent / "environment").read_text().splitlines())
    assert environment["APPTAINER_CACHEDIR"].startswith(f"{node.scratch}/")
    assert environment["APPTAINER_CONFIGDIR"].startswith(f"{node.scratch}/")


@pytest.mark.parametrize(
    "body", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\n[ $1 = --version ] && echo 1.4.5\n", "not a program"]
)
def test_an_apptainer_that_does_not_work_is_not_advertised(node: Any, body: str) -> None:
    ended = node.run_master(CONFIG, APPTAINER=str(apptainer(node, body)))
    assert "containers: none" in ended.output
    assert "HAS_SINGULARITY" not in config(node)
    assert "\nSINGULARITY =\n" in config(node)


def test_an_image_for_user_jobs_without_a_way_to_run_it_ends_the_glidein(node: Any) -> None:
    ended = node.run_master("", APPTAINER="/nonexistent/apptainer", USER_IMAGE="/images/a.sif", FAIL_PAUSE_S="0")
    assert ended.outcome == "check-failed:apptainer"


def test_binds_and_images_reach_htcondor_as_expressions(node: Any) -> None:
    node.env["DATA"] = "/data"
    request = {
        "APPTAINER": str(apptainer(node)),
        "BINDS": "$DATA\n/a:/b:ro\n$NOWHERE/x\n",
        "USER_IMAGE": "docker://a.example.org/b:1",
    }
    ended = node.run_master(CONFIG, **request)
    assert '\nSINGULARITY_BIND_EXPR = "/data /a:/b:ro"\n' in config(node)
    assert 'undefined, "docker://a.example.org/b:1"))\n' in config(node)
    assert "the bind $NOWHERE/x is left out" in ended.output


@pytest.mark.parametrize("bind", ['/a"', "/a b", "relative", "/a,/b", "/a$(LOG)", "/a\\"])
def test_a_bind_that_would_say_something_else_to_htcondor_is_refused(dash_node: Any, bind: str) -> None:
    ended = dash_node.run_master("", BINDS=bind)
    assert ended.outcome == "bad-request" or "is left out" in ended.output


def test_a_pinned_image_is_looked_at(node: Any) -> None:
    path = image(node)
    good = hashlib.sha256(b"image").hexdigest()
    request = {"APPTAINER": str(apptainer(node)), "FAIL_PAUSE_S": "0"}
    node.run_master(CONFIG, USER_IMAGE=f"{path}@sha256:{good}", **request)
    assert f'undefined, "{path}"))\n' in config(node)


@pytest.mark.parametrize("name", ["USER_IMAGE", "GLIDEIN_IMAGE"])
@pytest.mark.parametrize("pin", [f"@sha256:{'0' * 64}", "@sha256:"])
def test_another_image_than_the_pinned_one_ends_the_glidein(dash_node: Any, name: str, pin: str) -> None:
    node = dash_node
    request = {"APPTAINER": str(apptainer(node)), "FAIL_PAUSE_S": "0", name: f"{image(node)}{pin}"}
    ended = node.run_master("touch $MADE/ran", **request)
    assert ended.outcome == "check-failed:image"
    assert "has sha256" in ended.detail
    assert not (node.made / "ran").exists()


def test_a_pin_in_an_address_is_left_to_apptainer(dash_node: Any) -> None:
    address = f"docker://a.example.org/b@sha256:{'0' * 64}"
    dash_node.run_master(CONFIG, APPTAINER=str(apptainer(dash_node)), USER_IMAGE=address)
    assert f'undefined, "{address}"))\n' in config(dash_node)


def test_the_tarball_fits_the_image_that_htcondor_runs_in(node: Any) -> None:
    root = node.folder / "image"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "os-release").write_text("ID=almalinux\nVERSION_ID=9.4\n")
    program = apptainer(node)
    manifest = node.pack(f"{CONFIG}touch $MADE/inside")
    lines = node.line(manifest, os="el9") + "\n" + node.line(manifest, url="file:///nonexistent")
    ended = node.run(lines, APPTAINER=str(program), GLIDEIN_IMAGE=str(root), FAIL_PAUSE_S="0")
    assert (node.made / "inside").exists(), ended.output
    last = (program.parent / "calls").read_text().splitlines()[-1]
    assert last.startswith("-s exec --contain --no-home --pwd")
    assert "condor_master" in last


def test_an_image_that_cannot_be_run_ends_the_glidein(dash_node: Any) -> None:
    request = {"APPTAINER": str(apptainer(dash_node)), "GLIDEIN_IMAGE": "/nonexistent/a.sif", "FAIL_PAUSE_S": "0"}
    ended = dash_node.run_master("", **request)
    assert (ended.outcome, "no image" in ended.detail) == ("check-failed:image", True)
