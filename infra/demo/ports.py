"""Ports of 127.0.0.1 for daemons, which nobody else gets between our choice and their start, or while they start again.

There are hosts where an outgoing connection may be given any port from 1024 on. A socket that is bound but does not
listen keeps a port from them, and from whoever asks for any port; a server that sets SO_REUSEADDR, as all of ours do,
can listen there all the same (Linux).
"""

from __future__ import annotations

import random
import socket

_HELD: dict[int, socket.socket] = {}  # by port, as long as this process lives


def hold_port(port: int) -> bool:
    """Keeps a port for a daemon of ours; returns False if somebody else has it, even for a connection just ended."""
    if port in _HELD:
        return True
    sock = socket.socket()
    try:
        sock.bind(("127.0.0.1", port))
    except OSError:
        sock.close()
        return False
    # (only now, or two processes could keep the same one)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _HELD[port] = sock
    return True


def hold_free_port(*offsets: int) -> int:
    """Returns a port which is kept for a daemon of ours, as are those that are so much higher.

    It lies below the ports of outgoing connections (32768 on, by default), as does one that is 10,000 higher.
    """
    for port in random.sample(range(12_000, 22_000), k=1000):
        wanted = {port, *(port + offset for offset in offsets)}
        if wanted & _HELD.keys():
            continue
        if all(hold_port(one) for one in wanted):
            return port
        for one in wanted & _HELD.keys():
            _HELD.pop(one).close()
    raise OSError("no port of 127.0.0.1 is free")


def is_free(port: int) -> bool:
    """Returns whether nothing listens at a port of 127.0.0.1."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
