"""Zip files that are the same whenever and wherever they are made of the same files."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_DATE: Final = (2020, 1, 1, 0, 0, 0)
_UNIX: Final = 3


def write(output: Path, files: Mapping[str, Path]) -> None:
    """Writes a zip file with the files under their names, sorted, all of one date, readable for everybody.

    Args:
        output: The zip file; it is replaced.
        files: By their names in it.
    """
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, path in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = _UNIX
            entry.external_attr = (0o755 if ".so" in path.suffixes else 0o644) << 16
            archive.writestr(entry, path.read_bytes(), compresslevel=9)
