"""Scratch folders: pyglidein's were made for each glidein and often left; Glidepost's glideins make their own."""

from __future__ import annotations

import re
from typing import Final

from .model import Draft

_OF_A_BATCH_JOB: Final = re.compile(
    r"\$\{?(SLURM_\w*(ID|PROCID)|PBS_\w*ID|PBS_ARRAY_INDEX|LSB_JOB\w+|JOB_ID|SGE_TASK_ID)\b"
)


def apply(text: str, draft: Draft) -> str:
    """Adds a scratch folder to a shape. A glidein makes it where it is not there, as pyglidein's did.

    Args:
        text: As the old file has it, such as "/scratch/$USER/$SLURM_JOB_ID".
        draft: Of the shape.

    Returns:
        What became of it, in words.
    """
    parts = re.sub(r"//+", "/", " ".join(text.split())).rstrip("/").split("/")
    own = next((index for index, part in enumerate(parts) if _OF_A_BATCH_JOB.search(part)), len(parts))
    folder = "/".join(parts[:own])
    if not folder:
        return "each glidein makes a folder of its own in $TMPDIR, else in /tmp"
    draft.table["scratch"] = folder
    return f"scratch = {folder!r}; each glidein makes a folder of its own there, and removes it"
