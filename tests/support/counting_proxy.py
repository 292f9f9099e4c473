"""A server on 127.0.0.1 that passes every request on to another one, and remembers what was asked."""

from __future__ import annotations

import http.client
import ssl
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Optional

# What belongs to one connection, not to the message.
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "proxy-connection"})


@dataclass(frozen=True)
class Asked:
    """One request: GET, PUT, POST, DELETE, HEAD, or LIST, which S3 knows as a GET of the bucket."""

    method: str
    key: str
    status: int


@dataclass
class Proxy:
    """Where it listens, and what was asked since it was last cleared."""

    url: str
    asked: list[Asked] = field(default_factory=list)

    def writes(self) -> int:
        """Returns how many requests S3 bills as writes: PUT, POST and LIST."""
        return sum(item.method in {"PUT", "POST", "LIST"} for item in self.asked)

    def reads(self) -> int:
        """Returns how many S3 bills as reads."""
        return sum(item.method in {"GET", "HEAD"} for item in self.asked)


@contextmanager
def counting(upstream: str, *, host: Optional[str] = None, trust: Optional[ssl.SSLContext] = None) -> Iterator[Proxy]:
    """Yields a proxy before `upstream`.

    Args:
        upstream: Such as http://127.0.0.1:8333.
        host: What the other one is told that it was asked for; default is what the client says, as signatures need.
        trust: For an upstream that speaks HTTPS.
    """
    target = urllib.parse.urlsplit(upstream)
    proxy = Proxy("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length) if length else None
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            if self.headers.get("Expect", "").lower() == "100-continue":
                headers.pop("Expect", None)
            if host:
                headers["Host"] = host
            port = target.port or (443 if target.scheme == "https" else 80)
            if target.scheme == "https":
                link: http.client.HTTPConnection = http.client.HTTPSConnection(
                    target.hostname or "", port, timeout=30, context=trust
                )
            else:
                link = http.client.HTTPConnection(target.hostname or "", port, timeout=30)
            try:
                link.request(self.command, self.path, body=body, headers=headers)
                answer = link.getresponse()
                said = answer.read()
            finally:
                link.close()
            path, _, query = self.path.partition("?")
            listing = self.command == "GET" and "list-type=2" in query
            proxy.asked.append(Asked("LIST" if listing else self.command, path, answer.status))
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in HOP_BY_HOP | {"content-length", "date", "server"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
