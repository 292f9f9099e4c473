from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from glidepost.infra.demo import ports
from glidepost.infra.demo.ports import hold_free_port, hold_port, is_free


@pytest.fixture(autouse=True)
def _forget(monkeypatch):
    held = {}
    monkeypatch.setattr(ports, "_HELD", held)
    yield
    for sock in held.values():
        sock.close()


def listening(port, *, reuse=True):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
    try:
        sock.bind(("127.0.0.1", port))
        sock.listen()
    except OSError:
        sock.close()
        raise
    return sock


def test_a_server_listens_at_a_port_that_is_held_and_starts_again_there():
    port = hold_free_port()
    for _ in range(2):
        assert is_free(port)
        with listening(port):
            assert not is_free(port)
            with socket.create_connection(("127.0.0.1", port)):
                pass


def test_a_port_that_is_held_is_kept_from_another_process():
    port = hold_free_port()
    assert hold_port(port), "it is ours"
    code = f"from glidepost.infra.demo.ports import hold_port; print(hold_port({port}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_port_of_a_server_is_not_ours():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        assert not hold_port(sock.getsockname()[1])


def test_all_that_are_asked_for_are_held(monkeypatch):
    first = hold_free_port(*range(1, 10))
    for sock in ports._HELD.values():
        sock.close()
    ports._HELD.clear()
    with listening(first + 1):
        monkeypatch.setattr(ports.random, "sample", lambda *_, **__: [first, first + 2, first + 3, first + 5])
        assert hold_free_port(1, 2) == first + 2
        assert set(ports._HELD) == {first + 2, first + 3, first + 4}
        assert hold_free_port(1) == first + 5
        with pytest.raises(OSError, match="no port"):
            hold_free_port(1)
