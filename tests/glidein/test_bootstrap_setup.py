"""What a site's setup lines, `keep`, `environment` and `proxy` do to the glidein, and what user jobs see of them."""

from __future__ import annotations

import functools
import http.server
import signal
import threading
import time

import pytest

JOINED = "echo '01/01/26 00:00:00 CCBListener: registered with CCB server x' >>$SCRATCH/log/StartLog"
SHOW = "env >$MADE/env; cp $CONDOR_CONFIG $MADE"
RAN = "touch $MADE/ran"
OWN = {"CONDOR_CONFIG", "TMPDIR", "PATH", "LANG"}


def seen_by_condor(node) -> dict[str, str]:
    lines = (node.made / "env").read_text().splitlines()
    return {
        name: value
        for name, value in (line.split("=", 1) for line in lines)
        if name not in OWN | {"PWD", "_", "OLDPWD", "SHLVL"}
    }


def seen_by_user_jobs(node) -> str:
    """Returns what is between the quotes of STARTER_JOB_ENVIRONMENT."""
    lines = (node.made / "condor_config").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("STARTER_JOB_ENVIRONMENT = ")]
    return line.partition(" = ")[2][1:-1].strip()


def test_without_a_word_of_the_site_user_jobs_see_nothing(node):
    node.env.update(SECRET="x", LD_LIBRARY_PATH="/x")
    node.run_master(SHOW)
    assert seen_by_condor(node) == {}
    assert seen_by_user_jobs(node) == ""


def test_what_the_site_keeps_and_sets_is_seen_by_htcondor_and_user_jobs(node):
    node.env.update(KEPT='it\'s "here" $(x) ā é', SECRET="x", WHERE="/data")
    ended = node.run_master(
        SHOW, KEEP="KEPT GONE", ENVIRONMENT="A=$WHERE/x y\nB=${NOWHERE}/x\nHOME_OF=~\nE=\nC=it's", HOME="x"
    )
    assert seen_by_condor(node) == {"KEPT": 'it\'s "here" $(x) ā é', "A": "/data/x y", "E": "", "C": "it's"}
    expected = """KEPT='it''s ""here"" $(DOLLAR)(x) ā é' A='/data/x y' E='' C='it''s'"""
    assert seen_by_user_jobs(node) == expected
    assert "GONE cannot be kept: it is not set" in ended.output
    assert "B is left out of the environment: a variable of its text is not set" in ended.output
    assert "HOME_OF is left out" in ended.output


def test_the_sites_environment_goes_before_what_it_keeps(dash_node):
    dash_node.env.update(A="batch", http_proxy="http://batch:1")
    dash_node.run_master(SHOW, KEEP="A", ENVIRONMENT="A=site", PROXY="http://site:1")
    assert seen_by_condor(dash_node)["A"] == "site"
    assert seen_by_condor(dash_node)["http_proxy"] == "http://site:1"


def test_libraries_and_programs_of_the_site_are_for_user_jobs_and_not_for_htcondor(node):
    node.env.update(LD_LIBRARY_PATH="/opt/lib", LC_ALL="de_DE")
    node.run_master(SHOW, KEEP="LD_LIBRARY_PATH LC_ALL PATH")
    assert seen_by_condor(node) == {"LC_ALL": "de_DE"}
    assert seen_by_user_jobs(node) == "LD_LIBRARY_PATH='/opt/lib' LC_ALL='de_DE' PATH='/usr/bin:/bin'"


@pytest.mark.parametrize("value", ["a\nGLIDEIN_Site = 1", "a\tb", "a\x1bb"])
def test_a_value_that_is_no_line_of_text_is_left_out(node, value):
    node.env["KEPT"] = value
    ended = node.run_master(SHOW, KEEP="KEPT")
    assert seen_by_user_jobs(node) == ""
    assert "KEPT is left out of the environment" in ended.output


def test_setup_lines_see_what_a_batch_script_would_and_export_what_they_find(node):
    node.env.update(LD_LIBRARY_PATH="/batch/lib", LC_ALL="C.UTF-8", HOME="/home/me")
    lines = (
        'export LD_LIBRARY_PATH="/cuda/lib:$LD_LIBRARY_PATH"\n'
        f'echo "$LC_ALL $PATH $(umask) $HOME" >{node.made}/saw\n'
        "if true; then\n  export FOUND='a  b'\nfi\n"
        "cat\n"  # standard input is not the script
        "cd /; umask 0; set -f; trap - TERM; scratch=/ glidein=x; finish() { :; }; export child=1\n"
        "no-such-command\n"
        "false"
    )
    ended = node.run_master(SHOW, SETUP=lines, KEEP="LD_LIBRARY_PATH FOUND")
    assert seen_by_condor(node) == {"FOUND": "a  b"}
    assert seen_by_user_jobs(node) == "LD_LIBRARY_PATH='/cuda/lib:/batch/lib' FOUND='a  b'"
    saw = (node.made / "saw").read_text()
    assert saw.startswith("C.UTF-8 ")
    assert saw.endswith(" 0022 /home/me\n")
    assert "no-such-command" in ended.output
    assert ended.outcome == "never-joined", "this condor_master just ends"


