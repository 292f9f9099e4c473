"""The lines that tell a glidein what there is to run; glidein/bootstrap/7-tarball.sh reads them."""

from __future__ import annotations

from glidepost.schema.demand import GlideinRelease, Tarball


def lines(release: GlideinRelease, site: str) -> str:
    """Returns a line for each tarball that a site may take; those behind "else" are for nodes that none before fits."""
    return "\nelse\n".join("\n".join(map(_line, tarballs)) for tarballs in release.of_site(site))


def _line(item: Tarball) -> str:
    words = [item.os, item.arch, item.condor_version, item.sha256, str(item.size_bytes), item.url]
    if item.glibc or item.unpacked_bytes:
        words.append(item.glibc or "-")
    if item.unpacked_bytes:
        words.append(str(item.unpacked_bytes))
    return " ".join(words)
