"""Old files: decoded whatever their bytes, told apart by what is in them, and translated each by its kind."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from glidepost.schema.errors import ConfigError

from . import helper, parse, script, submit_file, translate
from .model import Findings, SiteDraft

_LARGEST: Final = 1 << 20


def read(path: Path, findings: Findings, *, name: str = "") -> SiteDraft:
    """Returns the draft of one old file.

    Args:
        path: A pyglidein configuration, a batch script, a submit description, or a helper script.
        findings: Gets the verdicts.
        name: What the file is called in messages, if not by its path.

    Raises:
        ConfigError: when it cannot be read, is no text, or is not understood; with the line.
    """
    try:
        body = path.read_bytes()
    except OSError as error:
        hint = "name the files of the old site: glidepost puller import OLD.config"
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint=hint) from error
    return translated(body, name or str(path), findings)


def translated(body: bytes, file: str, findings: Findings) -> SiteDraft:
    """Returns the draft of a file's content.

    Raises:
        ConfigError: when it is no text, or is not understood; with the line.
    """
    text = _decoded(body, file, findings)
    kind = kind_of(text)
    if kind == "script":
        return script.translate(text, file=file, findings=findings)
    if kind == "helper":
        return helper.translate(text, file=file, findings=findings)
    if kind == "submit":
        return submit_file.translate(text, file=file, findings=findings)
    ini = parse.parse(text, file=file, findings=findings)
    if not ini.entries:
        hint = "name a pyglidein configuration, a batch script that starts a glidein, or a submit file"
        raise ConfigError(f"{file} holds no settings", hint=hint)
    return translate.translate(ini, findings)


def kind_of(text: str) -> str:
    """Returns "script", "helper", "submit" or "ini", by what is in a text and not by its name."""
    lines = [line for line in text.split("\n") if line.strip()]
    first = lines[0] if lines else ""
    has_queue = re.search(r"(?im)^\s*queue(\s+\w.*)?$", text)
    if re.search(r"(?im)^\s*(universe|executable|request_(cpus|memory|disk|gpus))\s*=", text) and (
        has_queue or re.search(r"(?im)^\s*\+?(universe|should_transfer_files|glidein_site)\s*=", text)
    ):
        return "submit"
    directives = re.search(r"(?m)^#(SBATCH|PBS|BSUB|\$)\s+-", text)
    significant = next((line for line in lines if line[0] not in "#;"), "")
    if significant.startswith("[") and not first.startswith("#!"):
        return "ini"
    if helper.is_helper(text):
        return "helper"
    if directives or first.startswith("#!") or "glidein_start" in text:
        return "script"
    return "ini"


def _decoded(body: bytes, file: str, findings: Findings) -> str:
    """Returns the text: a byte order mark, lines ended by CR and LF, and bytes of another encoding do no harm."""
    if len(body) > _LARGEST:
        raise ConfigError(
            f"{file} has {len(body)} bytes", hint="a configuration is a few kilobytes: is it the right file?"
        )
    zero = body.find(b"\0")
    if zero >= 0:
        line = body.count(b"\n", 0, zero) + 1
        raise ConfigError(f"{file}:{line}: is no text", hint="name a configuration, not a program or an archive")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        findings.note(file, f"line {line} is not UTF-8; the file is read as Latin-1")
        text = body.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")
