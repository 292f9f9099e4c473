"""A server's certificate for 127.0.0.1, which nobody but itself has signed."""

from __future__ import annotations

import subprocess
from pathlib import Path


def certify(certificate: Path, key: Path) -> None:
    """Writes both, as PEM, good for two days."""
    certify = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*certify, *names, *files], check=True, capture_output=True)
