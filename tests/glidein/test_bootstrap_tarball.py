"""Which tarball a node takes, from where, how often, and what it refuses to unpack."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import socket
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import Server, serve
from shells import busybox

RAN = "touch $MADE/ran"
PATH = "/usr/local/bin:/usr/bin:/bin"
SHA = "ab" * 32


@pytest.fixture
def server(node_folder: Path) -> Iterator[Server]:
    with serve(Server(node_folder)) as served:
        yield served


@pytest.fixture
def no_sleep(node_folder: Path) -> str:
    """A PATH on which pauses between tries take no time."""
    folder = node_folder / "nosleep"
    folder.mkdir()
    shutil.copy("/bin/true", folder / "sleep")
    return f"{folder}:/usr/bin:/bin"


@pytest.fixture
def dead_proxy() -> Iterator[str]:
    """An address that nobody listens at."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


# --- which


def chosen(node, libc: str, lines: str, os: str = "el9", arch: str = "x86_64") -> str:
    functions = f"getconf() {{ {libc}; }}; ldd() {{ echo 'musl libc (x86_64)' >&2; false; }}"
    return node.call(
        f'{functions}; choose_tarball {os} {arch} && echo "${{tarball%% *}}" || echo "none${{unfit}}"',
        GLIDEPOST_TARBALLS=lines,
    ).strip()


def line_of(version: str, *more: object, os: str = "any", arch: str = "x86_64") -> str:
    return " ".join(map(str, (os, arch, version, SHA, 9, "https://x.example.org/t", *more)))


@pytest.mark.parametrize(
    ("libc", "version"),
    [
        ("echo glibc 2.39", "new"),
        ("echo glibc 2.34", "new"),
        ("echo glibc 2.28", "old"),
        ("echo glibc 2.9", "none; this node has glibc 2.9, and its tarballs need 2.34 or 2.17"),
        ("echo glibc 3.0", "new"),
        ("false", "none; this node has musl, and HTCondor needs glibc"),
    ],
)
def test_the_first_tarball_that_the_nodes_glibc_is_new_enough_for_is_taken(node, libc, version):
    assert chosen(node, libc, line_of("new", "2.34", 100) + "\n" + line_of("old", "2.17")) == version


@pytest.mark.parametrize(
    ("said", "libc"),
    [
        ("ldd (Debian GLIBC 2.36-9+deb12u4) 2.36\nCopyright (C) 2022 Free Software Foundation", "2.36"),
        ("ldd (GNU libc) 2.17\nCopyright", "2.17"),
        ("ldd (Ubuntu GLIBC 2.39-0ubuntu8) 2.39", "2.39"),
        ("musl libc (x86_64)\nVersion 1.2.4\nDynamic Program Loader", "musl"),
        ("/bin/sh: ldd: not found", ""),
    ],
)
def test_the_c_library_is_known_from_ldd_where_getconf_is_missing(node, said, libc):
    lines = "getconf() { return 127; }; ls() { false; }"
    assert node.call(f"{lines}; ldd() {{ echo '{said}'; }}; find_libc; echo \"${{libc}}\"").strip() == libc


def test_a_node_whose_c_library_nobody_knows_is_given_a_chance(node):
    lines = "getconf() { false; }; ldd() { false; }; ls() { false; }; "
    said = node.call(
        lines + 'choose_tarball el9 x86_64 && echo "${tarball%% *}"', GLIDEPOST_TARBALLS=line_of("1", 2.34)
    )
    assert said.strip() == "1"


def test_a_musl_node_may_have_a_tarball_of_its_own(node):
    lines = line_of("1") + "\n" + line_of("2", os="alpine3")
    assert chosen(node, "false", lines, os="alpine3") == "2"
    assert chosen(node, "false", lines, os="void") == "none; this node has musl, and HTCondor needs glibc"


def test_what_stands_behind_else_is_for_nodes_that_nothing_before_fits(node):
    lines = "\n".join((line_of("canary", "2.34"), "else", line_of("stable", os="el9"), line_of("arm", arch="aarch64")))
    assert chosen(node, "echo glibc 2.34", lines) == "canary"
    assert chosen(node, "echo glibc 2.28", lines) == "stable"
    assert chosen(node, "echo glibc 2.34", lines, arch="aarch64") == "arm"
    assert chosen(node, "echo glibc 2.34", lines, arch="arm64") == "arm"
    assert chosen(node, "echo glibc 2.34", lines, arch="ppc64le") == "none"


def test_a_node_that_is_too_old_says_what_it_has(node):
    ended = node.run(node.line(node.pack(RAN)) + " 9.99 100")
    assert (ended.code, ended.outcome) == (1, "tarball-unavailable")
    assert "and its tarballs need 9.99" in ended.detail
    assert "no tarball for" in ended.detail


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ("2.34 100 x", "with up to two more"),
        ("two", "is not a version of glibc"),
        ("2.34;x", "is not a version of glibc"),
        ("- 1e9", "is not a size"),
        ("2.34 0", "is not a size"),
        ("\nelse more", "is not six words"),
    ],
)
def test_a_malformed_line_is_refused(dash_node, more, complaint):
    ended = dash_node.run(f"{dash_node.line(dash_node.pack(RAN))} {more}")
    assert (ended.code, ended.outcome) == (2, "bad-request")
    assert complaint in ended.output


