"""Several old files become one puller.toml: shapes from all, common settings once, conflicts named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, MutableMapping, Sequence

from .model import Draft, Findings, SiteDraft
from .values import bounded, slug


def merge(sites: Sequence[SiteDraft], findings: Findings) -> SiteDraft:
    """Returns one draft of all. Of tables that differ, the first file's word stands, and the others are noted."""
    merged = SiteDraft(", ".join(site.file for site in sites))
    for site in sites:
        for table, into in (("site", merged.site), ("pool", merged.pool), ("glidein", merged.glidein)):
            _join(site, getattr(site, table), into, table, findings)
        _join(site, site.environment, merged.environment, "glidein.environment", findings)
        for table, lines in site.remarks.items():
            for line in lines:
                merged.remark(table, line)
        merged.entries += site.entries
    _name(sites, merged)
    _help(sites, merged)
    _shared(merged)
    return merged


def _join(
    site: SiteDraft, table: Mapping[str, object], into: MutableMapping[str, object], name: str, findings: Findings
) -> None:
    for key, value in table.items():
        if key not in into:
            into[key] = value
        elif into[key] != value:
            what = f"[{name}] {key} = {value!r} here, {into[key]!r} in an earlier file: the earlier one is taken"
            findings.note(site.file, what)


def _name(sites: Sequence[SiteDraft], merged: SiteDraft) -> None:
    """Collects the shapes; of those that have one name, all get their file's name in front."""
    used = Counter(shape.name for site in sites for shape in site.shapes)
    taken: set[str] = set()
    for site in sites:
        stem = slug(site.file.rsplit("/", 1)[-1].rpartition(".")[0] or site.file, default="old")
        for shape in site.shapes:
            name = shape.name
            if used[shape.name] > 1 and len(sites) > 1 and not stem.endswith(name):
                name = f"{stem}-{name}"[:32].strip("-")
            elif used[shape.name] > 1 and len(sites) > 1:
                name = stem
            number = 2
            while name in taken:
                name = f"{shape.name[:29]}-{number}"
                number += 1
            taken.add(name)
            shape.name = name
            merged.shapes.append(shape)


def _help(sites: Sequence[SiteDraft], merged: SiteDraft) -> None:
    """Gives shapes of scripts the limits of the helper scripts that submitted them."""
    for site in sites:
        for name, (most, host) in site.helps.items():
            for shape in merged.shapes:
                if shape.file.rsplit("/", 1)[-1] != name:
                    continue
                if most:
                    shape.table["max_total"] = bounded(most)
                    shape.remarks = [text for text in shape.remarks if "max_total is 1" not in text]
                    shape.remarks.append(f"max_total is what {site.file} kept.")
                if host:
                    shape.table["command_prefix"] = ["ssh", host]


def _shared(merged: SiteDraft) -> None:
    """Adds limits over all shapes where partitions shared one count, so that one limit held for them together."""
    live = [shape for shape in merged.shapes if not shape.off]
    groups: dict[str, list[Draft]] = {}
    for index, shape in enumerate(live):
        groups.setdefault(shape.counted_by or f"shape {index}", []).append(shape)
    shared = [group for group in groups.values() if len(group) > 1]
    if not shared:
        return
    merged.limits["max_total"] = bounded(sum(_most(group, "max_total") for group in groups.values()))
    if all("max_queued" in shape.table for shape in live):
        merged.limits["max_queued"] = bounded(sum(_most(group, "max_queued") for group in groups.values()))
    if all("max_cpus" in shape.table for shape in live):
        merged.limits["max_cpus"] = bounded(sum(_most(group, "max_cpus") for group in groups.values()), most=10_000_000)
    for group in shared:
        names = ", ".join(shape.name for shape in group)
        if len(groups) == 1:
            merged.remark("limits", f"{names} were counted together: their limits are limits of all.")
        else:
            text = f"{names} were counted together, up to {_most(group, 'max_total')}. No key limits some shapes only:"
            merged.remark("limits", f"{text} this is the sum over all. Divide their max_total if that is too much.")


def _most(group: Sequence[Draft], key: str) -> int:
    return max(int(str(shape.table[key])) for shape in group if key in shape.table)