def test_a_site_may_use_module_in_its_setup_lines(node):
    """As bash hands down a function, which is how batch systems do."""
    node.env["BASH_FUNC_module%%"] = "() {  export LOADED=$2\n}"
    node.run_master(SHOW, SETUP="module load cuda || export LOADED=none", KEEP="LOADED")
    # dash and busybox do not hand it on; at a site with modules /etc/profile would bring it
    expected = "cuda" if node.shell == ["bash"] else "none"
    assert seen_by_condor(node) == {"LOADED": expected}


@pytest.mark.parametrize(
    ("lines", "status"),
    [("exit 3", "3"), ("exit 0", "0"), ("set -e\nfalse\nexit 0", "1"), ("echo 'unfinished", ""), ("exec true", "0")],
)
def test_a_setup_that_exits_ends_the_glidein_with_a_word(node, lines, status):
    ended = node.run_master(RAN, SETUP=f"echo seen\n{lines}", FAIL_PAUSE_S="0")
    assert (ended.code, ended.outcome) == (1, "setup-failed")
    assert f"it ended with {status}" in ended.detail
    assert not (node.made / "ran").exists()


def test_what_setup_lines_print_is_in_the_log(dash_node):
    ended = dash_node.run_master(RAN, SETUP="echo to-the-log; echo and-this >&2")
    assert "to-the-log\n" in ended.output
    assert "and-this\n" in ended.output


def test_a_setup_that_hangs_ends_with_its_children(node):
    ended = node.run_master(RAN, SETUP="sleep 77 & sleep 77", SETUP_S="1", FAIL_PAUSE_S="0")
    assert (ended.code, ended.outcome) == (1, "setup-failed")
    assert "took longer than 1 s" in ended.detail


def test_a_kill_during_the_setup_is_heard_at_once(node):
    script = node.script(node.line(node.pack(RAN)), {"SETUP": f"touch {node.made}/ready; sleep 77"})
    process = node.start(script)
    while not (node.made / "ready").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    ended = node.end(process)
    assert time.monotonic() - started < 60
    assert (ended.code, ended.outcome) == (0, "killed")


def test_the_proxy_is_used_for_the_download_and_told_to_user_jobs(node, node_folder):
    manifest = node.pack(SHOW)
    handler = functools.partial(Proxy, directory=str(node_folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        proxy = f"http://127.0.0.1:{server.server_port}"
        node.run(node.line(manifest, url="http://pool.example.org/glidein.tar.gz"), PROXY=proxy)
        server.shutdown()
    names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    assert seen_by_condor(node) == dict.fromkeys(names, proxy)
    assert seen_by_user_jobs(node) == " ".join(f"{name}='{proxy}'" for name in names)


class Proxy(http.server.SimpleHTTPRequestHandler):
    """Serves a folder under whatever host name it is asked for."""

    def do_GET(self) -> None:
        self.path = self.path.removeprefix("http://pool.example.org")
        super().do_GET()

    def log_message(self, *args: object) -> None:
        pass


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("KEEP", "A,B", "GLIDEPOST_KEEP may only hold"),
        ("ENVIRONMENT", "A=1\nB", "'B' is not NAME=text"),
        ("ENVIRONMENT", "2A=1", "'2A=1' is not NAME=text"),
        ("ENVIRONMENT", "A-B=1", "'A-B=1' is not NAME=text"),
        ("ENVIRONMENT", "=1", "'=1' is not NAME=text"),
        ("PROXY", "squid:3128", "GLIDEPOST_PROXY is not a http URL"),
        ("CHECKS", "../x", "GLIDEPOST_CHECKS may only hold"),
        ("FAIL_PAUSE_S", "soon", "GLIDEPOST_FAIL_PAUSE_S is not a whole number"),
        ("CHECK_S", "0", "GLIDEPOST_CHECK_S must be at least 1"),
    ],
)
def test_a_malformed_wish_is_refused(dash_node, variable, value, complaint):
    ended = dash_node.run_master(RAN, **{variable: value})
    assert (ended.code, ended.outcome) == (2, "bad-request")
    assert complaint in ended.detail
    assert not (dash_node.made / "ran").exists()