@pytest.mark.parametrize("more", [" -", " - 20000", " 2.2 20000", "\nelse\nany vax 1 " + SHA + " 9 file:///x"])
def test_a_line_may_say_more(dash_node, more):
    dash_node.run(dash_node.line(dash_node.pack(RAN)) + more)
    assert (dash_node.made / "ran").exists()


# --- from where, how often


def test_what_stopped_halfway_is_fetched_again(node, server, no_sleep):
    node.env["PATH"] = no_sleep
    server.cut = 2
    ended = node.run(node.line(node.pack(RAN), url=f"{server.url}/glidein.tar.gz"))
    assert (node.made / "ran").exists(), ended.output
    assert len(server.asked) == 3


def test_a_dead_proxy_is_gone_around(node, server, dead_proxy, no_sleep):
    node.env["PATH"] = no_sleep
    ended = node.run(node.line(node.pack(RAN), url=f"{server.url}/glidein.tar.gz"), PROXY=dead_proxy)
    assert (node.made / "ran").exists(), ended.output
    assert "through the proxy" in ended.output
    assert server.asked == ["/glidein.tar.gz"]


def test_a_proxy_that_gives_something_else_is_gone_around(node, server, node_folder):
    with serve(Server(node_folder, wrong=9)) as proxy:
        manifest = node.pack(RAN)
        ended = node.run(node.line(manifest, url=f"{server.url}/glidein.tar.gz"), PROXY=proxy.url)
    assert (node.made / "ran").exists(), ended.output
    assert "has sha256" in ended.output
    assert len(proxy.asked) == 1


def test_a_store_that_gives_something_else_is_not_asked_again(node, server):
    server.wrong = 9
    ended = node.run(node.line(node.pack(RAN), url=f"{server.url}/glidein.tar.gz"))
    assert (ended.code, ended.outcome) == (1, "tarball-untrusted")
    assert len(server.asked) == 1
    assert not (node.made / "ran").exists()


def test_both_ways_are_in_the_detail_when_neither_works(dash_node, dead_proxy, no_sleep):
    dash_node.env["PATH"] = no_sleep
    ended = dash_node.run(dash_node.line(dash_node.pack(RAN), url="http://127.0.0.1:1/x"), PROXY=dead_proxy)
    assert (ended.code, ended.outcome) == (1, "tarball-unavailable")
    assert ended.detail.startswith("through the proxy http://127.0.0.1:1/x: ")
    assert "; direct http://127.0.0.1:1/x: " in ended.detail


def tool_path(folder: Path, *tools: str) -> str:
    path = folder / "tools"
    path.mkdir()
    for tool in tools:
        name, _, program = tool.partition("=")
        found = busybox() if program == "busybox" else shutil.which(name, path=PATH)
        assert found, tool
        (path / name).symlink_to(found)
    return str(path)


@pytest.mark.parametrize("tool", ["curl", "wget", "python3", "wget=busybox"])
@pytest.mark.parametrize("way", ["", "direct"])
def test_each_tool_goes_through_the_proxy_or_around_it(node, server, node_folder, tool, way):
    (node_folder / "x").write_text("hello")
    path = tool_path(node_folder, tool, "timeout")
    env = {"http_proxy": server.url, "https_proxy": server.url}
    said = node.call(f"PATH={path} size=5; download http://store.invalid/x got {way} && echo came", **env)
    assert said.strip() == ("" if way else "came")
    assert server.asked == ([] if way else ["http://store.invalid/x"])


@pytest.mark.parametrize("tool", ["curl", "wget", "python3", "wget=busybox"])
def test_no_tool_writes_much_more_than_it_is_to_fetch(node, server, node_folder, tool):
    (node_folder / "x").write_bytes(bytes(5_000_000))
    path = tool_path(node_folder, tool, "timeout")
    said = node.call(f"PATH={path} size=1000; download {server.url}/x got && echo came")
    assert "came" not in said
    got = node.made / "got"
    assert not got.exists() or got.stat().st_size < 300_000


def test_a_download_that_hangs_is_ended(node, server, node_folder):
    (node_folder / "x").write_bytes(bytes(1000))
    server.slow_s = 30
    started = time.monotonic()
    said = node.call(f"size=1000 left=1; download {server.url}/x got || echo failed")
    assert "failed" in said
    assert time.monotonic() - started < 25


# --- what is refused


def line_of_file(node, data: bytes, more: str = "") -> str:
    manifest = node.pack(RAN)
    (node.folder / "glidein.tar.gz").write_bytes(data)
    return node.line(manifest, sha256=hashlib.sha256(data).hexdigest(), size=len(data)) + more


def tar_with(node, *members: tarfile.TarInfo) -> bytes:
    node.pack(RAN)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(node.folder / "condor_master", "glidein/sbin/condor_master")
        for member in members:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    return buffer.getvalue()


