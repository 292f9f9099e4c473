"""An HTTP server for downloads, which counts and misbehaves."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Server:
    """An HTTP server that counts, and may be slow or stop halfway; as a proxy it answers for any host."""

    folder: Path
    url: str = ""
    asked: list[str] = field(default_factory=list)
    slow_s: float = 0
    cut: int = 0  # of how many answers only a half is sent
    wrong: int = 0  # how many answers are of the right length only


def handler(server: Server) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            server.asked.append(self.path)
            time.sleep(server.slow_s)
            body = (server.folder / self.path.rpartition("/")[2]).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if server.cut:
                server.cut -= 1
                body = body[: len(body) // 2]
            elif server.wrong:
                server.wrong -= 1
                body = bytes(len(body))
            self.wfile.write(body)

    return Handler


@contextmanager
def serve(served: Server) -> Iterator[Server]:
    """Serves on the loopback until the end of the `with`."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(served)) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        served.url = f"http://127.0.0.1:{running.server_port}"
        yield served
        running.shutdown()
