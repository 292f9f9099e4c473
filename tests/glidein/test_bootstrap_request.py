"""What a glidein refuses, before anything of HTCondor runs."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import os
import shutil
import tarfile
import threading
from pathlib import Path

import pytest

RAN = "touch $MADE/ran"
PATH = "/usr/local/bin:/usr/bin:/bin"
DOWNLOADERS = [tool for tool in ("curl", "wget", "python3") if shutil.which(tool, path=PATH)]


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("NAME", "", "GLIDEPOST_NAME is missing"),
        ("NAME", None, "GLIDEPOST_NAME is missing"),
        ("NAME", "../../etc", "GLIDEPOST_NAME may only hold"),
        ("NAME", "sixteen-letters-", "more than 15 characters"),
        ("SITE", 'a"b', "GLIDEPOST_SITE may only hold"),
        ("COLLECTORS", "cm.example.org", "has no port"),
        ("COLLECTORS", "cm.example.org:96x", "is not host:port"),
        ("COLLECTORS", "$(touch /tmp/x):1", "GLIDEPOST_COLLECTORS may only hold"),
        ("CPUS", "0", "GLIDEPOST_CPUS must be at least 1"),
        ("CPUS", "two", "GLIDEPOST_CPUS is not a whole number"),
        ("CPUS", "010", "GLIDEPOST_CPUS is not a whole number"),
        ("MEMORY_MIB", "99999999999", "GLIDEPOST_MEMORY_MIB is not a whole number"),
        ("GPUS", "-1", "GLIDEPOST_GPUS is not a whole number"),
        ("RETIRE_S", "3600", "GLIDEPOST_RETIRE_S=3600 leaves nothing"),
        ("TOKEN_FILE", "token", "GLIDEPOST_TOKEN_FILE is not an absolute path"),
        ("TOKEN_FILE", "", "GLIDEPOST_TOKEN_FILE is missing"),
        ("SCRATCH", "scratch", "GLIDEPOST_SCRATCH is not an absolute path"),
        ("START", "true\nALLOW_WRITE = *", "GLIDEPOST_START must be one line"),
        ("START", "true\\", "GLIDEPOST_START must be one line"),
        ("NETWORK_INTERFACE", "a b", "GLIDEPOST_NETWORK_INTERFACE may only hold"),
        ("CVMFS", "a.example.org/../x", "GLIDEPOST_CVMFS may only hold"),
        ("TARBALLS", "", "GLIDEPOST_TARBALLS is missing"),
        ("TARBALLS", "any x86_64 25.0.1", "a line is not six words"),
        ("TARBALLS", f"any x86_64 25.0.1 {'g' * 64} 1 file:///x", "is not a sha256"),
        ("TARBALLS", f"any x86_64 25.0.1 {'a' * 63} 1 file:///x", "is not a sha256"),
        ("TARBALLS", f"any x86_64 25.0.1 {'a' * 64} x file:///x", "is not a size"),
        ("TARBALLS", f"any x86_64 25.0.1 {'a' * 64} 1 ftp://x/y", "is not a https, http or file URL"),
    ],
)
def test_a_malformed_request_is_refused_with_a_clear_line(dash_node, variable, value, complaint):
    ended = dash_node.run(dash_node.line(dash_node.pack(RAN)), **{variable: value})
    assert (ended.code, ended.outcome) == (2, "bad-request")
    assert complaint in ended.output
    assert complaint in ended.detail
    assert not (dash_node.made / "ran").exists()


def test_every_problem_of_a_request_is_told_under_every_shell(node):
    ended = node.run(node.line(node.pack(RAN)), CPUS="x", SITE=None, START="a\tb")
    assert ended.code == 2
    assert ended.output.count("glidein: bad request: ") == 3


def test_a_glidein_does_not_run_as_root(node):
    fake = node.folder / "bin"
    fake.mkdir()
    (fake / "id").write_text("#!/bin/sh\necho 0\n")
    (fake / "id").chmod(0o755)
    node.env["PATH"] = f"{fake}:/usr/bin:/bin"
    ended = node.run_master(RAN)
    assert (ended.code, ended.outcome) == (2, "bad-request")
    assert "root" in ended.detail
    assert not (node.made / "ran").exists()


@pytest.mark.parametrize("content", [None, "", "\n", "not a token", "a.b", "x.y.z;id"])
def test_a_missing_empty_or_senseless_token_file_ends_the_glidein(dash_node, content):
    if content is None:
        dash_node.token.unlink()
    else:
        dash_node.token.write_text(content)
    ended = dash_node.run_master(RAN)
    assert (ended.code, ended.outcome) == (1, "token-unreadable")
    assert str(dash_node.token) in ended.detail
    assert not (dash_node.made / "ran").exists()


def test_a_tarball_with_a_wrong_hash_is_not_unpacked(node):
    manifest = node.pack(RAN)
    ended = node.run(node.line(manifest, sha256="0" * 64))
    assert (ended.code, ended.outcome) == (1, "tarball-untrusted")
    assert manifest.sha256 in ended.detail
    assert not (node.made / "ran").exists()


@pytest.fixture
def no_sleep(node_folder: Path) -> str:
    """A PATH on which pauses between tries take no time."""
    folder = node_folder / "nosleep"
    folder.mkdir()
    shutil.copy("/bin/true", folder / "sleep")
    return f"{folder}:/usr/bin:/bin"


def test_a_tarball_of_a_wrong_size_is_fetched_again_and_then_refused(node, no_sleep):
    node.env["PATH"] = no_sleep
    manifest = node.pack(RAN)
    ended = node.run(node.line(manifest, size=manifest.size_bytes + 1))
    assert (ended.code, ended.outcome) == (1, "tarball-untrusted")
    assert ended.output.count("bytes where the demand says") == 4
    assert not (node.made / "ran").exists()


def test_a_tarball_that_is_not_there_is_tried_three_times(node, no_sleep):
    node.env["PATH"] = no_sleep
    ended = node.run(node.line(node.pack(RAN), url="http://127.0.0.1:1/glidein.tar.gz"))
    assert (ended.code, ended.outcome) == (1, "tarball-unavailable")
    assert ended.output.count("http://127.0.0.1:1/glidein.tar.gz: ") == 4


def test_a_node_that_no_tarball_is_for_says_what_it_is(node):
    ended = node.run(node.line(node.pack(RAN), os="plan9"))
    assert (ended.code, ended.outcome) == (1, "tarball-unavailable")
    assert "no tarball for" in ended.detail
    ended = node.run(node.line(node.pack(RAN), arch="vax"))
    assert [record["outcome"] for record in ended.records] == ["tarball-unavailable"] * 2


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "glidein/../../evil", "other/file"])
def test_a_tarball_that_reaches_outside_of_its_folder_is_not_unpacked(dash_node, name):
    path = dash_node.folder / "glidein.tar.gz"
    manifest = dash_node.pack(RAN)
    with tarfile.open(path, "w:gz") as tar:
        tar.add(dash_node.folder / "condor_master", "glidein/sbin/condor_master")
        tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    data = path.read_bytes()
    line = dash_node.line(manifest, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    ended = dash_node.run(line)
    assert (ended.code, ended.outcome) == (1, "tarball-untrusted")
    assert name in ended.detail
    assert not (dash_node.made / "ran").exists()


def test_a_tarball_in_the_cache_is_used_and_needs_no_url(node):
    manifest = node.pack(RAN)
    cached = node.folder / "cache" / "below" / f"{manifest.sha256}.tar.gz"
    node.run(node.line(manifest), CACHE=str(cached.parent))
    assert cached.read_bytes() == (node.folder / "glidein.tar.gz").read_bytes()
    assert [path.name for path in cached.parent.iterdir()] == [cached.name]
    (node.made / "ran").unlink()
    node.run(node.line(manifest, url="http://127.0.0.1:1/gone"), CACHE=str(cached.parent))
    assert (node.made / "ran").exists()


def test_a_broken_tarball_in_the_cache_is_replaced(node):
    manifest = node.pack(RAN)
    cached = node.folder / "cache" / f"{manifest.sha256}.tar.gz"
    cached.write_bytes(b"x" * manifest.size_bytes)
    ended = node.run(node.line(manifest), CACHE=str(cached.parent))
    assert (node.made / "ran").exists()
    assert "taking another" in ended.output
    assert cached.read_bytes() == (node.folder / "glidein.tar.gz").read_bytes()


def test_a_cache_that_cannot_be_written_does_no_harm(node):
    ended = node.run_master(RAN)
    cache = node.folder / "readonly"
    cache.mkdir(mode=0o555)
    ended = node.run(node.line(node.pack(RAN)), CACHE=str(cache) if os.geteuid() == 0 else "/proc/none")
    assert (node.made / "ran").exists()
    assert "could not put the tarball into the cache" in ended.output


@pytest.mark.parametrize("tool", DOWNLOADERS)
def test_each_tool_downloads_over_http(node, tool, node_folder):
    """PATH holds one of the tools only, so this calls the function rather than the script, which extends the PATH."""
    node.pack(RAN)
    folder = node_folder / "onetool"
    folder.mkdir()
    for name in (tool, "timeout"):
        (folder / name).symlink_to(shutil.which(name, path=PATH) or f"/no/{name}")
    handler = functools.partial(Quiet, directory=str(node_folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        said = node.call(
            f"PATH={folder} size=100000\ndownload {url}/glidein.tar.gz got && echo came\n"
            f"download {url}/nothing none || {{ echo failed; PATH={PATH}; grep . download.log | tail -n 1; }}"
        )
        server.shutdown()
    assert said.splitlines()[:2] == ["came", "failed"], said
    assert "404" in said
    assert (node.made / "got").read_bytes() == (node_folder / "glidein.tar.gz").read_bytes()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


EXPANSIONS = [
    ("/tmp", "/tmp"),
    ("$LOCAL/x", "/local/x"),
    ("${LOCAL}x", "/localx"),
    ("~/x", "/home/me/x"),
    ("~", "/home/me"),
    ("/a/~b", "/a/~b"),
    ("/a/$(touch x)", "unset"),
    ("$1", "unset"),
    ("${LOCAL:-x}", "unset"),
    ("$NOTHING", "unset"),
    ("/a/`touch x`;b", "/a/`touch x`;b"),
    ("/a/*", "/a/*"),
    ("$EVIL", "$(touch x)"),
]


def test_only_variables_and_the_home_are_expanded(node):
    lines = "\n".join(f"expand '{text}' && printf '%s\\n' \"${{value}}\" || echo unset" for text, _ in EXPANSIONS)
    said = node.call(lines, LOCAL="/local", HOME="/home/me", EVIL="$(touch x)").splitlines()
    assert said == [value for _, value in EXPANSIONS]
    assert not (node.made / "x").exists()


def test_a_scratch_whose_variable_is_not_set_on_the_node_is_an_outcome(node):
    ended = node.run_master(RAN, SCRATCH="$LSCRATCH/x")
    assert (ended.code, ended.outcome) == (1, "no-scratch")
    assert "$LSCRATCH/x" in ended.detail


def test_a_scratch_that_cannot_be_written_is_an_outcome(node):
    ended = node.run_master(RAN, SCRATCH="/proc")
    assert (ended.code, ended.outcome) == (1, "no-scratch")


def test_a_scratch_of_the_site_is_made_where_it_is_not_there(node):
    node.run_master("echo $SCRATCH >$MADE/scratch", SCRATCH=f"{node.made}/user/12")
    assert (node.made / "scratch").read_text().startswith(f"{node.made}/user/12/glidepost-gp-north-1-")


def test_without_a_scratch_setting_the_batch_systems_own_is_taken(node):
    node.env["TMPDIR"] = str(node.scratch)
    node.run_master("echo $SCRATCH >$MADE/scratch", SCRATCH="")
    assert (node.made / "scratch").read_text().startswith(f"{node.scratch}/glidepost-gp-north-1-")


def test_the_os_of_a_node_is_one_word(node):
    releases = {
        'ID=debian\nVERSION_ID="12"\n': "debian12",
        "NAME='Rocky Linux'\nID=\"rocky\"\nVERSION_ID='9.4'\n": "el9",
        "ID=rhel\nVERSION_ID=8.10": "el8",
        "ID=ubuntu\nVERSION_ID=22.04\nX=$(touch x)\n": "ubuntu22",
        "ID=arch\n": "arch",
    }
    for release, word in releases.items():
        (node.made / "os-release").write_text(release)
        assert node.call('os_word os-release; echo "${word}"').strip() == word
    assert node.call('os_word nowhere; echo "<${word}>"').strip() == "<>"
    assert not (node.made / "x").exists()


def test_the_tarball_for_this_os_goes_before_the_one_for_any(node):
    lines = "any x86_64 1 a\nel9 x86_64 2 b\nel9 x86_64 3 c\nany aarch64 4 d\nel8 x86_64 5 e"
    for word, arch, chosen in [
        ("el9", "x86_64", "2 b"),
        ("debian12", "x86_64", "1 a"),
        ("el9", "aarch64", "4 d"),
        ("el9", "ppc64le", "none"),
    ]:
        said = node.call(f'choose_tarball {word} {arch} && echo "${{tarball}}" || echo none', GLIDEPOST_TARBALLS=lines)
        assert said.strip() == chosen