def of_type(kind: bytes, name: str = "glidein/x", **more: object) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    for key, value in more.items():
        setattr(member, key, value)
    return member


STRANGE = {
    "symbolic link": of_type(tarfile.SYMTYPE, linkname="/etc"),
    "hard link": of_type(tarfile.LNKTYPE, linkname="glidein/sbin/condor_master"),
    "named pipe": of_type(tarfile.FIFOTYPE),
    "device": of_type(tarfile.CHRTYPE, devmajor=1, devminor=3),
    "hidden name": of_type(tarfile.REGTYPE, "glidein/.x"),
    "name with a space": of_type(tarfile.REGTYPE, "glidein/../x 1970-01-01 00:00 glidein/ok"),
    "name with a newline": of_type(tarfile.REGTYPE, "glidein/x\n-rwxr-xr-x 0/0 1 1970-01-01 00:00 glidein/ok"),
    "owner with a space": of_type(tarfile.REGTYPE, "glidein/x", uname="a 1 1970-01-01 00:00 glidein/ok"),
    "setuid": of_type(tarfile.REGTYPE, mode=0o4755),
}


def with_tar(script: str, tar: str) -> str:
    """Returns the script, which lists a tarball with this tar or with busybox's."""
    command = f"{busybox()} tar" if tar == "busybox" else tar
    return script.replace("| tar -tvf -", f"| {command} -tvf -")


# (busybox shows a newline as it is, so such a name may pass; it still lies within the folder)
CASES = [(tar, kind) for tar in ("tar", "busybox") for kind in STRANGE if (tar, kind[-7:]) != ("busybox", "newline")]


@pytest.mark.parametrize(("tar", "kind"), CASES)
def test_what_is_no_plain_file_is_not_unpacked(dash_node, tar, kind):
    script = dash_node.script(line_of_file(dash_node, tar_with(dash_node, STRANGE[kind])), {})
    ended = dash_node.end(dash_node.start(with_tar(script, tar)))
    assert (ended.code, ended.outcome) == (1, "tarball-untrusted")
    assert "is no plain file within glidein/" in ended.detail
    assert not (dash_node.made / "ran").exists()


@pytest.mark.parametrize("tar", ["tar", "busybox"])
def test_files_and_folders_are_unpacked(dash_node, tar):
    folder, file = (
        of_type(tarfile.DIRTYPE, "glidein/lib", mode=0o755),
        of_type(tarfile.REGTYPE, "glidein/lib/lib-x.so+1"),
    )
    script = dash_node.script(line_of_file(dash_node, tar_with(dash_node, folder, file)), {})
    ended = dash_node.end(dash_node.start(with_tar(script, tar)))
    assert (dash_node.made / "ran").exists(), ended.output


def test_what_unpacks_to_more_than_the_demand_says_is_not_unpacked(node):
    big = of_type(tarfile.REGTYPE, size=9_000_000)
    data = tar_with(node, big)
    ended = node.run(line_of_file(node, data, " - 10000"))
    assert (ended.code, ended.outcome) == (1, "tarball-untrusted")
    assert "it unpacks to more than" in ended.detail
    node.run(line_of_file(node, data, " - 9000100"))
    assert (node.made / "ran").exists()


def test_what_unpacks_to_much_more_than_its_size_is_not_unpacked(dash_node):
    data = tar_with(dash_node, of_type(tarfile.REGTYPE, size=80_000_000))
    ended = dash_node.run(line_of_file(dash_node, data))
    assert (ended.code, ended.outcome) == (1, "tarball-untrusted")


def test_a_file_with_holes_counts_as_what_it_unpacks_to(node):
    node.account.run(
        ["truncate", "-s", "3G", str(node.made / "holes")], env={"PATH": PATH}, cwd=Path("/"), timeout_s=10
    )
    node.pack(RAN)
    name = node.folder / "sparse.tar"
    node.account.give(node.folder / "condor_master", 0o755)
    transform = "s,.*/condor_master,glidein/sbin/condor_master,;s,.*/holes,glidein/holes,"
    sources = [str(node.folder / "condor_master"), str(node.made / "holes")]
    made = node.made / name.name
    argv = ["tar", "-cSPf", str(made), "--transform", transform, *sources]
    node.account.run(argv, env={"PATH": PATH}, cwd=Path("/"), timeout_s=60)
    ended = node.run(line_of_file(node, gzip.compress(made.read_bytes())))
    assert (ended.code, ended.outcome) == (1, "tarball-untrusted")
    assert "it unpacks to 3221225" in ended.detail


@pytest.mark.parametrize("data", [b"hello", gzip.compress(b"hello" * 999), b""])
def test_what_is_no_tarball_is_not_unpacked(dash_node, data):
    line = line_of_file(dash_node, data or b"x")
    ended = dash_node.run(line)
    assert (ended.code, ended.outcome) == (1, "tarball-untrusted")
    assert "it is no gzipped tar file" in ended.detail
