"""The cache of tarballs, which glideins of a node share."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import Server, serve

RAN = "touch $MADE/ran"
PATH = "/usr/local/bin:/usr/bin:/bin"


@pytest.fixture
def server(node_folder: Path) -> Iterator[Server]:
    with serve(Server(node_folder)) as served:
        yield served


def run_many(node, count: int, script: str) -> list[str]:
    """Runs so many glideins at once, and returns what they said."""
    path = node.folder / "one-script"
    path.write_text(script)
    argv, env = [*node.account.prefix, *node.shell, str(path)], {"PATH": PATH}
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    processes = [subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, cwd="/", **pipe) for _ in range(count)]
    return [process.communicate(timeout=120)[0] for process in processes]


@pytest.mark.parametrize("lock", ["flock", "folder"])
def test_glideins_that_start_together_download_once(node, server, lock):
    server.slow_s = 1
    line = node.line(node.pack("echo x >>$MADE/ran"), url=f"{server.url}/glidein.tar.gz")
    script = node.script(line, {"CACHE": str(node.folder / "cache")})
    if lock == "folder":  # as on a node without flock
        script = script.replace("command -v flock", "command -v no-flock-here")
    outputs = run_many(node, 6, script)
    assert (node.made / "ran").read_text() == "x\n" * 6, outputs
    assert len(server.asked) == 1, outputs
    assert [path.suffix for path in (node.folder / "cache").iterdir()] == [".gz"]


def test_those_who_waited_for_one_that_failed_try_themselves(node, server):
    server.slow_s, server.wrong = 1, 1
    line = node.line(node.pack("echo x >>$MADE/ran"), url=f"{server.url}/glidein.tar.gz")
    outputs = run_many(node, 4, node.script(line, {"CACHE": str(node.folder / "cache")}))
    assert (node.made / "ran").read_text() == "x\n" * 3, outputs
    assert len(server.asked) == 2, outputs


LOCKING = (
    "cached={cache}/x.tar.gz held='' host=h; CACHE_WAIT_S=1; {more}\nlock_cache; echo \"held ${{held}}\"; unlock_cache"
)


def test_nobody_waits_for_ever_for_another_glidein(node):
    cache = node.folder / "cache"
    hold = f"exec 8>{cache}/x.tar.gz.lock; flock 8"
    said = node.call(LOCKING.format(cache=cache, more=hold))
    assert "not waiting any longer" in said
    assert "held \n" in said


@pytest.mark.parametrize("owner", ["node-9 pid:[1] 1", "$(uname -n) $(readlink /proc/$$/ns/pid) 999999999", ""])
def test_a_lock_that_a_killed_glidein_left_is_removed(node, owner):
    cache = node.folder / "cache"
    more = f'lock=x; mkdir {cache}/x.tar.gz.lock.d; [ -z "{owner}" ] || echo "{owner}" >{cache}/x.tar.gz.lock.d/owner'
    said = node.call(
        "flock() { return 69; }; command() { [ $2 != flock ]; }\n" + LOCKING.format(cache=cache, more=more)
    )
    assert "left over from" in said
    assert "held folder" in said
    assert list(cache.iterdir()) == []


def test_where_flock_does_not_work_a_folder_locks(node):
    tools = node.made / "tools"
    node.account.make_folder(tools)
    (tools / "flock").write_text("#!/bin/sh\nexit 69\n")
    (tools / "flock").chmod(0o755)
    said = node.call(f"PATH={tools}:$PATH\n" + LOCKING.format(cache=node.folder / "cache", more=""), PATH=PATH)
    assert "held folder" in said
    assert list((node.folder / "cache").iterdir()) == []


def test_a_cache_where_nothing_can_be_written_is_not_locked(node):
    said = node.call(LOCKING.format(cache="/proc/none", more=""))
    assert said.strip() == "held"


@pytest.mark.parametrize("kind", ["named pipe", "folder", "link to nowhere"])
def test_what_is_no_file_in_the_cache_is_passed_over(node, kind):
    manifest = node.pack(RAN)
    cached = node.folder / "cache" / f"{manifest.sha256}.tar.gz"
    make = {"named pipe": "mkfifo", "folder": "mkdir", "link to nowhere": "ln -s /nowhere"}[kind]
    node.account.run([*make.split(), str(cached)], env={"PATH": PATH}, cwd=Path("/"), timeout_s=10)
    ended = node.run(node.line(manifest), CACHE=str(cached.parent))
    assert (node.made / "ran").exists(), ended.output


def test_a_cache_that_does_not_answer_is_done_without(node):
    node.pack(RAN)
    lines = (
        'timeout() { return 137; }; say() { echo "$*"; }; sha256=x size=1; GLIDEPOST_CACHE=/hung; find_cache\n'
        'take_from_cache || echo "none<${cached}>"; lock_cache; echo "<${held}>"; put_into_cache'
    )
    assert node.call(lines).splitlines() == ["the cache /hung does not answer: going on without", "none<>", "<>"]


def test_a_cache_that_this_node_cannot_name_is_done_without(node):
    ended = node.run(node.line(node.pack(RAN)), CACHE="$NOWHERE/cache")
    assert (node.made / "ran").exists()
    assert "no cache: a variable of $NOWHERE/cache is not set on this node" in ended.output


def test_what_killed_glideins_left_in_the_cache_is_removed(node):
    manifest = node.pack(RAN)
    cached = node.folder / "cache" / f"{manifest.sha256}.tar.gz"
    leftover, other = Path(f"{cached}.gp-north-1-7.part"), cached.with_name("other.tar.gz.gp-1.part")
    for path in (leftover, other):
        path.write_bytes(b"half")
    node.run(node.line(manifest), CACHE=str(cached.parent))
    assert sorted(path.name for path in cached.parent.iterdir()) == sorted((cached.name, other.name))
