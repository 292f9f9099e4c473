"""Secrets of a run, in all the ways that they could be written, and where they are found."""

from __future__ import annotations

import base64
import os
import re
import threading
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from glidepost.schema.mailbox import Form, Letter

# Larger files are programs and their libraries.
MOST_BYTES = 16 * 2**20
SEED = "ed25519-secret:"


@dataclass
class Secrets:
    """What must not be found, each with a name that may be shown."""

    known: dict[bytes, str] = field(default_factory=dict)

    def add(self, name: str, text: str) -> None:
        """Takes a text, also as it stands in addresses, in JSON and in base64."""
        raw = text.encode()
        assert len(raw) >= 16, f"{name} would be found by chance"
        for form in (raw, urllib.parse.quote(text, safe="").encode(), base64.b64encode(raw).rstrip(b"=")):
            self.known.setdefault(form, name)

    def add_key(self, file: Path) -> None:
        """Takes the seed in a key file."""
        text = file.read_text().strip()
        assert text.startswith(SEED)
        seed = base64.b64decode(text[len(SEED) :])
        standard, of_urls = base64.b64encode(seed), base64.urlsafe_b64encode(seed)
        for form in (
            seed,
            seed.hex().encode(),
            seed.hex().upper().encode(),
            standard.rstrip(b"="),
            of_urls.rstrip(b"="),
        ):
            self.known.setdefault(form, f"the seed in {file.name}")

    def add_letter(self, letter: Letter) -> None:
        """Takes what is in a mailbox."""
        self.add(f"token of {letter.site}", letter.pool_token)
        self.add(f"signature of the token of {letter.site}", letter.pool_token.rpartition(".")[2])
        self.add_form(f"heartbeat form of {letter.site}", letter.heartbeat_form)
        if letter.log_form:
            self.add_form(f"log form of {letter.site}", letter.log_form)

    def add_form(self, name: str, form: Form) -> None:
        """Takes policy and signature of a POST, or the signature in the address of a PUT."""
        query = urllib.parse.parse_qsl(urllib.parse.urlsplit(form.url).query)
        said = {field.lower(): value for field, value in (*form.fields.items(), *query)}
        found = [field for field in ("policy", "x-amz-signature") if field in said]
        assert "x-amz-signature" in found
        for part in found:
            self.add(f"{part} of the {name}", said[part])

    def found_in(self, body: bytes) -> set[str]:
        """Returns the names of those that are in some bytes."""
        return {self.known[match] for match in set(re.findall(self._pattern(), body))}

    def _pattern(self) -> bytes:
        return b"|".join(re.escape(text) for text in self.known)


def files_below(folders: Iterable[Path]) -> Iterator[Path]:
    """Yields all files, except very large ones, that are there at this moment."""
    for folder in folders:
        for parent, _, names in os.walk(folder):  # (which passes over what goes meanwhile, as rglob does not)
            for path in (Path(parent, name) for name in names):
                with suppress(OSError):
                    if path.is_file() and not path.is_symlink() and path.stat().st_size <= MOST_BYTES:
                        yield path


def bytes_of(path: Path) -> bytes:
    """Returns what a file holds; nothing if it has gone meanwhile."""
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return b""


class Watch:
    """Looks again and again, while a run goes on, at all processes of this host and at files that may not stay.

    Args:
        folders: Whose files are looked at.
        step_s: Between two looks at the processes.
    """

    def __init__(self, folders: Sequence[Path], step_s: float = 0.05) -> None:
        self._folders = folders
        self._step_s = step_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.processes: set[bytes] = set()
        self.bodies: dict[Path, set[bytes]] = {}
        self._seen: dict[Path, tuple[int, int]] = {}
        self.failure: Optional[Exception] = None

    def __enter__(self) -> Watch:  # noqa: PYI034 - typing.Self is younger than 3.9
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if self.failure:
            raise self.failure

    def _watch(self) -> None:
        rounds = 0
        try:
            while not self._ended.wait(self._step_s):
                self._look_at_processes()
                if rounds % 10 == 0:
                    self._look_at_files()
                rounds += 1
        except Exception as error:  # noqa: BLE001 - it is raised where the test sees it
            self.failure = error

    def _look_at_processes(self) -> None:
        for process in Path("/proc").iterdir():
            if process.name.isdigit():
                for name in ("cmdline", "environ"):
                    with suppress(OSError):  # gone meanwhile, or another user's
                        self.processes.add((process / name).read_bytes())

    def _look_at_files(self) -> None:
        for path in files_below(self._folders):
            with suppress(OSError):
                found = path.stat()
                if self._seen.get(path) != (found.st_mtime_ns, found.st_size) and found.st_size < 2**20:
                    self._seen[path] = (found.st_mtime_ns, found.st_size)
                    self.bodies.setdefault(path, set()).add(path.read_bytes())
