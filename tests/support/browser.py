"""A real browser that looks at pages as CloudFront would send them, from a server on the loopback."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import axe_playwright_python
from documents import NOW
from playwright.sync_api import Browser, Page, expect, sync_playwright

from glidepost.infra.cloud.policy import page_policy
from glidepost.infra.demo.condor import fetch
from glidepost.schema.errors import GlidepostError

# (No sandbox: CI may run as root. Nothing goes out by itself.)
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
)
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
# Every rule of WCAG 2.2 A and AA that axe knows, the size of targets among them, and its best practices.
RUN_AXE = """async () => (await axe.run(document,
    {resultTypes: ["violations"], rules: {"target-size": {enabled: true}}})).violations
    .map((found) => found.id + ": " + found.nodes.map((node) => node.html.slice(0, 200)).slice(0, 3).join(" | "))"""
NOTE_VIOLATIONS = """addEventListener("securitypolicyviolation",
    (event) => console.error("policy broken: " + event.violatedDirective + " " + event.blockedURI))"""


def find_chromium(work: Path) -> Path:
    """Returns the installed Chromium, or one in the work folder, fetched if need be."""
    found = shutil.which("chromium")
    if found:
        return Path(found)
    fetch("get_chromium.sh", work / "chromium", work / "debs", GlidepostError)
    return work / "chromium" / "bin" / "chromium"


@contextmanager
def open_browser(program: Path) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        expect.set_options(timeout=60_000)
        browser = playwright.chromium.launch(executable_path=str(program), args=list(ARGUMENTS), timeout=120_000)
        yield browser
        browser.close()


@dataclass
class Files:
    """What the server has, by key: (body, content type).

    `failure` is the status of every answer, when it is set; `now` is the server's clock.
    """

    address: str = ""
    files: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    failure: int = 0
    now: datetime = NOW
    asked: list[str] = field(default_factory=list)

    def put(self, folder: str, files: Mapping[str, tuple[bytes, str]]) -> str:
        """Returns the address of a folder that holds these files."""
        self.files.update({f"{folder}/{key}": value for key, value in files.items()})
        return f"{self.address}/{folder}"


@contextmanager
def serve() -> Iterator[Files]:
    """Yields a server that sends the headers of the template, and says that it is the time of the made-up documents."""
    files = Files()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            key = self.path.lstrip("/").partition("?")[0]
            files.asked.append(key)
            body, kind = files.files.get(key, (b"there is no such file", "text/plain"))
            self.send_response(files.failure or (200 if key in files.files else 404))
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Security-Policy", page_policy())
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("X-Frame-Options", "DENY")
            self.send_header("Referrer-Policy", "no-referrer")
            self.end_headers()
            self.wfile.write(body)

        def date_time_string(self, timestamp: object = None) -> str:
            del timestamp
            return format_datetime(files.now, usegmt=True)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    files.address = f"http://127.0.0.1:{server.server_port}"
    yield files
    server.shutdown()
    server.server_close()
    thread.join(60)


@dataclass
class Tab:
    """A page in the browser, and everything that it complained of."""

    page: Page
    complaints: list[str]

    def open(self, url: str) -> None:
        answer = self.page.goto(url, wait_until="networkidle")
        assert answer is not None
        assert answer.status == 200, url

    def axe(self) -> list[str]:
        """Returns what breaks a rule of accessibility."""
        self.page.evaluate(AXE)
        return self.page.evaluate(RUN_AXE)

    def is_too_wide(self) -> bool:
        """Says whether one has to scroll sideways."""
        return self.page.evaluate("document.documentElement.scrollWidth > innerWidth")


@contextmanager
def tab(browser: Browser, *, width: int = 1280, scheme: str = "light", has_script: bool = True) -> Iterator[Tab]:
    """Yields a tab whose clock stands at the time of the made-up documents."""
    context = browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme="dark" if scheme == "dark" else "light",
        java_script_enabled=has_script,
        reduced_motion="reduce",
    )
    context.set_default_timeout(120_000)
    page, complaints = context.new_page(), list[str]()
    page.add_init_script(NOTE_VIOLATIONS)
    page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
    if has_script:
        page.clock.install(time=NOW)
    yield Tab(page, complaints)
    context.close()
