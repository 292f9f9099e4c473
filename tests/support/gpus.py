"""A node with GPUs of NVIDIA, as far as its nvidia-smi tells."""

from __future__ import annotations

from pathlib import Path

RECORDED = Path(__file__).parents[1] / "recorded" / "gpus"
A, B, C, D = (
    "GPU-2927d07e-3fe9-7904-9e08-b08b82d9a37d",
    "GPU-e109d8d9-923e-7235-0429-96b7fdbcbd30",
    "GPU-fcf41002-68b6-5900-d7d1-74026173bb44",
    "GPU-838f60d9-651f-9166-ea42-f9da674a6947",
)


def put_nvidia_smi(node, listing: str, *, code: int = 0, busy: str = "", query: str = "") -> None:
    """Puts a fake nvidia-smi on the PATH of a node that prints a recorded listing."""
    folder = node.folder / "bin"
    folder.mkdir(exist_ok=True)
    path = folder / "nvidia-smi"
    path.write_text(
        f"#!/bin/sh\ncase $* in\n  -L) cat {RECORDED}/{listing}; exit {code} ;;\n"
        f"  *compute-apps*) printf '%s' '{busy}' ;;\n  *) printf '%s' '{query}'; [ -n '{query}' ] ;;\nesac\n"
    )
    path.chmod(0o755)
    node.env["PATH"] = f"{folder}:/usr/bin:/bin"
